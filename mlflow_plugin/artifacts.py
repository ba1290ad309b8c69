"""Files that MLflow keeps: of runs and of models, wherever they lie.

One way to all of them, for clients and for our own code inside the server: there an artifact's URI
names the server itself, which has the files and needs no request.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROXIED = "mlflow-artifacts"


def repository(uri: str, tracking_uri: str) -> tuple[Any, str]:
    """The repository that an artifact URI names, and the path of its files there.

    Args:
        uri: Of a run or a model.
        tracking_uri: Where the URI comes from; a store that is no server means that we are in one.

    Raises:
        ValueError: The URI climbs out of its folder.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    parts = urlsplit(uri)
    # Security: a registered model's source is its client's text, and could name any file here.
    if ".." in PurePosixPath(unquote(uri)).parts:
        raise ValueError("An artifact URI climbs out of its folder.")
    is_inside = urlsplit(tracking_uri).scheme not in {"http", "https"}
    if parts.scheme == "runs" and is_inside:
        from mlflow import MlflowClient

        run_id, _, path = parts.path.strip("/").partition("/")
        root_uri = MlflowClient(tracking_uri).get_run(run_id).info.artifact_uri
        return repository(f"{root_uri.rstrip('/')}/{path}", tracking_uri)
    if parts.scheme == PROXIED and is_inside:
        from mlflow.server.handlers import _get_artifact_repo_mlflow_artifacts

        root: Any = _get_artifact_repo_mlflow_artifacts()  # type: ignore[no-untyped-call]
        return root, parts.path.strip("/")
    return get_artifact_repository(uri, tracking_uri=tracking_uri), ""


def names(uri: str, tracking_uri: str, folder: str) -> frozenset[str]:
    """The paths of the files right in a folder of an artifact URI, relative to the URI."""
    found, prefix = repository(uri, tracking_uri)
    listed = found.list_artifacts(below(prefix, folder))
    lead = f"{prefix}/" if prefix else ""
    return frozenset(file.path.removeprefix(lead) for file in listed if not file.is_dir)


def text(uri: str, tracking_uri: str, path: str) -> str:
    """The text of one file of an artifact URI."""
    found, prefix = repository(uri, tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "text")
        # The public way draws a progress bar on stderr, which would be a cell's unstable output.
        found._download_file(below(prefix, path), str(copy))  # noqa: SLF001 - every one has it
        return copy.read_text(encoding="utf-8")


@contextmanager
def copied(uri: str, tracking_uri: str) -> Iterator[Path]:
    """A folder with all files of an artifact URI, for as long as it is open."""
    found, prefix = repository(uri, tracking_uri)
    with tempfile.TemporaryDirectory() as folder, no_bars():
        yield Path(found.download_artifacts(prefix, folder))


def walk(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    """The paths of a run's artifacts, folders followed down."""
    for each in client.list_artifacts(run_id, folder):
        if each.is_dir:
            yield from walk(client, run_id, each.path)
        else:
            yield each.path


def below(prefix: str, path: str) -> str:
    """A path within a repository.

    >>> below("", "nbgov"), below("1/2/artifacts", "nbgov")
    ('nbgov', '1/2/artifacts/nbgov')
    """
    return f"{prefix}/{path}" if prefix else path


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep MLflow from drawing a bar for each artifact; this is the only switch that it has."""
    name = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ.update({} if before is None else {name: before})

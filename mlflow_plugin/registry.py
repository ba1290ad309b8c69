"""Registered model versions: which run made one, what its files are, and what its tags say.

The registry keeps whatever run a client names. So the run behind a version is the one that its
source belongs to, and nothing where the source belongs to none.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mlflow.exceptions import MlflowException

import nbgov
from mlflow_plugin.artifacts import copied

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion as Registered

logger = logging.getLogger(__name__)
CHAMPION = "champion"
STEPS_MAX = 10
VERSIONS_MAX = 100
REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")
LOGGED = re.compile(r"models:/(?P<id>m-[0-9a-f]{32})(?:/.*)?")


def registered(client: MlflowClient, reference: str) -> Registered:
    """The model version behind ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.

    Raises:
        RequestInvalid: The reference is none of these.
        MlflowException: There is no such version.
    """
    found = REFERENCE.fullmatch(reference)
    if found is None:
        raise nbgov.RequestInvalid(
            "The reference names no model version.",
            code="unknown-model",
            next_step="Write models:/NAME/VERSION or models:/NAME@ALIAS.",
        )
    if found["alias"]:
        version: Registered = client.get_model_version_by_alias(found["name"], found["alias"])
        return version
    return client.get_model_version(found["name"], found["version"])


def value_of(client: MlflowClient, version: Registered) -> nbgov.ModelVersion:
    """A model version as a value, with a digest over its files."""
    uri = client.get_model_version_download_uri(version.name, str(version.version))
    logged = LOGGED.fullmatch(uri)
    if logged is not None:
        uri = client.get_logged_model(logged["id"]).artifact_location
    with copied(uri, client.tracking_uri) as folder:
        digest = nbgov.files_digest(folder)
    return nbgov.ModelVersion(
        name=version.name,
        version=str(version.version),
        run_id=maker(client, version),
        digest=digest,
        aliases=tuple(sorted(version.aliases or ())),
        tags={str(key): str(value) for key, value in (version.tags or {}).items()},
    )


def maker(client: MlflowClient, version: Registered, *, steps: int = STEPS_MAX) -> str:
    """The id of the run that a version's source belongs to; empty where that is not known.

    A version that claims another run than its source has none.
    """
    # Security: whoever registers a version chooses its run_id; a stranger's clean run would lend a
    # drifted model its lineage.
    source, claimed = str(version.source or ""), str(version.run_id or "")
    with suppress(MlflowException, ValueError):
        owner = owner_of(client, source, claimed, steps)
        return owner if claimed in {"", owner} else ""
    return ""


def owner_of(client: MlflowClient, source: str, claimed: str, steps: int) -> str:
    """The id of the run that a source belongs to, or empty."""
    if source.startswith("runs:/"):
        return source.split("/")[1]
    logged, copy = LOGGED.fullmatch(source), REFERENCE.fullmatch(source)
    if logged is not None:
        return str(client.get_logged_model(logged["id"]).source_run_id or "")
    if copy is not None:
        return maker(client, registered(client, source), steps=steps - 1) if steps else ""
    if claimed and any(is_below(source, root) for root in roots(client, claimed)):
        return claimed
    return ""


def roots(client: MlflowClient, run_id: str) -> Iterator[str]:
    """Where the files of a run and of its models lie."""
    run = client.get_run(run_id)
    yield str(run.info.artifact_uri)
    for one in run.outputs.model_outputs if run.outputs else ():
        model = client.get_logged_model(one.model_id)
        if model.source_run_id == run_id:
            yield str(model.artifact_location)


def is_below(source: str, root: str) -> bool:
    """Whether a location is another one or lies in it.

    >>> is_below("s3://b/1/model", "s3://b/1"), is_below("s3://b/1/../2", "s3://b/1")
    (True, False)
    >>> is_below("/b/1#/../2", "/b/1")
    False
    """
    left, right = urlsplit(source), urlsplit(root)
    # Security: of a path without a scheme a store reads what follows `#` and `?` as well.
    if left.query or left.fragment:
        return False
    places = [(one.scheme or "file", one.netloc) for one in (left, right)]
    inner, outer = (unquote(one.path).rstrip("/").split("/") for one in (left, right))
    return places[0] == places[1] and ".." not in inner and inner[: len(outer)] == outer


def champion(client: MlflowClient, run_id: str) -> str:
    """The run of the champion of the model that a run's model is registered under, or empty."""
    for name in sorted({one.name for one in versions_of_run(client, run_id)}):
        with suppress(MlflowException):
            best = maker(client, client.get_model_version_by_alias(name, CHAMPION))
            if best not in {"", run_id}:
                return best
    return ""


def versions_of_run(client: MlflowClient, run_id: str) -> list[Registered]:
    """The model versions that are registered for a run."""
    return list(client.search_model_versions(f"run_id='{run_id}'", max_results=VERSIONS_MAX))


def flag(client: MlflowClient, run: MlflowRun, tags: Mapping[str, str]) -> None:
    """Put tags on the model versions of a run: on a stock server a flag, and no more. Never raises.

    A registry with a gate of nbgov's own writes these tags itself and takes none from a client.
    """
    try:
        for version in versions_of_run(client, run.info.run_id):
            held: Mapping[str, Any] = version.tags or {}
            for key, value in tags.items():
                if held.get(key) != value:
                    client.set_model_version_tag(version.name, str(version.version), key, value)
    except Exception as error:  # noqa: BLE001 - the run's own page says the same
        logger.debug("nbgov: model versions are not tagged (%s)", type(error).__name__)

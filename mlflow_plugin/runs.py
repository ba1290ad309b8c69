"""nbgov's port to MLflow: training runs as values, and governed reads bound to them.

Importing this module does not import MLflow: a session that never trains does not pay for it.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbgov

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.marks import Lookup

logger = logging.getLogger(__name__)
CONTEXT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class MlflowRuns:
    """The tracking store that MLflow is set to, as a :class:`nbgov.ports.RunStore`.

    Args:
        lookup: Finds a version and its delivery by the mark of a frame; :func:`nbgov.lookup` by
            default.
    """

    product = "mlflow"

    def __init__(self, lookup: Lookup | None = None) -> None:
        self.lookup: Lookup = lookup or nbgov.lookup

    def run(self, run_id: str) -> nbgov.Run:
        """The run with this id.

        Raises:
            RequestInvalid: There is no such run.
            BackendFailed: MLflow did not answer.
        """
        with translated(run_id):
            from mlflow import MlflowClient

            from mlflow_plugin.binding import sweep
            from mlflow_plugin.verdict import as_run, captured

            sweep()
            client = MlflowClient()
            run = client.get_run(run_id)
            return as_run(run, captured(client, run))

    def contents(
        self, run_id: str, *, folder: Path, wanted: Callable[[str], bool]
    ) -> Iterator[tuple[str, Sequence[str] | Path | None]]:
        """What the run states: params, tags, names of metrics, and inputs; then its artifacts.

        Raises:
            RequestInvalid: There is no such run.
            BackendFailed: MLflow did not answer.
        """
        with translated(run_id):
            from mlflow import MlflowClient

            client = MlflowClient()
            run = client.get_run(run_id)
            stated = {
                "params": [f"{name}={value}" for name, value in run.data.params.items()],
                "tags": [f"{name}={value}" for name, value in run.data.tags.items()],
                "metrics": list(run.data.metrics),
                "inputs": [
                    text
                    for one in (run.inputs.dataset_inputs if run.inputs else ())
                    for text in (one.dataset.name, one.dataset.source, one.dataset.profile)
                    if text
                ],
            }
        yield from stated.items()
        for path in artifacts(client, run_id):
            if not wanted(path):
                yield path, None
                continue
            with translated(run_id), no_bars():
                copy = Path(client.download_artifacts(run_id, path, str(folder)))
            yield path, copy

    def is_training(self) -> bool:
        """Whether a run is open that a delivered result is bound to. Never raises."""
        try:
            return "mlflow" in sys.modules and open_run() is not None
        except Exception as error:  # noqa: BLE001 - a run store that is away must not fail a query
            logger.warning("nbgov: MLflow does not tell its run (%s)", type(error).__name__)
            return False

    def delivered(self, version: nbgov.DatasetVersion, delivery: nbgov.Delivery) -> None:
        """Bind a result to the run that is open while it is read, as ``read via in_run``.

        A write that returns no rows is no input. Never raises, and costs nothing until somebody has
        imported MLflow.
        """
        if "mlflow" not in sys.modules or not version.columns:
            return
        try:
            from mlflow_plugin.autolog import install, is_on
            from mlflow_plugin.binding import Binding, bind, hold

            install()
            run = open_run()
            if run is not None:
                binding = Binding(run.info.run_id, version, delivery, "read", "in_run")
                (hold if is_on() else bind)(binding, self.lookup)
        except Exception as error:  # noqa: BLE001 - a run store that is away must not fail a query
            logger.warning("nbgov: the read was not bound to a run (%s)", type(error).__name__)

    def track(
        self, delivery: nbgov.Delivery, *, run_id: str | None = None, context: str = "training"
    ) -> str:
        """Bind a delivery to a run, open or finished, and return the run's id.

        Args:
            delivery: What was read.
            run_id: The run; the one that is open in this process when ``None``.
            context: What the run used it for, such as ``training`` or ``validation``.

        Raises:
            RequestInvalid: There is no such run, none is open, or the version is not kept here.
            BackendFailed: MLflow did not answer.
        """
        from mlflow_plugin.marks import found

        if not CONTEXT.fullmatch(context):
            raise nbgov.RequestInvalid(
                "The context of a tracked input is one word.",
                code="usage",
                next_step="Write training, validation or test.",
            )
        mark = {"read": delivery.read_id, "version": delivery.version_id, "name": delivery.name}
        version, _ = found(mark, self.lookup)
        target = run_id or open_run_id()
        with translated(target):
            from mlflow_plugin.binding import Binding, bind

            bind(Binding(target, version, delivery, context, "explicit"), self.lookup)
        return target


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    """The paths of a run's artifacts, folders followed down."""
    with translated(run_id):
        found = client.list_artifacts(run_id, folder)
    for each in found:
        if each.is_dir:
            yield from artifacts(client, run_id, each.path)
        else:
            yield each.path


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


def open_run() -> MlflowRun | None:
    """The run that is open in this thread, or else in any thread of this process."""
    import mlflow

    run = mlflow.active_run()
    if run is None:
        from mlflow.tracking import fluent

        # MLflow's own integrations look across threads with this; without it, this thread must do.
        latest = getattr(fluent, "_get_latest_active_run", None)
        run = latest() if latest is not None else None
    return run


def open_run_id() -> str:
    """The id of the open run.

    Raises:
        RequestInvalid: None is open. MLflow would start one here, and leave it open.
    """
    run = open_run() if "mlflow" in sys.modules else None
    if run is None:
        raise nbgov.RequestInvalid(
            "No MLflow run is open to bind the data to.",
            code="usage",
            next_step="Call track inside `with mlflow.start_run():`, or pass run_id.",
        )
    return str(run.info.run_id)


@contextmanager
def translated(run_id: str) -> Iterator[None]:
    """Turn what MLflow raises into errors of nbgov, without MLflow's text, which may quote data."""
    try:
        yield
    except nbgov.NbgovError:
        raise
    except Exception as error:
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            raise nbgov.RequestInvalid(
                f"There is no run {run_id!r} in MLflow.",
                code="unknown-run",
                next_step="Copy the run's id from its MLflow page, and check MLFLOW_TRACKING_URI.",
            ) from error
        raise nbgov.BackendFailed(
            "MLflow did not do its part.",
            code="run-store-failed",
            why=f"It raised {type(error).__name__}.",
            next_step="Check MLFLOW_TRACKING_URI and that its server is up.",
        ) from error

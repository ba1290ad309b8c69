"""nbgov's port to MLflow: training runs as values, and governed reads bound to them.

Importing this module does not import MLflow: a session that never trains does not pay for it.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import nbgov
from mlflow_plugin.ledger import hear

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.marks import Lookup

logger = logging.getLogger(__name__)
# What MLflow takes for the id of a run; it calls anything else a wrong argument.
RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}")
# An alias that nobody set is an invalid parameter to MLflow.
MISSING_ALIAS = ("INVALID_PARAMETER_VALUE", "models:/")
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

    def run(self, reference: str) -> nbgov.Run:
        """The run behind an id, ``runs:/ID``, or the run that made a model version.

        Raises:
            RequestInvalid: There is no such run, or the model version belongs to none.
            BackendFailed: MLflow did not answer.
        """
        with translated(reference):
            from mlflow import MlflowClient

            from mlflow_plugin.captured import as_run, captured
            from mlflow_plugin.unfinished import sweep

            sweep()
            client = MlflowClient()
            run = client.get_run(run_id_of(client, reference))
            return as_run(client, run, captured(client, run), self.lookup)

    def model(self, reference: str) -> nbgov.ModelVersion:
        """The model version behind ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.

        Raises:
            RequestInvalid: There is no such version.
            BackendFailed: MLflow did not answer, or the model's files cannot be read.
        """
        with translated(reference):
            from mlflow import MlflowClient

            from mlflow_plugin.registry import registered, value_of

            client = MlflowClient()
            return value_of(client, registered(client, reference))

    def baseline(self, run_id: str, terms: nbgov.DriftTerms) -> str | None:
        """The id of the run that a run is to be compared with; ``None`` without one.

        Never the run itself. A run that a person named is returned as it was named, whether it can
        be read or not.
        """
        with translated(run_id):
            from mlflow import MlflowClient

            from mlflow_plugin.captured import captured
            from mlflow_plugin.inputs import governed_inputs
            from mlflow_plugin.verdict import baseline_of

            client = MlflowClient()
            run = client.get_run(run_id_of(client, run_id))
            facts = captured(client, run)
            return baseline_of(client, run, governed_inputs(run), facts, terms)[0] or None

    def attach(self, run_id: str, files: Mapping[str, str]) -> None:
        """Put texts on a run's page, by their path below nbgov's own folder there.

        Raises:
            RequestInvalid: There is no such run, or a path leaves the folder.
            BackendFailed: MLflow did not take them.
        """
        with translated(run_id):
            from mlflow import MlflowClient

            from mlflow_plugin.captured import FOLDER

            client = MlflowClient()
            for path, text in files.items():
                # Security: a name that was made from a dataset's must not reach other artifacts.
                if not path or PurePosixPath(path).is_absolute() or ".." in path.split("/"):
                    raise nbgov.RequestInvalid(
                        "A file of a run's page lies in nbgov's own folder there.",
                        code="usage",
                        next_step="Name it by a relative path.",
                    )
                client.log_text(run_id, text, f"{FOLDER}/{path}")

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
            from mlflow_plugin.artifacts import no_bars, walk

            paths = list(walk(client, run_id))
        yield from stated.items()
        for path in paths:
            if not wanted(path):
                yield path, None
                continue
            with translated(run_id), no_bars():
                copy = Path(client.download_artifacts(run_id, path, str(folder)))
            yield path, copy

    def active_run(self) -> str:
        """The id of the open run that a delivered result is bound to, or empty. Never raises."""
        try:
            run = open_run() if "mlflow" in sys.modules else None
            return str(run.info.run_id) if run is not None else ""
        except Exception as error:  # noqa: BLE001 - a run store that is away must not fail a query
            logger.warning("nbgov: MLflow does not tell its run (%s)", type(error).__name__)
            return ""

    def delivered(self, version: nbgov.DatasetVersion, delivery: nbgov.Delivery) -> None:
        """Bind a result to the run that is open while it is read, as ``read via in_run``.

        A write that returns no rows is no input. Never raises, and costs nothing until somebody has
        imported MLflow.
        """
        if not version.columns:
            return
        try:
            hear(version, delivery)
            if "mlflow" in sys.modules:
                self.read_in_run(version, delivery)
        except Exception as error:  # noqa: BLE001 - a run store that is away must not fail a query
            logger.warning("nbgov: the read was not bound to a run (%s)", type(error).__name__)

    def read_in_run(self, version: nbgov.DatasetVersion, delivery: nbgov.Delivery) -> None:
        """Bind a result to the run that is open, if one is."""
        from mlflow_plugin.autolog import install, is_on
        from mlflow_plugin.binding import Work, bind
        from mlflow_plugin.spool import Binding
        from mlflow_plugin.unfinished import hold

        install()
        run = open_run()
        if run is None:
            return
        binding = Binding(run.info.run_id, version, delivery, "read", "in_run")
        if is_on():
            hold(binding, self.lookup)
        else:
            bind(binding.run_id, Work((binding,)), self.lookup)

    def track(
        self,
        delivery: nbgov.Delivery,
        *,
        run_id: str | None = None,
        context: str = "training",
        labels: Sequence[str] = (),
    ) -> str:
        """Bind a delivery to a run, open or finished, and return the run's id.

        A server that is away does not stop a training: the binding is kept for
        ``nbgov mlflow sync``.

        Args:
            delivery: What was read.
            run_id: The run; the one that is open in this process when ``None``.
            context: What the run used it for, such as ``training`` or ``validation``.
            labels: Columns that the run learns to predict.

        Raises:
            RequestInvalid: There is no such run, none is open, or the version is not kept here.
            BackendFailed: MLflow did not answer, and the binding cannot be kept either.
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
        target = (run_id or open_run_id()).removeprefix("runs:/")
        with translated(target):
            from mlflow_plugin.binding import Work, bind
            from mlflow_plugin.spool import Binding

            binding = Binding(target, version, delivery, context, "explicit", tuple(labels))
            bind(target, Work((binding,)), self.lookup)
        return target


def run_id_of(client: MlflowClient, reference: str) -> str:
    """The id of the run that a reference names.

    Raises:
        RequestInvalid: It is no run's id, or names a model version that belongs to no run.
    """
    if not reference.startswith("models:/"):
        run_id = reference.removeprefix("runs:/").partition("/")[0]
        if RUN_ID.fullmatch(run_id) is None:
            raise no_such(reference)
        return run_id
    from mlflow_plugin.registry import maker, registered

    run_id = maker(client, registered(client, reference))
    if not run_id:
        raise nbgov.RequestInvalid(
            f"{reference} belongs to no run.",
            code="unknown-run",
            why="The registry names none, or one that the model's files do not belong to.",
            next_step="Register the model from the run that made it.",
        )
    return run_id


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


def no_such(reference: str) -> nbgov.RequestInvalid:
    """The error of a reference that MLflow has nothing for."""
    noun = "model version" if reference.startswith("models:/") else "run"
    return nbgov.RequestInvalid(
        f"There is no {noun} {reference!r} in MLflow.",
        code=f"unknown-{noun.partition(' ')[0]}",
        next_step=f"Copy it from the {noun}'s MLflow page, and check MLFLOW_TRACKING_URI.",
    )


@contextmanager
def translated(reference: str) -> Iterator[None]:
    """Turn what MLflow raises into errors of nbgov, without MLflow's text, which may quote data."""
    try:
        yield
    except nbgov.NbgovError:
        raise
    except Exception as error:
        code = getattr(error, "error_code", "")
        if code == "RESOURCE_DOES_NOT_EXIST" or (code, reference[:8]) == MISSING_ALIAS:
            raise no_such(reference) from error
        raise nbgov.BackendFailed(
            "MLflow did not do its part.",
            code="run-store-failed",
            why=f"It raised {type(error).__name__}.",
            next_step="Check MLFLOW_TRACKING_URI and that its server is up.",
        ) from error

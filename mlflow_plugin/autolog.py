"""Notices what an autologged training really trains on.

MLflow calls an event logger inside the run with the very objects that went into ``fit``; a governed
frame among them carries its mark in ``attrs``, also after selections, splits and copies. That is
the one supported place that sees both, so a binding from here may say "trained on". A process has
one slot for an event logger: whoever held it before keeps hearing everything.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS
from mlflow.utils.autologging_utils.events import AutologgingEventLogger

from mlflow_plugin.binding import Binding, bind, refresh, sweep
from mlflow_plugin.marks import distinct_marks

logger = logging.getLogger(__name__)
TRAINING_NAMES = frozenset({"fit", "fit_transform", "fit_predict", "train"})

installing = threading.Lock()
installed: list[AutologgingEventLogger] = []


def install() -> None:
    """Listen to autologged trainings, once per process, and bring finished pages up to date."""
    with installing:
        if not installed:
            slot: Any = AutologgingEventLogger
            installed.append(TrainingListener(slot.get_logger()))
            slot.set_logger(installed[0])
    sweep()


def is_on() -> bool:
    """Whether autolog is on for any product."""
    return any(not setting.get("disable", True) for setting in AUTOLOGGING_INTEGRATIONS.values())


class TrainingListener(AutologgingEventLogger):
    """Binds governed frames that are trained on; passes every event on to the logger before it.

    MLflow opens one autologging session per outermost patched call, and fires for every nested one:
    a grid search of hundreds of fits is one session, and one binding here.

    Args:
        before: The event logger that was in place.
    """

    def __init__(self, before: Any) -> None:
        self.before = before
        self.trainings: dict[tuple[str, str], tuple[object, str]] = {}

    def log_autolog_called(
        self, integration: str, call_args: Sequence[Any], call_kwargs: Mapping[str, Any]
    ) -> None:
        """Pass on."""
        self.before.log_autolog_called(integration, call_args, call_kwargs)

    def log_patch_function_start(self, session: Any, *event: Any) -> None:
        """Pass on."""
        self.before.log_patch_function_start(session, *event)

    def log_patch_function_success(self, session: Any, *event: Any) -> None:
        """Pass on; when it was the training itself, show its parameters and metrics too."""
        self.before.log_patch_function_success(session, *event)
        self.settle(session, *event[:2])

    def log_patch_function_error(self, session: Any, *event: Any) -> None:
        """Pass on; a failed training has a page as well."""
        self.before.log_patch_function_error(session, *event)
        self.settle(session, *event[:2])

    def log_original_function_start(self, session: Any, *event: Any) -> None:
        """Pass on; then bind what is trained on. The run is open at this moment."""
        self.before.log_original_function_start(session, *event)
        patched, name, arguments, keywords = event
        if name in TRAINING_NAMES:
            try:
                self.train(session, (patched, name), [*arguments, *keywords.values()])
            except Exception as error:  # noqa: BLE001 - a training outlives its lineage
                logger.warning("nbgov: the training data was not bound (%s)", type(error).__name__)

    def log_original_function_success(self, session: Any, *event: Any) -> None:
        """Pass on."""
        self.before.log_original_function_success(session, *event)

    def log_original_function_error(self, session: Any, *event: Any) -> None:
        """Pass on."""
        self.before.log_original_function_error(session, *event)

    def train(self, session: Any, call: tuple[object, str], values: Sequence[Any]) -> None:
        """Bind the governed frames among a training call's values to the run that is open."""
        import nbgov

        run = mlflow.active_run()
        if run is None or (session.id, run.info.run_id) in self.trainings:
            return
        for mark in distinct_marks(values):
            pair = nbgov.lookup(mark)
            if pair is not None:
                version, delivery = pair
                self.trainings[session.id, run.info.run_id] = call
                binding = Binding(run.info.run_id, version, delivery, "training", "autolog")
                bind(binding, nbgov.lookup)

    def settle(self, session: Any, patched: object, name: str) -> None:
        """Write the page again for the runs whose outermost training call ended just now."""
        ended = [
            key
            for key, call in self.trainings.items()
            if key[0] == session.id and call == (patched, name)
        ]
        for key in ended:
            del self.trainings[key]
            refresh(key[1])

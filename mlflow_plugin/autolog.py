"""Notices what an autologged training really trains on.

MLflow calls an event logger inside the run with the very objects that went into ``fit``. That is
the one supported place that sees both, so a binding from here may say "trained on", and what is
not governed shows here. A process has one slot for an event logger: whoever held it before keeps
hearing everything. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow import get_tracking_uri
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS
from mlflow.utils.autologging_utils.events import (
    AutologgingEventLogger,
    AutologgingEventLoggerWrapper,
)

import nbgov
from mlflow_plugin.binding import Work, bind
from mlflow_plugin.captured import live
from mlflow_plugin.importance import BUDGET_S, importance
from mlflow_plugin.spool import Binding
from mlflow_plugin.training import Foreign, Given, given
from mlflow_plugin.unfinished import refresh, suspect, sweep, watch

logger = logging.getLogger(__name__)
TRAINING_NAMES = frozenset({"fit", "fit_transform", "fit_predict", "train"})
# A quick training is not made to wait for its importance.
BUDGET_SHARE = 0.5
BUDGET_LEAST_S = 0.3
# A training holds its data until it is settled; one that MLflow never ends must not for ever.
TRAININGS_MAX = 16

installing = threading.Lock()
installed: list[AutologgingEventLogger] = []


@dataclass(frozen=True, slots=True)
class Training:
    """An outermost training call that goes on.

    Attributes:
        call: The patched class or module, and the name of the function.
        data: What it was given.
        started: When, in seconds of the monotonic clock.
        thread: The thread that it goes on in.
    """

    call: tuple[object, str]
    data: Given
    started: float
    thread: int

    def is_call(self, patched: object, name: str, arguments: Sequence[Any]) -> bool:
        """Whether an event is of this call, and not of one within it."""
        first = arguments[0] if arguments else None
        is_same = self.data.estimator is None or self.data.estimator is first
        return self.call == (patched, name) and is_same


def install() -> None:
    """Listen to autologged trainings, once per process, and bring finished pages up to date."""
    with installing:
        if not installed:
            slot: Any = AutologgingEventLogger
            installed.append(TrainingListener(slot.get_logger()))
            slot.set_logger(installed[0])
            join(installed[0])
    watch()
    sweep()


def join(listener: AutologgingEventLogger) -> None:
    """Listen to the training that goes on in this thread, too.

    The first training of a process may be what made its run, and so what brought us here. MLflow
    chose its event logger just before; nothing is there to ask for it but the frames below.
    """
    frame = sys._getframe()  # noqa: SLF001 - the only way, and it is documented
    while frame is not None:
        begun = frame.f_locals.get("event_logger")
        if isinstance(begun, AutologgingEventLoggerWrapper):
            begun._logger = listener  # noqa: SLF001 - MLflow has no setter
        frame = frame.f_back  # type: ignore[assignment]


def is_on() -> bool:
    """Whether autolog is on for any product."""
    return any(not setting.get("disable", True) for setting in AUTOLOGGING_INTEGRATIONS.values())


def told(call: tuple[object, str], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Given:
    """What a training call was given; ungoverned where that cannot be told."""
    try:
        return given(call, arguments, keywords, nbgov.lookup)
    except Exception as error:  # noqa: BLE001 - other people's data fails in its own ways
        # Security: a failure of ours must not make a run look as if all it used was governed.
        logger.warning("nbgov: the training data is not known (%s)", type(error).__name__)
        return Given((), (Foreign("data that nbgov cannot look into"),))


class TrainingListener(AutologgingEventLogger):
    """Binds what is trained on; passes every event on to the logger before it.

    MLflow opens one autologging session per outermost patched call, and fires for every nested one:
    a grid search of hundreds of fits is one session, and one binding here.

    Args:
        before: The event logger that was in place.
    """

    def __init__(self, before: Any) -> None:
        self.before = before
        self.trainings: dict[tuple[str, str], Training] = {}

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
        self.guarded(self.settle, session, *event)

    def log_patch_function_error(self, session: Any, *event: Any) -> None:
        """Pass on; a failed training has a page as well."""
        self.before.log_patch_function_error(session, *event)
        self.guarded(self.settle, session, *event)

    def log_original_function_start(self, session: Any, *event: Any) -> None:
        """Pass on; then bind what is trained on. The run is open at this moment."""
        self.before.log_original_function_start(session, *event)
        self.guarded(self.start, session, *event)

    def log_original_function_success(self, session: Any, *event: Any) -> None:
        """Pass on; then ask the fitted model what it leans on."""
        self.before.log_original_function_success(session, *event)
        self.guarded(self.weigh, session, *event)

    def log_original_function_error(self, session: Any, *event: Any) -> None:
        """Pass on; MLflow says no more of a training that failed within."""
        self.before.log_original_function_error(session, *event)
        self.guarded(self.settle, session, *event)

    def guarded(self, step: Any, session: Any, *event: Any) -> None:
        """Do a step of ours; a training outlives its lineage."""
        try:
            if event[1] in TRAINING_NAMES:
                step(session, *event)
        except Exception as error:  # noqa: BLE001 - see above
            logger.warning("nbgov: the training data was not bound (%s)", type(error).__name__)

    def start(
        self,
        session: Any,
        patched: object,
        name: str,
        arguments: Sequence[Any],
        keywords: Mapping[str, Any],
    ) -> None:
        """Bind what a training call was given to the run that is open."""
        run = mlflow.active_run()
        if run is None or (session.id, run.info.run_id) in self.trainings:
            return
        run_id = run.info.run_id
        data = told((patched, name), arguments, keywords)
        thread = threading.get_ident()
        self.forget(session.id, thread)
        self.trainings[session.id, run_id] = Training(
            (patched, name), data, time.monotonic(), thread
        )
        bindings = tuple(
            Binding(run_id, one.version, one.delivery, one.context, "autolog", one.labels)
            for one in data.used
        )
        # The page follows when the training is over; what it is fitted on is stated at once.
        bind(run_id, Work(bindings, data.foreign, is_page_due=False), nbgov.lookup)
        if data.foreign and not data.used:
            suspect(run_id, nbgov.lookup)

    def forget(self, session_id: str, thread: int) -> None:
        """Let go of trainings that MLflow never ended, as when somebody interrupts a cell."""
        oldest = set(list(self.trainings)[:-TRAININGS_MAX])
        for key, training in list(self.trainings.items()):
            # MLflow opens a session for an outermost call: what this thread did before is over.
            is_over = training.thread == thread and key[0] != session_id
            if is_over or key in oldest:
                self.trainings.pop(key, None)

    def weigh(
        self, session: Any, patched: object, name: str, arguments: Sequence[Any], *_: Any
    ) -> None:
        """Note how much the model that was just fitted leans on each column."""
        for run_id, training in self.going_on(session, patched, name, arguments):
            data, lasted = training.data, time.monotonic() - training.started
            if data.estimator is None:
                continue
            budget = min(BUDGET_S, max(BUDGET_LEAST_S, BUDGET_SHARE * lasted))
            found = importance(
                data.estimator, data.features, data.labels, data.names, budget_s=budget
            )
            facts = live(get_tracking_uri(), run_id)
            facts.importance, facts.made = dict(found.shares), found.made

    def settle(
        self, session: Any, patched: object, name: str, arguments: Sequence[Any], *rest: Any
    ) -> None:
        """Write the page again for the run whose outermost training call ended just now."""
        del rest
        for run_id, _ in self.going_on(session, patched, name, arguments):
            self.trainings.pop((session.id, run_id), None)
            refresh(run_id)

    def going_on(
        self, session: Any, patched: object, name: str, arguments: Sequence[Any]
    ) -> list[tuple[str, Training]]:
        """The training that an event is of, with its run."""
        return [
            (key[1], training)
            for key, training in list(self.trainings.items())
            if key[0] == session.id and training.is_call(patched, name, arguments)
        ]

"""Binds a governed read to a run, once.

An input is logged with MLflow's own client, and tried again when writers race. What cannot reach
the tracking store is kept on disk, see :mod:`mlflow_plugin.spool`: a training goes on.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlflow import MlflowClient, get_tracking_uri

import nbgov
from mlflow_plugin import spool, unfinished
from mlflow_plugin.captured import Facts, captured, live
from mlflow_plugin.inputs import INPUTS_MAX, TIERS, encode, governed_inputs, rank
from mlflow_plugin.pages import mark, write
from mlflow_plugin.spool import Binding
from mlflow_plugin.training import Foreign

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.inputs import GovernedInput
    from mlflow_plugin.marks import Lookup

logger = logging.getLogger(__name__)
ATTEMPTS_MAX = 12
RACES = ("UNIQUE constraint", "duplicate key", "Duplicate entry", "database is locked")
REFUSALS = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"})
ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
LOCKS = tuple(threading.Lock() for _ in range(64))


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be written on a run.

    Attributes:
        bindings: Reads that belong to it.
        foreign: What it was fitted on that nbgov did not deliver.
        is_page_due: Whether the page is written now; if not, the run is remembered.
    """

    bindings: tuple[Binding, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    is_page_due: bool = True


def bind(run_id: str, work: Work, lookup: Lookup, *, uri: str = "") -> None:
    """Make governed reads inputs of a run, and show them on the run's page.

    Idempotent: a version is an input once. A stronger tier replaces the label of a weaker one; an
    explicit binding always writes the page again. What the tracking store does not take now is
    kept for ``nbgov mlflow sync``.

    Args:
        run_id: The run.
        work: What belongs to it.
        lookup: Finds the versions of the run and of its baseline.
        uri: The tracking store; the one that MLflow is set to by default.

    Raises:
        NbgovError: There is no such run, or what was not taken cannot be kept either.
    """
    store, since = uri or str(get_tracking_uri()), time.monotonic()
    try:
        spool.reach(store)
        with lock_of(run_id):
            is_finished = write_down(MlflowClient(store), run_id, work, lookup)
        if not is_finished:
            unfinished.remember(store, run_id, lookup)
    except Exception as error:
        if is_refusal(error):
            raise
        spool.shun(store, since)
        if not spool.keep(store, run_id, work.bindings, facts_of(store, run_id, work)):
            raise
        logger.warning(
            "nbgov: MLflow did not take the inputs of run %s (%s); they are kept for"
            " `nbgov mlflow sync`",
            run_id,
            type(error).__name__,
        )


def write_down(client: MlflowClient, run_id: str, work: Work, lookup: Lookup) -> bool:
    """Do the work on a run that can be reached, and say whether its page is complete then."""
    run = client.get_run(run_id)
    before = governed_inputs(run)
    news = [binding for binding in work.bindings if is_new(before, binding)]
    for binding in news:
        run = attach(client, run, binding)
    is_open = run.info.status not in ENDED
    if is_open or news or work.foreign:
        facts = captured(client, run, is_live=True)
        facts.add_foreign(work.foreign)
        for binding in work.bindings:
            facts.add_labels(binding.version.version_id, binding.labels)
    if news or work.foreign:
        inputs = relabelled(governed_inputs(run), news)
        if work.is_page_due:
            write(client, run, inputs, lookup)
        else:
            mark(client, run, inputs, ungoverned=[one.words for one in facts.foreign])
    return work.is_page_due and not is_open


def lock_of(run_id: str) -> threading.Lock:
    """The lock under which a run's page is written; nobody holds two."""
    return LOCKS[hash(run_id) % len(LOCKS)]


def is_refusal(error: Exception) -> bool:
    """Whether trying again later is of no use."""
    code = getattr(error, "error_code", "")
    return isinstance(error, nbgov.NbgovError) or code in REFUSALS


def facts_of(uri: str, run_id: str, work: Work) -> Facts:
    """What this process knows of a run that it cannot ask for."""
    facts = live(uri, run_id)
    facts.add_foreign(work.foreign)
    for binding in work.bindings:
        facts.add_labels(binding.version.version_id, binding.labels)
    return facts


def is_new(present: tuple[GovernedInput, ...], binding: Binding) -> bool:
    """Whether a binding says more than a run's inputs do already."""
    for known in present:
        if known.version_id == binding.version.version_id:
            is_stronger = TIERS.index(binding.tier) > TIERS.index(known.bound_via)
            return is_stronger or binding.tier == "explicit"
    if binding.tier in {"in_run", "session"} and len(present) >= INPUTS_MAX:
        logger.warning("nbgov: a run has %d inputs; not one more", INPUTS_MAX)
        return False
    return True


def attach(client: MlflowClient, run: MlflowRun, binding: Binding) -> MlflowRun:
    """Log an input if its run lacks it, and return the run as it is then."""
    held = {one.version_id for one in governed_inputs(run)}
    if binding.version.version_id in held:
        return run
    entry = encode(
        binding.version, binding.delivery, binding.context, binding.tier, labels=binding.labels
    )
    log_input(client, run.info.run_id, entry)
    return client.get_run(run.info.run_id)


def relabelled(
    inputs: tuple[GovernedInput, ...], bindings: Sequence[Binding]
) -> tuple[GovernedInput, ...]:
    """The inputs with the label of each binding that is at least as strong as what stands there."""
    found = {one.version_id: one for one in inputs}
    for binding in bindings:
        one = found.get(binding.version.version_id)
        if one is not None and TIERS.index(binding.tier) >= TIERS.index(one.bound_via):
            found[one.version_id] = replace(one, context=binding.context, bound_via=binding.tier)
    return tuple(sorted(found.values(), key=rank))


def log_input(client: MlflowClient, run_id: str, entry: DatasetInput) -> None:
    """Log an input; of writers that race for a new dataset row, all but one have to try again.

    Raises:
        MlflowException: It could not be logged.
    """
    for attempt in range(ATTEMPTS_MAX):
        try:
            return client.log_inputs(run_id, [entry])
        except Exception as error:
            if attempt + 1 == ATTEMPTS_MAX or not any(race in str(error) for race in RACES):
                raise
    return None

"""Runs whose page is not complete yet, because they are still open.

MLflow has no hook for the end of a run. So a page that was written while its run was open is
remembered, and written again at the next chance: after the autologged training, after the notebook
cell, at the next run or read, or when the process ends.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from mlflow import MlflowClient, get_tracking_uri
from mlflow.tracking import fluent

import nbgov
from mlflow_plugin import spool
from mlflow_plugin.captured import UNGOVERNED_TAG, live
from mlflow_plugin.inputs import INPUTS_MAX, governed_inputs
from mlflow_plugin.ledger import candidates
from mlflow_plugin.spool import Binding

if TYPE_CHECKING:
    from mlflow_plugin.marks import Lookup

logger = logging.getLogger(__name__)
UNFINISHED_MAX = 50
CONSIDERED_MAX = 1_000
SESSION_TAG = "nbgov.session"

unfinished: dict[tuple[str, str], Lookup] = {}
held: defaultdict[tuple[str, str], list[Binding]] = defaultdict(list)
considered: dict[str, None] = {}
watching = threading.Event()


def remember(uri: str, run_id: str, lookup: Lookup) -> None:
    """Write a run's page again when the run is over."""
    unfinished[uri, run_id] = lookup
    for oldest in list(unfinished)[:-UNFINISHED_MAX]:
        rewrite(*oldest, is_over=True)
    watch()


def watch() -> None:
    """Look at remembered runs whenever a cell is over, and when the process ends."""
    if not watching.is_set():
        watching.set()
        atexit.register(sweep, is_over=True)
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        if shell is not None:
            shell.events.register("post_run_cell", lambda *_: sweep())


def hold(binding: Binding, lookup: Lookup) -> None:
    """Bind a read when its run is over, unless a training binds it before.

    MLflow keeps the first word about an input for ever. Where autolog is on, the word that follows
    a read in a run is most often "training", and "read" would stand in its way.
    """
    key = (get_tracking_uri(), binding.run_id)
    waiting = held[key]
    is_new = all(one.version.version_id != binding.version.version_id for one in waiting)
    if is_new and len(waiting) < INPUTS_MAX:
        waiting.append(binding)
    remember(*key, lookup)


def suspect(run_id: str, lookup: Lookup) -> None:
    """Hold what the process was delivered as candidates of a run, the weakest tier of all."""
    for heard in candidates():
        hold(Binding(run_id, heard.version, heard.delivery, "session", "session"), lookup)


def consider(lookup: Lookup) -> None:
    """Give candidates to the latest run of this thread if it was bound to nothing. Never raises."""
    try:
        # Asking MLflow for the run itself would be a request each time.
        slot = getattr(fluent, "_last_active_run_id", None)
        run_id = slot.get() if slot is not None else None
        if run_id is None or run_id in considered or not candidates():
            return
        spool.reach(get_tracking_uri())
        run = MlflowClient().get_run(run_id)
        considered[run_id] = None
        for oldest in list(considered)[:-CONSIDERED_MAX]:
            del considered[oldest]
        is_bound = (get_tracking_uri(), run_id) in unfinished or governed_inputs(run)
        if SESSION_TAG in run.data.tags and not is_bound and UNGOVERNED_TAG not in run.data.tags:
            suspect(run_id, lookup)
    except Exception as error:  # noqa: BLE001 - a candidate is not worth a failed cell
        logger.debug("nbgov: no candidates for the latest run (%s)", type(error).__name__)


def sweep(*, is_over: bool = False) -> None:
    """Write the pages of remembered runs that have ended meanwhile. Never raises.

    Args:
        is_over: Take every run as ended, since the process ends.
    """
    consider(nbgov.lookup)
    for uri, run_id in list(unfinished):
        rewrite(uri, run_id, is_over=is_over)


def refresh(run_id: str) -> None:
    """Write a remembered run's page now, whether the run has ended or not. Never raises."""
    rewrite(get_tracking_uri(), run_id, is_wanted=True)


def rewrite(uri: str, run_id: str, *, is_over: bool = False, is_wanted: bool = False) -> None:
    """Write a remembered run's page if the run is over, or if that is wanted. Never raises.

    Args:
        uri: The tracking store.
        run_id: The run.
        is_over: Take the run as ended, whatever its status.
        is_wanted: Write the page of an open run too.
    """
    from mlflow_plugin.binding import is_refusal, lock_of

    key, since, lock = (uri, run_id), time.monotonic(), lock_of(run_id)
    # A run that starts, or a query, does not wait for a page that another thread is writing.
    if not lock.acquire(blocking=is_over or is_wanted):
        return
    try:
        if key in unfinished:
            complete(key, is_over=is_over, is_wanted=is_wanted)
    except Exception as error:  # noqa: BLE001 - nobody waits for this page; the run itself is fine
        spool.shun(uri, since)
        unfinished.pop(key, None)
        waiting = tuple(held.pop(key, ()))
        is_kept = not is_refusal(error) and spool.keep(uri, run_id, waiting, live(uri, run_id))
        logger.warning(
            "nbgov: the page of run %s was not updated (%s)%s",
            run_id,
            type(error).__name__,
            "; `nbgov mlflow sync` will" if is_kept else "",
        )
    finally:
        lock.release()


def complete(key: tuple[str, str], *, is_over: bool, is_wanted: bool) -> None:
    """Write the page of a run, with the reads that were held back if the run is over."""
    from mlflow_plugin.binding import ENDED, attach, is_new
    from mlflow_plugin.pages import write

    uri, run_id = key
    spool.reach(uri)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    lookup = unfinished[key]
    if is_over or run.info.status in ENDED:
        # The surest come first, and candidates only where nothing else is known.
        for binding in sorted(held.pop(key, ()), key=lambda one: one.tier == "session"):
            present = governed_inputs(run)
            is_wanted_too = binding.tier != "session" or all(
                one.bound_via == "session" for one in present
            )
            if is_wanted_too and is_new(present, binding):
                run = attach(client, run, binding)
        del unfinished[key]
    elif not is_wanted:
        return
    write(client, run, governed_inputs(run), lookup)

"""Binds a governed read to a run, once, and keeps the run's page up to date.

MLflow has no hook for the end of a run. So a page that was written while its run was still open is
remembered, and written again at the next chance: after the autologged training, after the notebook
cell, at the next run or read, or when the process ends. Writing it twice gives the same page.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import atexit
import csv
import io
import json
import logging
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, RunTag

from mlflow_plugin.inputs import INPUTS_MAX, TAG_MAX, TIERS, encode, governed_inputs, rank
from mlflow_plugin.note import NOTE_TAG, note
from mlflow_plugin.page import html_page
from mlflow_plugin.text import fitted
from mlflow_plugin.verdict import FOLDER, RECORD, TABLE, captured, input_tags, judge, record_of

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.inputs import GovernedInput
    from mlflow_plugin.marks import Lookup
    from nbgov import DatasetVersion, Delivery

logger = logging.getLogger(__name__)
ATTEMPTS_MAX = 5
UNFINISHED_MAX = 50
RACES = ("UNIQUE constraint", "duplicate key", "Duplicate entry")

ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
LOCKS = tuple(threading.Lock() for _ in range(64))

unfinished: dict[tuple[str, str], Lookup] = {}
held: defaultdict[tuple[str, str], list[Binding]] = defaultdict(list)
watching = threading.Event()


@dataclass(frozen=True, slots=True)
class Binding:
    """A read that belongs to a run.

    Attributes:
        run_id: The run.
        version, delivery: What was read, and by whom.
        context: What for: ``training``, ``validation``, ``read``.
        tier: How we know; one of :data:`mlflow_plugin.inputs.TIERS`.
    """

    run_id: str
    version: DatasetVersion
    delivery: Delivery
    context: str
    tier: str


def bind(binding: Binding, lookup: Lookup) -> None:
    """Make a governed read an input of a run and show it on the run's page.

    Idempotent: a version is an input once. A stronger tier replaces the label of a weaker one; an
    explicit binding always writes the page again.

    Args:
        binding: What belongs to what.
        lookup: Finds the versions of the run and of its baseline.
    """
    uri = get_tracking_uri()
    client = MlflowClient(uri)
    with lock_of(binding.run_id):
        run = attach(client, binding)
        if run is None:
            return
        write(client, run, relabelled(governed_inputs(run), binding), lookup)
    if run.info.status not in ENDED:
        remember(uri, binding.run_id, lookup)


def lock_of(run_id: str) -> threading.Lock:
    """The lock under which a run's page is written; nobody holds two."""
    return LOCKS[hash(run_id) % len(LOCKS)]


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


def attach(client: MlflowClient, binding: Binding) -> MlflowRun | None:
    """Log the input if its run lacks it.

    Returns:
        The run as it is then, or ``None`` if the binding says nothing new.
    """
    run = client.get_run(binding.run_id)
    present = governed_inputs(run)
    for known in present:
        if known.version_id == binding.version.version_id:
            is_stronger = TIERS.index(binding.tier) > TIERS.index(known.bound_via)
            return run if is_stronger or binding.tier == "explicit" else None
    if binding.tier == "in_run" and len(present) >= INPUTS_MAX:
        logger.warning("nbgov: run %s has %d inputs; not one more", binding.run_id, INPUTS_MAX)
        return None
    entry = encode(binding.version, binding.delivery, binding.context, binding.tier)
    log_input(client, binding.run_id, entry)
    return client.get_run(binding.run_id)


def relabelled(inputs: tuple[GovernedInput, ...], binding: Binding) -> tuple[GovernedInput, ...]:
    """The inputs with a binding's label, where it is at least as strong as what stands there."""
    changed = (
        replace(one, context=binding.context, bound_via=binding.tier)
        if one.version_id == binding.version.version_id
        and TIERS.index(binding.tier) >= TIERS.index(one.bound_via)
        else one
        for one in inputs
    )
    return tuple(sorted(changed, key=rank))


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


# ---------------------------------------------------------------- the page


def write(
    client: MlflowClient, run: MlflowRun, inputs: tuple[GovernedInput, ...], lookup: Lookup
) -> None:
    """Write everything that a run's page shows of its governed inputs.

    The labels go first: should the rest fail, they are what cannot be worked out again.
    """
    log_changes(client, run, tags=input_tags(inputs))
    seen = captured(client, run, is_live=True)
    verdict = judge(client, run, inputs, seen, lookup)
    record = record_of(run, inputs, verdict, seen)
    run_id = run.info.run_id
    client.log_text(run_id, json.dumps(record, indent=1, sort_keys=True), RECORD)
    text = note(record, run.data.tags.get(NOTE_TAG, ""))
    metrics = verdict.metrics(run.data.metrics)
    log_changes(client, run, tags=verdict.tags() | {NOTE_TAG: text}, metrics=metrics)
    client.log_text(run_id, html_page(record), f"{FOLDER}/lineage.html")
    if verdict.status == "drifted" or seen["has_table"]:
        client.log_text(run_id, drift_csv(record), TABLE)


def log_changes(
    client: MlflowClient,
    run: MlflowRun,
    *,
    tags: dict[str, str],
    metrics: dict[str, float] | None = None,
) -> None:
    """Log the tags and metrics that the run does not have yet, in one request.

    A metric that is logged again would grow a history, and of two values with one time MLflow takes
    the larger for the latest. A tag above the limit is cut here, visibly: MLflow cuts in silence.
    """
    held = run.data
    new_tags = {k: fitted(v, TAG_MAX) for k, v in tags.items() if held.tags.get(k, "") != v}
    new_metrics = {k: v for k, v in (metrics or {}).items() if held.metrics.get(k) != v}
    if new_tags or new_metrics:
        at = time.time_ns() // 1_000_000
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, value, at, 0) for key, value in new_metrics.items()],
            tags=[RunTag(key, value) for key, value in new_tags.items()],
        )


def drift_csv(record: dict[str, Any]) -> str:
    """The ranked causes as CSV, for MLflow's table view."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["rank", "kind", "subject", "effect", "sentence"])
    for place, cause in enumerate(record["verdict"]["causes"], start=1):
        cells = [cause["kind"], cause["subject"], f"{cause['effect']:.4g}", cause["sentence"]]
        rows.writerow([place, *map(harmless, cells)])
    return out.getvalue()


def harmless(cell: str) -> str:
    """A cell that a spreadsheet does not run."""
    # Security: a column named `=HYPERLINK(...)` would be a formula in the reader's spreadsheet.
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell


# ---------------------------------------------------------------- runs that were still open


def remember(uri: str, run_id: str, lookup: Lookup) -> None:
    """Write a run's page again when the run is over."""
    unfinished[uri, run_id] = lookup
    for oldest in list(unfinished)[:-UNFINISHED_MAX]:
        rewrite(*oldest, is_over=True)
    if not watching.is_set():
        watching.set()
        atexit.register(sweep, is_over=True)
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        if shell is not None:
            shell.events.register("post_run_cell", lambda *_: sweep())


def sweep(*, is_over: bool = False) -> None:
    """Write the pages of remembered runs that have ended meanwhile. Never raises.

    Args:
        is_over: Take every run as ended, since the process ends.
    """
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
    key = (uri, run_id)
    try:
        client = MlflowClient(uri)
        with lock_of(run_id):
            if key not in unfinished:
                return
            run = client.get_run(run_id)
            lookup = unfinished[key]
            if is_over or run.info.status in ENDED:
                del unfinished[key]
                for binding in held.pop(key, ()):
                    run = attach(client, binding) or run
            elif not is_wanted:
                return
            write(client, run, governed_inputs(run), lookup)
    except Exception as error:  # noqa: BLE001 - nobody waits for this page; the run itself is fine
        unfinished.pop(key, None)
        held.pop(key, None)
        logger.warning(
            "nbgov: the page of run %s was not updated (%s)", run_id, type(error).__name__
        )

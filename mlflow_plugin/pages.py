"""Writes all that a run's page shows: record, note, tags, metrics, tables, and the model's links.

Writing twice gives the same page. Everything here is made from one
:class:`~mlflow_plugin.verdict.Verdict`. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mlflow.entities import Metric, RunTag

import nbgov
from mlflow_plugin.captured import (
    FOLDER,
    IMPORTANCE_TAG,
    RECORD,
    TABLE,
    UNGOVERNED_TAG,
    captured,
    importance_tag,
    ungoverned_tag,
)
from mlflow_plugin.inputs import TAG_MAX
from mlflow_plugin.ledger import checkpoint, terms
from mlflow_plugin.note import NOTE_TAG, note
from mlflow_plugin.registry import flag
from mlflow_plugin.text import fitted
from mlflow_plugin.training import counted
from mlflow_plugin.verdict import ROWS_METRIC, input_tags, judge, named

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.inputs import GovernedInput
    from mlflow_plugin.marks import Lookup

LINKS_MAX = 20
CHECKPOINT_TAG = "nbgov.checkpoint"


def write(
    client: MlflowClient, run: MlflowRun, inputs: tuple[GovernedInput, ...], lookup: Lookup
) -> None:
    """Write everything that a run's page shows of its data.

    The labels go first: should the rest fail, they are what cannot be worked out again.
    """
    run_id = run.info.run_id
    facts = captured(client, run, is_live=True)
    is_told = bool(run.data.tags.get(UNGOVERNED_TAG))
    mark(client, run, inputs, ungoverned=[] if is_told else [one.words for one in facts.foreign])
    read_id = inputs[0].mark["read"] if inputs else ""
    verdict = judge(client, run, inputs, facts, lookup=lookup, terms=terms(read_id))
    lineage = verdict.lineage
    client.log_text(run_id, json.dumps(lineage.to_dict(), indent=1, sort_keys=True), RECORD)
    present = run.data.tags.get(NOTE_TAG, "")
    current = lineage.run
    assert current is not None
    tags = verdict.tags() | {
        NOTE_TAG: note(lineage, inputs, verdict.baseline, present),
        # A chip on the page is cut, its key too, unless it is short; the words are in the note.
        UNGOVERNED_TAG: counted(len(current.ungoverned), "input") if current.ungoverned else "",
        IMPORTANCE_TAG: importance_tag(facts.importance, facts.made),
    }
    # Of one state folder only: a run that read through two has the receipts of both.
    if signed := checkpoint(read_id):
        tags[CHECKPOINT_TAG] = signed
    log_changes(client, run, tags=tags, metrics=verdict.metrics(run.data.metrics))
    client.log_text(run_id, nbgov.lineage_page(lineage), f"{FOLDER}/lineage.html")
    if verdict.report.status == "drifted" or facts.has_table:
        client.log_text(run_id, drift_csv(verdict.report), TABLE)
        facts.has_table = True
    if not lineage.is_baseline_chosen:
        facts.proposed = verdict.baseline.info.run_id if verdict.baseline is not None else ""
    link(client, run, inputs)
    flag(client, run, verdict.version_tags())


def mark(
    client: MlflowClient,
    run: MlflowRun,
    inputs: tuple[GovernedInput, ...],
    *,
    ungoverned: list[str],
) -> None:
    """State in a run's tags which data it used, before anything else is worked out."""
    tags = input_tags(inputs)
    if ungoverned:
        # Fail closed: a training that dies before its page is written leaves no clean run behind.
        tags |= {UNGOVERNED_TAG: ungoverned_tag(ungoverned), "nbgov.drift": "unknown"}
    log_changes(client, run, tags=tags)


def log_changes(
    client: MlflowClient,
    run: MlflowRun,
    *,
    tags: Mapping[str, str],
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Log the tags and metrics that the run does not have yet, in one request.

    A metric that is logged again would grow a history, and of two values with one time MLflow takes
    the larger for the latest. A tag above the limit is cut here, visibly: MLflow cuts in silence.
    """
    held = run.data
    new_tags = {k: fitted(v, TAG_MAX) for k, v in tags.items() if held.tags.get(k, "") != v}
    new_metrics = {k: v for k, v in (metrics or {}).items() if differs(held.metrics.get(k), v)}
    if new_tags or new_metrics:
        at = time.time_ns() // 1_000_000
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, value, at, 0) for key, value in new_metrics.items()],
            tags=[RunTag(key, value) for key, value in new_tags.items()],
        )
        # A page may be written twice from one look at its run.
        held.tags.update(new_tags)
        held.metrics.update(new_metrics)


def differs(held: float | None, value: float) -> bool:
    """Whether a metric is another one; one that is no number is like any other such."""
    return held is None or not (held == value or (math.isnan(held) and math.isnan(value)))


def link(client: MlflowClient, run: MlflowRun, inputs: tuple[GovernedInput, ...]) -> None:
    """Make the models of a run list its inputs on their own pages.

    MLflow takes that from metrics that name both. Each is logged once.
    """
    made = [one.model_id for one in run.outputs.model_outputs] if run.outputs else []
    metrics = [
        metric
        for model_id in made[:LINKS_MAX]
        for metric in missing(client, run, model_id, inputs[:LINKS_MAX])
    ]
    if metrics:
        client.log_batch(run.info.run_id, metrics=metrics)


def missing(
    client: MlflowClient, run: MlflowRun, model_id: str, inputs: tuple[GovernedInput, ...]
) -> Iterator[Metric]:
    """The metrics that link a model with inputs and are not there yet."""
    known = client.get_logged_model(model_id).metrics or []
    there = {(metric.dataset_name, metric.dataset_digest) for metric in known}
    for one in inputs:
        if (one.title, one.version_id) not in there:
            yield Metric(
                f"{ROWS_METRIC}/{named(one.name)}",
                float(one.facts.get("rows", 0)),
                time.time_ns() // 1_000_000,
                0,
                model_id=model_id,
                dataset_name=one.title,
                dataset_digest=one.version_id,
                run_id=run.info.run_id,
            )


# ---------------------------------------------------------------- the table


def drift_csv(report: nbgov.DriftReport) -> str:
    """The ranked causes as CSV, for MLflow's table view."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    # MLflow makes all columns equally wide, and a sentence names its subject anyway.
    rows.writerow(["rank", "kind", "effect", "sentence"])
    for place, cause in enumerate(report.causes, start=1):
        rows.writerow([place, cause.kind, f"{cause.effect:.4g}", harmless(cause.sentence)])
    return out.getvalue()


def harmless(cell: str) -> str:
    """A cell that a spreadsheet does not run."""
    # Security: a column named `=HYPERLINK(...)` would be a formula in the reader's spreadsheet.
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell

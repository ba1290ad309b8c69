"""Same data as last time? Picks the run to compare with, and puts the answer in MLflow's terms.

The comparison itself is :func:`nbgov.compare`; here its answer becomes the lineage that page, note
and record are made from, and tags and metrics. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

import nbgov
from mlflow_plugin.captured import Facts, as_run, captured, find
from mlflow_plugin.inputs import (
    INPUTS_TAG,
    TAG_MAX,
    GovernedInput,
    compared,
    governed_inputs,
    label_tag,
)
from mlflow_plugin.ledger import session_of
from mlflow_plugin.registry import champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.marks import Lookup

BASELINE_TAG = "nbgov.baseline"
FIRST = "Baseline: no earlier finished run of this experiment has inputs of these names."
ABSENT = "Unknown: the run that the tag nbgov.baseline names cannot be read."
GUESSED = "Unknown: nothing says what this run trained on; its inputs are what was read before it."
BASELINE_RUNS_MAX = 50
COLUMNS_MAX = 20
METRIC_NAME_MAX = 200
UNNAMEABLE = re.compile(r"[^A-Za-z0-9_\-. /]")
# A metric of this name links a dataset with a model, so that the model's page lists the dataset.
ROWS_METRIC = "nbgov.rows"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run's governed inputs compare with those of an earlier run.

    Attributes:
        lineage: The run, its baseline and the report.
        baseline: The baseline as MLflow has it, or ``None``.
        sizes: How many inputs changed, and how the number of rows did, as far as that is known.
    """

    lineage: nbgov.Lineage
    baseline: MlflowRun | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)

    @property
    def report(self) -> nbgov.DriftReport:
        """The comparison."""
        assert self.lineage.report is not None
        return self.lineage.report

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the causes, the strongest first; a cause without effect is a remark."""
        felt = (cause.kind for cause in self.report.causes if cause.effect > 0)
        return tuple(dict.fromkeys(felt))

    @property
    def is_held(self) -> bool:
        """Whether a promotion of the run's model should wait for a person."""
        return bool(self.report.holds) or self.report.status == "unknown"

    def tags(self) -> dict[str, str]:
        """The run tags that state the verdict; what no longer holds becomes empty."""
        status = self.report.status
        tags = {
            "nbgov.drift": status,
            "nbgov.drift.why": ",".join(self.kinds) if status == "drifted" else "",
        }
        if self.baseline is not None and not self.lineage.is_baseline_chosen:
            tags[BASELINE_TAG] = self.baseline.info.run_id
        return tags

    def version_tags(self) -> dict[str, str]:
        """The tags of the model versions of the run."""
        return {
            "nbgov.drift": self.report.status,
            "nbgov.gate": "held" if self.is_held else "clear",
        }

    def metrics(self, held: Iterable[str]) -> dict[str, float]:
        """The drift as metrics; their prefix gets a section of its own in MLflow's charts.

        Args:
            held: Names of the metrics that the run has: what no longer holds becomes 0, and what is
                not known any more no number.
        """
        ours = [name for name in held if name.startswith("nbgov.drift/")]
        if self.baseline is None or self.report.status == "unknown":
            return dict.fromkeys(ours, math.nan)
        found = dict.fromkeys(ours, 0.0)
        moved = [
            (float(cause.detail["psi"]), cause.subject)
            for cause in self.report.causes
            if isinstance(cause.detail.get("psi"), int | float)
        ]
        for psi, subject in sorted(moved, reverse=True)[:COLUMNS_MAX]:
            found[f"nbgov.drift/{named(subject)}.psi"] = round(psi, 4)
        found["nbgov.drift/max_psi"] = round(max((psi for psi, _ in moved), default=0.0), 4)
        return found | {f"nbgov.drift/{name}": size for name, size in self.sizes.items()}


def named(subject: str) -> str:
    """A subject as part of a metric's name, which MLflow restricts."""
    return UNNAMEABLE.sub("_", subject)[:METRIC_NAME_MAX]


# ---------------------------------------------------------------- the comparison


def judge(
    client: MlflowClient,
    run: MlflowRun,
    inputs: tuple[GovernedInput, ...],
    facts: Facts,
    *,
    lookup: Lookup,
    terms: nbgov.DriftTerms,
) -> Verdict:
    """Compare a run with its baseline, and say where its data comes from.

    Args:
        client: The tracking store.
        run: The run.
        inputs: Its governed inputs.
        facts: What else is known of it.
        lookup: Finds versions and deliveries.
        terms: What counts as drift, and where to look for the baseline.
    """
    current = as_run(client, run, facts, lookup, inputs=inputs)
    chosen, is_chosen = baseline_of(client, run, inputs, facts, terms)
    found = readable(client, chosen) if chosen else None
    theirs = governed_inputs(found) if found is not None else ()
    pairs = [pair for one in inputs if (pair := find(one, lookup)) is not None]
    pairs_before = [pair for one in theirs if (pair := find(one, lookup)) is not None]
    versions = {version.version_id: version for version, _ in (*pairs_before, *pairs)}
    lineage = nbgov.Lineage(
        run=current,
        is_baseline_chosen=is_chosen,
        versions=versions,
        deliveries=tuple(delivery for _, delivery in pairs),
        approvals=tuple(approvals(delivery for _, delivery in pairs)),
    )
    if found is None:
        first = nbgov.DriftReport("", current.name, None, (), FIRST, "baseline")
        absent = replace(first, verdict=ABSENT, status="unknown")
        report = absent if is_chosen else first
        return Verdict(replace(lineage, report=honest(report, current)))
    before = as_run(client, found, captured(client, found), lookup, inputs=theirs)
    report = nbgov.compare(before, current, versions=versions, terms=terms)
    lineage = replace(lineage, baseline=before, report=honest(report, current))
    return Verdict(lineage, found, sizes(compared(theirs), compared(inputs), versions))


def honest(report: nbgov.DriftReport, run: nbgov.Run) -> nbgov.DriftReport:
    """The report, with what makes every comparison idle said first.

    Of data that nobody knows to be the run's own, nothing is said at all.
    """
    is_guessed = all(one.bound_via == "session" for one in run.inputs)
    if run.ungoverned and (is_guessed or not report.verdict.lower().startswith("ungoverned input")):
        sentence = f"Ungoverned input: {', '.join(run.ungoverned)}; nbgov did not deliver it."
    elif run.inputs and is_guessed:
        sentence = GUESSED
    else:
        return report
    report = replace(report, status="unknown", verdict=sentence, holds=report.holds or (sentence,))
    return replace(report, causes=(), is_same_data=None) if is_guessed else report


def approvals(deliveries: Iterable[nbgov.Delivery]) -> Iterable[nbgov.ApprovalSummary]:
    """The consents that reads were cleared by, as far as an open session can tell."""
    for delivery in deliveries:
        session = session_of(delivery.read_id) if delivery.ticket else None
        if session is not None:
            with suppress(nbgov.NbgovError):
                yield nbgov.ApprovalSummary.of(session.approval(delivery.ticket))


def sizes(
    before: tuple[GovernedInput, ...],
    after: tuple[GovernedInput, ...],
    versions: Mapping[str, nbgov.DatasetVersion],
) -> dict[str, float]:
    """How many inputs hold other rows than before, and the change of all rows in percent."""
    if not all(one.version_id in versions for one in (*before, *after)):
        return {}
    held = [[(one.name, versions[one.version_id]) for one in side] for side in (before, after)]
    contents = [{(name, version.content_id) for name, version in side} for side in held]
    changed = {name for name, _ in contents[0] ^ contents[1]}
    rows = [sum(version.rows for _, version in side) for side in held]
    return {
        "changed_inputs": float(len(changed)),
        "rows_pct": round(100 * (rows[1] - rows[0]) / max(rows[0], 1), 2),
    }


# ---------------------------------------------------------------- the baseline


def baseline_of(
    client: MlflowClient,
    run: MlflowRun,
    inputs: tuple[GovernedInput, ...],
    facts: Facts,
    terms: nbgov.DriftTerms,
) -> tuple[str, bool]:
    """The id of the run to compare with, or empty, and whether a person chose it.

    A baseline tag that is not what nbgov put there was set by a person.
    """
    for choice in terms.baseline:
        if choice == "tag":
            stated = run.data.tags.get(BASELINE_TAG, "").removeprefix("runs:/")
            if stated not in {"", facts.proposed, run.info.run_id}:
                return stated, True
        elif choice == "champion":
            found = champion(client, run.info.run_id)
            if found:
                return found, False
        else:
            last = last_like(client, run, inputs)
            if last is not None:
                return str(last.info.run_id), False
    return "", False


def readable(client: MlflowClient, run_id: str) -> MlflowRun | None:
    """A run, if it can be read."""
    with suppress(MlflowException):
        return client.get_run(run_id)
    return None


def last_like(
    client: MlflowClient, run: MlflowRun, inputs: tuple[GovernedInput, ...]
) -> MlflowRun | None:
    """The last finished run before this one, in its experiment, with inputs of the same names."""
    names = compared_names(inputs)
    if not names:
        return None
    # An underscore in LIKE stands for any character: a name with a quote finds more, never less.
    pattern = min(names).replace("'", "_")
    candidates = client.search_runs(
        [run.info.experiment_id],
        f"attributes.status = 'FINISHED' AND attributes.start_time < {run.info.start_time}"
        f" AND tags.`{INPUTS_TAG}` LIKE '%{pattern}@v%'",
        max_results=BASELINE_RUNS_MAX,
        order_by=["attributes.end_time DESC"],
    )
    alike = (one for one in candidates if compared_names(governed_inputs(one)) == names)
    return next(alike, None)


def compared_names(inputs: tuple[GovernedInput, ...]) -> frozenset[str]:
    """The names that make two runs comparable."""
    return frozenset(one.name for one in compared(inputs))


# ---------------------------------------------------------------- tags


def input_tags(inputs: tuple[GovernedInput, ...]) -> dict[str, str]:
    """The run tags that state which governed data a run read, and under which policy."""
    policies = sorted({str(one.facts.get("policy", ""))[:12] for one in inputs})
    return {
        INPUTS_TAG: label_tag(inputs),
        "nbgov.fingerprint": fingerprint(inputs) if inputs else "",
        "nbgov.policy": ", ".join(policies),
        "nbgov.receipt": whole(one.read.get("nbgov.receipt", "") for one in inputs),
    }


def whole(receipts: Iterable[str]) -> str:
    """As many receipts as fit into a tag: a part of one would prove nothing.

    >>> len(whole([f"log/{number}#" + "0" * 64 for number in range(200)]))
    7954
    """
    text = ""
    for receipt in dict.fromkeys(filter(None, receipts)):
        longer = f"{text}, {receipt}" if text else receipt
        if len(longer) > TAG_MAX:
            break
        text = longer
    return text


def fingerprint(inputs: tuple[GovernedInput, ...]) -> str:
    """One digest over the versions trained on: equal means the same data under one policy."""
    versions = sorted({one.version_id for one in compared(inputs)})
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]

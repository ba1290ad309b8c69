"""The answer to "what changed?", as values and as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["baseline", "stable", "drifted", "unknown"]

DATA_KINDS = (
    "inputs",
    "rows",
    "schema",
    "pairing",
    "values",
    "labels",
    "nulls",
    "unit",
    "levels",
    "cardinality",
    "distribution",
    "tail",
    "freshness",
)
CIRCUMSTANCE_KINDS = (
    "statement",
    "binds",
    "policy",
    "masks",
    "params",
    "seeds",
    "code",
    "packages",
    "environment",
    "hardware",
    "models",
)
OUTCOME_KINDS = ("metrics",)
KINDS = (*DATA_KINDS, *CIRCUMSTANCE_KINDS, *OUTCOME_KINDS)


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is different.

    Attributes:
        kind: What sort of thing: one of ``KINDS``, of the data, of the circumstances, or of
            the outcome.
        subject: The column, parameter, package, input and so on.
        sentence: The difference in plain English, with its figures.
        effect: Its size from 0 to 1: for data the share of rows that would have to change to undo
            it, for a circumstance 1. A cause of effect 0 is a remark, and never makes a drift.
        detail: The figures behind the sentence, JSON-ready.
        because: The kind of the cause that this one follows from, such as ``statement`` for rows
            that another WHERE clause chose; empty for what stands for itself.
    """

    kind: str
    subject: str
    sentence: str
    effect: float
    detail: Mapping[str, Any] = field(default_factory=dict)
    because: str = ""

    @property
    def is_drift(self) -> bool:
        """Whether this alone makes the data another. Stale data is as it was, and no drift."""
        return self.kind in DATA_KINDS and self.kind != "freshness" and self.effect > 0

    @property
    def is_stale(self) -> bool:
        """Whether this says that data is older than it should be."""
        return bool(self.detail.get("is_stale", False))


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How a run differs from its baseline.

    Attributes:
        baseline, current: Names of the runs.
        is_same_data: Whether all inputs hold equal rows, or ``None`` where that is not known.
        causes: What is different, the likeliest cause first: see ``docs/concepts/drift.md``.
        verdict: The answer in one to three sentences.
        status: ``stable``, ``drifted`` or ``unknown``; ``baseline`` is for callers that have no run
            to compare with. It speaks of data only.
        holds: Why a promotion of the current run's model is held, in sentences; empty if it is not.
    """

    baseline: str
    current: str
    is_same_data: bool | None
    causes: tuple[Cause, ...]
    verdict: str
    status: Status
    holds: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report, JSON-ready."""
        return asdict(self) | {
            "causes": [asdict(cause) for cause in self.causes],
            "holds": list(self.holds),
        }


@dataclass(frozen=True, slots=True)
class Doubt:
    """What keeps a comparison from being whole, in words; empty where nothing does.

    Attributes:
        ungoverned: What either run was fitted on that nbgov did not deliver.
        unknown: Which data could not be compared.
    """

    ungoverned: str
    unknown: str


def state_verdict(
    causes: Sequence[Cause], doubt: Doubt, *, is_same_data: bool | None
) -> tuple[Status, str]:
    """Status and verdict of ranked causes.

    Args:
        causes: What is different, in the order of a report.
        doubt: What could not be compared.
        is_same_data: Whether all governed inputs hold equal rows, if known.
    """
    status: Status = "stable"
    if any(cause.is_drift for cause in causes):
        status = "drifted"
    elif doubt.ungoverned or doubt.unknown:
        status = "unknown"
    parts = [
        f"ungoverned input: {doubt.ungoverned}." if doubt.ungoverned else "",
        stated(causes, doubt, status, is_same_data=is_same_data),
        *(f"Stale: {cause.sentence}." for cause in causes if cause.is_stale and cause.effect),
        changed_circumstances(causes, but=causes[0] if has_followers(causes) else None),
    ]
    return status, " ".join(part for part in parts if part)


def stated(
    causes: Sequence[Cause], doubt: Doubt, status: Status, *, is_same_data: bool | None
) -> str:
    """The sentence behind a status."""
    if status == "drifted":
        return f"Drifted: {drift_told(causes)}."
    if doubt.unknown:
        return f"Unknown: {doubt.unknown}."
    if doubt.ungoverned:
        rows = "holds the same rows" if is_same_data else "is stable"
        return f"Unknown: every governed input {rows}, and of the others nobody knows."
    if is_same_data:
        return "Same data: every input holds the same rows."
    return "Stable: the rows are others, and nothing drifted."


def drift_told(causes: Sequence[Cause]) -> str:
    """The first cause of a drift, and how much else there is."""
    moved = [cause for cause in causes if cause.is_drift]
    if has_followers(causes):
        after = sum(cause.because == causes[0].kind for cause in moved)
        follow = f"{after} change{'s' * (after > 1)} of the data follow{'s' * (after == 1)} from it"
        rest = len(moved) - after
        others = f", {rest} more do{'es' * (rest == 1)} not" if rest else ""
        return f"{causes[0].sentence}; {follow}{others}"
    rest = len(moved) - 1
    more = f", and {rest} more change{'s' * (rest > 1)} of the data" if rest else ""
    return f"{moved[0].sentence}{more}"


def has_followers(causes: Sequence[Cause]) -> bool:
    """Whether the first cause is a circumstance that drifts of the data follow from."""
    if not causes or causes[0].kind in DATA_KINDS or not causes[0].effect:
        return False
    return any(cause.is_drift and cause.because == causes[0].kind for cause in causes)


def changed_circumstances(causes: Sequence[Cause], *, but: Cause | None) -> str:
    """A sentence that names the kinds of circumstances that changed, or nothing."""
    kinds = dict.fromkeys(
        cause.kind
        for cause in causes
        if cause.kind in CIRCUMSTANCE_KINDS and (cause.effect or cause.kind == "policy")
    )
    if but is not None:
        kinds.pop(but.kind)
    return f"Also changed: {', '.join(kinds)}." if kinds else ""


def figure(value: float) -> str:
    """A number for people: three digits, or whole with thousands separated.

    >>> figure(26955.0), figure(0.03125), figure(-2.0)
    ('26,955', '0.0312', '-2')
    """
    if abs(value) >= 1000:  # noqa: PLR2004 - from here on the digits after the point are noise.
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share for people.

    >>> percent(0.0213), percent(0.0004), percent(0.0)
    ('2.1 %', '0.04 %', '0 %')
    """
    points = 100 * share
    return f"{points:.1f} %" if points >= 1 else f"{points:.2g} %"  # Two digits of a small share.

"""The answer to "what changed?", as values and as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["baseline", "stable", "drifted", "unknown"]

# The order of certainty: data first, then what it was asked with, then what came of it.
DATA_KINDS = (
    "inputs",
    "rows",
    "schema",
    "pairing",
    "values",
    "nulls",
    "levels",
    "distribution",
    "tail",
    "freshness",
)
CIRCUMSTANCE_KINDS = ("statement", "binds", "policy", "masks", "params", "code", "packages")
OUTCOME_KINDS = ("metrics",)
KINDS = (*DATA_KINDS, *CIRCUMSTANCE_KINDS, *OUTCOME_KINDS)

NAMES_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is different.

    Attributes:
        kind: What sort of thing: of the data (``inputs``, ``rows``, ``schema``, ``pairing``,
            ``values``, ``nulls``, ``levels``, ``distribution``, ``tail``, ``freshness``), of the
            circumstances (``statement``, ``binds``, ``policy``, ``masks``, ``params``, ``code``,
            ``packages``), or the outcome (``metrics``).
        subject: The column, parameter, package, input and so on.
        sentence: The difference in plain English, with its figures.
        effect: Its size from 0 to 1: for data the share of rows that would have to change to undo
            it, for a circumstance 1. A cause of effect 0 is a remark, and never makes a drift.
        detail: The figures behind the sentence, JSON-ready.
    """

    kind: str
    subject: str
    sentence: str
    effect: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How a run differs from its baseline.

    Attributes:
        baseline, current: Names of the runs.
        is_same_data: Whether all inputs hold equal rows, or ``None`` where that is not known.
        causes: What is different: data first, then circumstances, then the outcome; the largest
            effect first among each.
        verdict: The answer in one or two sentences.
        status: ``stable``, ``drifted`` or ``unknown``; ``baseline`` is for callers that have no run
            to compare with. It speaks of data only.
    """

    baseline: str
    current: str
    is_same_data: bool | None
    causes: tuple[Cause, ...]
    verdict: str
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """The report, JSON-ready."""
        return asdict(self) | {"causes": [asdict(cause) for cause in self.causes]}


def ranked(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """The causes in the order of a report."""

    def rank(cause: Cause) -> tuple[int, float, int, str]:
        groups = (DATA_KINDS, CIRCUMSTANCE_KINDS, OUTCOME_KINDS)
        group = next(place for place, kinds in enumerate(groups) if cause.kind in kinds)
        return group, -cause.effect, KINDS.index(cause.kind), cause.subject

    return tuple(sorted(causes, key=rank))


def state_verdict(
    causes: Sequence[Cause], *, is_same_data: bool | None, unknown: str
) -> tuple[Status, str]:
    """Status and verdict of ranked causes.

    Args:
        causes: What is different, in the order of a report.
        is_same_data: Whether all inputs hold equal rows, if known.
        unknown: Why data could not be compared in full, or empty.
    """
    moved = [cause for cause in causes if cause.kind in DATA_KINDS and cause.effect > 0]
    others = changed_circumstances(causes)
    if moved:
        rest = len(moved) - 1
        more = f", and {rest} more change{'s' * (rest > 1)} of the data" if rest else ""
        return "drifted", f"Drifted: {moved[0].sentence}{more}.{others}"
    if unknown:
        return "unknown", f"Unknown: {unknown}.{others}"
    if is_same_data:
        return "stable", f"Same data: every input holds the same rows.{others}"
    return "stable", f"Stable: the rows are others, and nothing drifted.{others}"


def changed_circumstances(causes: Sequence[Cause]) -> str:
    """A sentence that names the kinds of circumstances that changed, or nothing."""
    kinds = dict.fromkeys(cause.kind for cause in causes if cause.kind in CIRCUMSTANCE_KINDS)
    return f" Also changed: {', '.join(kinds)}." if kinds else ""


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first few of many.

    >>> listed(["a", "b"]), listed(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    rest = len(names) - NAMES_SHOWN_MAX
    shown = ", ".join(names[:NAMES_SHOWN_MAX])
    return f"{shown} and {rest} more" if rest > 0 else shown


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

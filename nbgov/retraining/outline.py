"""The order in which a drift report is read: outcome, causes with what follows of them, remarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nbgov.core.drift import Cause, DriftReport
from nbgov.core.drift.report import DATA_KINDS, OUTCOME_KINDS

CAUSES_SHOWN_MAX = 40


@dataclass(frozen=True, slots=True)
class Told:
    """A cause where it is told.

    Attributes:
        cause: The cause.
        depth: 0, or how far below its own cause it stands.
        share: The share of rows that it is about; ``None`` for what has no rows of its own.
    """

    cause: Cause
    depth: int
    share: float | None


@dataclass(frozen=True, slots=True)
class Outline:
    """A report in sections, each in the report's own order.

    Attributes:
        outcome: What came of it: metrics.
        changes: What may have made the difference; each followed by its consequences.
        remarks: What is worth knowing and is no drift.
        left: How many causes are not told.
        holds: Why a promotion would be held; what is told above is named only.
    """

    outcome: tuple[Cause, ...]
    changes: tuple[Told, ...]
    remarks: tuple[Cause, ...]
    left: int
    holds: tuple[str, ...]


def outline(report: DriftReport, *, causes_max: int = CAUSES_SHOWN_MAX) -> Outline:
    """Lay out a report; at most ``causes_max`` causes are told."""
    shown = report.causes[:causes_max]
    parents = parents_of(shown)
    outcome: list[Cause] = []
    changes: list[Told] = []
    remarks: list[Cause] = []
    for place, cause in enumerate(shown):
        if parents[place] is not None:
            continue
        if cause.kind in OUTCOME_KINDS:
            outcome.append(cause)
        elif cause.effect > 0 or place in parents:
            changes += branch(shown, parents, place, 0)
        else:
            remarks.append(cause)
    left = len(report.causes) - len(shown)
    named = {f"{one.kind}: {one.sentence}": f"{one.kind} of {one.subject}" for one in shown}
    holds = dict.fromkeys(named.get(hold, hold) for hold in report.holds)
    return Outline(tuple(outcome), tuple(changes), tuple(remarks), left, tuple(holds))


def branch(
    causes: Sequence[Cause], parents: Sequence[int | None], place: int, depth: int
) -> list[Told]:
    """A cause and, below it, all that follows from it."""
    found = [Told(causes[place], depth, share_of(causes[place]))]
    for child, parent in enumerate(parents):
        if parent == place:
            found += branch(causes, parents, child, depth + 1)
    return found


def share_of(cause: Cause) -> float | None:
    """The share of rows that a cause is about, if it is about rows."""
    # A circumstance has no rows of its own, and stale data moved none.
    is_about_rows = cause.kind in DATA_KINDS and cause.kind != "freshness" and cause.effect > 0
    return cause.effect if is_about_rows else None


def parents_of(causes: Sequence[Cause]) -> list[int | None]:
    """Where the cause stands that each one follows from; ``None`` for what stands for itself."""
    parents: list[int | None] = []
    for cause in causes:
        of_kind = [place for place, other in enumerate(causes) if other.kind == cause.because]
        near = [place for place in of_kind if is_about_same(causes[place].subject, cause.subject)]
        parents.append(next(iter(near or of_kind), None) if cause.because else None)
    return [None if is_circular(parents, place) else found for place, found in enumerate(parents)]


def is_about_same(subject: str, other: str) -> bool:
    """Whether one subject is the other, or the input that holds it."""
    return other == subject or other.startswith(f"{subject}.")


def is_circular(parents: Sequence[int | None], place: int) -> bool:
    """Whether a cause would follow, in the end, from a circle of causes."""
    seen: set[int] = set()
    at: int | None = place
    while at is not None and at not in seen:
        seen.add(at)
        at = parents[at]
    return at is not None

"""Which decisions change between two policies, over a corpus of statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from nbgov.core.policy.cases import PERMIT, Answer, Asked, Decide, summary
from nbgov.core.policy.question import STRICTNESS
from nbgov.model import ApprovalQuorum, MaskKind, Obligation, RowFilter

LIMITS = ("row_limit", "byte_limit", "write_limit")


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that two policies decide differently.

    Attributes:
        asked: The statement and who asks.
        before, after: The two answers.
        kinds: What changes, gravest first: ``blocked``, ``permitted``, ``masked``, ``unmasked``,
            ``filtered``, ``unfiltered``, ``asked``, ``unasked``, ``limited``, ``unlimited``, or
            ``reason`` for a deny of another kind.
    """

    asked: Asked
    before: Answer
    after: Answer
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """The obligations of a permit, in a form that two of them can be compared in."""

    masks: Mapping[str, MaskKind]
    filters: frozenset[object]
    approvals: frozenset[object]
    limits: Mapping[str, int]


def diff(corpus: Iterable[Asked], before: Decide, after: Decide) -> Iterator[Change]:
    """The statements of a corpus whose answer changes, in order."""
    for asked in corpus:
        old, new = before(asked), after(asked)
        found = kinds(old, new)
        if found:
            yield Change(asked, old, new, found)


def kinds(old: Answer, new: Answer) -> tuple[str, ...]:
    """What changes from one answer to another. The names of rules alone are no change."""
    if old.decision != new.decision:
        return ("permitted",) if new.decision == PERMIT else ("blocked",)
    if old.decision != PERMIT:
        return ("reason",) if old.code != new.code else ()
    return tuple(condition_kinds(conditions(old.obligations), conditions(new.obligations)))


def conditions(obligations: tuple[Obligation, ...]) -> Conditions:
    """Obligations as they are compared."""
    found = summary(obligations)
    return Conditions(
        masks=found["masks"],
        filters=frozenset(o for o in obligations if isinstance(o, RowFilter)),
        approvals=frozenset(o for o in obligations if isinstance(o, ApprovalQuorum)),
        limits={key: found[key] for key in LIMITS if found[key] is not None},
    )


def condition_kinds(was: Conditions, now: Conditions) -> Iterator[str]:
    """What changes between the obligations of two permits."""
    if stricter(now.masks, was.masks):
        yield "masked"
    if stricter(was.masks, now.masks):
        yield "unmasked"
    for word, before, after in (
        ("filtered", was.filters, now.filters),
        ("asked", was.approvals, now.approvals),
    ):
        if after - before:
            yield word
        if before - after:
            yield f"un{word}"
    if lower(now.limits, was.limits):
        yield "limited"
    if lower(was.limits, now.limits):
        yield "unlimited"


def stricter(masks: Mapping[str, MaskKind], others: Mapping[str, MaskKind]) -> bool:
    """Whether some column is masked where the others show it, or show more of it."""
    return any(
        name not in others or STRICTNESS.index(kind) < STRICTNESS.index(others[name])
        for name, kind in masks.items()
    )


def lower(limits: Mapping[str, int], others: Mapping[str, int]) -> bool:
    """Whether some limit is lower than among the others, or stands only here."""
    return any(key not in others or limit < others[key] for key, limit in limits.items())

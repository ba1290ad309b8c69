"""The conditions of a permit: gathered, merged, and told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nbgov.core.policy.document import Policy, Rule
from nbgov.core.policy.question import STRICTNESS, Question
from nbgov.model import (
    Action,
    ApprovalQuorum,
    ByteLimit,
    ColumnMask,
    ColumnName,
    Decision,
    MaskKind,
    Obligation,
    RowLimit,
    Statement,
    WriteLimit,
)

Limits = RowLimit | ByteLimit | WriteLimit


def gather(question: Question, rules: Iterable[Rule]) -> tuple[Obligation, ...]:
    """Every obligation of a statement whose tables ``rules`` permit."""
    statement = question.statement
    found: list[Obligation] = []
    for use in statement.tables:
        table = question.catalog.tables.get(use.table)
        if table is not None:
            found += question.masks(table)
            found += question.row_filters(table)
    found += content_obligations(question.policy)
    for rule in rules:
        found += rule_obligations(rule, is_read=statement.is_read)
    return tuple(merge(found))


def content_obligations(policy: Policy) -> Iterator[Obligation]:
    """What to look for in text that no tag classifies."""
    if policy.content.entities:
        yield policy.content


def rule_obligations(rule: Rule, *, is_read: bool) -> Iterator[Obligation]:
    """Limits and approvals of a rule that a permit rests on."""
    terms = rule.obligations
    if terms.row_limit is not None:
        yield RowLimit(terms.row_limit)
    if terms.byte_limit is not None:
        yield ByteLimit(terms.byte_limit)
    if terms.write_limit is not None and not is_read:
        yield WriteLimit(terms.write_limit)
    if terms.approval is not None:
        by = terms.approval.by
        yield ApprovalQuorum(
            rule=rule.id,
            names=frozenset(by.names),
            groups=frozenset(by.groups),
            roles=frozenset(by.roles),
            votes_min=terms.approval.votes,
            mode=terms.approval.mode,
            wait_s=terms.approval.wait_s,
            valid_s=terms.approval.valid_s,
        )


def merge(obligations: Iterable[Obligation]) -> Iterator[Obligation]:
    """The strictest mask of each column, the lowest of each limit, all else once, in order."""
    masks: dict[ColumnName, ColumnMask] = {}
    limits: dict[type[Limits], Limits] = {}
    rest: dict[Obligation, None] = {}
    for obligation in obligations:
        if isinstance(obligation, ColumnMask):
            held = masks.get(obligation.column)
            if held is None or strictness(obligation.kind) < strictness(held.kind):
                masks[obligation.column] = obligation
        elif isinstance(obligation, Limits):
            limit = limits.setdefault(type(obligation), obligation)
            limits[type(obligation)] = min(limit, obligation, key=bound)
        else:
            rest[obligation] = None
    yield from (masks[column] for column in sorted(masks))
    yield from rest
    yield from (limits[kind] for kind in (RowLimit, ByteLimit, WriteLimit) if kind in limits)


def strictness(kind: MaskKind) -> int:
    """The rank of a mask; the lower one wins."""
    return STRICTNESS.index(kind)


def bound(limit: Limits) -> int:
    """The figure of a limit."""
    return limit.bytes_max if isinstance(limit, ByteLimit) else limit.rows_max


def reported(decision: Decision, statement: Statement) -> tuple[Obligation, ...]:
    """The obligations that bear on what a statement reads, for people.

    A mask holds for a table wherever it is named, yet it is told only where the statement reads
    more of the column than whether it is NULL, which every mask but ``null`` keeps. Where it is not
    known what the statement reads, every mask is told.
    """
    read = {ColumnName(use.table, name) for use in statement.tables for name in use.columns}
    return tuple(
        obligation
        for obligation in decision.obligations
        if not isinstance(obligation, ColumnMask)
        or not statement.is_resolved
        or (
            obligation.column in read
            and (
                obligation.kind is MaskKind.NULL
                or obligation.column not in statement.presence_columns
            )
        )
    )


def masked_columns(obligations: Iterable[Obligation]) -> frozenset[ColumnName]:
    """The columns that obligations mask."""
    return frozenset(o.column for o in obligations if isinstance(o, ColumnMask))


def is_named(action: str) -> bool:
    """Whether an action is about a table as a whole, and not about columns of it."""
    return action in {Action.CREATE, Action.ALTER, Action.DROP, Action.MAINTAIN}

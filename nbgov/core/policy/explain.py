"""Why a statement is decided as it is: what became of each rule, and where each tag comes from.

The explanation is told by the same :class:`~nbgov.core.policy.question.Question` that decides, so
that it cannot say anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from nbgov.core.policy import NO_CONTEXT, decide, forbids, needs
from nbgov.core.policy.conditions import Context
from nbgov.core.policy.document import Policy, Rule
from nbgov.core.policy.obligations import merge
from nbgov.core.policy.patterns import is_on
from nbgov.core.policy.question import Question
from nbgov.model import Catalog, ColumnMask, ColumnName, Decision, Finding, Principal, Statement


class Match(StrEnum):
    """What became of a rule. All but ``MATCHED`` say what it was that did not match."""

    MATCHED = "matched"
    AUDIENCE = "audience"
    EXEMPT = "unless"
    ACTION = "action"
    RESOURCE = "resource"
    CONDITION = "when"
    FAILED = "when failed"


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """A rule, what became of it, and why in a sentence."""

    rule: str
    effect: str
    match: Match
    detail: str


@dataclass(frozen=True, slots=True)
class ColumnTrace:
    """A column that the statement reads.

    Attributes:
        column: The column.
        tags: Its tags, and the column that each one comes from.
        mask: How it reads, or empty for as it is stored.
        is_declassified: Whether a ``public`` pattern stops what it would inherit.
    """

    column: ColumnName
    tags: tuple[tuple[str, ColumnName], ...]
    mask: str
    is_declassified: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and everything that led to it.

    Attributes:
        decision: The decision.
        rules: Every rule of the policy, in its order.
        columns: Every column that the statement reads, in order of their names.
    """

    decision: Decision
    rules: tuple[RuleTrace, ...]
    columns: tuple[ColumnTrace, ...]


def explain(
    policy: Policy,
    principal: Principal,
    connection: str,
    statement: Statement,
    *,
    catalog: Catalog,
    findings: tuple[Finding, ...] = (),
    context: Context = NO_CONTEXT,
) -> Explanation:
    """Decide a statement as :func:`nbgov.core.policy.decide` does, and say why."""
    decision = decide(
        policy,
        principal,
        connection,
        statement,
        catalog=catalog,
        findings=findings,
        context=context,
    )
    question = Question(policy, connection, catalog, principal, statement, context)
    return Explanation(
        decision=decision,
        rules=tuple(trace(question, rule) for rule in policy.document.rules),
        columns=tuple(trace_columns(question)),
    )


def trace(question: Question, rule: Rule) -> RuleTrace:
    """What became of one rule."""
    match, detail = outcome(question, rule)
    return RuleTrace(rule.id, rule.effect, match, detail)


def outcome(question: Question, rule: Rule) -> tuple[Match, str]:
    """The first thing that a rule fails on, in the order in which a person reads a rule."""
    name, wanted = question.principal.name, needed(question)
    if not rule.to.holds(question.principal):
        return Match.AUDIENCE, f"it is not about {name}"
    if rule.unless.holds(question.principal):
        return Match.EXEMPT, f"it exempts {name}"
    touched = [(action, columns) for action, columns in wanted if action in rule.actions]
    if not touched:
        asked = ", ".join(dict.fromkeys(action for action, _ in wanted))
        return Match.ACTION, f"it is about {', '.join(rule.actions)}, not {asked}"
    if not any(is_about(question, rule, action, columns) for action, columns in touched):
        return Match.RESOURCE, "none of its patterns matches what the statement touches"
    return verdict_of_condition(question, rule, list(dict.fromkeys(a for a, _ in touched)))


def verdict_of_condition(question: Question, rule: Rule, actions: list[str]) -> tuple[Match, str]:
    """What became of a rule that is about the statement, but for its condition."""
    answers = [question.condition(rule, action) for action in actions]
    if None in answers:
        return Match.FAILED, "its condition could not be evaluated"
    if True not in answers:
        return Match.CONDITION, f"its condition is false: {rule.when}"
    return Match.MATCHED, rule.reason or f"it {rule.effect}s {', '.join(actions)}"


def needed(question: Question) -> list[tuple[str, list[ColumnName]]]:
    """Every action that the statement needs, with the columns that it is about."""
    found: list[tuple[str, list[ColumnName]]] = [
        (action, [ColumnName(use.table, column) for column in columns])
        for use in question.statement.tables
        for action, columns, _ in needs(question, use)
    ]
    return found or [("read", [])]


def is_about(question: Question, rule: Rule, action: str, columns: list[ColumnName]) -> bool:
    """Whether a rule covers one of the columns; a statement that names none is on a connection."""
    if not columns:
        return any(is_on(question.connection, text) for text in rule.on)
    if rule.effect == "forbid":
        return forbids(question, rule, action, columns)
    return any(rule.covers(question.connection, column) for column in columns)


def trace_columns(question: Question) -> Iterator[ColumnTrace]:
    """Tags and masks of the columns that the statement reads."""
    masks = {
        mask.column: mask.kind.value
        for use in question.statement.tables
        if (table := question.catalog.tables.get(use.table)) is not None
        for mask in merge(question.masks(table))
        if isinstance(mask, ColumnMask)
    }
    read = {ColumnName(u.table, name) for u in question.statement.tables for name in u.columns}
    for column in sorted(read):
        yield ColumnTrace(
            column=column,
            tags=tuple((tag.name, tag.source) for tag in question.tags(column)),
            mask=masks.get(column, ""),
            is_declassified=question.policy.is_declassified(question.connection, column),
        )

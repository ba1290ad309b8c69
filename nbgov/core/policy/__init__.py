"""Policy as code: who may do what to which data, and under which obligations.

:func:`parse` reads ``policy.yaml`` into a :class:`Policy`; :func:`decide` is a total, deterministic
function of recorded values. Default deny; a forbid wins over every permit; every permit that
matches adds its obligations, so that one more permit can never loosen a mask. Cases are in
``tests/cases/policy``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nbgov.core.policy.conditions import Context
from nbgov.core.policy.document import FILE_NAME, PUBLIC, Policy, Rule, parse, schema
from nbgov.core.policy.obligations import gather, is_named, reported
from nbgov.core.policy.patterns import TableMatcher, pattern, resource_name
from nbgov.core.policy.question import Question
from nbgov.core.policy.refusals import every_column, refusals
from nbgov.model import (
    Action,
    Catalog,
    ColumnName,
    Decision,
    Effect,
    Finding,
    Principal,
    Statement,
    TableName,
    TableUse,
)

__all__ = [
    "FILE_NAME",
    "PUBLIC",
    "Context",
    "Policy",
    "decide",
    "parse",
    "reported",
    "schema",
    "visible",
]

NO_CONTEXT = Context()
TAG_IT = "tag the columns of the view in policy.yaml, with public where nothing is hidden"
DECLASSIFY_IT = "read the base table, or ask the owner of policy.yaml to declare the view public"


def visible(policy: Policy, principal: Principal, connection: str, catalog: Catalog) -> Catalog:
    """The part of a catalog that some rule lets the principal touch; the rest reads as absent.

    Functions that the policy registers count as free of effects. Conditions are left out of
    account: they decide whether a statement may run, not which names it may use.
    """
    matcher = TableMatcher(
        text
        for rule in policy.document.rules
        if rule.effect == "permit" and any(rule.concerns(principal, a) for a in rule.actions)
        for text in rule.on
    )
    tables = {
        name: table
        for name, table in catalog.tables.items()
        if matcher.matches(resource_name(connection, name), (c.name for c in table.columns))
    }
    return replace(
        catalog,
        tables=tables,
        functions=registered(policy, connection, catalog),
        is_whole=catalog.is_whole and len(tables) == len(catalog.tables),
    )


def registered(policy: Policy, connection: str, catalog: Catalog) -> dict[str, Effect]:
    """The functions that people have defined, those that the policy vouches for as reads."""
    patterns = [pattern(text).table for text in policy.document.functions.read]

    def effect(name: str, known: Effect) -> Effect:
        schema_name, _, bare = name.rpartition(".")
        full = resource_name(connection, TableName(schema_name, bare))
        return Effect.READ if any(one.fullmatch(full) for one in patterns) else known

    return {name: effect(name, known) for name, known in catalog.functions.items()}


def decide(
    policy: Policy,
    principal: Principal,
    connection: str,
    statement: Statement,
    *,
    catalog: Catalog,
    findings: tuple[Finding, ...] = (),
    context: Context = NO_CONTEXT,
) -> Decision:
    """Permit or deny a statement.

    Every column that the statement reads or writes needs a permit, and a table of which no column
    is named needs one for any of its columns. The answer depends on the arguments alone.

    Args:
        policy: The policy in force.
        principal: Who asks.
        connection: Name of the connection.
        statement: What is asked.
        catalog: What the connection holds; masks and filters extend to every column of a table
            read.
        findings: What the guard reports; any finding is a deny.
        context: The circumstances, as the record states them.

    Returns:
        The decision with its obligations, the rules that determined it and the policy's digest.
    """
    if findings:
        return Decision(
            is_permitted=False,
            rules=tuple(finding.code for finding in findings),
            reason="; ".join(finding.message for finding in findings),
            next_step=findings[0].next_step,
            code="denied-by-guard",
            policy_digest=policy.digest,
        )
    question = Question(policy, connection, catalog, principal, statement, context)
    matched: dict[str, Rule] = {}
    denial = judge(question, matched)
    if denial is not None:
        return denial
    obligations = gather(question, matched.values())
    refusal = next(refusals(question, obligations), None)
    if refusal is not None:
        return Decision(
            is_permitted=False,
            rules=tuple(matched),
            reason=refusal.why,
            next_step=refusal.next_step,
            code=refusal.code,
            policy_digest=policy.digest,
        )
    return Decision(
        is_permitted=True,
        obligations=obligations,
        rules=tuple(matched),
        reason="permitted by " + ", ".join(matched),
        policy_digest=policy.digest,
        unclassified=frozenset(unclassified(question)),
    )


def denied(question: Question, rules: tuple[str, ...], why: str, next_step: str = "") -> Decision:
    """A deny by policy."""
    return Decision(
        is_permitted=False,
        rules=rules,
        reason=why,
        next_step=next_step or "ask for the role, or ask the owner of policy.yaml for a rule",
        code="denied-by-policy",
        policy_digest=question.policy.digest,
    )


def judge(question: Question, matched: dict[str, Rule]) -> Decision | None:
    """Deny a statement, or add the permits that it rests on to ``matched``."""
    statement, name = question.statement, question.principal.name
    for use in statement.tables:
        denial = judge_use(question, use, matched) or judge_view(question, use)
        if denial is not None:
            return denial
    is_metadata = bool(statement.system_tables) or "metadata" in statement.traits
    if is_metadata and not question.catalog.is_whole:
        why = f"{statement.verb} would show names of tables that are hidden from {name}"
        return denied(question, (), why, "list what you may touch: nbgov catalog")
    if is_metadata or not statement.tables:
        reading = question.reading_rules()
        if not reading:
            return denied(question, (), f"no rule permits {name} to use {question.connection}")
        matched.update(reading)
    # Security: a statement that changes something is permitted on the tables that it changes, so
    # one that names none cannot be permitted by reading rules.
    if not statement.is_read and all(use.action is Action.READ for use in statement.tables):
        return denied(question, (), f"{statement.verb} names no table that a rule could be about")
    return None


def judge_use(question: Question, use: TableUse, matched: dict[str, Rule]) -> Decision | None:
    """Deny one use of a table, or add the permits that it rests on to ``matched``."""
    connection = question.connection
    for action, columns, is_any_enough in needs(question, use):
        names = [ColumnName(use.table, column) for column in columns]
        for rule in question.forbids(action):
            if forbids(question, rule, action, names):
                why = rule.reason or f"the rule {rule.id!r} forbids {action} on {use.table}"
                return denied(question, (rule.id,), why)
        permits = [r for r in question.permits(action) if r.covers_table(connection, use.table)]
        covered = [any(rule.covers(connection, one) for rule in permits) for one in names]
        if not (any(covered) if is_any_enough else all(covered)):
            why = f"no rule permits {question.principal.name} to {action} {use.table}"
            return denied(question, (), why)
        matched.update(
            {r.id: r for r in permits if any(r.covers(connection, one) for one in names)}
        )
    return None


def forbids(question: Question, rule: Rule, action: str, names: list[ColumnName]) -> bool:
    """Whether a forbid is about one of the columns, or about a base column that one shows."""
    connection = question.connection
    if is_named(action):
        return any(rule.covers_table(connection, name.table) for name in names)
    shown = set(names)
    if action is Action.READ:
        for name in names:
            table = question.catalog.tables.get(name.table)
            shown |= question.origins(table, name.name) if table is not None else set()
    return any(rule.covers(connection, name) for name in shown)


def needs(question: Question, use: TableUse) -> Iterator[tuple[Action, list[str], bool]]:
    """What one use of a table needs: action, columns, and whether a permit for any will do."""
    statement = question.statement
    every = every_column(question, use.table)
    # EXPLAIN of a write changes nothing; it tells about the table as a read does.
    action = Action.READ if statement.plan == "plan" else use.action
    if action is not Action.READ:
        written = [c.name for c in statement.written_columns if c.table == use.table]
        yield action, sorted(written) or every, False
    if use.columns:
        yield Action.READ, sorted(use.columns), False
    elif action is Action.READ:
        # SELECT count(*) names no column, yet tells how many rows there are.
        yield Action.READ, every, True


def judge_view(question: Question, use: TableUse) -> Decision | None:
    """Deny a view that the policy cannot vouch for.

    Masks hold for the table that is named, and a view reads other tables by itself. What its
    columns show is known by its origins or by tags of its own; which rows it shows is masked by
    nothing.
    """
    table = question.catalog.tables.get(use.table)
    if table is None or table.kind == "table":
        return None
    if not table.is_traced:
        columns = sorted(use.columns) or [column.name for column in table.columns]
        names = [ColumnName(use.table, name) for name in columns]
        bare = [n.name for n in names if not question.policy.tags_of(question.connection, n)]
        if bare:
            why = f"{use.table} is a {table.kind} that nbgov could not trace"
            return denied(question, (), f"{why}, and {', '.join(bare)} carries no tag", TAG_IT)
    choosers = question.masked_choosers(table)
    if choosers:
        why = f"{choosers[0]}, masked for you, chooses the rows of {use.table}"
        return denied(question, (), why, DECLASSIFY_IT)
    filtered = question.filtered_sources(table)
    if filtered:
        why = f"{use.table} shows rows of {filtered[0]}, which has a row filter for you"
        return denied(question, (), why, f"read {filtered[0]} itself")
    return None


def unclassified(question: Question) -> Iterator[ColumnName]:
    """The columns read whose values no tag classifies."""
    for use in question.statement.tables:
        for name in use.columns:
            column = ColumnName(use.table, name)
            if not question.is_classified(column):
                yield column

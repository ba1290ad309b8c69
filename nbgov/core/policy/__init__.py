"""Policy as code: who may do what to which data, and under which obligations.

:func:`parse` reads ``policy.yaml`` into a :class:`Policy`; :func:`decide` is a total, deterministic
function of recorded values. Default deny; a forbid wins over every permit; every permit that
matches adds its obligations, so that one more permit can never loosen a mask. Cases are in
``tests/cases/policy``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import translate

from nbgov.core.policy.document import (
    FILE_NAME,
    PUBLIC,
    Policy,
    Rule,
    is_on,
    parse,
    resource_name,
    schema,
)
from nbgov.model import (
    ApprovalQuorum,
    Catalog,
    ColumnMask,
    ColumnName,
    ContentMask,
    Decision,
    Effect,
    Finding,
    MaskKind,
    Obligation,
    Principal,
    RowFilter,
    RowLimit,
    Statement,
    Table,
    TableUse,
)

__all__ = ["FILE_NAME", "PUBLIC", "Policy", "decide", "parse", "schema", "visible"]

STRICTNESS = tuple(MaskKind)


def visible(policy: Policy, principal: Principal, connection: str, catalog: Catalog) -> Catalog:
    """The part of a catalog that some rule lets the principal touch; the rest reads as absent."""
    rules = [
        rule
        for rule in policy.document.rules
        if rule.effect == "permit" and any(rule.concerns(principal, a) for a in rule.actions)
    ]

    def is_visible(table: Table) -> bool:
        names = (resource_name(connection, table.name, column.name) for column in table.columns)
        return any(rule.covers(name) for name in names for rule in rules)

    return replace(catalog, tables={n: t for n, t in catalog.tables.items() if is_visible(t)})


def decide(
    policy: Policy,
    principal: Principal,
    connection: str,
    statement: Statement,
    *,
    catalog: Catalog,
    findings: tuple[Finding, ...] = (),
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

    Returns:
        The decision with its obligations, the rules that determined it and the policy's digest.
    """
    if findings:
        first = findings[0]
        return Decision(
            is_permitted=False,
            rules=tuple(finding.code for finding in findings),
            reason="; ".join(finding.message for finding in findings),
            next_step=first.next_step,
            code="denied-by-guard",
            policy_digest=policy.digest,
        )
    matched: dict[str, Rule] = {}
    obligations: list[Obligation] = []
    for use in statement.tables:
        denial = judge(policy, principal, connection, use, statement, catalog, matched)
        denial = denial or unclassified_view(policy, connection, use, catalog)
        if denial is not None:
            return denial
        obligations += table_obligations(policy, principal, connection, use, catalog)
    if not statement.tables:
        matched.update(reading_rules(policy, principal, connection))
        if not matched:
            return denied(policy, (), f"no rule permits {principal.name} to use {connection}")
    unclassified = frozenset(
        ColumnName(use.table, name)
        for use in statement.tables
        for name in use.columns
        if not policy.tags_of(connection, ColumnName(use.table, name))
    )
    terms = policy.document.content
    if terms.entities:
        obligations.append(ContentMask(terms.entities, terms.score_min, terms.language))
    obligations += statement_obligations(matched.values())
    conflict = masked_read_in_write(statement, obligations)
    if conflict is not None:
        return Decision(
            is_permitted=False,
            rules=tuple(matched),
            reason=conflict,
            next_step="choose the rows by columns that are not masked for you",
            code="masked-column-in-write",
            policy_digest=policy.digest,
        )
    return Decision(
        is_permitted=True,
        obligations=tuple(merge(obligations)),
        rules=tuple(matched),
        reason="permitted by " + ", ".join(matched),
        policy_digest=policy.digest,
        unclassified=unclassified,
    )


def denied(policy: Policy, rules: tuple[str, ...], why: str) -> Decision:
    """A deny by policy."""
    return Decision(
        is_permitted=False,
        rules=rules,
        reason=why,
        next_step="ask for the role, or ask the owner of policy.yaml for a rule",
        code="denied-by-policy",
        policy_digest=policy.digest,
    )


def judge(
    policy: Policy,
    principal: Principal,
    connection: str,
    use: TableUse,
    statement: Statement,
    catalog: Catalog,
    matched: dict[str, Rule],
) -> Decision | None:
    """Deny one use of a table, or add the permits that it rests on to ``matched``."""
    for action, columns, is_any_enough in needs(use, statement, catalog):
        concerned = [r for r in policy.document.rules if r.concerns(principal, action)]
        names = [resource_name(connection, use.table, column) for column in columns]
        for rule in concerned:
            if rule.effect == "forbid" and any(map(rule.covers, names)):
                why = rule.reason or f"the rule {rule.id!r} forbids {action} on {use.table}"
                return denied(policy, (rule.id,), why)
        permits = [r for r in concerned if r.effect == "permit"]
        covered = [any(r.covers(name) for r in permits) for name in names]
        if not (any(covered) if is_any_enough else all(covered)):
            return denied(policy, (), f"no rule permits {principal.name} to {action} {use.table}")
        matched.update({r.id: r for r in permits if any(map(r.covers, names))})
    return None


def unclassified_view(
    policy: Policy, connection: str, use: TableUse, catalog: Catalog
) -> Decision | None:
    """Deny a view whose columns the policy does not classify.

    Masks hold for the table that is named. A view reads other tables by itself, so its own columns
    have to say what they are; until they do, they could be masked columns under another name.
    """
    if catalog.tables[use.table].kind == "table":
        return None
    bare = [
        c for c in sorted(use.columns) if not policy.tags_of(connection, ColumnName(use.table, c))
    ]
    if not bare:
        return None
    return replace(
        denied(policy, (), f"{use.table} is a view, and {', '.join(bare)} carries no tag"),
        next_step="tag the columns of the view in policy.yaml, with public where nothing is hidden",
    )


def needs(
    use: TableUse, statement: Statement, catalog: Catalog
) -> Iterator[tuple[str, list[str], bool]]:
    """What one use of a table needs: action, columns, and whether a permit for any will do."""
    every = [column.name for column in catalog.tables[use.table].columns]
    if use.effect is not Effect.READ:
        written = [c.name for c in statement.written_columns if c.table == use.table]
        yield use.effect.value, sorted(written) or every, False
    if use.columns:
        yield "read", sorted(use.columns), False
    elif use.effect is Effect.READ:
        # SELECT count(*) names no column, yet tells how many rows there are.
        yield "read", every, True


def reading_rules(policy: Policy, principal: Principal, connection: str) -> dict[str, Rule]:
    """Permits to read anything on a connection, which a statement without tables rests on."""
    return {
        rule.id: rule
        for rule in policy.document.rules
        if rule.effect == "permit"
        and rule.concerns(principal, "read")
        and any(is_on(connection, on) for on in rule.on)
    }


def table_obligations(
    policy: Policy, principal: Principal, connection: str, use: TableUse, catalog: Catalog
) -> Iterator[Obligation]:
    """Masks and row filters of one table, for every column of it, read or not.

    A table is read through one projection wherever it is named, so that a predicate on a masked
    column sees the masked value.
    """
    for rule in policy.document.rules:
        if rule.effect != "permit" or not rule.concerns(principal, "read"):
            continue
        terms = rule.obligations
        is_covering = False
        for column in catalog.tables[use.table].columns:
            name = ColumnName(use.table, column.name)
            if not rule.covers(resource_name(connection, use.table, column.name)):
                continue
            is_covering = True
            for tag in policy.tags_of(connection, name):
                for wanted, kind in terms.masks.items():
                    if tag_pattern(wanted).fullmatch(tag):
                        yield ColumnMask(name, kind, tag)
        if terms.row_filter is not None and is_covering:
            yield RowFilter(use.table, terms.row_filter)


@functools.lru_cache(maxsize=1024)
def tag_pattern(text: str) -> re.Pattern[str]:
    """The matcher of a tag glob such as ``pii.*``."""
    return re.compile(translate(text))


def statement_obligations(rules: Iterable[Rule]) -> Iterator[Obligation]:
    """Row limits and approvals of the rules that a permit rests on."""
    for rule in rules:
        terms = rule.obligations
        if terms.row_limit is not None:
            yield RowLimit(terms.row_limit)
        if terms.approval is not None:
            by = terms.approval.by
            yield ApprovalQuorum(
                rule=rule.id,
                names=frozenset(by.names),
                groups=frozenset(by.groups),
                roles=frozenset(by.roles),
                votes_min=terms.approval.votes,
            )


def masked_read_in_write(statement: Statement, obligations: Iterable[Obligation]) -> str | None:
    """Why a write cannot keep its promises: its target cannot be read through a projection."""
    held = list(obligations)
    for use in statement.tables:
        if use.effect is Effect.READ:
            continue
        masked = {
            o.column.name for o in held if isinstance(o, ColumnMask) and o.column.table == use.table
        }
        written = {c.name for c in statement.written_columns if c.table == use.table}
        assigned = written if use.effect is Effect.UPDATE else set()
        touched = sorted(masked & (use.columns | assigned))
        if touched:
            return f"{statement.verb} touches {', '.join(touched)} of {use.table}, masked for you"
        if any(isinstance(o, RowFilter) and o.table == use.table for o in held):
            return f"{use.table} has a row filter for you, which a {statement.verb} cannot keep"
    return None


def merge(obligations: Iterable[Obligation]) -> Iterator[Obligation]:
    """The strictest mask of each column, the lowest row limit, and all else once, in order."""
    masks: dict[ColumnName, ColumnMask] = {}
    rest: dict[Obligation, None] = {}
    limits: list[int] = []
    for obligation in obligations:
        if isinstance(obligation, ColumnMask):
            held = masks.get(obligation.column)
            if held is None or STRICTNESS.index(obligation.kind) < STRICTNESS.index(held.kind):
                masks[obligation.column] = obligation
        elif isinstance(obligation, RowLimit):
            limits.append(obligation.rows_max)
        else:
            rest[obligation] = None
    yield from (masks[column] for column in sorted(masks))
    yield from rest
    if limits:
        yield RowLimit(min(limits))

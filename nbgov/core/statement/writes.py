"""A statement that writes, understood: what it assigns, from where, and to which rows.

INSERT, UPDATE, DELETE and MERGE, at the top or in a ``WITH``. A target is mentioned once for each
thing that is done to it, and is never replaced by a projection; every other table is read, and is
masked at the scan like that of a query.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from nbgov.core.statement.changes import WRITE_NODES, WRITES, Change, changes
from nbgov.core.statement.flows import Flows
from nbgov.core.statement.names import qualifier_spans
from nbgov.core.statement.nodes import check_nodes
from nbgov.core.statement.reads import (
    FAILING,
    Mentions,
    functions,
    output,
    refuse_ambiguous_recursion,
    relations,
    uses,
)
from nbgov.core.statement.text import tokenize
from nbgov.core.statement.trails import Sources, Unresolved
from nbgov.core.statement.words import replaces_rows
from nbgov.model import (
    Action,
    Catalog,
    ColumnName,
    Effect,
    Flow,
    Influence,
    Statement,
    TableUse,
)


def understand_write(head: Statement, tree: exp.Expr, catalog: Catalog) -> Statement:
    """The statement behind a text that writes, at its top or in a WITH.

    Raises:
        Denied: A part of it is not known.
        RequestInvalid: It names a table or a column that is absent.
    """
    spell_out_values(tree)
    check_nodes(tree, len(head.binds), also=WRITE_NODES)
    refuse_ambiguous_recursion(tree, catalog)
    writes = changes(tree, catalog)
    if replaces_rows(tokenize(head.sql, head.dialect)):
        writes = tuple(with_delete(write) for write in writes)
    mentions, system = relations(tree, catalog)
    is_top = isinstance(tree, WRITES)
    found = replace(
        head,
        verb=tree.key.upper() if is_top else "SELECT",
        effects=frozenset({Effect.WRITE}),
        system_tables=frozenset(system.values()),
        qualifiers=qualifier_spans(tree),
        traits=frozenset[str]().union(*(write.traits for write in writes)),
    )
    lineage = Flows(catalog, {id(m): t for m, t in mentions}, set(system), writes)
    try:
        fields = lineage.query(tree, None)
    except (Unresolved, RecursionError):
        return unresolved(found, tree, writes, mentions, catalog)
    shown = lineage.shown.union(*(one.trail.shown for one in fields))
    shown |= {c for trail in lineage.flows.values() for c in trail.shown}
    assigned = {c: lineage.flows.get(c) for write in writes for c in write.assigned}
    return replace(
        found,
        tables=mentioned(found, writes, mentions, frozenset(lineage.read), lineage.touched),
        outputs=tuple(map(output, fields)),
        predicates=frozenset(lineage.predicates),
        presence_columns=frozenset(lineage.read - shown),
        raising_columns=frozenset(lineage.raising),
        flows=tuple(
            Flow(column, trail.columns if trail is not None else frozenset())
            for column, trail in assigned.items()
        ),
        functions=functions(tree, head.sql, catalog, lineage.attributes),
    )


def with_delete(write: Change) -> Change:
    """An UPDATE that also deletes the rows that are in its way."""
    is_update = Action.UPDATE in write.actions
    return replace(write, actions=(*write.actions, Action.DELETE)) if is_update else write


def unresolved(
    found: Statement, tree: exp.Expr, writes: tuple[Change, ...], mentions: Mentions,
    catalog: Catalog,
) -> Statement:  # fmt: skip
    """The statement behind a write whose columns could not be followed: unknown means all."""
    every = frozenset(
        ColumnName(table.name, column.name) for _, table in mentions for column in table.columns
    )
    touched = {id(write.node): set(every) for write in writes}
    return replace(
        found,
        tables=mentioned(found, writes, mentions, every, touched),
        predicates=frozenset((column, Influence.FILTER) for column in every),
        raising_columns=every if tree.find(*FAILING) else frozenset(),
        flows=tuple(Flow(column, every) for write in writes for column in write.assigned),
        functions=functions(tree, found.sql, catalog),
        is_resolved=False,
    )


def mentioned(
    found: Statement, writes: tuple[Change, ...], mentions: Mentions, read: Sources,
    touched: dict[int, set[ColumnName]],
) -> tuple[TableUse, ...]:  # fmt: skip
    """Every mention of a table: once for each action on a target, and once where it is read."""
    tokens = tokenize(found.sql, found.dialect)
    targets = {id(write.mention) for write in writes}
    result = list(uses([m for m in mentions if id(m[0]) not in targets], Action.READ, read, tokens))
    for write in writes:
        columns = frozenset(touched.get(id(write.node), ()))
        for action in write.actions:
            result += uses([(write.mention, write.table)], action, columns, tokens)
    return tuple(sorted(result, key=lambda use: use.span))


def spell_out_values(tree: exp.Expr) -> None:
    """Write MySQL's ``VALUES(x)`` in ON DUPLICATE KEY as the column of the row that it means."""
    for clause in list(tree.find_all(exp.OnConflict)):
        for call in list(clause.find_all(exp.Anonymous)):
            if call.name.upper() == "VALUES" and len(call.expressions) == 1:
                column = call.expressions[0]
                name = column.this if isinstance(column, exp.Column) else column
                call.replace(exp.column(name.copy(), table="excluded"))

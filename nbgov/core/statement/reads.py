"""A query, understood: which base tables and columns it reads, and how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.functions import PURE_FUNCTIONS, defined_effects, effect_in, reads_metadata
from nbgov.core.statement.lineage import Lineage
from nbgov.core.statement.names import (
    base_tables,
    find_table,
    function_name,
    not_understood,
    qualifier_spans,
    resolve,
    span_of,
)
from nbgov.core.statement.system import check_figures, system_table
from nbgov.core.statement.text import tokenize
from nbgov.core.statement.trails import Field, Pairs, Sources, Unresolved
from nbgov.model import (
    Action,
    Catalog,
    ColumnName,
    Effect,
    Influence,
    OutputColumn,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)

Mentions = Sequence[tuple[exp.Expr, Table]]
# What may fail on a value. Where columns are not known, any of these counts for all.
FAILING = (exp.Cast, exp.Div, exp.IntDiv, exp.Mod)
# What looks like a function and belongs to the grammar of an engine.
GRAMMAR = frozenset(
    """
    any array cast char coalesce collate columns date every exists extract greatest grouping if
    ifnull interval json_array json_array_agg json_arrayagg json_object json_object_agg
    json_objectagg least nullif overlay position row substring time timestamp trim
    """.split()
)


@dataclass(frozen=True, slots=True)
class Reading:
    """Which base columns a query reads, and how.

    Attributes:
        fields: Its columns; empty where resolution gave up.
        predicates: How base columns choose, join, group or order rows.
        columns: Every base column that it names, those of a part that nothing uses among them.
        chosen: Those of which more than whether they are NULL shows in the predicates.
        raising: Those whose values decide whether it fails.
        attributes: The identities of nodes that look like calls and are columns of a row.
        is_resolved: Whether this is exact. If not, it is every column of every table.
    """

    fields: tuple[Field, ...]
    predicates: Pairs
    columns: Sources
    chosen: Sources = frozenset()
    raising: Sources = frozenset()
    attributes: frozenset[int] = frozenset()
    is_resolved: bool = True

    @property
    def outputs(self) -> tuple[OutputColumn, ...]:
        """Its columns as values."""
        return tuple(map(output, self.fields))

    @property
    def presence(self) -> Sources:
        """The columns of which it reads no more than whether they are NULL."""
        return self.columns.difference(self.chosen, *(one.trail.shown for one in self.fields))


def understand_read(head: Statement, tree: exp.Expr, catalog: Catalog) -> Statement:
    """The statement behind a query."""
    mentions, system = relations(tree, catalog)
    refuse_ambiguous_recursion(tree, catalog)
    reading = read_columns(tree, mentions, catalog, system=system)
    called = functions(tree, head.sql, catalog, reading.attributes)
    told = {name for name in called if reads_metadata(name, head.dialect)}
    return replace(
        head,
        effects=frozenset({Effect.READ}),
        tables=uses(mentions, Action.READ, reading.columns, tokenize(head.sql, head.dialect)),
        outputs=reading.outputs,
        predicates=reading.predicates,
        presence_columns=reading.presence,
        raising_columns=reading.raising,
        functions=called,
        system_tables=frozenset(system.values()) | {TableName("", name) for name in told},
        qualifiers=qualifier_spans(tree),
        is_resolved=reading.is_resolved,
    )


def relations(
    tree: exp.Expr, catalog: Catalog
) -> tuple[list[tuple[exp.Expr, Table]], dict[int, TableName]]:
    """The mentions of base tables in a tree, and of the engine's own tables by identity.

    Raises:
        RequestInvalid: A name is neither.
    """
    mentions: list[tuple[exp.Expr, Table]] = []
    system: dict[int, TableName] = {}
    for mention in base_tables(tree, catalog.dialect):
        table = find_table(mention, catalog)
        name = system_table(mention, catalog.dialect) if table is None else None
        if name is not None:
            system[id(mention)] = name
        else:
            mentions.append((mention, table or resolve(mention, catalog)))
    read = [one for one in tree.find_all(exp.Table) if id(one) in system]
    check_figures(tree, read, catalog.dialect)
    return mentions, system


def read_columns(
    query: exp.Expr,
    mentions: Mentions,
    catalog: Catalog,
    *,
    system: Mapping[int, TableName] | None = None,
) -> Reading:
    """The columns that a query reads, or every column of its tables where that is not certain.

    Args:
        query: A query whose relations all resolve. It is not changed.
        mentions: Its mentions of base tables, and the tables that they mean.
        catalog: What the connection holds.
        system: Its mentions of the engine's own tables, by identity.
    """
    bases = {id(mention): table for mention, table in mentions}
    lineage = Lineage(catalog, bases, set(system or ()))
    try:
        fields = lineage.query(query, None)
    except (Unresolved, RecursionError):
        return every_column(query, mentions)
    return Reading(
        fields=fields,
        predicates=frozenset(lineage.predicates),
        columns=frozenset(lineage.read),
        chosen=frozenset(lineage.shown),
        raising=frozenset(lineage.raising),
        attributes=frozenset(lineage.attributes),
    )


def output(one: Field) -> OutputColumn:
    """A column of the result, and what bears on it."""
    trail = one.trail
    is_written = trail.has_bind or (trail.has_literal and not trail.columns)
    return OutputColumn(one.name, trail.sources, trail.direct | trail.indirect, is_written)


def every_column(query: exp.Expr, mentions: Mentions) -> Reading:
    """The reading of a query that could not be resolved."""
    tables = {table.name: table for _, table in mentions}.values()
    every = frozenset(
        ColumnName(table.name, column.name) for table in tables for column in table.columns
    )
    return Reading(
        fields=(),
        predicates=frozenset((column, Influence.FILTER) for column in every),
        columns=every,
        chosen=every,
        raising=every if query.find(*FAILING) else frozenset(),
        is_resolved=False,
    )


def refuse_ambiguous_recursion(tree: exp.Expr, catalog: Catalog) -> None:
    """Deny a recursive common table expression that is named like a base table.

    Engines differ on whether the name inside means the expression or the table.
    """
    clauses = [clause for clause in tree.find_all(exp.With) if clause.args.get("recursive")]
    names = {table.name.lower() for table in catalog.tables} if clauses else set()
    for clause in clauses:
        if any(cte.alias.lower() in names for cte in clause.expressions):
            raise not_understood(
                "a recursive common table expression has the name of a table", "rename it"
            )


def uses(
    mentions: Mentions, action: Action, read: Sources, tokens: Sequence[Token] = ()
) -> tuple[TableUse, ...]:
    """The mentions of base tables as values, with the columns that the statement reads of each.

    Args:
        mentions: The mentions and the tables that they mean.
        action: What the statement does to these tables.
        read: Every column that it reads.
        tokens: Those of its text, to find ``ONLY`` and ``TABLESAMPLE``.
    """
    columns: dict[object, set[str]] = defaultdict(set)
    for column in read:
        columns[column.table].add(column.name)
    named = {table: frozenset(names) for table, names in columns.items()}
    result = []
    placed = sorted(((span_of(mention), mention, table) for mention, table in mentions), key=first)
    for span, mention, table in placed:
        result.append(
            TableUse(
                table=table.name,
                action=action,
                span=span,
                has_alias=bool(mention.alias),
                columns=named.get(table.name, frozenset()),
                only=only_span(tokens, span) if mention.args.get("only") else None,
                sample=sample_span(tokens, span) if mention.args.get("sample") else None,
            )
        )
    return tuple(result)


def first(placed: tuple[Span, exp.Expr, Table]) -> Span:
    """Where a mention stands, for sorting."""
    return placed[0]


def only_span(tokens: Sequence[Token], name: Span) -> Span:
    """Where the ``ONLY`` before a name stands.

    Raises:
        Denied: It is not there.
    """
    before = [token for token in tokens if token.end < name.start]
    if not before or before[-1].text.upper() != "ONLY":
        raise not_understood("ONLY does not stand before a table's name")
    return Span(before[-1].start, before[-1].end + 1)


def sample_span(tokens: Sequence[Token], name: Span) -> Span:
    """Where the ``TABLESAMPLE`` clause behind a name stands, ``REPEATABLE`` included.

    Raises:
        Denied: It has no brackets, so that nobody can tell where it ends.
    """
    after = [token for token in tokens if token.start >= name.end]
    start = next((i for i, t in enumerate(after) if t.token_type is TokenType.TABLE_SAMPLE), None)
    opened = None if start is None else brackets_end(after, start)
    if start is None or opened is None:
        raise not_understood("the end of a TABLESAMPLE is not certain", "write TABLESAMPLE x (n)")
    end = opened
    if end + 1 < len(after) and after[end + 1].text.upper() in {"REPEATABLE", "SEED"}:
        end = brackets_end(after, end + 1) or end
    return Span(after[start].start, after[end].end + 1)


def brackets_end(tokens: Sequence[Token], start: int) -> int | None:
    """The index of the bracket that closes the first one near a token, if there is one."""
    near = range(start + 1, min(start + 3, len(tokens)))
    opened = next((i for i in near if tokens[i].token_type is TokenType.L_PAREN), None)
    depth = 0
    for index in range(opened, len(tokens)) if opened is not None else ():
        kind = tokens[index].token_type
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if depth == 0:
            return index
    return None


def functions(
    tree: exp.Expr,
    sql: str,
    catalog: Catalog,
    attributes: Iterable[int] = (),
) -> dict[str, Effect]:
    """The functions that a tree calls, lower case, with what each does; operators are left out.

    Args:
        tree: The statement or a part of it.
        sql: Its text, to name functions as they are written.
        catalog: What the connection holds. A function that somebody has defined there hides or
            joins the engine's own of that name.
        attributes: Identities of nodes that are no calls.
    """
    left_out = set(attributes)
    found: dict[str, Effect] = {}
    for node in tree.find_all(exp.Func):
        if isinstance(node, exp.Connector) or id(node) in left_out:
            continue
        name, effect = effect_of_node(node, sql, catalog)
        found[name] = effect
    return found


def effect_of_node(node: exp.Func, sql: str, catalog: Catalog) -> tuple[str, Effect]:
    """The name of a function and what calling it does."""
    name = function_name(node)
    start, end = node.meta.get("start"), node.meta.get("end")
    is_written = isinstance(node, exp.Anonymous)
    if start is not None and end is not None:
        name, is_written = sql[start : end + 1].strip('"`[]').lower(), True
    # A node that was written without a name in front is grammar, such as x::int.
    is_grammar = name in GRAMMAR or (name in PURE_FUNCTIONS and not is_written)
    if is_grammar and not defined_effects(name, catalog):
        return name, Effect.READ
    return name, effect_in(name, catalog)

"""The text that runs: the user's own, with each governed table's span replaced.

A base table with obligations becomes a projection that masks its columns and filters its rows, so
that every predicate, join and error sees masked values too. An expression that the engine names
after its text gets the name that it had. Everything else stays byte for byte, since regenerating
SQL from a tree changes what it means. The result is verified against a second opinion, the engine's
own. Golden cases are in ``tests/cases/rewrite``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlglot.tokenizer_core import TokenType

from nbgov.core.rewrite.filters import FENCES, check_filter
from nbgov.core.rewrite.headings import heading_edits, untitled
from nbgov.core.rewrite.masks import MASKED_DIALECTS, masked, masked_types, quote, quoted
from nbgov.core.rewrite.native import is_home, repoint
from nbgov.core.rewrite.pieces import Edit, Marker, Piece, Rewritten, cut, joined
from nbgov.core.rewrite.verification import verify, witness_names
from nbgov.core.statement import tokenize
from nbgov.errors import Denied
from nbgov.model import (
    Action,
    BindMarker,
    Catalog,
    ColumnMask,
    Decision,
    RowFilter,
    RowLimit,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)

__all__ = ["Rewritten", "project", "rewrite", "untitled", "verify"]

NAMES = {TokenType.IDENTIFIER, TokenType.VAR}
# Columns that every row has without being asked. A projection has none, and SQLite would answer
# NULL instead of an error.
SYSTEM_COLUMNS = {
    "duckdb": {"rowid"},
    "postgres": {"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"},
    "sqlite": {"_rowid_", "oid", "rowid"},
}


def rewrite(
    statement: Statement,
    decision: Decision,
    catalog: Catalog,
    *,
    values: Mapping[str, Any],
    titles: Mapping[str, str] = MappingProxyType({}),
) -> Rewritten:
    """Meet the obligations of a permit in the text.

    Args:
        statement: The statement that was permitted.
        decision: The permit; its masks, row filters and row limit are met here.
        catalog: What the connection holds, all columns of each table.
        values: A plain value, or a tuple of them, for every marker.
        titles: The engine's own names for the expressions that :func:`untitled` lists.

    Returns:
        The text that runs and its binds. Rewriting what it returns changes nothing more.

    Raises:
        ConfigInvalid: A row filter of the policy is not a plain predicate over its table.
        Denied: The dialect is one that masks cannot be written in, or the statement asks a masked
            or filtered table for what only the table itself has.
    """
    masks: dict[TableName, list[ColumnMask]] = {}
    filters: dict[TableName, list[str]] = {}
    for obligation in decision.obligations:
        if isinstance(obligation, ColumnMask):
            masks.setdefault(obligation.column.table, []).append(obligation)
        elif isinstance(obligation, RowFilter):
            filters.setdefault(obligation.table, []).append(obligation.predicate)
    # A write may do several things to the one mention of its target, and read it too.
    uses = sorted(statement.tables, key=lambda use: use.action is not Action.READ)
    mentions = {use.span: use for use in uses}.values()
    read = {use.table for use in mentions if use.action is Action.READ}
    is_native = bool(catalog.native_schema)
    queries = {
        name: project(catalog.tables[name], catalog, masks.get(name, ()), filters.get(name, ()))
        for name in sorted(read & (masks.keys() | filters.keys()))
        if not is_native
    }
    binds: dict[str, Any] = {}
    tables = table_edits(statement, mentions, queries, catalog)
    edits = [*tables, *bind_edits(statement, values, binds)]
    projected = [column for name in queries for column in catalog.tables[name].columns]
    edits += [*heading_edits(statement, titles, projected), (tail_of(statement), [])]
    if queries or is_native:
        refuse_system_columns(statement, catalog)
        # A derived table has no schema that a column could name, and a view has another one.
        edits += [(span, []) for span in statement.qualifiers]
    sql, markers = joined(cut(statement.sql, edits))
    limits = [o.rows_max for o in decision.obligations if isinstance(o, RowLimit)]
    names = witness_names(statement)
    return Rewritten(
        sql=sql,
        binds=binds,
        markers=markers,
        rows_max=min(limits, default=None),
        witnesses=(neutral(statement, names), *map("".join, queries.values())),
        names=names,
        projected=tuple(queries),
        behind=frozenset(tables_behind(statement, catalog)),
        masked_types=masked_types(statement, decision, catalog),
    )


def tables_behind(statement: Statement, catalog: Catalog) -> Iterator[TableName]:
    """The tables that the views of a statement show columns of, or choose their rows by."""
    for use in statement.tables:
        if use.table in catalog.tables:
            view = catalog.tables[use.table]
            for origin in view.row_origins.union(*view.origins.values()):
                yield origin.table


def neutral(statement: Statement, names: Sequence[TableName]) -> str:
    """The user's text with each mention of a table under another name, and no bound values."""
    edits: dict[Span, list[Piece]] = {
        use.span: [quoted(name, statement.dialect)]
        for name, use in zip(names, statement.tables, strict=True)
        if may_qualify(use, statement)
    }
    edits |= {marker.span: ["(NULL)"] for marker in statement.binds}
    edits[tail_of(statement)] = []
    text, _ = joined(cut(statement.sql, edits.items()))
    return text


def project(
    table: Table, catalog: Catalog, masks: Sequence[ColumnMask], filters: Sequence[str]
) -> tuple[str, str, str]:
    """The query that shows of a table what masks and row filters leave, in three parts.

    It names every column, in order, so that ``*`` and whole-row references read what the table
    itself would show. The table's name stands in the middle, as ``ONLY`` and ``TABLESAMPLE`` belong
    on its sides.

    Raises:
        ConfigInvalid: A row filter is not a plain predicate over the table.
        Denied: The dialect is one that masks cannot be written in.
    """
    dialect = catalog.dialect
    if dialect not in MASKED_DIALECTS:
        raise Denied(
            f"Denied: {table.name} is masked or filtered for you, which needs a rewrite.",
            code="denied-by-policy",
            why=f"nbgov does not write {dialect} SQL yet",
            next_step="ask a platform engineer for a view without the masked columns",
        )
    kinds = {mask.column.name: mask.kind for mask in masks}
    columns = ", ".join(
        f"{masked(column, kinds[column.name], dialect)} AS {quote(column.name, dialect)}"
        if column.name in kinds
        else quote(column.name, dialect)
        for column in table.columns
    )
    for predicate in filters:
        check_filter(predicate, table, catalog)
    where = " AND ".join(f"({predicate})" for predicate in filters)
    # Security: the fence keeps the user's own predicate away from the rows that are hidden.
    tail = f" WHERE {where}{FENCES[dialect]}" if where else ""
    return f"SELECT {columns} FROM ", quoted(table.name, dialect), tail


def table_edits(
    statement: Statement,
    mentions: Iterable[TableUse],
    queries: Mapping[TableName, tuple[str, str, str]],
    catalog: Catalog,
) -> Iterator[Edit]:
    """Every table under its full name, as the query over it, or as the view that stands for it."""
    schema = catalog.native_schema
    for use in mentions:
        if use.table in queries and use.action is Action.READ:
            yield from query_edits(use, queries[use.table], statement)
        elif schema and use.action is Action.READ and not is_home(use.table.schema, schema):
            view = repoint(use.table, catalog.default_schema, schema)
            yield use.span, [quoted(view, statement.dialect)]
        elif may_qualify(use, statement):
            yield use.span, [quoted(use.table, statement.dialect)]


def tail_of(statement: Statement) -> Span:
    """What stands behind the last word: semicolons, comments and white space."""
    tokens = tokenize(statement.sql, statement.dialect)
    last = next(token for token in reversed(tokens) if token.token_type != TokenType.SEMICOLON)
    return Span(last.end + 1, len(statement.sql))


def may_qualify(use: TableUse, statement: Statement) -> bool:
    """Whether a table may be written with its schema: SQLite's ``CREATE INDEX`` takes none."""
    is_index = statement.verb.startswith("CREATE") and use.action is not Action.CREATE
    return not (is_index and use.action is not Action.READ and statement.dialect == "sqlite")


def query_edits(use: TableUse, query: tuple[str, str, str], statement: Statement) -> Iterator[Edit]:
    """The query in place of a table's name. ``ONLY`` and ``TABLESAMPLE`` move inside.

    Raises:
        Denied: One of the two is written in a way that cannot be moved.
    """
    head, name, tail = query
    only, sample = "", ""
    if use.only is not None:
        if "(" in statement.sql[use.only.start : use.span.start]:
            raise immovable("ONLY stands before a parenthesis", "write FROM ONLY table")
        only = "ONLY "
        yield use.only, []
    if use.sample is not None:
        span = use.sample
        if any(span.start <= bind.span.start < span.end for bind in statement.binds):
            raise immovable("TABLESAMPLE holds a bound value", "write the number itself")
        sample = " " + statement.sql[span.start : span.end]
        yield span, []
    alias = "" if use.has_alias else f" AS {quote(use.table.name, statement.dialect)}"
    yield use.span, [f"({head}{only}{name}{sample}{tail}){alias}"]


def immovable(why: str, next_step: str) -> Denied:
    """The error of a clause on a masked or filtered table that cannot move inside its query."""
    return Denied(
        "Denied: a clause of the statement cannot be kept on a masked or filtered table.",
        code="not-understood",
        why=why,
        next_step=next_step,
    )


def refuse_system_columns(statement: Statement, catalog: Catalog) -> None:
    """Deny a system column, such as ``ctid``, where a table is read through a projection.

    A name that a table or the statement itself defines is an ordinary name.

    Raises:
        Denied: The statement holds the name of a system column.
    """
    tokens = tokenize(statement.sql, statement.dialect)
    names = {token.text.lower() for token in tokens if token.token_type in NAMES}
    found = names & SYSTEM_COLUMNS.get(statement.dialect, set())
    found -= {
        name.text.lower()
        for mark, name in itertools.pairwise(tokens)
        if mark.token_type is TokenType.ALIAS
    }
    tables = [catalog.tables[use.table] for use in statement.tables if use.table in catalog.tables]
    found -= {column.name.lower() for table in tables for column in table.columns}
    if found:
        name = min(found)
        raise Denied(
            f"Denied: the statement reads {name} beside a table that is masked for you.",
            code="not-understood",
            why="a masked or filtered table shows its own columns only",
            next_step=f"leave out {name}",
        )


def bind_edits(
    statement: Statement, values: Mapping[str, Any], binds: dict[str, Any]
) -> Iterator[Edit]:
    """Every marker with names of its own for the members of a list; fills in ``binds``."""
    for marker in statement.binds:
        value = values[marker.name]
        if not isinstance(value, tuple):
            binds[marker.name] = value
            yield marker.span, [Marker(marker.name)]
        elif value:
            names = member_names(marker.name, len(value), taken=values)
            binds.update(zip(names, value, strict=True))
            members = [piece for name in names for piece in (", ", Marker(name))]
            yield marker.span, ["(", *members[1:], ")"]
        else:
            yield marker.span, [empty_list(marker, statement)]


def member_names(name: str, count: int, *, taken: Mapping[str, Any]) -> list[str]:
    """Names for the members of a list that no other marker has."""
    stem = f"{name}_"
    while any(other.startswith(stem) for other in taken):
        stem += "_"
    return [f"{stem}{number}" for number in range(1, count + 1)]


def empty_list(marker: BindMarker, statement: Statement) -> str:
    """A list without members: ``IN`` holds for nothing, ``NOT IN`` for everything."""
    if statement.dialect != "postgres":
        return "(SELECT NULL WHERE 1 = 0)"
    # PostgreSQL takes the NULL of a subquery for text, which cannot be compared with a number.
    tokens = tokenize(statement.sql, statement.dialect)
    before = [token.token_type for token in tokens if token.end < marker.span.start]
    is_negated = before[-2:] == [TokenType.NOT, TokenType.IN]
    return "(NULL) IS NOT FALSE" if is_negated else "(NULL) IS TRUE"

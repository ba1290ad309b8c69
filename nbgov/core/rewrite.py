"""The text that runs: the user's own, with each governed table's span replaced.

A base table with obligations becomes a projection that masks its columns and filters its rows, so
that every predicate, join and error sees masked values too. Everything else stays byte for byte,
since regenerating SQL from a tree changes what it means. The result is verified against a second
opinion, the engine's own. Golden cases are in ``tests/cases/rewrite``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from nbgov.core.statement import find_binds, neutralise, splice, tokenize
from nbgov.errors import ConfigInvalid, Denied, IntegrityFailed
from nbgov.model import (
    BindMarker,
    Catalog,
    Column,
    ColumnMask,
    Decision,
    Effect,
    EngineOpinion,
    MaskKind,
    RowFilter,
    RowLimit,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)

MASKED_DIALECTS = {"duckdb", "mysql", "postgres", "sqlite"}
REDACTED = "***"
PARTIAL_KEPT = 4
TEXT_TYPES = ("char", "text", "string", "clob")
TIME_TYPES = ("date", "timestamp", "datetime")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What runs.

    Attributes:
        sql: The text, with ``:name`` markers.
        binds: A scalar for every marker.
        markers: The markers of ``sql``.
        rows_max: Rows to deliver at most, or ``None``.
    """

    sql: str
    binds: Mapping[str, Any]
    markers: tuple[BindMarker, ...]
    rows_max: int | None


def rewrite(
    statement: Statement, decision: Decision, catalog: Catalog, *, values: Mapping[str, Any]
) -> Rewritten:
    """Meet the obligations of a permit in the text.

    Args:
        statement: The statement that was permitted.
        decision: The permit; its masks, row filters and row limit are met here.
        catalog: What the connection holds, all columns of each table.
        values: A plain value, or a tuple of them, for every marker.

    Returns:
        The text that runs and its binds. Rewriting what it returns changes nothing more.

    Raises:
        ConfigInvalid: A row filter of the policy is not a plain predicate over its table.
        Denied: The dialect is one that masks cannot be written in.
    """
    masks: dict[TableName, list[ColumnMask]] = {}
    filters: dict[TableName, list[str]] = {}
    for obligation in decision.obligations:
        if isinstance(obligation, ColumnMask):
            masks.setdefault(obligation.column.table, []).append(obligation)
        elif isinstance(obligation, RowFilter):
            filters.setdefault(obligation.table, []).append(obligation.predicate)
    edits = [
        (use.span, source(use, catalog, masks.get(use.table, ()), filters.get(use.table, ())))
        for use in statement.tables
    ]
    edits += [(span, "") for span in statement.qualifiers]
    binds: dict[str, Any] = {}
    for marker in statement.binds:
        text = placeholders(marker.name, values[marker.name], binds, taken=values)
        edits.append((marker.span, text))
    end = tokenize(statement.sql, statement.dialect)
    last = max(t.end for t in end if t.text != ";") + 1
    edits.append((Span(last, len(statement.sql)), ""))
    sql = splice(statement.sql, edits)
    limits = [o.rows_max for o in decision.obligations if isinstance(o, RowLimit)]
    return Rewritten(
        sql=sql,
        binds=binds,
        markers=find_binds(sql, statement.dialect),
        rows_max=min(limits, default=None),
    )


def placeholders(name: str, value: Any, binds: dict[str, Any], *, taken: Mapping[str, Any]) -> str:
    """The marker text of one value; a tuple becomes a list in parentheses.

    An empty tuple becomes a subquery without rows, so that ``IN`` holds for nothing and ``NOT IN``
    for everything.
    """
    if not isinstance(value, tuple):
        binds[name] = value
        return f":{name}"
    if not value:
        return "(SELECT NULL WHERE 1 = 0)"
    stem = f"{name}_"
    while any(other.startswith(stem) for other in taken):
        stem += "_"
    names = [f"{stem}{index}" for index in range(1, len(value) + 1)]
    binds.update(zip(names, value, strict=True))
    return "(" + ", ".join(f":{one}" for one in names) + ")"


def source(
    use: TableUse, catalog: Catalog, masks: Sequence[ColumnMask], filters: Sequence[str]
) -> str:
    """What stands where a table was named."""
    dialect = catalog.dialect
    table = catalog.tables[use.table]
    name = ".".join(quote(part, dialect) for part in (table.name.schema, table.name.name) if part)
    if use.effect is not Effect.READ or not (masks or filters):
        return name
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
    where = " AND ".join(f"({checked(text, table, dialect)})" for text in filters)
    # Security: without the fence PostgreSQL may evaluate the user's predicate on hidden rows first,
    # and an error message would then show them (sql.md 3.3).
    fence = " OFFSET 0" if where and dialect == "postgres" else ""
    projection = (
        f"(SELECT {columns} FROM {name}" + (f" WHERE {where}" if where else "") + fence + ")"
    )
    return projection if use.has_alias else f"{projection} AS {quote(table.name.name, dialect)}"


def quote(name: str, dialect: str) -> str:
    """A name as a quoted identifier."""
    mark = "`" if dialect in {"mysql", "mariadb"} else '"'
    return mark + name.replace(mark, mark * 2) + mark


def masked(column: Column, kind: MaskKind, dialect: str) -> str:
    """The expression that reads a column masked, of the column's own type.

    A mask that has no meaning for the type, such as ``partial`` on a number, reads as NULL.
    """
    name, type_name = quote(column.name, dialect), column.type.lower()
    if kind is MaskKind.REDACT and is_plain_text(type_name):
        return cast(f"CASE WHEN {name} IS NULL THEN NULL ELSE '{REDACTED}' END", column, dialect)
    if kind is MaskKind.PARTIAL and is_plain_text(type_name):
        kept = f"substr({name}, length({name}) - {PARTIAL_KEPT - 1}, {PARTIAL_KEPT})"
        # MySQL reads || as OR.
        joined = (
            f"concat('{REDACTED}', {kept})" if dialect == "mysql" else f"'{REDACTED}' || {kept}"
        )
        shown = f"CASE WHEN length({name}) > {2 * PARTIAL_KEPT} THEN {joined}"
        shown += f" WHEN {name} IS NULL THEN NULL ELSE '{REDACTED}' END"
        return cast(shown, column, dialect)
    if kind is MaskKind.YEAR and type_name.startswith(TIME_TYPES):
        year = {"sqlite": f"strftime('%Y-01-01', {name})", "mysql": f"makedate(year({name}), 1)"}
        return year.get(dialect) or cast(f"date_trunc('year', {name})", column, dialect)
    return cast("NULL", column, dialect)


def cast(expression: str, column: Column, dialect: str) -> str:
    """An expression of a column's type, where the dialect has casts to every type."""
    return expression if dialect in {"sqlite", "mysql"} else f"CAST({expression} AS {column.type})"


def is_plain_text(type_name: str) -> bool:
    """Whether any text is a value of the type; a UUID, enum or JSON column takes only some."""
    return any(part in type_name for part in TEXT_TYPES)


def checked(predicate: str, table: Table, dialect: str) -> str:
    """A row filter of the policy, proven to be one predicate over the table's own columns.

    Raises:
        ConfigInvalid: It is anything else.
    """
    names = {column.name.lower() for column in table.columns}
    try:
        tree = sqlglot.parse_one(f"SELECT 1 WHERE ({predicate})", read=dialect)
        condition = tree.args["where"].this
        is_plain = isinstance(condition, exp.Paren) and not condition.find(
            exp.Query, exp.Placeholder
        )
        is_known = all(c.name.lower() in names and not c.table for c in tree.find_all(exp.Column))
        is_whole = parts_of_query(tree) == {"expressions", "where"}
    except (SqlglotError, KeyError, AttributeError):
        is_plain = is_known = is_whole = False
    if not (is_plain and is_known and is_whole) or ";" in predicate or "--" in predicate:
        raise ConfigInvalid(
            f"The policy's row filter for {table.name} is not a plain predicate.",
            code="policy-invalid",
            why="it must be one condition over columns of the table, without a subquery",
            next_step="correct row_filter in policy.yaml",
        )
    return predicate


def parts_of_query(tree: exp.Expr) -> set[str]:
    """The clauses that a parsed query has."""
    return {key for key, value in tree.args.items() if value}


def verify(statement: Statement, opinion: EngineOpinion, tables: Iterable[Table]) -> None:
    """Hold the rewritten text against the engine's own view of it.

    Args:
        statement: What the text was made from.
        opinion: The engine's view of the rewritten text, made :func:`neutral`.
        tables: The base tables that the statement may read or write.

    Raises:
        IntegrityFailed: The engine sees another number of statements, a write where a read was
            decided, or a relation that was not governed (code ``rewrite-unverified``).
    """
    governed = {table.name for table in tables}
    problem = None
    if opinion.statements != 1:
        problem = f"the engine sees {opinion.statements} statements"
    elif statement.effect is Effect.READ and opinion.is_read is False:
        problem = "the engine calls it a write"
    elif opinion.tables is not None:
        folded = {(t.schema.lower(), t.name.lower()) for t in governed}
        seen = {(t.schema.lower(), t.name.lower()) for t in opinion.tables}
        if seen - folded:
            problem = "the engine reads a table that nbgov did not see"
    if problem is not None:
        raise IntegrityFailed(
            "Stopped: the engine understands the statement in another way than nbgov does.",
            code="rewrite-unverified",
            why=problem,
            next_step="write the statement in plainer SQL, and report this one",
        )


def neutral(rewritten: Rewritten) -> str:
    """The text that runs with its markers as ``(NULL)``, for an engine's opinion."""
    return neutralise(rewritten.sql, rewritten.markers)

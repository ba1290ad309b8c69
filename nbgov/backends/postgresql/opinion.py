"""What PostgreSQL's own grammar makes of a text, without a server.

libpg_query is the server's parser, so the count of statements and the names are those that the
server would see. What a view or a function does cannot be seen here; the read-only transaction is
for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import postgast
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from nbgov.backends.postgresql.effects import effects, functions
from nbgov.core.statement import tokenize
from nbgov.errors import RequestInvalid
from nbgov.model import EngineOpinion, TableName

READ_ROOT = "select_stmt"


def opinion(sql: str) -> EngineOpinion:
    """How many statements the grammar counts, what the one does, and what it names and calls.

    Raises:
        RequestInvalid: The text is not PostgreSQL's SQL, or beyond what its parser reads.
    """
    statements = parsed(sql).stmts
    if len(statements) != 1:
        return EngineOpinion(len(statements))
    nodes = list(scoped_nodes(statements[0].stmt))
    tables = frozenset(
        table_name(node)
        for node, ctes in nodes
        if node.DESCRIPTOR.name == "RangeVar" and (node.schemaname or node.relname not in ctes)
    )
    return EngineOpinion(
        1,
        effects=effects(statements[0].stmt, [node for node, _ in nodes]),
        tables=tables,
        functions=functions(node for node, _ in nodes),
    )


def only_statement(sql: str) -> tuple[str, str]:
    """The one statement of a text, without what ends it, and the grammar's name of its kind.

    Raises:
        RequestInvalid: The text is not one statement of PostgreSQL's SQL.
    """
    statements = parsed(sql).stmts
    if len(statements) != 1:
        raise RequestInvalid(
            f"PostgreSQL counts {len(statements)} statements.",
            code="not-one-statement",
            next_step="Send one statement at a time.",
        )
    text, start, length = sql.encode(), statements[0].stmt_location, statements[0].stmt_len
    end = start + length if length else len(text)
    return text[start:end].decode(), statements[0].stmt.WhichOneof("node") or ""


def parsed(sql: str) -> postgast.ParseResult:
    """The text as a tree."""
    # Security: the parser stops at a NUL as C does, and would approve of what it did not read.
    if "\0" in sql:
        raise RequestInvalid("The statement holds a NUL character.")
    try:
        # Security: the budget comes first; libpg_query recurses in C.
        tokenize(sql, "postgres")
        return postgast.parse(sql)
    except postgast.PgQueryError as error:
        place = len(sql.encode()[: max(error.cursorpos - 1, 0)].decode(errors="ignore")) + 1
        raise RequestInvalid(
            "The statement is not valid SQL for PostgreSQL.",
            why=f"Its grammar stops at character {place}.",
            next_step="Correct the statement and run it again.",
        ) from None
    except DecodeError:
        raise RequestInvalid(
            "The statement is nested too deeply.", code="statement-too-large"
        ) from None


def table_name(node: Any) -> TableName:
    """The name in a ``RangeVar``; one of another database keeps that as part of its schema."""
    return TableName(".".join(filter(None, (node.catalogname, node.schemaname))), node.relname)


def scoped_nodes(root: Message) -> Iterator[tuple[Any, frozenset[str]]]:
    """Every node of a tree, each with the names of the CTEs that it can see.

    A CTE sees those before it, and all of them after ``RECURSIVE``; the query around sees all. The
    target of a write is never a CTE.
    """
    todo: list[tuple[Any, frozenset[str]]] = [(root, frozenset())]
    while todo:
        node, visible = todo.pop()
        yield node, visible
        if "with_clause" in node.DESCRIPTOR.fields_by_name and node.HasField("with_clause"):
            ctes = [cte.common_table_expr for cte in node.with_clause.ctes]
            within = visible
            visible |= {cte.ctename for cte in ctes}
            for cte in ctes:
                todo.append((cte, visible if node.with_clause.recursive else within))
                within |= {cte.ctename}
        for field, value in node.ListFields():
            if field.message_type is not None and field.name != "with_clause":
                children = [value] if isinstance(value, Message) else value
                scope = frozenset() if field.name == "relation" else visible
                todo += [(child, scope) for child in children]

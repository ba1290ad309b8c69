"""Whether a write can be undone, and the query that keeps what its rows were.

An UPDATE or DELETE of one base table is undone from a before-image: its rows, read in the write's
own transaction. The query is made of the user's own text, and is parsed again to show that it means
the same rows. What triggers, cascades and sequences do beside a write is not undone. Cases:
``tests/core/test_undo.py``; that rows come back exactly: ``tests/backends/test_undo.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.rewrite.masks import quote, quoted
from nbgov.core.statement.budget import PARSER_ERRORS
from nbgov.core.statement.text import tokenize
from nbgov.model import (
    Action,
    BeforeImage,
    BindMarker,
    Catalog,
    Column,
    Span,
    Statement,
    Table,
)

# What every sentence about it ends with, as no before-image knows of them.
REST = "rows that triggers and cascades change are not undone"
VERBS = {"UPDATE": Action.UPDATE, "DELETE": Action.DELETE}
PARTS = {"this", "expressions", "where", "returning"}
# Text that goes through the database and comes back, where values travel as the server writes them.
TEXTS = {"duckdb": "VARCHAR", "postgres": "text"}
LENGTH = re.compile(r"\(\d+(?:,\s*\d+)?\)")
EXACT = {
    "duckdb": frozenset(
        """bigint blob boolean date decimal double float hugeint integer interval smallint time
        timestamp timestamp_ms timestamp_ns timestamp_s tinyint ubigint uhugeint uinteger usmallint
        utinyint uuid varchar""".split()
    )
    | {"time with time zone", "timestamp with time zone"},
    "mysql": frozenset(
        """bigint binary blob char date datetime decimal double enum int longblob longtext
        mediumblob mediumint mediumtext smallint text tinyblob tinyint tinytext varbinary
        varchar""".split()
    ),
    "postgres": frozenset(
        """bigint boolean bytea character cidr date inet integer interval json jsonb macaddr numeric
        real smallint text uuid""".split()
    )
    | {
        "character varying", "double precision", "time with time zone", "time without time zone",
        "timestamp with time zone", "timestamp without time zone",
    },
}  # fmt: skip
DIGITS_MAX = 38
# These give another answer when the rows are read than when they are changed.
FICKLE = frozenset(
    """clock_timestamp gen_random_bytes gen_random_uuid generate_uuid get_bit_random lastval nextval
    rand random random_bytes random_normal randomblob setval sleep statement_timestamp sysdate
    timeofday uuid uuidv4 uuidv7 uuid_generate_v1 uuid_generate_v4 uuid_short""".split()
)
# The statement that undoes a write has to be one that nbgov reads: about 65,536 characters, of
# which each value takes some ten and each key some sixty.
TEXT_CHARS_MAX = 60_000
KEY_CHARS = 30
VALUE_CHARS = 22


@dataclass(frozen=True, slots=True)
class Clauses:
    """Where the parts of a write stand: the mention of its table, and its WHERE, if it has one."""

    mention: Span
    where: Span


def plan(
    statement: Statement,
    sql: str,
    markers: Sequence[BindMarker],
    *,
    catalog: Catalog,
    rows_max: int,
) -> BeforeImage | str:
    """What to read before a write so that it can be undone, or why it cannot be, for people.

    Args:
        statement: The write.
        sql: The text that runs.
        markers: Its bind markers.
        catalog: All that the connection holds.
        rows_max: Rows to keep at most; fewer are kept of wide tables, so that the statement that
            undoes the write is not too long to be read.

    Returns:
        The query, or a reason in plain words that begins in lower case.
    """
    found = target(statement, catalog)
    if isinstance(found, str):
        return found
    dialect = catalog.dialect
    columns = kept_columns(statement, found)
    if reason := why_inexact(columns, dialect):
        return reason
    clauses = read_clauses(statement, sql, dialect)
    if isinstance(clauses, str):
        return clauses
    mention, where = clauses.mention, clauses.where
    rows = min(rows_max, rows_that_fit(columns, found.key))
    picks = ", ".join(read_form(column.name, dialect) for column in columns)
    head = f"SELECT {picks} FROM {sql[mention.start : mention.end]}\n"  # noqa: S608  # The user's own text.
    lock = " FOR UPDATE" if dialect in {"mysql", "postgres"} else ""
    text = f"{head}{sql[where.start : where.end]}\nLIMIT {rows + 1}{lock}"
    shift = len(head) - where.start
    return BeforeImage(
        sql=text,
        marker_spans=tuple(
            BindMarker(one.name, Span(one.span.start + shift, one.span.end + shift))
            for one in markers
            if where.start <= one.span.start < where.end
        ),
        rows_max=rows,
        dialect=dialect,
        verb=statement.verb,
        table=found.name,
        key=found.key,
        columns=columns,
    )


def shape(image: BeforeImage) -> str:
    """The statement that would undo a write, with ``?`` for its values, for people.

    Example:
        >>> from nbgov.model import TableName
        >>> id_, pay = Column("id", "INTEGER"), Column("pay", "DOUBLE")
        >>> table = TableName("main", "people")
        >>> kept = BeforeImage("", (), 9, "sqlite", "UPDATE", table, ("id",), (id_, pay))
        >>> print(shape(kept))
        UPDATE "main"."people" SET "pay" = ? WHERE "id" = ?
        -- once for each row; rows that triggers and cascades change are not undone
    """
    name, dialect = quoted(image.table, image.dialect), image.dialect
    names = [quote(column.name, dialect) for column in image.columns]
    if image.verb == "DELETE":
        marks = ", ".join("?" for _ in names)
        text = f"INSERT INTO {name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608  # For people.
    else:
        sets = ", ".join(f"{one} = ?" for one in names[len(image.key) :])
        keys = " AND ".join(f"{one} = ?" for one in names[: len(image.key)])
        text = f"UPDATE {name} SET {sets} WHERE {keys}"  # noqa: S608  # For people.
    return f"{text}\n-- once for each row; {REST}"


def read_form(name: str, dialect: str) -> str:
    """How a column is read, so that its values come back exactly.

    Example:
        >>> read_form("pay", "postgres"), read_form("pay", "sqlite")
        ('CAST("pay" AS text)', '"pay"')
    """
    shown = quote(name, dialect)
    return f"CAST({shown} AS {TEXTS[dialect]})" if dialect in TEXTS else shown


# ---------------------------------------------------------------- which table, and which columns


def target(statement: Statement, catalog: Catalog) -> Table | str:
    """The one base table that a write changes, or why it cannot be undone."""
    if reason := why_strange(statement, catalog):
        return reason
    (use,) = (use for use in statement.tables if use.action is not Action.READ)
    table = catalog.tables.get(use.table)
    if table is None or table.kind != "table":
        return f"{use.table} is no plain table"
    if any(table.name in other.parents for other in catalog.tables.values()):
        return f"{table.name} has parts or heirs, which hold the rows"
    return why_unfit(statement, table) or table


def why_strange(statement: Statement, catalog: Catalog) -> str:
    """Why a statement is none that can be undone, or an empty text."""
    action = VERBS.get(statement.verb)
    if action is None or statement.plan:
        return "only UPDATE and DELETE can be undone"
    if catalog.dialect not in {*EXACT, "sqlite"}:
        return f"nbgov does not undo writes of {catalog.dialect}"
    if [use.action for use in statement.tables if use.action is not Action.READ] != [action]:
        return "it does more than one thing to its table"
    called = {name.rpartition(".")[2] for name in statement.functions}
    if fickle := FICKLE & called:
        return f"it calls {min(fickle)}, which answers anew each time"
    own = called & {name.rpartition(".")[2] for name in catalog.functions}
    return f"it calls {min(own)}, which may answer anew each time" if own else ""


def why_unfit(statement: Statement, table: Table) -> str:
    """Why the rows of a table cannot be put back, or an empty text."""
    assigned = {column.name for column in statement.written_columns}
    made = [column.name for column in table.columns if column.is_generated]
    if statement.verb == "DELETE":
        if made:
            return f"the database makes the values of {table.name}.{made[0]} itself"
        return "" if table.columns else f"no column of {table.name} is known"
    if not table.key:
        return f"{table.name} has no primary key by which its rows could be found again"
    if moved := [name for name in table.key if name in assigned]:
        return f"it assigns {moved[0]}, by which the rows would be found again"
    return "" if assigned else "it is not known which columns it assigns"


def kept_columns(statement: Statement, table: Table) -> tuple[Column, ...]:
    """The columns of a before-image: the key and what is assigned, or all of a deleted row."""
    if statement.verb == "DELETE":
        return table.columns
    assigned = {column.name for column in statement.written_columns}
    keys = [column for column in table.columns if column.name in table.key]
    return (*keys, *(column for column in table.columns if column.name in assigned))


def why_inexact(columns: Sequence[Column], dialect: str) -> str:
    """Why values would not come back exactly, or an empty text."""
    for column in columns:
        if dialect != "sqlite" and not is_exact(column.type, dialect):
            return f"{column.name} is of a type whose values nbgov does not put back"
    return ""


def is_exact(type_name: str, dialect: str) -> bool:
    """Whether every value of a type comes back exactly.

    Example:
        >>> is_exact("numeric(12,2)", "postgres"), is_exact("TIMESTAMP", "postgres")
        (True, False)
    """
    # PostgreSQL's own spelling is in lower case; one that SQLAlchemy makes tells no time zones.
    written = type_name if dialect == "postgres" else type_name.lower()
    if dialect != "mysql":
        return LENGTH.sub("", written) in EXACT[dialect]
    name, _, rest = written.partition("(")
    if name == "decimal":
        return int(re.split(r"[,)]", rest)[0] or 0) <= DIGITS_MAX
    if name.startswith("bigint") and "unsigned" in written:
        return False
    return name.split()[0] in EXACT["mysql"]


def rows_that_fit(columns: Sequence[Column], key: Sequence[str]) -> int:
    """How many rows the statement that undoes a write has room for."""
    each = sum(KEY_CHARS + len(c.type) if c.name in key else VALUE_CHARS for c in columns)
    return max(TEXT_CHARS_MAX // (each + KEY_CHARS), 1)


# ---------------------------------------------------------------- which rows


def read_clauses(statement: Statement, sql: str, dialect: str) -> Clauses | str:
    """Where the table and the WHERE of a write stand, shown by reading them again; or why not."""
    try:
        tree = sqlglot.parse_one(sql, read=dialect)
        extra = sorted(part for part, value in tree.args.items() if value and part not in PARTS)
        if extra:
            return f"{statement.verb} with {extra[0].strip('_').upper()} is not undone"
        clauses = cut_clauses(statement.verb, sql, tokenize(sql, dialect), tree)
        if clauses is None:
            return "it is written in a way that nbgov does not undo"
        mention, where = (sql[one.start : one.end] for one in (clauses.mention, clauses.where))
        again = sqlglot.parse_one(f"SELECT 1 FROM {mention}\n{where}", read=dialect)  # noqa: S608  # The user's own text.
    except PARSER_ERRORS:
        return "it is written in a way that nbgov does not undo"
    rows = tree.args.get("where")
    if rows is not None and rows.find(exp.Limit, exp.TableSample, exp.Parameter):
        return "which rows it changes may differ from one run to the next"
    # Security: what is read back is what is changed. A text that means other rows keeps nothing.
    source = again.args.get("from_")
    is_same = source is not None and source.this == tree.this and again.args.get("where") == rows
    return clauses if is_same else "it is written in a way that nbgov does not undo"


def cut_clauses(verb: str, sql: str, tokens: Sequence[Token], tree: exp.Expr) -> Clauses | None:
    """The parts by the words between them, outside of brackets; ``None`` where they are unclear."""
    words = list(outer(tokens))
    first = 1 if verb == "DELETE" else 0
    opening = TokenType.FROM if verb == "DELETE" else TokenType.UPDATE
    if len(words) <= first or words[first].token_type is not opening:
        return None
    end = len(sql)
    if tree.args.get("returning"):
        places = [word.start for word in words if word.token_type is TokenType.RETURNING]
        if len(places) != 1:
            return None
        end = places[0]
    wheres = [word.start for word in words if word.token_type is TokenType.WHERE]
    if len(wheres) != (1 if tree.args.get("where") else 0):
        return None
    where = Span(wheres[0] if wheres else end, end)
    if verb == "DELETE":
        return Clauses(Span(words[first].end + 1, where.start), where)
    sets = [word.start for word in words if word.token_type is TokenType.SET]
    return Clauses(Span(words[first].end + 1, sets[0]), where) if len(sets) == 1 else None


def outer(tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens that stand in no brackets."""
    depth = 0
    for token in tokens:
        if token.token_type is TokenType.L_PAREN:
            depth += 1
        elif token.token_type is TokenType.R_PAREN:
            depth -= 1
        elif not depth:
            yield token

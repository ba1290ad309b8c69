"""How a masked column is written in each dialect: an expression of the column's own type.

Two forms keep the type, the character set and the collation of a column without ever showing a
value: ``CASE WHEN FALSE THEN column END``, and ``CASE WHEN column IS NULL THEN column ELSE mask
END``. A mask that has no meaning for a type, such as ``partial`` on a number, reads as NULL.
"""

from __future__ import annotations

import re

from nbgov.core.pseudonym import DIGITS, PREFIX, REDACTED, expression
from nbgov.model import (
    Catalog,
    Column,
    Decision,
    Influence,
    MaskKind,
    Statement,
    TableName,
)

MASKED_DIALECTS = {"duckdb", "mysql", "postgres", "sqlite"}
PARTIAL_KEPT = 4
# The characters of the longest text that a mask makes.
LONGEST = {
    MaskKind.REDACT: len(REDACTED),
    MaskKind.TOKEN: len(PREFIX) + DIGITS,
    MaskKind.PARTIAL: len(REDACTED) + PARTIAL_KEPT,
}
# The functions that the masks call. SQLite and MySQL let nobody redefine them; the other two do,
# and are asked for their own by schema.
FUNCTIONS = {
    "duckdb": frozenset("date_trunc encode getvariable left length right sha256 unhex".split()),
    "mysql": frozenset("char_length concat left makedate right sha2 unhex year".split()),
    "postgres": frozenset(
        "convert_to current_setting date_trunc decode encode left length right sha256".split()
    ),
    "sqlite": frozenset("length nbgov_token strftime substr typeof".split()),
}

# Types of which any text is a value. An array, an enum, a UUID or JSON column takes only some.
TEXT_TYPES = {
    "duckdb": re.compile(r"(?:varchar|text|string|char|bpchar)(?:\(\d+\))?"),
    "mysql": re.compile(
        r"(?:n?char|n?varchar|tinytext|text|mediumtext|longtext)(?:\(\d+\))?(?: .*)?"
    ),
    "postgres": re.compile(
        r"(?P<family>text|citext|character varying|varchar|character|char|bpchar)"
        r"(?:\((?P<length>\d+)\))?"
    ),
    # SQLite's own rule (datatype3.html, 3.1): INT decides before CHAR does.
    "sqlite": re.compile(r"(?!.*int).*(?:char|clob|text).*"),
}
DAY_TYPES = re.compile(r"date")
MOMENT_TYPES = {
    "duckdb": re.compile(r"(?:timestamp|datetime)\w*(?: with time zone)?"),
    "mysql": re.compile(r"(?:datetime|timestamp)(?:\(\d\))?(?: .*)?"),
    "postgres": re.compile(r"timestamp(?:tz)?(?:\(\d\))?(?: with(?:out)? time zone)?"),
    "sqlite": re.compile(r"(?:datetime|timestamp).*"),
}
# First words of PostgreSQL's types that a plain NULL can be cast to. A domain may refuse NULL.
PLAIN_WORDS = frozenset(
    """
    bigint bit boolean bool bpchar bytea character char date decimal double float4 float8 inet int
    int2 int4 int8 integer interval json jsonb money numeric oid real smallint text time timestamp
    timestamptz uuid varchar xml
    """.split()
)


def quoted(table: TableName, dialect: str) -> str:
    """The full name of a table, quoted."""
    return ".".join(quote(part, dialect) for part in (table.schema, table.name) if part)


def quote(name: str, dialect: str) -> str:
    """A name as a quoted identifier."""
    mark = "`" if dialect == "mysql" else '"'
    return mark + name.replace(mark, mark * 2) + mark


def masked(column: Column, kind: MaskKind, dialect: str) -> str:
    """The expression that reads a column masked, of the column's own type.

    Where a mask's text does not fit the type, the type is the same without a limit.
    """
    name, type_name = quote(column.name, dialect), column.type.lower()
    if kind in LONGEST and TEXT_TYPES[dialect].fullmatch(type_name):
        shown = f"CASE WHEN {name} IS NULL THEN {name} {covered(name, kind, dialect)} END"
        return f"CAST({shown} AS {roomy(column.type, kind)})" if dialect == "postgres" else shown
    if kind is MaskKind.YEAR and DAY_TYPES.fullmatch(type_name):
        return first_day(name, column.type, dialect)
    if kind is MaskKind.YEAR and MOMENT_TYPES[dialect].fullmatch(type_name):
        return first_day(name, column.type, dialect, tail=" 00:00:00")
    return nothing(name, column.type, dialect)


def masked_types(statement: Statement, decision: Decision, catalog: Catalog) -> tuple[str, ...]:
    """For each output the declared type of the masked column that it shows as it is, or nothing.

    It depends on no value: it is what the engine itself would say of the column.
    """
    types = {
        frozenset({(mask.column, Influence.IDENTITY)}): column.type
        for mask in decision.masks
        for column in catalog.tables[mask.column.table].columns
        if column.name == mask.column.name
    }
    return tuple(types.get(output.influences, "") for output in statement.outputs)


def covered(name: str, kind: MaskKind, dialect: str) -> str:
    """The branches of a mask for a text that is there."""
    if kind is MaskKind.TOKEN:
        return f"ELSE {expression(name, dialect)}"
    if kind is MaskKind.PARTIAL:
        return ending(name, dialect)
    return f"ELSE '{REDACTED}'"


def nothing(name: str, type_name: str, dialect: str) -> str:
    """NULL of a column's type. The column's values are not looked at."""
    if dialect == "sqlite":
        return "NULL"
    if dialect == "postgres":
        word = re.match(r"\w*", type_name)
        is_plain = word is not None and word[0].lower() in PLAIN_WORDS
        # A query without rows has the type too, and does not ask a domain for its consent.
        return f"CAST(NULL AS {type_name})" if is_plain else f"(SELECT {name} WHERE FALSE)"
    return f"CASE WHEN FALSE THEN {name} END"


def roomy(type_name: str, kind: MaskKind) -> str:
    """PostgreSQL's type itself if a mask's text fits, or the same without a limit.

    A cast to a type that is too short would cut the text, and two tokens could become one.

    Example:
        >>> roomy("character varying(40)", MaskKind.TOKEN), roomy("character(2)", MaskKind.REDACT)
        ('character varying(40)', 'bpchar')
    """
    found = TEXT_TYPES["postgres"].fullmatch(type_name.lower())
    assert found is not None
    family, length = found["family"], found["length"]
    is_padded = family in {"character", "char"}
    if length is None and not is_padded:
        return type_name
    if int(length or 1) >= LONGEST[kind]:
        return type_name
    return "bpchar" if is_padded else family


def ending(name: str, dialect: str) -> str:
    """The branches that keep the last characters of a text that is long enough to stay hidden."""
    hidden, kept = f"'{REDACTED}'", PARTIAL_KEPT
    size, end = {
        "duckdb": (f"system.main.length({name})", f"system.main.right({name}, {kept})"),
        "mysql": (f"CHAR_LENGTH({name})", f"RIGHT({name}, {kept})"),
        "postgres": (
            f"pg_catalog.length(CAST({name} AS pg_catalog.text))",
            f"pg_catalog.right(CAST({name} AS pg_catalog.text), {kept})",
        ),
        "sqlite": (f"length({name})", f"substr({name}, -{kept})"),
    }[dialect]
    # MySQL reads || as OR.
    joined = f"CONCAT({hidden}, {end})" if dialect == "mysql" else f"{hidden} || {end}"
    return f"WHEN {size} > {2 * kept} THEN {joined} ELSE {hidden}"


def first_day(name: str, type_name: str, dialect: str, *, tail: str = "") -> str:
    """The first day of a value's year; ``tail`` is what SQLite writes behind a day."""
    if dialect == "mysql":
        return f"CASE WHEN {name} IS NULL THEN {name} ELSE MAKEDATE(YEAR({name}), 1) END"
    if dialect == "sqlite":
        # SQLite has no type for days. What is no text in such a column is not taken for one.
        return f"CASE WHEN typeof({name}) = 'text' THEN strftime('%Y-01-01{tail}', {name}) END"
    home = {"duckdb": "system.main", "postgres": "pg_catalog"}[dialect]
    return f"CAST({home}.date_trunc('year', {name}) AS {type_name})"

"""Masks as SQL, on the four real engines: what they show, and that a column keeps its type."""

from __future__ import annotations

from typing import Any

import pytest

from nbgov.core.pseudonym import holds_token, pads, token
from nbgov.core.rewrite import rewrite
from nbgov.core.rewrite.masks import masked
from nbgov.model import (
    Action,
    Catalog,
    Column,
    ColumnMask,
    ColumnName,
    Decision,
    Effect,
    MaskKind,
    RowFilter,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)
from tests.core.engines import DIALECTS, Product, open_product

KEY = b"a key of the tests"
SCHEMA = "masks"

# For each engine: a type, and a value of it. The catalog spells types as the engine itself does.
TYPES = {
    "duckdb": {
        "VARCHAR": "'zoë@example.org'",
        "INTEGER": "7",
        "HUGEINT": "7",
        "DECIMAL(12,3)": "1.5",
        "DOUBLE": "1.5",
        "BOOLEAN": "true",
        "DATE": "DATE '2013-07-09'",
        "TIME": "TIME '01:02:03'",
        "TIMESTAMP": "TIMESTAMP '2013-07-09 01:02:03'",
        "TIMESTAMP_NS": "TIMESTAMP_NS '2013-07-09 01:02:03'",
        "TIMESTAMP_S": "TIMESTAMP_S '2013-07-09 01:02:03'",
        "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2013-07-09 01:02:03+00'",
        "INTERVAL": "INTERVAL 1 DAY",
        "UUID": "'0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0'",
        "BLOB": "'x'::BLOB",
        "BIT": "'101'",
        "JSON": "'{}'",
        "ENUM('a', 'b')": "'a'",
        "VARCHAR[]": "['secret']",
        "INTEGER[3]": "[1, 2, 3]",
        'STRUCT(a INTEGER, "b c" VARCHAR)': "{'a': 1, 'b c': 'secret'}",
        "MAP(VARCHAR, INTEGER)": "MAP {'secret': 1}",
        "UNION(num INTEGER, str VARCHAR)": "'secret'",
    },
    "postgres": {
        "text": "'zoë@example.org'",
        'text COLLATE "C"': "'zoë@example.org'",
        "character varying(200)": "'zoë@example.org'",
        "character varying(2)": "'ab'",
        "character varying": "'zoë@example.org'",
        "character(40)": "'zoë@example.org'",
        "character(2)": "'ab'",
        "bpchar": "'zoë@example.org'",
        '"char"': "'a'",
        "name": "'a'",
        "integer": "7",
        "numeric(12,2)": "1.5",
        "numeric": "1.5",
        "numeric(12,2)[]": "'{1.5}'",
        "text[]": "'{secret}'",
        "character varying(9)[]": "'{secret}'",
        "boolean": "true",
        "double precision": "1.5",
        "date": "'2013-07-09'",
        "timestamp without time zone": "'2013-07-09 01:02:03'",
        "timestamp(3) without time zone": "'2013-07-09 01:02:03'",
        "timestamp with time zone": "'2013-07-09 01:02:03+00'",
        "time(2) without time zone": "'01:02:03'",
        "interval day to second(3)": "'1 day'",
        "uuid": "'0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0'",
        "json": "'{}'",
        "jsonb": "'{}'",
        "bytea": "'x'",
        "bit(4)": "B'1010'",
        "bit varying(7)": "B'1010'",
        "inet": "'10.0.0.1'",
        "money": "'1'",
        "int4range": "'[1,2)'",
        "tsvector": "'secret'",
        "point": "'(1,2)'",
        "mood": "'sad'",
        "pair": "ROW(1, 'secret')",
        "address": "'a@b'",
        "needed": "7",
    },
    "mysql": {
        "VARCHAR(200)": "'zoë@example.org'",
        "VARCHAR(200) CHARACTER SET latin1": "'zoë@example.org'",
        "VARCHAR(200) COLLATE utf8mb4_bin": "'zoë@example.org'",
        "VARCHAR(2)": "'ab'",
        "CHAR(40)": "'zoë@example.org'",
        "TINYTEXT": "'zoë@example.org'",
        "TEXT": "'zoë@example.org'",
        "LONGTEXT": "'zoë@example.org'",
        "INTEGER": "7",
        "BIGINT UNSIGNED": "7",
        "TINYINT": "7",
        "DECIMAL(12,3)": "1.5",
        "FLOAT": "1.5",
        "DOUBLE": "1.5",
        "DATE": "'2013-07-09'",
        "DATETIME": "'2013-07-09 01:02:03'",
        "DATETIME(3)": "'2013-07-09 01:02:03'",
        "TIMESTAMP(3)": "'2013-07-09 01:02:03'",
        "TIME": "'01:02:03'",
        "YEAR": "2013",
        "BLOB": "'x'",
        "VARBINARY(10)": "'x'",
        "BINARY(4)": "'x'",
        "BIT(5)": "b'101'",
        "ENUM('text', 'b')": "'text'",
        "SET('text', 'b')": "'text'",
        "JSON": "'{}'",
    },
    "sqlite": {
        "TEXT": "'zoë@example.org'",
        "VARCHAR(20)": "'zoë@example.org'",
        "INTEGER": "7",
        "CHARINT": "7",
        "REAL": "1.5",
        "NUMERIC": "1.5",
        "BLOB": "X'00'",
        "DATE": "'2013-07-09'",
        "DATETIME": "'2013-07-09 01:02:03'",
        "TIMESTAMP": "'2013-07-09 01:02:03'",
        "": "'secret'",
    },
}  # fmt: skip
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE pair AS (number integer, word text)",
    "CREATE DOMAIN address AS text CHECK (value LIKE '%@%')",
    "CREATE DOMAIN needed AS integer NOT NULL",
)
# Where a mask's text does not fit, the same family without a limit stands in.
ROOMIER = {"character varying(2)": "character varying", "character(2)": "bpchar"}
TEXTS = {
    "duckdb": {"VARCHAR"},
    "postgres": {
        "text", 'text COLLATE "C"', "character varying(200)", "character varying(2)",
        "character varying", "character(40)", "character(2)", "bpchar",
    },
    "mysql": {
        "VARCHAR(200)", "VARCHAR(200) CHARACTER SET latin1", "VARCHAR(200) COLLATE utf8mb4_bin",
        "VARCHAR(2)", "CHAR(40)", "TINYTEXT", "TEXT", "LONGTEXT",
    },
    "sqlite": {"TEXT", "VARCHAR(20)"},
}  # fmt: skip


@pytest.fixture(params=DIALECTS, scope="module")
def product(request):
    with open_product(request, request.param, SCHEMA, pads=pads(KEY)) as opened:
        if opened.dialect == "postgres":
            opened.run(*OWN_TYPES)
        if opened.dialect == "sqlite":
            opened.cursor.connection.create_function("nbgov_token", 1, lambda v: token(v, KEY))
        yield opened


def hold(product: Product, kind: str, *values: str) -> Column:
    """A table with one column of a type, holding values in order."""
    product.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (i INTEGER, c {kind})")
    for place, value in enumerate(values):
        product.run(f"INSERT INTO t VALUES ({place}, {value})")
    return Column("c", kind)


def shown_as_text(column: Column, kind: MaskKind, dialect: str) -> str:
    """A masked column, as text where the driver knows the types of few."""
    expression = masked(column, kind, dialect)
    return f"CAST({expression} AS VARCHAR)" if dialect in {"duckdb", "postgres"} else expression


def read(product: Product, column: Column, kind: MaskKind) -> list[Any]:
    """The values that a mask shows."""
    expression = shown_as_text(column, kind, product.dialect)
    return [row[0] for row in product.rows(f"SELECT {expression} AS c FROM t ORDER BY i")]


@pytest.fixture(scope="module")
def wide(product):
    """Columns of every type that the engine has, by type: one row of values, and one of NULLs."""
    columns = {
        type_name: Column(f"c{place}", type_name.removesuffix(' COLLATE "C"'))
        for place, type_name in enumerate(TYPES[product.dialect])
    }
    shape = ", ".join(f"{column.name} {kind}" for kind, column in columns.items())
    values = TYPES[product.dialect].values()
    nothing = [
        value if kind == "needed" else "NULL" for kind, value in TYPES[product.dialect].items()
    ]
    product.run(f"CREATE TABLE wide (i INTEGER, {shape})")
    product.run(
        f"INSERT INTO wide VALUES (1, {', '.join(values)})",
        f"INSERT INTO wide VALUES (2, {', '.join(nothing)})",
    )
    return columns


def types_of(product: Product, query: str) -> list[object]:
    """What the engine itself says of the types of a query's columns."""
    if product.dialect == "duckdb":
        return [row[1] for row in product.rows(f"DESCRIBE {query}")]
    if product.dialect == "postgres":
        product.run(f"CREATE VIEW v AS {query}")
        rows = product.rows(
            "SELECT format_type(atttypid, atttypmod) || coalesce((SELECT ' COLLATE ' || collname::text FROM"
            " pg_collation WHERE oid = attcollation AND collname <> 'default'), '') FROM pg_attribute"
            " WHERE attrelid = 'v'::regclass ORDER BY attnum"
        )
        product.run("DROP VIEW v")
        return [row[0] for row in rows]
    product.run(query)
    return [entry[1] for entry in product.cursor.description]


@pytest.mark.parametrize("kind", list(MaskKind))
def test_every_mask_of_every_type_reads_and_shows_no_value(product, wide, kind: MaskKind) -> None:
    """What a mask shows is NULL, or a sign of its kind; and NULL stays NULL."""
    masks = [shown_as_text(column, kind, product.dialect) for column in wide.values()]
    values, nothing = product.rows(f"SELECT {', '.join(masks)} FROM wide ORDER BY i")
    assert set(nothing) == {None}
    for type_name, value in zip(wide, values, strict=True):
        is_text = type_name in TEXTS[product.dialect]
        if is_text and kind in {MaskKind.REDACT, MaskKind.TOKEN, MaskKind.PARTIAL}:
            assert holds_token(value), type_name
            assert "zo" not in value, type_name
        elif value is not None:
            assert kind is MaskKind.YEAR, type_name
            assert str(value).startswith("2013-01-01"), type_name


# MySQL gives its own words for a text whatever its length: CHAR, VARCHAR and ENUM come as VARCHAR,
# and MEDIUMTEXT and LONGTEXT as either. SQLite and its driver tell no types at all.
MYSQL_TEXTS = {15, 249, 250, 251, 252, 253, 254}
MYSQL_DATETIME, MYSQL_TIMESTAMP = 12, 7


@pytest.mark.parametrize("kind", list(MaskKind))
def test_a_masked_column_keeps_its_type(product, wide, kind: MaskKind) -> None:
    """The engine says the same of the masked column as of the column itself."""
    names = ", ".join(column.name for column in wide.values())
    masks = ", ".join(
        f"{masked(column, kind, product.dialect)} AS {column.name}" for column in wide.values()
    )
    before = types_of(product, f"SELECT {names} FROM wide")
    after = types_of(product, f"SELECT {masks} FROM wide")
    if product.dialect == "mysql":
        before, after = ([0 if c in MYSQL_TEXTS else c for c in codes] for codes in (before, after))
        if kind is MaskKind.YEAR:
            before = [MYSQL_DATETIME if c == MYSQL_TIMESTAMP else c for c in before]
    elif product.dialect == "postgres":
        is_shown = kind in {MaskKind.REDACT, MaskKind.TOKEN, MaskKind.PARTIAL}
        before = [ROOMIER.get(c, c) if is_shown else c.removesuffix(" COLLATE C") for c in before]
        after = after if is_shown else [c.removesuffix(" COLLATE C") for c in after]
    assert after == before


@pytest.mark.parametrize(
    ("kind", "value", "shows"),
    [
        (MaskKind.REDACT, "x", "***"),
        (MaskKind.REDACT, "", "***"),
        (MaskKind.NULL, "x", None),
        (MaskKind.PARTIAL, "4111111111111111", "***1111"),
        (MaskKind.PARTIAL, "12345678", "***"),
        (MaskKind.PARTIAL, "123456789", "***6789"),
        (MaskKind.PARTIAL, "äöüäöüäöü", "***üäöü"),
        (MaskKind.TOKEN, "Ada", token("Ada", KEY)),
        (MaskKind.YEAR, "2013", None),
    ],
)
def test_what_a_mask_shows_of_a_text(
    product: Product, kind: MaskKind, value: str, shows: str | None
) -> None:
    """Counted in characters, and the same on every engine."""
    text = next(iter(TYPES[product.dialect]))
    assert read(product, hold(product, text, f"'{value}'"), kind) == [shows]


def test_a_token_survives_a_type_that_is_too_short(product: Product) -> None:
    """Two values that differ never become one, however short the column is declared."""
    short = {
        "duckdb": "VARCHAR",
        "postgres": "character(3)",
        "mysql": "CHAR(3)",
        "sqlite": "CHAR(3)",
    }
    column = hold(product, short[product.dialect], "'ab'", "'ac'")
    assert read(product, column, MaskKind.TOKEN) == [token("ab", KEY), token("ac", KEY)]


def test_a_join_across_engines_survives(request) -> None:
    """The token of a value is the same wherever it is read."""
    shown = set()
    for dialect in DIALECTS:
        with open_product(request, dialect, "across", pads=pads(KEY)) as product:
            if dialect == "sqlite":
                product.cursor.connection.create_function("nbgov_token", 1, lambda v: token(v, KEY))
            column = hold(product, next(iter(TYPES[dialect])), "'zoë@example.org'")
            shown |= set(read(product, column, MaskKind.TOKEN))
    assert shown == {token("zoë@example.org", KEY)}


def test_a_year_that_is_none_is_nothing(request) -> None:
    """SQLite keeps anything in a DATE column; what is no day shows nothing."""
    with open_product(request, "sqlite", SCHEMA) as product:
        column = hold(product, "DATE", "'secret'", "20130709", "X'3230'", "'2013-07-09'")
        assert read(product, column, MaskKind.YEAR) == [None, None, None, "2013-01-01"]
        moment = hold(product, "DATETIME", "'2013-07-09 01:02:03'")
        assert read(product, moment, MaskKind.YEAR) == ["2013-01-01 00:00:00"]


def test_a_masked_text_keeps_its_collation(request) -> None:
    """MariaDB refuses to compare texts of two collations; a masked column still compares."""
    with open_product(request, "mysql", "collations", pads=pads(KEY)) as product:
        for collation in ("latin1_swedish_ci", "utf8mb4_unicode_ci", "utf8mb4_bin", "ascii_bin"):
            charset = collation.partition("_")[0]
            column = hold(
                product, f"VARCHAR(60) CHARACTER SET {charset} COLLATE {collation}", "'Ada'"
            )
            for kind in (MaskKind.REDACT, MaskKind.TOKEN, MaskKind.PARTIAL):
                expression = masked(column, kind, "mysql")
                query = f"SELECT collation(m), m = c FROM (SELECT {expression} AS m, c FROM t) AS t"
                assert product.rows(query) == [(collation, 0)]


# ------------------------------------------------------------------ the fence of a row filter

# A predicate of the user that fails on a row that the filter hides, and on no other.
RAISING = {
    "duckdb": ("n VARCHAR", "'x'", "'1'", "CAST(n AS INTEGER) > 0"),
    "mysql": ("n BIGINT", "9223372036854775807", "1", "n + 1 > 0"),
    "postgres": ("n VARCHAR", "'x'", "'1'", "CAST(n AS INTEGER) > 0"),
    "sqlite": ("n VARCHAR", "'{'", "'[1]'", "n > '' AND json(n) IS NOT NULL"),
}
ORDERS = TableName(SCHEMA, "o")


@pytest.mark.parametrize(
    "where", ["ok = 'y'", "ok LIKE 'y%' AND length(ok) = 1", "lower(upper(ok)) IN ('y', 'z')"]
)
def test_a_hidden_row_cannot_make_a_statement_fail(product: Product, where: str) -> None:
    """The user's predicate never meets a row that the filter hides."""
    shape, bad, good, predicate = RAISING[product.dialect]
    product.run(
        "DROP TABLE IF EXISTS o",
        f"CREATE TABLE o ({shape}, ok VARCHAR(9))",
        "CREATE INDEX by_n ON o (n)",
    )
    values = [f"({bad}, 'n')" if place % 9 == 0 else f"({good}, 'y')" for place in range(90)]
    product.run(f"INSERT INTO o VALUES {', '.join(values)}")
    columns = (Column("n", shape.partition(" ")[2]), Column("ok", "VARCHAR"))
    name = TableName("main" if product.dialect == "sqlite" else SCHEMA, "o")
    catalog = Catalog(product.dialect, name.schema, {name: Table(name, columns)})
    sql = f"SELECT count(*) AS c FROM o WHERE {predicate}"
    use = TableUse(name, Action.READ, Span(26, 27), has_alias=False, columns=frozenset({"n"}))
    statement = Statement(sql, product.dialect, "SELECT", frozenset({Effect.READ}), tables=(use,))
    permit = Decision(is_permitted=True, obligations=(RowFilter(name, where),))
    made = rewrite(statement, permit, catalog, values={})
    assert product.rows(made.sql) == [(80,)]
    errors = []
    try:
        product.rows(sql)
    except Exception as error:  # noqa: BLE001  # Any failure will do: without the filter there is one.
        errors.append(error)
    assert errors


@pytest.mark.parametrize("dialect", ["mysql", "sqlite"])
def test_the_fence_is_needed(request, dialect: str) -> None:
    """The same query without the fence fails, so the test above can."""
    with open_product(request, dialect, "unfenced") as product:
        shape, bad, good, predicate = RAISING[dialect]
        product.run(f"CREATE TABLE o ({shape}, ok VARCHAR(9))", "CREATE INDEX by_n ON o (n)")
        product.run(
            f"INSERT INTO o VALUES {', '.join(f'({v}, {k})' for v, k in [(bad, repr('n')), (good, repr('y'))] * 50)}"
        )
        with pytest.raises(Exception, match=r"out of range|malformed"):
            product.rows(
                f"SELECT count(*) FROM (SELECT n, ok FROM o WHERE ok = 'y') AS o WHERE {predicate}"
            )


def test_a_filter_sees_what_is_stored_and_the_user_what_is_masked(product: Product) -> None:
    """A row filter on a masked column reads the column, not its mask."""
    hold(product, next(iter(TYPES[product.dialect])), "'Ada'", "'Bo'")
    name = TableName("main" if product.dialect == "sqlite" else SCHEMA, "t")
    table = Table(name, (Column("i", "INTEGER"), Column("c", next(iter(TYPES[product.dialect])))))
    statement = Statement(
        "SELECT c FROM t", product.dialect, "SELECT", frozenset({Effect.READ}),
        tables=(TableUse(name, Action.READ, Span(14, 15), has_alias=False, columns=frozenset({"c"})),),
    )  # fmt: skip
    permit = Decision(
        is_permitted=True,
        obligations=(
            ColumnMask(ColumnName(name, "c"), MaskKind.REDACT, "pii"),
            RowFilter(name, "c = 'Ada'"),
        ),
    )
    made = rewrite(
        statement, permit, Catalog(product.dialect, name.schema, {name: table}), values={}
    )
    assert product.rows(made.sql) == [("***",)]

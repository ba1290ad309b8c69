"""The text that runs. Golden cases: ``tests/cases/rewrite``; each rewrite is also executed on DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.rewrite import masked, neutral, rewrite, verify
from nbgov.core.statement import parse, take_values
from nbgov.errors import ConfigInvalid, Denied, IntegrityFailed
from nbgov.model import (
    Catalog,
    Column,
    ColumnMask,
    ColumnName,
    Decision,
    EngineOpinion,
    MaskKind,
    Obligation,
    RowFilter,
    RowLimit,
    TableName,
)
from tests.core.conftest import COLUMNS, make_catalog

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases/rewrite/duckdb.yaml").read_text())
PEOPLE, ORDERS = TableName("main", "people"), TableName("main", "orders")
OBLIGATIONS: tuple[Obligation, ...] = (
    ColumnMask(ColumnName(PEOPLE, "name"), MaskKind.REDACT, "pii.name"),
    ColumnMask(ColumnName(PEOPLE, "email"), MaskKind.PARTIAL, "pii.email"),
    RowFilter(ORDERS, "amount > 10"),
)


def run(sql: str, catalog: Catalog, *obligations: Obligation, **values: Any) -> Any:
    """Rewrite a text under obligations."""
    statement = parse(sql, catalog)
    plain = take_values(statement.binds, values)
    return rewrite(
        statement, Decision(is_permitted=True, obligations=obligations), catalog, values=plain
    )


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """people and orders with rows, and the same two tables masked and filtered beforehand in ``gov``."""
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA gov")
        for table, columns in COLUMNS.items():
            shape = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
            connection.execute(f"CREATE TABLE main.{table} ({shape})")
        connection.execute(
            "INSERT INTO people VALUES (1, 'Ada', 'ada@lovelace.org', 'EU'), (2, 'Bo', 'b@x.io', 'US'),"
            " (3, NULL, NULL, NULL), (4, 'Ada', 'ada@hopper.mil', 'US')"
        )
        connection.execute(
            "INSERT INTO orders VALUES (1, 1, 5.0, 'a'), (2, 2, 50.0, 'b'), (3, 4, 11.0, NULL), (4, 9, NULL, 'c')"
        )
        connection.execute(
            "CREATE TABLE gov.people AS SELECT id, CASE WHEN name IS NOT NULL THEN '***' END AS name,"
            " CASE WHEN length(email) > 8 THEN '***' || right(email, 4) WHEN email IS NOT NULL THEN '***' END"
            " AS email, region FROM main.people"
        )
        connection.execute("CREATE TABLE gov.orders AS SELECT * FROM main.orders WHERE amount > 10")
        yield connection


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_the_text_that_runs_is_the_users_with_its_tables_governed(
    case: dict[str, Any], catalog: Catalog
) -> None:
    """Only the spans of governed tables, qualifiers and lists are replaced."""
    obligations = OBLIGATIONS if case.get("masks", True) else ()
    assert run(case["sql"], catalog, *obligations, **case.get("values", {})).sql == case["runs"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM people ORDER BY id",
        "SELECT count(*) AS n FROM people WHERE name = 'Ada'",
        "SELECT name, count(*) AS n FROM people GROUP BY name ORDER BY name",
        "SELECT p.email, o.amount FROM people p JOIN orders o ON o.person_id = p.id ORDER BY o.id",
        "WITH people AS (SELECT * FROM people WHERE region = 'US') SELECT * FROM people ORDER BY id",
        "SELECT id FROM people WHERE email LIKE '%lovelace%' OR id IN (SELECT person_id FROM orders) ORDER BY 1",
        "SELECT * FROM people NATURAL JOIN orders ORDER BY ALL",
        "SELECT region, max(email) AS m FROM people GROUP BY region HAVING max(name) > 'B' ORDER BY region",
        "SELECT a.name FROM people a, people b WHERE a.name = b.name AND a.id < b.id ORDER BY 1",
        "SELECT o.id, rank() OVER (ORDER BY o.amount) AS r FROM orders AS o ORDER BY 1",
        "SELECT people FROM people ORDER BY people.id",
    ],
)
def test_a_rewrite_returns_what_masked_tables_would(
    sql: str, catalog: Catalog, database: duckdb.DuckDBPyConnection
) -> None:
    """The rewritten text returns the rows that the original returns over tables masked beforehand."""
    rewritten = run(sql, catalog, *OBLIGATIONS).sql
    ours = database.sql(rewritten).to_arrow_table().to_pylist()
    database.execute("SET search_path = 'gov'")
    theirs = database.sql(sql).to_arrow_table().to_pylist()
    assert ours == theirs


def test_rewriting_what_was_rewritten_changes_nothing_more(catalog: Catalog) -> None:
    """A text whose tables are pinned stays as it is."""
    once = run("SELECT p.id FROM people AS p", catalog)
    assert run(once.sql, catalog).sql == once.sql


def test_the_lowest_row_limit_holds(catalog: Catalog) -> None:
    """A row limit of the policy travels with the text."""
    assert run("SELECT id FROM people", catalog, RowLimit(7), RowLimit(9)).rows_max == 7


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite", "postgres", "mysql"])
@pytest.mark.parametrize("kind", list(MaskKind))
@pytest.mark.parametrize("type_name", ["VARCHAR(20)", "INTEGER", "DATE", "TIMESTAMP", "BLOB"])
def test_every_mask_reads_every_type(dialect: str, kind: MaskKind, type_name: str) -> None:
    """A mask that has no meaning for a type reads as NULL, never as the value itself."""
    expression = masked(Column("c", type_name), kind, dialect)
    assert expression not in {'"c"', "`c`", "c"}


@pytest.mark.parametrize(
    ("kind", "type_name", "value", "reads"),
    [
        (MaskKind.REDACT, "VARCHAR", "'x'", "***"),
        (MaskKind.NULL, "VARCHAR", "'x'", None),
        (MaskKind.PARTIAL, "VARCHAR", "'4111111111111111'", "***1111"),
        (MaskKind.PARTIAL, "VARCHAR", "'12345678'", "***"),
        (MaskKind.YEAR, "DATE", "DATE '2013-07-09'", "2013-01-01"),
        (MaskKind.REDACT, "INTEGER", "7", None),
        (MaskKind.YEAR, "VARCHAR", "'2013'", None),
    ],
)
def test_a_mask_keeps_the_type_of_its_column(
    kind: MaskKind, type_name: str, value: str, reads: str | None
) -> None:
    """A masked column has the type that it had, whatever the mask does to its values."""
    expression = masked(Column("c", type_name), kind, "duckdb")
    with duckdb.connect() as connection:
        row = connection.execute(
            f"SELECT typeof(m), m::VARCHAR FROM (SELECT {expression} AS m FROM (SELECT {value}::{type_name} AS c))"
        ).fetchone()
    assert row == (type_name, reads)


@pytest.mark.parametrize(
    "predicate",
    [
        "amount > 10) OR (1 = 1", "amount IN (SELECT 1)", "nothing = 1", "people.id = 1", "amount = :x",
        "amount > 1; DROP TABLE people", "amount > 1 -- ", "", "1 = 1) UNION SELECT (1", "amount > 1) LIMIT (1",
    ],
)  # fmt: skip
def test_a_row_filter_is_one_plain_predicate(predicate: str, catalog: Catalog) -> None:
    """A filter that could close its parentheses, or look elsewhere, is refused."""
    with pytest.raises(ConfigInvalid, match="plain predicate"):
        run("SELECT id FROM orders", catalog, RowFilter(ORDERS, predicate))


@given(st.sampled_from(['a"b', "a`b", "ä", "select", "a b"]))
def test_a_name_is_quoted_for_its_dialect(name: str) -> None:
    """A column with any name can be masked, and only it."""
    with duckdb.connect() as connection:
        quoted = '"' + name.replace('"', '""') + '"'
        connection.execute(f"CREATE TABLE t ({quoted} VARCHAR)")
        connection.execute("INSERT INTO t VALUES ('secret')")
        expression = masked(Column(name, "VARCHAR"), MaskKind.REDACT, "duckdb")
        assert connection.execute(f"SELECT {expression} FROM t").fetchone() == ("***",)


def test_a_dialect_that_cannot_be_rewritten_is_denied() -> None:
    """A masked table on an unknown dialect is not read, and an unmasked one is."""
    catalog = make_catalog("oracle")
    with pytest.raises(Denied, match="oracle"):
        run("SELECT id FROM people", catalog, *OBLIGATIONS)
    assert run("SELECT id FROM people", catalog).sql == 'SELECT id FROM "main"."people"'


def test_postgresql_filters_are_fenced() -> None:
    """PostgreSQL may not look at hidden rows before the filter does."""
    sql = run(
        "SELECT id FROM orders", make_catalog("postgres"), RowFilter(ORDERS, "amount > 10")
    ).sql
    assert sql.endswith('WHERE (amount > 10) OFFSET 0) AS "orders"')


@pytest.mark.parametrize(
    ("opinion", "why"),
    [
        (EngineOpinion(2, is_read=True), "2 statements"),
        (EngineOpinion(1, is_read=False), "write"),
        (EngineOpinion(1, is_read=True, tables=frozenset({PEOPLE, ORDERS})), "did not see"),
        (
            EngineOpinion(1, is_read=True, tables=frozenset({TableName("", "people")})),
            "did not see",
        ),
    ],
)
def test_a_second_opinion_that_differs_stops_the_statement(
    opinion: EngineOpinion, why: str, catalog: Catalog
) -> None:
    """Count, effect and tables must be the same for the engine."""
    statement = parse("SELECT id FROM people", catalog)
    with pytest.raises(IntegrityFailed, match=why):
        verify(statement, opinion, [catalog.tables[PEOPLE]])


def test_a_second_opinion_that_agrees_lets_it_pass(catalog: Catalog) -> None:
    """An engine that sees the same one table, or that cannot tell, is content."""
    statement = parse("SELECT id FROM people WHERE id = :x", catalog)
    rewritten = rewrite(statement, Decision(is_permitted=True), catalog, values={"x": 1})
    for tables in (frozenset({PEOPLE}), frozenset[TableName](), None):
        verify(statement, EngineOpinion(1, is_read=True, tables=tables), [catalog.tables[PEOPLE]])
    assert neutral(rewritten) == 'SELECT id FROM "main"."people" WHERE id = (NULL)'

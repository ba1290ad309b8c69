"""Which columns a query reads, and how. Golden cases: ``reads.yaml`` and ``shapes.yaml``."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from sqlglot import exp

from nbgov.core.statement import parse
from nbgov.core.statement.lineage import Lineage
from nbgov.core.statement.trails import Scope, Unresolved
from nbgov.errors import NbgovError
from nbgov.model import Catalog, Column, ColumnName, Statement, Table, TableName
from tests.core import queries

CASES = Path(__file__).parent.parent / "cases" / "statement"
READS = yaml.safe_load((CASES / "reads.yaml").read_text())
SHAPES = yaml.safe_load((CASES / "shapes.yaml").read_text())
ENGINE_ERRORS = (sqlite3.Error, duckdb.Error)
CLIENTS = {
    "clients": "id INTEGER, name TEXT, ssn TEXT, born DATE, country TEXT",
    "bills": "id INTEGER, client INTEGER, total INTEGER, memo TEXT",
}
WAREHOUSE = {
    "sales": "s_id s_item s_shop s_person s_day s_quantity s_price s_discount",
    "returns": "r_id r_sale r_shop r_day r_amount",
    "items": "i_id i_name i_category",
    "shops": "h_id h_name h_city h_region h_area",
    "people": "p_id p_name p_phone p_balance p_born p_region p_boss",
    "days": "d_date d_year d_month d_week",
}


def make_catalog(tables: dict[str, list[Column]], dialect: str) -> Catalog:
    """Tables in the schema main."""
    named = {TableName("main", name): columns for name, columns in tables.items()}
    return Catalog(dialect, "main", {n: Table(n, tuple(columns)) for n, columns in named.items()})


def clients(dialect: str) -> Catalog:
    """The tables of reads.yaml."""
    columns = {
        name: [Column(*column.split()) for column in text.split(", ")]
        for name, text in CLIENTS.items()
    }
    return make_catalog(columns, dialect)


def short(column: ColumnName) -> str:
    """A column as the cases write it."""
    return str(column).removeprefix("main.").removeprefix("clients.")


def pairs(found: Any) -> list[str]:
    """Columns with how they bear, as the cases write them."""
    return sorted(f"{short(column)} {kind}" for column, kind in found)


def reached(statement: Statement) -> set[ColumnName]:
    """The columns that bear on outputs or predicates."""
    columns = {c for output in statement.outputs for c, _ in output.influences}
    return columns | statement.predicate_columns


@pytest.mark.parametrize("case", READS, ids=lambda case: case["why"])
def test_a_query_reads_what_it_says_in_the_way_that_it_says(case: dict[str, Any]) -> None:
    """Outputs, predicates, NULL-ness and what can fail are those of the case."""
    statement = parse(case["sql"], clients(case.get("dialect", "duckdb")))
    assert statement.is_resolved is not case.get("all", False)
    assert sorted(map(short, statement.raising_columns)) == case.get("fails", [])
    if not statement.is_resolved:
        every = {
            ColumnName(use.table, column.name)
            for use in statement.tables
            for column in clients("duckdb").tables[use.table].columns
        }
        read = {ColumnName(use.table, c) for use in statement.tables for c in use.columns}
        assert every == read == statement.predicate_columns
        return
    found = {output.name or "?": pairs(output.influences) for output in statement.outputs}
    assert list(found) == list(case["outputs"])
    assert found == case["outputs"]
    assert pairs(statement.predicates) == case.get("predicates", [])
    presence = case.get("null", []) + case.get("unused", [])
    assert sorted(map(short, statement.presence_columns)) == sorted(presence)
    assert not {short(column) for column in reached(statement)} & set(case.get("unused", []))
    if "functions" in case:
        assert sorted(statement.functions) == case["functions"]


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
@pytest.mark.parametrize("case", SHAPES, ids=lambda case: case["why"])
def test_a_report_reads_what_it_shows(case: dict[str, Any], dialect: str) -> None:
    """The sources of each output of a report are exact, and so are its predicates."""
    columns = {n: [Column(c, "INTEGER") for c in text.split()] for n, text in WAREHOUSE.items()}
    statement = parse(case["sql"], make_catalog(columns, dialect))
    assert {o.name: sorted(c.name for c in o.sources) for o in statement.outputs} == case["outputs"]
    assert sorted(c.name for c in statement.predicate_columns) == case["predicates"]


def test_a_recursion_that_does_not_settle_counts_as_every_column() -> None:
    """Columns that move on by one place at each step need as many steps as there are."""
    names = [f"c{number}" for number in range(30)]
    first = ["ssn", *("NULL" for _ in names[1:])]
    sql = f"""WITH RECURSIVE r({", ".join(names)}) AS (SELECT {", ".join(first)} FROM clients
        UNION ALL SELECT {", ".join(names[1:] + names[:1])} FROM r) SELECT c29 FROM r"""
    assert not parse(sql, clients("duckdb")).is_resolved


def test_a_long_chain_of_conditions_is_read_to_its_end() -> None:
    """A condition of thousands of parts is no deeper than one of two."""
    sql = "SELECT id FROM clients WHERE " + " OR ".join(f"id = {n}" for n in range(2_000))
    statement = parse(sql + " OR ssn = 'x'", clients("duckdb"))
    assert pairs(statement.predicates) == ["id filter", "ssn filter"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + ", ".join(["*"] * 5_000) + " FROM clients",
        "SELECT ssn FROM clients, " + ", ".join(f"bills AS b{n}" for n in range(300)),
        "WITH x AS (SELECT "
        + ", ".join(["*"] * 1_500)
        + " FROM clients) SELECT 1 FROM x a, x b, x c",
        "SELECT concat(" + ", ".join(["COLUMNS(*)"] * 100) + ") FROM clients",
        "SELECT " + ", ".join(["(SELECT 1)"] * 3_000) + ", ssn FROM clients",
    ],
    ids=["stars", "tables", "width", "columns", "queries"],
)
def test_a_text_that_makes_too_much_work_counts_as_every_column(sql: str) -> None:
    """Whatever the text, the work is bounded, and beyond the bound nothing is guessed."""
    statement = parse(sql, clients("duckdb"))
    assert not statement.is_resolved


def test_what_stands_where_it_cannot_is_every_column() -> None:
    """A table in an expression, and an expression in FROM, are not followed."""
    lineage = Lineage(clients("duckdb"), {}, set())
    with pytest.raises(Unresolved):
        lineage.trail(exp.func("f", exp.to_table("clients")), Scope())
    with pytest.raises(Unresolved):
        lineage.relation(exp.Literal.number(1), Scope())


def answer(connection: Any, sql: str) -> list[str] | None:
    """The rows of a query in any order, or nothing where the engine does not take it."""
    try:
        return sorted(map(repr, connection.execute(sql).fetchall()))
    except ENGINE_ERRORS:
        return None


def check_reading(sql: str, dialect: str, connection: Any) -> Statement | None:
    """Hold what nbgov says that a query reads against what the engine does."""
    expected = answer(connection, sql)
    if expected is None:
        return None
    try:
        statement = parse(sql, queries.make_catalog(dialect))
    except NbgovError as error:
        pytest.fail(f"{sql} is refused: {error}")
    every = {
        ColumnName(table.name, column.name)
        for table in queries.make_catalog(dialect).tables.values()
        for column in table.columns
    }
    shown = reached(statement) - statement.presence_columns
    other = queries.connect(dialect, frozenset(every - shown))
    try:
        assert answer(other, sql) == expected
    finally:
        other.close()
    return statement


@settings(max_examples=60)
@given(sql=queries.queries("duckdb"))
def test_a_column_that_is_not_read_changes_nothing_on_duckdb(sql: str) -> None:
    """Other values in all columns of which none shows leave the rows as they are."""
    connection = queries.connect("duckdb")
    try:
        check_reading(sql, "duckdb", connection)
    finally:
        connection.close()


@settings(max_examples=60)
@given(sql=queries.queries("sqlite"))
def test_a_column_that_is_not_read_changes_nothing_on_sqlite(sql: str) -> None:
    """The same on SQLite, and every column that SQLite itself asks for is among those read."""
    connection = queries.connect("sqlite")
    try:
        statement = check_reading(sql, "sqlite", connection)
        asked: set[tuple[str, str]] = set()

        def note(code: int, table: str | None, column: str | None, *_: object) -> int:
            if code == sqlite3.SQLITE_READ and table in queries.COLUMNS and column:
                asked.add((table, column))
            return sqlite3.SQLITE_OK

        connection.set_authorizer(note)
        if statement is not None:
            answer(connection, sql)
            read = {(use.table.name, column) for use in statement.tables for column in use.columns}
            assert asked <= read
    finally:
        connection.close()

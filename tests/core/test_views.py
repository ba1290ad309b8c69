"""What views, partitions and parents show, once a catalog is composed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbgov.core.statement.views import compose
from nbgov.model import Catalog, Column, Effect, Table, TableName

PEOPLE = Table(
    TableName("main", "people"),
    (Column("id", "INTEGER"), Column("ssn", "TEXT"), Column("country", "TEXT")),
)
ORDERS = Table(TableName("main", "orders"), (Column("id", "INTEGER"), Column("note", "TEXT")))


def view(name: str, definition: str, *columns: str) -> Table:
    """A view with columns of text."""
    shape = tuple(Column(column, "TEXT") for column in columns)
    return Table(TableName("main", name), shape, "view", definition)


def composed(
    *tables: Table, dialect: str = "postgres", functions: dict[str, Effect] | None = None
) -> dict[str, Table]:
    """The tables of a composed catalog, by name."""
    held = {table.name: table for table in (PEOPLE, ORDERS, *tables)}
    catalog = compose(Catalog(dialect, "main", held, functions or {}))
    return {name.name: table for name, table in catalog.tables.items()}


def origins(table: Table) -> dict[str, list[str]]:
    """The origins of each column, without their schema."""
    return {
        column: sorted(str(origin).removeprefix("main.") for origin in found)
        for column, found in table.origins.items()
    }


def rows_of(table: Table) -> list[str]:
    """The origins of the rows, without their schema."""
    return sorted(str(origin).removeprefix("main.") for origin in table.row_origins)


def test_a_view_shows_what_its_definition_reads() -> None:
    """Columns go by position; conditions count for the rows, and CASE for its column."""
    sql = """SELECT p.id, upper(p.ssn), CASE WHEN p.ssn LIKE '1%' THEN 'a' END, count(p.country)
        FROM people p JOIN orders USING (id) WHERE p.country = 'x' GROUP BY p.id, p.ssn;"""
    found = composed(view("v", sql, "a", "b", "c", "d"))["v"]
    assert found.is_traced
    assert origins(found) == {"a": ["people.id"], "b": ["people.ssn"], "c": ["people.ssn"], "d": []}
    assert rows_of(found) == ["orders.id", "people.country", "people.id", "people.ssn"]


def test_views_compose_in_any_order() -> None:
    """A view on a view shows the base columns, and its rows are chosen by both."""
    outer = view("a_outer", "SELECT x FROM inner_ WHERE y > 1", "z")
    inner = view("inner_", "SELECT ssn, id FROM people WHERE country = 'x'", "x", "y")
    found = composed(outer, inner)["a_outer"]
    assert origins(found) == {"z": ["people.ssn"]}
    assert rows_of(found) == ["people.country", "people.id"]
    assert found.sources == {PEOPLE.name}


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "SELECT FROM WHERE",
        "SELECT ssn FROM nowhere",
        "SELECT nothing FROM people",
        "SELECT ssn, id FROM people",
        "SELECT x.a FROM people, json_populate_record(ssn, ssn) AS f(a, b), f.x",
        "SELECT f.* FROM people, json_populate_record(ssn, ssn) AS f",
        "SELECT relname FROM pg_class",
        "SELECT query_to_xml('SELECT ssn FROM people', true, true, '')",
        "SELECT mine(id) FROM people",
        "SELECT x FROM untraced",
        "SELECT x FROM itself",
        "SELECT x FROM elsewhere",
        "SELECT ssn FROM people WHERE id = :id",
        "DELETE FROM people RETURNING ssn",
        "SELECT public.people.x.ssn FROM people",
    ],
)
def test_a_view_that_cannot_be_followed_is_not_traced(definition: str) -> None:
    """Whatever is not certain leaves a view without origins, and never with some of them."""
    untraced = view("untraced", "SELECT 1 FROM nowhere", "x")
    itself = view("itself", "SELECT x FROM mirror", "x")
    mirror = view("mirror", "SELECT x FROM itself", "x")
    elsewhere = replace(view("elsewhere", "", "x"), kind="foreign")
    tables = (view("v", definition, "x"), untraced, itself, mirror, elsewhere)
    found = composed(*tables, functions={"public.mine": Effect.UNKNOWN})
    assert not found["v"].is_traced
    assert not found["v"].origins
    assert not found["itself"].is_traced


def test_a_view_may_be_told_with_its_create() -> None:
    """SQLite keeps the whole statement; the query in it is the definition."""
    sql = 'CREATE VIEW "v" (a) AS SELECT ssn FROM people'
    assert origins(composed(view("v", sql, "a"), dialect="sqlite")["v"]) == {"a": ["people.ssn"]}


def test_partitions_show_the_columns_of_their_parents_and_back() -> None:
    """Up and down, through generations, and not from one partition to the next."""
    year = Table(TableName("main", "y"), PEOPLE.columns, parents=(PEOPLE.name,))
    month = Table(TableName("main", "m"), PEOPLE.columns, parents=(year.name,))
    other = Table(TableName("main", "o"), ORDERS.columns, parents=(PEOPLE.name,))
    lost = Table(TableName("main", "l"), ORDERS.columns, parents=(TableName("main", "gone"),))
    seen = view("v", "SELECT ssn FROM m", "x")
    found = composed(year, month, other, lost, seen)
    assert origins(found["y"])["ssn"] == ["m.ssn", "people.ssn"]
    assert origins(found["m"])["ssn"] == ["people.ssn", "y.ssn"]
    assert origins(found["people"])["id"] == ["m.id", "o.id", "y.id"]
    assert origins(found["o"]) == {"id": ["people.id"], "note": []}
    assert origins(found["v"]) == {"x": ["m.ssn", "people.ssn", "y.ssn"]}
    assert found["m"].is_traced
    assert not found["l"].origins
    assert not found["orders"].is_traced


def test_composing_changes_nothing_but_origins() -> None:
    """Composing again gives the same, and the catalog that came in is as it was."""
    before = Catalog("postgres", "main", {t.name: t for t in (PEOPLE, view("v", "TABLE people"))})
    copy = Catalog("postgres", "main", dict(before.tables))
    once = compose(before)
    assert before == copy
    assert compose(once) == once

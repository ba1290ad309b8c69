"""What the columns of a result were made of, and how open that leaves them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbgov.core.policy import parse as parse_policy
from nbgov.core.policy.tags import Classification
from nbgov.core.result_columns import (
    names_untraced,
    result_columns,
    tables_seen,
)
from nbgov.core.statement import parse
from nbgov.core.statement.views import compose
from nbgov.model import Catalog, Column, Table, TableName
from nbgov.model.dataset import INTERNAL, OPEN, PII

PEOPLE, TALL = TableName("main", "people"), TableName("main", "tall")
POLICY = """
version: 1
tags:
  public: ["wh.main.people.id"]
  internal: ["wh.main.people.team"]
  pii.email: ["wh.main.people.email"]
rules: []
"""


def catalog() -> Catalog:
    """A table, a view over it, and a view that nobody can trace."""
    columns = [Column(name, "VARCHAR") for name in ("id", "team", "email", "note")]
    view = "SELECT id, upper(team) AS band, email FROM main.people WHERE note <> ''"
    tables = [
        Table(PEOPLE, tuple(columns)),
        Table(TALL, tuple(Column(n, "VARCHAR") for n in ("id", "band", "email")), "view", view),
        Table(TableName("main", "odd"), (Column("x", "VARCHAR"),), "view", ""),
    ]
    return compose(Catalog("duckdb", "main", {table.name: table for table in tables}))


def columns_of(sql: str, names: list[str] | None = None):
    statement, found = parse(sql, catalog()), Classification(parse_policy(POLICY), "wh", catalog())
    return result_columns(statement, names or [o.name for o in statement.outputs], found)


@pytest.mark.parametrize(
    ("sql", "level"),
    [
        ("SELECT id AS x FROM people", OPEN),
        ("SELECT team AS x FROM people", INTERNAL),
        ("SELECT id || team AS x FROM people", INTERNAL),
        ("SELECT email AS x FROM people", PII),
        ("SELECT note AS x FROM people", PII),
        ("SELECT id || note AS x FROM people", PII),
        ("SELECT CASE WHEN email = '' THEN id END AS x FROM people", PII),
        ("SELECT count(*) AS x FROM people", OPEN),
        ("SELECT count(1) AS x FROM people", OPEN),
        ("SELECT :mail AS x FROM people", PII),
        ("SELECT coalesce(id, :mail) AS x FROM people", PII),
        ("SELECT x FROM (SELECT id || :mail AS x FROM people) AS p", PII),
        ("SELECT count(DISTINCT :mail) AS x FROM people", OPEN),
        ("SELECT 'ada@acme.test' AS x", PII),
        ("SELECT upper('ada') AS x FROM people", PII),
        ("SELECT CASE WHEN id = :mail THEN 'late' ELSE 'in time' END AS x FROM people", OPEN),
        ("SELECT id || '!' AS x FROM people WHERE id <> :mail", OPEN),
        ("SELECT id AS x FROM tall", OPEN),
        ("SELECT band AS x FROM tall", INTERNAL),
        ("SELECT email AS x FROM tall", PII),
        ("SELECT x FROM odd", PII),
    ],
)
def test_a_column_is_as_open_as_the_most_closed_that_it_is_made_of(sql: str, level: str) -> None:
    """Only what is all public is open, and what nobody classified is as closed as can be."""
    found = columns_of(sql)
    assert found.levels == {"x": level}
    assert found.is_open("x") == (level == OPEN)
    assert not found.is_open("nowhere")


def test_columns_of_one_name_count_as_one() -> None:
    """A public column does not open another one that has its name."""
    found = columns_of("SELECT id AS x, email AS x, id FROM people")
    assert found.levels == {"x": PII, "id": OPEN}
    assert found.tags["x"] == ("pii.email", "public")
    assert found.origins["x"] == ("wh.main.people.email", "wh.main.people.id")


def test_tags_and_origins_are_those_of_the_base_columns() -> None:
    """Views are followed down; a column that shows none is known to, and has no tags."""
    found = columns_of("SELECT band, count(*) AS n, max(email) AS m FROM tall GROUP BY band")
    assert found.tags == {"band": ("internal",), "m": ("pii.email",)}
    assert found.origins == {
        "band": ("wh.main.people.team",),
        "n": (),
        "m": ("wh.main.people.email",),
    }


def test_what_is_not_known_is_not_told() -> None:
    """Where outputs and columns do not fit, everything is closed and nothing has an origin."""
    found = columns_of("SELECT id FROM people", ["id", "other"])
    assert found.levels == {"id": PII, "other": PII}
    assert (found.tags, found.origins) == ({}, {})


def test_a_column_of_a_table_that_is_not_known_is_its_own_origin() -> None:
    """An origin is told as it stands where the catalog does not hold the table."""
    statement = parse("SELECT id FROM people", catalog())
    bare = Classification(parse_policy(POLICY), "wh", replace(catalog(), tables={}))
    assert result_columns(statement, ["id"], bare).origins == {"id": ("wh.main.people.id",)}


def test_the_tables_seen_are_those_behind_views_too() -> None:
    """A view shows the rows of its tables; a table that is not known stands for itself."""
    statement = parse("SELECT id FROM tall", catalog())
    assert tables_seen(statement, catalog()) == {TALL, PEOPLE}
    assert tables_seen(statement, replace(catalog(), tables={})) == {TALL}


@pytest.mark.parametrize(
    ("sql", "is_untraced"),
    [
        ("SELECT x FROM odd", True),
        ("SELECT id FROM tall", False),
        ("SELECT people.id FROM people, odd", True),
        ("SELECT 1 AS x", False),
    ],
)
def test_a_view_that_nobody_can_trace_is_known_as_such(sql: str, *, is_untraced: bool) -> None:
    """A table, a view that was followed, and a table that is not known are no such view."""
    statement = parse(sql, catalog())
    assert names_untraced(statement, catalog()) is is_untraced
    assert not names_untraced(statement, replace(catalog(), tables={}))

"""A catalog without its database: what a view asks, what can be made of it, and what never runs."""

from __future__ import annotations

import sqlite3

import duckdb
import pytest

from nbgov.core.offline import OfflineEngine, make_empty, schemas, view_query
from nbgov.errors import BackendFailed
from nbgov.model import Catalog, Clearance, Column, EngineOpinion, Table, TableName


@pytest.mark.parametrize(
    ("sql", "dialect", "query"),
    [
        ("CREATE VIEW v AS SELECT 1 AS a", "sqlite", "SELECT 1 AS a"),
        ("create temp view if not exists [as] (a) /* as */ as\n select 1 -- c", "sqlite", "select 1 -- c"),
        ("CREATE VIEW s.\"as\" (x, \"AS\") AS (SELECT 1, 2);", "duckdb", "(SELECT 1, 2)"),
        ("CREATE VIEW v AS WITH c AS (SELECT 1) FROM c ; ", "duckdb", "WITH c AS (SELECT 1) FROM c"),
        ("CREATE TABLE t (a INTEGER)", "duckdb", ""),
        ("CREATE VIEW v AS SELECT 'open", "sqlite", ""),
        ("", "sqlite", ""),
    ],
)  # fmt: skip
def test_the_query_of_a_view_is_what_its_head_leaves(sql, dialect, query):
    """A definition is cut after the AS of its head, wherever else the word stands."""
    assert view_query(sql, dialect) == query


def test_an_engine_without_a_database_inspects_and_runs_nothing():
    """The catalog is the same object every time, the opinion is the product's, nothing runs."""
    closed = []
    catalog = Catalog("duckdb", "main", {})
    engine = OfflineEngine(catalog, lambda sql: EngineOpinion(len(sql)), lambda: closed.append(1))
    assert engine.dialect == "duckdb"
    assert engine.catalog() is engine.catalog() is catalog
    assert engine.inspect("abc").statements == 3
    with pytest.raises(BackendFailed) as caught:
        engine.execute(Clearance("SELECT 1", {}, (), is_read=True))
    assert caught.value.code == "database-unavailable"
    engine.cancel()
    engine.close()
    assert closed == [1]
    OfflineEngine(catalog, lambda _: EngineOpinion(1)).close()


def relation(name, columns, definition="", schema="main"):
    kinds = tuple(Column(*column) for column in columns.items())
    kind = "view" if definition else "table"
    return Table(TableName(schema, name), kinds, kind=kind, definition=definition)


def make(*tables):
    """A catalog made in DuckDB, and what DuckDB then says that it holds."""
    link = duckdb.connect(":memory:")
    make_empty(
        Catalog("duckdb", "main", {t.name: t for t in tables}), link.execute, (duckdb.Error,)
    )
    rows = link.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal "
        "ORDER BY table_name, column_index"
    ).fetchall()
    views = {
        name
        for (name,) in link.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
    }
    link.close()
    return rows, views


def test_tables_keep_their_types_and_unknown_types_become_text():
    """Every column is made; only one of a type that the product does not know is text."""
    rows, _ = make(
        relation("plain", {"a": "INTEGER", "b": "DECIMAL(9,2)"}),
        relation("odd one", {"a": "INTEGER", 'b"': "mood", "c": "DATE"}),
        relation("odd first", {"a": "mood", "b": "DATE"}),
    )
    assert rows == [
        ("odd first", "a", "VARCHAR"),
        ("odd first", "b", "DATE"),
        ("odd one", "a", "INTEGER"),
        ("odd one", 'b"', "VARCHAR"),
        ("odd one", "c", "DATE"),
        ("plain", "a", "INTEGER"),
        ("plain", "b", "DECIMAL(9,2)"),
    ]


def test_views_are_made_in_the_order_that_they_need():
    """A view onto a later view is made; one that the product does not take is a table."""
    rows, views = make(
        relation("broken", {"x": "DATE"}, "SELECT x FROM nowhere"),
        relation("first", {"renamed": "INTEGER"}, "SELECT a FROM second"),
        relation("second", {"a": "INTEGER"}, "SELECT a FROM t"),
        relation("t", {"a": "INTEGER"}),
    )
    assert views == {"first", "second"}
    assert rows == [
        ("broken", "x", "DATE"),
        ("first", "renamed", "INTEGER"),
        ("second", "a", "INTEGER"),
        ("t", "a", "INTEGER"),
    ]


def test_other_errors_are_not_taken_for_an_answer():
    """An error that is no refusal of the product goes through."""
    link = duckdb.connect(":memory:")
    catalog = Catalog("duckdb", "main", {TableName("main", "t"): relation("t", {"a": "mood"})})
    with pytest.raises(duckdb.Error):
        make_empty(catalog, link.execute, (sqlite3.Error,))
    link.close()


def test_schemas_are_listed_once():
    """The schemas of a catalog come once each, in order, without the one that is there."""
    names = [TableName(schema, "t") for schema in ("b", "main", "a", "b", "")]
    assert schemas(names, without="main") == ["a", "b"]

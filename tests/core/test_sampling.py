"""Cases of :mod:`nbgov.core.sampling`: what a sample shows is what the statement then does."""

from __future__ import annotations

import sqlite3

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.sampling import SAMPLE_ROWS_MAX, Unfit, samplings
from nbgov.core.statement import parse
from nbgov.model import Catalog, Column, Effect, Table, TableName

COLUMNS = ("id", "name", "pay", "note", "grade")
PEOPLE = Table(TableName("main", "people"), tuple(Column(name, "INTEGER") for name in COLUMNS))
OLD = Table(TableName("main", "old"), (Column("id", "INTEGER"), Column("pay", "INTEGER")))
ROWS = [(1, 10, 100, 5, 1), (2, 20, 200, None, 1), (3, 30, None, 7, 2), (4, 40, 400, 8, 2)]


def catalog(dialect: str = "sqlite") -> Catalog:
    """Two tables."""
    return Catalog(dialect, "main", {PEOPLE.name: PEOPLE, OLD.name: OLD})


def database(dialect: str = "sqlite") -> sqlite3.Connection | duckdb.DuckDBPyConnection:
    """The same two tables in a real database."""
    opened = sqlite3.connect(":memory:") if dialect == "sqlite" else duckdb.connect()
    for table in (PEOPLE, OLD):
        columns = ", ".join(f"{c.name} INTEGER" for c in table.columns)
        opened.execute(f"CREATE TABLE {table.name.name} ({columns})")
    opened.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", ROWS)
    opened.executemany("INSERT INTO old VALUES (?, ?)", [(1, 7), (3, 9)])
    return opened


def best(sql: str, dialect: str = "sqlite"):
    """The query that tells most of a statement."""
    return samplings(parse(sql, catalog(dialect)), catalog(dialect))[0]


def rows(opened, sql: str) -> list[tuple]:
    """The rows of a query."""
    return opened.execute(sql).fetchall()


EXPRESSIONS = st.sampled_from(
    ["1", "pay + 1", "people.pay * 2", "(pay)", "coalesce(pay, 0)", "NULL", "name -- old\n + 1",
     "CASE WHEN pay > 150 THEN 1 ELSE 2 END", "(SELECT max(pay) FROM old WHERE old.id = people.id)",
     "/* was: SET pay = 9, note = 8 */ 3", "pay = 100", "max(pay, note)"]
)  # fmt: skip
CONDITIONS = st.sampled_from(
    ["", "WHERE id > 1", "WHERE pay IS NULL", "where people.name = 20 -- who\n OR id = 1",
     "WHERE id IN (SELECT id FROM old)", "WHERE id < 0", "WHERE (id = 1) RETURNING id"]
)  # fmt: skip
HEADS = st.sampled_from(["", "WITH x AS (SELECT id FROM old WHERE pay > 8) ", "-- set it\n"])
ENDS = st.sampled_from(["", ";", " -- done", "\n;"])


@given(
    st.dictionaries(st.sampled_from(["pay", '"note"', "grade"]), EXPRESSIONS, min_size=1),
    CONDITIONS, HEADS, ENDS,
)  # fmt: skip
def test_an_update_does_what_its_sample_says(pairs, condition, head, end):
    """The old values are those before it ran, the new ones those that it then leaves."""
    setting = ", ".join(f"{name} = {value}" for name, value in pairs.items())
    sql = f"{head}UPDATE people\n -- all\n SET {setting} {condition}{end}"
    opened, sample = database(), best(sql)
    before = {row[0]: row for row in rows(opened, "SELECT * FROM people")}
    found = rows(opened, sample.sql)
    opened.execute(sql).fetchall()
    after = {row[0]: row for row in rows(opened, "SELECT * FROM people")}
    width = len(sample.before)
    assert sample.before[:3] == ("id", "name", "pay")
    for row in found:
        known = {name: row[i] for i, name in enumerate(sample.before)}
        news = dict(zip(sample.after, row[width:], strict=True))
        old, new = (dict(zip(COLUMNS, one[known["id"]], strict=True)) for one in (before, after))
        assert known == {name: old[name] for name in known}
        assert news == {name: new[name] for name in news}
    changed = {key for key in before if before[key] != after[key]}
    assert changed <= {row[0] for row in found}


@pytest.mark.parametrize("dialect", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM people WHERE pay > 150", "DELETE FROM people AS p WHERE p.id IN (SELECT id FROM old)",
     "WITH x AS (SELECT id FROM old) DELETE FROM people WHERE id IN (SELECT id FROM x)",
     "DELETE FROM main.people WHERE note IS NULL RETURNING *;"],
)  # fmt: skip
def test_a_delete_takes_the_rows_of_its_sample(sql, dialect):
    """The rows that are shown are the rows that are gone."""
    opened, sample = database(dialect), best(sql, dialect)
    assert sample.before == COLUMNS
    shown = rows(opened, sample.sql)
    opened.execute(sql).fetchall()
    left = rows(opened, "SELECT * FROM people")
    assert sorted(map(str, shown + left)) == sorted(map(str, ROWS))
    assert shown


@pytest.mark.parametrize(
    "sql",
    ["INSERT INTO old (pay, id) SELECT pay, id FROM people WHERE id = 2",
     "INSERT INTO old (pay, id) WITH x AS (SELECT * FROM people) SELECT pay, id FROM x WHERE id = 2",
     "INSERT INTO old (pay, id) SELECT pay, id FROM people WHERE id = 2 RETURNING *"],
)  # fmt: skip
def test_an_insert_adds_the_rows_of_its_sample(sql):
    """The rows of its query, under the names of the columns that they go to."""
    opened, sample = database(), best(sql)
    assert (sample.before, sample.after) == ((), ("pay", "id"))
    shown = rows(opened, sample.sql)
    opened.execute(sql).fetchall()
    assert rows(opened, "SELECT pay, id FROM old WHERE id = 2") == shown == [(200, 2)]


@pytest.mark.parametrize(
    ("sql", "why"),
    [("UPDATE people SET pay = old.pay FROM old WHERE old.id = people.id", "other tables"),
     ("INSERT INTO old VALUES (1, 2)", "own text"),
     ("INSERT INTO old SELECT id, pay FROM people ON CONFLICT (id) DO UPDATE SET pay = 1", "in its way"),
     ("CREATE TABLE x (id INTEGER)", "CREATE is about no rows"),
     ("EXPLAIN QUERY PLAN SELECT id FROM people", "EXPLAIN is about no rows")],
)  # fmt: skip
def test_a_statement_that_cannot_be_shown_says_why(sql, why):
    """Nothing is guessed."""
    with pytest.raises(Unfit, match=why):
        best(sql)


def test_assignments_that_see_one_another_are_not_foretold():
    """MySQL lets a later assignment see an earlier one; several at once are no columns."""
    mysql = best("UPDATE people SET pay = pay + 1, note = pay", "mysql")
    assert (mysql.after, "one column after the other" in mysql.lacks) == ((), True)
    assert best("UPDATE people SET pay = 1, note = grade", "mysql").after == ("pay", "note")
    both = best("UPDATE people SET (pay, note) = (1, 2)", "postgres")
    assert (both.after, both.lacks) == ((), "it assigns several columns at once")


def test_a_sample_is_a_read_of_few_rows():
    """The query is a read for the parser too, and it asks for one row more than is shown."""
    for sql in ("UPDATE people SET pay = 1", "DELETE FROM people"):
        sample = best(sql)
        assert parse(sample.sql, catalog()).effects == {Effect.READ}
        assert sample.sql.endswith(f"LIMIT {SAMPLE_ROWS_MAX + 1}")
    assert best("SELECT pay FROM people").sql == "SELECT pay FROM people"

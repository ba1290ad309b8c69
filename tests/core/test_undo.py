"""Which writes can be undone, why others cannot, and the query that keeps their rows."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.statement import parse
from nbgov.core.undo import plan
from nbgov.core.undo_images import texts
from nbgov.model import BeforeImage, Catalog, Column, Effect, Table, TableName

PEOPLE = TableName("public", "people")
LOGS = TableName("public", "logs")
PARTS = TableName("public", "parts")
JUNE = TableName("public", "june")
MADE = TableName("public", "made")
ODD = TableName("public", "odd")
SEEN = TableName("public", "seen")
ID = Column("id", "integer", True)
TABLES = [
    Table(PEOPLE, (ID, Column("name", "text"), Column("pay", "numeric(12,2)")), key=("id",)),
    Table(LOGS, (Column("line", "text"),)),
    Table(PARTS, (ID,), key=("id",)),
    Table(JUNE, (ID,), parents=(PARTS,), key=("id",)),
    Table(MADE, (ID, Column("twice", "integer", is_generated=True)), key=("id",)),
    Table(ODD, (ID, Column("tags", "text[]")), key=("id",)),
    Table(SEEN, (ID,), kind="view", definition="SELECT id FROM people"),
]


def planned(sql, dialect="postgres", rows_max=1000):
    """What is read before a write, or why nothing is."""
    known = {"public.own": Effect.READ}
    catalog = Catalog(dialect, "public", {table.name: table for table in TABLES}, known)
    statement = parse(sql, catalog)
    return plan(statement, statement.sql, statement.binds, catalog=catalog, rows_max=rows_max)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("INSERT INTO people VALUES (1, 'a', 2)", "only UPDATE and DELETE"),
        ("UPDATE logs SET line = 'x'", "no primary key"),
        ("UPDATE people SET id = 9 WHERE id = 1", "assigns id"),
        ("UPDATE people SET name = l.line FROM logs l WHERE id = 1", "with FROM"),
        ("DELETE FROM people USING logs WHERE name = line", "with USING"),
        ("WITH x AS (SELECT 1 AS a) DELETE FROM people WHERE id IN (SELECT a FROM x)", "with WITH"),
        ("DELETE FROM people WHERE random() < 0.5", "random"),
        ("DELETE FROM people WHERE id IN (SELECT id FROM people LIMIT 1)", "may differ"),
        ("DELETE FROM people WHERE own(id) > 1", "may answer anew"),
        ("DELETE FROM parts WHERE id = 1", "parts or heirs"),
        ("DELETE FROM made WHERE id = 1", "makes the values"),
        ("DELETE FROM odd WHERE id = 1", "tags is of a type"),
        ("DELETE FROM seen WHERE id = 1", "no plain table"),
    ],
)
def test_a_write_that_cannot_be_undone_says_why(sql, reason):
    """Each kind of write that would not come back exactly is named, in plain words."""
    found = planned(sql)
    assert isinstance(found, str), found
    assert reason in found


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        (
            "UPDATE people SET name = :n WHERE id = :i",
            " people \nWHERE id = :i\nLIMIT 8 FOR UPDATE",
        ),
        ("UPDATE people AS p SET name = 'WHERE' WHERE p.id = 1", " people AS p \nWHERE p.id = 1\n"),
        ("UPDATE people SET pay = 1", " people \n\nLIMIT 8"),
        (
            "DELETE FROM people WHERE name IS DISTINCT FROM 'x' -- c",
            "\nWHERE name IS DISTINCT FROM",
        ),
        ("DELETE FROM june WHERE (id = 2) RETURNING id", "june \nWHERE (id = 2) \nLIMIT 8"),
    ],
)
def test_the_query_is_made_of_the_users_own_text(sql, kept):
    """Table, alias and WHERE are taken over as they stand, with their markers where they stand."""
    found = planned(sql, rows_max=7)
    assert isinstance(found, BeforeImage), found
    assert kept in found.sql
    for marker in found.marker_spans:
        assert found.sql[marker.span.start : marker.span.end] == f":{marker.name}"


def test_only_the_key_and_what_is_assigned_are_read():
    """An UPDATE keeps no column that it leaves alone; a DELETE keeps them all."""
    changed = planned("UPDATE people SET pay = 2 WHERE name = 'x'")
    assert [column.name for column in changed.columns] == ["id", "pay"]
    gone = planned("DELETE FROM people WHERE name = 'x'")
    assert [column.name for column in gone.columns] == ["id", "name", "pay"]


def test_wide_tables_keep_fewer_rows():
    """The statement that undoes a write is one that nbgov reads, however many rows are allowed."""
    found = planned("DELETE FROM people WHERE name = 'x'", rows_max=10_000)
    assert 100 < found.rows_max < 1000


@given(st.lists(st.none() | st.text()))
def test_texts_become_the_array_that_arrow_makes(values):
    """Any texts, NULL among them, become the array that Arrow itself would make of them."""
    assert texts(values) == pa.array(values, pa.large_string())


def test_keeping_rows_does_not_import_pandas():
    """A write that keeps its rows holds its locks for no import of pandas."""
    code = "import sys; from nbgov.core.undo_images import texts; texts(['a', None]); "
    check = "sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code + check], check=False).returncode == 0

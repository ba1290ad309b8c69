"""What an engine says before a write, tries without keeping it, and stops by name; on every product."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from nbgov.core.estimate import mysql_rows
from nbgov.errors import BackendFailed
from nbgov.model import TableName
from tests.backends.test_engine import (  # noqa: F401  # fixtures
    LONG_SQL,
    PEOPLE,
    ROWS_SQL,
    change,
    clear,
    duckdb_file,
    engine,
    lab,
    only,
    postgres_template,
    reader,
    still,
    table,
)

NAMES = [row[1] for row in PEOPLE]
KILLED = """
import os, sys
from nbgov.backends.{module} import open_engine
from nbgov.model import Clearance
engine = open_engine("wh", {{"path": sys.argv[1]}})
stream = engine.execute(Clearance("DELETE FROM people", {{}}, (), is_read=False, is_dry_run=True))
print(stream.rows_affected, flush=True)
sys.stdin.read()
"""


# ---------------------------------------------------------------- what a product expects


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM people",
        "SELECT id FROM people WHERE id > :least",
        "UPDATE people SET name = 'x' WHERE id > :least",
        "DELETE FROM people",
        "INSERT INTO digits SELECT id FROM people",
    ],
)
def test_an_estimate_runs_nothing(lab, engine, sql):  # noqa: F811
    """A product that plans has a number for every statement of this kind; nothing was done."""
    found = engine.estimate(clear(sql, {"least": 0}, is_read=sql.startswith("SELECT")))
    if lab.product == "sqlite" or lab.kind == "sqlalchemy+postgresql":
        assert found is None
    else:
        assert found is not None
        assert found >= 0
    assert lab.names() == NAMES
    assert lab.look("SELECT count(*) FROM digits") == [(10,)]


def test_an_estimate_grows_with_the_table(still, reader):  # noqa: F811
    """Far more rows are expected of a join of five tables than of one."""
    few, many = (reader.estimate(clear(sql)) for sql in ("SELECT d FROM digits", ROWS_SQL))
    assert (few is None and many is None) or few < many


@pytest.mark.parametrize(
    "sql", ["SELECT nothing FROM nowhere", "CREATE TABLE made (a INTEGER)", "("]
)
def test_no_estimate_is_no_error(lab, engine, sql):  # noqa: F811
    """What has no plan has no estimate, or none of any rows, and nothing is raised for it."""
    assert engine.estimate(clear(sql, is_read=False)) in {None, 0, 1}
    assert lab.names() == NAMES


def test_the_rows_of_a_join_multiply():
    """MySQL and MariaDB tell the rows of each table; those of inner queries are left out."""
    import pyarrow as pa

    plan = pa.table({"id": [1, 1, 2], "rows": ["10", "5", "7"], "filtered": [50.0, 100.0, 1.0]})
    assert mysql_rows(plan) == 25
    assert mysql_rows(pa.table({"id": [1], "rows": pa.array([None], pa.string())})) is None


# ---------------------------------------------------------------- what is tried and rolled back


@pytest.mark.parametrize("end", ["close", "read to the end", "drop", "cancel"])
@pytest.mark.parametrize(
    "sql", ["DELETE FROM people WHERE id > 1", "UPDATE people SET score = 9 WHERE id > 1"]
)
def test_a_dry_run_keeps_nothing(lab, engine, end, sql):  # noqa: F811
    """It counts the rows that it changes, and however it ends, not one of them is changed."""
    before = lab.look("SELECT id, name, score FROM people ORDER BY id")
    stream = engine.execute(try_out(engine, sql))
    assert stream.rows_affected == 2
    if end == "read to the end":
        assert list(stream) == []
    elif end == "cancel":
        stream.cancel()
        with pytest.raises(BackendFailed):
            next(stream)
    elif end == "close":
        stream.close()
    del stream
    assert lab.look("SELECT id, name, score FROM people ORDER BY id") == before
    assert change(engine, sql) == 2


@only("duckdb", "sqlite", "postgresql")
def test_a_dry_run_of_ddl_keeps_nothing(lab, engine):  # noqa: F811
    """Where transactions hold changes of tables as well, these are rolled back too."""
    for sql in ("CREATE TABLE made (a INTEGER)", "DROP TABLE digits"):
        list(engine.execute(try_out(engine, sql)))
    assert lab.look("SELECT count(*) FROM digits") == [(10,)]
    with pytest.raises(Exception, match="made"):
        lab.look("SELECT * FROM made")


@pytest.mark.parametrize("module", ["duckdb", "sqlite.engine"])
def test_a_dry_run_whose_process_is_killed_keeps_nothing(tmp_path, module):
    """A process that dies in the middle of a dry run leaves a file that is as it was."""
    import duckdb

    from nbgov.backends.duckdb import open_engine as open_duckdb
    from nbgov.backends.sqlite.engine import open_engine as open_sqlite

    path = tmp_path / "wh.db"
    if module == "duckdb":
        duckdb.connect(path).close()
    else:
        path.touch()
    opened = (open_duckdb if module == "duckdb" else open_sqlite)("wh", {"path": path})
    with closing(opened):
        change(opened, "CREATE TABLE people (id INTEGER)")
        change(opened, "INSERT INTO people VALUES (1), (2)")
    with subprocess.Popen(  # our own interpreter
        [sys.executable, "-c", KILLED.format(module=module), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"2\n"
        child.kill()
    with closing(opened):
        assert table(opened, "SELECT id FROM people ORDER BY id").column(0).to_pylist() == [1, 2]


@only("sqlalchemy+mariadb")
@pytest.mark.parametrize("what", ["engine", "trigger"])
def test_what_mysql_would_keep_is_not_tried(lab, engine, what):  # noqa: F811
    """A table without transactions, or with a trigger, is not written to in a dry run at all."""
    if what == "engine":
        change(engine, "ALTER TABLE people ENGINE = MyISAM")
    else:
        change(
            engine,
            "CREATE TRIGGER t AFTER DELETE ON people FOR EACH ROW INSERT INTO digits VALUES (11)",
        )
    with pytest.raises(BackendFailed) as caught:
        engine.execute(try_out(engine, "DELETE FROM people"))
    assert caught.value.code == "dry-run-unavailable"
    assert lab.names() == NAMES


def try_out(engine, sql):  # noqa: F811
    """The clearance of a dry run."""
    names = frozenset({TableName(engine.catalog().default_schema, "people")})
    return clear(sql, is_read=False, is_dry_run=True, tables=names)


# ---------------------------------------------------------------- what is stopped by its name


def test_a_cancel_stops_only_the_request_that_it_names(still, reader):  # noqa: F811
    """Of two statements that run at once, the one that is named ends, and the other goes on."""
    other = reader.execute(clear(ROWS_SQL, request="other"))
    assert stopped(reader, clear(LONG_SQL, request="long")) == "cancelled"
    assert sum(batch.num_rows for batch in other) == 100_000


def test_a_cancel_of_another_request_stops_nothing(reader):  # noqa: F811
    """A name that nothing runs under stops nothing."""
    stream = reader.execute(clear(ROWS_SQL, request="mine"))
    reader.cancel("not mine")
    assert sum(batch.num_rows for batch in stream) == 100_000


def test_a_write_that_runs_can_be_cancelled(lab, engine):  # noqa: F811
    """A write is stopped while it still works, and nothing of it is kept."""
    sql = f"INSERT INTO digits {LONG_SQL}"
    assert stopped(engine, clear(sql, is_read=False, request="long")) == "cancelled"
    assert lab.look("SELECT count(*) FROM digits") == [(10,)]


@only("postgresql", "sqlalchemy+mariadb")
def test_a_write_that_waits_for_a_lock_can_be_cancelled(lab, engine):  # noqa: F811
    """A write that another one holds up is stopped where it waits; the other one goes on."""
    holder = lab.open()
    held = holder.execute(clear("UPDATE people SET score = 1", is_read=False, request="holder"))
    wanted = clear("UPDATE people SET score = 2", is_read=False, request="waiting")
    assert stopped(engine, wanted) == "cancelled"
    assert list(held) == []
    assert lab.look("SELECT DISTINCT score FROM people") == [(1.0,)]


def stopped(engine, clearance):  # noqa: F811
    """The error code of a statement that is cancelled by its name, from another thread."""
    codes, is_done = [], threading.Event()

    def run():
        try:
            list(engine.execute(clearance))
            codes.append("ok")
        except BackendFailed as error:
            codes.append(error.code)
        finally:
            is_done.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not is_done.wait(0.05):
        engine.cancel(clearance.request)
    thread.join()
    return codes[0]

"""In which state an engine says that its tables were: equal marks mean equal rows, on real products."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from nbgov.backends.duckdb import open_engine as open_duckdb
from nbgov.backends.postgresql import open_engine as open_postgresql
from nbgov.backends.postgresql.engine import conninfo
from nbgov.backends.sqlalchemy import mysql
from nbgov.backends.sqlalchemy import open_engine as open_sqlalchemy
from nbgov.backends.sqlite import transaction as sqlite_transaction
from nbgov.backends.sqlite.engine import open_engine as open_sqlite
from nbgov.core.file_versions import SECOND_NS
from nbgov.model import Clearance, TableName

START_NS = 1_700_000_000 * SECOND_NS + 7
WRITES = {
    "add": "INSERT INTO t SELECT coalesce(max(a), 0) + 1 FROM t",
    "raise": "UPDATE t SET a = a + 1",
    "drop": "DELETE FROM t WHERE a % 2 = 0",
    "empty": "DELETE FROM t",
    "elsewhere": "INSERT INTO other VALUES (1)",
    "nothing": "SELECT 1",
}
WAYS = st.lists(st.sampled_from([*WRITES]), min_size=1, max_size=6)


class Stand:
    """A table ``t`` that other people write to, and the engine that reads it."""

    schema = "main"

    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / f"t.{kind}"
        self.kind = kind
        self.ticks = itertools.count()
        self.others("CREATE TABLE t (a INTEGER)", "CREATE TABLE other (a INTEGER)")
        opened = {"duckdb": open_duckdb, "sqlite": open_sqlite, "wal": open_sqlite}[kind]
        self.engine = opened("wh", {"path": self.path})

    def others(self, *statements: str) -> None:
        """Somebody else writes, a second later than the last one."""
        if self.kind == "duckdb":
            if hasattr(self, "engine"):
                self.engine.close()
            with duckdb.connect(self.path) as link:
                for sql in statements:
                    link.execute(sql)
        else:
            with closing(sqlite3.connect(self.path)) as link:
                if self.kind == "wal":
                    link.execute("PRAGMA journal_mode = WAL")
                for sql in statements:
                    link.execute(sql)
                link.commit()
        if statements != (WRITES["nothing"],):
            at = START_NS + next(self.ticks) * SECOND_NS
            os.utime(self.path, ns=(at, at))

    def read(self) -> tuple[list[int], str]:
        """The rows, and the mark of the state that they are of."""
        name = TableName(self.schema, "t")
        sql = "SELECT a FROM t ORDER BY a"
        stream = self.engine.execute(Clearance(sql, {}, (), is_read=True, tables=frozenset([name])))
        rows = [row["a"] for batch in stream for row in batch.to_pylist()]
        (source,) = stream.sources
        assert source.table == str(name)
        return rows, source.mark


class ServerStand(Stand):
    """The same on a PostgreSQL server."""

    schema = "public"

    def __init__(self, url: str) -> None:
        self.url = url
        self.others(
            "DROP TABLE IF EXISTS t, other",
            "CREATE TABLE t (a INTEGER)",
            "CREATE TABLE other (a INTEGER)",
        )
        self.engine = open_postgresql("wh", {"url": url})
        self.engine.catalog()

    def others(self, *statements: str) -> None:
        """Somebody else writes, and has told the server's statistics of it."""
        with closing(dbapi.connect(conninfo(make_url(self.url)), autocommit=True)) as link:
            for sql in (*statements, "SELECT pg_stat_force_next_flush()", "SELECT 1"):
                with link.cursor(adbc_stmt_kwargs={"adbc.postgresql.use_copy": "false"}) as cursor:
                    cursor.execute(sql)


def check_marks(stand: Stand, ways: list[str]) -> None:
    """Equal marks mean equal rows, and a mark stays while nobody writes."""
    seen: dict[str, list[int]] = {}
    for way in ways:
        stand.others(WRITES[way])
        rows, mark = stand.read()
        assert seen.setdefault(mark, rows) == rows
        assert stand.read() == (rows, mark)
        stand.others(WRITES["nothing"])
        assert stand.read() == (rows, mark)
    stand.engine.close()


SLOW = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "wal"])
def test_equal_marks_of_a_file_mean_equal_rows(kind, tmp_path):
    """After every kind of write, one mark is one state, and looking changes no mark."""
    check_marks(Stand(tmp_path, kind), [*WRITES])


def test_equal_marks_of_a_relation_mean_equal_rows(postgres_url):
    """The same holds of a table on a server, once its statistics have been told."""
    check_marks(ServerStand(postgres_url), [*WRITES])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "wal"])
@SLOW
@given(ways=WAYS)
def test_equal_marks_of_a_file_mean_equal_rows_in_any_order(kind, ways, tmp_path_factory):
    """Whatever others write in between, one mark is one state."""
    check_marks(Stand(tmp_path_factory.mktemp("sources"), kind), ways)


@pytest.mark.slow
@SLOW
@given(ways=WAYS)
def test_equal_marks_of_a_relation_mean_equal_rows_in_any_order(ways, postgres_url):
    """Whatever others write in between, one mark is one state on a server too."""
    check_marks(ServerStand(postgres_url), ways)


def test_a_relation_has_a_mark_of_its_own(postgres_url):
    """Writes to another table leave a mark as it is; rewriting the table itself does not."""
    stand = ServerStand(postgres_url)
    _, before = stand.read()
    stand.others(WRITES["elsewhere"])
    assert stand.read()[1] == before
    stand.others("TRUNCATE t")
    _, after = stand.read()
    assert after != before
    stand.engine.close()


def test_a_snapshot_is_the_one_that_the_rows_are_read_in(postgres_url):
    """What others commit after the state was told is in none of the rows."""
    stand = ServerStand(postgres_url)
    lease, (source,) = stand.engine.lease(
        Clearance("", {}, (), is_read=True, tables=frozenset([TableName("public", "t")])),
        is_read=True,
        is_keyed=False,
    )
    stand.others("INSERT INTO t VALUES (1)")
    link = lease.driver_connection
    with link.cursor(adbc_stmt_kwargs={"adbc.postgresql.use_copy": "false"}) as cursor:
        cursor.execute("SELECT count(*), pg_current_snapshot()::text FROM t")
        assert cursor.fetchall() == [(0, source.snapshot)]
    lease.invalidate()
    stand.engine.close()


def test_a_view_and_a_stranger_have_no_mark(postgres_url):
    """A relation without a file, and one that is not known, are left out."""
    stand = ServerStand(postgres_url)
    stand.others("DROP VIEW IF EXISTS v", "CREATE VIEW v AS SELECT 1 AS a")
    stand.engine.catalog()
    names = [TableName("public", name) for name in ("t", "v", "nowhere")]
    stream = stand.engine.execute(
        Clearance("SELECT a FROM v", {}, (), is_read=True, tables=frozenset(names))
    )
    assert [source.table for source in stream.sources] == ["public.t"]
    stream.close()
    stand.others("DROP VIEW v")
    stand.engine.close()


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "wal"])
def test_a_file_that_was_just_written_has_no_mark(kind, tmp_path):
    """A second write within one tick of the clock would not show, so the state is not told."""
    stand = Stand(tmp_path, kind)
    ahead = time.time_ns() + 3600 * SECOND_NS
    os.utime(stand.path, ns=(ahead, ahead))
    with pytest.raises(ValueError, match="not enough values"):
        stand.read()
    stand.engine.close()


def test_a_write_while_a_read_begins_leaves_it_without_a_mark(tmp_path, monkeypatch):
    """Nobody knows then whether the read sees it."""
    stand = Stand(tmp_path, "wal")
    plain = sqlite_transaction.read

    def read(*args, **more):
        stand.others(WRITES["add"])
        return plain(*args, **more)

    monkeypatch.setattr(sqlite_transaction, "read", read)
    with pytest.raises(ValueError, match="not enough values"):
        stand.read()
    stand.engine.close()


@pytest.mark.parametrize("open_engine", [open_duckdb, open_sqlite])
def test_nothing_is_told_that_nobody_asked_for(open_engine, tmp_path):
    """A statement without base tables has no sources, and nor has memory."""
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) if open_engine is open_sqlite else duckdb.connect(path):
        pass
    engine = open_engine("wh", {"path": path})
    assert engine.execute(Clearance("SELECT 1 AS a", {}, (), is_read=True)).sources == ()
    engine.close()


def test_memory_has_no_state():
    """A database without a file has nothing to be told by."""
    engine = open_duckdb("wh", {})
    assert engine.sources([TableName("main", "t")]) == ()
    engine.close()


def test_mariadb_tells_when_a_table_changed(mariadb_url, monkeypatch):
    """The time of the last change is a mark, once it lies so far back that a later one would show."""
    source = sa.create_engine(mariadb_url)
    with source.begin() as link:
        for sql in ("DROP TABLE IF EXISTS t", "CREATE TABLE t (a INTEGER)", WRITES["add"]):
            link.exec_driver_sql(sql)
    engine = open_sqlalchemy("wh", {"url": mariadb_url})
    names = frozenset([TableName("test", "t")])
    asked = Clearance("SELECT a FROM t", {}, (), is_read=True, tables=names)
    stream = engine.execute(asked)
    assert stream.sources == ()
    stream.close()
    patient = mysql.VERSIONS_SQL.replace("- INTERVAL", "+ INTERVAL")
    monkeypatch.setattr(mysql, "VERSIONS_SQL", patient)
    stream = engine.execute(asked)
    [found] = stream.sources
    assert (found.table, found.kind) == ("test.t", "mariadb-table")
    assert found.changed_at is not None
    assert found.changed_at.tzinfo is not None
    stream.close()
    engine.close()
    with source.begin() as link:
        # The server is one for all tests, and some of them look at all that it holds.
        link.exec_driver_sql("DROP TABLE t")
    source.dispose()

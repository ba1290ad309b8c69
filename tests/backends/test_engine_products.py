"""What each engine does in its own way: types that one product has, and doors that one product leaves.

The behaviour that all engines share is in ``test_engine.py``.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from nbgov.backends.duckdb import open_engine as open_duckdb
from nbgov.backends.duckdb.scratch import scratch
from nbgov.backends.postgresql import open_engine as open_postgresql
from nbgov.backends.postgresql.engine import conninfo
from nbgov.backends.sqlalchemy import open_engine as open_sqlalchemy
from nbgov.backends.sqlalchemy.columns import array, settled_type
from nbgov.backends.sqlalchemy.transaction import SQLAlchemyTransaction
from nbgov.backends.sqlite.engine import open_engine as open_sqlite
from nbgov.core.transfer import BATCH_ROWS_MAX, Misfit
from nbgov.errors import BackendFailed, Denied, IntegrityFailed, NbgovError, RequestInvalid
from nbgov.model import BindMarker, Clearance, ColumnName, Span, TableName


def clear(sql: str, binds: dict[str, Any] | None = None, **options: Any) -> Clearance:
    marks = [BindMarker(m[1], Span(*m.span())) for m in re.finditer(r"(?<![:\w]):(\w+)", sql)]
    return Clearance(sql, binds or {}, tuple(marks), **{"is_read": True} | options)


def table(engine: Any, sql: str, binds: dict[str, Any] | None = None, **options: Any) -> pa.Table:
    stream = engine.execute(clear(sql, binds, **options))
    return pa.Table.from_batches(list(stream), stream.schema)


def change(engine: Any, sql: str) -> None:
    assert table(engine, sql, is_read=False).num_rows == 0


# ---------------------------------------------------------------- DuckDB


@pytest.fixture
def duck(tmp_path):
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    engine = open_duckdb("warehouse", {"path": path})
    yield engine
    engine.close()


def test_a_file_is_not_read_and_written_at_once(duck):
    """A write is refused, with what to do, while a result of the same file is still open."""
    stream = duck.execute(clear("FROM range(10)"))
    with pytest.raises(BackendFailed, match="did not run") as caught:
        change(duck, "INSERT INTO t VALUES (1)")
    assert caught.value.next_step.startswith("Read that result to its end")
    assert sum(batch.num_rows for batch in stream) == 10
    change(duck, "INSERT INTO t VALUES (1)")
    assert table(duck, "FROM t").num_rows == 1


def test_a_file_that_another_holds_is_unavailable(duck):
    """A file that somebody has open for writing is an error that says so."""
    with duckdb.connect(duck.path), pytest.raises(BackendFailed) as caught:
        table(duck, "FROM t")
    assert caught.value.code == "database-unavailable"
    assert table(duck, "FROM t").num_rows == 0


def test_an_enumeration_arrives_as_text(duck):
    """An enumerated value is the text that it stands for."""
    found = table(duck, "SELECT 'glad'::mood AS m UNION ALL SELECT NULL ORDER BY m NULLS LAST")
    assert found.schema.types == [pa.string()]
    assert found["m"].to_pylist() == ["glad", None]


@pytest.mark.parametrize("sql", ["INSERT INTO t VALUES (1)", "SELECT nextval('s')"])
def test_memory_is_read_in_read_only_transactions(sql):
    """A database in memory has one connection, and a read still cannot write."""
    engine = open_duckdb("scratch", {})
    change(engine, "CREATE TABLE t (a INTEGER)")
    change(engine, "CREATE SEQUENCE s")
    with pytest.raises(BackendFailed):
        table(engine, sql)
    assert table(engine, "FROM t").num_rows == 0
    assert list(engine.catalog().tables) == [TableName("main", "t")]
    engine.close()


@pytest.mark.parametrize(
    ("sql", "is_read"),
    [
        ("WITH d AS (DELETE FROM t RETURNING a) FROM d", False),
        ("EXPLAIN DELETE FROM t", True),
        ("PIVOT t ON a USING sum(a)", False),
        ("SUMMARIZE t", True),
    ],
)
def test_an_opinion_is_read_off_the_tree(duck, sql, is_read):
    """DuckDB's type of statement is not trusted: a writable CTE is no read, whatever it says."""
    assert duck.inspect(sql).is_read is is_read


def test_an_opinion_keeps_qualifiers(duck):
    """A name is reported as far as the text qualifies it."""
    named = duck.inspect('SELECT * FROM t, s.t, c.s."T t"').tables
    assert named == {TableName("", "t"), TableName("s", "t"), TableName("c.s", "T t")}


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("INSERT INTO t VALUES (8), (9)", 2),
        ("INSERT INTO t VALUES (8), (9) RETURNING a", 2),
        ("WITH c AS (SELECT 8 AS a) INSERT INTO t SELECT a FROM c", 1),
        ("WITH c AS (DELETE FROM t RETURNING a) SELECT count(*) AS n FROM c", None),
        ("WITH c AS (DELETE FROM t RETURNING a) INSERT INTO t SELECT 1 FROM c LIMIT 1", None),
    ],
)
def test_only_a_true_count_is_a_count(duck, sql, changed):
    """Rows that a CTE changes are counted by nobody, and a write limit undoes such a write."""
    change(duck, "INSERT INTO t VALUES (1), (2), (3)")
    stream = duck.execute(clear(sql, is_read=False))
    assert stream.rows_affected == changed
    stream.close()
    if changed is None:
        with pytest.raises(Denied):
            duck.execute(clear(sql, is_read=False, written_max=1_000))
    assert table(duck, "FROM t").num_rows == 3


def test_a_late_reader_gets_an_error(tmp_path):
    """Time that passes between two batches counts: what comes after the limit is not delivered."""
    engine = open_duckdb("scratch", {"timeout_s": 0.05})
    stream = engine.execute(clear("FROM range(1000000000)"))
    next(stream)
    while time.monotonic() < stream._transaction._deadline:
        pass
    with pytest.raises(BackendFailed) as caught:
        list(stream)
    assert caught.value.code == "cancelled"
    assert "0.05 s" in caught.value.why
    engine.close()


# ---------------------------------------------------------------- SQLite


@pytest.fixture
def light(tmp_path):
    path = tmp_path / "ops.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE t (whole INTEGER, fraction DECIMAL(9,2), anything);"
            "CREATE VIEW v AS SELECT whole FROM t;"
            "CREATE VIEW gone AS SELECT x FROM missing;"
            "CREATE TABLE log (entry TEXT);"
            "CREATE TRIGGER told AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('t'); END;"
        )
    connection.close()
    engine = open_sqlite("ops", {"path": path})
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("values", "arrow", "delivered"),
    [
        ("(1, 1, 1), (2, 2.5, 2)", [pa.int64(), pa.float64(), pa.int64()], [2, 2.5, 2]),
        ("(1, 1, 1), ('n/a', 'x', NULL)", [pa.int64()] * 0, ["n/a", "x", None]),
        ("(1, 1, 'a'), (2.5, 2, X'00fF')", [], [2.5, 2.0, "X'00FF'"]),
        ("(1, 0.5, 1), (2, 9007199254740993, 0.5)", [], [2, "9007199254740993", 0.5]),
    ],
)
def test_values_decide_the_type_of_a_column(light, values, arrow, delivered):
    """A column has the type that holds all of its values exactly; mixed ones are text."""
    change(light, f"INSERT INTO t VALUES {values}")
    found = table(light, "SELECT * FROM t ORDER BY rowid")
    assert [column[1].as_py() for column in found.columns] == delivered
    assert not arrow or found.schema.types == arrow


def test_a_late_value_that_does_not_fit_ends_the_stream(light):
    """A value that fits neither the schema nor the first batch is an error, never another value."""
    change(
        light,
        "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 70000) "
        "INSERT INTO t (whole) SELECT CASE n WHEN 70000 THEN 'canary' ELSE n END FROM r",
    )
    stream = light.execute(clear("SELECT anything, whole FROM t"))
    assert next(stream).num_rows == BATCH_ROWS_MAX
    with pytest.raises(BackendFailed) as caught:
        next(stream)
    assert "Column 2 of the result is int64" in caught.value.why
    assert "CAST" in caught.value.next_step
    cast = table(light, "SELECT CAST(whole AS TEXT) AS w FROM t WHERE rowid = 70000")
    assert cast["w"].to_pylist() == ["canary"]


def test_a_catalog_leaves_out_what_cannot_be_read(light):
    """A view onto a missing table, and SQLite's own tables, are in no catalog."""
    assert {name.name for name in light.catalog().tables} == {"t", "v", "log"}


def test_a_catalog_notices_another_file(light, tmp_path):
    """A file that takes the place of the one before has a catalog of its own."""
    assert len(light.catalog().tables) == 3
    with sqlite3.connect(tmp_path / "new.db") as connection:
        connection.execute("CREATE TABLE other (a)")
    connection.close()
    (tmp_path / "new.db").replace(light.path)
    assert {name.name for name in light.catalog().tables} == {"other"}
    (tmp_path / "ops.db").unlink()
    with pytest.raises(BackendFailed, match="cannot be reached"):
        light.catalog()


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT * FROM v", {"v"}),
        ("SELECT count(*) FROM t", {"t"}),
        ("WITH c AS (SELECT whole FROM t) SELECT * FROM c JOIN v ON 1", {"t", "v"}),
        ("WITH v AS (SELECT entry FROM log) SELECT * FROM v", {"log"}),
        ("INSERT INTO t (whole) SELECT whole FROM v", {"t", "v"}),
    ],
)
def test_an_opinion_names_what_the_text_names(light, sql, tables):
    """Tables behind a view or a trigger are left out, those in a CTE are not."""
    assert {name.name for name in light.inspect(sql).tables} == tables


@pytest.mark.parametrize("sql", ["ATTACH 'x.db' AS x", "PRAGMA foreign_keys = OFF", "COMMIT"])
def test_a_write_stays_in_its_file_and_its_transaction(light, sql):
    """A write can open no other file, change no setting and end no transaction by itself."""
    with pytest.raises(BackendFailed) as caught:
        change(light, sql)
    assert "may do" in caught.value.why
    assert light.inspect(sql).is_read is False


def test_a_write_that_begins_with_a_cte_is_counted(light):
    """The driver does not count a write that begins with WITH, and nbgov does."""
    change(light, "INSERT INTO log VALUES ('a'), ('b')")
    for sql, changed in [
        ("WITH c AS (SELECT 1) UPDATE log SET entry = 'x'", 2),
        ("WITH c AS (SELECT 1) DELETE FROM log WHERE entry = 'none'", 0),
        ("UPDATE log SET entry = 'y'", 2),
    ]:
        assert light.execute(clear(sql, is_read=False)).rows_affected == changed
    with pytest.raises(Denied) as caught:
        light.execute(clear("WITH c AS (SELECT 1) DELETE FROM log", is_read=False, written_max=1))
    assert "2 rows" in caught.value.why
    assert table(light, "SELECT * FROM log").num_rows == 2


def test_a_schema_is_not_trusted(light):
    """No view of the file can call the function that makes pseudonyms."""
    with sqlite3.connect(light.path) as connection:
        connection.execute("CREATE VIEW sly AS SELECT nbgov_token('guess') AS g")
    connection.close()
    engine = open_sqlite("ops", {"path": light.path, "pseudonym_key": b"k" * 32})
    assert table(engine, "SELECT nbgov_token('a') AS g").num_rows == 1
    with pytest.raises(BackendFailed):
        table(engine, "SELECT g, nbgov_token('a') AS h FROM sly")
    engine.close()


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture
def elephant(postgres_url):
    name = f"own_{os.urandom(6).hex()}"
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}").close()
        engine = open_postgresql("pg", {"url": postgres_url.replace("/postgres?", f"/{name}?")})
        yield engine
        engine.close()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


TYPED = {
    "1::smallint": (pa.int16(), 1),
    "1.5::real": (pa.float32(), 1.5),
    "12.30::numeric(10, 2)": (pa.decimal128(10, 2), Decimal("12.30")),
    "1::numeric(50, 10)": (pa.string(), "1.0000000000"),
    "1.50::numeric": (pa.string(), "1.50"),
    "'{\"a\": [1]}'::jsonb": (pa.string(), '{"a": [1]}'),
    "'00000000-0000-0000-0000-00000000000a'::uuid": (
        pa.string(),
        "00000000-0000-0000-0000-00000000000a",
    ),
    "'10.0.0.1'::inet": (pa.string(), "10.0.0.1/32"),
    "'12.30'::money": (pa.string(), "$12.30"),
    "4000000000::oid": (pa.string(), "4000000000"),
    "'1 month 2 days'::interval": (pa.string(), "1 mon 2 days"),
    "'10:00+02'::timetz": (pa.string(), "10:00:00+02"),
    "ARRAY[[1, 2], [3, 4]]": (pa.string(), "[[1, 2], [3, 4]]"),
    "ROW(1, 'x')": (pa.string(), '{"f1": 1, "f2": "x"}'),
    "'glad'::mood": (pa.string(), "glad"),
    "now()": (pa.timestamp("us", "UTC"), None),
    "'ab'::char(3)": (pa.string(), "ab "),
    "NULL": (pa.string(), None),
}


@pytest.mark.parametrize("binds", [{}, {"one": 1}], ids=["copy", "cursor"])
def test_every_type_of_postgresql_arrives_exactly(elephant, binds):
    """What Arrow has no exact type for is the server's own text, nested values are JSON."""
    change(elephant, "CREATE TYPE mood AS ENUM ('sad', 'glad')")
    columns = ", ".join(f"{text} AS same" for text in TYPED)
    sql = f"SELECT {columns} -- done" + ("\nWHERE 1 = :one;" if binds else ";")
    found = table(elephant, sql, binds)
    assert found.schema.names == ["same"] * len(TYPED)
    for (text, (arrow, value)), column in zip(TYPED.items(), found.columns, strict=True):
        assert column.type == arrow, text
        assert column[0].as_py() == value or value is None, text


def test_returned_rows_have_the_same_types(elephant):
    """Rows of RETURNING arrive as rows of a SELECT would."""
    change(elephant, "CREATE TABLE t (u uuid, n numeric(5, 1))")
    sql = "INSERT INTO t VALUES (gen_random_uuid(), :n) RETURNING u IS NULL AS a, u, n"
    stream = elephant.execute(clear(sql, {"n": Decimal("1.5")}, is_read=False))
    [batch] = stream
    assert batch.schema.types == [pa.bool_(), pa.string(), pa.decimal128(5, 1)]
    assert batch["n"].to_pylist() == [Decimal("1.5")]
    assert stream.rows_affected == 1


@pytest.mark.parametrize(
    "value",
    [
        "'infinity'::timestamp",
        "'-infinity'::timestamptz",
        "'infinity'::date",
        "'NaN'::numeric(5, 1)",
    ],
)
def test_what_arrow_cannot_hold_is_an_error(elephant, value):
    """Infinite moments and NaN decimals end the stream; they do not turn into another value."""
    with pytest.raises(BackendFailed) as caught:
        table(elephant, f"SELECT 1 AS a, {value} AS b")
    assert "Column 2" in caught.value.why
    assert table(elephant, "SELECT DATE '4714-11-24 BC' AS first").num_rows == 1


@pytest.mark.parametrize("rows", [1, 100_000], ids=["at once", "late"])
def test_a_failure_has_its_sqlstate(elephant, rows):
    """The reason for a failure is its SQLSTATE, also when rows have been delivered already."""
    sql = f"SELECT 1 / ({rows} - n) AS x FROM generate_series(1, {rows}) AS n"
    with pytest.raises(BackendFailed) as caught:
        table(elephant, sql)
    assert caught.value.why.startswith("SQLSTATE 22012")


def test_near_protected_data_an_error_is_its_class(elephant):
    """A sensitive statement that fails early or late tells the class of its SQLSTATE, and no more."""
    for rows in (1, 100_000):
        sql = f"SELECT 1 / ({rows} - n) AS x FROM generate_series(1, {rows}) AS n"
        with pytest.raises(BackendFailed) as caught:
            table(elephant, sql, is_sensitive=True)
        assert caught.value.why.startswith("SQLSTATE class 22:")


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("UPDATE t SET a = 0", 3),
        ("UPDATE t SET a = 0 RETURNING a", 3),
        ("WITH c AS (SELECT 1) DELETE FROM t", 3),
        ("WITH c AS (DELETE FROM t RETURNING a) SELECT count(*) FROM c", None),
        ("WITH c AS (DELETE FROM t RETURNING a) INSERT INTO t SELECT max(a) FROM c", None),
        ("CREATE TABLE made (a integer)", None),
    ],
)
def test_postgresql_counts_what_it_counts(elephant, sql, changed):
    """Rows that a CTE changes are counted by nobody, and a write limit undoes such a write."""
    change(elephant, "CREATE TABLE t (a integer)")
    list(elephant.execute(clear("INSERT INTO t VALUES (1), (2), (3)", is_read=False)))
    stream = elephant.execute(clear(sql, is_read=False))
    assert stream.rows_affected == changed
    stream.close()
    with pytest.raises(Denied):
        elephant.execute(clear(sql, is_read=False, written_max=2))
    assert table(elephant, "SELECT a FROM t WHERE a > 0").num_rows == 3


def end_session(url, number):
    """End a session from outside, and wait until it is gone."""
    with dbapi.connect(url, autocommit=True) as server, server.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend({number}, 5000)")
        assert cursor.fetchone() == (True,)


def test_a_connection_that_is_lost_in_use_is_an_error(elephant, postgres_url):
    """A session that ends under a statement is an error; the next statement gets another one."""
    stream = elephant.execute(
        clear("SELECT pg_backend_pid() AS p, n FROM generate_series(1, 1e7) n")
    )
    number = next(stream).column(0)[0].as_py()
    end_session(postgres_url, number)
    with pytest.raises(BackendFailed) as caught:
        list(stream)
    assert caught.value.code == "database-unavailable"
    assert table(elephant, "SELECT 1 AS one").num_rows == 1


def test_a_connection_that_is_lost_while_idle_is_replaced(elephant, postgres_url):
    """A pooled connection that died since its last use does not fail the next statement."""
    (number,) = table(elephant, "SELECT pg_backend_pid() AS p")["p"].to_pylist()
    end_session(postgres_url, number)
    assert table(elephant, "SELECT 1 AS one").num_rows == 1
    assert len(elephant.catalog().tables) == 0


def test_a_session_keeps_nothing(elephant):
    """Settings and temporary tables of one statement are gone before the next one."""
    change(elephant, "CREATE TABLE t (a integer)")
    change(elephant, "CREATE TEMP TABLE t AS SELECT 1 AS a, 'fake' AS b")
    assert table(elephant, "SELECT * FROM t").schema.names == ["a"]
    table(elephant, "SELECT set_config('application_name', 'other', false)")
    found = table(elephant, "SELECT current_setting('application_name') AS n, current_schema AS s")
    assert found.to_pylist() == [{"n": "nbgov", "s": "public"}]


@pytest.mark.parametrize("sql", ["SHOW search_path", "EXPLAIN SELECT 1", "VALUES (1), (2)"])
def test_reads_that_are_no_select_run(elephant, sql):
    """SHOW, EXPLAIN and VALUES give rows too."""
    assert table(elephant, sql).num_rows > 0


@pytest.mark.parametrize(
    ("sql", "is_read"),
    [
        ("SELECT a FROM t FOR SHARE", False),
        ("SELECT a INTO b FROM t", False),
        ("WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d", False),
        ("COPY t TO PROGRAM 'id'", False),
        ("TABLE t", True),
    ],
)
def test_the_grammar_tells_reads(elephant, sql, is_read):
    """PostgreSQL's grammar calls nothing a read that locks, makes or changes anything."""
    assert elephant.inspect(sql).is_read is is_read


def test_the_target_of_a_write_is_no_cte(elephant):
    """A write goes to the table, even under a CTE of that name."""
    found = elephant.inspect("WITH t AS (SELECT 1 AS a) INSERT INTO t SELECT a FROM other.t, t")
    assert found.tables == {TableName("", "t"), TableName("other", "t")}


@pytest.mark.parametrize(
    "sql", ["SELECT 1 \0 DROP TABLE t", "SELECT * FROM " + "(SELECT * FROM " * 200]
)
def test_what_the_parser_would_not_see_is_refused(elephant, sql):
    """A NUL, or nesting beyond what the parser reads, is an invalid request."""
    with pytest.raises(RequestInvalid):
        elephant.inspect(sql)


def test_an_account_is_spelled_for_libpq():
    """Quotes, backslashes and spaces in an account or a path cannot leave their place."""
    url = make_url("postgresql:///db?host=/a b").set(username="o'h", password="\\' host=evil")
    assert conninfo(url) == (
        "host='/a b' user='o\\'h' password='\\\\\\' host=evil' dbname='db' connect_timeout='10' "
        "application_name='nbgov'"
    )


def test_a_missing_driver_names_its_package(monkeypatch):
    """Without the driver, the error says what to install."""
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    engine = open_postgresql("pg", {"url": "postgresql://host/db"})
    with pytest.raises(BackendFailed) as caught:
        engine.catalog()
    assert caught.value.code == "driver-missing"
    assert "pip install nbgov[postgres]" in caught.value.next_step


# ---------------------------------------------------------------- SQLAlchemy


def test_a_missing_driver_of_a_url_is_an_error():
    """A url whose driver is not installed is an error that names the driver."""
    engine = open_sqlalchemy("other", {"url": "firebird+nothing://host/db"})
    with pytest.raises(BackendFailed) as caught:
        engine.catalog()
    assert caught.value.code == "driver-missing"
    assert "firebird+nothing" in caught.value.next_step


DECIMALS = [Decimal("1.5"), None, Decimal("-2.25")]


@pytest.mark.parametrize(
    ("values", "code", "scale", "is_mysql", "arrow"),
    [
        ([1, None], 3, None, False, pa.int64()),
        ([None, 1.5], None, None, False, pa.float64()),
        (DECIMALS, None, None, False, pa.decimal128(38, 2)),
        (DECIMALS, None, 4, False, pa.decimal128(38, 4)),
        ([], 246, 3, True, pa.decimal128(38, 3)),
        ([None], 10, None, True, pa.date32()),
        ([None], 10, None, False, pa.string()),
        ([1, "a"], None, None, False, pa.string()),
        ([{"a": 1}], None, None, False, pa.string()),
        ([datetime(2013, 1, 1, tzinfo=UTC)], None, None, False, pa.timestamp("us", "UTC")),
    ],
)
def test_first_values_and_description_settle_a_type(values, code, scale, is_mysql, arrow):
    """The type of a column follows from its first values, then from what the driver says."""
    description = ("c", code, None, None, None, scale, None)
    assert settled_type(values, description, is_mysql=is_mysql) == arrow


def test_values_of_a_settled_type_are_exact():
    """Text columns hold anything as text; any other column refuses what does not fit."""
    mixed = array([1, None, "a", Decimal("1E+2")], pa.string())
    assert mixed.to_pylist() == ["1", None, "a", "100"]
    assert array([1, None], pa.float64()).to_pylist() == [1.0, None]
    assert array(DECIMALS, pa.decimal128(38, 4)).to_pylist() == DECIMALS
    for values, arrow in [
        (["a"], pa.int64()),
        ([0.5], pa.int64()),
        ([1, "a"], pa.int64()),
        ([2**53 + 1], pa.float64()),
        ([2**63], pa.int64()),
        ([Decimal("0.125")], pa.decimal128(38, 2)),
    ]:
        with pytest.raises((Misfit, pa.ArrowInvalid)):
            array(values, arrow)


@pytest.mark.parametrize("comment", ["/*! DELETE FROM t */", "/*M!50000 DELETE FROM t */"])
def test_a_comment_that_mysql_would_run_is_refused(comment):
    """A statement with an executable comment is refused before anything is connected."""
    engine = open_sqlalchemy("other", {"url": "mysql://host/db"})
    for attempt in (engine.inspect, lambda sql: engine.execute(clear(sql))):
        with pytest.raises(NbgovError) as caught:
            attempt(f"SELECT 1 {comment}")
        assert caught.value.code in {"syntax", "not-understood"}


@pytest.fixture
def seal(mariadb_url):
    engine = open_sqlalchemy("other", {"url": mariadb_url, "timeout_s": 7.5})
    yield engine
    engine.close()


def test_a_session_of_mysql_reads_text_as_nbgov_does(seal, mariadb_url):
    """Whatever the server's mode, quotes, bars and backslashes mean what nbgov's parser takes them for."""
    server = sa.create_engine(mariadb_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        (before,) = connection.exec_driver_sql("SELECT @@GLOBAL.sql_mode").one()
        odd = "ANSI,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,ORACLE"
        connection.exec_driver_sql(f"SET GLOBAL sql_mode = '{odd}'")
        try:
            found = table(
                seal, """SELECT "a" AS text, 'x\\'y' AS quote, 1 || 0 AS bars, @@sql_mode AS m"""
            ).to_pylist()
        finally:
            connection.exec_driver_sql(f"SET GLOBAL sql_mode = '{before}'")
    modes = "NO_ZERO_DATE,NO_AUTO_CREATE_USER"
    assert found == [{"text": "a", "quote": "x'y", "bars": 1, "m": modes}]
    server.dispose()


def test_a_session_of_mysql_is_fenced(seal):
    """The server itself keeps the time limit, and no file of this machine is ever sent to it."""
    found = table(seal, "SELECT @@max_statement_time AS t").to_pylist()
    assert found == [{"t": 7.5}]
    with seal.source.connect() as connection:
        assert not connection.connection.driver_connection._local_infile


def test_a_read_of_mysql_is_read_only(seal):
    """A write that runs as a read fails at the server."""
    change(seal, "CREATE TABLE fenced (a INTEGER)")
    with pytest.raises(BackendFailed):
        table(seal, "INSERT INTO fenced VALUES (1)")
    assert table(seal, "SELECT * FROM fenced").num_rows == 0
    change(seal, "DROP TABLE fenced")


@pytest.mark.parametrize(
    ("sql", "is_shown"),
    [
        ("SELECT email FROM guarded", True),
        ("SELECT g.email AS x FROM guarded AS g WHERE id > 0", True),
        ("SELECT id, '***' AS email FROM guarded", False),
        ("SELECT email FROM (SELECT id, NULL AS email FROM guarded) AS guarded", False),
        ("SELECT concat(email, '') AS email FROM guarded", False),
    ],
)
def test_mysql_names_the_columns_of_a_result(seal, sql, is_shown):
    """A bare masked column that the server names is refused before its first row."""
    change(seal, "CREATE OR REPLACE TABLE guarded (id INTEGER, email VARCHAR(40))")
    change(seal, "INSERT INTO guarded VALUES (1, 'canary-7731')")
    masked = frozenset({ColumnName(TableName(seal.catalog().default_schema, "Guarded"), "email")})
    if is_shown:
        with pytest.raises(IntegrityFailed) as caught:
            table(seal, sql, masked=masked)
        assert caught.value.code == "masked-column-in-result"
    else:
        assert table(seal, sql, masked=masked).num_rows == 1
    change(seal, "DROP TABLE guarded")


def test_a_time_limit_of_the_server_is_told_as_such(mariadb_url, monkeypatch):
    """A statement that the server stops for its time says so, also where our own clock is slower."""
    engine = open_sqlalchemy("other", {"url": mariadb_url, "timeout_s": 0.05})
    monkeypatch.setattr(
        "nbgov.backends.sqlalchemy.transaction.SQLAlchemyTransaction._start_timer", lambda _: None
    )
    views = ", ".join(f"information_schema.collations AS {name}" for name in "abcde")
    with pytest.raises(BackendFailed) as caught:
        table(engine, f"SELECT count(*) AS n FROM {views}")
    assert caught.value.code == "cancelled"
    assert "0.05 s" in caught.value.why
    engine.close()


def test_near_protected_data_a_driver_tells_no_more_than_a_code():
    """Of a driver's SQLSTATE only the class is told, and never its text."""

    class Told(Exception):
        sqlstate = "22012"

    engine = open_sqlalchemy("other", {"url": "postgresql://host/db"})
    transaction = SQLAlchemyTransaction(engine, is_read=True)
    error = DBAPIError("SELECT canary", None, Told("canary"))
    for is_sensitive, code in [(True, "22"), (False, "22012")]:
        transaction._is_sensitive = is_sensitive
        told = transaction.explain(error)
        assert told.why == f"The driver reports Told {code}."


def test_duckdb_plans_a_write_and_keeps_nothing(tmp_path):
    """EXPLAIN of a write is a read: it tells the plan, changes nothing, and leaves the file free."""
    path = tmp_path / "w.duckdb"
    with duckdb.connect(path) as link:
        link.execute("CREATE TABLE t AS SELECT range AS n FROM range(3)")
    with closing(open_duckdb("warehouse", {"path": path})) as engine:
        plan = table(engine, "EXPLAIN DELETE FROM t WHERE n = 1")
        assert "Delete" in plan["explain_value"][0].as_py()
        assert table(engine, "SELECT count(*) AS n FROM t")["n"].to_pylist() == [3]


def test_a_scratch_database_of_duckdb_reads_moments_with_a_zone():
    """Rows of every type can be digested, whatever is installed beside DuckDB."""
    with scratch("warehouse", {}) as held:
        held.run("CREATE TABLE t AS SELECT TIMESTAMPTZ '2026-01-02 03:04:05+00' AS at, [1, 2] AS n")
        [(at, numbers)] = held.rows("SELECT * FROM t")
    assert (at, numbers) == (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), [1, 2])

"""The second line on PostgreSQL: the server says where result columns come from, before any row."""

from __future__ import annotations

import os
import ssl
import sys
import traceback
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from sqlalchemy import make_url

from nbgov.backends.postgresql import open_engine
from nbgov.backends.postgresql.catalog import USER_NUMBER_MIN
from nbgov.backends.postgresql.origins import (
    LINKS_KEPT_MAX,
    Describer,
    check_origins,
    connect,
    encryption,
    load_driver,
)
from nbgov.errors import BackendFailed, IntegrityFailed
from nbgov.model import BindMarker, Clearance, ColumnName, Span, TableName

CANARY = "canary-7731"
PEOPLE = TableName("public", "people")
MASKED = frozenset({ColumnName(PEOPLE, "email")})


@pytest.fixture(scope="module")
def database(postgres_url):
    name = f"line_{os.urandom(6).hex()}"
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}").close()
        with dbapi.connect(url, autocommit=True) as connection:
            for sql in [
                "CREATE TABLE people (id integer, email text)",
                f"INSERT INTO people VALUES (1, '{CANARY}')",
                "CREATE TABLE open_data (a integer)",
                "CREATE TABLE nothing ()",
                "CREATE VIEW everyone AS SELECT email FROM people",
                "CREATE SCHEMA s",
                "CREATE TABLE s.people (email text)",
            ]:
                connection.execute(sql).close()
        yield url
        server.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


@pytest.fixture
def engine(database):
    engine = open_engine("pg", {"url": database})
    yield engine
    engine.close()


def run(engine, sql, *, masked=MASKED, is_read=True, **binds):
    markers = [
        BindMarker(name, Span(sql.index(f":{name}"), sql.index(f":{name}") + len(name) + 1))
        for name in binds
    ]
    clearance = Clearance(sql, binds, tuple(markers), is_read=is_read, masked=masked)
    stream = engine.execute(clearance)
    return pa.Table.from_batches(list(stream), stream.schema).to_pylist()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT email FROM people",
        "SELECT id, email AS harmless FROM people",
        "SELECT * FROM (SELECT p.* FROM people AS p) AS q",
        "WITH c (x) AS (SELECT email FROM people) SELECT x FROM c WHERE x > ''",
        "SELECT email FROM people ORDER BY id LIMIT 1",
        "SELECT q.b FROM people AS q (a, b)",
        "SELECT people FROM people",
        "SELECT max(p.email), p.email FROM people AS p GROUP BY p.email",
        "SELECT email FROM people WHERE id = :id",
    ],
)
def test_a_masked_column_as_it_is_stored_never_leaves(engine, sql):
    """A result with a bare masked column is refused before its first row, however it is reached."""
    binds = {"id": 1} if ":id" in sql else {}
    with pytest.raises(IntegrityFailed) as caught:
        run(engine, sql, **binds)
    assert caught.value.code == "masked-column-in-result"
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM people",
        "SELECT '***' AS email FROM people",
        "SELECT email FROM (SELECT id, CAST(NULL AS text) AS email FROM people) AS people",
        "SELECT count(email) AS n FROM people",
        "SELECT a FROM open_data",
        "SELECT open_data FROM open_data",
        "SELECT email FROM s.people",
        "SELECT ctid FROM people",
        "SELECT relname FROM pg_class LIMIT 1",
        "EXPLAIN SELECT 1",
        "SHOW search_path",
    ],
)
def test_everything_else_runs(engine, sql):
    """A result that shows no masked column as it is stored is delivered."""
    assert run(engine, sql) == run(engine, sql, masked=frozenset())


def test_a_write_that_returns_a_masked_column_does_not_happen(engine):
    """A write is described before it runs, so that nothing has changed when it is refused."""
    with pytest.raises(IntegrityFailed):
        run(engine, "DELETE FROM people RETURNING email", is_read=False)
    assert run(engine, "SELECT id FROM people") == [{"id": 1}]


def test_a_table_that_nobody_knows_is_refused(engine, database):
    """A column of a table that is in no catalog may be anything, so it does not leave."""
    engine.catalog()
    with pytest.raises(IntegrityFailed):
        check_origins([(USER_NUMBER_MIN, 1)], {}, MASKED)
    with pytest.raises(IntegrityFailed):
        run(engine, "SELECT nothing FROM nothing")


def test_values_have_the_types_that_the_rows_will_have(engine):
    """A statement with bound values is described with the types that they are sent in."""
    values = {
        "b": True, "c": 1, "d": 1.5, "e": "x", "f": b"x", "g": date(2013, 1, 1), "h": time(9),
        "i": Decimal("1.5"), "j": datetime(2013, 1, 1), "k": datetime(2013, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    [row] = run(
        engine, f"SELECT {', '.join(f'pg_typeof(:{name}) AS {name}' for name in values)}", **values
    )
    assert list(row.values()) == [
        "boolean", "bigint", "double precision", "text", "bytea", "date",
        "time without time zone", "numeric", "timestamp without time zone",
        "timestamp with time zone",
    ]  # fmt: skip


def test_a_statement_that_fails_has_its_class(engine):
    """A statement that the server does not take fails with the class of its SQLSTATE."""
    for _ in range(LINKS_KEPT_MAX + 1):
        with pytest.raises(BackendFailed) as caught:
            run(engine, "SELECT missing FROM people")
        assert caught.value.why.startswith("SQLSTATE class 42")
    assert run(engine, "SELECT id FROM people") == [{"id": 1}]


def test_a_lost_connection_is_replaced(engine, postgres_url):
    """A describing connection that the server has ended costs a new one, and no statement."""
    run(engine, "SELECT id FROM people")
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = '{engine._url.database}' AND application_name = 'nbgov'"
        ).close()
    assert run(engine, "SELECT id FROM people") == [{"id": 1}]


def test_connections_are_kept_but_not_all(database):
    """At most a few idle connections are kept, and none is after closing."""
    describer = Describer("pg", make_url(database))
    core, _ = load_driver("pg")
    links = [connect(core, make_url(database)) for _ in range(LINKS_KEPT_MAX + 1)]
    for link in links:
        assert describer._describe(link, "SELECT id FROM public.people", []) != []
    assert describer._idle == links[:-1]
    describer.close()
    assert describer._idle == []


def test_nothing_runs_when_the_server_cannot_be_asked(engine, monkeypatch):
    """Without the second driver, or with a server that it cannot reach, nothing is delivered."""
    monkeypatch.setattr(engine._describer, "_url", make_url("postgresql://localhost:1/db"))
    with pytest.raises(BackendFailed) as caught:
        run(engine, "SELECT id FROM people")
    assert caught.value.code == "database-unavailable"
    printed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "Connection refused" not in "".join(printed.format())
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(BackendFailed) as caught:
        run(engine, "SELECT id FROM people")
    assert caught.value.code == "driver-missing"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, None), ({"sslmode": "prefer"}, None), ({"sslmode": "disable"}, False)],
)
def test_encryption_follows_the_url(given, wanted):
    """Without a wish, encryption is used where the server has it."""
    assert encryption(given) is wanted


@pytest.mark.parametrize(
    ("mode", "verify", "is_name_checked"),
    [
        ("require", ssl.CERT_NONE, False),
        ("verify-ca", ssl.CERT_REQUIRED, False),
        ("verify-full", ssl.CERT_REQUIRED, True),
    ],
)
def test_a_certificate_is_checked_as_the_url_asks(mode, verify, is_name_checked):
    """A mode that verifies checks the certificate, and the strictest one the name too."""
    context = encryption({"sslmode": mode})
    assert (context.verify_mode, context.check_hostname) == (verify, is_name_checked)

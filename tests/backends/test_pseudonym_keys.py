"""The key of the pseudonyms: every engine makes the same tokens, and no log or view shows the key."""

from __future__ import annotations

import os
import sqlite3
import traceback

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi

from nbgov.backends.duckdb import open_engine as open_duckdb
from nbgov.backends.postgresql import open_engine as open_postgresql
from nbgov.backends.sqlalchemy import open_engine as open_sqlalchemy
from nbgov.backends.sqlite.engine import open_engine as open_sqlite
from nbgov.core.pseudonym import expression, pads, token
from nbgov.errors import BackendFailed
from nbgov.model import Clearance

KEY = bytes(range(32))
NAMES = ["Ada", "Zoë 🛩", "", "O'Hara", None]


def literal(name):
    return "NULL" if name is None else "'" + name.replace("'", "''") + "'"


SEED = ["CREATE TABLE people (id INTEGER, name VARCHAR(40))"] + [
    f"INSERT INTO people VALUES ({place}, {literal(name)})" for place, name in enumerate(NAMES)
]


def run(engine, sql, *, is_read=True):
    stream = engine.execute(Clearance(sql, {}, (), is_read=is_read))
    return pa.Table.from_batches(list(stream), stream.schema)


def tokens(engine, **options):
    column = expression("`name`" if engine.dialect == "mysql" else '"name"', engine.dialect)
    found = run(engine, f"SELECT {column} AS token FROM people ORDER BY id", **options)
    return found["token"].to_pylist()


def spellings():
    """The key and its pads, in every way that a log could write them."""
    secrets = [KEY, *pads(KEY)]
    return [form for secret in secrets for form in (secret.hex(), secret.hex().upper())]


@pytest.fixture
def duck(tmp_path):
    with duckdb.connect(tmp_path / "w.duckdb") as connection:
        for sql in SEED:
            connection.execute(sql)
    return open_duckdb, {"path": tmp_path / "w.duckdb"}


@pytest.fixture
def light(tmp_path):
    with sqlite3.connect(tmp_path / "ops.db") as connection:
        for sql in SEED:
            connection.execute(sql)
    connection.close()
    return open_sqlite, {"path": tmp_path / "ops.db"}


@pytest.fixture
def generic(light):
    return open_sqlalchemy, {"url": f"sqlite:///{light[1]['path']}"}


@pytest.fixture
def elephant(postgres_url):
    name = f"key_{os.urandom(6).hex()}"
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}").close()
        with dbapi.connect(url, autocommit=True) as connection:
            for sql in SEED:
                connection.execute(sql).close()
        yield open_postgresql, {"url": url}
        server.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


@pytest.fixture
def maria(mariadb_url):
    name = f"key_{os.urandom(6).hex()}"
    server = sa.create_engine(mariadb_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        for sql in [f"CREATE DATABASE {name} CHARACTER SET utf8mb4", f"USE {name}", *SEED]:
            connection.exec_driver_sql(sql)
        yield open_sqlalchemy, {"url": mariadb_url.replace("/test?", f"/{name}?")}
        connection.exec_driver_sql(f"DROP DATABASE {name}")
    server.dispose()


@pytest.fixture(params=["duck", "light", "generic", "elephant", "maria"])
def place(request):
    return request.getfixturevalue(request.param)


def opened(place, **more):
    opener, settings = place
    return opener("warehouse", settings | {"pseudonym_key": KEY} | more)


def test_every_engine_makes_the_same_tokens(place):
    """A token is the same on every engine as in Python, and NULL stays NULL; twice in a row."""
    engine = opened(place)
    wanted = [None if name is None else token(name, KEY) for name in NAMES]
    assert tokens(engine) == wanted
    assert run(engine, "SELECT 1 AS one")["one"].to_pylist() == [1]
    assert tokens(engine) == wanted
    engine.close()


def test_a_text_with_pseudonyms_can_be_inspected(place):
    """What makes pseudonyms is one statement to the product, before anybody knows the key."""
    engine = opened(place, pseudonym_key=b"")
    column = expression("`name`" if engine.dialect == "mysql" else '"name"', engine.dialect)
    assert engine.inspect(f"SELECT {column} AS token FROM people").statements == 1
    engine.close()


def test_another_key_makes_other_tokens(place):
    """Tokens of two keys have nothing in common."""
    one, other = opened(place), opened(place, pseudonym_key=bytes(32))
    assert not set(tokens(one)[:-1]) & set(tokens(other)[:-1])
    one.close()
    other.close()


def test_no_token_is_made_without_a_key(place):
    """An engine that was given no key makes no tokens, rather than some that anyone could make."""
    engine = opened(place, pseudonym_key=b"")
    with pytest.raises(BackendFailed, match="given no key"):
        tokens(engine)
    engine.close()


PEEKS = {
    "duckdb": "SELECT getvariable('nbgov_inner') AS x",
    "mysql": "SELECT @nbgov_inner AS x",
    "postgres": "SELECT current_setting('nbgov.outer', true) AS x",
    "sqlite": "SELECT 'no variable' AS x WHERE false",
}


def test_a_session_that_makes_no_tokens_does_not_know_the_key(place):
    """The next statement of another kind runs where nobody has set the key."""
    engine = opened(place)
    tokens(engine)
    peek = PEEKS[engine.dialect].replace("nbgov_inner", "NBGOV_INNER").replace(".outer", ".OUTER")
    assert run(engine, peek)["x"].to_pylist() in ([None], [])
    engine.close()


def test_no_error_shows_the_key(place):
    """A statement that fails with the key at hand does not print it, however it is printed."""
    engine = opened(place)
    column = expression("missing", engine.dialect)
    with pytest.raises(BackendFailed) as caught:
        run(engine, f"SELECT {column} FROM people")
    printed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(printed.format())
    assert not [one for one in (*spellings(), repr(KEY), repr(pads(KEY)[0])) if one in text]
    engine.close()


# ---------------------------------------------------------------- PostgreSQL


def test_postgresql_shows_the_key_nowhere(elephant, postgres_url, server_folder):
    """With everything logged, neither the server's log nor its view of sessions holds the key."""
    engine, logged = opened(elephant), ["log_statement = 'all'", "log_connections = on"]
    with dbapi.connect(postgres_url, autocommit=True) as server:
        for setting in (*logged, "log_min_duration_statement = 0"):
            server.execute(f"ALTER SYSTEM SET {setting}").close()
        server.execute("SELECT pg_reload_conf()").close()
        column = expression("name", "postgres")
        stream = engine.execute(
            Clearance(f"SELECT {column} AS probe_7731 FROM people", {}, (), is_read=True)
        )
        next(stream)
        with server.cursor() as cursor:
            cursor.execute("SELECT a::text FROM pg_stat_activity AS a")
            sessions = str(cursor.fetchall())
            cursor.execute("SELECT s::text FROM pg_settings AS s")
            settings = str(cursor.fetchall())
        stream.close()
        server.execute("ALTER SYSTEM RESET ALL").close()
        server.execute("SELECT pg_reload_conf()").close()
    logs = [path for path in (server_folder / "postgresql").rglob("*log*") if path.is_file()]
    log = "".join(path.read_text(errors="replace") for path in logs)
    assert "probe_7731" in sessions
    assert "probe_7731" in log
    assert not [one for one in spellings() if one in sessions + settings + log]
    engine.close()


def test_a_url_may_have_options_of_its_own(elephant):
    """Settings that the url gives to a session stand beside the key."""
    opener, settings = elephant
    engine = opener(
        "pg",
        {"url": f"{settings['url']}&options=-c%20work_mem%3D5MB", "pseudonym_key": KEY},
    )
    assert tokens(engine)[0] == token("Ada", KEY)
    found = run(engine, "SELECT current_setting('work_mem') AS w, 'nbgov_inner' AS x")
    assert found["w"].to_pylist() == ["5MB"]
    engine.close()


# ---------------------------------------------------------------- MariaDB


def test_mariadb_logs_statements_but_not_the_key(maria, mariadb_url):
    """With the general log on, a session that knows the key is not in it; others are."""
    engine = opened(maria)
    server = sa.create_engine(mariadb_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        ask = connection.exec_driver_sql
        ask("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1")
        ask("SET GLOBAL slow_query_log = 1, GLOBAL long_query_time = 0")
        run(engine, "SELECT 'probe_7731' AS x")
        tokens(engine)
        ask("SET GLOBAL general_log = 0, GLOBAL slow_query_log = 0")
        ask("SET GLOBAL log_output = 'FILE', GLOBAL long_query_time = 10")
        rows = list(ask("SELECT argument FROM mysql.general_log"))
        rows += list(ask("SELECT sql_text FROM mysql.slow_log"))
        log = b"\n".join(text if isinstance(text, bytes) else text.encode() for (text,) in rows)
    assert b"probe_7731" in log
    for secret in (KEY, *pads(KEY)):
        assert secret not in log
        assert secret.hex().encode() not in log.lower()
    engine.close()
    server.dispose()


def test_an_account_that_cannot_hide_the_key_is_not_given_it(maria, mariadb_url):
    """An account that may not switch off its own logging makes no tokens, and is told what to do."""
    _, settings = maria
    server = sa.create_engine(mariadb_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE OR REPLACE USER plain@localhost")
        connection.exec_driver_sql("GRANT SELECT ON *.* TO plain@localhost")
    engine = opened(maria, user="plain")
    assert run(engine, "SELECT count(*) AS n FROM people")["n"].to_pylist() == [len(NAMES)]
    with pytest.raises(BackendFailed) as caught:
        tokens(engine)
    assert caught.value.code == "pseudonym-key-unsafe"
    assert caught.value.next_step.startswith("Run nbgov harden warehouse")
    engine.close()
    server.dispose()
    assert settings


def test_a_write_is_not_given_the_key(maria):
    """The log of changes keeps the variables that a write uses, so that no write gets the key."""
    engine = opened(maria)
    with pytest.raises(BackendFailed) as caught:
        tokens(engine, is_read=False)
    assert caught.value.code == "pseudonym-key-unsafe"
    engine.close()


def test_a_server_that_watches_is_not_given_the_key(maria, monkeypatch):
    """Where something on the server shows every statement, the key stays here."""
    monkeypatch.setattr("nbgov.backends.sqlalchemy.mysql.WATCHERS_SQL", "SELECT 1")
    engine = opened(maria)
    with pytest.raises(BackendFailed) as caught:
        tokens(engine)
    assert caught.value.code == "pseudonym-key-unsafe"
    engine.close()

"""What must hold for every text, as functions that raise where it does not."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress

import duckdb

from nbgov.backends.duckdb.engine import SEALED
from nbgov.backends.duckdb.opinion import opinion as duckdb_opinion
from nbgov.backends.postgresql.opinion import opinion as postgresql_opinion
from nbgov.backends.sqlalchemy.opinion import opinion as sqlalchemy_opinion
from nbgov.backends.sqlite.opinion import opinion as sqlite_opinion
from nbgov.core.guard import check
from nbgov.core.statement import agree, find_binds, neutralise, normalise, parse, redact, split
from nbgov.core.statement.effects import classify
from nbgov.errors import NbgovError
from nbgov.model import Catalog, Column, Effect, Table, TableName

READ = frozenset({Effect.READ})
SCHEMA = """
    CREATE TABLE t (a INTEGER, b VARCHAR(9));
    CREATE TABLE u (a INTEGER, x VARCHAR(9));
    CREATE VIEW v AS SELECT b FROM t WHERE a > 1;
    INSERT INTO t VALUES (1, 'x'), (2, 'y');
    INSERT INTO u VALUES (1, 'x');
"""
TIME_MAX_S = 0.5
STEPS_MAX = 200_000


def catalog(dialect: str) -> Catalog:
    """The schema, as nbgov knows it."""
    schema = "public" if dialect == "postgres" else "main"
    columns = {"t": "ab", "u": "ax", "v": "b"}
    tables = (
        Table(TableName(schema, name), tuple(Column(c, "text") for c in held), "view" if name == "v" else "table")
        for name, held in columns.items()
    )  # fmt: skip
    return Catalog(dialect, schema, {table.name: table for table in tables})


CATALOGS = {dialect: catalog(dialect) for dialect in ("duckdb", "mysql", "postgres", "sqlite")}
DUCK = duckdb.connect(config={**SEALED, "threads": "1", "memory_limit": "200MB"})
DUCK.execute(f"{SCHEMA} CREATE SEQUENCE s")
LIGHT = sqlite3.connect(":memory:", isolation_level=None)
LIGHT.executescript(SCHEMA)


def opinion(sql, dialect):
    """The product's view of a text, or none."""
    try:
        if dialect == "duckdb":
            return duckdb_opinion(DUCK, sql)
        if dialect == "sqlite":
            return sqlite_opinion(LIGHT, sql)
        if dialect == "postgres":
            return postgresql_opinion(sql)
        return sqlalchemy_opinion(sql, dialect)
    except (NbgovError, duckdb.Error, UnicodeEncodeError):
        return None


def effects(sql, dialect):
    """What a text does, as ``nbgov check --effects-only`` tells it, and the text that would run."""
    try:
        text = normalise(sql, dialect)
        text = neutralise(text, find_binds(text, dialect))
    except NbgovError:
        return classify(sql, dialect, None), sql
    return classify(text, dialect, opinion(text, dialect)), text


def no_text_fails(sql):
    """Every stage takes every text, and refuses with an error of nbgov's own or not at all."""
    for dialect, held in CATALOGS.items():
        assert effects(sql, dialect)[0]
        redact(sql, dialect)
        with suppress(NbgovError):
            for part in split(sql, dialect):
                statement = parse(part, held)
                found = opinion(neutralise(statement.sql, statement.binds), dialect)
                if found is not None:
                    check(agree(statement, found, held))


def no_read_writes(sql, postgres=None):
    """What is called a read is not refused as a write by an engine that lets nothing be written."""
    for dialect, run in {"duckdb": run_duckdb, "sqlite": run_sqlite, "postgres": postgres}.items():
        found, text = effects(sql, dialect)
        # DuckDB refuses even to plan a write where nothing may be written.
        is_plan = dialect == "duckdb" and "EXPLAIN" in text.upper()
        if run is not None and found == READ and not is_plan:
            problem = run(text)
            assert problem is None, f"{dialect} {problem}: {text!r}"


def run_duckdb(sql):
    """What is wrong with running a text in a read-only transaction, if anything."""
    link = DUCK.cursor()
    timer = threading.Timer(TIME_MAX_S, link.interrupt)
    timer.start()
    try:
        link.execute("BEGIN TRANSACTION READ ONLY")
        link.execute(sql).fetchmany(10)
    except duckdb.Error as error:
        text = str(error)
        return text if "read-only" in text or "read only" in text else None
    finally:
        timer.cancel()
        link.close()
    return None


def run_sqlite(sql):
    """What is wrong with running a text where nothing may be written, if anything."""
    steps = iter([False] * 20)
    LIGHT.execute("PRAGMA query_only = ON")
    LIGHT.set_progress_handler(lambda: next(steps, True), STEPS_MAX // 20)
    try:
        with closing(LIGHT.execute(sql)) as cursor:
            cursor.fetchmany(10)
    except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError) as error:
        return str(error) if "readonly" in str(error) else None
    finally:
        LIGHT.set_progress_handler(None, 0)
        LIGHT.execute("PRAGMA query_only = OFF")
    return None

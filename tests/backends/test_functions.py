"""The tables of functions, compared with the products that they are about."""

from __future__ import annotations

import re
import sqlite3

import adbc_driver_postgresql.dbapi
import duckdb as product
import pytest
import sqlalchemy as sa

from nbgov.backends.postgresql.engine import conninfo
from nbgov.core.functions import duckdb, effect_of, mysql, postgres, sqlite
from nbgov.model import Effect

# Volatile, because each call gives another value, and pure all the same.
CHANCE = set(
    """
    array_sample array_shuffle clock_timestamp gen_random_uuid pg_is_in_recovery pg_jit_available
    pg_partition_ancestors pg_partition_tree random random_normal timeofday uuidv4 uuidv7
    """.split()
)
POSTGRES_SQL = """
    SELECT proname::text, bool_or(provolatile = 'v') FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY 1
"""


@pytest.fixture
def server(postgres_url):
    with adbc_driver_postgresql.dbapi.connect(conninfo(sa.make_url(postgres_url))) as link:
        yield lambda sql: asked(link, sql)


def asked(link, sql):
    with link.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_postgresql_has_the_functions(server):
    """What is called pure is in the server's catalog, and not volatile but for chance and time."""
    volatile = dict(server(POSTGRES_SQL))
    pure = postgres.PURE | postgres.METADATA
    assert pure - volatile.keys() <= postgres.TYPES
    assert {name for name in pure if volatile.get(name)} == CHANCE


def test_postgresql_has_no_other_operators_and_types(server):
    """Every operator and no type is foreign that a fresh server has."""
    assert {name for (name,) in server("SELECT DISTINCT oprname::text FROM pg_operator")} == (
        postgres.OPERATORS
    )
    assert {name for (name,) in server("SELECT typname::text FROM pg_type")} >= postgres.TYPES


def test_duckdb_has_the_functions():
    """What is called pure exists in DuckDB, or is a window function of its grammar."""
    names, volatile, tables = duckdb_names()
    windows = """
        cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
        rank_dense row_number
    """.split()
    assert names | set(windows) >= duckdb.PURE | duckdb.METADATA
    assert duckdb.PURE & volatile == {"gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"}
    assert duckdb.PURE & tables == {
        "generate_series", "icu_calendar_names", "json_each", "json_tree", "pg_timezone_names",
        "range", "repeat", "unnest",
    }  # fmt: skip


def test_duckdb_has_nothing_that_reaches_out():
    """No function of DuckDB whose name tells of files, scans or settings is a read."""
    names, _, _ = duckdb_names()
    reaching = {
        n
        for n in names
        if re.search(
            r"^read_|(arrow|pandas|parquet|seq)_scan|^parquet_|secret|settings$|_logs?$", n
        )
    }
    reads = {name for name in reaching if effect_of(name, "duckdb") is Effect.READ}
    assert len(reaching) > 20
    assert reads == set()


def duckdb_names():
    with product.connect() as link:
        rows = link.execute(
            "SELECT lower(function_name), bool_or(has_side_effects), "
            "bool_or(function_type LIKE '%table%') FROM duckdb_functions() GROUP BY 1"
        ).fetchall()
    return (
        {name for name, _, _ in rows},
        {name for name, does_more, _ in rows if does_more},
        {name for name, _, is_table in rows if is_table},
    )


def test_sqlite_has_no_function_that_nobody_looked_at():
    """Every function of the linked SQLite is in a list; its full-text internals are in none."""
    rows = sqlite3.connect(":memory:").execute("SELECT name FROM pragma_function_list").fetchall()
    known = sqlite.PURE.union(*sqlite.HARMFUL.values())
    assert {name for (name,) in rows} - known <= {"fts5", "fts5_source_id", "sqlite_rename_table"}


def test_mariadb_has_no_function_that_nobody_looked_at(mariadb_url):
    """Every function that MariaDB lists is in a list."""
    source = sa.create_engine(mariadb_url)
    with source.connect() as link:
        rows = link.execute(sa.text("SELECT function FROM information_schema.sql_functions"))
        live = {name.lower() for (name,) in rows}
    source.dispose()
    assert live - mysql.PURE.union(*mysql.HARMFUL.values()) == set()


def test_mariadb_functions_that_do_more_exist(mariadb_url):
    """The names that are feared most are spelled as the server spells them."""
    feared = ["benchmark(0, 1)", "get_lock('nbgov', 0)", "load_file('')", "sleep(0)"]
    feared += ["extractvalue('<a/>', '/a')", "updatexml('<a/>', '/a', '')"]
    source = sa.create_engine(mariadb_url)
    with source.connect() as link:
        for call in feared:
            link.execute(sa.text(f"SELECT {call}")).fetchall()
            assert effect_of(call.partition("(")[0], "mysql") is not Effect.READ
    source.dispose()

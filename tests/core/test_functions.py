"""The tables of functions, by themselves; ``tests/backends/test_functions.py`` asks the products."""

from __future__ import annotations

import pytest

from nbgov.core.functions import ENGINES, effect_of, generic, reads_metadata
from nbgov.model import Effect

ALL = {**ENGINES, "tsql": generic}
HARM = [
    ("postgres", "nextval", Effect.WRITE),
    ("postgres", "lo_from_bytea", Effect.WRITE),
    ("postgres", "set_config", Effect.SESSION),
    ("postgres", "current_setting", Effect.SESSION),
    ("postgres", "pg_advisory_xact_lock", Effect.SESSION),
    ("postgres", "pg_sleep", Effect.SESSION),
    ("postgres", "pg_terminate_backend", Effect.MAINTENANCE),
    ("postgres", "pg_stat_reset", Effect.MAINTENANCE),
    ("postgres", "query_to_xml_and_xmlschema", Effect.EXEC),
    ("postgres", "ts_stat", Effect.EXEC),
    ("postgres", "dblink_exec", Effect.EXEC),
    ("postgres", "pg_read_binary_file", Effect.FILE),
    ("postgres", "lo_import", Effect.FILE),
    ("postgres", "pg_stat_get_activity", Effect.UNKNOWN),
    ("duckdb", "nextval", Effect.WRITE),
    ("duckdb", "getvariable", Effect.SESSION),
    ("duckdb", "query_table", Effect.EXEC),
    ("duckdb", "read_text", Effect.FILE),
    ("duckdb", "glob", Effect.FILE),
    ("duckdb", "error", Effect.UNKNOWN),
    ("duckdb", "stats", Effect.UNKNOWN),
    ("duckdb", "duckdb_table_sample", Effect.UNKNOWN),
    ("sqlite", "load_extension", Effect.EXEC),
    ("sqlite", "writefile", Effect.FILE),
    ("sqlite", "last_insert_rowid", Effect.SESSION),
    ("sqlite", "highlight", Effect.UNKNOWN),
    ("mysql", "load_file", Effect.FILE),
    ("mysql", "benchmark", Effect.SESSION),
    ("mysql", "get_lock", Effect.SESSION),
    ("mysql", "updatexml", Effect.UNKNOWN),
    ("mysql", "extractvalue", Effect.UNKNOWN),
    ("tsql", "openrowset", Effect.UNKNOWN),
]


@pytest.mark.parametrize("dialect", ALL)
def test_a_name_stands_in_one_list(dialect):
    """No function is said to do two things, and names are lower case."""
    engine = ALL[dialect]
    lists = [engine.PURE, engine.METADATA, *engine.HARMFUL.values()]
    assert sum(map(len, lists)) == len(frozenset().union(*lists))
    assert all(name == name.lower() for names in lists for name in names)


@pytest.mark.parametrize(("dialect", "name", "effect"), HARM)
def test_a_function_that_does_more_is_no_read(dialect, name, effect):
    """What writes, waits, reaches out, runs text or raises with a value is told apart from reads."""
    assert effect_of(name, dialect) is effect


@pytest.mark.parametrize("dialect", ALL)
def test_a_name_that_nobody_knows_is_unknown(dialect):
    """A function in no table may do anything."""
    assert effect_of("no_such_function", dialect) is Effect.UNKNOWN
    assert effect_of("upper", dialect) is Effect.READ
    assert effect_of("elsewhere.upper", dialect) is Effect.UNKNOWN


def test_the_schema_of_the_engine_is_its_own():
    """Naming the schema of the built-in functions means them, on the engine that has it."""
    assert effect_of("pg_catalog.upper", "postgres") is Effect.READ
    assert effect_of("system.main.upper", "duckdb") is Effect.READ
    assert effect_of("pg_catalog.upper", "mysql") is Effect.UNKNOWN
    assert effect_of("pg_catalog.pg_catalog.upper", "postgres") is Effect.UNKNOWN


def test_what_tells_names_is_metadata():
    """Functions that look names up are reads, and are told apart from those that compute."""
    for name in ("to_regclass", "regclass", "pg_get_viewdef", "pg_catalog.has_table_privilege"):
        assert effect_of(name, "postgres") is Effect.READ
        assert reads_metadata(name, "postgres")
    assert reads_metadata("pragma_table_info", "sqlite")
    assert not reads_metadata("upper", "postgres")
    assert not reads_metadata("to_regclass", "tsql")

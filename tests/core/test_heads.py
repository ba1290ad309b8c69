"""EXPLAIN, and what an engine tells about itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlglot import exp

from nbgov.core.statement import parse
from nbgov.core.statement.names import qualifier_spans
from nbgov.core.statement.reads import uses
from nbgov.errors import Denied, NbgovError
from nbgov.model import Action, Effect, Span
from tests.core.conftest import make_catalog

READ = {Effect.READ}


@pytest.mark.parametrize(
    ("dialect", "sql", "plan"),
    [
        ("postgres", "EXPLAIN SELECT name FROM people", "plan"),
        ("postgres", "EXPLAIN VERBOSE SELECT name FROM people", "plan"),
        ("postgres", "explain analyze verbose SELECT name FROM people", "analyze"),
        ("postgres", "EXPLAIN ANALYSE SELECT name FROM people", "analyze"),
        ("postgres", "EXPLAIN (ANALYZE false, BUFFERS) SELECT name FROM people", "plan"),
        ("postgres", "EXPLAIN (FORMAT json, ANALYZE) SELECT name FROM people", "analyze"),
        ("postgres", "EXPLAIN (ANALYZE on, ANALYZE 0) SELECT name FROM people", "plan"),
        ("postgres", "EXPLAIN (SELECT name FROM people)", "plan"),
        ("postgres", "EXPLAIN TABLE people", "plan"),
        ("duckdb", "EXPLAIN FROM people SELECT name", "plan"),
        ("duckdb", "EXPLAIN ANALYZE SELECT name FROM people", "analyze"),
        ("duckdb", "DESCRIBE SELECT name FROM people", "plan"),
        ("sqlite", "EXPLAIN SELECT name FROM people", "plan"),
        ("sqlite", "EXPLAIN QUERY PLAN SELECT name FROM people", "plan"),
        ("mysql", "EXPLAIN SELECT name FROM people", "plan"),
        ("mysql", "DESC EXTENDED SELECT name FROM people", "plan"),
        ("mysql", "EXPLAIN FORMAT=JSON SELECT name FROM people", "plan"),
        ("mysql", "EXPLAIN ANALYZE FORMAT=TREE SELECT name FROM people", "analyze"),
        ("mysql", "ANALYZE FORMAT=JSON SELECT name FROM people", "analyze"),
    ],
)
def test_explain_reads_what_the_query_reads(dialect: str, sql: str, plan: str) -> None:
    """The table stands where it is written, and reads as it would without EXPLAIN."""
    statement = parse(sql, make_catalog(dialect))
    assert (statement.verb, statement.plan, statement.effects) == ("EXPLAIN", plan, READ)
    (use,) = statement.tables
    assert statement.sql[use.span.start : use.span.end] == "people"
    assert "name" in use.columns


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgres", "EXPLAIN DELETE FROM people"),
        ("postgres", "EXPLAIN (COSTS off) UPDATE people SET name = email"),
        ("sqlite", "EXPLAIN QUERY PLAN DELETE FROM people"),
        ("mysql", "EXPLAIN DELETE FROM people"),
        ("duckdb", "EXPLAIN INSERT INTO orders SELECT id, id, id, name FROM people"),
    ],
)
def test_the_plan_of_a_write_changes_nothing(dialect: str, sql: str) -> None:
    """It only reads, and says nothing about rows that it does not touch."""
    statement = parse(sql, make_catalog(dialect))
    assert statement.effects == READ
    assert {use.action for use in statement.tables} == {Action.READ}
    assert not statement.traits
    assert not statement.flows


def test_a_write_that_is_measured_is_a_write() -> None:
    """EXPLAIN ANALYZE runs the statement, and the guard sees what it would see without."""
    statement = parse("EXPLAIN ANALYZE DELETE FROM people", make_catalog("postgres"))
    assert Effect.WRITE in statement.effects
    assert "no-where" in statement.traits
    assert statement.plan == "analyze"


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgres", "EXPLAIN"),
        ("postgres", "EXPLAIN (ANALYZE"),
        ("postgres", "EXPLAIN (ANALYZE maybe) SELECT 1"),
        ("postgres", "EXPLAIN (SOMETHING) SELECT 1"),
        ("postgres", "EXPLAIN EXPLAIN SELECT 1"),
        ("postgres", "EXPLAIN EXECUTE p"),
        ("postgres", "EXPLAIN CREATE TABLE x AS SELECT 1"),
        ("postgres", "DESCRIBE people"),
        ("postgres", "SHOW data_directory"),
        ("postgres", "SHOW nbgov.inner"),
        ("postgres", "SHOW ALL"),
        ("mysql", "EXPLAIN FOR CONNECTION 3"),
        ("mysql", "ANALYZE TABLE people"),
        ("mysql", "SHOW WARNINGS"),
        ("mysql", "SHOW PROCESSLIST"),
        ("mysql", "SHOW COLUMNS FROM people WHERE (SELECT sleep(1))"),
        ("mysql", "SHOW INDEX FROM people"),
        ("mysql", "SHOW GRANTS"),
        ("sqlite", "PRAGMA query_only = OFF"),
        ("sqlite", "PRAGMA user_version(5)"),
        ("sqlite", "PRAGMA writable_schema"),
        ("sqlite", "PRAGMA other.table_info(people)"),
        ("duckdb", "PRAGMA enable_profiling"),
        ("duckdb", "SUMMARIZE people"),
        ("duckdb", "SHOW TABLES FROM x"),
        ("hive", "SHOW TABLES"),
    ],
)
def test_what_is_not_on_a_list_is_not_a_read(dialect: str, sql: str) -> None:
    """An option, a setting or a command that nobody has looked at does not run."""
    try:
        statement = parse(sql, make_catalog(dialect))
    except NbgovError:
        return
    assert statement.effects != READ


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgres", "SHOW search_path"),
        ("postgres", "show TIME ZONE;"),
        ("mysql", "SHOW FULL TABLES FROM x LIKE 'a%'"),
        ("mysql", "SHOW COLUMNS FROM `people`"),
        ("mysql", "SHOW CREATE TABLE people"),
        ("mysql", "DESCRIBE people"),
        ("mysql", "DESC people name"),
        ("sqlite", "PRAGMA table_info(people)"),
        ("sqlite", "PRAGMA main.table_info('people')"),
        ("sqlite", "PRAGMA user_version"),
        ("duckdb", "DESCRIBE people"),
        ("duckdb", "SHOW TABLES"),
        ("duckdb", "PRAGMA table_info('people')"),
    ],
)
def test_how_the_database_is_made_may_be_read(dialect: str, sql: str) -> None:
    """Such a command has a trait, so that the policy can tell who sees everything."""
    statement = parse(sql, make_catalog(dialect))
    assert (statement.effects, statement.traits) == (READ, {"metadata"})


@pytest.mark.parametrize(
    ("dialect", "sql", "names"),
    [
        ("postgres", "SELECT relname FROM pg_class", ["pg_catalog.pg_class"]),
        ("postgres", "SELECT c.oid, count(*) FROM pg_catalog.pg_class c", ["pg_catalog.pg_class"]),
        ("postgres", "SELECT * FROM information_schema.tables", ["information_schema.tables"]),
        (
            "mysql",
            "SELECT table_name FROM information_schema.TABLES",
            ["information_schema.tables"],
        ),
        ("sqlite", "SELECT sql FROM main.sqlite_master", ["main.sqlite_master"]),
        ("sqlite", "SELECT name FROM pragma_table_info('people')", ["pragma_table_info"]),
        ("duckdb", "SELECT table_name FROM duckdb_columns()", ["duckdb_columns"]),
    ],
)
def test_the_tables_of_the_engine_are_named(dialect: str, sql: str, names: list[str]) -> None:
    """They are no tables of the catalog, and are told apart."""
    statement = parse(sql, make_catalog(dialect))
    assert sorted(map(str, statement.system_tables)) == names
    assert not statement.tables


@pytest.mark.parametrize(
    ("dialect", "table"),
    [
        ("postgres", "pg_stats"), ("postgres", "pg_statistic"), ("postgres", "pg_stat_activity"),
        ("postgres", "pg_authid"), ("postgres", "pg_settings"), ("postgres", "x.pg_catalog.pg_class"),
        ("sqlite", "sqlite_stat1"), ("sqlite", "sqlite_dbpage"),
        ("mysql", "information_schema.processlist"), ("mysql", "mysql.user"),
        ("duckdb", "information_schema.other"), ("hive", "information_schema.tables"),
    ],
)  # fmt: skip
def test_what_carries_values_or_secrets_is_not_there(dialect: str, table: str) -> None:
    """Statistics, activity and accounts answer as a table that does not exist."""
    with pytest.raises(NbgovError) as caught:
        parse(f"SELECT * FROM {table}", make_catalog(dialect))
    assert caught.value.code == "unknown-table"


def spans(sql: str, dialect: str) -> list[tuple[str, str]]:
    """What the spans of ONLY and TABLESAMPLE cover."""

    def text(span: Span | None) -> str:
        return "" if span is None else sql[span.start : span.end]

    uses = parse(sql, make_catalog(dialect)).tables
    return [(text(use.only), text(use.sample)) for use in uses]


def test_only_and_samples_have_their_place() -> None:
    """A rewrite can move them to where the table is read."""
    sql = """SELECT * FROM ONLY people, orders AS o TABLESAMPLE BERNOULLI (10 + (1)) REPEATABLE (3),
        people p TABLESAMPLE SYSTEM (5)"""
    assert spans(sql.replace("10 + (1)", "10"), "postgres") == [
        ("ONLY", ""),
        ("", "TABLESAMPLE BERNOULLI (10) REPEATABLE (3)"),
        ("", "TABLESAMPLE SYSTEM (5)"),
    ]
    assert spans("SELECT * FROM people TABLESAMPLE (10%)", "duckdb") == [("", "TABLESAMPLE (10%)")]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM people TABLESAMPLE SYSTEM ((SELECT max(id) FROM orders))",
        "SELECT * FROM people TABLESAMPLE SYSTEM (length(current_user))",
        "SELECT * FROM people TABLESAMPLE 10",
        "SELECT * FROM people WHERE id IN orders",
        "SELECT x.people.name.part FROM people",
        "SELECT people.name.part FROM people",
        "SELECT main.people.nothing FROM people",
        "SELECT * FROM people FOR SYSTEM_TIME AS OF 1",
    ],
)
def test_a_form_whose_meaning_is_open_is_refused(sql: str) -> None:
    """A sample that looks at data, or a name in the place of a list, does not run."""
    with pytest.raises(NbgovError):
        parse(sql, make_catalog("duckdb"))


def test_a_place_that_nobody_can_tell_is_refused() -> None:
    """ONLY without its word, and a column without its place, are denied rather than guessed."""
    mention = exp.to_table("people")
    for part in (mention.this,):
        part.update_positions(start=0, end=5)
    mention.set("only", value=True)
    table = next(iter(make_catalog().tables.values()))
    with pytest.raises(Denied, match="ONLY"):
        uses([(mention, table)], Action.READ, frozenset())
    with pytest.raises(Denied, match="no position"):
        qualifier_spans(exp.column("name", table="people", db="main"))


def test_a_function_of_the_database_hides_that_of_the_engine() -> None:
    """Somebody's own ``upper`` is not known to only compute."""
    catalog = make_catalog("postgres")
    mine = replace(catalog, functions={"public.upper": Effect.UNKNOWN, "x.lower": Effect.READ})
    sql = "SELECT upper(name), lower(name), length(name), nextval('s') FROM people"
    assert parse(sql, mine).functions == {
        "upper": Effect.UNKNOWN,
        "lower": Effect.READ,
        "length": Effect.READ,
        "nextval": Effect.WRITE,
    }


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgres", "SELECT relname, reltuples FROM pg_class"),
        ("postgres", "SELECT * FROM pg_class"),
        ("postgres", "SELECT c FROM pg_class c"),
        ("postgres", "SELECT c.x FROM pg_class c(a, b, x)"),
        ("postgres", "SELECT attname FROM pg_attribute WHERE attmissingval IS NOT NULL"),
        ("duckdb", "SELECT q.n FROM (SELECT reltuples AS n FROM pg_catalog.pg_class) q"),
        ("mysql", "SELECT table_rows FROM information_schema.tables"),
        ("mysql", "SELECT count(DISTINCT t.DATA_LENGTH) FROM information_schema.tables t"),
    ],
)
def test_figures_about_stored_rows_stay_hidden(dialect: str, sql: str) -> None:
    """How many rows there are, and how large they are, shows through a row filter."""
    with pytest.raises(Denied, match="does not fully understand"):
        parse(sql, make_catalog(dialect))

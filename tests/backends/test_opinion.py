"""What products make of a text, as effects, tables, functions and columns.

Golden cases of the effects: ``tests/cases/effects``, run with the opinion of the product itself.
"""

from __future__ import annotations

import json
import lzma
import sqlite3
from pathlib import Path

import duckdb
import pytest
import yaml

from nbgov.backends.duckdb.opinion import opinion as duckdb_opinion
from nbgov.backends.postgresql.opinion import opinion as postgresql_opinion
from nbgov.backends.sqlalchemy.opinion import opinion as sqlalchemy_opinion
from nbgov.backends.sqlite.opinion import opinion as sqlite_opinion
from nbgov.core.statement.effects import classify
from nbgov.errors import NbgovError, RequestInvalid
from nbgov.model import Effect

HERE = Path(__file__).parent.parent
TRUTH = HERE.parent.parent / "shared/cases/pg_truth.jsonl.xz"
READ = frozenset({Effect.READ})
SQLITE = """
    CREATE TABLE t (a, b);
    CREATE TABLE log (entry);
    CREATE VIEW v AS SELECT b FROM t WHERE a > 1;
    CREATE TRIGGER kept AFTER INSERT ON t BEGIN INSERT INTO log VALUES (lower(new.a)); END;
"""


@pytest.fixture
def duck():
    with duckdb.connect() as link:
        yield lambda sql: duckdb_opinion(link, sql)


@pytest.fixture
def light():
    link = sqlite3.connect(":memory:")
    link.executescript(SQLITE)
    yield lambda sql: sqlite_opinion(link, sql)
    link.close()


@pytest.fixture
def elephant():
    return postgresql_opinion


@pytest.fixture
def ask(request):
    """An opinion, or none where the product cannot read the text."""
    inspect = request.getfixturevalue(request.param)

    def asked(sql):
        try:
            return inspect(sql)
        except (NbgovError, duckdb.Error):
            return None

    return asked


def cases(dialect):
    return yaml.safe_load((HERE / f"cases/effects/{dialect}.yaml").read_text())


def effects_of(case):
    named = case["effects"] if isinstance(case["effects"], list) else [case["effects"]]
    return {Effect(name) for name in [*named, *filter(None, [case.get("contains")])]}


PRODUCTS = {"duckdb": "duck", "postgres": "elephant", "sqlite": "light"}
PAIRS = [(dialect, ask, case) for dialect, ask in PRODUCTS.items() for case in cases(dialect)]


@pytest.mark.parametrize(
    ("dialect", "ask", "case"),
    PAIRS,
    indirect=["ask"],
    ids=[f"{dialect}-{case['sql'][:40]}" for dialect, _, case in PAIRS],
)
def test_two_opinions_tell_what_a_statement_does(dialect, ask, case):
    """Nbgov and the product agree on every case, and together call it what it is."""
    assert classify(case["sql"], dialect, ask(case["sql"])) == effects_of(case)


# ---------------------------------------------------------------- functions, tables, columns


@pytest.mark.parametrize(
    ("sql", "functions"),
    [
        ("SELECT upper(a), s.F(b), \"Odd\"(c) FROM t", {"upper", "s.f", "odd"}),
        ("SELECT extract(year FROM a)", {"pg_catalog.extract"}),
        ("SELECT 'x'::regclass, 'y'::pg_catalog.regproc", {"regclass", "regproc"}),
        ("SELECT * FROM g(1), LATERAL h(2) AS (a int)", {"g", "h"}),
        ("EXPLAIN SELECT f(1)", {"f"}),
        ("INSERT INTO t SELECT f(1)", {"f"}),
    ],
)  # fmt: skip
def test_postgresql_names_the_functions(sql, functions):
    """Every call is named as it is written, wherever it stands."""
    assert postgresql_opinion(sql).functions == functions


def test_duckdb_names_the_functions(duck):
    """Operators, methods, windows and table functions are functions to DuckDB."""
    found = duck(
        "SELECT a + 1, b.upper(), count(*), lag(c) OVER () FROM range(3), query('SELECT 1')"
    )
    assert found.functions == {"+", "b.upper", "count_star", "lag", "range", "query"}
    assert duck("DELETE FROM t").functions is None


def test_sqlite_names_functions_tables_and_columns(light):
    """What the text names is told, with functions behind views; tables behind views are not."""
    found = light("SELECT upper(b), value FROM v, json_each('[1]')")
    assert found.functions == {"upper", "json_each"}
    assert {str(name) for name in found.tables} == {"main.v"}
    assert {str(name) for name in found.columns} == {"main.v.b"}
    written = light("INSERT INTO t (a) SELECT b FROM v")
    assert {str(name) for name in written.tables} == {"main.t", "main.v"}
    assert written.functions == {"lower"}
    copied = light("CREATE TABLE x AS SELECT a FROM t WHERE rowid = 1")
    assert {str(name) for name in copied.columns} == {"main.t.a"}


def test_a_table_that_is_named_like_a_function_is_a_table():
    """A table of a person's own hides a table function of SQLite."""
    link = sqlite3.connect(":memory:")
    link.execute("CREATE TABLE json_each (a)")
    found = sqlite_opinion(link, "SELECT a FROM json_each")
    link.close()
    assert {str(name) for name in found.tables} == {"main.json_each"}
    assert found.functions == set()


def test_sqlite_counts_statements_and_refuses_what_it_cannot_read(light):
    """Two statements are two; what does not prepare is an invalid request."""
    assert light("SELECT 1; SELECT 2").statements == 2
    with pytest.raises(RequestInvalid) as caught:
        light("SELECT nope FROM t")
    assert caught.value.code == "unknown-column"


@pytest.mark.parametrize("pragma", ["user_version", "foreign_keys"])
def test_a_pragma_tells_until_it_is_given_a_value(light, pragma):
    """The same PRAGMA is a read without a value, and a change of a setting with one."""
    assert light(f"PRAGMA {pragma}").effects == READ
    assert light(f"PRAGMA {pragma} = 1").effects == {Effect.SESSION}


@pytest.mark.parametrize("dialect", ["mysql", "oracle", "tsql"])
def test_any_database_counts_statements(dialect):
    """Where no product reads a text without running it, the count is all that is told."""
    found = sqlalchemy_opinion("SELECT 1", dialect)
    assert (found.statements, found.effects, found.functions) == (1, None, None)
    assert sqlalchemy_opinion("SELECT 1; SELECT 2", dialect).statements == 2


# ---------------------------------------------------------------- budgets


DEEP = {
    "brackets": "SELECT " + "(" * 10_000 + "1" + ")" * 10_000,
    "subqueries": "SELECT * FROM " + "(SELECT * FROM " * 2_000 + "t" + ") x" * 2_000,
    "signs": "SELECT " + "- " * 30_000 + "1",
    "negations": "SELECT " + "NOT " * 15_000 + "true",
    "sums": "SELECT 1" + "+1" * 30_000,
    "unions": "SELECT 1" + " UNION SELECT 1" * 4_000,
    "casts": "SELECT a" + "::int" * 12_000,
    "cases": "SELECT " + "CASE WHEN a THEN " * 3_000 + "1" + " END" * 3_000,
    "joins": "SELECT * FROM t" + " JOIN t ON true" * 4_000,
    "open joins": "SELECT * FROM " + "t JOIN " * 9_000 + "t",
    "arrays": "SELECT " + "ARRAY[" * 90 + "1" + "]" * 90,
    "dots": "SELECT a" + ".a" * 30_000,
    "long": "SELECT '" + "x" * 100_000 + "'",
    "nul": "SELECT 1 \0 DROP TABLE t",
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("ask", ["duck", "elephant", "light"], indirect=True)
def test_no_text_is_too_much(ask, kind):
    """A text beyond what a parser reads is refused or read, and ends neither time nor process."""
    sql = DEEP[kind]
    for dialect in PRODUCTS:
        assert classify(sql, dialect, ask(sql))


# ---------------------------------------------------------------- PostgreSQL's own regression SQL


@pytest.mark.skipif(not TRUTH.exists(), reason="the truth file is not beside this checkout")
def test_no_write_of_postgresqls_own_tests_is_called_a_read():
    """Of what PostgreSQL said of its own test SQL: no side effect is a read, most reads are."""
    wrong, queries, reads = [], 0, 0
    with lzma.open(TRUTH, "rt") as lines:
        for number, line in enumerate(lines):
            case = json.loads(line)
            try:
                opinion = postgresql_opinion(case["sql"])
            except NbgovError:
                opinion = None
            is_read = classify(case["sql"], "postgres", opinion) == READ
            if is_read and (case["is_write"] or case["effect"] != "read"):
                wrong.append(number)
            if case["effect"] == "read" and (case["tag"] or "").startswith("SELECT"):
                queries += 1
                reads += is_read
    assert wrong == []
    assert reads >= 0.82 * queries

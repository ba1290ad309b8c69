"""What a statement does: two opinions and the functions. Golden cases: ``tests/cases/effects``.

Those of MySQL need no engine; the others are run in ``tests/backends/test_opinion.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.functions import effect_in
from nbgov.core.statement import agree
from nbgov.core.statement.budget import check_work
from nbgov.core.statement.calls import written_functions
from nbgov.core.statement.effects import classify
from nbgov.core.statement.text import tokenize
from nbgov.errors import RequestInvalid
from nbgov.model import (
    Action,
    Catalog,
    Column,
    Effect,
    EngineOpinion,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases/effects/mysql.yaml").read_text())
READ, WRITE = frozenset({Effect.READ}), frozenset({Effect.WRITE})
UNKNOWN = frozenset({Effect.UNKNOWN})


def effects_of(case):
    """The effects of a case as a set."""
    named = case["effects"] if isinstance(case["effects"], list) else [case["effects"]]
    return {Effect(name) for name in [*named, *filter(None, [case.get("contains")])]}


def statement(sql="SELECT 1", effects=READ, dialect="postgres"):
    return Statement(sql=sql, dialect=dialect, verb="SELECT", effects=effects)


def catalog(dialect="postgres", **functions):
    return Catalog(
        dialect, "public", {}, {f"public.{name}": does for name, does in functions.items()}
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["sql"][:40])
def test_a_text_alone_tells_what_it_does(case):
    """Where no engine has an opinion, the text and the names of its functions decide."""
    assert classify(case["sql"], "mysql", EngineOpinion(1)) == effects_of(case)


@pytest.mark.parametrize(
    ("sql", "opinion", "effects"),
    [
        ("SELECT 1", EngineOpinion(1, READ), READ),
        ("SELECT 1", None, UNKNOWN),
        ("DROP TABLE t", None, {Effect.DDL, Effect.UNKNOWN}),
        ("SELECT 1", EngineOpinion(2), UNKNOWN),
        ("SELECT 1", EngineOpinion(1, WRITE), {Effect.WRITE, Effect.UNKNOWN}),
        ("DELETE FROM t", EngineOpinion(1, READ), {Effect.WRITE, Effect.UNKNOWN}),
        ("DELETE FROM t", EngineOpinion(1, WRITE), WRITE),
        ("SHOW search_path", EngineOpinion(1, READ), READ),
        ("SHOW x.y", EngineOpinion(1, READ), {Effect.SESSION, Effect.UNKNOWN}),
        ("SUMMARIZE t", EngineOpinion(1, READ), READ),
        ("SELECT f(1)", EngineOpinion(1, READ, functions=frozenset({"upper"})), READ),
        ("SELECT upper('a')", EngineOpinion(1, READ, functions=frozenset({"f"})), UNKNOWN),
        ("SELECT nextval('s')", EngineOpinion(1, READ), WRITE),
        ("SELECT @ a, $1", EngineOpinion(1, READ), READ),
        (
            "SELECT a |>> box '(1,1)' FROM t ORDER BY b USING >",
            EngineOpinion(1, READ, functions=frozenset()),
            READ,
        ),
        ("SELECT a ~<~ #*# b +", EngineOpinion(1, READ), UNKNOWN),
    ],
)
def test_both_must_call_it_a_read(sql, opinion, effects):
    """A text is a read when nbgov, the engine and all functions say so."""
    assert classify(sql, "postgres", opinion) == effects


@pytest.mark.parametrize(
    "sql",
    ["SELECT 'open", "", ";", "SELECT " + "(" * 300, "SELECT '" + "x" * 70_000 + "'", "\0", "SELECT 1; SELECT 2",
     "SELECT " + "NOT " * 9_000 + "1", "SELECT * FROM " + "a JOIN " * 40 + "b", "SELECT " + "ARRAY[" * 60],
    ids=range(10),
)  # fmt: skip
@pytest.mark.parametrize("dialect", ["duckdb", "mysql", "postgres", "sqlite", "tsql"])
def test_what_is_beyond_the_budget_is_unknown(sql, dialect):
    """A text that is too long, too deep, too slow to parse or no single statement is no read."""
    assert Effect.UNKNOWN in classify(sql, dialect, EngineOpinion(1, READ, functions=frozenset()))


def test_a_node_that_nobody_looked_at_is_unknown():
    """A part of a query that has no entry may do anything."""
    sql = "SELECT a FROM t MATCH_RECOGNIZE (PARTITION BY a PATTERN (x) DEFINE x AS a > 1)"
    assert classify(sql, "oracle", EngineOpinion(1)) == UNKNOWN


@given(st.text(max_size=60), st.sampled_from(["duckdb", "mysql", "postgres", "sqlite", "tsql"]))
def test_classification_never_fails(sql, dialect):
    """Every text has effects, and without an engine's opinion none is a read."""
    assert Effect.UNKNOWN in classify(sql, dialect, None)
    assert classify(sql, dialect, EngineOpinion(1))


def test_functions_are_part_of_what_a_statement_does():
    """The engine's names replace nbgov's, each with its effect, and the effects are merged."""
    opinion = EngineOpinion(1, READ, functions=frozenset({"upper", "pg_sleep"}))
    found = agree(statement("SELECT lower('a')"), opinion, catalog())
    assert found.functions == {"upper": Effect.READ, "pg_sleep": Effect.SESSION}
    assert found.effects == {Effect.SESSION}
    assert "metadata" not in found.traits


def test_names_come_from_the_text_where_the_engine_is_silent():
    """Without an engine's names, those of the text count."""
    found = agree(statement("SELECT UPPER('a')"), EngineOpinion(1), catalog())
    assert (found.functions, found.effects) == ({"upper": Effect.READ}, READ)
    structure = statement("ALTER TABLE t ADD KEY k (a)", frozenset({Effect.DDL}), "mysql")
    assert agree(structure, EngineOpinion(1), catalog("mysql")).functions == {}


@pytest.mark.parametrize(
    ("effects", "opinion", "expected"),
    [
        (READ, EngineOpinion(1, READ), READ),
        (READ, EngineOpinion(1), READ),
        (READ, EngineOpinion(1, WRITE), {Effect.WRITE, Effect.UNKNOWN}),
        (WRITE, EngineOpinion(1, READ), {Effect.WRITE, Effect.UNKNOWN}),
        (WRITE, EngineOpinion(1, frozenset({Effect.DDL})), {Effect.WRITE, Effect.DDL}),
        (READ, EngineOpinion(2, READ), UNKNOWN),
    ],
)
def test_a_difference_of_opinion_is_unknown(effects, opinion, expected):
    """A statement does what either says, and nobody knows what where only one calls it a read."""
    assert agree(statement(effects=effects), opinion, catalog()).effects == expected


def test_looking_names_up_is_a_trait():
    """A function that tells names or definitions marks its statement."""
    opinion = EngineOpinion(1, READ, functions=frozenset({"to_regclass"}))
    assert agree(statement(), opinion, catalog()).traits == {"metadata"}


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("mine", Effect.READ),
        ("public.mine", Effect.READ),
        ("other.mine", Effect.UNKNOWN),
        ("upper", Effect.UNKNOWN),
        ("pg_catalog.upper", Effect.READ),
        ("lower", Effect.READ),
        ("nextval", Effect.WRITE),
    ],
)
def test_a_persons_function_may_stand_for_a_built_in_one(name, effect):
    """A name means the worst that it can mean: a person's function may overload a built-in one."""
    mine = catalog(mine=Effect.READ, upper=Effect.UNKNOWN, nextval=Effect.READ)
    assert effect_in(name, mine) is effect


def test_a_method_is_the_function_of_that_name():
    """DuckDB calls ``upper`` in ``a.upper()``, unless a schema ``a`` has one."""
    assert effect_in("a.upper", catalog("duckdb")) is Effect.READ
    assert (
        effect_in("a.upper", Catalog("duckdb", "main", {}, {"a.upper": Effect.UNKNOWN}))
        is Effect.UNKNOWN
    )
    assert effect_in("a.mine", catalog("duckdb", mine=Effect.READ)) is Effect.READ


def test_names_are_read_off_the_text():
    """A name before a bracket is a call, unless it names a relation, a type or grammar."""
    sql = 'WITH x (a) AS (SELECT 1) INSERT INTO t (a) SELECT f (1), s."G"(2), CAST(a AS DECIMAL(3)) FROM x AS y (a)'
    assert written_functions(sql, "postgres") == {"f", "s.g"}
    assert written_functions("SELECT f", "postgres") == set()
    assert written_functions("CREATE TABLE t (a INT, KEY k (a))", "mysql") == set()
    assert written_functions("EXPLAIN SELECT f(1) FROM t AS u (a)", "postgres") == {"f"}
    assert written_functions("SELECT * FROM g(1) AS t", "postgres") == {"g"}


def test_joins_and_types_have_a_budget():
    """What sqlglot would read over and over is refused; what looks alike and is fast is not."""
    for sql in ("SELECT * FROM a" + " JOIN b ON c = d" * 900, "SELECT * FROM a" + " CROSS JOIN b" * 900,
                "SELECT * FROM a" + ", b JOIN c" * 900, "SELECT date(a), " * 900 + "1", "SELECT f(" * 90):  # fmt: skip
        check_work(tokenize(sql, "duckdb"))
    for sql in (
        "SELECT * FROM " + "a JOIN " * 30 + "b",
        "SELECT " + "date(" * 30,
        "SELECT * FROM a JOIN (" * 30,
        "SELECT 1" + " UNION SELECT 1" * 1_001,
        "SELECT 1" + " + 1" * 501,
    ):
        with pytest.raises(RequestInvalid, match="too long to parse"):
            tokenize(sql, "duckdb")
    check_work(tokenize("SELECT 1))) + 1", "duckdb"))


def test_a_column_in_the_place_of_a_function_is_read_and_not_called():
    """PostgreSQL takes ``ssn(c)`` for ``c.ssn``, unless anybody has defined a function ``ssn``."""
    name = TableName("public", "people")
    people = Table(name, (Column("ssn", "text"), Column("setval", "text")))
    use = TableUse(name, Action.READ, Span(0, 0), False, frozenset({"ssn"}))
    asked = replace(statement(), tables=(use, replace(use, table=TableName("public", "new"))))
    opinion = EngineOpinion(1, READ, functions=frozenset({"ssn", "setval", "lower", "other"}))

    def called(dialect="postgres", **functions):
        held = replace(catalog(dialect, **functions), tables={name: people})
        return dict(agree(asked, opinion, held).functions)

    others = {"lower": Effect.READ, "other": Effect.UNKNOWN, "setval": Effect.WRITE}
    assert called() == others | {"ssn": Effect.READ}
    assert called(ssn=Effect.WRITE) == others | {"ssn": Effect.WRITE}
    assert called("duckdb")["ssn"] is Effect.UNKNOWN

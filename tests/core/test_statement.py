"""What nbgov makes of a statement. Golden cases: ``tests/cases/statement``."""

from __future__ import annotations

import contextlib
import datetime
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from nbgov.core.statement import (
    bind_names,
    find_binds,
    neutralise,
    parse,
    redact,
    splice,
    take_values,
)
from nbgov.core.statement.names import span_of
from nbgov.core.statement.syntax import read_tree, syntax_error
from nbgov.errors import Denied, NbgovError, RequestInvalid
from nbgov.model import Catalog, ColumnName, Span
from tests.core.conftest import make_catalog

CASES = Path(__file__).parent.parent / "cases" / "statement"
UNDERSTOOD = yaml.safe_load((CASES / "understood.yaml").read_text())
WORDS = """SELECT FROM WHERE people orders name email * , ( ) count( EXPLAIN TABLE WITH x AS UNION ALL
    VALUES 1 'a' JOIN ON USING (id) = GROUP BY ORDER LIMIT DISTINCT people.name x.y COLUMNS( EXCLUDE
    UNPIVOT LATERAL unnest( :v CASE WHEN THEN END ::int OVER TABLESAMPLE ONLY SHOW PRAGMA ;""".split()
REFUSED = yaml.safe_load((CASES / "refused.yaml").read_text())


def short(columns: Any) -> list[str]:
    """Column names as the cases write them."""
    return sorted(str(column).removeprefix("main.") for column in columns)


@pytest.mark.parametrize("case", UNDERSTOOD, ids=lambda case: case["why"])
def test_a_statement_reads_and_writes_what_it_names(case: dict[str, Any], catalog: Catalog) -> None:
    """Outputs, predicates, reads and writes are the base columns that the text names."""
    statement = parse(case["sql"], catalog)
    assert sorted(statement.effects) == case.get("effects", ["read"])
    assert {o.name: short(o.sources) for o in statement.outputs} == case.get("outputs", {})
    if "predicates" in case:
        assert short(statement.predicate_columns) == case["predicates"]
    if "reads" in case:
        read = {ColumnName(use.table, c) for use in statement.tables for c in use.columns}
        assert short(read) == case["reads"]
    assert short(statement.written_columns) == case.get("writes", [])


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["why"])
def test_what_is_not_certain_is_refused(case: dict[str, str], catalog: Catalog) -> None:
    """A text whose meaning is not certain raises the code that its case names."""
    with pytest.raises(NbgovError) as caught:
        parse(case["sql"], catalog)
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite", "postgres", "mysql"])
def test_every_mention_of_a_table_has_its_span(dialect: str) -> None:
    """The span of a table use is exactly the name as written."""
    sql = "SELECT * FROM main.people AS p, orders WHERE p.id IN (SELECT person_id FROM orders)"
    statement = parse(sql, make_catalog(dialect))
    written = [sql[use.span.start : use.span.end] for use in statement.tables]
    assert written == ["main.people", "orders", "orders"]


def test_a_misspelt_name_is_answered_with_the_nearest_one(catalog: Catalog) -> None:
    """An unknown table or column names the one that was probably meant."""
    with pytest.raises(RequestInvalid, match="did you mean 'email'"):
        parse("SELECT emial FROM people", catalog)
    with pytest.raises(RequestInvalid, match="did you mean 'orders'"):
        parse("SELECT * FROM ordrs", catalog)


def test_postgresql_tells_names_apart_by_case() -> None:
    """A quoted name with capitals is another table on PostgreSQL and the same one on DuckDB."""
    sql = 'SELECT * FROM "People"'
    assert parse(sql, make_catalog("duckdb")).is_read
    with pytest.raises(RequestInvalid, match="no table"):
        parse(sql, make_catalog("postgres"))


@pytest.mark.parametrize(
    ("dialect", "name", "mention", "is_expression"),
    [
        ("postgres", "People", "PEOPLE", True),
        ("postgres", '"People"', "people", None),
        ("postgres", '"orders"', "people", False),
        ("duckdb", '"People"', "people", True),
        (
            "sqlite",
            "\N{LATIN CAPITAL LETTER E WITH ACUTE}",
            "\N{LATIN SMALL LETTER E WITH ACUTE}",
            None,
        ),
        ("mysql", "People", "people", None),
        ("mysql", "people", "people", True),
        ("duckdb", "people", "main.people", False),
    ],
)
def test_a_table_is_never_taken_for_an_expression(
    dialect: str, name: str, mention: str, is_expression: bool | None
) -> None:
    """Where engines may tell names apart that differ by case, the statement is refused."""
    sql = f"WITH {name} AS (SELECT 1 AS id) SELECT id FROM {mention}"
    if is_expression is None:
        with pytest.raises(Denied, match="other letters"):
            parse(sql, make_catalog(dialect))
        return
    assert bool(parse(sql, make_catalog(dialect)).tables) is not is_expression


@pytest.mark.parametrize(
    ("sql", "traits"),
    [
        ("DELETE FROM people", {"no-where"}),
        ("DELETE FROM people WHERE 1 = 1", {"always-true-where"}),
        ("DELETE FROM people WHERE id = id", {"always-true-where"}),
        ("UPDATE people SET name = 'x' WHERE NOT FALSE", {"always-true-where"}),
        ("DELETE FROM people WHERE 7", {"always-true-where"}),
        ("DELETE FROM people WHERE id = 1", set()),
        ("INSERT INTO orders VALUES (1, 2, 3, 'x')", set()),
    ],
)
def test_a_write_to_every_row_is_marked(sql: str, traits: set[str], catalog: Catalog) -> None:
    """A WHERE that is absent or always true is a trait of the statement."""
    assert parse(sql, catalog).traits == traits


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a::int", ["a"]),
        ("SELECT ':a', \":a\" -- :a\n/* :a */", []),
        ("SELECT x[1:n], x[:-2], y::text", []),
        ("SELECT * FROM t WHERE n IN :ks AND m=:user LIMIT :n", ["ks", "user", "n"]),
        ("SELECT $$:a$$", []),
    ],
)
def test_a_marker_is_a_colon_and_a_name_where_a_value_may_stand(sql: str, names: list[str]) -> None:
    """Strings, comments, casts and slices hold no markers."""
    assert list(bind_names(sql, "duckdb")) == names


def test_values_arrive_as_plain_python() -> None:
    """NumPy and pandas scalars, arrays and missing values become what every driver takes."""
    sql = "SELECT :a, :b, :c, :d, :e, :f, :g"
    values = take_values(
        find_binds(sql, "duckdb"),
        {
            "a": np.int64(3), "b": pd.Timestamp("2020-01-02"), "c": np.array([1, 2]), "d": pd.NA,
            "e": {"y", "x"}, "f": pd.NaT, "g": [np.int64(1)], "unused": object(),
        },
    )  # fmt: skip
    assert values == {
        "a": 3, "b": datetime.datetime(2020, 1, 2), "c": (1, 2), "d": None,
        "e": ("x", "y"), "f": None, "g": (1,),
    }  # fmt: skip
    assert type(values["a"]) is int


class Turning(datetime.tzinfo):
    """A time zone that answers anew each time."""

    asked = 0

    def utcoffset(self, at: datetime.datetime | None) -> datetime.timedelta:
        """One hour more than the last time."""
        self.asked += 1
        return datetime.timedelta(hours=self.asked)


def test_a_zone_of_the_callers_own_is_asked_once() -> None:
    """What voters are told of a moment is what the database gets; known zones stay."""
    moment = datetime.datetime(2020, 1, 2, tzinfo=Turning())
    at = datetime.time(3, tzinfo=Turning())
    berlin = datetime.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    sql = "SELECT :a, :b, :c"
    values = take_values(find_binds(sql, "duckdb"), {"a": moment, "b": at, "c": [berlin]})
    assert [values["a"].isoformat() for _ in range(2)] == ["2020-01-02T00:00:00+01:00"] * 2
    assert [values["b"].isoformat() for _ in range(2)] == ["03:00:00+01:00"] * 2
    assert values["c"][0].tzinfo is berlin.tzinfo


def test_a_marker_without_a_value_is_an_error() -> None:
    """An undefined name never becomes an empty value."""
    with pytest.raises(RequestInvalid, match=":k"):
        take_values(find_binds("SELECT :k", "duckdb"), {"other": 1})


@pytest.mark.parametrize("value", [object(), [object()], {"a": 1}, list(range(10_001))])
def test_a_value_that_no_database_takes_is_an_error(value: object) -> None:
    """Objects, mappings and endless lists are refused before anything runs."""
    with pytest.raises(RequestInvalid) as caught:
        take_values(find_binds("SELECT :k", "duckdb"), {"k": value})
    assert caught.value.code == "bind-type"


@given(st.text(alphabet="ab'\"-/*:$ \n?1", max_size=40))
def test_redaction_keeps_no_literal(text: str) -> None:
    """No string that is written as a literal survives redaction."""
    secret = "swordfish"
    quoted = text.replace("'", "")
    assert secret not in redact(f"SELECT '{secret}' AS a, {quoted!r}", "duckdb")


def test_a_text_that_cannot_be_read_redacts_to_nothing() -> None:
    """An open quote could hide anything, so that nothing of the text is kept."""
    assert redact("SELECT 'swordfish", "duckdb") == ""


@given(st.text(max_size=30), st.data())
def test_splicing_leaves_everything_else_alone(text: str, data: st.DataObject) -> None:
    """What stands before and after a span is byte for byte what it was."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert splice(text, [(Span(start, end), "X")]) == text[:start] + "X" + text[end:]


def test_overlapping_edits_are_a_broken_promise() -> None:
    """Two edits of one place cannot both be kept."""
    with pytest.raises(RuntimeError, match="overlap"):
        splice("abcdef", [(Span(0, 3), ""), (Span(2, 4), "")])


def test_a_neutral_text_parses_wherever_a_value_may_stand(catalog: Catalog) -> None:
    """Markers become (NULL), in a cast and after IN alike."""
    sql = "SELECT :a::int FROM people WHERE id IN :ids"
    text = neutralise(sql, find_binds(sql, "duckdb"))
    assert text == "SELECT (NULL)::int FROM people WHERE id IN (NULL)"
    assert parse(text, catalog).is_read


@pytest.mark.parametrize(
    "sql", ["SELECT " + "(" * 300 + "1" + ")" * 300, "SELECT '" + "x" * 70_000 + "'"]
)
def test_a_text_out_of_budget_is_refused(sql: str, catalog: Catalog) -> None:
    """Length and nesting have limits, so that the guard itself cannot be exhausted."""
    with pytest.raises(RequestInvalid) as caught:
        parse(sql, catalog)
    assert caught.value.code == "statement-too-large"


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite", "postgres", "mysql"])
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_any_text_is_either_understood_or_refused(dialect: str, text: str) -> None:
    """No text makes the parser fail in another way than an error of nbgov."""
    with contextlib.suppress(NbgovError):
        statement = parse(text, make_catalog(dialect))
        assert all(use.table.name in statement.sql.lower() for use in statement.tables)


def test_a_tree_that_nobody_can_place_is_refused() -> None:
    """A name without a position, and a text without one tree, are denied rather than guessed."""
    with pytest.raises(Denied, match="no position"):
        span_of(exp.table_("people"))
    with pytest.raises(Denied, match="exactly one statement"):
        read_tree("SELECT 1; SELECT 2", "duckdb")
    assert syntax_error(RecursionError()).code == "syntax"


def test_the_parser_logs_no_text(caplog: pytest.LogCaptureFixture) -> None:
    """What sqlglot says about a statement that it does not know holds nothing of it."""
    read_tree("VACUUM 'swordfish'", "postgres")
    read_tree("GRANT swordfish TO swordfish", "postgres")
    assert "swordfish" not in caplog.text

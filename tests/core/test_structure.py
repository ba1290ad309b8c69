"""What nbgov makes of DDL and the rest. Golden cases: ``tests/cases/statement/structure.yaml``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.guard import check
from nbgov.core.statement import parse
from nbgov.core.statement.structure import HEADS
from nbgov.core.statement.text import tokenize
from nbgov.core.statement.words import plain_insert, words_of
from nbgov.errors import Denied, NbgovError, RequestInvalid
from nbgov.model import Column, Effect, Table, TableName
from tests.core.conftest import make_catalog

CASES = yaml.safe_load(
    (Path(__file__).parent.parent / "cases/statement/structure.yaml").read_text(encoding="utf-8")
)


def short(columns: Any) -> list[str]:
    """Column names as the cases write them."""
    return sorted(str(column).removeprefix("main.") for column in columns)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_a_statement_is_told_by_its_form(case: dict[str, Any]) -> None:
    """Effect, traits, tables and flows are what the form says."""
    statement = parse(case["sql"], make_catalog(case.get("dialect", "duckdb")))
    assert statement.effects == {Effect(case.get("effect", "ddl"))}
    assert statement.traits == set(case.get("traits", ["additive"]))
    assert [
        f"{use.action} {use.table.name}: {' '.join(sorted(use.columns))}".strip()
        for use in statement.tables
    ] == case["uses"]
    flows = {str(f.target).removeprefix("main."): short(f.sources) for f in statement.flows}
    assert flows == case.get("flows", {})
    for use in statement.tables:
        written = case["sql"][use.span.start : use.span.end]
        assert written in {use.table.name, case.get("written")}


@pytest.mark.parametrize(
    ("sql", "error", "match"),
    [
        ("CREATE TABLE fresh AS SELECT * FROM nobody", RequestInvalid, "nobody"),
        ("CREATE INDEX i ON nobody (id)", RequestInvalid, "nobody"),
        ("ALTER TABLE nobody ADD COLUMN a int", RequestInvalid, "nobody"),
        ("COMMENT ON TABLE nobody IS 'x'", RequestInvalid, "nobody"),
        (
            "CREATE TABLE fresh AS (WITH d AS (DELETE FROM people RETURNING id) SELECT id FROM d)",
            Denied,
            "delete",
        ),
    ],
)
def test_what_a_definition_names_must_be_there(
    sql: str, error: type[NbgovError], match: str
) -> None:
    """A definition about an absent table is refused, and so is one that writes on the side."""
    with pytest.raises(error, match=match):
        parse(sql, make_catalog("postgres"))


def test_no_text_of_a_statement_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """sqlglot's own warning about a statement that it does not know would quote it."""
    parse("CREATE TABLE fresh (id int) WITHOUT ROWID -- swordfish", make_catalog("sqlite"))
    with pytest.raises(NbgovError):
        parse("WITH a AS (SELECT 1) FROBNICATE 'swordfish'", make_catalog("sqlite"))
    assert caplog.text == ""


def test_a_catalog_of_several_schemas_tells_them_apart() -> None:
    """A table of another schema is named with its schema, and listed by its bare name."""
    catalog = make_catalog("postgres")
    more = Table(TableName("other", "people"), (Column("id", "int"),))
    catalog = dataclasses.replace(catalog, tables={**catalog.tables, more.name: more})
    [use] = parse("ANALYZE other.people", catalog).tables
    assert use.table == more.name
    assert [str(use.table) for use in parse("DROP TABLE people", catalog).tables] == [
        "main.people",
        "other.people",
    ]
    [use, _] = parse("CREATE TABLE other.fresh AS SELECT id FROM people", catalog).tables
    assert use.table == TableName("other", "fresh")


def test_replace_is_an_insert_only_where_it_begins_one() -> None:
    """The function REPLACE, a quoted name and other dialects keep their tokens."""
    for sql, dialect in [
        ("SELECT REPLACE(name, 'a', 'b') FROM people", "mysql"),
        ('SELECT "REPLACE" FROM people', "sqlite"),
        ("INSERT OR REPLACE INTO people VALUES (1)", "sqlite"),
        ("REPLACE INTO people VALUES (1)", "duckdb"),
    ]:
        tokens = list(tokenize(sql, dialect))
        assert plain_insert(tokens, dialect) == tokens
    sql = "REPLACE INTO people VALUES (1)"
    words = [token.text for token in plain_insert(tokenize(sql, "mysql"), "mysql")]
    assert words[:4] == ["INSERT", "OR", "REPLACE", "INTO"]


@given(
    verb=st.sampled_from(sorted(HEADS)),
    tail=st.lists(
        st.sampled_from(["people", "TABLE", "SET", "x", "=", "1", "'x'", "(", ")", "ON", "TO"]),
        max_size=6,
    ),
    dialect=st.sampled_from(["duckdb", "mysql", "postgres", "sqlite"]),
)
def test_no_head_is_taken_for_a_read(verb: str, tail: list[str], dialect: str) -> None:
    """Whatever follows the first word of DDL and the like, it reads nothing and is no plain read."""
    try:
        statement = parse(" ".join([verb, *tail]), make_catalog(dialect))
    except NbgovError:
        return
    # A plan runs nothing, and a pragma may be one that only tells.
    assert not statement.is_read or statement.plan or statement.traits == {"metadata"}


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.get("dialect", "duckdb") == "duckdb" and "traits" not in c],
    ids=lambda case: case["why"],
)
def test_what_is_said_to_add_keeps_all_that_there_is(case: dict[str, Any]) -> None:
    """On DuckDB itself, a form without a finding leaves every row and every old column alone."""
    with duckdb.connect() as engine:
        engine.execute(
            "CREATE TABLE people AS SELECT 1 AS id, 'a' AS name, 'b' AS email, 'EU' AS region"
        )
        statement = parse(case["sql"], make_catalog("duckdb"))
        assert check(statement) == ()
        engine.execute(case["sql"])
        assert engine.sql("SELECT id, name, email, region FROM people").fetchall() == [
            (1, "a", "b", "EU")
        ]


def test_words_keep_quoted_names_apart_from_keywords() -> None:
    """What is quoted has no upper case, and so is never a keyword."""
    words = words_of(tokenize("VACUUM \"full\" 'x' PRIMARY KEY", "postgres"))
    assert [(word.text, word.upper) for word in words] == [
        ("VACUUM", "VACUUM"),
        ("full", ""),
        ("x", ""),
        ("PRIMARY", "PRIMARY"),
        ("KEY", "KEY"),
    ]

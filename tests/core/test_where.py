"""Whether a WHERE picks rows. Golden cases: ``tests/cases/statement/where.yaml``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from sqlglot import exp

from nbgov.core.statement.formula import Constant, First, Opposite, Same, Some, covers, opposite
from nbgov.core.statement.rows import TargetRow
from nbgov.core.statement.where import covers_every_row
from nbgov.errors import Denied
from nbgov.model import Catalog, Column, Table, TableName

CASES = yaml.safe_load(
    (Path(__file__).parent.parent / "cases/statement/where.yaml").read_text(encoding="utf-8")
)
ALL_DIALECTS = "duckdb"
PLANTS = Table(
    TableName("garden", "plants"),
    (
        Column("id", "INTEGER", is_required=True),
        Column("pot_id", "BIGINT", is_required=True),
        Column("weight", "DOUBLE", is_required=True),
        Column("height", "INTEGER"),
        Column("name", "VARCHAR"),
        Column("alive", "BOOLEAN"),
        Column("seen", "TIMESTAMP"),
    ),
)
SHEDS = Table(
    TableName("garden", "sheds"),
    (Column("id", "INTEGER"), Column("place", "VARCHAR"), Column("size", "INTEGER")),
)
TABLES = {table.name: table for table in (PLANTS, SHEDS)}


def cases(kind: str) -> list[tuple[str, str]]:
    """Pairs of dialect and condition."""
    found: list[tuple[str, str]] = []
    for case in CASES[kind]:
        found += case.items() if isinstance(case, dict) else [(ALL_DIALECTS, case)]
    return found


def is_everything(condition: str, dialect: str = ALL_DIALECTS, table: Table = PLANTS) -> bool:
    """What the module under test says."""
    tree = sqlglot.parse_one(f"DELETE FROM {table.name.name} WHERE {condition}", read=dialect)
    row = TargetRow(table, table.name.name, Catalog(dialect, "garden", TABLES))
    return covers_every_row(tree.args["where"].this, row)


@pytest.mark.parametrize(("dialect", "condition"), cases("picks_nothing"))
def test_a_condition_that_picks_nothing_is_seen(dialect: str, condition: str) -> None:
    """What is true for every row, or does not look at the row, is no WHERE."""
    assert is_everything(condition, dialect)


@pytest.mark.parametrize(("dialect", "condition"), cases("picks_rows"))
def test_a_condition_that_picks_rows_is_left_alone(dialect: str, condition: str) -> None:
    """An honest condition is no finding, and neither is one that is never true."""
    assert not is_everything(condition, dialect)


@pytest.mark.parametrize(
    ("kind", "condition", "expected"),
    [
        ("INT UNSIGNED", "size >= 0", True),
        ("UINTEGER", "size >= 0", True),
        ("INT", "size >= 0", False),
        ("SMALLINT", "size < 32768", True),
        ("SMALLINT", "size < 32767", False),
        ("HUGEINT", "size > -99999999999", False),
        ("BLOB", "size = size + 1", False),
        ("BLOB", "size", False),
    ],
)
def test_a_type_bounds_what_a_column_holds(kind: str, condition: str, *, expected: bool) -> None:
    """A comparison with a number that no value of the type reaches picks nothing."""
    table = Table(SHEDS.name, (Column("size", kind),))
    assert is_everything(condition, table=table) is expected


def test_the_types_of_sqlite_bound_nothing() -> None:
    """SQLite keeps a number of any size in a column of any type."""
    assert not is_everything("height > -99999999999", "sqlite")


def test_a_condition_beyond_the_budget_counts_as_one_that_picks_rows() -> None:
    """A table of truth values that grows too large is not written out."""
    condition = " OR ".join(f"height > {n} * weight" for n in range(2, 20))
    assert not is_everything(condition)
    assert is_everything(f"({condition}) OR id = id")


def test_a_condition_nested_too_deep_is_refused() -> None:
    """What cannot be read within the stack is denied, rather than failing some other way."""
    node: exp.Expr = exp.column("height")
    for _ in range(2000):
        node = exp.Case(ifs=[exp.If(this=exp.true(), true=node)])
    row = TargetRow(PLANTS, "plants", Catalog("duckdb", "garden", TABLES))
    with pytest.raises(Denied, match="nested too deep"):
        covers_every_row(node, row)


def test_the_negation_of_a_formula_is_its_opposite() -> None:
    """Twice the opposite is the formula, and NULL stays NULL."""
    odd = Same(Constant(value=True), Constant(None))
    assert opposite(opposite(odd)) == odd
    assert Opposite(odd).truth({}) is None
    assert not covers(First(()))
    assert Some((Constant(None), Constant(value=False))).truth({}) is None


# The law: on rows without NULLs, a condition that is said to pick nothing lets every row through,
# for at least one content of the other table where it asks about that one.
NUMBERS = st.sampled_from(["id", "height", "pot_id", "0", "1", "2", "3", "-1"])
TEXTS = st.sampled_from(["name", "name || ''", "''", "'a'", "'b'"])
OPERATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"])


def sums() -> st.SearchStrategy[str]:
    """Numbers and what can be computed of them."""
    return st.recursive(
        NUMBERS,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda p: f"({' '.join(p)})"),
            inner.map("-({})".format),
            inner.map("ABS(height + {})".format),
            st.tuples(inner, inner).map(lambda p: f"COALESCE({p[0]}, {p[1]})"),
            st.tuples(inner, inner, inner).map(
                lambda p: f"CASE WHEN height = {p[0]} THEN {p[1]} ELSE {p[2]} END"
            ),
        ),
        max_leaves=3,
    )


def comparisons() -> st.SearchStrategy[str]:
    """Conditions without AND and OR."""
    numbers = st.tuples(sums(), OPERATORS, sums()).map(" ".join)
    texts = st.tuples(st.sampled_from(["name", "name || ''"]), OPERATORS, TEXTS).map(" ".join)
    three = st.tuples(sums(), sums(), sums())
    return st.one_of(
        numbers,
        texts,
        three.map(lambda p: f"{p[0]} BETWEEN {p[1]} AND {p[2]}"),
        three.map(lambda p: f"{p[0]} IN ({p[1]}, {p[2]})"),
        three.map(lambda p: f"{p[0]} NOT IN ({p[1]}, {p[2]})"),
        st.sampled_from(["name LIKE '%'", "name LIKE 'a%'", "name NOT LIKE name"]),
        st.sampled_from(["height", "name"]).map("{} IS NULL".format),
        st.sampled_from(["height", "id"]).map("{} IS NOT NULL".format),
        st.sampled_from(["true", "false", "NULL", "EXISTS (SELECT 1 FROM sheds)"]),
    )


def conditions() -> st.SearchStrategy[str]:
    """Conditions of a small grammar."""
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["AND", "OR", "OR"]), inner).map(
                lambda p: f"({' '.join(p)})"
            ),
            inner.map("NOT ({})".format),
            st.tuples(inner, inner, inner).map(
                lambda p: f"CASE WHEN {p[0]} THEN {p[1]} ELSE {p[2]} END"
            ),
            inner.map("({}) IS TRUE".format),
            inner.map("COALESCE({}, false)".format),
        ),
        max_leaves=4,
    )


ROWS = st.lists(
    st.tuples(
        st.integers(1, 4), st.integers(-2, 4), st.integers(1, 3), st.sampled_from(["", "a", "b"])
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Any]]:
    with duckdb.connect() as duck, sqlite3.connect(":memory:") as lite:
        yield {"duckdb": duck, "sqlite": lite}
    lite.close()


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite"])
@given(condition=conditions(), rows=ROWS)
@example(condition="height <> 1 OR height <> 2", rows=[(1, 1, 1, "a"), (2, 2, 2, "b")])
@example(condition="height = 1 OR EXISTS (SELECT 1 FROM sheds)", rows=[(1, 2, 1, "a")])
def test_a_finding_is_never_a_false_alarm(
    dialect: str, engines: dict[str, Any], condition: str, rows: list[tuple[Any, ...]]
) -> None:
    """What is said to pick nothing lets every row without NULLs through, on the engine itself."""
    if not is_everything(condition, dialect):
        return
    values = ", ".join(f"({i}, {h}, {p}, '{n}')" for i, h, p, n in rows)
    passed = [
        engines[dialect]
        .execute(
            f"WITH plants(id, height, pot_id, name) AS (VALUES {values}), "
            f"sheds AS (SELECT 1 AS one WHERE {has_shed}) "
            f"SELECT count(*) FROM plants WHERE {condition}"
        )
        .fetchone()[0]
        for has_shed in ("1 = 1", "1 = 0")
    ]
    assert max(passed) == len(rows)

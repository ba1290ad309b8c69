"""Fidelity of headers and types: a governed result has the raw one's schema, and its rows.

Raw means: the same text through the same engine and driver, without the pipeline. Every statement
runs over tables that are only pinned and over tables that are projected, which it must not notice.
The statements are in ``tests/cases/fidelity/names.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nbgov.backends.sqlalchemy.scratch import scratch as lend_mysql
from nbgov.model import Request
from tests.worlds.test_fidelity import LENDERS, Stand, clear_columns, stand

if TYPE_CHECKING:
    import pyarrow as pa

CASES: dict[str, list[str]] = yaml.safe_load(
    (Path(__file__).parents[1] / "cases" / "fidelity" / "names.yaml").read_text()
)
MASKED = ["staff.wage", "staff.nick"]
TABLES = [
    "CREATE TABLE depts (id INTEGER, name VARCHAR(20))",
    "CREATE TABLE staff (id INTEGER, name VARCHAR(20), dept INTEGER, rate NUMERIC(6,2), joined DATE, spare INTEGER, wage INTEGER, nick VARCHAR(20))",
    "INSERT INTO depts VALUES (10, 'tea'), (20, 'Ops'), (30, NULL)",
    "INSERT INTO staff VALUES (1, 'Ada', 10, 1.50, '2020-02-29', NULL, 7, 'a'), (2, 'Bo', 20, 2.25, '2021-03-01', NULL, 8, 'b'), (3, NULL, 20, NULL, NULL, NULL, 9, NULL)",
    "CREATE VIEW v_staff AS SELECT name AS label, dept + 1 AS next_dept FROM staff",
]  # fmt: skip
OWN: dict[str, list[str]] = {
    "duckdb": [
        'CREATE TABLE odd ("Odd Name" INTEGER, "select" VARCHAR)', "INSERT INTO odd VALUES (1, 'x')",
        "CREATE TYPE mood AS ENUM ('up', 'down')",
        "CREATE TABLE shapes (bits STRUCT(a INTEGER, b VARCHAR), many INTEGER[], uuid UUID, mood mood)",
        "INSERT INTO shapes VALUES ({'a': 1, 'b': 'x'}, [1, 2], '00000000-0000-0000-0000-000000000001', 'up')",
    ],
    "sqlite": [
        'CREATE TABLE odd ("Odd Name" INTEGER, "select" TEXT)', "INSERT INTO odd VALUES (1, 'x')",
        "CREATE TABLE mixed (loose, dept INTEGER, empty REAL, flag BOOLEAN, stamp TIMESTAMP, amount DECIMAL(9,2))",
        "INSERT INTO mixed VALUES (1, 1, NULL, NULL, NULL, NULL), ('two', 2, NULL, 1, '2020-01-01', 3)",
    ],
    "postgresql": [
        'CREATE TABLE odd ("Odd Name" INTEGER, "select" TEXT)', "INSERT INTO odd VALUES (1, 'x')",
        "CREATE TABLE shapes (tags TEXT[], doc JSONB, key UUID)",
        """INSERT INTO shapes VALUES ('{a,b}', '{"a": 1}', '00000000-0000-0000-0000-000000000001')""",
    ],
    "sqlalchemy": [
        "CREATE TABLE odd (`Odd Name` INTEGER, `select` TEXT)", "INSERT INTO odd VALUES (1, 'x')",
    ],
}  # fmt: skip
DIALECTS = {"postgresql": "postgres", "sqlalchemy": "mysql"}


@pytest.fixture(params=OWN, scope="module")
def held(request: pytest.FixtureRequest) -> Iterator[tuple[str, Stand]]:
    """An engine that holds the tables, and its dialect."""
    kind = request.param
    settings: dict[str, Any] = {}
    if kind in {"postgresql", "sqlalchemy"}:
        url = request.getfixturevalue(f"{'postgres' if kind == 'postgresql' else 'mariadb'}_url")
        settings = {"url": url}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LENDERS, "sqlalchemy", lend_mysql)
        with stand(kind, settings, [*TABLES, *OWN[kind]], MASKED) as made:
            yield DIALECTS.get(kind, kind), made


def shape(table: pa.Table) -> list[tuple[str, pa.DataType]]:
    """The names and types of a result's columns."""
    return [(one.name, one.type) for one in table.schema]


def test_a_result_has_the_names_types_and_rows_of_the_raw_one(held: tuple[str, Stand]) -> None:
    """Over tables that are pinned and over tables that are projected, for every statement."""
    dialect, made = held
    asked = [*CASES["all"], *CASES[dialect]]
    assert len(asked) >= 60
    for sql in asked:
        raw = made.raw(sql)
        for pipeline in (made.plain, made.masking):
            shown, result = made.run(pipeline, sql)
            assert shape(shown) == shape(raw), sql
            masked = frozenset(mask.column for mask in result.decision.masks)
            places = clear_columns(result, masked)
            assert len(places) == raw.num_columns or masked or not result.statement.is_resolved
            assert rows(shown, places) == rows(raw, places), sql


def rows(table: pa.Table, places: list[int]) -> str:
    """The values of some columns; NaN is equal to NaN."""
    return repr([table.column(place).to_pylist() for place in places])


def test_a_masked_column_has_the_type_that_it_has_raw(held: tuple[str, Stand]) -> None:
    """Whatever a mask leaves of it, and in a subquery or a set operation too."""
    _, made = held
    for sql in (
        "SELECT wage, nick FROM staff",
        "SELECT s.wage AS w, (SELECT max(id) FROM depts) FROM staff s",
        "SELECT q.w FROM (SELECT wage AS w FROM staff) AS q",
        "SELECT wage FROM staff UNION ALL SELECT wage FROM staff",
        "WITH q AS (SELECT nick, wage FROM staff) SELECT * FROM q WHERE 1 = 0",
    ):
        shown, result = made.run(made.masking, sql)
        assert result.decision.masks, sql
        assert shape(shown) == shape(made.raw(sql)), sql


def test_a_bound_value_is_named_as_the_statement_names_it(held: tuple[str, Stand]) -> None:
    """Its header is the text, not how a driver writes a value; PostgreSQL has a name of its own."""
    dialect, made = held
    sql = "SELECT id + :n, id IN :ids FROM depts ORDER BY id"
    request = Request("w", sql, binds={"n": 1, "ids": [10, 20]})
    with made.plain.run(request) as result:
        names = [one.name for one in result.to_arrow().schema]
    assert names == (["?column?"] * 2 if dialect == "postgres" else ["id + :n", "id IN :ids"])

"""Fidelity: nbgov never changes what a permitted statement means.

With nothing masked, the governed result is the raw one. With masks, every output that no masked
column reaches is still the raw one, rows and types. Raw means: the same text through the same
engine, on the same driver, without the pipeline.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from nbgov import backends
from nbgov.backends.duckdb.scratch import scratch as lend_duckdb
from nbgov.backends.memory import memory_world
from nbgov.backends.postgresql.scratch import scratch as lend_postgresql
from nbgov.backends.sqlite.scratch import scratch as lend_sqlite
from nbgov.core.worlds import script, statement
from nbgov.errors import NbgovError
from nbgov.model import Clearance, ColumnName, Principal, Request, Result
from nbgov.pipeline import Pipeline
from nbgov.ports import Engine
from tests.worlds.shop import shop

CASES = Path(__file__).parents[1] / "cases" / "fidelity"
SCHEMAS = ("trade", "stores")
LENDERS = {"duckdb": lend_duckdb, "postgresql": lend_postgresql, "sqlite": lend_sqlite}
DIALECTS = {"postgresql": "postgres"}
TYPES = {"numeric": "numeric(12,2)"}
ROWS = 160
GENERATED = 150
ANA = Principal("ana", frozenset({"analysts"}))
WORDS = {
    "day": ("MON", "TUE", "WED", "THU", "FRI"), "state": ("F", "O", "P"), "brand": ("B1", "B2", "B3"),
    "segment": ("HOME", "AUTO", "FARM"), "mode": ("AIR", "RAIL", "SHIP"), "flag": ("R", "A", "N"),
    "urgency": ("1-NOW", "2-SOON", "3-LATER"), "type": ("TIN CAN", "TIN BOX", "ZINC TUB"),
    "mail": ("Y", "N"), "risk": ("low", "high", "none"), "kind": ("Books", "Music", "Shoes"),
}  # fmt: skip
PLACES = {"s_state", "h_state"}
SEVERAL = ("TX", "OH", "NY", "ME")


def policy(masked: list[str]) -> str:
    """Everybody reads everything; some columns are masked."""
    tags = {"public": ["w.*.*.*"], "secret": [f"w.*.{name}" for name in masked]}
    rule = {
        "id": "read",
        "effect": "permit",
        "to": {"groups": ["analysts"]},
        "actions": ["read"],
        "on": ["w.*.*"],
        "obligations": {"masks": {"secret": "redact"}},
    }
    if not masked:
        del tags["secret"], rule["obligations"]
    return yaml.safe_dump(
        {"version": 1, "tags": tags, "rules": [rule], "content": {"entities": []}}
    )


def cells(column: str, kind: str, chance: np.random.Generator, rows: int) -> list[str]:
    """The values of a column, as literals: keys count up, other numbers repeat."""
    head, _, tail = column.partition("_")
    if kind == "int" and tail in {"id", "no"}:
        return [str(n) for n in range(1, rows + 1)]
    if kind == "int":
        low, high = {"year": (2000, 2003), "month": (1, 13), "born": (1940, 2005)}.get(
            tail, (1, 40)
        )
        return [str(n) for n in chance.integers(low, high, rows)]
    if kind == "numeric":
        top = 0.1 if tail in {"discount", "tax"} else 100.0
        return [f"{n:.2f}" for n in chance.uniform(0.01, top, rows)]
    if kind == "date":
        years, months, days = (chance.integers(*span, rows) for span in ((1993, 2003), (1, 13), (1, 29)))  # fmt: skip
        return [f"'{y}-{m:02d}-{d:02d}'" for y, m, d in zip(years, months, days, strict=True)]
    pool = SEVERAL if column in PLACES else WORDS.get(tail)
    if column == "d_name":
        pool = WORDS["day"]
    if pool is None:
        pool = tuple(
            f"{stem}{head} {n}" for n, stem in enumerate(("b", "tree ", "PERU", "seen ", "x"))
        )
    picked = chance.integers(0, len(pool), rows)
    return ["NULL" if n % 17 == 16 else f"'{pool[k]}'" for n, k in enumerate(picked)]


def build(schema: dict[str, Any]) -> Iterator[str]:
    """The statements that build a schema with its rows, the same on every engine and run."""
    chance = np.random.default_rng(7)
    for name, columns in schema["tables"].items():
        rows = 12 if name in {"area", "country", "shop", "promo"} else ROWS
        typed = ", ".join(f"{column} {TYPES.get(kind, kind)}" for column, kind in columns.items())
        yield f"CREATE TABLE {name} ({typed})"
        made = zip(*(cells(column, kind, chance, rows) for column, kind in columns.items()), strict=True)  # fmt: skip
        literals = ", ".join(f"({', '.join(row)})" for row in made)
        yield f"INSERT INTO {name} VALUES {literals}"


@dataclass
class Stand:
    """One engine, with a pipeline that masks nothing and one that masks."""

    engine: Engine
    plain: Pipeline
    masking: Pipeline

    def raw(self, sql: str) -> pa.Table:
        """The text as it is, on the engine."""
        stream = self.engine.execute(Clearance(sql, {}, (), is_read=True))
        try:
            return pa.Table.from_batches(list(stream), stream.schema)
        finally:
            stream.close()

    def run(self, pipeline: Pipeline, sql: str) -> tuple[pa.Table, Result]:
        """The governed result."""
        with pipeline.run(Request("w", sql)) as result:
            return result.to_arrow(), result


@contextmanager
def stand(
    kind: str, settings: dict[str, Any], statements: list[str], masked: list[str]
) -> Iterator[Stand]:
    """An engine that holds what the statements make."""
    with LENDERS[kind]("w", settings) as held:
        held.run(*statements)
        engine = backends.load(kind)("w", held.settings)
        made = [
            Pipeline(
                memory_world({"w": engine}, policy=policy(names), principals=[ANA]), session="s"
            )
            for names in ([], masked)
        ]
        try:
            yield Stand(engine, *made)
        finally:
            engine.close()


@pytest.fixture(params=LENDERS)
def engine_kind(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """A kind of engine, and how a scratch database is made on it."""
    kind = request.param
    return kind, {"url": request.getfixturevalue("postgres_url")} if kind == "postgresql" else {}


def same(first: pa.Table, second: pa.Table, *, columns: list[int] | None = None) -> bool:
    """Whether some columns of two tables are equal: names, types and rows, NaN and order too."""
    if first.num_columns != second.num_columns:
        return False
    places = [*range(first.num_columns)] if columns is None else columns
    left, right = (table.select(places) for table in (first, second))
    return (
        left.schema.types == right.schema.types
        and left.column_names == right.column_names
        and repr([column.to_pylist() for column in left.columns])
        == repr([column.to_pylist() for column in right.columns])
    )


def clear_columns(result: Result, masked: frozenset[ColumnName]) -> list[int]:
    """Places of outputs that no masked column reaches, in rows that none chooses."""
    made = result.statement
    if not made.is_resolved or masked & made.predicate_columns:
        return []
    return [
        place
        for place, output in enumerate(made.outputs)
        if not masked & output.sources and not masked & {column for column, _ in output.influences}
    ]


def queries(schema: dict[str, Any], kind: str) -> list[str]:
    """The queries of a schema that an engine has the syntax for."""
    plain = [{"sql": one} if isinstance(one, str) else one for one in schema["queries"]]
    return [one["sql"] for one in plain if kind not in one.get("not", ())]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_query_means_what_it_meant(name: str, engine_kind: tuple[str, dict[str, Any]]) -> None:
    """Unmasked results are the raw ones, and so is every column that no masked column reaches."""
    schema = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    kind, settings = engine_kind
    asked = queries(schema, kind)
    assert len(schema["queries"]) >= {"trade": 22, "stores": 25}[name]
    compared = 0
    with stand(kind, settings, [*build(schema)], schema["masked"]) as made:
        for sql in asked:
            raw = made.raw(sql)
            assert raw.num_rows or raw.num_columns, sql
            assert same(raw, made.run(made.plain, sql)[0]), sql
            shown, result = made.run(made.masking, sql)
            masked = frozenset(mask.column for mask in result.decision.masks)
            places = clear_columns(result, masked)
            compared += len(places)
            # SQLite finds the type of a column in its values, and a NULL has none.
            assert kind == "sqlite" or shown.schema.equals(raw.schema), sql
            assert not places or same(raw, shown, columns=places), sql
    assert compared > 2 * len(asked)


def test_generated_statements_mean_what_they_meant(engine_kind: tuple[str, dict[str, Any]]) -> None:
    """The grammar of the worlds suite finds no statement whose meaning changes."""
    kind, settings = engine_kind
    dialect = DIALECTS.get(kind, kind)
    catalog = shop(dialect)
    made = script(random.Random(2), catalog, "a", masks={})
    chance, ran, compared = random.Random(21), 0, 0
    views = [
        made.views[name] for name in sorted(made.views, key=lambda name: name.name == "v_again")
    ]
    names = ["customers.name", "customers.email", "payroll.salary", "payroll.born"]
    with stand(kind, settings, [*made.statements, *views], names) as held:
        for _ in range(GENERATED):
            sql = statement(chance, catalog)
            if sql.startswith("EXPLAIN"):
                continue
            try:
                governed, _ = held.run(held.plain, sql)
            except NbgovError:
                continue
            ran += 1
            raw = held.raw(sql)
            assert same(raw, governed), sql
            try:
                shown, result = held.run(held.masking, sql)
            except NbgovError:
                continue
            masked = frozenset(mask.column for mask in result.decision.masks)
            places = clear_columns(result, masked)
            compared += len(places)
            assert not places or same(raw, shown, columns=places), sql
    assert ran > 0.6 * GENERATED
    assert compared > 0.3 * ran

"""What a decision costs: reports of many joins, understood for the first time and again."""

from __future__ import annotations

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks.ground import Ground
from benchmarks.measure import MILLISECONDS, Contender, Row, Suite

if TYPE_CHECKING:
    from nbgov.pipeline import Pipeline

SHAPES = Path(__file__).parents[1] / "tests" / "cases" / "statement" / "shapes.yaml"
TABLES = {"d": "days", "h": "shops", "i": "items", "p": "people", "r": "returns", "s": "sales"}
OTHER_TABLES = 60
OTHER_COLUMNS = 20
AGAIN = 50
NUMBERS = itertools.count()  # One for all, so that no text is ever seen twice.
POLICY = """\
version: 1
tags:
  pii.name: ["wh.{schema}.people.p_name"]
  public: ["wh.{schema}.*.*"]
rules:
  - id: analysts-read
    effect: permit
    to: {{names: ["*"]}}
    actions: [read]
    on: ["wh.{schema}.*"]
    obligations: {{masks: {{"pii.*": redact}}}}
content: {{entities: []}}
"""
SOURCES = {"duckdb": ("main", "VARCHAR"), "postgres": ("public", "text")}


def rows() -> Iterator[Row]:
    """nbgov's own time; nobody else decides."""
    for dialect in SOURCES:
        name, told = f"decide.{dialect}", f"parse, resolve, decide, rewrite, verify on {dialect}"
        yield Row(f"{name}.cold", f"{told}: mean of all", f"{dialect}.cold", unit=MILLISECONDS)
        yield Row(f"{name}.worst", f"{told}: the slowest", f"{dialect}.worst", unit=MILLISECONDS)
        yield Row(f"{name}.cached", f"{told}: the same text", f"{dialect}.hot", unit=MILLISECONDS)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """Each dialect with all of the reports, and with its slowest one."""
    assert ground.folder.exists()
    texts = [case["sql"] for case in yaml.safe_load(SHAPES.read_text(encoding="utf-8"))]
    contenders: dict[str, Contender] = {}
    for dialect in SOURCES:
        pipeline = on_paper(dialect, texts)
        slowest = max(texts, key=lambda sql: seconds(cold(pipeline, [sql])))
        decide = "nbgov check"
        contenders |= {
            f"{dialect}.cold": Contender(decide, cold(pipeline, texts), len(texts)),
            f"{dialect}.worst": Contender(decide, cold(pipeline, [slowest])),
            f"{dialect}.hot": Contender(decide, hot(pipeline, texts), len(texts) * AGAIN),
        }
    return contenders


def on_paper(dialect: str, texts: list[str]) -> Pipeline:
    """A pipeline over a catalog in which the tables of the reports are a few among many."""
    from nbgov.model import Catalog, Column, Principal, Table, TableName
    from nbgov.wiring import offline

    schema, kind = SOURCES[dialect]
    held: dict[str, set[str]] = defaultdict(set)
    for letter, rest in re.findall(r"\b([dhiprs])_(\w+)\b", " ".join(texts)):
        held[TABLES[letter]].add(f"{letter}_{rest}")
    for number in range(OTHER_TABLES):
        held[f"other_{number}"] = {f"c{column}" for column in range(OTHER_COLUMNS)}
    tables = [
        Table(TableName(schema, name), tuple(Column(column, kind) for column in sorted(columns)))
        for name, columns in held.items()
    ]
    catalog = Catalog(dialect, schema, {table.name: table for table in tables})
    policy = POLICY.format(schema=schema)
    return offline(catalog, connection="wh", policy=policy, principal=Principal("ada"))


def cold(pipeline: Pipeline, texts: list[str]) -> Callable[[], object]:
    """Every text once, as one that was not seen before."""

    def run() -> object:
        number = next(NUMBERS)
        return [check(pipeline, f"{sql} -- {number}") for sql in texts]

    return run


def hot(pipeline: Pipeline, texts: list[str]) -> Callable[[], object]:
    """Every text many times; all but the first are remembered."""
    return lambda: [check(pipeline, sql) for _ in range(AGAIN) for sql in texts]


def check(pipeline: Pipeline, sql: str) -> str | None:
    """Decide a text."""
    from nbgov.model import Request

    return pipeline.check(Request("wh", sql)).sql


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of the better of two runs, to find the slowest text."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


SUITE = Suite(tuple(rows()), prepare, rounds=5)

"""Retraining pairs that differ in exactly one thing, read through governed sessions on DuckDB.

``python -m tests.drift.pairs`` makes them all, compares them, and prints how often the true cause
stood first. Everything comes from fixed seeds.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import nbgov
from nbgov.core.drift import DriftReport, compare
from nbgov.model import DatasetVersion, Run, RunInput
from tests.drift.worlds import WORLDS, World

CONFIG = """
version: 1
policy: policy.yaml
state: state
connections: {wh: {kind: duckdb, path: wh.duckdb}}
principals: {ada: {groups: [analysts]}}
"""
POLICY = """
version: 1
tags:
  public: [%(public)s]
  pii.hidden: [%(pii)s]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["wh.main.*"]
    obligations: {%(obligations)s}
"""
SELECT = "SELECT * FROM train"


@dataclass(frozen=True)
class Read:
    """How a training set is read.

    Attributes:
        table: The rows of the table ``train``.
        sql, binds: What is asked.
        masks, filters: Obligations of the policy, as YAML.
    """

    table: pa.Table
    sql: str = SELECT
    binds: Mapping[str, Any] = field(default_factory=dict)
    masks: str = ""
    filters: str = ""


@dataclass(frozen=True)
class Pair:
    """Two runs, and the one thing that differs.

    Attributes:
        kind: What was changed: the name of its group.
        world: The table.
        kinds: Kinds of causes that name it.
        subject: What the first cause has to be about; empty for any.
        baseline, current: The runs.
        versions: What they read.
    """

    kind: str
    world: str
    kinds: frozenset[str]
    subject: str
    baseline: Run
    current: Run
    versions: Mapping[str, DatasetVersion]

    def report(self) -> DriftReport:
        """The comparison."""
        return compare(self.baseline, self.current, self.versions)

    def is_first(self, report: DriftReport) -> bool:
        """Whether the true cause stands first."""
        if not report.causes:
            return False
        first = report.causes[0]
        return first.kind in self.kinds and self.subject in {"", first.subject}


class House:
    """A folder with a warehouse that is read through governed sessions."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        folder.mkdir(parents=True)
        (folder / "nbgov.yaml").write_text(CONFIG)
        self.kept: dict[Any, tuple[RunInput, DatasetVersion]] = {}
        self.held: list[pa.Table] = []

    def read(self, one: Read) -> tuple[RunInput, DatasetVersion]:
        """The input and the version of a read; each is made once."""
        key = (id(one.table), one.sql, repr(one.binds), one.masks, one.filters)
        if key not in self.kept:
            self.held.append(one.table)  # So that its id stays its own.
            self.kept[key] = self.governed(one)
        return self.kept[key]

    def governed(self, one: Read) -> tuple[RunInput, DatasetVersion]:
        """Read through a session of its own."""
        self.write(one)
        with nbgov.connect(self.folder, as_="ada") as session:
            result = session.sql(one.sql, binds=dict(one.binds), dataset="train")
            result.to_arrow()
            mark = result.mark()
            version = session.version(mark["version"])
            delivery = session.delivery(mark["read"])
        found = RunInput(
            version.name, version.version_id, "training", "autolog",
            labels=(self.world.label,), sources=delivery.sources, read_at=delivery.at,
        )  # fmt: skip
        return found, version

    def write(self, one: Read) -> None:
        """The warehouse and the policy of a read. Equal rows leave the file as it is."""
        path, held = self.folder / "wh.duckdb", getattr(self, "written", None)
        if held is not one.table:
            path.unlink(missing_ok=True)
            with duckdb.connect(str(path)) as connection:
                connection.register("given", one.table)
                connection.execute("CREATE TABLE train AS SELECT * FROM given")
            self.written = one.table
        masked = one.masks.partition(":")[0].strip()
        public = (
            [f'"wh.main.train.{name}"' for name in one.table.column_names if name != masked]
            if self.world.is_public
            else ['"wh.main.none.none"']
        )
        obligations = []
        if one.masks:
            obligations.append(f"masks: {{pii.hidden: {one.masks.partition(':')[2].strip()}}}")
        if one.filters:
            obligations.append(f'row_filter: "{one.filters}"')
        text = POLICY % {
            "public": ", ".join(public),
            "pii": f'"wh.main.train.{masked}"' if masked else '"wh.main.none.other"',
            "obligations": ", ".join(obligations),
        }
        (self.folder / "policy.yaml").write_text(text)


# ---------------------------------------------------------------- one change each

Change = Callable[[pa.Table, World, np.random.Generator], pa.Table]


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with one column made anew."""
    return table.set_column(table.schema.get_field_index(name), name, values)


def fewer(table: pa.Table, world: World, chance: np.random.Generator) -> pa.Table:
    """Some rows are gone, at random."""
    keep = chance.random(table.num_rows) < chance.uniform(0.4, 0.75)
    return table.filter(pa.array(keep))


def one_level_gone(table: pa.Table, world: World, chance: np.random.Generator) -> pa.Table:
    """All rows of one level are gone."""
    labels = pc.value_counts(table[world.text]).field("values").to_pylist()
    gone = labels[int(chance.integers(len(labels)))]
    return table.filter(pc.fill_null(pc.not_equal(table[world.text], gone), True))


def more(table: pa.Table, world: World, chance: np.random.Generator) -> pa.Table:
    """Rows of the same kind were added."""
    extra = world.draw(int(chance.integers(10**6, 10**7)))
    count = int(table.num_rows * chance.uniform(0.3, 0.9))
    return pa.concat_tables([table, extra.slice(0, count)]).combine_chunks()


def in_unit(factor: float) -> Change:
    """A column in another unit."""

    def change(table: pa.Table, world: World, _: np.random.Generator) -> pa.Table:
        column = table[world.number]
        return replaced(table, world.number, pc.multiply(pc.cast(column, pa.float64()), factor))

    return change


def nulled(share: float, *, is_text: bool) -> Change:
    """Some values of a column are gone."""

    def change(table: pa.Table, world: World, chance: np.random.Generator) -> pa.Table:
        name = world.text if is_text or not world.number else world.number
        gone = pa.array(chance.random(table.num_rows) < share)
        column = table[name]
        return replaced(table, name, pc.if_else(gone, pa.nulls(len(column), column.type), column))

    return change


def new_level(share: float) -> Change:
    """Some rows have a level that was never there."""

    def change(table: pa.Table, world: World, chance: np.random.Generator) -> pa.Table:
        hit = pa.array(chance.random(table.num_rows) < share)
        return replaced(table, world.text, pc.if_else(hit, "ZZ", table[world.text]))

    return change


def merged_level(table: pa.Table, world: World, chance: np.random.Generator) -> pa.Table:
    """A level is written as another one."""
    counts = pc.value_counts(table[world.text].drop_null()).to_pylist()
    order = [one["values"] for one in sorted(counts, key=lambda one: -one["counts"])]
    gone, into = order[1], order[0]
    column = table[world.text]
    return replaced(table, world.text, pc.if_else(pc.equal(column, gone), into, column))


def dropped(table: pa.Table, world: World, _: np.random.Generator) -> pa.Table:
    """A column is gone."""
    return table.drop_columns([world.text])


def renamed(table: pa.Table, world: World, _: np.random.Generator) -> pa.Table:
    """A column has another name."""
    return table.rename_columns({world.text: f"{world.text}_code"})


def widened(table: pa.Table, _: World, chance: np.random.Generator) -> pa.Table:
    """There is one column more."""
    return table.append_column("score", pa.array(chance.normal(size=table.num_rows)))


def retyped(table: pa.Table, world: World, _: np.random.Generator) -> pa.Table:
    """Numbers have become text; or text has become its length."""
    if world.number:
        return replaced(table, world.number, pc.cast(table[world.number], pa.string()))
    return replaced(table, world.text, pc.utf8_length(table[world.text]))


def noisy(share: float) -> Change:
    """Some labels are drawn anew; their shares stay about as they are."""

    def change(table: pa.Table, world: World, chance: np.random.Generator) -> pa.Table:
        values = table[world.label].to_pylist()
        for place in np.flatnonzero(chance.random(len(values)) < share):
            values[place] = values[int(chance.integers(len(values)))]
        return replaced(table, world.label, pa.array(values, table[world.label].type))

    return change


DATA_CHANGES: Mapping[str, tuple[Change, ...]] = {
    "rows": (fewer, more, one_level_gone),
    "unit": (in_unit(60), in_unit(0.001), in_unit(2.54)),
    "nulls": (nulled(0.04, is_text=False), nulled(0.15, is_text=True), nulled(0.5, is_text=False)),
    "category": (new_level(0.05), new_level(0.2), merged_level),
    "schema": (dropped, renamed, widened, retyped),
    "label noise": (noisy(0.05), noisy(0.3)),
}
EXPECTED = {
    "rows": {"rows"},
    "unit": {"unit"},
    "nulls": {"nulls"},
    "category": {"levels"},
    "schema": {"schema"},
    "label noise": {"labels"},
    "where": {"statement"},
    "bind": {"binds"},
    "mask": {"masks"},
    "filter": {"policy"},
    "parameter": {"params"},
    "seed": {"seeds"},
    "code": {"code"},
    "package": {"packages"},
}
# Of a column that may not be looked into, only counts and hash buckets tell.
EXPECTED_HIDDEN = {"unit": {"distribution"}, "category": {"distribution", "levels"}}
RUN_CHANGES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "parameter": (
        {"params": {"max_depth": "8", "random_state": "1", "n_estimators": "100"}},
        {"params": {"max_depth": "6", "random_state": "1"}},
    ),
    "seed": (
        {"params": {"max_depth": "6", "random_state": "2", "n_estimators": "100"}},
        {"environment": {"python": "3.11.9", "cpu": "epyc", "hash_seed": "7"}},
    ),
    "code": (
        {"code": {"commit": "b" * 40, "diff": "d1", "cells": "c1 c2"}},
        {"code": {"commit": "a" * 40, "diff": "d2", "cells": "c1 c2"}},
        {"code": {"commit": "a" * 40, "diff": "d1", "cells": "c1 c3"}},
    ),
    "package": (
        {"packages": {"numpy": "2.4.0", "scikit-learn": "1.8.0", "tqdm": "4.66"}},
        {"packages": {"numpy": "2.3.0", "scikit-learn": "1.7.0", "tqdm": "4.66"}},
    ),
}
RUN = {
    "params": {"max_depth": "6", "random_state": "1", "n_estimators": "100"},
    "code": {"commit": "a" * 40, "diff": "d1", "cells": "c1 c2"},
    "packages": {"numpy": "2.3.0", "scikit-learn": "1.8.0", "tqdm": "4.66"},
    "environment": {"python": "3.11.9", "cpu": "epyc", "hash_seed": "0"},
    "metrics": {"auc": 0.91},
}
SUBJECTS = {
    "unit": lambda world, _: world.number,
    "nulls": lambda world, place: world.text if place == 1 or not world.number else world.number,
    "category": lambda world, _: world.text,
    "label noise": lambda world, _: world.label,
}


def run_of(name: str, one: RunInput, **facts: Any) -> Run:
    """A run on one input."""
    made = RUN | {"metrics": {"auc": 0.91 if name == "baseline" else 0.9}} | facts
    return Run(name, name, (one,), **made)


def make_pairs(folder: Path, *, per_world: int = 1) -> Iterator[Pair]:
    """All pairs of all worlds, over and over with other rows."""
    for round_ in range(per_world):
        for world in WORLDS:
            yield from world_pairs(House(folder / f"{world.name}-{round_}", world), round_)


def world_pairs(house: House, round_: int) -> Iterator[Pair]:
    """The pairs of one world: by rows, by what was asked, by the run."""
    world, chance = house.world, np.random.default_rng([round_, len(house.world.name)])
    base, other = (world.draw(seed) for seed in (100 + round_, 5_000 + round_))
    first = house.read(Read(base))
    for kind, changes in DATA_CHANGES.items():
        if kind == "unit" and not world.number:
            continue
        for place, change in enumerate(changes):
            is_exact = kind in {"label noise", "schema"} or place % 2 == 0
            # Other labels for other features cannot be told from new rows.
            source = base if is_exact or change is one_level_gone else other
            found = house.read(Read(change(source, world, chance)))
            subject = SUBJECTS[kind](world, place) if kind in SUBJECTS else ""
            yield pair(house, kind, (first, found), subject=subject)
    yield from asked_pairs(house, base, chance)
    second = house.read(Read(other))
    for kind, changes in RUN_CHANGES.items():
        for place, facts in enumerate(changes):
            found = first if (place + round_) % 2 == 0 else second
            yield pair(house, kind, (first, found), **facts)


def asked_pairs(house: House, base: pa.Table, chance: np.random.Generator) -> Iterator[Pair]:
    """The same table, asked for otherwise or under another policy."""
    world = house.world
    counts = pc.value_counts(base[world.text].drop_null()).to_pylist()
    top = max(counts, key=lambda one: one["counts"])["values"]
    name = f'"{world.text}"'
    plain = house.read(Read(base))
    narrow = house.read(Read(base, f"SELECT * FROM train WHERE {name} <> '{top}'"))
    half = house.read(Read(base, f"SELECT * FROM train WHERE {name} = '{top}'"))
    present = house.read(Read(base, f'SELECT * FROM train WHERE {name} = \'{top}\' AND "{world.label}" IS NOT NULL AND hash({name}, "{base.column_names[0]}") % 3 > 0'))  # fmt: skip
    yield pair(house, "where", (plain, narrow))
    yield pair(house, "where", (half, narrow))
    yield pair(house, "where", (half, present))
    asked = f"SELECT * FROM train WHERE {name} = :level"
    other = min(counts, key=lambda one: one["counts"])["values"]
    bound = [house.read(Read(base, asked, {"level": one})) for one in (top, other)]
    yield pair(house, "bind", (bound[0], bound[1]))
    listed = f"SELECT * FROM train WHERE {name} IN :levels"
    lists = [house.read(Read(base, listed, {"levels": one})) for one in ((top,), (top, other))]
    yield pair(house, "bind", (lists[0], lists[1]))
    for masks in (f"{world.text}: redact", f"{world.text}: 'null'"):
        masked = house.read(Read(base, masks=masks))
        yield pair(house, "mask", (plain, masked), subject=world.text)
    filtered = house.read(Read(base, filters=f"{world.text} <> '{top}'"))
    yield pair(house, "filter", (plain, filtered))


def pair(
    house: House,
    kind: str,
    reads: tuple[tuple[RunInput, DatasetVersion], tuple[RunInput, DatasetVersion]],
    *,
    subject: str = "",
    **facts: Any,
) -> Pair:
    """A pair of runs on two reads."""
    kinds = EXPECTED[kind]
    if not house.world.is_public:
        kinds = EXPECTED_HIDDEN.get(kind, kinds)
    return Pair(
        kind=kind,
        world=house.world.name,
        kinds=frozenset(kinds),
        subject=subject,
        baseline=run_of("baseline", reads[0][0]),
        current=run_of("current", reads[1][0], **facts),
        versions={version.version_id: version for _, version in reads},
    )


def main() -> None:
    """Make the pairs, and say how often the true cause stood first."""
    per_world = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    asked, right = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for one in make_pairs(Path(folder), per_world=per_world):
            report = one.report()
            asked[one.kind] += 1
            right[one.kind] += one.is_first(report)
            if not one.is_first(report):
                sys.stdout.write(f"{one.world} {one.kind} {one.subject}: {report.verdict}\n")
    for kind, count in [*asked.items(), ("all", asked.total())]:
        found = right[kind] if kind in asked else right.total()
        sys.stdout.write(f"{kind:<12} {found:>3} of {count:>3}\n")


if __name__ == "__main__":
    main()


__all__ = ["Pair", "make_pairs", "replace"]

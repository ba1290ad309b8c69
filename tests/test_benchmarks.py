"""The benchmarks run and write what they promise. Their figures are nobody's assertion."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.__main__ import SUITES, main
from benchmarks.measure import COST, RATE

ROOT = Path(__file__).resolve().parents[1]
ROWS = [row for suite in SUITES for row in suite.rows]


def test_a_row_is_measured_and_written(tmp_path):
    """``python -m benchmarks`` prints the rows asked for and writes them in the stated shape."""
    output = tmp_path / "results" / "latest.json"
    command = [sys.executable, "-m", "benchmarks", "--only", "audit.append", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--output", output], cwd=ROOT, capture_output=True, text=True, check=True
    )
    results = json.loads(output.read_text(encoding="utf-8"))
    assert list(results) == ["machine", "versions", "rows"]
    assert {"duckdb", "mlflow", "nbgov", "presidio-analyzer", "python"} <= set(results["versions"])
    [row] = results["rows"]
    assert list(row) == ["id", "work", "ours", "peer", "value", "unit"]
    assert row["id"] == "audit.append"
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
    assert not [row.id for row in ROWS if row.unit in {COST, RATE} and not row.peer]


def test_every_row_is_explained():
    """docs/benchmarks.md explains each row, by its id or by a family that ends in ``.*``."""
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    names = set(re.findall(r"^\| `([a-z0-9_.]+?)(?:\.\*)?` \|", text, flags=re.MULTILINE))
    assert not [row.id for row in ROWS if not any(f"{row.id}.".startswith(f"{n}.") for n in names)]
    assert not [n for n in names if not any(f"{row.id}.".startswith(f"{n}.") for row in ROWS)]

"""Evidently's data drift preset on pairs of Parquet files; runs in ``.venv-evidently`` by itself.

Usage: ``.venv-evidently/bin/python benchmarks/drift_evidently.py FOLDER``; prints one JSON object of
pair to columns called drifted, processor seconds, and the peak of memory that it took on top of its
imports, in megabytes. :mod:`benchmarks.drift` calls it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"
NAMED = re.compile(r"ValueDrift\(column=(.+),method=(.+),threshold=(.+)\)")


def main() -> None:
    """Compare every pair of the folder."""
    warnings.simplefilter("ignore")
    import pandas as pd
    from evidently import Report  # type: ignore[import-not-found]
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

    found = {}
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        sides = [pd.read_parquet(folder / f"{name}.parquet") for name in ("before", "after")]
        before_mb = forget_peak()
        start = time.process_time()
        report = Report([DataDriftPreset()]).run(sides[1], sides[0])
        drifted = drifted_columns(report.dict())
        found[folder.name] = {
            "columns": drifted,
            "cpu_s": time.process_time() - start,
            "mb": memory_mb("VmHWM") - before_mb,
        }
    sys.stdout.write(json.dumps(found) + "\n")


def drifted_columns(report: dict[str, Any]) -> list[str]:
    """Columns beyond the threshold that Evidently chose: below for a chance, above for a distance."""
    columns = []
    for metric in report["metrics"]:
        match = NAMED.fullmatch(metric["metric_name"])
        if match is None:
            continue
        name, method, threshold = match[1], match[2], float(match[3])
        value = float(metric["value"])
        is_chance = "p_value" in method
        if value < threshold if is_chance else value >= threshold:
            columns.append(name)
    return columns


def memory_mb(name: str) -> float:
    """Memory of this process: ``VmRSS`` now, or ``VmHWM`` at its peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1024


def forget_peak() -> float:
    """Start the peak anew, and give the memory that is in use."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory_mb("VmRSS")


if __name__ == "__main__":
    main()

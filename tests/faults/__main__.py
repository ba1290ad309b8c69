"""Try every fault and print a row for each: ``python -m tests.faults [--write] [--quick]``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from tests.faults import disks
from tests.faults.kills import dropped_streams, killed, killed_streams
from tests.faults.power import power_lost
from tests.faults.table import Row, text_of
from tests.surfaces import house

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->\n", "<!-- faults: end -->\n"
ROWS = 300_000
Case = tuple[Row, Callable[[Row, Path], None]]


def cases(scale: float) -> Iterator[Case]:
    """Every fault, in the order of the table."""

    def times(count: int) -> int:
        return max(1, int(count * scale))

    yield (
        Row("`kill -9` of a process that appends from 8 threads"),
        lambda row, at: killed(row, at, runs=times(240), seed=1, tears=6),
    )
    yield (
        Row("power loss (model): what was not synced vanishes or is torn", is_modelled=True),
        lambda row, at: power_lost(row, at, points=times(6_000), seed=2),
    )
    yield (
        Row("control: the same, and nothing is ever synced", is_control=True, is_modelled=True),
        lambda row, at: power_lost(row, at, points=times(400), seed=3, has_syncs=False),
    )
    yield Row("session killed while its rows stream"), streams(killed_streams, times(30))
    yield Row("consumer gone while rows stream"), streams(dropped_streams, times(40))
    yield (
        Row("disk full: a file may not grow (`RLIMIT_FSIZE`)"),
        lambda row, at: disks.full(row, at, runs=times(20)),
    )
    yield (
        Row("disk full: a file system of 1 MiB"),
        lambda row, at: disks.tiny(row, at / "tiny"),
    )
    yield (
        Row("`EIO` from one sync, then a disk that works"),
        lambda row, at: disks.broken_once(row, at, runs=times(14)),
    )
    yield (
        Row("folder that cannot be written to"),
        disks.read_only,
    )
    yield Row("disk that hangs"), lambda row, at: disks.hung(row, at, runs=times(6))
    for change, told in (
        (disks.removed, "removed"),
        (disks.renamed, "renamed"),
        (disks.truncated, "copied and truncated"),
        (disks.replaced, "replaced by an equal file"),
        (disks.appended, "appended to by somebody else"),
    ):
        yield (
            Row(f"live log {told}"),
            lambda row, at, change=change: disks.taken(row, at, change, runs=max(2, times(10))),
        )
    yield (
        Row("several writers, one log"),
        lambda row, at: disks.shared(row, at, processes=2, pairs=times(300)),
    )
    yield Row("clock back by an hour"), disks.clock_back


def streams(case: Callable[..., None], runs: int) -> Callable[[Row, Path], None]:
    """A fault of a session in a small house."""

    def work(row: Row, at: Path) -> None:
        built = house.build(at)
        with duckdb.connect(built / "wh.duckdb") as connection:
            connection.execute(
                f"INSERT INTO people SELECT i, NULL, 'red', NULL FROM range({ROWS}) t(i)"
            )
        case(row, built, runs=runs)

    return work


def run(scale: float) -> list[Row]:
    """Try every fault."""
    rows = []
    for row, work in cases(scale):
        begun = time.monotonic()
        # The model needs no disk of its own: what it loses is in its own hands.
        place = "/dev/shm" if row.is_modelled and Path("/dev/shm").is_dir() else None
        with tempfile.TemporaryDirectory(prefix="nbgov-faults-", dir=place) as folder:
            work(row, Path(folder))
        took = time.monotonic() - begun
        mark = "ok   " if row.is_sound else "FAILS"
        sys.stdout.write(
            f"{mark} {row.fault:<62} {row.runs:>6,} times, {row.acknowledged:>9,} acknowledged,"
            f" {row.lost:>6,} lost  {took:5.1f} s\n      {row.told}\n"
        )
        for problem in row.problems[:3]:
            sys.stdout.write(f"      {problem}\n")
        sys.stdout.flush()
        rows.append(row)
    return rows


def write(rows: list[Row]) -> None:
    """Put the table into the page."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, foot = rest.partition(END)
    kernel = ".".join(platform.release().split(".")[:2])
    machine = f"{os.cpu_count()} cores, {platform.system()} {kernel}"
    about = f"Run on {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {machine}.\n"
    PAGE.write_text(f"{head}{BEGIN}{text_of(rows)}\n{about}{END}{foot}")


def main() -> None:
    """Exit with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as often")
    options = parser.parse_args()
    rows = run(options.scale)
    if options.write:
        write(rows)
    sys.exit(not all(row.is_sound for row in rows))


if __name__ == "__main__":
    main()

"""Rows of the table, the contenders behind them, and how their CPU time is taken.

Contenders of one suite take turns, round by round, so that a change in the machine's mood hits all
of them. The least time of all rounds counts: noise only ever adds. CPU time is that of the whole
process, its threads included; waiting for a disk is not in it.
"""

from __future__ import annotations

import cProfile
import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.ground import Ground

COST = "x peer CPU"
TIME = "x peer time"
RATE = "x peer rate"
ADDED = "s CPU more"
CALLS = "x Python calls"
SECONDS = "s CPU"
MILLISECONDS = "ms CPU per call"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, before it is measured.

    Attributes:
        id: Stable dotted name.
        work: What is done, for people.
        ours: Key of nbgov's contender.
        peer: Key of the contender that it is held against, or empty.
        unit: ``COST``, ``TIME`` and ``RATE`` are ratios to the peer; a lower cost, a shorter time
            and a higher rate are better. ``CALLS`` is a ratio of Python calls, for contenders that count them. ``ADDED``
            is what nbgov takes more than the peer. ``SECONDS`` and ``MILLISECONDS`` are nbgov's
            own figure.
    """

    id: str
    work: str
    ours: str
    peer: str = ""
    unit: str = COST


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a piece of work.

    Attributes:
        name: What it is called in the table.
        run: Does the work once.
        units: How many calls, values or records one run is made of.
        gauge: What is taken of a run: CPU seconds, or Python calls.
        unit: What the units are, where a rate is to say so.
    """

    name: str
    run: Callable[[], object]
    units: int = 1
    gauge: Callable[[Callable[[], object]], float] | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Rows whose contenders take turns.

    Attributes:
        rows: The rows.
        prepare: Builds what the contenders with these keys need, and hands them over.
        rounds: How often each contender runs, unless the caller says otherwise.
    """

    rows: tuple[Row, ...]
    prepare: Callable[[Ground], Mapping[str, Contender]]
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What one contender took: the least CPU seconds, or calls, of all rounds, for one unit."""

    contender: Contender
    seconds: float

    def text(self, unit: str) -> str:
        """The contender's name and figure."""
        if unit == RATE:
            return (
                f"{self.contender.name}: {1 / self.seconds:,.0f} {self.contender.unit}".rstrip()
                + "/s"
            )
        if unit == CALLS:
            return f"{self.contender.name}: {self.seconds:,.0f} calls"
        if self.seconds >= 1:
            return f"{self.contender.name}: {self.seconds:.2f} s"
        return f"{self.contender.name}: {self.seconds * 1000:.3g} ms"


def measure(
    contenders: Mapping[str, Contender], *, rounds: int, tell: Callable[[str], object]
) -> dict[str, Measured]:
    """Let contenders take turns.

    Args:
        contenders: The contenders by key.
        rounds: How often each one runs.
        tell: Hears the key of each contender that has run.

    Returns:
        The measurement of each contender, by key.
    """
    seconds = dict.fromkeys(contenders, float("inf"))
    for turn in range(rounds):
        # Every second round goes backwards, so that nobody always runs right behind the same one.
        for key in list(contenders)[:: -1 if turn % 2 else 1]:
            gauge = contenders[key].gauge or cpu_seconds
            seconds[key] = min(seconds[key], gauge(contenders[key].run))
            tell(key)
    return {key: Measured(one, seconds[key] / one.units) for key, one in contenders.items()}


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one run; tidying up before and after it is not counted."""
    gc.collect()
    start = time.process_time()
    kept = run()
    taken = time.process_time() - start
    del kept
    return taken


def python_calls(run: Callable[[], object]) -> float:
    """How many Python functions, built-in ones included, one run calls in this thread."""
    profile = cProfile.Profile()
    profile.runcall(run)
    return float(sum(entry.callcount for entry in profile.getstats()))


def judge(row: Row, measured: Mapping[str, Measured]) -> dict[str, str | float]:
    """A row with its figures, as it stands in the results."""
    ours, peer = measured[row.ours], measured.get(row.peer)
    if row.unit in {COST, TIME, RATE, CALLS, ADDED}:
        assert peer is not None, f"{row.id} has no peer"
        ratio = ours.seconds / peer.seconds
        value = 1 / ratio if row.unit == RATE else ratio
        value = ours.seconds - peer.seconds if row.unit == ADDED else value
    else:
        value = ours.seconds * (1000 if row.unit == MILLISECONDS else 1)
    return {
        "id": row.id,
        "work": row.work,
        "ours": ours.text(row.unit),
        "peer": peer.text(row.unit) if peer else "",
        "value": float(f"{value:.3g}"),
        "unit": row.unit,
    }


def wanted(rows: Iterable[Row]) -> set[str]:
    """Keys of the contenders that rows need."""
    return {key for row in rows for key in (row.ours, row.peer) if key}

"""Samples of one distribution are not called drifted, from 300 rows to 100,000."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.drift.direct import report_of, version_of
from tests.drift.worlds import flights, heavy, small, weather, wide, worded

ALARMS_MAX = 0.01


def halves(table, rows, seed):
    """Two samples of a table that share no row."""
    order = np.random.default_rng(seed).choice(table.num_rows, 2 * rows, replace=False)
    return tuple(table.take(pa.array(side)) for side in (order[:rows], order[rows:]))


def drawn(draw):
    """Two tables drawn from one distribution."""
    return lambda rows, seed: (draw(2 * seed, rows), draw(2 * seed + 1, rows))


SOURCES = {
    "flights": (lambda rows, seed: halves(flights(), rows, seed), 100_000),
    "weather": (lambda rows, seed: halves(weather(), rows, seed), 10_000),
    "wide": (drawn(wide), 20_000),
    "heavy": (drawn(heavy), 100_000),
    "words": (drawn(worded), 5_000),
    "small": (drawn(small), 2_000),
}
SIZES = {300: 50, 1_000: 50, 5_000: 25, 20_000: 10, 100_000: 4}


def alarms(level):
    """Pairs, and those that are called drifted, with why."""
    pairs, drifted = 0, []
    for name, (draw, rows_max) in SOURCES.items():
        for rows, times in SIZES.items():
            for seed in range(times if rows <= rows_max else 0):
                versions = [version_of(one, level=level) for one in draw(rows, 7_000 + seed)]
                report = report_of(*versions)
                pairs += 1
                if report.status != "stable":
                    drifted.append(f"{name} {rows}: {report.verdict}")
    return pairs, drifted


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("level", ["open", "pii"])
def test_samples_of_one_distribution_are_stable(level):
    """Of hundreds of pairs of samples, whole reports and not columns, at most 1 % are called drifted."""
    pairs, drifted = alarms(level)
    assert pairs > 500
    assert len(drifted) <= ALARMS_MAX * pairs, drifted

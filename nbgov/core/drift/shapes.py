"""What a small plot of a column needs: shares of both sides over the same bins or levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbgov.core.drift.columns import ColumnPair
from nbgov.core.drift.measures import moment_text
from nbgov.core.drift.profile import MOMENTS
from nbgov.core.drift.quantiles import Distribution, Floats, read_distribution

BINS = 20
# Bounds of the plot: what lies beyond these ranks of both sides counts with the outermost bins.
RANKS = (0.01, 0.99)
# Sides whose widths differ by this factor, as after a change of unit, share bins of other widths.
APART = 8.0
LEVELS = 8
DIGITS = 4
EDGE_DIGITS = 6


def shape_of(pair: ColumnPair) -> dict[str, list[Any]] | None:
    """Shares over bins of numbers and moments, or over levels; ``None`` unless all is open."""
    if not pair.is_open:
        return None
    sketches, labels = pair.both("quantiles"), pair.both("labels")
    if all(sketches):
        left, right = map(read_distribution, sketches)
        return numbers_shape(left, right, is_moment=pair.baseline["type"] in MOMENTS)
    if all(labels):
        before, after = (dict(side) for side in labels)
        return levels_shape(before, after)
    return None


def numbers_shape(
    left: Distribution, right: Distribution, *, is_moment: bool
) -> dict[str, list[Any]]:
    """Shares over the same bins."""
    edges = edges_of(left, right)
    inner = edges[1:-1]
    shares = [np.diff(side.below(inner), prepend=0.0, append=1.0) for side in (left, right)]
    return {
        "edges": [moment_text(x) if is_moment else float(f"{x:.{EDGE_DIGITS}g}") for x in edges],
        "baseline": [round(float(share), DIGITS) for share in shares[0]],
        "current": [round(float(share), DIGITS) for share in shares[1]],
    }


def edges_of(left: Distribution, right: Distribution) -> Floats:
    """Edges of bins of one width; narrower towards zero where one side would fill a single bin."""
    ranges = [[side.quantile(rank) for rank in RANKS] for side in (left, right)]
    low, high = min(ranges[0][0], ranges[1][0]), max(ranges[0][1], ranges[1][1])
    high = high if high > low else low + 1
    widths = sorted(side[1] - side[0] for side in ranges)
    if widths[0] <= 0 or widths[1] < APART * widths[0]:
        return np.linspace(low, high, BINS + 1)
    unit = widths[0] / BINS
    found: Floats = unit * np.sinh(
        np.linspace(np.arcsinh(low / unit), np.arcsinh(high / unit), BINS + 1)
    )
    return found


def levels_shape(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, list[Any]]:
    """Shares of the most frequent levels of either side, and of the others together."""
    sides = [
        {label: count / max(1, sum(side.values())) for label, count in side.items()}
        for side in (before, after)
    ]
    names = sorted(
        sides[0].keys() | sides[1].keys(),
        key=lambda name: (-max(side.get(name, 0.0) for side in sides), name),
    )
    shown = names[:LEVELS]
    shares = [[side.get(name, 0.0) for name in shown] for side in sides]
    if len(names) > LEVELS:
        shown = [*shown, "other"]
        shares = [[*side, max(0.0, 1 - sum(side))] for side in shares]
    return {
        "labels": shown,
        "baseline": [round(share, DIGITS) for share in shares[0]],
        "current": [round(share, DIGITS) for share in shares[1]],
    }

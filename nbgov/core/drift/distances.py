"""Distances between two distributions, with the chance of such a distance without drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nbgov.core.drift.evidence import chi2_tail
from nbgov.core.drift.quantiles import Distribution

BINS = 10
# Levels that a chi-squared test expects fewer rows of are pooled; its tail is wrong below that.
EXPECTED_ROWS_MIN = 5


def largest_gap(left: Distribution, right: Distribution) -> float:
    """The Kolmogorov-Smirnov distance: the largest difference between two shares of rows."""
    points = np.union1d(left.values, right.values)
    return float(np.abs(left.below(points) - right.below(points)).max())


@dataclass(frozen=True, slots=True)
class Stability:
    """A population stability index.

    Attributes:
        index: The index, less what chance alone adds to it on average.
        tail: The chance of such an index without drift.
    """

    index: float
    tail: float


def stability(left: Sequence[float], right: Sequence[float]) -> Stability:
    """The stability of counts in the same bins on both sides.

    Bins that are empty on both sides do not count. Half a row is added to each of the others, so
    that there is a logarithm where one side is empty.
    """
    table = np.array([left, right], np.float64)
    table = table[:, table.sum(axis=0) > 0] + 0.5
    shares = table / table.sum(axis=1, keepdims=True)
    raw = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    unit = 1 / max(1.0, sum(left)) + 1 / max(1.0, sum(right))
    degrees = max(0, table.shape[1] - 1)
    return Stability(max(0.0, raw - degrees * unit), chi2_tail(raw / unit, degrees))


def decile_stability(left: Distribution, right: Distribution) -> Stability:
    """The stability over the deciles of the left side."""
    edges = np.unique([left.quantile(step / BINS) for step in range(1, BINS)])
    edges = edges[edges < left.values[-1]]
    counts = [
        np.diff(side.below(edges), prepend=0.0, append=1.0) * side.n for side in (left, right)
    ]
    return stability(*(side.tolist() for side in counts))


@dataclass(frozen=True, slots=True)
class Association:
    """How far two rows of counts depend on the row.

    Attributes:
        v: Cramer's V, from 0 to 1.
        tail: The chance of such counts without dependence (chi-squared).
        moved: The share of rows that would have to move to another level.
    """

    v: float
    tail: float
    moved: float


def association(left: Sequence[float], right: Sequence[float]) -> Association:
    """The association of counts of the same levels on both sides; rare levels are pooled."""
    table = np.array([left, right], np.float64)
    totals = table.sum(axis=1, keepdims=True)
    rows = table.sum()
    if not totals.all():
        return Association(0.0, 1.0, 0.0)
    moved = 0.5 * float(np.abs(np.diff(table / totals, axis=0)).sum())
    is_rare = table.sum(axis=0) * totals.min() / rows < EXPECTED_ROWS_MIN
    pooled = np.column_stack([table[:, ~is_rare], table[:, is_rare].sum(axis=1)])
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    expected = totals * pooled.sum(axis=0) / rows
    chi2 = float(((pooled - expected) ** 2 / expected).sum())
    return Association(math.sqrt(chi2 / rows), chi2_tail(chi2, pooled.shape[1] - 1), moved)

"""Whether a distribution moved because its unit did: one factor, or one known scale, undoes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from nbgov.core.drift.distances import largest_gap
from nbgov.core.drift.quantiles import Distribution, Floats
from nbgov.core.drift.report import figure

FACTOR_MIN = 1.5
RANKS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
# Factors that people put between units, and what to round to: what is this near is meant so.
KNOWN_FACTORS = (10, 24, 60, 100, 1000, 3600, 86_400, 1e6, 1.609344, 1.852, 2.54, 2.20462, 3.28084)
NEAR = 0.03
# Scales that differ by an offset too, as ``(factor, offset, what people call it)``.
SCALES = (
    (1.8, 32.0, "degrees Celsius to Fahrenheit"),
    (1 / 1.8, -32 / 1.8, "degrees Fahrenheit to Celsius"),
    (1.0, 273.15, "degrees Celsius to Kelvin"),
    (1.0, -273.15, "Kelvin to degrees Celsius"),
)
# The 1 % bound of Kolmogorov and Smirnov, and what rounding to the new unit may add.
CHANCE = 1.63
ROUNDING = 0.02
EXPLAINED = 1 / 3
# Values are compared to five digits: the sketches' 32 bits do not survive a factor exactly.
LOG_DIGITS = 5
SMALL = 1e-6


@dataclass(frozen=True, slots=True)
class UnitChange:
    """What undoes the move of a distribution: ``current = factor * baseline + offset``."""

    factor: float
    offset: float = 0.0
    name: str = ""

    @property
    def words(self) -> str:
        """The change as a sentence's middle."""
        if self.name:
            return f"all values as {self.name}"
        if self.factor > 1:
            return f"all values times {figure(self.factor)}"
        return f"all values divided by {figure(1 / self.factor)}"


def unit_change(left: Distribution, right: Distribution, gap: float) -> UnitChange | None:
    """The change of unit that leaves nothing of a gap but chance, if there is one."""
    bound = CHANCE * math.sqrt(1 / left.n + 1 / right.n) + left.error + right.error + ROUNDING
    bound = min(bound, gap * EXPLAINED)
    if left.values[0] == left.values[-1]:
        return None
    found = (one for one in candidates(left, right) if gap_after(left, right, one) <= bound)
    return next(found, None)


def candidates(left: Distribution, right: Distribution) -> Iterator[UnitChange]:
    """Changes of unit that the quantiles suggest, known ones first."""
    before, after = (np.array([side.quantile(rank) for rank in RANKS]) for side in (left, right))
    is_there = (before != 0) & (after / np.where(before == 0, 1, before) > 0)
    ratios = (after[is_there] / before[is_there]).tolist()
    guesses = [float(np.median(ratios))] if ratios else []
    if before[-1] > before[0]:
        guesses.append(float((after[-1] - after[0]) / (before[-1] - before[0])))
    for guess in guesses:
        if guess <= 0 or abs(math.log(guess)) < math.log(FACTOR_MIN):
            continue
        known = [(*KNOWN_FACTORS,), tuple(1 / factor for factor in KNOWN_FACTORS)]
        near = [one for side in known for one in side if abs(guess / one - 1) < NEAR]
        yield from map(UnitChange, [*near, *(float(f"{guess:.{n}g}") for n in (2, 3)), guess])
    yield from (UnitChange(*scale) for scale in SCALES)


def gap_after(left: Distribution, right: Distribution, change: UnitChange) -> float:
    """What is left of a gap once the baseline is put into the other unit."""
    values = left.values * change.factor + change.offset
    size = max(abs(float(right.values[0])), abs(float(right.values[-1])), SMALL)
    moved = replace(left, values=coarse(values / size))
    return largest_gap(moved, replace(right, values=coarse(right.values / size)))


def coarse(values: Floats) -> Floats:
    """Logarithms to a few digits, in the order of the values."""
    logs = np.log(np.maximum(np.abs(values), SMALL)) - math.log(SMALL)
    found: Floats = np.sign(values) * np.round(logs, LOG_DIGITS)
    return found

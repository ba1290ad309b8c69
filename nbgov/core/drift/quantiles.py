"""Quantiles of more numbers than a profile can keep.

The sketch is KLL (Karnin, Lang, Liberty 2016): numbers lie in levels, a number of level ``i``
stands for ``2**i`` rows, and a full level is sorted and halved into the next one. Which half
stays is settled by the numbers themselves instead of a coin, so equal batches give equal sketches.
The libraries that offer KLL seed their coin from the clock, and core has none.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nbgov.core.fingerprint.mixing import STEP, WORD_MASK, mix

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

SKETCH_K = 400
LEVEL_RATIO = 2 / 3
LEVEL_MIN = 8
# The 99 % bound on the error of a rank that was measured for KLL; our tests hold this sketch to it.
RANK_ERROR = 2.296 / SKETCH_K**0.9723
FLOAT32_MAX = float(np.finfo(np.float32).max)


class QuantileSketch:
    """Folds numbers into a few thousand bytes from which every quantile can be read.

    Example:
        >>> sketch = QuantileSketch()
        >>> sketch.update(np.arange(100_000.0))
        >>> found = read_distribution(sketch.finish())
        >>> found.n, abs(found.quantile(0.5) - 50_000) < 700
        (100000, True)
    """

    def __init__(self) -> None:
        self.n = 0
        self.levels: list[Floats32] = [np.zeros(0, np.float32)]

    def update(self, values: Floats) -> None:
        """Take in finite numbers."""
        self.n += len(values)
        self.levels[0] = np.concatenate([self.levels[0], as_sketched(values)])
        self.halve_full_levels()

    def merge(self, other: QuantileSketch) -> None:
        """Take in the numbers of another sketch."""
        self.n += other.n
        for level, values in enumerate(other.levels):
            if level == len(self.levels):
                self.levels.append(np.zeros(0, np.float32))
            self.levels[level] = np.concatenate([self.levels[level], values])
        self.halve_full_levels()

    def room(self, level: int) -> int:
        """The numbers that a level may hold; lower ones, that stand for few rows, hold fewer."""
        depth = len(self.levels) - 1 - level
        return max(LEVEL_MIN, math.ceil(SKETCH_K * LEVEL_RATIO**depth))

    def halve_full_levels(self) -> None:
        """Sort and halve levels from below until the rest has room."""
        while sum(map(len, self.levels)) > sum(map(self.room, range(len(self.levels)))):
            level = next(i for i, kept in enumerate(self.levels) if len(kept) > self.room(i))
            values = np.sort(self.levels[level])
            odd = len(values) % 2
            half = values[odd + self.coin(values, level) :: 2]
            self.levels[level] = values[:odd]
            if level + 1 == len(self.levels):
                self.levels.append(np.zeros(0, np.float32))
            self.levels[level + 1] = np.concatenate([self.levels[level + 1], half])

    def coin(self, values: Floats32, level: int) -> int:
        """0 or 1, as good as chance and equal for equal numbers."""
        bits = int(np.bitwise_xor.reduce(values.view(np.uint32)))
        word = (bits << 32) + self.n * int(STEP) + level
        return int(mix(np.array([word & WORD_MASK], np.uint64))[0]) >> 63

    def finish(self) -> dict[str, Any]:
        """The sketch, JSON-ready."""
        values = np.concatenate(self.levels)
        return {
            "n": self.n,
            "lengths": [len(level) for level in self.levels],
            "values": base64.b64encode(values.astype("<f4").tobytes()).decode(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The sketch that :meth:`finish` wrote."""
        sketch = cls()
        sketch.n = state["n"]
        values = np.frombuffer(base64.b64decode(state["values"]), "<f4").astype(np.float32)
        sketch.levels = np.split(values, np.cumsum(state["lengths"])[:-1])
        return sketch


def as_sketched(values: Floats) -> npt.NDArray[np.float32]:
    """Numbers as a sketch keeps them; those too large for 32 bits as the largest that fit."""
    return np.clip(values, -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Distribution:
    """An empirical distribution.

    Attributes:
        values: Its values, ascending.
        ranks: The share of rows up to and including each value.
        n: Rows.
        error: How far a rank may be off (the sketch's 99 % bound); 0 if it is exact.
    """

    values: Floats
    ranks: Floats
    n: int
    error: float

    def below(self, points: npt.NDArray[np.floating[Any]]) -> Floats:
        """The share of rows up to and including each point."""
        ranks = np.concatenate([[0.0], self.ranks])
        found: Floats = ranks[np.searchsorted(self.values, points, side="right")]
        return found

    def quantile(self, rank: float) -> float:
        """The smallest value up to which at least this share of rows lies."""
        place = int(np.searchsorted(self.ranks, rank - 1e-12))
        return float(self.values[min(place, len(self.values) - 1)])

    def outside(self, low: float, high: float) -> float:
        """The share of rows below ``low`` or above ``high``."""
        bounds = as_sketched(np.array([low, high]))
        under = int(np.searchsorted(self.values, bounds[0], side="left"))
        share = float(self.ranks[under - 1]) if under else 0.0
        return share + 1.0 - float(self.below(bounds[1:])[0])


def read_distribution(sketch: Mapping[str, Any]) -> Distribution:
    """The distribution in a profile's ``quantiles``."""
    values = np.frombuffer(base64.b64decode(sketch["values"]), "<f4").astype(np.float64)
    lengths = sketch["lengths"]
    weights = np.repeat(2.0 ** np.arange(len(lengths)), lengths)
    order = np.argsort(values, kind="stable")
    ranks = np.cumsum(weights[order]) / sketch["n"]
    error = RANK_ERROR if len(lengths) > 1 else 0.0
    return Distribution(values[order], ranks, sketch["n"], error)

"""What is measured of the numbers of a column whose values may be kept: moments, bounds, quantiles.

Only :mod:`nbgov.core.drift.profile` uses it. Labels are in :mod:`nbgov.core.drift.labels`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pyarrow import types

from nbgov.core.drift.quantiles import Floats, QuantileSketch
from nbgov.core.fingerprint.cells import buffer_values

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
DAY_S = 86_400.0
# Moments count as days since 2000-01-01, which float32 still tells apart by about a minute.
DAYS_1970_TO_2000 = 10_957
EPOCH = np.datetime64("2000-01-01T00:00:00", "s")
# Timestamps of a database's "infinity" lie outside what ISO texts are made of.
SECONDS_MAX = 2**62
WHOLE_MAX = 2**53


class NumberFold:
    """Moments, bounds and a quantile sketch of numbers."""

    def __init__(self) -> None:
        self.n = 0
        self.infinite = 0
        self.mean = self.m2 = self.m3 = self.m4 = 0.0
        self.low, self.high = math.inf, -math.inf
        self.sketch = QuantileSketch()

    def update(self, values: Floats) -> None:
        """Take in numbers; infinities are counted and left out."""
        finite = values[np.isfinite(values)]
        self.infinite += len(values) - len(finite)
        if not len(finite):
            return
        # Moments of huge numbers overflow; finish leaves them out. These are sums because a dot
        # product wakes the threads of a linear algebra library, for three times the processor time.
        with np.errstate(all="ignore"):
            mean = float(finite.mean())
            off = finite - mean
            square = off * off
            powers = [
                float(x) for x in (square.sum(), (square * off).sum(), (square * square).sum())
            ]
        self.add(len(finite), mean, powers)
        self.low = min(self.low, float(finite.min()))
        self.high = max(self.high, float(finite.max()))
        self.sketch.update(finite)

    def add(self, n: int, mean: float, powers: Sequence[float]) -> None:
        """Add the central moments of another part (Chan and Pebay)."""
        m2, m3, m4 = powers
        total = self.n + n
        gap, left, right = mean - self.mean, self.n / total, n / total
        square = gap * gap
        mixed = square * self.n * right
        self.m4 += m4 + mixed * square * (left * left - left * right + right * right)
        self.m4 += 6 * square * (left * left * m2 + right * right * self.m2)
        self.m4 += 4 * gap * (left * m3 - right * self.m3)
        self.m3 += m3 + mixed * gap * (left - right) + 3 * gap * (left * m2 - right * self.m2)
        self.m2 += m2 + mixed
        self.mean += gap * right
        self.n = total

    def merge(self, other: NumberFold) -> None:
        """Take in the numbers of another fold."""
        self.infinite += other.infinite
        if other.n:
            self.add(other.n, other.mean, (other.m2, other.m3, other.m4))
            self.low, self.high = min(self.low, other.low), max(self.high, other.high)
            self.sketch.merge(other.sketch)

    def state(self) -> dict[str, Any]:
        """The fold, JSON-ready; floats as hexadecimal text, which loses nothing."""
        floats = (self.mean, self.m2, self.m3, self.m4, self.low, self.high)
        return {
            "n": self.n,
            "infinite": self.infinite,
            "floats": [value.hex() for value in floats],
            "sketch": self.sketch.finish(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The fold that wrote a state."""
        fold = cls()
        fold.n, fold.infinite = state["n"], state["infinite"]
        floats = map(float.fromhex, state["floats"])
        fold.mean, fold.m2, fold.m3, fold.m4, fold.low, fold.high = floats
        fold.sketch = QuantileSketch.from_state(state["sketch"])
        return fold

    def finish(self, *, is_moment: bool) -> dict[str, Any]:
        """The figures; a figure that does not exist or overflowed is ``None``."""
        write = moment_text if is_moment else number
        variance = self.m2 / self.n if self.n else math.nan
        kurtosis = self.m4 / self.n / (variance * variance) if variance > 0 else math.nan
        return {
            "infinite": self.infinite,
            "min": write(self.low),
            "max": write(self.high),
            "mean": write(self.mean) if self.n else None,
            "sd": number(math.sqrt(variance)) if variance >= 0 else None,
            "kurtosis": number(kurtosis),
            "quantiles": self.sketch.finish() if self.n else None,
        }


def cell_numbers(array: pa.Array) -> Floats:
    """The cells that are neither NULL nor NaN, as 64-bit floats; moments as days since 2000."""
    kind, present = array.type, array.drop_null()
    values: Floats
    if types.is_decimal(kind):
        values = present.cast(pa.float64()).to_numpy()
    elif types.is_integer(kind) or types.is_floating(kind):
        values = buffer_values(present).astype(np.float64)
        values = values[~np.isnan(values)]
    else:
        values = buffer_values(present, f"i{kind.bit_width // 8}") * unit_of(kind)
        if types.is_date(kind) or types.is_timestamp(kind):
            values = values / DAY_S - DAYS_1970_TO_2000
    return values


def unit_of(kind: pa.DataType) -> float:
    """The seconds that one count of a time type stands for."""
    if types.is_date(kind):
        return DAY_S if types.is_date32(kind) else SECONDS["ms"]
    return SECONDS[kind.unit]


def number(value: float) -> float | int | None:
    """A float as JSON has it: whole numbers without a point, nothing that is not finite."""
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) <= WHOLE_MAX else value


def moment_text(days: float) -> str | None:
    """Days since 2000 as an ISO text, to the second."""
    if not math.isfinite(days):
        return None
    seconds = max(-SECONDS_MAX, min(SECONDS_MAX, round(days * DAY_S)))
    return str(EPOCH + np.timedelta64(seconds, "s"))

"""Counts of labels: all of them while they are few and short, otherwise the frequent ones.

The summary is that of Misra and Gries (1982), merged as Agarwal et al. (2012) do: where there are
more than :data:`LABELS_MAX` counters, the largest count that has to go is taken off all of them. So
no count is too high, none is too low by more than ``error``, and ``error`` is at most the share
``1 / LABELS_MAX`` of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from nbgov.core.fingerprint.cells import decimal_texts

LABELS_MAX = 200
LABEL_CHARS_MAX = 64
HEAVY_MAX = 30


class LabelFold:
    """Folds labels into counts of the frequent ones.

    Attributes:
        counts: Counters by label.
        error: How many rows of one label may be missing from its counter.
        is_exact: Whether every label is there, with all of its rows.

    Example:
        >>> fold = LabelFold()
        >>> fold.update(pa.array(["b", "a", None, "b"]))
        >>> fold.ranked(), fold.is_exact
        ([['b', 2], ['a', 1]], True)
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.error = 0
        self.is_exact = True

    def update(self, array: pa.Array) -> None:
        """Take in the labels of an array; NaN is none."""
        found = pc.value_counts(countable(array))
        counts = found.field("counts").to_numpy()
        spare = 0
        if len(counts) > LABELS_MAX:
            spare = int(np.partition(counts, -LABELS_MAX - 1)[-LABELS_MAX - 1])
            kept = np.flatnonzero(counts > spare)
            found, counts = found.take(pa.array(kept)), counts[kept] - spare
        labels = label_texts(found.field("values")).to_pylist()
        short = {
            label: count
            for label, count in zip(labels, counts.tolist(), strict=True)
            if len(label) <= LABEL_CHARS_MAX
        }
        self.add(short, spare, is_exact=not spare and len(short) == len(labels))

    def merge(self, other: LabelFold) -> None:
        """Take in the labels of another fold."""
        self.add(other.counts, other.error, is_exact=other.is_exact)

    def add(self, counts: Mapping[str, int], error: int, *, is_exact: bool) -> None:
        """Take in counters, and make room again."""
        self.counts.update(counts)
        self.error += error
        self.is_exact = self.is_exact and is_exact
        if len(self.counts) > LABELS_MAX:
            spare = sorted(self.counts.values(), reverse=True)[LABELS_MAX]
            self.counts = Counter({k: n - spare for k, n in self.counts.items() if n > spare})
            self.error += spare
            self.is_exact = False

    def ranked(self, rows_min: int = 1) -> list[list[Any]]:
        """``[label, count]`` pairs, the most frequent first, of labels seen so often for sure."""
        ranked = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return [[label, count] for label, count in ranked if count >= rows_min]

    def labels(self, rows_min: int) -> dict[str, Any]:
        """All labels, if there are not too many; otherwise the heavy ones."""
        if not self.is_exact:
            return {"labels": None, **self.heavy(rows_min)}
        told = self.ranked(rows_min)
        return {"labels": told, "labels_are_all": len(told) == len(self.counts)}

    def heavy(self, rows_min: int) -> dict[str, Any]:
        """The most frequent values, with at least how many rows each has."""
        return {"heavy": self.ranked(rows_min)[:HEAVY_MAX], "heavy_error": self.error}

    def state(self) -> dict[str, Any]:
        """The fold, JSON-ready."""
        return {"counts": dict(self.counts), "error": self.error, "is_exact": self.is_exact}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The fold that wrote a state."""
        fold = cls()
        fold.counts = Counter(state["counts"])
        fold.error, fold.is_exact = state["error"], state["is_exact"]
        return fold


def countable(array: pa.Array) -> pa.Array:
    """What there is to count, in a type whose values Arrow counts."""
    present = array.drop_null()
    if types.is_decimal32(array.type) or types.is_decimal64(array.type):
        return present.cast(pa.decimal128(array.type.precision, array.type.scale))
    if types.is_float16(array.type):
        present = present.cast(pa.float32())
    if types.is_floating(array.type):
        present = present.filter(pc.invert(pc.is_nan(present)))
    return present


def label_texts(values: pa.Array) -> pa.Array:
    """Values as labels; a decimal reads alike whatever its scale."""
    return decimal_texts(values) if types.is_decimal(values.type) else values.cast(pa.string())

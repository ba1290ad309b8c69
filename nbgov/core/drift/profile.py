"""Statistics of a result, folded over its batches and small enough to be kept with it.

A column is ``open`` when somebody said so, and ``pii`` otherwise. A ``pii`` column keeps counts
only: what a sketch of it would hold is data. Everything is a sum or a set, but for the moments and
the quantiles: those depend on how rows were batched, within rounding and within the sketch's error.
Profiles are compared in :mod:`nbgov.core.drift.rules`. Cases: ``tests/core/test_drift.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from nbgov.core.drift.measures import LabelFold, NumberFold, cell_numbers
from nbgov.core.fingerprint import cell_hashes
from nbgov.core.fingerprint.cells import is_list, is_text, segments
from nbgov.core.fingerprint.fold import logical_columns
from nbgov.core.fingerprint.mixing import Counts, Words

FORMAT = 1
OPEN: Final = "open"
PII: Final = "pii"

BUCKETS = 64
BUCKET_SHIFT = np.uint64(58)
LENGTH_BUCKETS = 16
DISTINCT_HASHES_MAX = 1024
# A bucket of a pii column is told only if at least so many rows share it.
BUCKET_ROWS_MIN = 20

NUMBERS = frozenset({"int", "float", "decimal", "time", "duration"})
MOMENTS = frozenset({"date", "timestamp", "timestamp with zone"})
LABELLED = frozenset({"text", "bool"})


class Profiler:
    """Folds batches into a profile.

    Args:
        sensitivity: ``open`` for columns whose values may be kept; any other word, and any column
            that is not named, means ``pii``.
        schema: The columns, for a stream that may end before its first batch.

    Example:
        >>> profiler = Profiler({"x": "open"})
        >>> profiler.update(pa.record_batch({"x": [1, 2, None], "mail": ["a@b.c", "d@e.f", ""]}))
        >>> x, mail = profiler.finish()["columns"]
        >>> x["nulls"], x["min"], x["mean"], sorted(mail)
        (1, 1, 1.5, ['buckets', 'distinct', 'lengths', 'level', 'name', 'nans', 'nulls', 'type'])
    """

    def __init__(self, sensitivity: Mapping[str, str], schema: pa.Schema | None = None) -> None:
        self.sensitivity = dict(sensitivity)
        self.rows = 0
        self.columns: list[ColumnFold] | None = None
        if schema is not None:
            self.columns = self.empty_columns(schema)

    def empty_columns(self, schema: pa.Schema) -> list[ColumnFold]:
        """One empty fold a column."""
        return [
            ColumnFold(name, kind, OPEN if self.sensitivity.get(name) == OPEN else PII)
            for name, kind in logical_columns(schema)
        ]

    def update(self, batch: pa.RecordBatch, hashes: Sequence[Words] | None = None) -> None:
        """Take in the rows of a batch.

        Args:
            batch: The rows.
            hashes: :func:`~nbgov.core.fingerprint.cell_hashes` of its columns, if already made.
        """
        if self.columns is None:
            self.columns = self.empty_columns(batch.schema)
        if hashes is None:
            hashes = [cell_hashes(column) for column in batch.columns]
        for fold, array, words in zip(self.columns, batch.columns, hashes, strict=True):
            fold.update(array, words)
        self.rows += batch.num_rows

    def merge(self, other: Profiler) -> Profiler:
        """The fold of both parts' rows; neither part changes.

        Raises:
            RuntimeError: The parts differ in names, logical types or sensitivity.
        """
        merged = Profiler(self.sensitivity)
        for part in (self, other):
            if part.columns is None:
                continue
            identities = [fold.identity for fold in part.columns]
            if merged.columns is None:
                merged.columns = [ColumnFold(*identity) for identity in identities]
            if [fold.identity for fold in merged.columns] != identities:
                raise RuntimeError("The parts of one dataset differ in columns or sensitivity.")
            merged.rows += part.rows
            for mine, theirs in zip(merged.columns, part.columns, strict=True):
                mine.merge(theirs)
        return merged

    def finish(self) -> dict[str, Any]:
        """The profile of the rows so far, JSON-ready."""
        columns = [fold.finish() for fold in self.columns or ()]
        return {"format": FORMAT, "rows": self.rows, "columns": columns}


class ColumnFold:
    """What is counted of one column."""

    def __init__(self, name: str, kind: str, level: str) -> None:
        self.identity = (name, kind, level)
        is_open = level == OPEN
        self.nulls = 0
        self.nans = 0
        self.buckets = np.zeros(BUCKETS, np.int64)
        self.lengths = np.zeros(LENGTH_BUCKETS, np.int64)
        self.has_lengths = False
        self.hashes = np.zeros(0, np.uint64)
        self.numbers = NumberFold() if is_open and kind in NUMBERS | MOMENTS else None
        self.labels = LabelFold() if is_open and kind in LABELLED else None

    def update(self, array: pa.Array, words: Words) -> None:
        """Take in the cells of an array, with their hashes."""
        array = plain(array)
        present = words[words != 0]
        missing = len(words) - len(present)
        nans = missing - array.null_count if types.is_floating(array.type) else 0
        self.nans += nans
        self.nulls += missing - nans
        self.buckets += np.bincount((present >> BUCKET_SHIFT).view(np.int64), minlength=BUCKETS)
        self.keep_hashes(present)
        lengths = cell_lengths(array)
        if lengths is not None:
            self.has_lengths = True
            places = np.minimum(np.frexp(lengths)[1], LENGTH_BUCKETS - 1)
            self.lengths += np.bincount(places, minlength=LENGTH_BUCKETS)
        if self.numbers is not None:
            self.numbers.update(cell_numbers(array))
        if self.labels is not None:
            self.labels.update(array)

    def keep_hashes(self, hashes: Words) -> None:
        """Keep the smallest different hashes; how far down they reach tells how many there are."""
        if len(self.hashes) == DISTINCT_HASHES_MAX:
            hashes = hashes[hashes < self.hashes[-1]]
        if len(hashes):
            together = np.sort(np.concatenate([self.hashes, hashes]))
            is_first = np.concatenate([[True], together[1:] != together[:-1]])
            self.hashes = together[is_first][:DISTINCT_HASHES_MAX]

    def merge(self, other: ColumnFold) -> None:
        """Take in the cells of another fold."""
        self.nulls += other.nulls
        self.nans += other.nans
        self.buckets += other.buckets
        self.lengths += other.lengths
        self.has_lengths = self.has_lengths or other.has_lengths
        self.keep_hashes(other.hashes)
        if self.numbers is not None and other.numbers is not None:
            self.numbers.merge(other.numbers)
        if self.labels is not None and other.labels is not None:
            self.labels.merge(other.labels)

    def distinct(self) -> int:
        """How many different values there are; exact up to the number of hashes kept."""
        if len(self.hashes) < DISTINCT_HASHES_MAX:
            return len(self.hashes)
        reach = (int(self.hashes[-1]) + 1) / 2**64
        return round((DISTINCT_HASHES_MAX - 1) / reach)

    def finish(self) -> dict[str, Any]:
        """The figures that the column's sensitivity allows."""
        name, kind, level = self.identity
        is_open = level == OPEN
        distinct = self.distinct()
        # Security: rare buckets and exact counts would let a guess at a value be tested.
        hide = (lambda counts: counts) if is_open else without_rare
        figures = {
            "name": name,
            "type": kind,
            "level": level,
            "nulls": self.nulls,
            "nans": self.nans,
            "distinct": distinct if is_open else int(float(f"{distinct:.0e}")),
            "lengths": hide(self.lengths).tolist() if self.has_lengths else None,
            "buckets": hide(self.buckets).tolist(),
        }
        if self.numbers is not None:
            figures |= self.numbers.finish(is_moment=kind in MOMENTS)
        if self.labels is not None:
            figures["labels"] = self.labels.finish()
        return figures


def plain(array: pa.Array) -> pa.Array:
    """The array without an encoding around its values."""
    if types.is_dictionary(array.type):
        return array.dictionary_decode()
    if types.is_run_end_encoded(array.type):
        return pc.run_end_decode(array)
    if isinstance(array.type, pa.BaseExtensionType):
        return plain(array.storage)
    if types.is_string_view(array.type) or types.is_binary_view(array.type):
        return array.cast(
            pa.large_binary() if types.is_binary_view(array.type) else pa.large_string()
        )
    return array


def cell_lengths(array: pa.Array) -> Counts | None:
    """Bytes of each text, or elements of each list or map; ``None`` where cells have no length."""
    kind = array.type
    if is_text(kind):
        lengths: Counts = pc.binary_length(array).drop_null().to_numpy().astype(np.int64)
        return lengths
    if is_list(kind) or types.is_map(kind):
        present = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))
        return segments(array)[1][present]
    return None


def without_rare(counts: Counts) -> Counts:
    """Counts with every rare one as 0, and one more if a single one could be told from the sum."""
    shown = np.where(counts >= BUCKET_ROWS_MIN, counts, 0)
    # Security: with one count left out, its value is the rest of the sum.
    if np.count_nonzero(shown) == len(shown) - 1:
        shown[shown == shown[shown > 0].min()] = 0
    return shown

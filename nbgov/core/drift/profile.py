"""Statistics of a result, folded over its batches and small enough to be kept with it.

How much is kept follows from how sensitive a column is: ``open`` keeps values, ``internal`` keeps
them but for rare labels, and ``pii``, which is everything else, keeps counts only: what a sketch of
it would hold is data. Everything is a sum or a set, but for moments, quantiles and frequent labels:
those depend on how rows were batched, within their stated error. Spec: ``docs/spec/profile.md``.
Profiles are compared in :mod:`nbgov.core.drift.rules`. Cases: ``tests/core/test_profile.py``.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from nbgov.core.drift.labels import LabelFold
from nbgov.core.drift.measures import NumberFold, cell_numbers
from nbgov.core.fingerprint import cell_hashes
from nbgov.core.fingerprint.cells import is_list, is_text, segments
from nbgov.core.fingerprint.fold import disagree
from nbgov.core.fingerprint.logical import logical_columns
from nbgov.core.fingerprint.mixing import SPEC, Counts, Words, mix
from nbgov.model.dataset import INTERNAL, OPEN, PII

FORMAT = 1

BUCKETS = 64
BUCKET_SHIFT = np.uint64(58)
LENGTH_BUCKETS = 16
DISTINCT_HASHES_MAX = 1024
# A bucket of a pii column, or a label of an internal one, is told only if so many rows share it.
BUCKET_ROWS_MIN = 20

NUMBERS = frozenset({"int", "float", "decimal", "time", "duration"})
MOMENTS = frozenset({"date", "timestamp", "timestamp with zone"})
LABELLED = frozenset({"text", "bool"})
COUNTED = frozenset({"int", "float", "decimal"})


class Profiler:
    """Folds batches into a profile.

    Args:
        sensitivity: ``open`` or ``internal`` for columns whose values may be kept; any other word,
            and any column that is not named, means ``pii``.
        schema: The columns, for a stream that may end before its first batch.
        key: Up to 64 secret bytes that hash buckets of pii columns are made with, so that nobody
            without them can test which bucket a value would be in. Buckets compare under one key.

    Example:
        >>> profiler = Profiler({"x": "open"})
        >>> profiler.update(pa.record_batch({"x": [1, 2, None], "mail": ["a@b.c", "d@e.f", ""]}))
        >>> x, mail = profiler.finish()["columns"]
        >>> x["nulls"], x["min"], x["mean"], "min" in mail
        (1, 1, 1.5, False)
    """

    def __init__(
        self,
        sensitivity: Mapping[str, str],
        schema: pa.Schema | None = None,
        *,
        key: bytes = b"",
    ) -> None:
        self.sensitivity = dict(sensitivity)
        self.key = key
        self.rows = 0
        self.columns: list[ColumnFold] | None = None
        if schema is not None:
            self.columns = self.empty_columns(schema)

    def empty_columns(self, schema: pa.Schema) -> list[ColumnFold]:
        """One empty fold a column."""
        return [
            ColumnFold((name, kind, *self.terms(name))) for name, kind in logical_columns(schema)
        ]

    def terms(self, name: str) -> tuple[str, str]:
        """The level of a column, and the mark of the key of its buckets."""
        level = self.sensitivity.get(name)
        return (level, "") if level in {OPEN, INTERNAL} else (PII, bucket_mark(self.key))

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
            fold.update(array, words, self.key)
        self.rows += batch.num_rows

    def merge(self, other: Profiler) -> Profiler:
        """The fold of both parts' rows; neither part changes.

        Raises:
            IntegrityFailed: The parts differ in names, logical types, sensitivity or key
                (``digests-disagree``).
        """
        merged = Profiler(self.sensitivity, key=self.key)
        for part in (self, other):
            if part.columns is None:
                continue
            identities = [fold.identity for fold in part.columns]
            if merged.columns is None:
                merged.columns = [ColumnFold(identity) for identity in identities]
            if [fold.identity for fold in merged.columns] != identities:
                raise disagree("The parts of one dataset differ in columns, sensitivity or key.")
            merged.rows += part.rows
            for mine, theirs in zip(merged.columns, part.columns, strict=True):
                mine.merge(theirs)
        return merged

    def state(self) -> dict[str, Any]:
        """The fold, JSON-ready, to be merged in another process.

        Security: it is no profile. It holds hashes and rare labels that a profile leaves out, so it
        is sent from process to process and never kept.
        """
        columns = None if self.columns is None else [fold.state() for fold in self.columns]
        return {"rows": self.rows, "columns": columns}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The fold that wrote a state; it merges and finishes, and takes in no more batches.

        Raises:
            IntegrityFailed: No fold wrote it (``digests-disagree``).
        """
        fold = cls({})
        try:
            fold.rows = state["rows"]
            if state["columns"] is not None:
                fold.columns = [ColumnFold.from_state(one) for one in state["columns"]]
        except (KeyError, TypeError, ValueError):
            # Security: raised without its cause, which may quote what is in the state.
            raise disagree("The state of a profile is damaged.") from None
        return fold

    def finish(self) -> dict[str, Any]:
        """The profile of the rows so far, JSON-ready."""
        columns = [fold.finish() for fold in self.columns or ()]
        return {"format": FORMAT, "rows": self.rows, "columns": columns}


class ColumnFold:
    """What is counted of one column.

    Args:
        identity: Its name, logical type, level, and the mark of the key of its buckets.
    """

    def __init__(self, identity: tuple[str, str, str, str]) -> None:
        self.identity = identity
        _, kind, level, _ = identity
        is_kept = level != PII
        self.nulls = 0
        self.nans = 0
        self.buckets = np.zeros(BUCKETS, np.int64)
        self.lengths = np.zeros(LENGTH_BUCKETS, np.int64)
        self.has_lengths = False
        self.hashes = np.zeros(0, np.uint64)
        self.numbers = NumberFold() if is_kept and kind in NUMBERS | MOMENTS else None
        self.labels = LabelFold() if is_kept and kind in LABELLED | COUNTED else None

    def update(self, array: pa.Array, words: Words, key: bytes = b"") -> None:
        """Take in the cells of an array, with their hashes."""
        array = plain(array)
        present = words[words != 0]
        missing = len(words) - len(present)
        nans = missing - array.null_count if types.is_floating(array.type) else 0
        self.nans += nans
        self.nulls += missing - nans
        if key and self.identity[2] == PII:
            present = keyed_words(present, key)
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

    def state(self) -> dict[str, Any]:
        """The fold, JSON-ready."""
        return {
            "identity": list(self.identity),
            "counts": [self.nulls, self.nans],
            "buckets": self.buckets.tolist(),
            "lengths": self.lengths.tolist() if self.has_lengths else None,
            "hashes": base64.b64encode(self.hashes.astype("<u8").tobytes()).decode(),
            "numbers": None if self.numbers is None else self.numbers.state(),
            "labels": None if self.labels is None else self.labels.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The fold that wrote a state."""
        name, kind, level, mark = state["identity"]
        fold = cls((name, kind, level, mark))
        fold.nulls, fold.nans = state["counts"]
        fold.buckets = np.array(state["buckets"], np.int64)
        fold.has_lengths = state["lengths"] is not None
        fold.lengths = np.array(state["lengths"] or [0] * LENGTH_BUCKETS, np.int64)
        fold.hashes = np.frombuffer(base64.b64decode(state["hashes"]), "<u8").astype(np.uint64)
        if fold.numbers is not None:
            fold.numbers = NumberFold.from_state(state["numbers"])
        if fold.labels is not None:
            fold.labels = LabelFold.from_state(state["labels"])
        return fold

    def finish(self) -> dict[str, Any]:
        """The figures that the column's sensitivity allows."""
        name, kind, level, mark = self.identity
        distinct = self.distinct()
        # Security: rare buckets and exact counts would let a guess at a value be tested.
        hide = without_rare if level == PII else (lambda counts: counts)
        figures: dict[str, Any] = {
            "name": name,
            "type": kind,
            "level": level,
            "nulls": self.nulls,
            "nans": self.nans,
            "distinct": int(float(f"{distinct:.0e}")) if level == PII else distinct,
            "lengths": hide(self.lengths).tolist() if self.has_lengths else None,
            "buckets": hide(self.buckets).tolist(),
        }
        if level == PII:
            figures["bucket_key"] = mark
        if self.numbers is not None:
            figures |= self.numbers.finish(is_moment=kind in MOMENTS)
        if self.labels is not None:
            tell = self.labels.labels if kind in LABELLED else self.labels.heavy
            # Security: a label that few rows have may tell whose rows they are.
            figures |= tell(BUCKET_ROWS_MIN if level == INTERNAL else 1)
        return figures


def keyed_words(words: Words, key: bytes) -> Words:
    """Hashes that nobody without the key can make, as far as counts in buckets can show it."""
    first, second = bucket_words(key)
    return mix(mix(words ^ first) + second)


def bucket_words(key: bytes) -> tuple[np.uint64, np.uint64]:
    """The two words that a key of buckets stands for."""
    digest = hashlib.blake2b(key=key, digest_size=16, person=b"bucket", salt=SPEC.encode())
    first, second = struct.unpack("<2Q", digest.digest())
    return np.uint64(first), np.uint64(second)


def bucket_mark(key: bytes) -> str:
    """What tells one key of buckets from another, and nothing else; empty without a key."""
    if not key:
        return ""
    digest = hashlib.blake2b(key=key, digest_size=4, person=b"bucket mark", salt=SPEC.encode())
    return digest.hexdigest()


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

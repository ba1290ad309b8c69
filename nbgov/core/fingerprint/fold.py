"""From batches to a fingerprint: sums that grow, merge, shrink and travel, and end as ids.

Spec: ``docs/spec/fingerprint.md`` sections 2, 7, 10 and 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nbgov.core.fingerprint.cells import BLOCK_ROWS, cell_hashes
from nbgov.core.fingerprint.logical import logical_columns
from nbgov.core.fingerprint.mixing import (
    LANE_A,
    LANE_B,
    ORDER,
    SPEC,
    WORD_MASK,
    Words,
    derive,
    dot,
    mix,
    powers,
    total,
    unique_labels,
)
from nbgov.core.fingerprint.record import Fingerprint, identify
from nbgov.errors import IntegrityFailed

if TYPE_CHECKING:
    import pyarrow as pa


class Fingerprinter:
    """Folds batches into a :class:`~nbgov.core.fingerprint.record.Fingerprint`.

    Args:
        schema: The columns, for a stream that may end before its first batch. Without it the first
            batch tells.

    Attributes:
        rows: Number of rows.
        lanes: Lane A and lane B.
        order: The order lanes, or ``None`` once nobody knows the order of the rows.
        columns: ``(name, logical type)`` in order, or ``None`` before the first batch.
        digests, nonnulls: The figures of each column.

    Example:
        >>> import pyarrow as pa
        >>> from nbgov import Fingerprinter
        >>> whole, left, right = Fingerprinter(), Fingerprinter(), Fingerprinter()
        >>> batch = pa.record_batch({"x": [1, 2, 3], "y": ["a", None, "c"]})
        >>> whole.update(batch)
        >>> left.update(batch.slice(0, 2)), right.update(batch.slice(2))
        (None, None)
        >>> left.merge(right).finish() == right.merge(left).finish() == whole.finish()
        True
        >>> left.merge(right).finish().order == whole.finish().order
        True
        >>> whole.subtract(right).finish() == left.finish()
        True
    """

    def __init__(self, schema: pa.Schema | None = None) -> None:
        self.rows = 0
        self.lanes = (0, 0)
        self.order: tuple[int, int] | None = (0, 0)
        self.columns: tuple[tuple[str, str], ...] | None = None
        self.digests: list[int] = []
        self.nonnulls: list[int] = []
        if schema is not None:
            self.expect(logical_columns(schema))

    def expect(self, columns: tuple[tuple[str, str], ...]) -> None:
        """Fix names and logical types, or check that they are the ones seen so far."""
        if self.columns is None:
            self.columns = columns
            self.digests = [0] * len(columns)
            self.nonnulls = [0] * len(columns)
        if self.columns != columns:
            raise disagree("The parts differ in names or logical types.")

    # ---------------------------------------------------------------- rows

    def update(self, batch: pa.RecordBatch, hashes: Sequence[Words] | None = None) -> None:
        """Take in the rows of a batch, behind all rows so far.

        Args:
            batch: The rows.
            hashes: :func:`~nbgov.core.fingerprint.cell_hashes` of its columns, if already made.

        Raises:
            BackendFailed: A column has a type that the specification does not name.
            IntegrityFailed: Its names or logical types are not those of the batch before
                (``digests-disagree``).
        """
        self.expect(logical_columns(batch.schema))
        if hashes is None:
            hashes = [cell_hashes(column) for column in batch.columns]
        for place, column in enumerate(hashes):
            self.digests[place] = (self.digests[place] + total(column)) & WORD_MASK
            self.nonnulls[place] += int(np.count_nonzero(column))
        factors = column_factors(tuple(batch.schema.names))
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            rows = min(BLOCK_ROWS, batch.num_rows - start)
            a = np.full(rows, LANE_A)
            b = np.full(rows, LANE_B)
            for column, (factor_a, factor_b) in zip(hashes, factors, strict=True):
                block = column[start : start + rows]
                a += block * factor_a
                b += block * factor_b
            self.add_rows(mix(a), mix(b))

    def add_rows(self, a: Words, b: Words) -> None:
        """Add the mixed words of at most a block of rows to the lanes."""
        lane_a, lane_b = self.lanes
        self.lanes = (lane_a + total(a)) & WORD_MASK, (lane_b + total(b)) & WORD_MASK
        weights = order_weights()[BLOCK_ROWS - len(a) :]
        self.append(len(a), (dot(a, weights), dot(b, weights)))

    def append(self, rows: int, order: tuple[int, int] | None) -> None:
        """Count rows behind all rows so far, with the order lanes of those rows alone."""
        shift = pow(ORDER, rows, WORD_MASK + 1)
        if self.order is None or order is None:
            self.order = None
        else:
            before_a, before_b = self.order
            self.order = (
                (before_a * shift + order[0]) & WORD_MASK,
                (before_b * shift + order[1]) & WORD_MASK,
            )
        self.rows += rows

    # ---------------------------------------------------------------- parts

    def merge(self, other: Fingerprinter) -> Fingerprinter:
        """The rows of this part and then those of the other one; neither part changes.

        Raises:
            IntegrityFailed: The parts differ in names or logical types (``digests-disagree``).
        """
        merged = Fingerprinter()
        for part in (self, other):
            if part.columns is None:
                continue
            merged.expect(part.columns)
            merged.add_sums(part, sign=1)
            merged.append(part.rows, part.order)
        return merged

    def subtract(self, part: Fingerprinter) -> Fingerprinter:
        """The rows of this dataset without those of a part; neither of them changes.

        The order of what is left is unknown. Counts and sums that no part can have are refused.
        That the rest is right nobody can tell from sums: what is subtracted has to be a part.

        Raises:
            IntegrityFailed: It is no part of this dataset (``digests-disagree``).
        """
        left = self.merge(Fingerprinter())
        if part.columns is None or not part.rows:
            return left if part.columns is None else left.merge(part)
        left.expect(part.columns)
        left.add_sums(part, sign=-1)
        left.rows -= part.rows
        left.order = None if left.rows else (0, 0)
        if left.is_impossible():
            raise disagree("What is subtracted is no part of the dataset.")
        return left

    def add_sums(self, part: Fingerprinter, *, sign: int) -> None:
        """Add, or take away, all sums that do not depend on the order of rows."""
        lane_a, lane_b = (
            (x + sign * y) & WORD_MASK for x, y in zip(self.lanes, part.lanes, strict=True)
        )
        self.lanes = lane_a, lane_b
        self.digests = [
            (x + sign * y) & WORD_MASK for x, y in zip(self.digests, part.digests, strict=True)
        ]
        self.nonnulls = [x + sign * y for x, y in zip(self.nonnulls, part.nonnulls, strict=True)]

    def is_impossible(self) -> bool:
        """Whether no table has these figures."""
        return (
            not all(0 <= nonnull <= self.rows for nonnull in self.nonnulls)
            or any(
                digest and not nonnull
                for digest, nonnull in zip(self.digests, self.nonnulls, strict=True)
            )
            or self.rows < 0
            or (self.rows == 0 and (self.lanes, self.order or (0, 0)) != ((0, 0), (0, 0)))
        )

    # ---------------------------------------------------------------- travel

    def state(self) -> dict[str, Any]:
        """All sums, JSON-ready, to be merged in another process."""
        columns = None
        if self.columns is not None:
            figures = zip(self.columns, self.digests, self.nonnulls, strict=True)
            columns = [[name, kind, hex_word(digest), n] for (name, kind), digest, n in figures]
        return {
            "spec": SPEC,
            "rows": self.rows,
            "lanes": [hex_word(lane) for lane in self.lanes],
            "order": None if self.order is None else [hex_word(lane) for lane in self.order],
            "columns": columns,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The fold that wrote a state.

        Raises:
            IntegrityFailed: No fold wrote it (``digests-disagree``).
        """
        fold = cls()
        try:
            fold.read(state)
        except (KeyError, TypeError, ValueError):
            # Security: raised without its cause, which may quote what is in the state.
            raise disagree("The state of a fingerprint is damaged.") from None
        if state.get("spec") != SPEC or fold.is_impossible():
            raise disagree("A state is of another specification, or of no table at all.")
        return fold

    def read(self, state: Mapping[str, Any]) -> None:
        """Take over all sums of a state."""
        self.rows = int(state["rows"])
        self.lanes = read_words(state["lanes"])
        self.order = None if state["order"] is None else read_words(state["order"])
        if state["columns"] is not None:
            self.expect(tuple((str(name), str(kind)) for name, kind, _, _ in state["columns"]))
            self.digests = [read_word(digest) for _, _, digest, _ in state["columns"]]
            self.nonnulls = [int(nonnull) for _, _, _, nonnull in state["columns"]]

    def finish(self, *, key: bytes | None = None) -> Fingerprint:
        """The fingerprint of the rows so far.

        Args:
            key: 16 to 64 secret bytes. Content, order and digests then tell whether two datasets
                are equal to those alone who make fingerprints with the same key.
        """
        columns = self.columns or ()
        return identify(
            self.rows,
            "".join(map(hex_word, self.lanes)),
            "" if self.order is None else "".join(map(hex_word, self.order)),
            tuple(
                (name, kind, hex_word(digest), nonnull)
                for (name, kind), digest, nonnull in zip(
                    columns, self.digests, self.nonnulls, strict=True
                )
            ),
            key,
        )


@cache
def order_weights() -> Words:
    """The powers of the order factor that the rows of a whole block are weighted with."""
    return powers(ORDER, BLOCK_ROWS)


@cache
def column_factors(names: tuple[str, ...]) -> list[tuple[np.uint64, np.uint64]]:
    """The factors that the hashes of each column have in lane A and lane B."""
    words = [derive("column", label) for label in unique_labels(names)]
    return [(np.uint64(first | 1), np.uint64(second | 1)) for first, second, _ in words]


def hex_word(word: int) -> str:
    """A word as 16 hexadecimal digits."""
    return f"{word:016x}"


def read_words(texts: Sequence[str]) -> tuple[int, int]:
    """Two words from their digits."""
    first, second = map(read_word, texts)
    return first, second


def read_word(text: str) -> int:
    """A word from its digits.

    Raises:
        ValueError: There are more or fewer than 16 digits.
    """
    word = int(text, 16)
    if text != hex_word(word & WORD_MASK):
        raise ValueError("not a word")
    return word


def disagree(why: str) -> IntegrityFailed:
    """The error for sums that do not belong together."""
    return IntegrityFailed(
        "Fingerprints do not belong together.",
        code="digests-disagree",
        why=why,
        next_step="Fingerprint the data again, as one table or in parts of one table.",
    )

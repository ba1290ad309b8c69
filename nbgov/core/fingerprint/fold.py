"""From batches to a fingerprint: sums that grow, merge and end as ids.

Spec: ``docs/spec/fingerprint.md`` sections 2, 7 and 8.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types

from nbgov.core.fingerprint.cells import (
    BINARY_KINDS,
    BLOCK_ROWS,
    STRING_KINDS,
    cell_hashes,
    is_list,
)
from nbgov.core.fingerprint.mixing import (
    LANE_A,
    LANE_B,
    SPEC,
    WORD_MASK,
    Words,
    derive,
    mix,
    total,
    unique_labels,
)

PLAIN_TYPES = (
    (types.is_null, "null"),
    (types.is_boolean, "bool"),
    (types.is_integer, "int"),
    (types.is_floating, "float"),
    (types.is_decimal, "decimal"),
    (types.is_fixed_size_binary, "binary"),
    (types.is_date, "date"),
    (types.is_time, "time"),
    (types.is_duration, "duration"),
    (types.is_interval, "interval"),
    *((is_kind, "text") for is_kind in STRING_KINDS),
    *((is_kind, "binary") for is_kind in BINARY_KINDS),
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content of a table, as digests.

    Attributes:
        rows: Number of rows.
        content: The two row lanes, 32 hex digits; equal without columns that are NULL throughout.
        content_id: ``nbgov-fp-v1:`` and 32 hex digits.
        schema_id: 64 hex digits over the ordered names and logical types.
        columns: ``(name, logical type, digest hex, non-null count)`` in order.
    """

    rows: int
    content: str
    content_id: str
    schema_id: str
    columns: tuple[tuple[str, str, str, int], ...]


class Fingerprinter:
    """Folds batches into a :class:`Fingerprint`.

    Args:
        schema: The columns, for a stream that may end before its first batch. Without it the first
            batch tells.

    Example:
        >>> whole, left, right = Fingerprinter(), Fingerprinter(), Fingerprinter()
        >>> batch = pa.record_batch({"x": [1, 2, 3], "y": ["a", None, "c"]})
        >>> whole.update(batch)
        >>> left.update(batch.slice(2)), right.update(batch.slice(0, 2))
        (None, None)
        >>> left.merge(right).finish() == whole.finish()
        True
    """

    def __init__(self, schema: pa.Schema | None = None) -> None:
        self.rows = 0
        self.lane_a = 0
        self.lane_b = 0
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
            raise RuntimeError("The parts of one dataset differ in names or logical types.")

    def update(self, batch: pa.RecordBatch, hashes: Sequence[Words] | None = None) -> None:
        """Take in the rows of a batch.

        Args:
            batch: The rows.
            hashes: :func:`~nbgov.core.fingerprint.cell_hashes` of its columns, if already made.

        Raises:
            BackendFailed: A column has a type that the specification does not name.
        """
        self.expect(logical_columns(batch.schema))
        if hashes is None:
            hashes = [cell_hashes(column) for column in batch.columns]
        for place, column in enumerate(hashes):
            self.digests[place] = (self.digests[place] + total(column)) & WORD_MASK
            self.nonnulls[place] += int(np.count_nonzero(column))
        self.rows += batch.num_rows
        factors = [
            (np.uint64(first | 1), np.uint64(second | 1))
            for first, second, _ in (
                derive("column", label) for label in unique_labels(batch.schema.names)
            )
        ]
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            rows = min(BLOCK_ROWS, batch.num_rows - start)
            a = np.full(rows, LANE_A)
            b = np.full(rows, LANE_B)
            for column, (factor_a, factor_b) in zip(hashes, factors, strict=True):
                block = column[start : start + rows]
                a += block * factor_a
                b += block * factor_b
            self.lane_a = (self.lane_a + total(mix(a))) & WORD_MASK
            self.lane_b = (self.lane_b + total(mix(b))) & WORD_MASK

    def merge(self, other: Fingerprinter) -> Fingerprinter:
        """The fold of both parts' rows; neither part changes.

        Raises:
            RuntimeError: The parts differ in names or logical types.
        """
        merged = Fingerprinter()
        for part in (self, other):
            if part.columns is None:
                continue
            merged.expect(part.columns)
            merged.rows += part.rows
            merged.lane_a = (merged.lane_a + part.lane_a) & WORD_MASK
            merged.lane_b = (merged.lane_b + part.lane_b) & WORD_MASK
            merged.digests = [
                (x + y) & WORD_MASK for x, y in zip(merged.digests, part.digests, strict=True)
            ]
            merged.nonnulls = [x + y for x, y in zip(merged.nonnulls, part.nonnulls, strict=True)]
        return merged

    def finish(self) -> Fingerprint:
        """The fingerprint of the rows so far."""
        columns = self.columns or ()
        digests = [f"{digest:016x}" for digest in self.digests]
        record = {
            "spec": SPEC,
            "rows": self.rows,
            "content": f"{self.lane_a:016x}{self.lane_b:016x}",
            "columns": dict(
                zip(
                    unique_labels(name for name, _ in columns),
                    zip(digests, self.nonnulls, strict=True),
                    strict=True,
                )
            ),
        }
        return Fingerprint(
            rows=self.rows,
            content=f"{self.lane_a:016x}{self.lane_b:016x}",
            content_id=f"{SPEC}:{canonical_digest(record)[:32]}",
            schema_id=canonical_digest(columns),
            columns=tuple(
                (name, kind, digest, nonnull)
                for (name, kind), digest, nonnull in zip(
                    columns, digests, self.nonnulls, strict=True
                )
            ),
        )


def canonical_digest(value: Any) -> str:
    """SHA-256 (hex) of a value as JSON, written in one way only."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def logical_columns(schema: pa.Schema) -> tuple[tuple[str, str], ...]:
    """Names and logical types, in order."""
    return tuple((field.name, logical_type(field.type)) for field in schema)


def logical_type(kind: pa.DataType) -> str:
    """What a type means, whatever its width and layout.

    >>> logical_type(pa.list_(pa.dictionary(pa.int8(), pa.large_string())))
    'list<text>'
    """
    if isinstance(kind, pa.BaseExtensionType):
        return "uuid" if isinstance(kind, pa.UuidType) else logical_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return logical_type(kind.value_type)
    if types.is_timestamp(kind):
        return "timestamp with zone" if kind.tz else "timestamp"
    plain = (name for is_kind, name in PLAIN_TYPES if is_kind(kind))
    return next(plain, None) or nested_type(kind)


def nested_type(kind: pa.DataType) -> str:
    """The logical type of a type that is made of others; of any other, its own name."""
    if is_list(kind):
        return f"list<{logical_type(kind.value_type)}>"
    if types.is_map(kind):
        return f"map<{logical_type(kind.key_type)}, {logical_type(kind.item_type)}>"
    if types.is_struct(kind):
        return f"struct<{', '.join(f'{part.name}: {logical_type(part.type)}' for part in kind)}>"
    if types.is_union(kind):
        parts = (kind.field(place) for place in range(kind.num_fields))
        return f"union<{', '.join(logical_type(part.type) for part in parts)}>"
    return str(kind)

"""Masking what is found in the cells of one column, of every Arrow type.

:class:`~nbgov.core.masking.ContentMasking` masks text, alone or inside containers. Here numbers,
moments and bytes are looked through as well, since nobody says of a frame what it holds. The cases
are in ``tests/pii/test_frames.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masking import ContentMasking, is_text, uses_of
from nbgov.core.splicing import merge_findings
from nbgov.pii.distinct import Integers, distinct, is_bytes, to_numbers

Booleans = npt.NDArray[np.bool_]


class CellMasking(ContentMasking):
    """Masks what is found in one column, and counts by entity what it replaced.

    Text is rewritten, also where it is stored as bytes in UTF-8. A number or a moment in which
    something is found becomes null, and so do other bytes, because nobody can look through them.

    Attributes:
        nulled: How many numbers and moments became null.
        unreadable: How many cells could not be read, and became null.
    """

    nulled = 0
    unreadable = 0

    def rewrite(self, array: pa.Array) -> pa.Array:
        """The array with what is found masked, of the same type."""
        kind = array.type
        if pa.types.is_null(kind) or pa.types.is_boolean(kind):
            return array
        if is_leaf(kind):
            return self.rewrite_leaf(array, np.ones(len(array), dtype=np.int64))
        if pa.types.is_dictionary(kind):
            return self.rewrite_dictionary(array)
        return self.rewrite_container(array)

    def rewrite_leaf(self, array: pa.Array, rows: Integers) -> pa.Array:
        """Mask values of which each stands for so many rows; the same array if none changes."""
        if is_text(array.type):
            return self.rewrite_text(array, rows)
        if is_bytes(array.type):
            return self.rewrite_bytes(array, rows)
        return self.rewrite_printed(array, rows)

    def rewrite_values(self, values: pa.Array, indices: pa.Array) -> pa.Array:
        """Mask the values of a dictionary that these indices use."""
        if not is_leaf(values.type):
            return self.rewrite(values)
        return self.rewrite_leaf(values, uses_of(indices, len(values)))

    def rewrite_printed(self, array: pa.Array, rows: Integers) -> pa.Array:
        """Put null where something is found in what ``str()`` makes of a value."""
        scanned = array
        if pa.types.is_floating(array.type):
            # What is no number holds nobody's data, yet "nan" and "inf" read as words.
            wide = array.cast(pa.float32()) if pa.types.is_float16(array.type) else array
            scanned = pc.if_else(pc.is_finite(wide), wide, None)
        texts, numbers = distinct(scanned)
        used = numbers >= 0
        found = self.find(texts, np.bincount(numbers[used], rows[used], len(texts)))
        if not found.any():
            return array
        is_found = np.append(found, [False])[numbers]
        self.nulled += int(rows[is_found].sum())
        storage = array.storage if isinstance(array, pa.ExtensionArray) else array
        masked = pc.if_else(pa.array(is_found), pa.scalar(None, storage.type), storage)
        return masked if storage is array else pa.ExtensionArray.from_storage(array.type, masked)

    def find(self, texts: pa.LargeStringArray, rows: npt.NDArray[np.number]) -> Booleans:
        """Which of some distinct texts hold something; counted for so many rows each."""
        found = np.zeros(len(texts), dtype=bool)
        if len(texts) == 0:
            return found
        findings = self.ask(texts)
        if findings.num_rows:
            spans = merge_findings(texts, findings, self.operators)
            self.count(spans, rows)
            found[spans.text] = True
        return found

    def rewrite_bytes(self, array: pa.Array, rows: Integers) -> pa.Array:
        """Mask bytes that are text in UTF-8; other bytes become null."""
        encoded = array.cast(pa.large_binary()).dictionary_encode()
        values = encoded.dictionary
        texts = pa.array([decode(one) for one in values.to_pylist()], pa.large_string())
        numbers = to_numbers(encoded.indices)
        used = numbers >= 0
        uses = np.bincount(numbers[used], rows[used], len(values)).astype(np.int64)
        masked = self.rewrite_text(texts, uses)
        if masked is texts and not texts.null_count:
            return array
        self.unreadable += int(uses[texts.is_null().to_numpy(zero_copy_only=False)].sum())
        if pa.types.is_fixed_size_binary(array.type):
            masked = pc.if_else(pc.equal(masked, texts), texts, None)
        return masked.cast(pa.large_binary()).take(encoded.indices).cast(array.type)


def is_leaf(kind: pa.DataType) -> bool:
    """Whether a type holds texts, bytes, numbers or moments, and nothing inside them."""
    if isinstance(kind, pa.BaseExtensionType):
        return not is_text(kind.storage_type) and not pa.types.is_nested(kind.storage_type)
    if pa.types.is_boolean(kind):
        return False
    plain = (pa.types.is_primitive, pa.types.is_decimal, pa.types.is_interval)
    return is_text(kind) or is_bytes(kind) or any(holds(kind) for holds in plain)


def decode(value: bytes | None) -> str | None:
    """The text that bytes hold in UTF-8, or ``None``."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None

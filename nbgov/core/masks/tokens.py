"""Keyed pseudonyms of text, bytes and integers, and the last characters of a text.

A token of text is the pseudonym of :mod:`nbgov.core.pseudonym`, byte for byte, so that what a
database masks and what is masked here still join. The cases are in
``tests/core/test_mask_tokens.py``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masks.keys import Digests, Task, digests, numbers
from nbgov.core.pseudonym import DIGITS, PREFIX, REDACTED

__all__ = ["binaries", "ending", "integers", "texts"]

HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)
SEPARATORS = r"[^ !-/:-@\[-`{-~]"


def texts(values: pa.Array, task: Task) -> pa.Array:
    """The pseudonym of each text, as the database engines make it."""
    return written(digests(values, task.keys.current))


def written(made: Digests) -> pa.Array:
    """Digests as the text of tokens."""
    start = made[:, : DIGITS // 2]
    text = np.empty((len(made), len(PREFIX) + DIGITS), np.uint8)
    text[:, : len(PREFIX)] = np.frombuffer(PREFIX.encode(), np.uint8)
    text[:, len(PREFIX) :: 2] = HEXADECIMAL[start >> 4]
    text[:, len(PREFIX) + 1 :: 2] = HEXADECIMAL[start & 15]
    offsets = np.arange(len(made) + 1, dtype=np.int64) * text.shape[1]
    buffers = [pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.LargeStringArray.from_buffers(len(made), *buffers)


def binaries(values: pa.Array, task: Task) -> pa.Array:
    """A keyed digest of each value: of 32 bytes, or of the type's own size where that is fixed."""
    made = digests(values.cast(pa.large_binary()), task.keys.subkey("token of bytes"))
    if not pa.types.is_fixed_size_binary(values.type):
        return pa.array([digest.tobytes() for digest in made], pa.large_binary())
    sized = np.zeros((len(made), values.type.byte_width), np.uint8)
    sized[:, : made.shape[1]] = made[:, : sized.shape[1]]
    return pa.Array.from_buffers(values.type, len(made), [None, pa.py_buffer(sized)])


def integers(values: pa.Array, task: Task) -> pa.Array:
    """A keyed number of 64 bits for each integer, the same for 7 of either type."""
    made = numbers(values.cast(pa.large_string()), task.keys.subkey("token of integers"))
    return pa.array(made.view(values.type.to_pandas_dtype()))


def ending(values: pa.Array, task: Task) -> pa.Array:
    """The last characters of each text; nothing of a text that is not twice as long and more."""
    kept = task.operator.number
    tail = pc.utf8_slice_codeunits(values, -kept)
    if task.operator.argument.endswith("shape"):
        head = pc.utf8_slice_codeunits(values, 0, -kept)
        head = pc.replace_substring_regex(head, SEPARATORS, "*")
    else:
        head = pa.scalar(REDACTED, pa.large_string())
    shown = pc.binary_join_element_wise(head, tail, pa.scalar("", pa.large_string()))
    is_long = pc.greater(pc.utf8_length(values), 2 * kept)
    return pc.if_else(is_long, shown, pa.scalar(None, pa.large_string()))

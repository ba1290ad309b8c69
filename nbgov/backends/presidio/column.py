"""The distinct texts of a column: which of them can match a pattern, and all of them as one text.

The counting runs over the bytes of Arrow's own buffers. This module knows no recognizers.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.backends.presidio.conditions import KINDS, LENGTH, PAIRS, Needs

Indices = npt.NDArray[np.int64]
Key = tuple[frozenset[tuple[str, int]], str]

MEMBERS = {
    kind: np.array([chr(byte) in held for byte in range(256)], np.uint8)
    for kind, held in KINDS.items()
}
"""For each kind and byte, whether the byte is a character of the kind."""


class Joined(NamedTuple):
    """Some texts of a column as one.

    Attributes:
        text: The texts, with a separator behind each but the last.
        starts: Where each begins, in characters.
        indices: Which texts of the column they are.
    """

    text: str
    starts: Indices
    indices: Indices


class Column:
    """Texts, and counts of characters in them.

    Args:
        values: Strings without nulls.
    """

    def __init__(self, values: pa.LargeStringArray) -> None:
        _, offsets, data = values.buffers()
        count = len(values)
        ends = np.frombuffer(offsets, np.int64, count + 1, values.offset * 8) if count else None
        self.ends: Indices = np.zeros(1, np.int64) if ends is None else ends
        self.bytes = np.frombuffer(data or b"", np.uint8)[self.ends[0] : self.ends[-1]]
        self.texts: list[str] = values.to_pylist()
        self.lengths: Indices = pc.utf8_length(values).to_numpy().astype(np.int64)
        self.is_ascii: npt.NDArray[np.bool_] = self.lengths == np.diff(self.ends)
        self.counted: dict[str, npt.NDArray[np.integer]] = {LENGTH: self.lengths}
        self.chosen: dict[Key, Indices] = {}
        self.joined: dict[tuple[Key, str], Joined] = {}
        self.values = values

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)

    def counts(self, kind: str) -> npt.NDArray[np.integer]:
        """How many characters or neighbours of a kind each text holds; only ASCII counts."""
        if kind not in self.counted:
            total = np.zeros(len(self.bytes) + 1, np.int32)
            ends = self.ends - self.ends[0]
            if kind in PAIRS:
                left, right = (MEMBERS[side][self.bytes] for side in PAIRS[kind])
                is_pair = left[:-1] & right[1:]
                # The last character of a text is no neighbour of the next text's first.
                is_pair[ends[(ends > 0) & (ends < len(self.bytes))] - 1] = 0
                np.cumsum(is_pair, dtype=np.int32, out=total[2:])
            else:
                np.cumsum(MEMBERS[kind][self.bytes], dtype=np.int32, out=total[1:])
            self.counted[kind] = total[ends[1:]] - total[ends[:-1]]
        return self.counted[kind]

    def holding(self, needs: Needs) -> Indices:
        """The texts that hold what a match needs, and every text beyond ASCII."""
        key = key_of(needs)
        if key not in self.chosen:
            wanted = np.ones(len(self), dtype=bool)
            for kind, count in needs.counts.items():
                wanted &= self.counts(kind) >= count
            if len(needs.literal) > 1 and wanted.any():
                held = pc.match_substring(self.lowered, needs.literal)
                wanted &= held.to_numpy(zero_copy_only=False)
            self.chosen[key] = np.flatnonzero(wanted | ~self.is_ascii)
        return self.chosen[key]

    def join(self, needs: Needs, separator: str) -> Joined:
        """The texts that hold what a match needs, joined with a separator."""
        key = key_of(needs), separator
        if key not in self.joined:
            indices = self.holding(needs)
            lengths = self.lengths[indices] + 1
            starts = np.cumsum(lengths) - lengths
            text = separator.join(map(self.texts.__getitem__, indices.tolist()))
            self.joined[key] = Joined(text, starts, indices)
        return self.joined[key]

    @cached_property
    def lowered(self) -> pa.LargeStringArray:
        """The texts with the letters of ASCII in lower case."""
        return pc.ascii_lower(self.values)

    @cached_property
    def digits(self) -> npt.NDArray[np.integer]:
        """How many digits each text holds at most: a character beyond ASCII may be one."""
        return self.counts("digits") + np.where(self.is_ascii, 0, self.lengths)


def key_of(needs: Needs) -> Key:
    """What the needs of two patterns are compared by."""
    return frozenset(needs.counts.items()), needs.literal

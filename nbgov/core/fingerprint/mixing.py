"""The arithmetic of fingerprints, on whole NumPy arrays: mixing, sums over segments, byte strings.

It knows no Arrow type. Spec: ``docs/spec/fingerprint.md`` sections 1, 2 and 4.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint64]
Counts: TypeAlias = npt.NDArray[np.int64]

SPEC = "nbgov-fp-v1"
WORD_MASK = (1 << 64) - 1

# Spec fingerprint 1: the constants, under the names that they have there.
STEP = np.uint64(0x9E3779B97F4A7C15)
LANE_A = np.uint64(0xD1B54A32D192ED03)
LANE_B = np.uint64(0x8CB92BA72F3D8DD7)
TEXT = np.uint64(0xA0761D6478BD642F)
LENGTH = np.uint64(0xE7037ED1A0B428DB)
NANOS = np.uint64(0x589965CC75374CC3)
LIST = np.uint64(0x1D8E4E27C47D124F)
STRUCT = np.uint64(0xEB44ACCAB455D165)
MAP = np.uint64(0x9C6E6877736C46E3)
# A plain integer: it is raised to powers. It is 3 modulo 8, so its powers repeat after 2^62 rows.
ORDER = 0xD6E8FEB86659FD93

FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
FACTOR_2 = np.uint64(0x94D049BB133111EB)

# Pieces of eight bytes that are mixed at a time: the arrays in work then stay in the L2 cache, and
# one text of a gigabyte needs no more memory for them than a thousand short ones.
PIECES_MAX = 1 << 15


def derive(label: str, name: str) -> tuple[int, int, int]:
    """The three words that stand for a name in one role.

    >>> hex(derive("seed", "")[0])
    '0xb3f6f32d6e0a8eac'
    """
    digest = hashlib.blake2b(
        name.encode(), digest_size=24, person=label.encode(), salt=SPEC.encode()
    ).digest()
    first, second, third = struct.unpack("<3Q", digest)
    return first, second, third


SEED = np.uint64(derive("seed", "")[0])


def unique_labels(names: Iterable[str]) -> tuple[str, ...]:
    r"""Labels that tell apart columns, or fields, of one name.

    >>> unique_labels(["x", "y", "x"])
    ('x', 'y', 'x\x002')
    """
    # Spec fingerprint 2: a lone U+0000 can only come from here; those of a name are doubled.
    seen: Counter[str] = Counter()
    labels = []
    for name in names:
        seen[name] += 1
        label = name.replace("\0", "\0\0")
        labels.append(label if seen[name] == 1 else f"{label}\0{seen[name]}")
    return tuple(labels)


def mix(words: Words) -> Words:
    """Mix an array in place and return it."""
    shifted = words >> np.uint64(30)
    words ^= shifted
    words *= FACTOR_1
    np.right_shift(words, np.uint64(27), out=shifted)
    words ^= shifted
    words *= FACTOR_2
    np.right_shift(words, np.uint64(31), out=shifted)
    words ^= shifted
    return words


def total(words: Words) -> int:
    """The sum of an array modulo 2^64, as a Python integer."""
    return int(np.add.reduce(words, dtype=np.uint64))


def dot(words: Words, weights: Words) -> int:
    """The weighted sum of an array modulo 2^64, as a Python integer."""
    return int(np.dot(words, weights))


def powers(factor: int, count: int) -> Words:
    """The powers of a factor modulo 2^64, from the highest down to 1.

    >>> powers(3, 4).tolist()
    [27, 9, 3, 1]
    """
    rising = np.full(count, factor & WORD_MASK, np.uint64)
    rising[:1] = 1
    return np.multiply.accumulate(rising)[::-1].copy()


def segment_sums(terms: Words, starts: Counts, ends: Counts) -> Words:
    """Sums modulo 2^64 of ``terms[start:end]`` for each segment; segments may be empty."""
    sums = np.zeros(len(terms) + 1, np.uint64)
    np.cumsum(terms, out=sums[1:])
    segments: Words = sums[ends] - sums[starts]
    return segments


def positions(counts: Counts) -> Words:
    """1, 2, ... within each segment of the given length.

    >>> positions(np.array([2, 0, 3])).tolist()
    [1, 2, 1, 2, 3]
    """
    starts = np.cumsum(counts) - counts
    ranks = np.arange(1, int(counts.sum()) + 1) - np.repeat(starts, counts)
    return ranks.astype(np.uint64)


def byte_words(data: npt.NDArray[np.uint8], starts: Counts, lengths: Counts) -> Words:
    """The words of byte strings that lie in one buffer.

    Args:
        data: The bytes.
        starts: Where each string starts.
        lengths: How many bytes each string has.
    """
    padded = np.zeros((data.size // 8 + 2) * 8, np.uint8)
    padded[: data.size] = data
    # A view of the word that starts at each byte: one indexing reads many pieces, unaligned.
    pieces = np.lib.stride_tricks.as_strided(
        padded.view(">u8"), shape=(padded.size - 7,), strides=(1,), writeable=False
    )
    words = TEXT + lengths.astype(np.uint64) * LENGTH
    counts = (lengths + 7) // 8
    ends = np.cumsum(counts)
    for low in range(0, int(counts.sum()), PIECES_MAX):
        high = min(low + PIECES_MAX, int(ends[-1]))
        first = int(np.searchsorted(ends, low, side="right"))
        last = int(np.searchsorted(ends, high, side="left")) + 1
        rows = slice(first, last)
        begin = ends[rows] - counts[rows]
        inside = np.clip(begin, low, high), np.clip(ends[rows], low, high)
        spread = inside[1] - inside[0]
        rank = np.arange(low, high) - np.repeat(begin, spread)
        terms = pieces[np.repeat(starts[rows], spread) + 8 * rank].astype(np.uint64)
        clear_padding(terms, ends[rows] - 1 - low, lengths[rows])
        terms += SEED
        rank += 1
        terms += rank.view(np.uint64) * STEP
        words[rows] += segment_sums(mix(terms), inside[0] - low, inside[1] - low)
    return words


def clear_padding(pieces: Words, last: Counts, lengths: Counts) -> None:
    """Zero the bytes of each string's last piece that are not its own; ``last`` may lie outside."""
    partial = np.flatnonzero((lengths % 8 != 0) & (last >= 0) & (last < len(pieces)))
    bits = (8 * (8 - lengths[partial] % 8)).astype(np.uint64)
    pieces[last[partial]] >>= bits
    pieces[last[partial]] <<= bits

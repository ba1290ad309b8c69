"""Masking Python objects: columns of mixed values, and the lists and dicts inside them.

Only here Python walks over rows, since only Python can look into its own objects. A column of
texts alone never comes here. The cases are in ``tests/pii/test_frames.py``.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import ipaddress
import math
import pathlib
import uuid
from collections import Counter
from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nbgov.pii.cells import CellMasking, decode
from nbgov.pii.distinct import Integers, is_missing

BYTES = (bytes, bytearray, memoryview)
SHAPES: dict[type, str] = {
    **dict.fromkeys((type(None), bool, np.bool_), "kept"),
    **dict.fromkeys((list, tuple, set, frozenset), "sequence"),
    str: "text",
    int: "printed",
    dict: "dict",
    np.ndarray: "array",
}
"""How a value of a type is looked through, where the type alone tells."""

HOLDS_NULL = "fcmM"
"""Kinds of NumPy types that hold nulls."""

PRINTED = (
    int, float, complex, decimal.Decimal, fractions.Fraction, np.generic, uuid.UUID,
    datetime.date, datetime.time, datetime.timedelta, pathlib.PurePath,
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface,
    ipaddress.IPv6Interface, ipaddress.IPv4Network, ipaddress.IPv6Network,
    pd.Interval, pd.Period,
)  # fmt: skip
"""Types of which ``str()`` tells everything."""


def rewrite_objects(
    masking: CellMasking, values: list[Any], rows: Iterable[int] | None = None
) -> list[Any]:
    """Python values with what is found in them masked; the same list if nothing is found.

    Texts and bytes are rewritten. Whatever else something is found in becomes ``None``, and so does
    an object of a type that is not known here. Lists, tuples, sets, dicts with their keys, and
    NumPy arrays are rebuilt around what changes.

    Args:
        masking: Finds, masks and counts.
        values: The values.
        rows: For how many rows each value stands; one by default.
    """
    walk = Walk()
    for value, count in zip(values, repeat(1, len(values)) if rows is None else rows, strict=True):
        walk.gather(value, count)
    return walk.rebuilt(masking, values)


class Walk:
    """What a column of Python values holds at its leaves, and how often."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()
        self.printed: Counter[str] = Counter()
        self.masked: dict[str, str] = {}
        self.found: set[str] = set()
        self.unreadable = 0

    # ------------------------------------------------------------ looking

    def gather(self, value: Any, count: int) -> None:
        """Note the leaves of a value."""
        match shape(value):
            case "text":
                self.texts[characters(value)] += count
            case "bytes":
                self.texts[bytes(value).decode()] += count
            case "sequence":
                for one in value:
                    self.gather(one, count)
            case "dict":
                for pair in value.items():
                    self.gather(pair, count)
            case "array":
                self.gather(value.tolist(), count)
            case "printed":
                self.printed[str(value)] += count
            case "unreadable":
                self.unreadable += count

    # ------------------------------------------------------------ masking

    def rebuilt(self, masking: CellMasking, values: list[Any]) -> list[Any]:
        """The values around their masked leaves; the same list if none changes."""
        texts = pa.array(list(self.texts), pa.large_string())
        masked = masking.rewrite_text(texts, to_rows(self.texts))
        if masked is not texts:
            pairs = zip(self.texts, masked.to_pylist(), strict=True)
            self.masked = {text: new for text, new in pairs if text != new}
        printed = pa.array(list(self.printed), pa.large_string())
        is_found = masking.find(printed, to_rows(self.printed))
        self.found = {text for text, one in zip(self.printed, is_found, strict=True) if one}
        masking.nulled += sum(self.printed[text] for text in self.found)
        masking.unreadable += self.unreadable
        if not (self.masked or self.found or self.unreadable):
            return values
        return [self.rebuild(one) for one in values]

    def rebuild(self, value: Any) -> Any:
        """A value around its masked leaves; itself if none changes."""
        new = value
        match shape(value):
            case "text":
                new = self.masked.get(characters(value), value)
            case "bytes":
                masked = self.masked.get(bytes(value).decode())
                new = value if masked is None else type(value)(masked.encode())
            case "sequence":
                parts = [self.rebuild(one) for one in value]
                is_same = all(a is b for a, b in zip(value, parts, strict=True))
                new = value if is_same else type(value)(parts)
            case "dict":
                pairs = [self.rebuild(pair) for pair in value.items()]
                is_same = all(
                    a is k and b is v for (a, b), (k, v) in zip(pairs, value.items(), strict=True)
                )
                new = value if is_same else dict(pairs)
            case "array":
                new = self.rebuild_array(value)
            case "printed":
                new = None if str(value) in self.found else value
            case "unreadable":
                new = None
        return new

    def rebuild_array(self, value: np.ndarray[Any, Any]) -> Any:
        """A NumPy array around its masked elements."""
        old = value.tolist()
        new = self.rebuild(old)
        if new is old:
            return value
        if value.dtype.kind in HOLDS_NULL:
            return np.array(new, dtype=value.dtype)
        rebuilt = np.empty(value.size, dtype=object)
        rebuilt[:] = list(leaves(new, value.ndim))
        return rebuilt.reshape(value.shape)


def shape(value: Any) -> str:
    """How a value is looked through; ``kept`` where there is nothing to look for."""
    return SHAPES.get(type(value)) or odd_shape(value)


def odd_shape(value: Any) -> str:
    """How a value is looked through of which the type alone does not tell."""
    if is_missing(value) or is_boundless(value):
        return "kept"
    if isinstance(value, BYTES):
        return "unreadable" if decode(bytes(value)) is None else "bytes"
    if isinstance(value, str):
        return "text"
    return "printed" if isinstance(value, PRINTED) else "unreadable"


def characters(text: str) -> str:
    """The characters of a text themselves: an enumeration of texts prints its own name instead."""
    return str.__str__(text)


def to_rows(counts: Counter[str]) -> Integers:
    """For how many rows each text stands, in order."""
    return np.array(list(counts.values()), dtype=np.int64)


def leaves(values: Any, depth: int) -> Iterable[Any]:
    """The elements of lists of lists, in order."""
    if depth == 0:
        yield values
        return
    for one in values:
        yield from leaves(one, depth - 1)


def is_boundless(value: Any) -> bool:
    """Whether a value is an infinite number, whose text reads as a word."""
    return isinstance(value, float) and math.isinf(value)

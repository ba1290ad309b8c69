"""Postal codes, ages and other numbers, made coarser.

What is no postal code of the United States is not covered by ``zip``, and what is no number not by
``bucket`` and ``age``. The cases are in ``tests/core/test_mask_coarser.py``.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masks.fitting import packed
from nbgov.core.masks.keys import Task

__all__ = [
    "RESTRICTED",
    "width_decimals",
    "width_floats",
    "width_integers",
    "width_texts",
    "zip_integers",
    "zip_texts",
]

Numbers: TypeAlias = npt.NDArray[Any]
TEXT = pa.large_string()
ZIP = r"^\s*(?P<prefix>\d{3})\d{2}(?:[- ]?\d{4})?\s*$"
ZIP_DIGITS = 3
ZIP_MAX, ZIP_LONG_MAX = 99_999, 999_999_999
# 45 CFR 164.514(b)(2)(i)(B): the first three digits may stay where all codes that begin with them
# have more than 20,000 people together, and become 000 elsewhere. These 17 have fewer by the census
# of 2000, which the guidance of the Department of Health and Human Services goes by.
RESTRICTED = tuple("036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893".split())
# 45 CFR 164.514(b)(2)(i)(C): all ages over 89 are one.
OLDEST = 90
NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18})(?:\.[0-9]{1,18})?\s*")


def zip_texts(values: pa.Array, task: Task) -> pa.Array:
    """The first digits of each text that is a ZIP code, and zeros for the restricted ones."""
    prefix = pc.struct_field(pc.extract_regex(values, ZIP), "prefix")
    is_restricted = pc.is_in(prefix, value_set=pa.array(RESTRICTED, TEXT))
    prefix = pc.if_else(is_restricted, pa.scalar("000", TEXT), prefix)
    return pc.utf8_slice_codeunits(prefix, 0, task.operator.number)


def zip_integers(values: pa.Array, task: Task) -> pa.Array:
    """The same of integers, which have lost their leading zeros."""
    codes, is_null = unpacked(values)
    prefix = np.where(codes <= ZIP_MAX, codes // 100, codes // 1_000_000)
    prefix[np.isin(prefix, [int(one) for one in RESTRICTED])] = 0
    prefix //= 10 ** (ZIP_DIGITS - task.operator.number)
    return packed(prefix, values.type, is_null | (codes < 0) | (codes > ZIP_LONG_MAX))


def unpacked(values: pa.Array) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Numbers, zero for what is null; and what is null."""
    numbers: Numbers = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
    return numbers, values.is_null().to_numpy(zero_copy_only=False)


def width_integers(values: pa.Array, task: Task) -> pa.Array:
    """The lower bound of the bucket that each integer lies in."""
    numbers, is_null = unpacked(values)
    if task.operator.name == "age":
        numbers = np.minimum(numbers, OLDEST, dtype=numbers.dtype)
    own = numbers.dtype
    # Narrow integers are widened, as a width may be larger than their type.
    wide = numbers if own == np.uint64 else numbers.astype(np.int64)
    low = wide - wide % wide.dtype.type(task.operator.number)
    if task.operator.name == "age":
        low[numbers == OLDEST] = OLDEST
    # A bucket whose lower bound the type cannot hold has wrapped around.
    is_lost = (low > wide) | (low.astype(own) != low)
    return packed(low.astype(own), values.type, is_null | is_lost)


def width_floats(values: pa.Array, task: Task) -> pa.Array:
    """The same of floating-point numbers; what is not finite stays."""
    numbers, is_null = unpacked(values)
    wide, own = numbers.astype(np.float64), numbers.dtype
    width = task.operator.number
    with np.errstate(over="ignore", invalid="ignore"):
        # A quotient of the smallest numbers would round to zero before it is cut off.
        low = np.where(np.isfinite(wide), np.floor_divide(wide, width) * width, wide)
        if task.operator.name == "age":
            low = np.where(wide >= OLDEST, OLDEST, low)
        made = low.astype(own)
    return packed(made, values.type, is_null | (np.isinf(made) & np.isfinite(wide)))


def width_decimals(values: pa.Array, task: Task) -> pa.Array:
    """The same of decimals."""
    kind = values.type
    limit, step = 10 ** max(kind.precision - kind.scale, 0), 10 ** max(-kind.scale, 0)
    made: list[Decimal | None] = []
    for value in values.to_pylist():
        low = bucket(math.floor(value), task)
        fits = abs(low) < limit and low % step == 0
        made.append(Decimal(low) if fits else None)
    return pa.array(made, kind)


def bucket(number: int, task: Task) -> int:
    """The lower bound of the bucket that a number lies in."""
    if task.operator.name == "age" and number >= OLDEST:
        return OLDEST
    return number // task.operator.number * task.operator.number


def width_texts(values: pa.Array, task: Task) -> pa.Array:
    """The bucket of each text that is a number, written out: ``30-39``."""
    made = []
    for value in values.to_pylist():
        found = NUMBER.fullmatch(value)
        made.append(None if found is None else bounds(bucket(int(found[1]), task), task))
    return pa.array(made, TEXT)


def bounds(low: int, task: Task) -> str:
    """A bucket, as a person writes it.

    Example:
        >>> from nbgov.core.masks import Keys, Operator
        >>> [bounds(30, Task(Operator("bucket", n), Keys(b"k"), "")) for n in ("10", "1")]
        ['30-39', '30']
    """
    high = low + task.operator.number - 1
    if task.operator.name == "age":
        if low >= OLDEST:
            return f"{OLDEST}+"
        high = min(high, OLDEST - 1)
    if low == high:
        return str(low)
    return f"{low}-{high}" if low >= 0 else f"{low} to {high}"

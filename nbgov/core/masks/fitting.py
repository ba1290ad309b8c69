"""Which operator fits which Arrow type, decided by the type alone.

It also holds what brings an array into a form that every kernel reads.

A value never decides whether a mask fails: an error that depends on values tells about them. What
an operator cannot cover within a type that fits is redacted, as ``docs/concepts/masks.md`` says.
The cases are in ``tests/core/test_mask_fitting.py``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nbgov.core.masks.operators import Operator
from nbgov.errors import ConfigInvalid

UNIQUE_BYTES_MIN = 16
DECIMAL_BITS = 128


class Family(enum.Enum):
    """Types that the operators treat alike."""

    TEXT = "text"
    BYTES = "binary data, of a fixed size from 16 bytes on"
    LONG = "integers of 64 bits"
    INTEGER = "integers of 32 bits"
    SHORT = "integers of 8 and 16 bits"
    FLOAT = "floating-point numbers"
    DECIMAL = "decimals"
    DAY = "dates"
    MOMENT = "timestamps"
    OTHER = "other types"


TOTAL = frozenset({"keep", "null", "redact"})
"""The operators that fit every type."""

TEXT, LONG, INTEGER = Family.TEXT, Family.LONG, Family.INTEGER
CALENDAR = frozenset({TEXT, Family.DAY, Family.MOMENT})
NUMERIC = frozenset({TEXT, LONG, INTEGER, Family.SHORT, Family.FLOAT, Family.DECIMAL})
FITTING: dict[str, frozenset[Family]] = {
    "partial": frozenset({TEXT}),
    # Two of a million different integers share a token of 64 bits with a probability of 3 in 10**8;
    # of 32 bits, they would almost surely.
    "token": frozenset({TEXT, Family.BYTES, LONG}),
    "ff1": frozenset({TEXT, LONG, INTEGER}),
    "date-shift": CALENDAR,
    "year": CALENDAR,
    "month": CALENDAR,
    "quarter": CALENDAR,
    "zip": frozenset({TEXT, LONG, INTEGER}),
    "bucket": NUMERIC,
    "age": NUMERIC,
    "surrogate": frozenset({TEXT}),
}


def family(kind: pa.DataType) -> Family:
    """The family of a type that holds no other one."""
    return next((own for is_own, own in FAMILIES if is_own(kind)), Family.OTHER)


def is_extension(kind: pa.DataType) -> bool:
    """Whether a type is one of an extension, known to Arrow or not."""
    return isinstance(kind, pa.BaseExtensionType)


def is_long_binary(kind: pa.DataType) -> bool:
    """Whether values have a fixed size that has room for a digest."""
    return bool(pa.types.is_fixed_size_binary(kind)) and kind.byte_width >= UNIQUE_BYTES_MIN


FAMILIES: tuple[tuple[Callable[[pa.DataType], bool], Family], ...] = (
    (pa.types.is_string, TEXT),
    (pa.types.is_large_string, TEXT),
    (pa.types.is_string_view, TEXT),
    (pa.types.is_binary, Family.BYTES),
    (pa.types.is_large_binary, Family.BYTES),
    (pa.types.is_binary_view, Family.BYTES),
    (is_long_binary, Family.BYTES),
    (pa.types.is_int64, LONG),
    (pa.types.is_uint64, LONG),
    (pa.types.is_int32, INTEGER),
    (pa.types.is_uint32, INTEGER),
    (pa.types.is_integer, Family.SHORT),
    (pa.types.is_floating, Family.FLOAT),
    (pa.types.is_decimal, Family.DECIMAL),
    (pa.types.is_date, Family.DAY),
    (pa.types.is_timestamp, Family.MOMENT),
)


def holds_own_text(kind: pa.DataType) -> bool:
    """Whether the values of a type are plain text, however they are encoded."""
    while pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    return family(kind) is TEXT


def widened(array: pa.Array) -> pa.Array:
    """The array in the widest type of its family, in which the kernels work."""
    kind = array.type
    if family(kind) is Family.TEXT:
        return array.cast(pa.large_string())
    if family(kind) is Family.BYTES and not pa.types.is_fixed_size_binary(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_decimal(kind) and kind.bit_width < DECIMAL_BITS:
        return array.cast(pa.decimal128(kind.precision, kind.scale))
    return array


def decoded(array: pa.Array) -> pa.Array:
    """The array's own values, out of dictionaries, runs and extension types."""
    while True:
        if pa.types.is_dictionary(array.type):
            array = widened(array.dictionary).take(array.indices)
        elif pa.types.is_run_end_encoded(array.type):
            array = widened(array.values).take(run_of_rows(array))
        elif is_extension(array.type):
            array = array.storage
        else:
            return widened(array)


def packed(values: npt.NDArray[Any], kind: pa.DataType, is_null: npt.NDArray[np.bool_]) -> pa.Array:
    """Numbers as an array of a type, null where that is said."""
    # Security: what stands below a null travels with the array, to wherever that is written.
    return pa.array(np.where(is_null, values.dtype.type(0), values), mask=is_null).view(kind)


def run_of_rows(array: pa.RunEndEncodedArray) -> pa.Array:
    """For each row of run-end encoded values the number of its run."""
    rows = array.offset + np.arange(len(array))
    return pa.array(np.searchsorted(array.run_ends.to_numpy(), rows, side="right"))


def refuse_unfit(kind: pa.DataType, operator: Operator, domain: str) -> None:
    """Do nothing if an operator fits a type, with all that the type holds inside.

    Raises:
        ConfigInvalid: It does not fit (``mask-unfit``), or the type has fewer than a million
            values, too few to be encrypted within it (``mask-domain-small``).
    """
    if operator.name in TOTAL or pa.types.is_null(kind):
        return
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        refuse_unfit(kind.value_type, operator, domain)
    elif is_extension(kind) and kind.extension_name != "arrow.json":
        refuse_unfit(kind.storage_type, operator, domain)
    elif pa.types.is_nested(kind) and not pa.types.is_union(kind):
        # Security: the key of a map cannot be null, which is what some numbers read as.
        if pa.types.is_map(kind) and not holds_own_text(kind.key_type):
            raise unfit(kind, operator, domain)
        for index in range(kind.num_fields):
            refuse_unfit(kind.field(index).type, operator, domain)
    elif operator.name == "ff1" and family(kind) is Family.SHORT:
        raise ConfigInvalid(
            f"The mask {operator.text} of {domain!r} cannot protect the type {kind}.",
            code="mask-domain-small",
            why="it has fewer than a million values, so that all of them could be tried",
            next_step="use null, or bucket:10",
        )
    elif family(kind) not in FITTING[operator.name]:
        raise unfit(kind, operator, domain)


def unfit(kind: pa.DataType, operator: Operator, domain: str) -> ConfigInvalid:
    """What is said of an operator that does not fit a type."""
    own = family(kind)
    others = [name for name, families in FITTING.items() if own in families]
    fits = ", ".join(one.value for one in Family if one in FITTING[operator.name])
    return ConfigInvalid(
        f"The mask {operator.text} of {domain!r} does not fit the type {kind}.",
        code="mask-unfit",
        why=f"it fits {fits}",
        next_step=f"use {', '.join([*others, *sorted(TOTAL - {'keep'})])}",
    )

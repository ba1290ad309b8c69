"""Arrow columns from the Python values that a driver returns.

The first batch settles the types, as pyarrow infers them; a decimal keeps all the digits that Arrow
has. Where there is no value yet, MySQL's type codes tell; other drivers do not, and the column is
text. A column of values that Arrow has no simple type for, or of several kinds, becomes text too.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from nbgov.core.transfer import Misfit

DECIMAL_DIGITS_MAX = 38
SCALE_PLACE = 5  # In a column's description (PEP 249).
MOMENT = pa.timestamp("us")

# Codes of the MySQL protocol (Column Definition, "type").
MYSQL_TYPES = {
    1: pa.int64(), 2: pa.int64(), 3: pa.int64(), 8: pa.int64(), 9: pa.int64(), 13: pa.int64(),
    4: pa.float64(), 5: pa.float64(), 10: pa.date32(), 11: pa.duration("us"), 7: MOMENT, 12: MOMENT,
}  # fmt: skip
MYSQL_DECIMALS = {0, 246}


def settled_type(
    values: Sequence[Any], description: Sequence[Any], *, is_mysql: bool
) -> pa.DataType:
    """The Arrow type of a column, from its first values and its description."""
    _, code, *_ = description
    scale = description[SCALE_PLACE] if len(description) > SCALE_PLACE else None
    if is_mysql and code in MYSQL_DECIMALS:
        return pa.decimal128(DECIMAL_DIGITS_MAX, scale)
    arrow = inferred_type(values)
    if pa.types.is_null(arrow):
        return MYSQL_TYPES.get(code, pa.string()) if is_mysql else pa.string()
    if pa.types.is_decimal(arrow):
        return pa.decimal128(DECIMAL_DIGITS_MAX, max(arrow.scale, scale or 0))
    if pa.types.is_timestamp(arrow) and arrow.tz is not None:
        return pa.timestamp("us", "UTC")
    return pa.string() if pa.types.is_nested(arrow) else arrow


def inferred_type(values: Sequence[Any]) -> pa.DataType:
    """What pyarrow makes of the values; text where it makes nothing of them."""
    try:
        return inferred(values).type
    except Misfit:
        return pa.string()


def array(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    """The values of one column.

    Raises:
        Misfit: A value is of another kind.
        ArrowInvalid: A number is out of the type's range.
    """
    if arrow == pa.string() and not set(map(type, values)) <= {str, type(None)}:
        values = [text(value) for value in values]
    found = inferred(values)
    if not may_become(found.type, arrow):
        raise Misfit
    return found.cast(arrow)


def may_become(found: pa.DataType, arrow: pa.DataType) -> bool:
    """Whether a cast between two types keeps every value, or fails."""
    types = pa.types
    return bool(
        found == arrow
        or types.is_null(found)
        or (types.is_integer(found) and (types.is_integer(arrow) or types.is_floating(arrow)))
        or (types.is_decimal(found) and types.is_decimal(arrow))
        or (types.is_timestamp(found) and types.is_timestamp(arrow))
    )


def inferred(values: Sequence[Any]) -> pa.Array:
    """The values as pyarrow makes them out, kinds unmixed."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError):
        raise Misfit from None


def text(value: Any) -> str | None:
    """A value of a column that has no simple type, as text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return None if value is None else str(value)

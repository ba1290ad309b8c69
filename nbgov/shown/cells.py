"""One value, one column: as text that shows what is there.

The text is whatever the database holds: it is shown through :mod:`nbgov.core.visible` only. The
module knows nothing of tables or notebooks. Cases are in ``tests/surfaces/test_render.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

CELL_CHARS_MAX = 80
ITEMS_MAX = 80


def is_number(kind: pa.DataType) -> bool:
    """Whether values of the type read best aligned to the right."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def texts(column: pa.ChunkedArray) -> list[str | None]:
    """The values of a column as text; strings are cut just after what a cell can show.

    >>> texts(pa.chunked_array([[1.5, None]]))
    ['1.5', None]
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # A cell may hold megabytes; what is not shown need not become a Python string.
        return list(pc.utf8_slice_codeunits(column, 0, CELL_CHARS_MAX + 1).to_pylist())
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return moments(column)
    try:
        return [None if value is None else value_text(value) for value in column.to_pylist()]
    except (OverflowError, ValueError):
        # Arrow holds moments that Python cannot, and here they are inside a list or a struct.
        return [f"<{kind}>" if is_valid else None for is_valid in column.is_valid().to_pylist()]


def moments(column: pa.ChunkedArray) -> list[str | None]:
    """Dates and times as Arrow writes them: any year, any precision, zero fractions dropped."""
    kind = column.type
    try:
        written = column.cast(pa.string())
    except pa.ArrowInvalid:
        # The time zone is unknown on this machine; the moment itself is not.
        written = column.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.string())
    unit = f" {kind.unit}" if pa.types.is_duration(kind) else ""
    return [
        None if text is None else re.sub(r"\.0+(?=Z|[+-]|$)", "", text) + unit
        for text in written.to_pylist()
    ]


def value_text(value: Any) -> str:
    """A value as text; nested values in the manner of JSON, long ones cut.

    >>> value_text([1, None, True, {"a": b"x"}])
    '[1, NULL, true, {a: 0x78}]'
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return "0x" + value[:CELL_CHARS_MAX].hex()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {value_text(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value[:ITEMS_MAX])) + "]"
    return str(value)

"""One string, one value, one column: as text that shows what is there.

Values come from databases and statements from strangers, so :func:`visible` gives a sign to every
character that a person would not see. The module knows nothing of tables or notebooks. Cases are in
``tests/surfaces/test_render.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

CELL_CHARS_MAX = 80
ITEMS_MAX = 80

# Characters that print as nothing although Unicode calls them printable: fillers, joiners and
# variation selectors. They can make two different texts look the same.
INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\U000e0100-\U000e01ef]"
)


def visible(text: str, *, keep: str = "") -> str:
    r"""Show control, direction, filler and odd space characters as signs; leave all others.

    Args:
        text: Any text, from anyone.
        keep: Characters to leave as they are, such as a newline.

    Example:
        >>> visible("to:\u202egrace\n\x00")
        'to:⟨U+202E⟩grace↵⟨U+0000⟩'
    """
    if text.isprintable() and not INVISIBLE.search(text):
        return text
    # Security: a direction override or an invisible character makes one statement read as another.
    return "".join(c if c in keep or is_plain(c) else sign(c) for c in text)


def is_plain(character: str) -> bool:
    """Whether a person sees the character for what it is."""
    return character.isprintable() and not INVISIBLE.match(character)


def sign(character: str) -> str:
    """The visible stand-in of a character that is not plain."""
    return "↵" if character == "\n" else f"⟨U+{ord(character):04X}⟩"


def cut(text: str, chars_max: int = CELL_CHARS_MAX) -> str:
    """The text, or its beginning and an ellipsis, in at most ``chars_max`` characters."""
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def safe(text: str, *, keep: str = "") -> str:
    """The text as HTML, for element content and for attributes in double quotes.

    >>> safe('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return escape(visible(text, keep=keep), quote=True)


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

"""Arrow types for SQLite's columns, whose values may be of any storage class.

A declared type promises nothing in SQLite, so the first batch of values decides. The declaration
says what they do not: the type of a column without values, and whether whole numbers belong to a
real column. A column that mixes classes in its first batch is text, each value as SQL writes it. A
later value that does not fit ends the stream with an error, as the schema cannot change any more
and no value is ever altered. Dates, times and booleans have no storage class of their own: they
stay the text or number that they are stored as. Cases: ``tests/backends/test_engine.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from nbgov.core.transfer import Misfit

# Parts of a declared type, in the order that SQLite itself looks for them (datatype3.html, 3.1).
# DATE and TIME are numeric to SQLite, but its date functions write text.
DECLARED = (
    ("INT", pa.int64()),
    ("CHAR", pa.string()),
    ("CLOB", pa.string()),
    ("TEXT", pa.string()),
    ("BLOB", pa.binary()),
    ("REAL", pa.float64()),
    ("FLOA", pa.float64()),
    ("DOUB", pa.float64()),
    ("BOOL", pa.int64()),
    ("DATE", pa.string()),
    ("TIME", pa.string()),
    ("DEC", pa.float64()),
    ("NUMERIC", pa.float64()),
)
# The storage classes that a type holds exactly, as the Python types that the driver makes of them.
HELD: dict[pa.DataType, set[type]] = {
    pa.int64(): {int},
    pa.float64(): {int, float},
    pa.string(): {str},
    pa.binary(): {bytes},
}


def settled_type(declared: str, values: Sequence[Any]) -> pa.DataType:
    """The Arrow type of a column, which holds all of its first values exactly.

    Args:
        declared: The declared type, or an empty text for an expression.
        values: The first batch of values.

    Example:
        >>> settled_type("DECIMAL(10,2)", [1, 2]), settled_type("INTEGER", [1, "two"])
        (DataType(double), DataType(string))
    """
    preferred = [arrow for part, arrow in DECLARED if part in declared.upper()][:1]
    if classes_of(values) == set():
        return preferred[0] if preferred else pa.string()
    return next((arrow for arrow in [*preferred, *HELD] if fits(values, arrow)), pa.string())


def fits(values: Sequence[Any], arrow: pa.DataType) -> bool:
    """Whether a type holds all values exactly."""
    try:
        exact(values, arrow)
    except Misfit:
        return False
    return True


def exact(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    """Values as Arrow.

    Raises:
        Misfit: One is of another class, or a whole number too large for a real column.
    """
    if not classes_of(values) <= HELD[arrow]:
        raise Misfit
    try:
        return pa.array(values, arrow)
    except pa.ArrowInvalid:
        raise Misfit from None


def classes_of(values: Sequence[Any]) -> set[type]:
    """The storage classes among values, NULL left out."""
    return set(map(type, values)) - {type(None)}


def array(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    """The values of one column, in the type that its first batch settled.

    Raises:
        Misfit: One does not fit.
    """
    return exact(as_text(values) if arrow == pa.string() else values, arrow)


def as_text(values: Sequence[Any]) -> Sequence[str | None]:
    """Values of a text column: what is no text is written as SQL writes it."""
    if classes_of(values) <= {str}:
        return values
    return [
        f"X'{v.hex().upper()}'" if isinstance(v, bytes) else v if v is None else str(v)
        for v in values
    ]

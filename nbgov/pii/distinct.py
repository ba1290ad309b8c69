"""Columns of anybody's frames as distinct texts, and for each row the number of its text.

What is no text is read as Presidio reads it, through ``str()``. Detection works on the distinct
texts; nothing here looks for anything. The cases are in ``tests/pii/test_findings.py``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masking import is_text
from nbgov.errors import RequestInvalid

Integers = npt.NDArray[np.int64]
MISSING = -1


def distinct(column: Any) -> tuple[pa.LargeStringArray, Integers]:
    """The distinct texts of a column, and for each row the number of its text.

    Args:
        column: A pandas, polars or pyarrow column, or a sequence of plain values.

    Returns:
        The texts, of which some may stand in no row, and the numbers: ``MISSING`` for a null.

    Raises:
        RequestInvalid: The column holds something else than text, numbers, booleans and dates
            (``usage``).
    """
    try:
        return of_any(column)
    except UnicodeEncodeError:
        # Security: raised without the cause, which holds the text.
        why = "it holds half of a surrogate pair, which no encoding can write"
        raise refused(str, why) from None


def of_any(column: Any) -> tuple[pa.LargeStringArray, Integers]:
    """The texts of a column of any product."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(column, (pandas.Series, pandas.Index)):
        return of_pandas(pandas.Series(column))
    if polars is not None and isinstance(column, polars.Series):
        column = column.to_arrow()
    if isinstance(column, pa.ChunkedArray):
        # Small offsets do not reach over all chunks of a large column.
        wide = column.cast(pa.large_string()) if is_text(column.type) else column
        column = wide.combine_chunks()
    if isinstance(column, pa.Array):
        return of_arrow(column)
    if isinstance(column, (str, bytes)) or not isinstance(column, Iterable):
        raise refused(type(column))
    return of_objects(column)


def of_pandas(series: Any) -> tuple[pa.LargeStringArray, Integers]:
    """The texts of a pandas column."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        texts, numbers = of_pandas(pd.Series(series.cat.categories))
        codes = series.cat.codes.to_numpy().astype(np.int64)
        return texts, follow(numbers, codes)
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) != "string":
        return of_objects(series)
    if series.dtype == object:
        return of_arrow(pa.array(series, pa.large_string(), from_pandas=True))
    if isinstance(series.dtype, (pd.PeriodDtype, pd.IntervalDtype, pd.SparseDtype)):
        return of_objects(series.astype(object))
    array = pa.array(series, from_pandas=True)
    return of_arrow(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)


def of_arrow(array: pa.Array) -> tuple[pa.LargeStringArray, Integers]:
    """The texts of an Arrow column."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        texts, numbers = of_arrow(array.dictionary)
        return texts, follow(numbers, to_numbers(array.indices))
    if is_text(kind):
        encoded = array.cast(pa.large_string()).dictionary_encode()
        return encoded.dictionary, to_numbers(encoded.indices)
    if pa.types.is_run_end_encoded(kind):
        return of_arrow(pc.run_end_decode(array))
    if pa.types.is_nested(kind) or is_bytes(kind):
        raise refused(kind)
    return of_objects(array.to_pylist()) if is_odd(kind) else of_values(array)


def of_values(array: pa.Array) -> tuple[pa.LargeStringArray, Integers]:
    """The texts of a column of numbers or moments."""
    encoded = array.dictionary_encode()
    texts, numbers = of_arrow(printed(encoded.dictionary))
    return texts, follow(numbers, to_numbers(encoded.indices))


def printed(array: pa.Array) -> pa.LargeStringArray:
    """What ``str()`` makes of each value; null for null."""
    if pa.types.is_integer(array.type):
        return array.cast(pa.large_string())
    values = array.to_pylist()
    return pa.array([None if one is None else str(one) for one in values], pa.large_string())


def of_objects(values: Iterable[Any]) -> tuple[pa.LargeStringArray, Integers]:
    """The texts of Python values; only those of one type that can be vectorised come elsewhere."""
    numbers: dict[str, int] = {}
    found = [
        MISSING if is_missing(one) else numbers.setdefault(read(one), len(numbers))
        for one in values
    ]
    texts = pa.array(list(numbers), pa.large_string())
    return texts, np.array(found, dtype=np.int64)


def read(value: Any) -> str:
    """A plain value as Presidio reads it.

    Raises:
        RequestInvalid: It holds other values, or bytes (``usage``).
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview, Iterable)):
        raise refused(type(value))
    return str(value)


def is_missing(value: Any) -> bool:
    """Whether a value is one of the many ways to say that there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in {"NAType", "NaTType"}


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a type holds bytes."""
    return any(
        holds(kind)
        for holds in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_binary_view,
        )
    )


def is_odd(kind: pa.DataType) -> bool:
    """Whether Arrow cannot find the distinct values of a type by itself."""
    return isinstance(kind, pa.BaseExtensionType) or pa.types.is_float16(kind)


def to_numbers(indices: pa.Array) -> Integers:
    """Indices into a dictionary, as numbers; ``MISSING`` for null."""
    numbers: Integers = pc.fill_null(indices.cast(pa.int64()), MISSING).to_numpy()
    return numbers


def follow(numbers: Integers, codes: Integers) -> Integers:
    """The number of the text behind each code; ``MISSING`` stays."""
    return np.append(numbers, MISSING)[codes]


def refused(kind: Any, why: str = "") -> RequestInvalid:
    """The error of a column that is not read."""
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    return RequestInvalid(
        f"A column that holds {name} is not read.",
        code="usage",
        why=why or "text, numbers, booleans and dates are, each value by itself",
        next_step="take the text out of it; nbgov.mask reads lists, dicts and bytes",
    )

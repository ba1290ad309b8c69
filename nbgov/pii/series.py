"""pandas columns, of every dtype from pandas 2.2 to 3.1, through Arrow and back.

The dtype survives, and so does what a column holds where nothing is found. The cases are in
``tests/pii/test_frames.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.errors import ConfigInvalid
from nbgov.pii.cells import CellMasking, is_leaf
from nbgov.pii.distinct import is_missing
from nbgov.pii.masker import Masker
from nbgov.pii.objects import rewrite_objects
from nbgov.pii.plan import Treatment

if TYPE_CHECKING:
    Series = pd.Series[Any]

ARROW_KINDS = "iufbmM"
"""Kinds of NumPy types that Arrow takes."""

HOLDS_NO_NULL = "iub"


def mask_series(
    masker: Masker, position: int, series: Series, subjects: pa.Array | None = None
) -> Series:
    """A column with what is to be masked masked: equal in dtype, index and name; itself if equal.

    A categorical gets the categories that are left. A NumPy column of integers or booleans, which
    cannot hold nulls, reads 0 or False where another would read null.
    """
    masked = masker.treat(
        position,
        keep=lambda: None,
        cover=lambda one: cover_series(masker, one, series, subjects),
        scan=lambda masking: scan_series(masking, series),
        blank=lambda: blank(series),
    )
    if masked is None:
        return series
    if isinstance(masked, pa.Array):
        if masked.null_count and is_numpy(series.dtype, HOLDS_NO_NULL):
            masker.warn(
                f"The column {masker.names[position]!r} of dtype {series.dtype} cannot hold nulls:"
                f" {masked.null_count} masked values read {series.dtype.type()}."
            )
        masked = restore(masked, series)
    dtype = None if isinstance(masked, pd.Categorical) else series.dtype
    return pd.Series(masked, index=series.index, name=series.name, dtype=dtype, copy=False)


def scan_series(masking: CellMasking, series: Series) -> Any:
    """The column without what is found in it, as an array; ``None`` if nothing is found."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return scan_categories(masking, series)
    if is_numpy(series.dtype, "O"):
        return scan_objects(masking, series)
    if not is_arrow(series.dtype):
        objects = list(series)
        masked = rewrite_objects(masking, objects)
        if masked is objects:
            return None
        return pd.Series(to_objects(masked), dtype=object).astype(series.dtype).array
    array = to_arrow(series)
    masked = masking.rewrite(array)
    return None if masked is array else masked


def scan_objects(masking: CellMasking, series: Series) -> Any:
    """A column of Python objects without what is found in it; ``None`` if nothing is found."""
    if not is_all_text(series):
        objects = list(series)
        masked = rewrite_objects(masking, objects)
        return None if masked is objects else to_objects(masked)
    array = to_arrow(series)
    masked = masking.rewrite(array)
    if masked is array:
        return None
    changed = pc.fill_null(pc.not_equal(masked, array), False)  # noqa: FBT003 - what is null stays.
    values = series.to_numpy(dtype=object, copy=True)
    values[changed.to_numpy(zero_copy_only=False)] = masked.filter(changed).to_pylist()
    return values


def scan_categories(masking: CellMasking, series: Series) -> Any:
    """A categorical without what is found in its categories; ``None`` if nothing is found."""
    categories = pd.Series(series.cat.categories)
    if is_arrow(categories.dtype) or is_all_text(categories):
        array = to_dictionary(series)
        masked = masking.rewrite(array)
        return None if masked is array else to_categorical(masked, series)
    codes = series.cat.codes.to_numpy()
    objects = list(categories)
    rows = np.bincount(codes[codes >= 0], minlength=len(objects))
    masked = rewrite_objects(masking, objects, rows.tolist())
    if masked is objects:
        return None
    numbers, left = pd.factorize(to_objects(masked))
    return pd.Categorical.from_codes(
        np.append(numbers, -1)[codes], categories=pd.Index(left), ordered=series.cat.ordered
    )


def cover_series(
    masker: Masker, treatment: Treatment, series: Series, subjects: pa.Array | None
) -> Any:
    """A whole column masked by an operator, as an array.

    Raises:
        ConfigInvalid: The operator does not fit the dtype.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return to_categorical(masker.cover(treatment, to_dictionary(series), subjects), series)
    if is_numpy(dtype, "O"):
        masked = masker.cover(treatment, to_arrow(series), subjects)
        return to_objects(masked.to_pylist())
    if is_arrow(dtype):
        return masker.cover(treatment, to_arrow(series), subjects)
    operator = treatment.operator
    if operator is not None and operator.name in {"null", "redact"}:
        return blank(series)
    raise ConfigInvalid(
        f"The operator does not fit a column of dtype {dtype}.",
        code="mask-unfit",
        next_step="use redact or null, or give the column another dtype first",
    )


def blank(series: Series) -> Any:
    """A column of the same dtype that tells nothing: nulls, else zeros."""
    dtype: Any = series.dtype
    rows = len(series)
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories[:0]
        return pd.Categorical.from_codes(np.full(rows, -1), categories, ordered=dtype.ordered)
    if isinstance(dtype, pd.IntervalDtype) and is_numpy(dtype.subtype, HOLDS_NO_NULL):
        zeros = np.zeros(rows, dtype.subtype)
        return pd.arrays.IntervalArray.from_arrays(zeros, zeros, closed=dtype.closed or "right")
    if isinstance(dtype, pd.SparseDtype):
        return pd.arrays.SparseArray(blank(pd.Series(np.zeros(rows, dtype.subtype))), dtype=dtype)
    if not isinstance(dtype, np.dtype):
        return pd.array([dtype.na_value] * rows, dtype=dtype)
    if dtype.kind in HOLDS_NO_NULL:
        return np.zeros(rows, dtype)
    nothing: Any = {"O": None, "m": "NaT", "M": "NaT"}.get(dtype.kind, "nan")
    return np.full(rows, nothing, dtype)


# ---------------------------------------------------------------- to Arrow and back


def is_numpy(dtype: Any, kinds: str) -> bool:
    """Whether a dtype is one of NumPy's, of one of some kinds."""
    return isinstance(dtype, np.dtype) and dtype.kind in kinds


def is_arrow(dtype: Any) -> bool:
    """Whether Arrow takes a column of a dtype, and gives it back, without a loss."""
    own = (
        pd.ArrowDtype, pd.BooleanDtype, pd.DatetimeTZDtype, pd.Float32Dtype, pd.Float64Dtype,
        pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype, pd.Int64Dtype, pd.StringDtype,
        pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype,
    )  # fmt: skip
    return isinstance(dtype, own) or is_numpy(dtype, ARROW_KINDS)


def is_all_text(series: Series) -> bool:
    """Whether a column of Python objects holds text and nothing else."""
    return is_numpy(series.dtype, "O") and (
        pd.api.types.infer_dtype(series, skipna=True) in {"string", "empty"}
    )


def to_arrow(series: Series) -> pa.Array:
    """A column as an Arrow array; Python objects of many types as their text."""
    if is_all_text(series):
        return pa.array(series, pa.large_string(), from_pandas=True)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        zone = pa.lib.tzinfo_to_string(series.dtype.tz)
        moments = pa.array(series.dt.tz_convert(None).to_numpy())
        return moments.cast(pa.timestamp(series.dtype.unit, zone))
    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowException, OverflowError):
        array = None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if is_numpy(series.dtype, "O") and (array is None or not is_leaf(array.type)):
        texts = [None if is_missing(one) else str(one) for one in series]
        array = pa.array(texts, pa.large_string())
    assert array is not None, "only columns that Arrow takes come here"
    return array


def restore(array: pa.Array, series: Series) -> Any:
    """An Arrow array as what a pandas column holds."""
    dtype: Any = series.dtype
    if not isinstance(dtype, np.dtype):
        return dtype.__from_arrow__(array)
    if dtype.kind in HOLDS_NO_NULL:
        array = array.fill_null(dtype.type(0).item())
    values = array.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    # What lies in Arrow's memory could not be written to.
    return values if values.flags.writeable else values.copy()


def to_objects(values: list[Any]) -> Any:
    """A list as a NumPy array of objects, whatever it holds."""
    return np.fromiter(values, dtype=object, count=len(values))


def to_dictionary(series: Series) -> pa.DictionaryArray:
    """A categorical as Arrow's dictionary."""
    codes = series.cat.codes.to_numpy().astype(np.int32)
    indices = pa.array(codes, mask=codes < 0)
    values = to_arrow(pd.Series(series.cat.categories))
    return pa.DictionaryArray.from_arrays(indices, values, ordered=series.cat.ordered)


def to_categorical(array: pa.DictionaryArray, series: Series) -> pd.Categorical:
    """Arrow's dictionary as a categorical; a category that became null is gone."""
    if array.dictionary.null_count:
        array = array.dictionary_decode().dictionary_encode()
    old = pd.Series(series.cat.categories)
    new = array.dictionary
    values = new.to_pylist() if is_numpy(old.dtype, "O") else restore(new, old)
    categories = pd.Index(values, dtype=old.dtype)
    codes = pc.fill_null(array.indices.cast(pa.int64()), -1).to_numpy()
    return pd.Categorical.from_codes(codes, categories, ordered=series.cat.ordered)

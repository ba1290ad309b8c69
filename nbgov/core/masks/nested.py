"""Lists and maps of every kind taken apart and put together again, and arrays of nulls of any type.

Only what Arrow can do for all types of elements is used: no cast, and no kernel but one. The cases
are in ``tests/core/test_mask_columns.py``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Lengths", "elements", "nothing", "with_elements"]

Lengths: TypeAlias = npt.NDArray[np.integer[Any]]


def elements(array: pa.Array) -> tuple[pa.Array, Lengths]:
    """The elements of lists, or the keys and items of maps; and how many each list has.

    What lies below a null is among them, as it travels with the array.
    """
    kind = array.type
    if is_view(kind):
        lengths: Lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        return array.flatten(), lengths
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        inner = array.values.slice(array.offset * size, len(array) * size)
        return inner, np.full(len(array), size)
    offsets = array.offsets.to_numpy()
    if pa.types.is_map(kind):
        fields = [kind.key_field, kind.item_field]
        inner = pa.StructArray.from_arrays([array.keys, array.items], fields=fields)
    else:
        inner = array.values
    return inner.slice(offsets[0], offsets[-1] - offsets[0]), np.diff(offsets)


def with_elements(
    inner: pa.Array, lengths: Lengths, kind: pa.DataType, *, is_null: pa.Array
) -> pa.Array:
    """Lists or maps of a type with these elements, in order."""
    types = pa.types
    if types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(inner, type=kind, mask=is_null)
    is_large = types.is_large_list(kind) or types.is_large_list_view(kind)
    offsets = pa.array(
        np.concatenate([[0], np.cumsum(lengths)]), pa.int64() if is_large else pa.int32()
    )
    if types.is_map(kind):
        parts = inner.field(0), inner.field(1)
        return pa.MapArray.from_arrays(offsets, *parts, type=kind, mask=is_null)
    if is_view(kind):
        views = pa.LargeListViewArray if is_large else pa.ListViewArray
        sizes = pa.array(lengths, offsets.type)
        return views.from_arrays(offsets[:-1], sizes, inner, type=kind, mask=is_null)
    lists = pa.LargeListArray if is_large else pa.ListArray
    return lists.from_arrays(offsets, inner, type=kind, mask=is_null)


def is_view(kind: pa.DataType) -> bool:
    """Whether a type is one of list views."""
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def nothing(kind: pa.DataType, rows: int) -> pa.Array:
    """Nulls of any type. Arrow's own function fails for some types inside of others."""
    types, is_null = pa.types, pa.array(np.ones(rows, dtype=bool))
    if types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(
            pa.nulls(rows, kind.index_type), nothing(kind.value_type, 0), ordered=kind.ordered
        )
    if types.is_run_end_encoded(kind):
        ends = pa.array([rows] if rows else [], kind.run_end_type)
        return pa.RunEndEncodedArray.from_arrays(
            ends, nothing(kind.value_type, len(ends)), type=kind
        )
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, nothing(kind.storage_type, rows))
    if types.is_struct(kind) and kind.num_fields:
        fields = [nothing(field.type, rows) for field in kind]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=is_null)
    if types.is_nested(kind) and not types.is_struct(kind) and not types.is_union(kind):
        size = kind.list_size if types.is_fixed_size_list(kind) else 0
        inner = (
            pa.struct([kind.key_field, kind.item_field]) if types.is_map(kind) else kind.value_type
        )
        return with_elements(
            nothing(inner, rows * size), np.zeros(rows, np.int64), kind, is_null=is_null
        )
    return pa.nulls(rows, kind)

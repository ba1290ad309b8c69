"""From Arrow arrays to one hash per cell, without a Python loop over rows.

Each ``*_words`` function reads the buffers of one kind of type. What lies under a NULL may be
anything and is hashed like the rest; :func:`cell_hashes` then puts 0 there. Arrow buffers are
little-endian, and so must the machine be. Spec: ``docs/spec/fingerprint.md`` sections 3 to 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from nbgov.core.fingerprint.mixing import (
    LENGTH,
    LIST,
    MAP,
    NANOS,
    SEED,
    STEP,
    STRUCT,
    Counts,
    Words,
    byte_words,
    derive,
    mix,
    positions,
    segment_sums,
    unique_labels,
)
from nbgov.errors import BackendFailed

# Rows that are hashed at a time; the arrays in work then stay in the L2 cache.
BLOCK_ROWS = 1 << 14
# Texts of which so many tell whether they repeat; only in longer arrays the answer pays.
SAMPLE_ROWS = 1 << 12

WHOLE_FLOAT_MAX = 2.0**53
INT64_MAX_DIGITS = "9223372036854775807"
INT64_MIN_DIGITS = "9223372036854775808"
INT64_BYTES = 8
INT64_SCALE_MAX = 18
MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
HEXADECIMAL = np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)
INTERVAL = np.dtype([("months", np.int32), ("days", np.int32), ("nanos", np.int64)])


def cell_hashes(array: pa.Array) -> Words:
    """One 64-bit hash per cell, by value; 0 for NULL and NaN.

    Raises:
        BackendFailed: The type is one that the specification does not name.

    Example:
        >>> a, b = cell_hashes(pa.array([3, None])).tolist()
        >>> [a, b] == cell_hashes(pa.array([3.0, float("nan")])).tolist(), b
        (True, 0)
    """
    kind = array.type
    if types.is_dictionary(kind):
        return dictionary_hashes(array)
    if types.is_run_end_encoded(kind):
        return cell_hashes(pc.run_end_decode(array))
    if types.is_union(kind):
        return union_hashes(array)
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return cell_hashes(array.storage)
    if is_text(kind) and repeats(array):
        return dictionary_hashes(array.dictionary_encode())
    read = reader(kind)
    hashes = np.zeros(len(array), np.uint64)
    for start in range(0, len(array), BLOCK_ROWS):
        block = array.slice(start, BLOCK_ROWS)
        words = read(block)
        words += SEED
        hashes[start : start + BLOCK_ROWS] = mix(words)
    if array.null_count or types.is_floating(kind):
        missing = pc.is_null(array, nan_is_null=True)
        hashes[missing.to_numpy(zero_copy_only=False)] = 0
    return hashes


def repeats(array: pa.Array) -> bool:
    """Whether each text stands there twice or more on average, as far as the first ones show.

    To find the different ones costs a third of hashing all.
    """
    is_view = types.is_string_view(array.type) or types.is_binary_view(array.type)
    if is_view or len(array) < 4 * SAMPLE_ROWS:
        return False
    different: int = pc.count_distinct(array.slice(0, SAMPLE_ROWS), mode="all").as_py()
    return different <= SAMPLE_ROWS // 2


def dictionary_hashes(array: pa.DictionaryArray) -> Words:
    """Hash each value of the dictionary once, unless it holds more values than there are rows."""
    if len(array.dictionary) > len(array):
        return cell_hashes(array.dictionary_decode())
    hashes = np.append(cell_hashes(array.dictionary), np.uint64(0))
    picked: Words = hashes[array.indices.fill_null(0).to_numpy()]
    if array.indices.null_count:
        picked[array.indices.is_null().to_numpy(zero_copy_only=False)] = 0
    return picked


def union_hashes(array: pa.UnionArray) -> Words:
    """Hash each cell as the child that its type code picks."""
    codes = array.type_codes.to_numpy()
    is_dense = array.type.mode == "dense"
    places = array.offsets.to_numpy() if is_dense else np.arange(len(array))
    hashes = np.zeros(len(array), np.uint64)
    for child, code in enumerate(array.type.type_codes):
        rows = np.flatnonzero(codes == code)
        hashes[rows] = cell_hashes(array.field(child))[places[rows]]
    return hashes


def buffer_values(array: pa.Array, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """The values of a fixed-width array as they lie in its buffer, NULLs included."""
    width = np.dtype(array.type.to_pandas_dtype() if dtype is None else dtype)
    return np.frombuffer(array.buffers()[1], width, len(array), array.offset * width.itemsize)


def null_words(array: pa.Array) -> Words:
    """Any word will do under a NULL."""
    return np.zeros(len(array), np.uint64)


def bool_words(array: pa.Array) -> Words:
    """0 and 1."""
    return buffer_values(array.cast(pa.uint8())).astype(np.uint64)


def integer_words(array: pa.Array) -> Words:
    """The integers themselves; those above int64 as decimal text."""
    values = buffer_values(array)
    words = values.astype(np.uint64 if values.dtype == np.uint64 else np.int64).view(np.uint64)
    if values.dtype == np.uint64:
        large = np.flatnonzero(values >> np.uint64(63))
        words[large] = text_words(pa.array(values[large]).cast(pa.string()))
    return words


def float_words(array: pa.Array) -> Words:
    """Whole numbers up to 2^53 as integers, others as the bits of the 64-bit float."""
    values = buffer_values(array).astype(np.float64)
    with np.errstate(
        invalid="ignore"
    ):  # NaN and infinities convert to nonsense, which is not used.
        whole = values.astype(np.int64)
    is_whole = (whole == values) & (np.abs(values) <= WHOLE_FLOAT_MAX)
    return np.where(is_whole, whole, values.view(np.int64)).view(np.uint64)


def decimal_words(array: pa.Array) -> Words:
    """Whole numbers that fit int64 as integers, others as plain decimal text."""
    scale, bytes_each = array.type.scale, array.type.bit_width // 8
    if bytes_each <= INT64_BYTES:
        unscaled = buffer_values(array, f"i{bytes_each}").astype(np.int64)
        is_narrow = np.ones(len(array), np.bool_)
    else:
        limbs = buffer_values(array, (np.int64, (bytes_each // INT64_BYTES,)))
        unscaled = limbs[:, 0].copy()
        is_narrow = (limbs[:, 1:] == (unscaled >> 63)[:, None]).all(axis=1)
    # Outside these scales only zero is sure to be whole and narrow; the text decides on the rest.
    unit = 10**scale if 0 <= scale <= INT64_SCALE_MAX else 0
    whole = unscaled // unit if unit else np.zeros_like(unscaled)
    is_plain = is_narrow & (whole * unit == unscaled)
    words = whole.view(np.uint64)
    rest = np.flatnonzero(~is_plain & array.is_valid().to_numpy(zero_copy_only=False))
    if rest.size:
        words[rest] = number_text_words(decimal_texts(array.take(pa.array(rest))))
    return words


def decimal_texts(array: pa.Array) -> pa.Array:
    """Plain decimal text of decimals without NULLs.

    >>> from decimal import Decimal
    >>> small = pa.array([Decimal("-0.0000000010"), Decimal("12.00")], pa.decimal128(20, 10))
    >>> decimal_texts(small).to_pylist()
    ['-0.000000001', '12']
    """
    kind, scale = array.type, array.type.scale
    # Arrow writes small and large decimals with an exponent, but never those of scale 0.
    integral = getattr(pa, f"decimal{kind.bit_width}")(kind.precision, 0)
    unscaled = pa.Array.from_buffers(integral, len(array), array.buffers(), offset=array.offset)
    texts = unscaled.cast(pa.string())
    sign = pc.if_else(pc.starts_with(texts, "-"), "-", "")
    digits = pc.utf8_ltrim(texts, "-")
    if scale <= 0:
        return pc.binary_join_element_wise(sign, digits, "0" * -scale, "")
    digits = pc.utf8_lpad(digits, scale + 1, "0")
    part = pc.utf8_rtrim(pc.utf8_slice_codeunits(digits, -scale), "0")
    point = pc.if_else(pc.equal(part, ""), "", ".")
    whole = pc.utf8_slice_codeunits(digits, 0, -scale)
    return pc.binary_join_element_wise(sign, whole, point, part, "")


def number_text_words(texts: pa.Array) -> Words:
    """The words of decimal texts, of which those that are int64 integers count as integers."""
    words = text_words(texts)
    limit = pc.if_else(pc.starts_with(texts, "-"), INT64_MIN_DIGITS, INT64_MAX_DIGITS)
    digits = pc.utf8_lpad(pc.utf8_ltrim(texts, "-"), len(INT64_MAX_DIGITS), "0")
    fits = pc.and_(
        pc.less_equal(pc.binary_length(digits), len(INT64_MAX_DIGITS)),
        pc.less_equal(digits, limit),
    )
    is_integer = pc.and_not(fits, pc.match_substring(texts, "."))
    rows = np.flatnonzero(is_integer.to_numpy(zero_copy_only=False))
    integers = texts.take(pa.array(rows)).cast(pa.int64())
    words[rows] = integers.to_numpy().view(np.uint64)
    return words


def text_words(array: pa.Array) -> Words:
    """Strings and binaries, by their bytes."""
    if types.is_string_view(array.type) or types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    is_large = types.is_large_string(array.type) or types.is_large_binary(array.type)
    _, offset_buffer, data = array.buffers()
    width = np.dtype(np.int64 if is_large else np.int32)
    offsets = np.frombuffer(
        offset_buffer, width, len(array) + 1, array.offset * width.itemsize
    ).astype(np.int64)
    taken = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    return byte_words(taken, offsets[:-1] - offsets[0], np.diff(offsets))


def fixed_binary_words(array: pa.Array) -> Words:
    """Binaries of one width."""
    return matrix_words(buffer_values(array, (np.uint8, (array.type.byte_width,))))


def uuid_words(array: pa.ExtensionArray) -> Words:
    """UUIDs, as their text in lower case."""
    digits = HEXADECIMAL[buffer_values(array.storage, (np.uint8, (16,)))].reshape(-1, 32)
    return matrix_words(np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1))


def matrix_words(matrix: npt.NDArray[np.uint8]) -> Words:
    """Byte strings of one length, one a row."""
    rows, width = matrix.shape
    return byte_words(matrix.reshape(-1), width * np.arange(rows), np.full(rows, width))


def date_words(array: pa.Array) -> Words:
    """Dates, as the microsecond of their midnight."""
    is_days = types.is_date32(array.type)
    values = buffer_values(array, np.int32 if is_days else np.int64).astype(np.int64)
    return values.view(np.uint64) * np.uint64(86_400_000_000 if is_days else 1_000)


def moment_words(array: pa.Array) -> Words:
    """Timestamps, times of day and durations."""
    unit = array.type.unit
    values = buffer_values(array, f"i{array.type.bit_width // 8}").astype(np.int64)
    if unit != "ns":
        return values.view(np.uint64) * np.uint64(MICROSECONDS[unit])
    whole, rest = np.divmod(values, 1_000)
    return whole.view(np.uint64) + rest.view(np.uint64) * NANOS


def interval_words(array: pa.Array) -> Words:
    """Intervals, as a struct of their three parts."""
    parts = buffer_values(array, INTERVAL)
    names: Sequence[str] = INTERVAL.names or ()
    return field_words(names, [cell_hashes(pa.array(parts[name])) for name in names], len(array))


def list_words(array: pa.Array) -> Words:
    """Lists, with the position of each element."""
    starts, counts = segments(array)
    rank = positions(counts)
    first, elements = hashed_span(array.values, starts, counts)
    places = np.repeat(starts - first, counts) + rank.view(np.int64) - 1
    terms = mix(elements[places] + rank * STEP)
    ends = np.cumsum(counts)
    sums = segment_sums(terms, ends - counts, ends)
    return LIST + counts.astype(np.uint64) * LENGTH + sums


def map_words(array: pa.MapArray) -> Words:
    """Maps, as sets of entries."""
    starts, counts = segments(array)
    first, keys = hashed_span(array.keys, starts, counts)
    _, items = hashed_span(array.items, starts, counts)
    entries = mix(field_words(("key", "value"), (keys, items), len(keys)) + SEED)
    sums = segment_sums(mix(entries), starts - first, starts - first + counts)
    return MAP + counts.astype(np.uint64) * LENGTH + sums


def segments(array: pa.Array) -> tuple[Counts, Counts]:
    """Where each list starts in the child array, and its length; a NULL has the length 0."""
    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        starts = size * (array.offset + np.arange(len(array)))
        counts = np.full(len(array), size)
    else:
        offsets = array.offsets.to_numpy().astype(np.int64)
        starts = offsets[: len(array)]
        is_view = types.is_list_view(array.type) or types.is_large_list_view(array.type)
        counts = array.sizes.to_numpy().astype(np.int64) if is_view else np.diff(offsets)
    if array.null_count:
        # What a NULL covers is nobody's value; at the start of another list it stays in bounds.
        missing = array.is_null().to_numpy(zero_copy_only=False)
        counts[missing] = 0
        starts[missing] = starts[~missing].min(initial=len(array.values))
    return starts, counts


def hashed_span(child: pa.Array, starts: Counts, counts: Counts) -> tuple[int, Words]:
    """Where the part of a child array that its segments cover starts, and the hashes of it."""
    first = int(starts.min(initial=len(child)))
    last = int((starts + counts).max(initial=first))
    return first, cell_hashes(child.slice(first, last - first))


def struct_words(array: pa.StructArray) -> Words:
    """Structs, as sets of named fields."""
    names = [field.name for field in array.type]
    hashes = [cell_hashes(array.field(place)) for place in range(len(names))]
    return field_words(names, hashes, len(array))


def field_words(names: Sequence[str], hashes: Sequence[Words], rows: int) -> Words:
    """The words of structs, from the hashes of their fields."""
    words = np.full(rows, STRUCT)
    for label, values in zip(unique_labels(names), hashes, strict=True):
        terms = mix(values + np.uint64(derive("field", label)[0]))
        terms[values == 0] = 0
        words += terms
    return words


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds strings or binaries of any length, in whatever layout."""
    return any(is_kind(kind) for is_kind in (*STRING_KINDS, *BINARY_KINDS))


def is_list(kind: pa.DataType) -> bool:
    """Whether a type holds lists, in whatever layout."""
    return any(is_kind(kind) for is_kind in LIST_KINDS)


def reader(kind: pa.DataType) -> Callable[[Any], Words]:
    """The function that reads arrays of a type."""
    for is_kind, read in READERS:
        if is_kind(kind):
            return read
    raise BackendFailed(
        f"A column of the type {kind} has no fingerprint.",
        why="The fingerprint specification does not name this type.",
        next_step="Cast the column to text in the statement.",
    )


STRING_KINDS = (types.is_string, types.is_large_string, types.is_string_view)
BINARY_KINDS = (types.is_binary, types.is_large_binary, types.is_binary_view)
LIST_KINDS = (
    types.is_list,
    types.is_large_list,
    types.is_fixed_size_list,
    types.is_list_view,
    types.is_large_list_view,
)
READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Words]], ...] = (
    (types.is_null, null_words),
    (types.is_boolean, bool_words),
    (types.is_integer, integer_words),
    (types.is_floating, float_words),
    (types.is_decimal, decimal_words),
    (types.is_fixed_size_binary, fixed_binary_words),
    (types.is_date, date_words),
    (types.is_time, moment_words),
    (types.is_timestamp, moment_words),
    (types.is_duration, moment_words),
    (types.is_map, map_words),
    (types.is_struct, struct_words),
    (is_text, text_words),
    (is_list, list_words),
    (lambda kind: isinstance(kind, pa.UuidType), uuid_words),
    (lambda kind: kind == pa.month_day_nano_interval(), interval_words),
)

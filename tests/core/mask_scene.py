"""Arrays of every Arrow type, for the tests of masks."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from nbgov.core.masks import Keys, cover, parse_operator
from nbgov.errors import ConfigInvalid

KEYS = Keys(bytes(range(32)))
OPERATORS = [
    "redact", "redact:[gone]", "null", "partial:2", "partial:4:shape", "token", "ff1", "ff1:alnum",
    "date-shift:30", "year", "month", "quarter", "zip:3", "bucket:10", "age:5", "surrogate",
    "surrogate:place", "keep",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"[A-Z]?[a-z]{1,8}( [A-Z][a-z]{1,8})?", fullmatch=True),
    st.from_regex(r"[a-z._0-9]{1,8}@[a-z]{1,8}\.(com|test)", fullmatch=True),
    st.from_regex(r"(\+1 )?\(?[2-9][0-9]{2}\)?[ -][0-9]{3}-[0-9]{4}", fullmatch=True),
    st.from_regex(r"[0-9]{4}([- ]?[0-9]{4}){3}", fullmatch=True),
    st.dates().map(datetime.date.isoformat),
    st.datetimes().map(lambda moment: moment.isoformat(" ")),
    st.from_regex(r"[0-9]{5}(-[0-9]{4})?", fullmatch=True),
    st.integers(-200, 200).map(str),
)
MOMENTS = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1))
AWARE = MOMENTS.map(lambda moment: moment.replace(tzinfo=datetime.UTC))
BYTES = st.binary(max_size=20)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    """Every decimal of a type."""
    limit = 10**precision - 1
    return st.integers(-limit, limit).map(lambda digits: Decimal(digits).scaleb(-scale))


def floats(width: Any) -> st.SearchStrategy[float]:
    return st.floats(width=width, allow_nan=False)


PLAIN: dict[pa.DataType, st.SearchStrategy[Any]] = {
    **dict.fromkeys([pa.string(), pa.large_string(), pa.string_view()], TEXTS),
    **dict.fromkeys([pa.binary(), pa.large_binary(), pa.binary_view()], BYTES),
    **{pa.binary(size): st.binary(min_size=size, max_size=size) for size in (3, 16, 20, 40)},
    **{
        kind: st.integers(int(np.iinfo(kind.to_pandas_dtype()).min), int(np.iinfo(kind.to_pandas_dtype()).max))
        for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64())
    },
    pa.float16(): floats(16).map(np.float16),
    pa.float32(): floats(32),
    pa.float64(): floats(64),
    pa.bool_(): st.booleans(),
    pa.decimal32(5, 2): decimals(5, 2),
    pa.decimal64(12, 0): decimals(12, 0),
    pa.decimal128(38, 30): decimals(20, 18),
    pa.decimal256(50, 4): decimals(20, 4),
    pa.date32(): st.dates(),
    pa.date64(): st.dates(),
    **{pa.timestamp(unit): MOMENTS.map(lambda m: m.replace(microsecond=0)) for unit in ("s", "ms", "us", "ns")},
    **{pa.timestamp("us", zone): AWARE for zone in ("UTC", "Europe/Berlin", "+02:00", "America/Sao_Paulo")},
    pa.time32("s"): st.times().map(lambda t: t.replace(microsecond=0)),
    pa.time64("us"): st.times(),
    pa.duration("s"): st.integers(0, 10**6).map(lambda s: datetime.timedelta(seconds=s)),
    pa.month_day_nano_interval(): st.integers(0, 9).map(lambda d: pa.MonthDayNano([0, d, 0])),
    pa.null(): st.none(),
}  # fmt: skip
EXTENSIONS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.uuid(): st.uuids().map(lambda one: one.bytes),
    pa.json_(): st.sampled_from(['{"a": 1}', "[]"]),
    pa.opaque(pa.string(), "name", "vendor"): TEXTS,
    pa.bool8(): st.sampled_from([0, 1]),
}
WRAPPERS: dict[str, Callable[[pa.DataType], pa.DataType]] = {
    "list": pa.list_,
    "large list": pa.large_list,
    "fixed list": lambda kind: pa.list_(kind, 2),
    "list view": pa.list_view,
    "large list view": pa.large_list_view,
    "struct": lambda kind: pa.struct([("a", kind), pa.field("b", kind)]),
    "map": lambda kind: pa.map_(pa.string(), kind),
    "dictionary": lambda kind: pa.dictionary(pa.int32(), kind, ordered=True),
    "runs": lambda kind: pa.run_end_encoded(pa.int32(), kind),
}


def is_fit_for(wrapper: str, kind: pa.DataType) -> bool:
    """Whether Arrow has arrays of such a type in such a wrapper at all."""
    return wrapper not in {"dictionary", "runs"} or not (
        pa.types.is_null(kind) or pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind)
    )


@st.composite
def arrays(draw: st.DrawFn) -> pa.Array:
    """An array of any type, wrapped in up to two others."""
    texts = [(kind, values) for kind, values in PLAIN.items() if values is TEXTS]
    others = [*PLAIN.items(), *EXTENSIONS.items()]
    kind, values = draw(st.sampled_from(texts) | st.sampled_from(others))
    for wrapper in draw(st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=2)):
        if is_fit_for(wrapper, kind):
            kind = WRAPPERS[wrapper](kind)
    size = draw(st.integers(0, 6))
    return array_of(kind, size, lambda: draw(values), draw)


def array_of(  # noqa: PLR0911  # One for each way of holding values.
    kind: pa.DataType, size: int, value: Callable[[], Any], draw: Any
) -> pa.Array:
    """An array of a type: with nulls, unused dictionary values, and values below null parents."""
    rows = [draw(st.sampled_from([True, True, True, False])) for _ in range(size)]
    absent = pa.array([not row for row in rows], pa.bool_())
    lengths = [draw(st.integers(0, 3)) if row else 0 for row in rows]

    def inner(kind: pa.DataType, size: int) -> pa.Array:
        return array_of(kind, size, value, draw)

    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, inner(kind.storage_type, size))
    if pa.types.is_dictionary(kind):
        values = inner(kind.value_type, 3)
        places = [
            draw(st.integers(0, len(values) - 1)) if row and len(values) else None for row in rows
        ]
        return pa.DictionaryArray.from_arrays(
            pa.array(places, kind.index_type), values, ordered=kind.ordered
        )
    if pa.types.is_run_end_encoded(kind):
        ends = pa.array(np.cumsum([n + 1 for n in lengths]), kind.run_end_type)
        runs = pa.RunEndEncodedArray.from_arrays(ends, inner(kind.value_type, size), type=kind)
        return runs.slice((len(runs) - size) // 2, size)
    if pa.types.is_struct(kind):
        fields = [inner(kind.field(i).type, size) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=absent)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(
            inner(kind.value_type, 2 * size), type=kind, mask=absent
        )
    if pa.types.is_map(kind):
        keys = array_of(kind.key_type, sum(lengths), lambda: draw(TEXTS), draw).fill_null("key")
        return pa.MapArray.from_arrays(
            ends_of(lengths, pa.int32()),
            keys,
            inner(kind.item_type, sum(lengths)),
            type=kind,
            mask=absent,
        )
    if pa.types.is_nested(kind):
        is_large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
        ends = ends_of(lengths, pa.int64() if is_large else pa.int32())
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            made = pa.LargeListArray if is_large else pa.ListArray
            return made.from_arrays(
                ends, inner(kind.value_type, sum(lengths)), type=kind, mask=absent
            )
        made = pa.LargeListViewArray if is_large else pa.ListViewArray
        return made.from_arrays(
            ends[:-1],
            pa.array(lengths, ends.type),
            inner(kind.value_type, sum(lengths)),
            type=kind,
            mask=absent,
        )
    return pa.array([value() if row else None for row in rows], kind)


def ends_of(lengths: list[int], kind: pa.DataType) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=int)]), kind)


def masked(values: Any, text: str, **options: Any) -> list[Any]:
    """What an operator makes of a column, as Python values."""
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    return covered(array, text, **options).to_pylist()


def refusal(array: Any, text: str) -> str:
    """The code of the error with which a mask refuses a type, or nothing."""
    try:
        covered(array, text)
    except ConfigInvalid as error:
        told = str(error)
        return error.code if "column" in told and error.why and error.next_step else told
    return ""


def covered(array: Any, text: str, **options: Any) -> Any:
    """What an operator makes of an array; its type and length stay."""
    made = cover(array, parse_operator(text), **{"keys": KEYS, "domain": "column"} | options)
    made.validate(full=True)
    assert made.type == array.type
    assert len(made) == len(array)
    return made

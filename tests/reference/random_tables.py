"""Tables of every type that Hypothesis makes, in the notation of ``tests/vectors/fingerprint.json``."""

from __future__ import annotations

import struct

from hypothesis import strategies as st


def tagged(tag, strategy):
    return strategy.map(lambda content: {tag: content})


def integers(bits, *, is_signed):
    low = -(2 ** (bits - 1)) if is_signed else 0
    return tagged("int", st.integers(low, low + 2**bits - 1).map(str))


def floats(width):
    return tagged("float", st.floats(width=width).map(lambda x: struct.pack(">d", x).hex()))


def decimals(precision, scale):
    whole = st.integers(-(10**precision) + 1, 10**precision - 1)
    return tagged("decimal", whole.map(lambda unscaled: f"{unscaled}E{-scale}"))


def moments(tag, unit, low, high):
    return tagged(tag, st.integers(low, high).map(lambda count: [unit, count]))


DAY_S = 86_400
LEAVES = {
    **{f"int{bits}": integers(bits, is_signed=True) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": integers(bits, is_signed=False) for bits in (8, 16, 32, 64)},
    "half_float": floats(16),
    "float": floats(32),
    "double": floats(64),
    "bool": tagged("bool", st.booleans()),
    "decimal32(9, 4)": decimals(9, 4),
    "decimal64(18, 3)": decimals(18, 3),
    "decimal128(38, 19)": decimals(38, 19),
    "decimal128(20, 0)": decimals(20, 0),
    "decimal128(38, 30)": decimals(38, 30),
    "decimal128(12, -8)": decimals(12, -8),
    "decimal256(70, 45)": decimals(70, 45),
    "string": tagged("text", st.text()),
    "large_string": tagged("text", st.text()),
    "string_view": tagged("text", st.text()),
    "binary": tagged("bytes", st.binary().map(bytes.hex)),
    "binary_view": tagged("bytes", st.binary().map(bytes.hex)),
    "fixed_size_binary[9]": tagged("bytes", st.binary(min_size=9, max_size=9).map(bytes.hex)),
    "uuid": tagged("uuid", st.uuids().map(str)),
    "date32": tagged("date", st.integers(-(2**31), 2**31 - 1)),
    "date64": tagged("date", st.integers(-(10**6), 10**6)),
    "time32[ms]": moments("time", "ms", 0, DAY_S * 10**3 - 1),
    "time64[ns]": moments("time", "ns", 0, DAY_S * 10**9 - 1),
    "timestamp[s]": moments("timestamp", "s", -(2**63) + 1, 2**63 - 1),
    "timestamp[us, UTC]": moments("timestamp", "us", -(2**63) + 1, 2**63 - 1),
    "timestamp[ns]": moments("timestamp", "ns", -(2**63) + 1, 2**63 - 1),
    "duration[ms]": moments("duration", "ms", -(2**63) + 1, 2**63 - 1),
    "duration[ns]": moments("duration", "ns", -(2**63) + 1, 2**63 - 1),
    "month_day_nano_interval": tagged(
        "interval",
        st.tuples(*(st.integers(-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (32, 32, 64))),
    ),
}
HASHABLE = st.sampled_from(["string", "int64", "bool"])


def nested_kinds(kinds):
    return st.one_of(
        st.builds(
            lambda layout, kind: {layout: kind}, st.sampled_from(["list", "large_list"]), kinds
        ),
        HASHABLE.map(lambda kind: {"list_view": kind}),
        kinds.map(lambda kind: {"fixed_size_list": kind, "size": 2}),
        st.lists(st.tuples(st.sampled_from("abc"), kinds), max_size=3).map(
            lambda fields: {"struct": [list(field) for field in fields]}
        ),
        st.tuples(HASHABLE, kinds).map(lambda pair: {"map": list(pair)}),
        HASHABLE.map(lambda kind: {"dictionary": kind}),
    )


NAMES = st.lists(st.text(max_size=3), max_size=3)
KINDS = st.recursive(st.sampled_from(sorted(LEAVES)), nested_kinds, max_leaves=4)


def cells_of(kind):
    return st.none() | values_of(kind)


def values_of(kind):
    if isinstance(kind, str):
        return LEAVES[kind]
    layout, inner = next(iter(kind.items()))
    if layout == "dictionary":
        return values_of(inner)
    if layout == "struct":
        return st.tuples(*(cells_of(part) for _, part in inner)).map(
            lambda parts: {"struct": [[name, p] for (name, _), p in zip(inner, parts, strict=True)]}
        )
    if layout == "map":
        entry = st.tuples(values_of(inner[0]), cells_of(inner[1])).map(list)
        return tagged("map", st.lists(entry, max_size=3, unique_by=lambda pair: str(pair[0])))
    size = kind.get("size")
    return tagged("list", st.lists(cells_of(inner), min_size=size or 0, max_size=size or 3))


@st.composite
def tables(draw, kinds=KINDS, rows_max=6, names=NAMES):
    """``(columns, rows)``, for ``arrow_tables.batch_of``."""
    rows = draw(st.integers(0, rows_max))
    names = draw(names)
    columns = []
    for name in names:
        kind = draw(kinds)
        columns.append((name, kind, draw(st.lists(cells_of(kind), min_size=rows, max_size=rows))))
    return columns, rows

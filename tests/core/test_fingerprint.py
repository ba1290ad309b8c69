"""Fingerprints: the vectors of the specification, the laws of a sum, and what a change does."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import random
import struct
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.fingerprint import Fingerprinter, cell_hashes
from nbgov.core.fingerprint.cells import BLOCK_ROWS, reader
from nbgov.core.fingerprint.fold import logical_type
from nbgov.core.fingerprint.mixing import PIECES_MAX
from nbgov.errors import BackendFailed

TESTS = Path(__file__).parents[1]
VECTORS = json.loads((TESTS / "vectors" / "fingerprint.json").read_text(encoding="utf-8"))


def load(name):
    """A module of tests/reference; test folders are no packages."""
    spec = importlib.util.spec_from_file_location(name, TESTS / "reference" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load("fingerprint")
arrow_tables = load("arrow_tables")
arrow, batch_of = arrow_tables.arrow, arrow_tables.batch_of


def fold(*batches):
    fingerprinter = Fingerprinter()
    for batch in batches:
        fingerprinter.update(batch)
    return fingerprinter


def fingerprint(table):
    return fold(*pa.table(table).to_batches()).finish()


def as_json(found):
    return {
        "rows": found.rows,
        "content": found.content,
        "content_id": found.content_id,
        "schema_id": found.schema_id,
        "columns": [list(column) for column in found.columns],
    }


# ---- the specification


def test_there_are_vectors_enough():
    """The vector file has at least 200 cases, each under a name of its own."""
    names = [vector["case"] for vector in VECTORS]
    assert len(set(names)) == len(names) >= 200


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
def test_vector(vector):
    """A vector has the fingerprint that the file says."""
    batch = batch_of(vector["columns"], vector["rows"])
    assert as_json(fold(batch).finish()) == vector["fingerprint"]


def test_the_vectors_are_what_the_reference_writes():
    """The committed file is what the reference implementation writes today."""
    text = (TESTS / "vectors" / "fingerprint.json").read_text(encoding="utf-8")
    assert load("fingerprint_vectors").document() == text


# ---- random tables of every type


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
def tables(draw, kinds=KINDS, rows_max=6):
    rows = draw(st.integers(0, rows_max))
    names = draw(st.lists(st.text(max_size=3), max_size=3))
    columns = []
    for name in names:
        kind = draw(kinds)
        columns.append((name, kind, draw(st.lists(cells_of(kind), min_size=rows, max_size=rows))))
    return columns, rows


@given(tables())
def test_numpy_equals_the_reference(table):
    """On any table of any types both implementations give every figure alike."""
    columns, rows = table
    found = fold(batch_of(columns, rows)).finish()
    assert as_json(found) == reference.fingerprint(columns, rows)


@pytest.mark.parametrize("kind", sorted(LEAVES))
@settings(max_examples=30)
@given(data=st.data())
def test_numpy_equals_the_reference_on(kind, data):
    """Every plain type hashes as the reference does, also from the middle of a longer array."""
    cells = data.draw(st.lists(cells_of(kind), max_size=8))
    start = data.draw(st.integers(0, len(cells)))
    hashes = cell_hashes(arrow(kind, cells).slice(start))
    assert hashes.tolist() == [reference.cell_hash(cell) for cell in cells[start:]]


@given(tables(), st.randoms(use_true_random=False))
def test_order_does_not_matter(table, chance):
    """Rows in any order, and columns of different names in any order, have one content id."""
    columns, rows = table
    order = chance.sample(range(rows), rows)
    shuffled = [(name, kind, [cells[i] for i in order]) for name, kind, cells in columns]
    if len({name for name, _, _ in columns}) == len(columns):
        chance.shuffle(shuffled)
    before, after = (fold(batch_of(part, rows)).finish() for part in (columns, shuffled))
    assert after.content_id == before.content_id
    assert sorted(after.columns) == sorted(before.columns)


@given(tables(rows_max=9), st.integers(1, 4), st.booleans())
def test_batches_and_parts_do_not_matter(table, size, is_merged):
    """Batches of any size, folded in one place or merged from many, give one fingerprint."""
    columns, rows = table
    whole = batch_of(columns, rows)
    parts = [whole.slice(start, size) for start in range(0, rows, size)] or [whole]
    if is_merged:
        found = Fingerprinter()
        for part in parts:
            found = fold(part).merge(found)
    else:
        found = fold(*parts)
    assert found.finish() == fold(whole).finish()


@given(tables(), st.lists(st.integers(0, 6), min_size=2, max_size=2))
def test_merge_laws(table, cuts):
    """Merging is commutative and associative, has a neutral element and changes no part."""
    columns, rows = table
    low, high = sorted(min(cut, rows) for cut in cuts)
    whole = batch_of(columns, rows)
    a, b, c = (
        fold(part)
        for part in (whole.slice(0, low), whole.slice(low, high - low), whole.slice(high))
    )
    before = a.finish()
    assert a.merge(b).finish() == b.merge(a).finish()
    assert a.merge(b).merge(c).finish() == a.merge(b.merge(c)).finish() == fold(whole).finish()
    assert a.merge(Fingerprinter()).finish() == Fingerprinter().merge(a).finish() == before
    assert a.finish() == before


# ---- what carries the values does not matter

LEVELS = ["red", None, "green", "", "red"]
NUMBERS = [3, None, 0, -7, 2**31 - 1]
VARIANTS = {
    "large string": pa.array(LEVELS, pa.large_string()),
    "string view": pa.array(LEVELS, pa.string_view()),
    "binary": pa.array([x and x.encode() for x in LEVELS], pa.binary()),
    "dictionary": pa.array(LEVELS).dictionary_encode(),
    "dictionary with spare values": pa.DictionaryArray.from_arrays(
        pa.array([0, None, 1, 2, 0], pa.int8()),
        pa.array(["red", "green", "", *(f"spare {i}" for i in range(9))]),
    ),
    "dictionary with NULL as a value": pa.DictionaryArray.from_arrays(
        pa.array([0, 3, 1, 2, 0], pa.uint8()), pa.array(["red", "green", "", None])
    ),
    "run-end-encoded": pc.run_end_encode(pa.array(LEVELS)),
    "a slice": pa.array(["x", *LEVELS, "y"]).slice(1, 5),
}
NUMBER_VARIANTS = {
    "int32": pa.array(NUMBERS, pa.int32()),
    "double": pa.array([float("nan") if n is None else n for n in NUMBERS], pa.float64()),
    "decimal": pa.array([n if n is None else Decimal(n) for n in NUMBERS], pa.decimal128(20, 3)),
    "wide decimal": pa.array([n if n is None else Decimal(n) for n in NUMBERS], pa.decimal256(60)),
    "dictionary": pa.array(NUMBERS).dictionary_encode(),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_layout_does_not_matter(variant):
    """Strings hash alike in every Arrow layout."""
    assert cell_hashes(variant).tolist() == cell_hashes(pa.array(LEVELS)).tolist()


@pytest.mark.parametrize("variant", NUMBER_VARIANTS.values(), ids=NUMBER_VARIANTS)
def test_types_are_values(variant):
    """Numbers hash alike in every type that holds them."""
    assert cell_hashes(variant).tolist() == cell_hashes(pa.array(NUMBERS)).tolist()


def test_blocks_do_not_matter():
    """Arrays and texts longer than the blocks they are hashed in hash like their parts."""
    long = "0123456789abcdef" * (PIECES_MAX // 2) + "the end"
    texts = pa.array(["a", None, long, "", "b" * 17, long[:-1]])
    one_by_one = [cell_hashes(texts.slice(place, 1))[0] for place in range(len(texts))]
    assert cell_hashes(texts).tolist() == one_by_one
    assert len(set(one_by_one)) == len(one_by_one)
    ids = pa.array(range(2 * BLOCK_ROWS + 3))
    halves = [cell_hashes(ids.slice(0, 9)), cell_hashes(ids.slice(9))]
    assert cell_hashes(ids).tolist() == np.concatenate(halves).tolist()


def test_an_extension_hashes_as_its_storage():
    """An extension type other than UUID is its storage, in hash and in type."""
    plain_ints = pa.array([1, None, 0], pa.int8())
    flags = pa.ExtensionArray.from_storage(pa.bool8(), plain_ints)
    assert cell_hashes(flags).tolist() == cell_hashes(plain_ints).tolist()
    assert logical_type(flags.type) == "int"


def test_hashes_made_elsewhere_are_taken():
    """Cell hashes that the caller already made give the same fingerprint."""
    batch = pa.record_batch({"x": [1, None], "y": ["a", "b"]})
    given_hashes = Fingerprinter()
    given_hashes.update(batch, [cell_hashes(column) for column in batch.columns])
    assert given_hashes.finish() == fold(batch).finish()


def test_an_empty_stream_has_the_columns_of_its_schema():
    """A stream that ends before its first batch fingerprints like one empty batch."""
    schema = pa.schema({"x": pa.int64(), "y": pa.string()})
    empty = pa.RecordBatch.from_pylist([], schema)
    assert Fingerprinter(schema).finish() == fold(empty).finish()
    assert Fingerprinter(schema).finish().content_id != Fingerprinter().finish().content_id


def test_parts_of_different_schemas_do_not_merge():
    """Batches and parts with other names or logical types are refused."""
    numbers, words = pa.record_batch({"x": [1]}), pa.record_batch({"x": ["1"]})
    with pytest.raises(RuntimeError, match="differ in names or logical types"):
        fold(numbers, words)
    with pytest.raises(RuntimeError, match="differ in names or logical types"):
        fold(numbers).merge(fold(words))


class ArrowSchema(ctypes.Structure):
    """The schema half of the Arrow C data interface."""

    release_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    _fields_ = (
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_char_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", release_type),
        ("private_data", ctypes.c_void_p),
    )


@ArrowSchema.release_type
def release_schema(address):
    """Nothing is owned; the interface asks only that the callback clears itself."""
    ArrowSchema.from_address(address).release = ArrowSchema.release_type()


def test_a_type_outside_the_specification_is_refused():
    """A type that the specification does not name raises an error that names it."""
    months = ArrowSchema(b"tiM", b"", None, 0, 0, None, None, release_schema, None)
    kind = pa.DataType._import_from_c(ctypes.addressof(months))
    with pytest.raises(BackendFailed, match=r"month_interval has no fingerprint") as caught:
        reader(kind)
    assert logical_type(kind) == "month_interval"
    assert caught.value.code == "database-error"
    assert "Cast" in caught.value.next_step


# ---- a change is seen, and seen where it is

SALES = pa.table(
    {
        "id": list(range(200)),
        "amount": [i * 0.25 for i in range(200)],
        "flag": [i % 3 == 0 for i in range(200)],
        "level": [("low", "mid", None, "high")[i % 4] for i in range(200)],
        "price": pa.array([Decimal(i) / 100 for i in range(200)], pa.decimal128(9, 2)),
        "at": pa.array([i * 86_400 for i in range(200)], pa.timestamp("s")),
    }
)


def edited(name, row, value):
    place = SALES.schema.get_field_index(name)
    cells = SALES[name].to_pylist()
    cells[row] = value
    return SALES.set_column(place, name, pa.array(cells, SALES.schema.field(name).type))


def reordered(name, order):
    place = SALES.schema.get_field_index(name)
    return SALES.set_column(place, name, SALES[name].take(pa.array(order)))


def changed_columns(before, after):
    return {
        old[0] for old, new in zip(before.columns, after.columns, strict=True) if old[2:] != new[2:]
    }


def test_a_thousand_single_cell_edits_are_seen():
    """Each of 1,000 edits of one cell changes the content id and the digest of its column alone."""
    chance = random.Random(20130101)
    before = fingerprint(SALES)
    new_values = {
        "id": lambda: chance.randrange(10**6, 2 * 10**6),
        "amount": chance.random,
        "flag": None,
        "level": lambda: chance.choice(["LOW", "low ", "", "l\u00f6w"]),
        "price": lambda: Decimal(chance.randrange(1000, 9999)) / 100,
        "at": lambda: chance.randrange(10**9, 2 * 10**9),
    }
    columns = {name: SALES[name].to_pylist() for name in new_values}
    seen = 0
    for _ in range(1_000):
        name, row = chance.choice(list(new_values)), chance.randrange(200)
        new = (not columns[name][row]) if name == "flag" else new_values[name]()
        after = fingerprint(edited(name, row, new))
        seen += after.content_id != before.content_id and changed_columns(before, after) == {name}
    assert seen == 1_000


NEAR_MISSES = {
    "a digit": edited("id", 7, 8),
    "a sign": edited("amount", 9, -2.25),
    "a flipped flag": edited("flag", 0, False),
    "NULL for empty text": edited("level", 2, ""),
    "case": edited("level", 0, "Low"),
    "a trailing space": edited("level", 0, "low "),
    "a cent": edited("price", 199, Decimal("1.98")),
    "a second": edited("at", 0, 1),
    "two cells of a column exchanged": reordered("amount", [1, 0, *range(2, 200)]),
    "a row less": SALES.slice(1),
    "a row twice": pa.concat_tables([SALES, SALES.slice(3, 1)]),
    "a column renamed": SALES.rename_columns(["key", *SALES.column_names[1:]]),
    "a column dropped": SALES.drop_columns(["flag"]),
    "columns exchanged": SALES.rename_columns(["amount", "id", *SALES.column_names[2:]]),
    "a column of NULLs added": SALES.append_column("x", pa.nulls(200)),
    "a column against the others": reordered("id", range(199, -1, -1)),
}


@pytest.mark.parametrize("near_miss", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_near_misses_differ(near_miss):
    """A change that a weaker digest misses gives another content id."""
    assert fingerprint(near_miss).content_id != fingerprint(SALES).content_id


def test_a_changed_type_with_equal_values_changes_the_schema_id_alone():
    """A new logical type of equal values keeps the content and changes the schema id."""
    before = fingerprint(SALES)
    retyped = SALES.set_column(0, "id", SALES["id"].cast(pa.float64()))
    wider = SALES.set_column(0, "id", SALES["id"].cast(pa.int32()))
    assert fingerprint(retyped).content_id == before.content_id
    assert fingerprint(retyped).schema_id != before.schema_id
    assert fingerprint(wider) == before


def test_an_empty_column_keeps_the_lanes():
    """A column of NULLs changes the id and the schema but not the row lanes."""
    before = fingerprint(SALES)
    after = fingerprint(SALES.append_column("x", pa.nulls(200, pa.string())))
    assert after.content == before.content
    assert after.content_id != before.content_id
    assert after.schema_id != before.schema_id


def test_a_renamed_column_keeps_its_digest():
    """A digest does not depend on the column's name, so a renamed column is found by it."""
    renamed = fingerprint(SALES.rename_columns(["key", *SALES.column_names[1:]]))
    assert renamed.columns[0][1:] == fingerprint(SALES).columns[0][1:]

"""Fingerprints: the vectors of the specification, the laws of a sum, and what a change does."""

from __future__ import annotations

import ctypes
import json
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.fingerprint import Fingerprinter, cell_hashes
from nbgov.core.fingerprint.cells import BLOCK_ROWS, SAMPLE_ROWS, reader
from nbgov.core.fingerprint.logical import logical_type
from nbgov.core.fingerprint.mixing import PIECES_MAX
from nbgov.errors import BackendFailed, IntegrityFailed
from tests.reference import fingerprint as reference
from tests.reference import fingerprint_vectors
from tests.reference.arrow_tables import arrow, batch_of
from tests.reference.random_tables import LEAVES, cells_of, tables

TESTS = Path(__file__).parents[1]
VECTORS = json.loads((TESTS / "vectors" / "fingerprint.json").read_text(encoding="utf-8"))


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
        "order": found.order,
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
    key = bytes.fromhex(vector["key"]) if "key" in vector else None
    assert as_json(fold(batch).finish(key=key)) == vector["fingerprint"]


def test_the_vectors_are_what_the_reference_writes():
    """The committed file is what the reference implementation writes today."""
    text = (TESTS / "vectors" / "fingerprint.json").read_text(encoding="utf-8")
    assert fingerprint_vectors.document() == text


# ---- random tables of every type


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
            found = found.merge(fold(part))
    else:
        found = fold(*parts)
    assert as_json(found.finish()) == as_json(fold(whole).finish())


def cut(table, cuts):
    """A table, and its three parts between two rows."""
    columns, rows = table
    low, high = sorted(min(place, rows) for place in cuts)
    whole = batch_of(columns, rows)
    parts = (whole.slice(0, low), whole.slice(low, high - low), whole.slice(high))
    return fold(whole), *map(fold, parts)


CUTS = st.lists(st.integers(0, 6), min_size=2, max_size=2)


@settings(max_examples=40)
@given(tables(), CUTS)
def test_merge_laws(table, cuts):
    """Merging is associative and, but for the order, commutative; it changes no part."""
    whole, a, b, c = cut(table, cuts)
    before = as_json(a.finish())
    assert a.merge(b).finish() == b.merge(a).finish()
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c))):
        assert as_json(merged.finish()) == as_json(whole.finish())
    for merged in (a.merge(Fingerprinter()), Fingerprinter().merge(a)):
        assert as_json(merged.finish()) == before
    assert as_json(a.finish()) == before


@settings(max_examples=40)
@given(tables(), CUTS)
def test_subtract_undoes_merge(table, cuts):
    """A dataset without its parts is what is left, in whatever order they are taken out."""
    whole, a, b, c = cut(table, cuts)
    assert whole.subtract(a).finish() == b.merge(c).finish()
    assert whole.subtract(b).subtract(c).finish() == a.finish()
    assert whole.subtract(c.merge(a)).finish() == b.finish()
    nothing = whole.subtract(whole)
    assert as_json(nothing.finish()) == as_json(
        Fingerprinter().merge(whole).subtract(whole).finish()
    )
    assert (nothing.rows, nothing.finish().order) == (0, "0" * 32)
    assert as_json(whole.subtract(Fingerprinter()).finish()) == as_json(whole.finish())


@settings(max_examples=40)
@given(tables(), CUTS)
def test_a_state_travels(table, cuts):
    """A state survives JSON, and parts merged from states are one pass, order included."""
    whole, *parts = cut(table, cuts)
    merged = Fingerprinter()
    for part in parts:
        merged = merged.merge(Fingerprinter.from_state(json.loads(json.dumps(part.state()))))
    assert as_json(merged.finish()) == as_json(whole.finish())
    nothing = Fingerprinter.from_state(Fingerprinter().state())
    assert as_json(nothing.finish()) == as_json(Fingerprinter().finish())


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


@pytest.mark.parametrize("kind", [pa.string(), pa.large_binary(), pa.string_view()], ids=str)
@pytest.mark.parametrize("levels", [3, 10**6])
def test_texts_that_repeat_hash_alike(kind, levels):
    """Long arrays of few texts, which are hashed once each, hash like their parts, NULLs too."""
    rows = 4 * SAMPLE_ROWS + 3
    values = [None if n % 11 == 0 else f"level {n % levels}" for n in range(rows)]
    texts = pa.array(values).cast(kind)
    parts = [cell_hashes(texts.slice(start, SAMPLE_ROWS)) for start in range(0, rows, SAMPLE_ROWS)]
    assert cell_hashes(texts).tolist() == np.concatenate(parts).tolist()


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
    for do in (
        lambda: fold(numbers, words),
        lambda: fold(numbers).merge(fold(words)),
        lambda: fold(numbers).subtract(fold(words)),
    ):
        with pytest.raises(IntegrityFailed, match="differ in names or logical types") as caught:
            do()
        assert caught.value.code == "digests-disagree"


def small(**columns):
    return fold(
        pa.record_batch({name: pa.array(cells, pa.int64()) for name, cells in columns.items()})
    )


NO_PARTS = {
    "more rows": (small(x=[1, 2]), small(x=[1, 2, 3])),
    "more values": (small(x=[1, None]), small(x=[1, 2])),
    "more NULLs": (small(x=[1, 2]), small(x=[None])),
    "as many other rows": (small(x=[1, 2]), small(x=[1, 3])),
    "all values, and others": (small(x=[1, None], y=[1, 1]), small(x=[2], y=[1])),
    "rows from nothing": (Fingerprinter(), small(x=[1])),
}


@pytest.mark.parametrize(("whole", "part"), NO_PARTS.values(), ids=NO_PARTS)
def test_what_is_no_part_is_not_subtracted(whole, part):
    """Counts and sums that no part can have are refused, and nothing changes."""
    before = whole.state()
    with pytest.raises(IntegrityFailed, match="no part of the dataset"):
        whole.subtract(part)
    assert whole.state() == before


GOOD = small(x=[1, 2]).state()
DAMAGED = {
    "no spec": {name: value for name, value in GOOD.items() if name != "spec"},
    "another spec": GOOD | {"spec": "nbgov-fp-v2"},
    "rows below zero": GOOD | {"rows": -1},
    "no number": GOOD | {"rows": "many"},
    "three lanes": GOOD | {"lanes": ["0"] * 3},
    "a digest without values": GOOD | {"columns": [["x", "int", "1" * 16, 0]]},
    "more values than rows": GOOD | {"columns": [["x", "int", "1" * 16, 3]]},
    "lanes without rows": GOOD | {"rows": 0, "columns": [["x", "int", "0" * 16, 0]]},
    "a column of three figures": GOOD | {"columns": [["x", "int", "0" * 16]]},
    "a digest of five words": GOOD | {"columns": [["x", "int", "1" * 80, 2]]},
}


@pytest.mark.parametrize("state", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_state_is_refused(state):
    """What no fold wrote is refused with an error that quotes nothing of it."""
    with pytest.raises(IntegrityFailed) as caught:
        Fingerprinter.from_state(state)
    assert caught.value.code == "digests-disagree"
    assert "1111" not in str(caught.value)


# ---- the order of rows


@given(st.lists(st.integers(0, 3), max_size=8), st.data())
def test_the_order_digest_is_the_order(cells, data):
    """Rows in another order have another order digest and the same content, and only then."""
    shuffled = data.draw(st.permutations(cells))
    before, after = small(x=cells).finish(), small(x=shuffled).finish()
    assert before == after
    assert (before.order == after.order) == (cells == shuffled)


def test_the_order_of_many_rows_counts():
    """Exchanged rows are seen however far they lie apart, in one block or two, and so is a turn."""
    rows = 3 * BLOCK_ROWS + 5
    ids = np.arange(rows)
    orders = {fold(pa.record_batch({"x": ids})).finish().order}
    for low, high in ((0, 1), (0, rows - 1), (7, 7 + BLOCK_ROWS), (1, 1 + 2 * BLOCK_ROWS)):
        other = ids.copy()
        other[[low, high]] = other[[high, low]]
        orders.add(fold(pa.record_batch({"x": other})).finish().order)
    orders.add(fold(pa.record_batch({"x": ids[::-1]})).finish().order)
    orders.add(fold(pa.record_batch({"x": np.roll(ids, BLOCK_ROWS)})).finish().order)
    assert len(orders) == 7


def test_an_unknown_order_stays_unknown():
    """What is left after a part was taken out has no order digest, and nothing merged with it."""
    left = small(x=[1, 2, 3]).subtract(small(x=[2]))
    assert left.finish() == small(x=[1, 3]).finish()
    assert left.finish().order == ""
    for merged in (left.merge(small(x=[4])), small(x=[4]).merge(left)):
        assert merged.finish().order == merged.finish(key=bytes(16)).order == ""
        assert Fingerprinter.from_state(merged.state()).finish().order == ""


# ---- keys


def test_a_key_hides_equality():
    """Keyed figures are equal under one key alone, and none of them is that without a key."""
    folds = small(x=[1, 2]), small(x=[2, 1])
    keys = None, bytes(16), b"k" * 64
    found = [[one.finish(key=key) for one in folds] for key in keys]
    assert all(a == b for a, b in found)
    for name in ("content", "content_id", "order", "columns"):
        assert len({getattr(one, name) for one, _ in found}) == 3
    assert [one.is_keyed for one, _ in found] == [False, True, True]
    assert found[1][0].content_id.startswith("nbgov-fp-v1-keyed:")
    assert len({one.schema_id for one, _ in found}) == 1


def test_a_short_key_is_refused():
    """A key that can be guessed, or that BLAKE2 would not take, is a defect of the caller."""
    for key in (b"", bytes(15), bytes(65)):
        with pytest.raises(AssertionError, match="16 to 64 bytes"):
            small(x=[1]).finish(key=key)


def test_a_veil_covers_the_columns_it_names():
    """Veiled digests are those of the keyed fingerprint; ids, lanes and other columns stay."""
    key = bytes(range(32))
    plain, keyed = (small(x=[1, 2], y=[3, 4]).finish(key=k) for k in (None, key))
    veiled = plain.veiled({"y"}, key=key)
    assert veiled.columns == (plain.columns[0], keyed.columns[1])
    assert (veiled.content_id, veiled.order) == (plain.content_id, plain.order)
    assert keyed.veiled({"x"}, key=key) is keyed


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

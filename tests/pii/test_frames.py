"""Masked copies: every kind of table comes back as its own kind, without what was found in it."""

from __future__ import annotations

import datetime
import decimal
import enum
import re
import subprocess
import sys
import uuid
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbgov
from nbgov.backends.memory import MemoryDetector
from nbgov.core.pseudonym import token
from nbgov.errors import BackendFailed, ConfigInvalid, RequestInvalid
from nbgov.pii import frames
from nbgov.pii.masker import Masker

ENTITIES = ("EMAIL_ADDRESS", "CARD", "DAY")
PATTERNS = {
    "EMAIL_ADDRESS": re.compile(r"\w+@example\.com"),
    "CARD": re.compile(r"4111111111111111"),
    "DAY": re.compile(r"2020-01-02"),
}
CARD = 4111111111111111
TEXTS = ["to ada@example.com", None, "nothing", "bo@example.com"]
MASKED = ["to <EMAIL_ADDRESS>", None, "nothing", "<EMAIL_ADDRESS>"]
KEY = "0123456789abcdef0123456789abcdef"
DAYS = ["2020-01-02", None, "2021-01-02", "2020-01-02"]
POLICY = """
version: 1
tags: {public: ["*.*.*.topic"], pii.email: ["*.*.*.email"], pii.born: ["*.*.*.born"]}
rules:
  - {id: all, effect: permit, to: {names: ["*"]}, actions: [read], on: ["*.*.*"],
     obligations: {masks: {pii.email: token, pii.born: year}}}
content: {entities: [EMAIL_ADDRESS]}
"""


def detector() -> MemoryDetector:
    return MemoryDetector(PATTERNS)


def mask(data, **options):
    return nbgov.mask(data, **{"entities": ENTITIES, "engine": detector(), **options})


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A folder without a project, and a key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NBGOV_CONFIG", raising=False)
    monkeypatch.setenv("MASK_KEY", KEY)


def plain(values) -> list:
    """Values with every kind of null as ``None``."""
    return [None if np.ndim(one) == 0 and pd.isna(one) else one for one in values]


# ---------------------------------------------------------------- pandas


@pytest.mark.parametrize(
    "dtype",
    [
        object,
        "str",
        "string[python]",
        "string[pyarrow]",
        pd.ArrowDtype(pa.string()),
        pd.ArrowDtype(pa.large_string()),
        pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string())),
        "category",
    ],
    ids=str,
)
def test_text_of_every_dtype(dtype):
    """Findings are replaced in text; dtype, nulls, index, name and attrs stay, and the input too."""
    index = pd.MultiIndex.from_tuples([(1, 2), (1, 2), (3, 4), (3, 5)], names=["a", None])
    series = pd.Series(
        pd.Series(TEXTS, dtype=object).array, dtype=dtype, index=index, name=("x", 1)
    )
    series.attrs["source"] = "test"
    before = series.copy(deep=True)
    masked = mask(series)
    assert plain(masked) == MASKED
    assert dtype == "category" or masked.dtype == series.dtype
    pd.testing.assert_index_equal(masked.index, index)
    assert (masked.name, masked.attrs) == (("x", 1), {"source": "test"})
    pd.testing.assert_series_equal(series, before)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pd.Series([CARD, 1], dtype="Int64"), [None, 1]),
        (pd.Series([CARD, None], dtype="Float64"), [None, None]),
        (pd.Series([float(CARD), 1.5, np.inf, np.nan]), [None, 1.5, np.inf, None]),
        (pd.Series([1.5, np.nan], dtype="float16"), [1.5, None]),
        (pd.Series([CARD, 1], dtype=pd.ArrowDtype(pa.int64())), [None, 1]),
        (pd.Series([CARD + 0j, 1j]), [None, 1j]),
        (pd.Series([True, False]), [True, False]),
        (pd.Series([True, None], dtype="boolean"), [True, None]),
        (pd.to_datetime(pd.Series(DAYS)), [None, None, pd.Timestamp("2021-01-02"), None]),
        (
            pd.to_datetime(pd.Series(DAYS)).dt.tz_localize("Europe/Paris"),
            [None, None, pd.Timestamp("2021-01-02", tz="Europe/Paris"), None],
        ),
        (pd.Series(pd.to_timedelta([1, None], unit="s")), [pd.Timedelta(1, "s"), None]),
        (pd.Series(pd.PeriodIndex(DAYS, freq="D")), [None, None, pd.Period("2021-01-02"), None]),
        (pd.Series(pd.interval_range(0.0, 2.0)), list(pd.interval_range(0.0, 2.0))),
        (pd.Series([0, 7], dtype="Sparse[int64]"), [0, 7]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_numbers_and_moments_become_null(series, expected):
    """A number or a moment in which something is found becomes null; the dtype stays."""
    masked = mask(series)
    assert plain(masked) == expected
    assert masked.dtype == series.dtype


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_hold_no_null_read_zero(dtype):
    """NumPy's integers read 0 where something is found, and a warning names the column."""
    frame = pd.DataFrame({"n": np.array([CARD, 1, CARD], dtype=dtype)})
    with pytest.warns(
        UserWarning, match=rf"'n' of dtype {dtype} .* 2 masked values read 0"
    ) as told:
        masked = mask(frame)
    assert masked["n"].tolist() == [0, 1, 0]
    assert masked["n"].dtype == dtype
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("values", "expected", "categories"),
    [
        (pd.Categorical(["ada@example.com", "x", "bo@example.com"]), ["<EMAIL_ADDRESS>", "x", "<EMAIL_ADDRESS>"], ["<EMAIL_ADDRESS>", "x"]),
        (pd.Categorical(["x", None], categories=["x", "ada@example.com"], ordered=True), ["x", None], ["x", "<EMAIL_ADDRESS>"]),
        (pd.Categorical([CARD, 7, None]), [None, 7, None], [7]),
        (pd.Categorical(pd.to_datetime(["2020-01-02", "2021-01-02"])), [None, pd.Timestamp("2021-01-02")], [pd.Timestamp("2021-01-02")]),
        (pd.Categorical([(1, "ada@example.com"), (2, "x")]), [(1, "<EMAIL_ADDRESS>"), (2, "x")], [(1, "<EMAIL_ADDRESS>"), (2, "x")]),
        (pd.Categorical([True, False]), [True, False], [False, True]),
        (pd.cut([1, 2], 2), list(pd.cut([1, 2], 2)), list(pd.cut([1, 2], 2).categories)),
    ],
)  # fmt: skip
def test_categories(values, expected, categories):
    """Categories are masked, used or not, and those that read alike become one."""
    masked = mask(pd.Series(values))
    assert plain(masked) == expected
    assert list(masked.cat.categories) == categories
    assert masked.cat.ordered == values.ordered
    assert masked.cat.categories.dtype == values.categories.dtype


def test_a_category_counts_its_rows():
    """The report counts the rows of a category, not the category."""
    report = []
    mask(pd.Series(["ada@example.com"] * 5 + [None], dtype="category"), report=report)
    mixed = []
    mask(pd.Series([("ada@example.com", 1)] * 5, dtype="category"), report=mixed)
    assert report[0]["entities"] == mixed[0]["entities"] == {"EMAIL_ADDRESS": 5}


class Colour(enum.StrEnum):
    """Texts that print as their own."""

    RED = "ada@example.com"


class Point(NamedTuple):
    """A tuple that is built in its own way."""

    x: str


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ada@example.com", "<EMAIL_ADDRESS>"),
        (Colour.RED, "<EMAIL_ADDRESS>"),
        (np.str_("ada@example.com"), "<EMAIL_ADDRESS>"),
        (b"ada@example.com", b"<EMAIL_ADDRESS>"),
        (bytearray(b"ada@example.com"), bytearray(b"<EMAIL_ADDRESS>")),
        (CARD, None),
        (np.int64(CARD), None),
        (float(CARD), None),
        (decimal.Decimal(CARD), None),
        (datetime.date(2020, 1, 2), None),
        (pd.Timestamp("2020-01-02"), None),
        (pd.Period("2020-01-02"), None),
        (Path("home/ada@example.com"), None),
        (uuid.UUID(int=7), uuid.UUID(int=7)),
        (["ada@example.com", 7], ["<EMAIL_ADDRESS>", 7]),
        (("x", [b"ada@example.com"]), ("x", [b"<EMAIL_ADDRESS>"])),
        ({"ada@example.com"}, {"<EMAIL_ADDRESS>"}),
        (frozenset([CARD]), frozenset([None])),
        ({"ada@example.com": {"n": CARD}}, {"<EMAIL_ADDRESS>": {"n": None}}),
        (np.inf, np.inf),
        (True, True),
    ],
    ids=repr,
)
def test_python_objects(value, expected):
    """Objects of every kind are looked through in a column of mixed ones, at every depth."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked = mask(pd.Series([value, 1, None, "x"], dtype=object))
    assert masked.tolist() == [expected, 1, None, "x"]
    assert type(masked[0]) is type(expected)
    assert masked.dtype == object


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array(["ada@example.com", "x"]), ["<EMAIL_ADDRESS>", "x"]),
        (np.array([[CARD, 1], [2, 3]]), [[None, 1], [2, 3]]),
        (np.array([CARD, 1.5]), [np.nan, 1.5]),
        (np.array(["2020-01-02", "2021-01-02"], dtype="M8[D]"), ["NaT", "2021-01-02"]),
        (np.array([["a", ["bo@example.com"]]], dtype=object), [["a", ["<EMAIL_ADDRESS>"]]]),
        (np.array(7), 7),
    ],
    ids=repr,
)
def test_numpy_arrays_in_cells(value, expected):
    """Arrays in cells keep their shape, and their type where that holds what is left."""
    masked = mask(pd.Series([value, None], dtype=object))[0]
    assert masked.shape == value.shape
    left = np.array(expected, dtype=masked.dtype)
    assert np.array_equal(masked, left, equal_nan=masked.dtype.kind in "fM")


@pytest.mark.parametrize(
    "value",
    [b"\xff\xfe", object(), Point("x"), type, pd.Series(["ada@example.com"]), {1: b"\xff"}],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_read_is_redacted(value):
    """An object that nobody can look through becomes null, and a warning says so without it."""
    series = pd.Series([None, None, "x"], dtype=object, name="odd")
    series[:] = pd.Series([value, value, "x"], dtype=object)
    with pytest.warns(UserWarning, match=r"^The column 'odd' holds cells that cannot be") as told:
        masked = mask(series)
    left = [None, None] if not isinstance(value, dict) else [{1: None}] * 2
    assert masked.tolist() == [*left, "x"]
    assert len(told) == 1
    assert "example" not in str(told[0].message)


def test_what_nothing_is_found_in_stays_itself():
    """Objects in which nothing is found are the very same afterwards, NaN and None apart."""
    values = [["x"], {"a": (1, b"x")}, None, np.nan, pd.NA, pd.NaT, "x"]
    masked = mask(pd.Series([*values, "ada@example.com"], dtype=object))
    assert all(a is b for a, b in zip(masked.tolist()[:-1], values, strict=True))


@pytest.mark.parametrize(
    ("series", "left"),
    [
        (pd.Series(["\ud800", "x"], dtype=object), [None, None]),
        (pd.Series([["\ud800"], 1], dtype=object), [None, None]),
        (pd.Series([10**5000, "x"], dtype=object), [None, None]),
        (pd.Series([CARD, 0], dtype="Sparse[int64]"), [0, 0]),
        (pd.Series(pd.IntervalIndex.from_breaks([1, 2, CARD])), [pd.Interval(0, 0)] * 2),
    ],
    ids=["surrogate", "nested surrogate", "huge", "sparse", "interval"],
)
def test_a_column_that_fails_is_redacted(series, left):
    """A column that cannot be looked through is redacted whole, keeps its dtype, and is named."""
    report = []
    frame = pd.DataFrame({"bad": series, "good": ["ada@example.com", "y"]})
    with pytest.warns(UserWarning, match=r"^The column 'bad' could not be looked through") as told:
        masked = mask(frame, report=report)
    assert len(told) == 1
    assert plain(masked["bad"]) == left
    assert masked["bad"].dtype == series.dtype
    assert masked["good"].tolist() == ["<EMAIL_ADDRESS>", "y"]
    assert [one["how"] for one in report] == ["redacted", "scanned"]


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(TEXTS, dtype="string[python]"), pd.Series(TEXTS, dtype="category"), pd.Series(TEXTS, dtype=object),
        pd.Series([1, 2]), pd.Series([1.5, 2]), pd.Series([1, 2], dtype="Int8"), pd.Series([1j, 2]),
        pd.Series(pd.to_datetime(DAYS)), pd.Series(pd.to_datetime(DAYS)).dt.tz_localize("UTC"),
        pd.Series(pd.to_timedelta([1, 2])), pd.Series(pd.period_range("2020", periods=2, freq="D")),
        pd.Series(TEXTS, dtype=pd.ArrowDtype(pa.string())), pd.Series([0, 1], dtype="Sparse[int64]"),
        pd.Series(pd.interval_range(1, 3)),
    ],
    ids=lambda series: str(series.dtype),
)  # fmt: skip
def test_a_detector_that_fails_clears_nothing(series):
    """Where the detector fails, the column is redacted in every dtype, and nothing else is lost."""
    broken = detector()
    broken.faults.before("detect")
    with pytest.warns(UserWarning, match="detector-failed"):
        masked = mask(series, engine=broken)
    assert series.dtype in (masked.dtype, "category")
    zero = {pd.Interval(0, 0), 0}
    assert all(one in zero for one in plain(masked) if one is not None)


def test_a_frame_keeps_what_it_is():
    """Duplicate names, the index, attrs and flags survive; shared data do not change."""
    index = pd.DatetimeIndex(["2020-01-02", "2020-01-02"], name="day")
    frame = pd.DataFrame(
        [["ada@example.com", 1, "bo@example.com"]] * 2, index=index, columns=["a", 5, "a"]
    )
    frame.attrs["source"] = ["x"]
    before = frame.copy(deep=True)
    masked = mask(frame)
    expected = pd.DataFrame(
        [["<EMAIL_ADDRESS>", 1, "<EMAIL_ADDRESS>"]] * 2, index=index, columns=["a", 5, "a"]
    )
    expected.attrs["source"] = ["x"]
    pd.testing.assert_frame_equal(masked, expected)
    assert masked.attrs == frame.attrs
    masked.iloc[0, 1] = 99
    masked.iloc[0, 0] = "new"
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "dtype", ["int64", "Int64", "float64", "datetime64[ns]", "string[python]", object]
)
def test_a_masked_column_can_be_written_to(dtype):
    """What comes back is the caller's own, to be changed like any other column."""
    old = [CARD, 7] if "64" in str(dtype) and dtype != "datetime64[ns]" else DAYS[::2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masked = mask(pd.Series(old).astype(dtype), entities=["CARD", "DAY"])
    masked.iloc[0] = masked.iloc[1]
    assert masked.iloc[0] == masked.iloc[1]


def test_a_frame_without_rows_or_columns():
    """An empty frame comes back as it is."""
    for frame in (
        pd.DataFrame(),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame({"a": [], "b": []}, dtype="str"),
    ):
        pd.testing.assert_frame_equal(mask(frame), frame)


def test_an_index_with_findings_is_told():
    """An index is kept, and a warning says what may be in it, without a value of it."""
    frame = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["ada@example.com", "x"], name="who"))
    with pytest.warns(UserWarning, match=r"The index 'who' .* may hold EMAIL_ADDRESS") as told:
        masked = mask(frame)
    pd.testing.assert_index_equal(masked.index, frame.index)
    assert "ada" not in str(told[0].message)
    with pytest.warns(UserWarning, match="usage"):
        mask(pd.Series([1], index=pd.Index(["\ud800"], dtype=object)))
    levels = pd.MultiIndex.from_product([["x"], [b"x"]], names=["a", "b"])
    with pytest.warns(UserWarning, match="The index 'b' .* usage"):
        mask(pd.Series([1, 2], index=levels.append(levels)))


VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(),
    st.sampled_from(["", "x", "ada@example.com", "to bo@example.com", "é"]),
    st.binary(max_size=3).filter(bytes.isascii), st.just(CARD), st.dates(),
)  # fmt: skip
CELLS = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
COLUMNS = st.one_of(
    st.lists(CELLS, min_size=3, max_size=3).map(lambda v: pd.Series(v, dtype=object)),
    st.lists(st.sampled_from([*TEXTS, "", "x"]), min_size=3, max_size=3).flatmap(
        lambda v: st.sampled_from(
            ["str", "string[python]", "string[pyarrow]", "category", object]
        ).map(lambda dtype: pd.Series(pd.Series(v, dtype=object), dtype=dtype))
    ),
    st.lists(st.none() | st.just(CARD) | st.integers(0, 9), min_size=3, max_size=3).flatmap(
        lambda v: st.sampled_from(["Int64", "Float64", "float64", pd.ArrowDtype(pa.int64())]).map(
            lambda dtype: pd.Series(v, dtype=dtype)
        )
    ),
)


@given(
    st.lists(COLUMNS, max_size=4),
    st.lists(st.integers(0, 2), min_size=3, max_size=3),
    st.lists(st.sampled_from(["a", "b", 3]), min_size=4, max_size=4),
)
def test_masking_twice_is_masking_once(columns, index, names):
    """Dtypes, index and names stay, nothing found is left, and a second mask changes nothing."""
    frame = pd.DataFrame(dict(enumerate(columns)), index=range(3))
    frame.index, frame.columns = index, names[: len(columns)]
    before = frame.copy(deep=True)
    once = mask(frame)
    pd.testing.assert_index_equal(once.index, frame.index)
    pd.testing.assert_index_equal(once.columns, frame.columns)
    assert [one for one in once.dtypes if one != "category"] == [
        one for one in frame.dtypes if one != "category"
    ]
    shown = [str(once.iloc[:, place].tolist()) for place in range(len(columns))]
    assert not any(pattern.search(one) for pattern in PATTERNS.values() for one in shown)
    pd.testing.assert_frame_equal(mask(once), once)
    pd.testing.assert_frame_equal(frame, before)


# ---------------------------------------------------------------- Arrow and polars


def arrow_columns() -> dict[str, tuple[pa.Array, list]]:
    """Columns of Arrow's types, with what is left of them."""
    numbers = pa.array([CARD, None, 2, CARD])
    left = [None, None, 2, None]
    days = pa.array(
        [datetime.date(2020, 1, 2), None, datetime.date(2021, 1, 2), datetime.date(2020, 1, 2)]
    )
    data = pa.array([None if one is None else one.encode() for one in TEXTS])
    bytes_left = [None if one is None else one.encode() for one in MASKED]
    ids = pa.array([uuid.UUID(int=one).bytes for one in range(4)], pa.binary(16))
    return {
        "string": (pa.array(TEXTS), MASKED),
        "view": (pa.array(TEXTS, pa.string_view()), MASKED),
        "dictionary": (pa.array(TEXTS).dictionary_encode(), MASKED),
        "runs": (pc.run_end_encode(pa.array(TEXTS)), MASKED),
        "int": (numbers, left),
        "uint": (numbers.cast(pa.uint64()), left),
        "double": (numbers.cast(pa.float64()), [None, None, 2.0, None]),
        "decimal": (numbers.cast(pa.decimal128(20, 0)), [None, None, decimal.Decimal(2), None]),
        "int dictionary": (numbers.dictionary_encode(), left),
        "int runs": (pc.run_end_encode(numbers), left),
        "bool": (pa.array([True, None, False, True]), [True, None, False, True]),
        "bool dictionary": (pa.array([True, None, False, True]).dictionary_encode(), [True, None, False, True]),
        "null": (pa.nulls(4), [None] * 4),
        "date": (days, [None, None, datetime.date(2021, 1, 2), None]),
        "timestamp": (days.cast(pa.timestamp("us")), [None, None, datetime.datetime(2021, 1, 2), None]),
        "time": (pa.array([datetime.time(1)] * 4), [datetime.time(1)] * 4),
        "binary": (data, bytes_left),
        "large binary": (data.cast(pa.large_binary()), bytes_left),
        "binary view": (data.cast(pa.binary_view()), bytes_left),
        "fixed binary": (pa.array([b"abc", None, b"def", b"abc"], pa.binary(3)), [b"abc", None, b"def", b"abc"]),
        "uuid": (pa.ExtensionArray.from_storage(pa.uuid(), ids), [uuid.UUID(int=one) for one in range(4)]),
        "list": (pa.array([[CARD, 1], None, [], [None]]), [[None, 1], None, [], [None]]),
        "fixed list": (pa.array([["ada@example.com"], None, ["x"], ["y"]], pa.list_(pa.string(), 1)), [["<EMAIL_ADDRESS>"], None, ["x"], ["y"]]),
        "list view": (
            pa.array([["bo@example.com"], None] * 2, pa.list_view(pa.string())),
            [["<EMAIL_ADDRESS>"], None] * 2,
        ),
        "struct": (pa.array([{"a": CARD, "b": "bo@example.com"}, None] * 2), [{"a": None, "b": "<EMAIL_ADDRESS>"}, None] * 2),
        "map": (pa.array([[("ada@example.com", CARD)], None] * 2, pa.map_(pa.string(), pa.int64())), [[("<EMAIL_ADDRESS>", None)], None] * 2),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(arrow_columns()))
def test_arrow_types(name):
    """Every Arrow type keeps its type, its nulls and what nothing is found in."""
    array, expected = arrow_columns()[name]
    masked = mask(array)
    masked.validate(full=True)
    assert masked.type == array.type
    assert masked.to_pylist() == expected
    chunked = pa.chunked_array([array[:1], array[1:1], array[1:]], array.type)
    assert mask(chunked).to_pylist() == expected


@pytest.mark.parametrize(
    ("array", "left"),
    [
        (pa.array([b"\xff", b"x"]), [None, b"x"]),
        (pa.array([b"abc", b"\xff\xff\xff"], pa.binary(3)), [b"abc", None]),
        (
            pa.array([b"ada@example.com", b"bo_@example.org"], pa.binary(15)),
            [None, b"bo_@example.org"],
        ),
    ],
)
def test_bytes_that_cannot_be_rewritten_become_null(array, left):
    """Bytes that are no text, or of a fixed width, become null rather than pass."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        masked = mask(array)
    assert masked.to_pylist() == left
    assert bool(told) == (b"\xff" in array.to_pylist()[0] + array.to_pylist()[1])


def test_tables_and_streams():
    """A table, a batch and a stream are masked alike, with their schema and its metadata."""
    columns = {name: array for name, (array, _) in arrow_columns().items()}
    table = pa.table(columns, metadata={"a": "b"})
    masked = mask(table)
    assert masked.schema.equals(table.schema, check_metadata=True)
    assert mask(table.to_batches()[0]).equals(masked.to_batches()[0])
    stream = mask(pa.concat_tables([table, table]).to_reader(max_chunksize=3))
    assert isinstance(stream, pa.RecordBatchReader)
    assert stream.schema.equals(table.schema, check_metadata=True)
    assert stream.read_all().to_pylist() == masked.to_pylist() * 2


class Stream:
    """Something that exports Arrow batches, and counts how many were asked for."""

    def __init__(self, *parts: list) -> None:
        self.parts = parts
        self.taken = 0

    def batches(self):
        for part in self.parts:
            self.taken += 1
            yield pa.record_batch({"x": part})

    def __arrow_c_stream__(self, requested_schema=None):
        schema = pa.schema({"x": pa.array(self.parts[0]).type})
        return pa.RecordBatchReader.from_batches(schema, self.batches()).__arrow_c_stream__(
            requested_schema
        )


def test_a_stream_is_masked_while_it_is_read():
    """Nothing is read ahead, and the report is complete at the end."""
    report = []
    stream = Stream(TEXTS, TEXTS)
    masked = mask(stream, report=report)
    assert (stream.taken, report[0]["entities"]) == (0, {})
    assert masked.read_next_batch()["x"].to_pylist() == MASKED
    assert stream.taken == 1
    masked.read_all()
    assert report == [
        {
            "column": "x",
            "how": "scanned",
            "operator": "",
            "why": "",
            "entities": {"EMAIL_ADDRESS": 4},
        }
    ]


def test_a_column_that_fails_in_a_stream_stays_redacted():
    """From the batch on in which a column fails, all of it is redacted, and that is said once."""
    broken = detector()
    broken.faults.before("detect", calls=1)
    masked = mask(Stream(["x"], ["y"], ["z"]), engine=broken)
    with pytest.warns(UserWarning, match="'x'") as told:
        assert masked.read_all()["x"].to_pylist() == ["x", None, None]
    assert len(told) == 1


def test_what_is_not_null_may_become_so():
    """A column that may lose values is nullable afterwards; one that is kept stays as it is."""
    schema = pa.schema(
        [pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.int64(), nullable=False)]
    )
    table = pa.table([[CARD], [1]], schema=schema)
    masked = mask(table, operators={"b": "keep"})
    assert [field.nullable for field in masked.schema] == [True, False]


def test_a_large_column_is_masked_chunk_by_chunk(monkeypatch):
    """Chunks that are too large to be put together are masked one by one, with their subjects."""
    monkeypatch.setattr(frames, "COMBINED_BYTES_MAX", 1)
    chunks = pa.chunked_array([TEXTS, TEXTS[2:]])
    days = pa.chunked_array([[datetime.date(2020, 6, 1)] * 2, [datetime.date(2020, 6, 1)] * 4])
    table = pa.table(
        {"x": chunks, "day": days, "who": pa.chunked_array([["a", "b", "a"], ["b", "a", "b"]])}
    )
    masked = mask(
        table, operators={"day": "date-shift:300", "who": "keep"}, subject="who", key="env:MASK_KEY"
    )
    assert masked["x"].to_pylist() == [*MASKED, *MASKED[2:]]
    by_person = set(zip(masked["who"].to_pylist(), masked["day"].to_pylist(), strict=True))
    assert len(by_person) == 2


def test_polars():
    """Polars frames and columns keep dtypes and names; an Enum gets the categories that are left."""
    frame = pl.DataFrame({
        "text": TEXTS,
        "category": pl.Series(TEXTS, dtype=pl.Categorical),
        "enum": pl.Series(TEXTS, dtype=pl.Enum([*filter(None, TEXTS), "cy@example.com"])),
        "number": [CARD, None, 2, 3],
        "list": [["ada@example.com"], None, [], ["x"]],
        "struct": [{"a": "bo@example.com"}, None, {"a": None}, {"a": "x"}],
        "day": [datetime.date(2020, 1, 2), None, None, None],
        "bytes": [b"ada@example.com", None, b"x", b"y"],
        "decimal": pl.Series([decimal.Decimal(CARD), None, decimal.Decimal(1), None], dtype=pl.Decimal(20, 0)),
    })  # fmt: skip
    masked = mask(frame)
    left = dict(masked.schema)
    assert left.pop("enum") == pl.Enum(["to <EMAIL_ADDRESS>", "nothing", "<EMAIL_ADDRESS>"])
    assert left == {name: dtype for name, dtype in frame.schema.items() if name != "enum"}
    for name in ("text", "category", "enum"):
        assert masked[name].to_list() == MASKED
        assert mask(frame[name]).to_list() == MASKED
    assert masked["number"].to_list() == [None, None, 2, 3]
    assert masked["list"].to_list() == [["<EMAIL_ADDRESS>"], None, [], ["x"]]
    assert masked["struct"].to_list() == [{"a": "<EMAIL_ADDRESS>"}, None, {"a": None}, {"a": "x"}]
    assert masked["day"].to_list() == [None] * 4
    assert masked["bytes"].to_list() == [b"<EMAIL_ADDRESS>", None, b"x", b"y"]
    assert masked["decimal"].to_list() == [None, None, decimal.Decimal(1), None]


def test_polars_objects_are_redacted():
    """What polars holds as Python objects cannot be read, and becomes null."""
    series = pl.Series("odd", [Point("ada@example.com")], dtype=pl.Object)
    with pytest.warns(UserWarning, match="'odd' could not be looked through"):
        masked = mask(series)
    assert (masked.dtype, masked.to_list()) == (pl.Object, [None])


# ---------------------------------------------------------------- columns that are named


def named_frames() -> list:
    """One table in three products."""
    columns = {
        "email": ["ada@example.com", None, "ada@example.com"],
        "born": [datetime.datetime(2020, 6, 1), None, datetime.datetime(1999, 12, 31)],
        "topic": ["ada@example.com", "x", "y"],
        "note": ["to ada@example.com", "x", "y"],
    }
    return [pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)]


def column(table, name: str) -> list:
    """A column as a list, with ``None`` for null."""
    values = table[name]
    return plain(values.to_pylist() if isinstance(values, pa.ChunkedArray) else values.to_list())


@pytest.mark.parametrize("table", named_frames(), ids=lambda table: type(table).__module__)
def test_a_policy_masks_columns_unread(table, tmp_path):
    """Tagged columns are masked unread, public ones kept unread, and the others scanned."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    report = []
    options = {"policy": "policy.yaml", "key": "env:MASK_KEY", "entities": None, "report": report}
    masked = mask(table, **options)
    assert column(masked, "email") == [
        token("ada@example.com", KEY.encode()),
        None,
        token("ada@example.com", KEY.encode()),
    ]
    assert column(masked, "born") == [
        datetime.datetime(2020, 1, 1),
        None,
        datetime.datetime(1999, 1, 1),
    ]
    assert column(masked, "topic") == ["ada@example.com", "x", "y"]
    assert column(masked, "note") == ["to <EMAIL_ADDRESS>", "x", "y"]
    assert [(one["how"], one["operator"], one["why"]) for one in report] == [
        ("masked", "token", "tag pii.email"),
        ("masked", "year", "tag pii.born"),
        ("kept", "keep", "tag public"),
        ("scanned", "", ""),
    ]


@pytest.mark.parametrize(
    ("series", "operator", "expected"),
    [
        (pd.Series(["ada", None, "ada"], dtype=object), "redact", ["***", None, "***"]),
        (pd.Series(["ada", None, "ada"], dtype="category"), "redact", ["***", None, "***"]),
        (pd.Series(["ada", "bob", "cyd"], dtype="category"), "null", [None, None, None]),
        (pd.Series(["4111222233334444", "x"], dtype="string[python]"), "partial:4", ["***4444", "***"]),
        (pd.Series([17, 23], dtype="Int64"), "bucket:10", [10, 20]),
        (pd.Series([17, 23], dtype="category"), "bucket:10", [10, 20]),
        (pd.Series([17.5, np.nan]), "null", [None, None]),
        (pd.to_datetime(pd.Series(["2020-06-01"])).dt.tz_localize("UTC"), "year", [pd.Timestamp("2020-01-01", tz="UTC")]),
        (pd.Series([datetime.date(2020, 6, 1), None], dtype=object), "year", [datetime.date(2020, 1, 1), None]),
        (pd.Series(["a", 1, None], dtype=object), "redact", ["***", "***", None]),
        (pd.Series([["a"], {"b": 1}], dtype=object), "redact", ["***", "***"]),
        (pd.Series(pd.period_range("2020", periods=2, freq="D")), "redact", [None, None]),
        (pd.Series([["a", None], []], dtype=pd.ArrowDtype(pa.list_(pa.string()))), "redact", [None, None]),
    ],
)  # fmt: skip
def test_operators_on_columns(series, operator, expected):
    """An operator masks a whole column of any dtype, unread, and the dtype stays."""
    masked = mask(series.rename("x"), operators={"x": operator}, engine=MemoryDetector({}))
    assert [list(one) if isinstance(one, np.ndarray) else one for one in plain(masked)] == expected
    assert series.dtype in (masked.dtype, "category")


def test_integers_masked_whole_read_zero():
    """A mask that makes nulls reads 0 and False where NumPy holds no null, and is told."""
    frame = pd.DataFrame({"n": [5, 6], "b": [True, True]})
    with pytest.warns(UserWarning, match="cannot hold nulls") as told:
        masked = mask(frame, operators={"n": "null", "b": "redact"})
    assert masked.to_dict("list") == {"n": [0, 0], "b": [False, False]}
    assert len(told) == 2


def test_a_mask_of_a_tag_that_does_not_fit_is_null(tmp_path):
    """Where the mask of a tag does not fit a type, the column reads NULL, as it does in SQL."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    masked = mask(pa.table({"born": [[7.0]]}), policy=tmp_path / "policy.yaml")
    assert masked["born"].to_pylist() == [None]


def test_operators_on_entities():
    """What is found in text is replaced as its entity's operator says; ``keep`` looks for nothing."""
    texts = pa.array(["ada@example.com paid with 4111111111111111 on 2020-01-02"])
    operators = {"CARD": "partial:4", "EMAIL_ADDRESS": "token", "DAY": "keep"}
    [masked] = mask(texts, operators=operators, key="env:MASK_KEY").to_pylist()
    assert masked == f"{token('ada@example.com', KEY.encode())} paid with ***1111 on 2020-01-02"


def test_a_column_goes_before_an_entity_of_its_name():
    """An operator for a name that a column has is for the column."""
    table = pa.table({"CARD": ["x"], "note": ["4111111111111111"]})
    masked = mask(table, operators={"CARD": "redact"})
    assert masked.to_pylist() == [{"CARD": "***", "note": "<CARD>"}]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"operators": {"n": "month"}}, "mask-unfit"),
        ({"operators": {"x": "token"}}, "key-missing"),
        ({"operators": {"CARD": "token"}}, "key-missing"),
        ({"operators": {"x": "token"}, "key": "env:NO_SUCH_KEY"}, "secret-missing"),
        ({"policy": "no.yaml"}, "policy-missing"),
        ({"subject": "y"}, "usage"),
        ({"table": "people"}, "usage"),
    ],
)
def test_what_a_person_got_wrong_is_an_error(options, code):
    """A wrong name, a missing key or an operator that does not fit fails the call."""
    with pytest.raises((ConfigInvalid, RequestInvalid)) as caught:
        mask(pa.table({"x": ["1", "2"], "n": [1, 2]}), **options)
    assert caught.value.code == code


@pytest.mark.parametrize("operator", ["month", "partial:4"])
def test_a_dtype_that_no_operator_fits_can_be_redacted_only(operator):
    """A column of intervals takes ``redact`` and ``null``; any other operator is an error."""
    frame = pd.DataFrame({"x": pd.interval_range(0.0, 2.0)})
    with pytest.raises(ConfigInvalid) as caught:
        mask(frame, operators={"x": operator})
    assert caught.value.code == "mask-unfit"


def test_an_extension_type_that_cannot_be_printed_is_redacted():
    """An Arrow extension type over bytes that is not known is redacted whole."""
    array = pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "blob", "x"), pa.array([b"x"]))
    with pytest.warns(UserWarning, match="could not be looked through"):
        masked = mask(array)
    assert (masked.type, masked.null_count) == (array.type, 1)


class Knowing(MemoryDetector):
    """A detector that says what it can find."""

    def entities(self, language: str) -> frozenset[str]:
        return frozenset({"CARD"})


@pytest.mark.parametrize(
    "options", [{"operators": {"emial": "token"}, "entities": ["CARD"]}, {"entities": ["PIN"]}]
)
def test_a_name_that_means_nothing_is_an_error(options):
    """A misspelt column or entity is an error, not a column that is let through."""
    with pytest.raises(RequestInvalid, match=r"emial|PIN"):
        mask(pa.table({"email": ["x"]}), engine=Knowing(PATTERNS), **options)


def test_an_engine_of_ones_own_looks_for_what_it_knows():
    """With an engine of the caller's and no other word, what it knows of the preset is looked for."""

    class Email(MemoryDetector):
        def entities(self, language: str) -> frozenset[str]:
            return frozenset({"EMAIL_ADDRESS"})

    masked = nbgov.mask(pa.array(TEXTS), engine=Email(PATTERNS))
    assert masked.to_pylist() == MASKED


def test_the_key_of_the_project_is_found(tmp_path, monkeypatch):
    """Without a key, tokens are made with the key of the project around the working directory."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "nbgov.yaml").write_text(
        "version: 1\npolicy: policy.yaml\nconnections:\n  x: {kind: duckdb, path: x.duckdb}\nprincipals: {}\n"
    )
    folder = tmp_path / "below"
    folder.mkdir()
    monkeypatch.chdir(folder)
    [masked] = mask(pa.table({"x": ["ada"]}), operators={"x": "token"})["x"].to_pylist()
    [keyfile] = tmp_path.glob("**/pseudonym.key")
    assert masked == token("ada", keyfile.read_bytes())


@pytest.mark.parametrize(
    "data", [pl.LazyFrame({"a": ["x"]}), ["x"], {"a": ["x"]}, None, "x"], ids=type
)
def test_what_is_no_table_is_refused(data):
    """A lazy frame, a list or anything else is refused by the name of its type."""
    with pytest.raises(RequestInvalid, match=type(data).__name__):
        mask(data)


def test_warnings_are_heard_after_the_model_is_loaded():
    """Loading the detector does not take the warnings of the process away."""
    code = (
        "import nbgov, warnings\n"
        "nbgov.detect(['x'], entities=['API_KEY'])\n"
        "warnings.warn('heard', stacklevel=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "UserWarning: heard" in done.stderr


def test_a_missing_model_is_an_error():
    """Without a language model nothing is masked at all, rather than everything redacted."""
    broken = detector()
    broken.faults.before("detect", error=BackendFailed("none", code="detector-model-missing"))
    with pytest.raises(BackendFailed):
        mask(pa.array(["x"]), engine=broken)


def test_an_interrupt_leaves_the_input_alone():
    """Ctrl-C in the middle passes through, and the frame that was handed over is as it was."""
    broken = detector()
    broken.faults.before("detect", calls=1, error=KeyboardInterrupt())
    frame = pd.DataFrame({"a": ["ada@example.com"], "b": ["bo@example.com"]})
    before = frame.copy(deep=True)
    with pytest.raises(KeyboardInterrupt):
        mask(frame, engine=broken)
    pd.testing.assert_frame_equal(frame, before)


def test_numbers_with_findings_suggest_a_tag():
    """The report suggests a tag for a column of numbers that look like PII."""
    report = []
    mask(pa.table({"n": [CARD, 1]}), report=report)
    assert report[0]["why"] == "numbers or dates look like PII: give the column a tag"
    assert report[0]["entities"] == {"CARD": 1}


def test_a_masker_redacts_what_it_is_told_to():
    """Columns that are named as redacted are redacted unread, in every batch."""
    masker = Masker(["a", "b"], entities=ENTITIES, engine=detector(), redacted={"b"})
    batch = pa.record_batch({"a": TEXTS, "b": TEXTS})
    for _ in range(2):
        masked = masker.batch(batch)
        assert masked["a"].to_pylist() == MASKED
        assert masked["b"].null_count == len(TEXTS)
    assert (masker.report[1]["how"], masker.failed) == ("redacted", {})

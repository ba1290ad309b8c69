"""Values of twenty entity types, planted in every dtype: none that Presidio finds survives a mask.

What has to be gone is decided by stock Presidio, value by value, not by nbgov's detector. The frame
has 100,000 rows, and an index that is neither unique nor flat.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import nbgov
from tests.pii.questions import DEFAULT

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

ROWS = 100_000
PLANTED = {
    "CREDIT_CARD": ("4111111111111111", "5555 5555 5555 4444", "378282246310005"),
    "CRYPTO": ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
    "DATE_TIME": ("1985-12-10", "12 March 1968", "07/23/1999"),
    "EMAIL_ADDRESS": ("ada.lovelace@example.com", "bo@mail.example.org"),
    "IBAN_CODE": ("DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19"),
    "IP_ADDRESS": ("192.168.17.201", "2001:db8:85a3::8a2e:370:7334"),
    "LOCATION": ("We met in Berlin", "She lives in New York"),
    "MAC_ADDRESS": ("00:1B:44:11:3A:B7", "01-23-45-67-89-AB"),
    "MEDICAL_LICENSE": ("BB1388568", "FA1234563"),
    "NRP": ("He is a German citizen", "They are Catholic and American"),
    "PERSON": ("John Smith", "My name is Maria Garcia"),
    "PHONE_NUMBER": ("212-555-0123", "+44 20 7946 0958", "+49 30 901820"),
    "UK_NHS": ("943-476-5919", "401-023-2137"),
    "URL": ("https://www.example.com/ada", "http://example.org"),
    "US_BANK_NUMBER": ("945456787654", "123456789012"),
    "US_DRIVER_LICENSE": ("H12234567", "A1234567"),
    "US_ITIN": ("911-70-1234", "911701234"),
    "US_PASSPORT": ("912803456", "A12803456"),
    "US_SSN": ("078-05-1126", "321-54-9876"),
    "UUID": ("550e8400-e29b-41d4-a716-446655440000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
}
ENTITIES = tuple(PLANTED)
VALUES = tuple(itertools.chain.from_iterable(PLANTED.values()))
SENTENCES = tuple(f"Please note {value} in the file." for value in VALUES)
TEXTS = (*VALUES, *SENTENCES, "", "nothing to see here")
NUMBERS = (4111111111111111, 378282246310005, 945456787654, 912803456, 2125550143, 9434765919, 0, 7)
MOMENTS = ("1985-12-10 00:00:00", "1999-07-23 13:37:00")


@functools.cache
def analyzer() -> AnalyzerEngine:
    """Stock Presidio with its default recognizers."""
    return DEFAULT.build()


@functools.cache
def secrets(text: str) -> frozenset[str]:
    """What must not survive of a text: every stretch of it in which stock Presidio finds something.

    A stretch of one or two characters would be found again by chance.
    """
    found = analyzer().analyze(text, "en", entities=list(ENTITIES), score_threshold=0.0)
    return frozenset(text[one.start : one.end] for one in found if one.end - one.start > 2)


def repeated(values: Sequence[Any]) -> list[Any]:
    """The values, again and again, with a null after each round."""
    return list(itertools.islice(itertools.cycle([*values, None]), ROWS))


def flattened(value: Any) -> Iterable[str]:
    """The texts inside of a value."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        for one in value:
            yield from flattened(one)
    elif isinstance(value, bytes):
        yield value.decode()
    elif not pd.isna(value):
        yield str(value)


def survivors(before: Iterable[Any], after: Iterable[Any]) -> set[str]:
    """What stock Presidio finds in a value and what can still be read in its place."""
    left = set()
    for old, new in set(zip(map(key, before), map(key, after), strict=True)):
        written = "\x00".join(new)
        left |= {one for text in old for one in secrets(text) if one in written}
    return left


def key(value: Any) -> tuple[str, ...]:
    """The texts inside of a value, as something that can stand in a set."""
    return tuple(flattened(value))


@functools.cache
def columns() -> dict[str, pd.Series]:
    """A column for each dtype."""
    texts = pd.Series(repeated(TEXTS), dtype=object)
    numbers = pd.Series(repeated(NUMBERS), dtype="Int64")
    moments = pd.to_datetime(pd.Series(repeated(MOMENTS), dtype=object))
    mixed = [*VALUES, *NUMBERS, *map(float, NUMBERS), *map(str.encode, TEXTS), True, None, np.nan]
    nested = [
        *([one, {"k": [one], one: (one, 1)}] for one in VALUES),
        *([one, float(one)] for one in NUMBERS),
        *({one.encode(): {one}} for one in VALUES),
        *(np.array([one, "x"]) for one in VALUES),
    ]
    lists = pa.array([[one, None] if one else None for one in repeated(TEXTS)])
    made = {
        "object": texts,
        "str": texts.astype("str").where(texts.notna()),
        "string_python": texts.astype("string[python]"),
        "string_pyarrow": texts.astype("string[pyarrow]"),
        "arrow_string": texts.astype(pd.ArrowDtype(pa.string())),
        "arrow_large": texts.astype(pd.ArrowDtype(pa.large_string())),
        "arrow_lists": pd.Series(pd.arrays.ArrowExtensionArray(lists)),
        "arrow_binary": pd.Series([one and one.encode() for one in repeated(TEXTS)]).astype(
            pd.ArrowDtype(pa.binary())
        ),
        "category": texts.astype("category"),
        "category_ordered": texts.astype(
            pd.CategoricalDtype([*TEXTS, "to bo@example.com"], ordered=True)
        ),
        "category_numbers": numbers.fillna(1).astype("int64").astype("category"),
        "int64": numbers.fillna(0).astype("int64"),
        "uint64": numbers.fillna(0).astype("uint64"),
        "int64_null": numbers,
        "arrow_int": numbers.astype(pd.ArrowDtype(pa.int64())),
        "float64": numbers.astype("float64"),
        "float64_null": numbers.astype("Float64"),
        "bool": numbers.notna(),
        "datetime": moments,
        "datetime_zone": moments.dt.tz_localize("UTC"),
        "mixed": pd.Series(repeated(mixed), dtype=object),
        "bytes": pd.Series([one and one.encode() for one in repeated(TEXTS)], dtype=object),
        "nested": pd.Series(repeated(nested), dtype=object),
    }
    return {name: column for name, column in made.items() if len(column) == ROWS}


def frame() -> pd.DataFrame:
    """All columns, on an index of two levels with duplicates."""
    index = pd.MultiIndex.from_arrays([np.arange(ROWS) // 3, np.arange(ROWS) % 5], names=["a", "b"])
    made = pd.DataFrame({name: column.array for name, column in columns().items()}, index=index)
    made.attrs["source"] = "planted"
    return made


def test_presidio_finds_what_is_planted():
    """Stock Presidio finds every one of the twenty entity types in the planted values."""
    found = {
        one.entity_type
        for text in (*VALUES, *SENTENCES)
        for one in analyzer().analyze(text, "en", entities=list(ENTITIES), score_threshold=0.0)
    }
    assert found == set(ENTITIES)
    assert len(ENTITIES) == 20


@pytest.fixture(scope="module")
def masked() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A frame, and what a mask leaves of it."""
    before = frame()
    kept = before.copy(deep=True)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        after = nbgov.mask(before, entities=ENTITIES, threshold=0.0, engine=analyzer())
    told = [str(one.message) for one in warned]
    assert sorted(one.split("'")[1] for one in told) == ["int64", "uint64"]
    pd.testing.assert_frame_equal(before, kept)
    return before, after


@pytest.mark.parametrize("name", list(columns()))
def test_nothing_that_presidio_finds_survives(masked, name):
    """No stretch of a value in which stock Presidio finds a requested entity can be read."""
    before, after = masked
    assert name == "bool" or survivors(before[name], before[name])
    assert survivors(before[name], after[name]) == set()


def test_the_frame_survives_otherwise(masked):
    """Dtypes, nulls where nothing is found, the index, the order of columns and attrs are kept."""
    before, after = masked
    kept = [name for name in before if not name.startswith("category")]
    pd.testing.assert_series_equal(after[kept].dtypes, before[kept].dtypes)
    for name in set(before) - set(kept):
        old, new = before[name].dtype, after[name].dtype
        assert (new.ordered, new.categories.dtype) == (old.ordered, old.categories.dtype)
    pd.testing.assert_index_equal(after.index, before.index)
    pd.testing.assert_index_equal(after.columns, before.columns)
    assert after.attrs == {"source": "planted"}
    harmless = before["object"].isin(["", "nothing to see here"])
    for name in ("object", "string_python", "string_pyarrow", "arrow_string"):
        pd.testing.assert_series_equal(after[name][harmless], before[name][harmless])
        assert not after[name].isna()[before[name].notna()].any()
    pd.testing.assert_series_equal(after["bool"], before["bool"])


def arrow_table() -> pa.Table:
    """Text, numbers and bytes, alone and inside of containers, in small chunks."""
    texts = pa.array(repeated(TEXTS), pa.string())
    numbers = pa.array(repeated(NUMBERS), pa.int64())
    columns = {
        "string": texts,
        "string_view": texts.cast(pa.string_view()),
        "dictionary": texts.dictionary_encode(),
        "int64": numbers,
        "decimal": numbers.cast(pa.decimal128(20, 0)),
        "binary": texts.cast(pa.large_binary()),
        "list": pa.ListArray.from_arrays(np.arange(ROWS + 1, dtype=np.int32), texts),
        "struct": pa.StructArray.from_arrays([texts, numbers], ["text", "number"]),
        "timestamp": pa.array(pd.to_datetime(repeated(MOMENTS)), pa.timestamp("us")),
    }
    table = pa.table(columns, metadata={"source": "planted"})
    return pa.Table.from_batches(table.to_batches(max_chunksize=10_000))


def test_nothing_survives_in_arrow():
    """In a table and in a stream the same is gone, and the schema and the chunks' rows are kept."""
    table = arrow_table()
    options = {"entities": ENTITIES, "threshold": 0.0, "engine": analyzer()}
    masked = nbgov.mask(table, **options)
    masked.validate(full=True)
    assert masked.schema.equals(table.schema, check_metadata=True)
    for name in table.column_names:
        assert survivors(table[name].to_pylist(), masked[name].to_pylist()) == set(), name
    streamed = nbgov.mask(table.to_reader(), **options).read_all()
    assert streamed.equals(masked)


def test_nothing_survives_in_polars():
    """In a polars frame the same is gone, and dtypes and nulls are kept."""
    before = pl.from_arrow(arrow_table())
    before = before.with_columns(category=before["string"].cast(pl.Categorical))
    after = nbgov.mask(before, entities=ENTITIES, threshold=0.0, engine=analyzer())
    assert after.schema == before.schema
    assert after["string"].is_null().equals(before["string"].is_null())
    for name in before.columns:
        assert survivors(before[name].to_list(), after[name].to_list()) == set(), name


def test_findings_are_those_of_presidio_row_by_row():
    """``detect`` reports for each row what stock Presidio finds in it, in the same order."""
    for name in ("object", "category", "int64_null"):
        column = columns()[name]
        found = nbgov.detect(column, engine=analyzer(), progress=False).to_presidio()
        assert len(found) == ROWS
        told = {}
        for row, value in enumerate(column):
            if pd.isna(value) or value in told:
                continue
            told[value] = analyzer().analyze(str(value), "en")
            assert found[row] == told[value]
        assert len(told) >= len(NUMBERS)

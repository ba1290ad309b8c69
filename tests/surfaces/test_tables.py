"""What people hold, as one stream of Arrow batches: frames, Arrow data, mappings and files."""

from __future__ import annotations

import datetime
import uuid
import warnings
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

import nbgov
from nbgov.errors import RequestInvalid
from nbgov.tables import FORMATS, open_batches

TABLE = pa.table({"id": [1, 2, 3], "name": ["a", None, "\u00e9"], "amount": [0.5, None, 2.0]})
WHOLE = nbgov.fingerprint(TABLE)


class Stream:
    """Anything that speaks the Arrow C stream interface."""

    def __init__(self, held):
        self.held = held

    def __arrow_c_stream__(self, requested_schema=None):
        return self.held.__arrow_c_stream__(requested_schema)


HELD = {
    "a pandas frame": TABLE.to_pandas,
    "a polars frame": lambda: pl.from_arrow(TABLE),
    "an Arrow table": lambda: TABLE,
    "a record batch": lambda: TABLE.to_batches()[0],
    "a reader": lambda: TABLE.to_reader(max_chunksize=2),
    "a stream": lambda: Stream(TABLE),
    "columns by name": lambda: {name: TABLE[name] for name in TABLE.column_names},
    "arrays by name": lambda: {
        "id": np.array([1, 2, 3]),
        "name": ["a", None, "\u00e9"],
        "amount": np.array([0.5, np.nan, 2.0]),
    },
}


@pytest.mark.parametrize("hold", HELD.values(), ids=HELD)
def test_a_table_has_one_fingerprint(hold):
    """Whatever holds the rows, they have one fingerprint, order included."""
    found = nbgov.fingerprint(hold())
    assert found == WHOLE
    assert found.order == WHOLE.order


def write_stream(path):
    with pa.OSFile(str(path), "wb") as file, ipc.new_stream(file, TABLE.schema) as writer:
        writer.write_table(TABLE)


def write_csv(delimiter):
    return lambda path: TABLE.to_pandas().to_csv(path, index=False, sep=delimiter)


FILES = {
    "rows.parquet": lambda path: parquet.write_table(TABLE, path),
    "rows.pq": lambda path: parquet.write_table(TABLE, path, row_group_size=1),
    "rows.feather": lambda path: feather.write_feather(TABLE, path),
    "rows.arrow": write_stream,
    "rows.ipc": write_stream,
    "rows.csv": write_csv(","),
    "ROWS.CSV": write_csv(";"),
    "rows.tsv": write_csv("\t"),
    "rows.tab": write_csv("\t"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_fingerprint_of_its_rows(tmp_path, name):
    """A data file of every format reads as the table that was written, by path and by text."""
    FILES[name](tmp_path / name)
    assert nbgov.fingerprint(tmp_path / name) == nbgov.fingerprint(str(tmp_path / name)) == WHOLE


def test_every_format_is_tried():
    """No suffix is promised that no test reads."""
    assert {name[name.index(".") :].lower() for name in FILES} == set(FORMATS)


def test_single_columns():
    """A column by itself is a table of one column under its name."""
    named = nbgov.fingerprint(pa.table({"id": [1, 2]}))
    assert nbgov.fingerprint(pd.Series([1, 2], name="id")) == named
    assert nbgov.fingerprint(pl.Series("id", [1, 2])) == named
    assert nbgov.fingerprint(pa.array([1, 2])) == nbgov.fingerprint({"": [1, 2]})


def test_a_duckdb_relation_streams():
    """A relation is read batch by batch, and not put together first."""
    with duckdb.connect() as connection:
        relation = connection.sql("SELECT range AS id FROM range(300000)")
        with open_batches(relation) as batches:
            assert sum(1 for _ in batches) > 2
        assert nbgov.fingerprint(relation) == nbgov.fingerprint({"id": np.arange(300_000)})


def test_a_file_is_read_in_bounded_memory(tmp_path):
    """A Parquet file of many row groups never stands in memory as a whole."""
    path = tmp_path / "long.parquet"
    table = pa.table({"id": np.arange(100_000)})
    with parquet.ParquetWriter(path, table.schema) as writer:
        for _ in range(20):
            writer.write_table(table)
    before = pa.total_allocated_bytes()
    most = 0
    with open_batches(path) as batches:
        rows = 0
        for batch in batches:
            rows += batch.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 2_000_000
    assert most < 20 * table.nbytes / 3


def test_the_index_of_a_frame_is_no_part_of_it():
    """A frame under another index, or with two columns of one name, reads by its columns."""
    frame = TABLE.to_pandas()
    assert nbgov.fingerprint(frame.set_axis([5, 6, 7])) == WHOLE
    twice = pd.concat([frame[["id"]], frame[["id"]]], axis=1)
    assert [c[0] for c in nbgov.fingerprint(twice).columns] == ["id", "id"]
    assert nbgov.fingerprint(pd.DataFrame({0: [1]})).columns[0][0] == "0"
    assert nbgov.fingerprint(pd.DataFrame(index=range(3))).rows == 3


# ---- what is refused

DAY, MOMENT = datetime.date(2013, 1, 1), datetime.datetime(2013, 1, 1, 8)
MIXED = {
    "numbers and texts": [1, "secret"],
    "texts and numbers": ["secret", 1],
    "flags and numbers": [True, 7],
    "dates and times": [DAY, MOMENT],
    "times with and without zone": [MOMENT.replace(tzinfo=datetime.UTC), MOMENT],
    "decimals and floats": [Decimal(1), 0.5],
    "lists and texts": [[1], "secret"],
    "objects": [object(), object()],
    "huge integers": [2**70, 1],
    "complex numbers": [1j, 2j],
}


@pytest.mark.parametrize("values", MIXED.values(), ids=MIXED)
@pytest.mark.parametrize(
    "hold", [lambda v: pd.DataFrame({"mixed": pd.Series(v, dtype=object)}), lambda v: {"mixed": v}]
)
def test_a_column_of_mixed_values_is_refused(values, hold):
    """A column that Arrow would cut, or cannot take, is refused by its name and without a value."""
    with pytest.raises(RequestInvalid, match="The column 'mixed' cannot be read") as caught:
        nbgov.fingerprint(hold(values))
    assert caught.value.code == "usage"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_columns_that_have_one_type_are_no_mix():
    """Whole and broken numbers, UUIDs, and dates alone are read from columns of objects."""
    one = uuid.UUID(int=5)
    for values, kind in (
        ([1, 0.5], "float"),
        ([one], "uuid"),
        ([DAY, None], "date"),
        ([b"a"], "binary"),
    ):
        found = nbgov.fingerprint(pd.DataFrame({"x": pd.Series(values, dtype=object)}))
        assert found.columns[0][1] == kind


NO_TABLES = {
    "a number": 5,
    "a matrix": np.ones((2, 2)),
    "a lazy frame": pl.LazyFrame({"a": [1]}),
    "columns of two lengths": {"a": [1], "b": [1, 2]},
    "a stream of numbers": Stream(pa.chunked_array([[1, 2]])),
    "polars objects": pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}),
}


@pytest.mark.parametrize("data", NO_TABLES.values(), ids=NO_TABLES)
def test_what_is_no_table_is_refused(data):
    """Anything that is no table raises an error that says what is taken instead."""
    with pytest.raises(RequestInvalid) as caught:
        nbgov.fingerprint(data)
    assert caught.value.code == "usage"
    assert caught.value.next_step


def test_a_time_with_an_offset_is_refused():
    """Arrow drops the offset of DuckDB's TIMETZ, so two times would read as one."""
    with duckdb.connect() as connection:
        relation = connection.sql("SELECT '01:02:03+02'::TIMETZ AS at, now() AS moment")
        with pytest.raises(RequestInvalid, match="The column 'at' cannot be read"):
            nbgov.fingerprint(relation)


BAD_FILES = {
    "absent.csv": None,
    "rows.xlsx": b"PK",
    "ragged.csv": b"a,b\n1,2\n3\n",
    "empty.csv": b"",
    "latin.csv": "name\nsecr\u00e9t\n".encode("latin-1"),
    "bad.parquet": b"secret",
    "bad.arrow": b"secret",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name):
    """A missing, unknown, damaged or undecodable file raises an error that quotes none of it."""
    if BAD_FILES[name] is not None:
        (tmp_path / name).write_bytes(BAD_FILES[name])
    with pytest.raises(RequestInvalid, match="cannot be read") as caught:
        nbgov.fingerprint(tmp_path / name)
    assert caught.value.code == "file-unreadable"
    assert "secr" not in str(caught.value)


def test_a_csv_whose_types_change_is_refused(tmp_path, monkeypatch):
    """A column that is a number in the first block and a text later is no number that is cut."""
    path = tmp_path / "late.csv"
    path.write_text("id\n" + "1234567\n" * 1_000 + "secret\n", encoding="utf-8")
    monkeypatch.setattr("nbgov.tables.BLOCK_BYTES", 1_000)
    with pytest.raises(RequestInvalid, match="cannot be read") as caught:
        nbgov.fingerprint(path)
    assert "no longer of the type" in caught.value.why
    assert "secret" not in str(caught.value)


def test_lost_digits_are_told():
    """Whole numbers above 2^53 that pandas made floats raise a warning; other floats do not."""
    with pytest.warns(UserWarning, match="'id' holds whole numbers above 2"):
        nbgov.fingerprint(pd.DataFrame({"id": [2**60, None]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nbgov.fingerprint(pd.DataFrame({"a": [2**60, 1], "b": [0.5, None], "c": [1e300, None]}))
        nbgov.fingerprint(pd.DataFrame({"d": [2.0**60 + 2**9, 0.5, None], "e": [None] * 3}))

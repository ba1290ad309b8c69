"""One table has one fingerprint: in every engine, in any chunks and order, merged in any tree."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbgov
from nbgov.backends.duckdb.digest import digest_sql, fingerprint_relation
from nbgov.core.fingerprint import Fingerprinter
from nbgov.errors import BackendFailed
from tests.reference import fingerprint as reference
from tests.reference.arrow_tables import batch_of
from tests.reference.random_tables import LEAVES, tables

TESTS = Path(__file__).parents[1]
EXAMPLES = settings(max_examples=100, deadline=None)


# Names that an engine keeps as they are: DuckDB renames the second of two that differ in case.
NAMES = st.lists(st.sampled_from(["id", "naïve name", 'q"q', "x"]), max_size=3, unique=True)


def leaves(*left_out, **given_leaves):
    """Kinds of plain types that an engine takes from Arrow as they are."""
    return sorted((LEAVES.keys() - set(left_out)) | given_leaves.keys())


def kinds(plain, *layouts):
    """Plain types, and nested ones of these layouts around them."""

    def nested(parts):
        made = {
            "list": parts.map(lambda kind: {"list": kind}),
            "fixed_size_list": parts.map(lambda kind: {"fixed_size_list": kind, "size": 2}),
            "struct": st.lists(
                st.tuples(st.sampled_from("abc"), parts), min_size=1, max_size=3
            ).map(lambda fields: {"struct": [[name, kind] for name, kind in dict(fields).items()]}),
            "map": st.tuples(st.sampled_from(["string", "int64"]), parts).map(
                lambda pair: {"map": list(pair)}
            ),
            "dictionary": st.just({"dictionary": "string"}),
        }
        return st.one_of([made[layout] for layout in layouts])

    return st.recursive(st.sampled_from(plain), nested, max_leaves=3)


ARROW = kinds(leaves(), "list", "fixed_size_list", "struct", "map", "dictionary")
# What polars cannot hold: floats of 16 bits, wide or negative decimals, intervals, maps. It panics
# on a dictionary without values.
POLARS = kinds(
    leaves(
        "half_float", "decimal256(70, 45)", "decimal128(12, -8)", "month_day_nano_interval", "uuid",
        "decimal32(9, 4)", "decimal64(18, 3)",
        # It keeps seconds as milliseconds, and days of 64 bits as well, which overflow far away.
        "timestamp[s]", "date32",
    ),
    "list", "struct",
)  # fmt: skip
# What DuckDB cannot hold, or holds as another type: durations become intervals. It refuses a list of
# dictionaries that holds nothing.
DUCKDB = kinds(
    leaves(
        "half_float", "decimal256(70, 45)", "decimal128(12, -8)", "decimal32(9, 4)",
        "decimal64(18, 3)", "duration[ms]", "duration[ns]", "month_day_nano_interval", "uuid",
        "date32", "date64", "timestamp[s]", "timestamp[us, UTC]", "timestamp[ns]", "time64[ns]",
    ),
    "list", "fixed_size_list", "struct", "map",
)  # fmt: skip
PANDAS = kinds(
    leaves("half_float", "uuid", "decimal32(9, 4)", "decimal64(18, 3)"), "list", "struct", "dictionary"
)  # fmt: skip


def figures(found):
    """All of a fingerprint that the reference tells, but for names of types."""
    return [found.rows, found.content, found.content_id, [(c[0], *c[2:]) for c in found.columns]]


def expected(columns, rows):
    told = reference.fingerprint(columns, rows)
    return [
        told["rows"], told["content"], told["content_id"],
        [(name, digest, nonnull) for name, _, digest, nonnull in told["columns"]],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 2")
        yield connection


def fold(table):
    fingerprinter = Fingerprinter(table.schema)
    for batch in table.to_batches():
        fingerprinter.update(batch)
    return fingerprinter


# ---- a table that everybody can hold


def test_one_fingerprint_everywhere(connection, tmp_path):
    """A table of plain types has one fingerprint in pandas, polars, Arrow, DuckDB and files."""
    table = pa.table(
        {
            "id": [3, 1, 2],
            "amount": [0.5, None, -0.0],
            "name": ["a", None, "\u00e9"],
            "flag": [True, False, None],
            "level": pa.array(["low", None, "low"]).dictionary_encode(),
            "at": pa.array([0, 1_000_001, None], pa.timestamp("us")),
        }
    )
    from pyarrow import parquet

    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=1)
    relation = connection.from_arrow(table)
    whole = nbgov.fingerprint(table)
    for held in (
        table.to_pandas(),
        table.to_pandas(types_mapper=pd.ArrowDtype),
        pl.from_arrow(table),
        table.to_reader(max_chunksize=1),
        relation,
        tmp_path / "rows.parquet",
        str(tmp_path / "rows.parquet"),
    ):
        found = nbgov.fingerprint(held)
        assert found == whole
        assert found.order == whole.order
    assert fingerprint_relation(relation).finish() == whole
    assert fingerprint_relation(relation).finish(key=bytes(16)) == fold(table).finish(key=bytes(16))


# ---- tables of every type


@pytest.mark.slow
@EXAMPLES
@given(tables(ARROW, rows_max=12), st.data())
def test_arrow_in_any_chunks_order_and_tree(table, data):
    """The reference and NumPy agree on any type, however the rows come and parts are merged."""
    columns, rows = table
    order = data.draw(st.permutations(range(rows)))
    shuffled = batch_of([(name, kind, [c[i] for i in order]) for name, kind, c in columns], rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    parts = [
        fold(pa.Table.from_batches([shuffled.slice(a, b - a)]))
        for a, b in zip([0, *cuts], [*cuts, rows], strict=True)
    ]
    while len(parts) > 1:
        right = parts.pop(data.draw(st.integers(1, len(parts) - 1)))
        left = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(Fingerprinter.from_state(json.loads(json.dumps(left.state()))).merge(right))
    assert figures(parts[0].finish()) == expected(columns, rows)


@pytest.mark.slow
@EXAMPLES
@given(tables(POLARS, names=NAMES))
def test_polars(table):
    """A polars frame has the fingerprint of the rows that it was made of."""
    columns, rows = table
    frame = pl.from_arrow(pa.Table.from_batches([batch_of(columns, rows)]))
    if columns:  # Without a column a polars frame has no rows.
        assert figures(nbgov.fingerprint(frame)) == expected(columns, rows)


@pytest.mark.slow
@EXAMPLES
@given(tables(PANDAS, names=NAMES))
def test_pandas(table):
    """A pandas frame of Arrow types has the fingerprint of the rows that it was made of."""
    columns, rows = table
    frame = pa.Table.from_batches([batch_of(columns, rows)]).to_pandas(types_mapper=pd.ArrowDtype)
    assert figures(nbgov.fingerprint(frame)) == expected(columns, rows)


@pytest.mark.slow
@EXAMPLES
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**53), 2**53),
            st.none() | st.floats(),
            st.none() | st.text(),
            st.booleans(),
            st.none() | st.decimals(-(10**9), 10**9, places=2),
            st.none() | st.datetimes(),
            st.none() | st.dates(),
        ),
        max_size=8,
    )
)
def test_pandas_of_its_own_types(rows):
    """pandas makes floats of integers with gaps and objects of dates; the content stays."""
    names = ["int", "float", "text", "bool", "decimal", "moment", "date"]
    types = [
        pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.decimal128(20, 2),
        pa.timestamp("us"), pa.date32(),
    ]  # fmt: skip
    table = pa.table(
        [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(types)], names
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = table.to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It may warn of digits that pandas may have lost.
        found = nbgov.fingerprint(frame)
    if rows:  # Without a row an object column has no type; its content is nothing all the same.
        assert found.content == nbgov.fingerprint(table).content
    assert found.content_id == nbgov.fingerprint(table).content_id


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(table=tables(DUCKDB, names=NAMES))
def test_duckdb_sql(connection, table):
    """DuckDB's own sums are those of the reference, and so is what it hands over as Arrow."""
    columns, rows = table
    if not columns:
        return
    relation = connection.from_arrow(pa.Table.from_batches([batch_of(columns, rows)]))
    found = fingerprint_relation(relation)
    assert figures(found.finish()) == expected(columns, rows)
    assert found.finish() == nbgov.fingerprint(relation)


MOMENTS = st.integers(-(2**62), 2**62)
DUCKDB_TYPES = {
    "TIMESTAMP": (MOMENTS, "make_timestamp({})"),
    "TIMESTAMP_NS": (MOMENTS, "make_timestamp_ns({})"),
    "TIMESTAMP_MS": (st.integers(-(2**52), 2**52), "make_timestamp_ms({})::TIMESTAMP_MS"),
    "TIMESTAMP_S": (
        st.integers(-(2**42), 2**42),
        "make_timestamp({}::BIGINT * 1000000)::TIMESTAMP_S",
    ),
    "TIMESTAMPTZ": (MOMENTS, "make_timestamp({})::TIMESTAMPTZ"),
    "DATE": (st.integers(-(2**21), 2**21), "DATE '1970-01-01' + {}::INTEGER"),
    "TIME": (st.integers(0, 86_399), "make_time(0, 0, 0) + to_seconds({})"),
    "INTERVAL": (
        st.integers(-(2**30), 2**30),
        "to_months(({0} % 1000)::INTEGER) + to_days(({0} % 77)::INTEGER) + to_microseconds({0})",
    ),
    "HUGEINT": (st.integers(-(10**38) + 1, 10**38 - 1), "'{}'::HUGEINT"),
    "UHUGEINT": (st.integers(0, 10**38 - 1), "'{}'::UHUGEINT"),
    "UUID": (st.uuids(), "'{}'::UUID"),
    "ENUM": (st.sampled_from("ab"), "'{}'::ENUM('a', 'b')"),
    "BLOB": (st.binary().map(bytes.hex), "unhex('{}')"),
    "JSON": (st.integers().map(str), "'[{}]'::JSON"),
    "UNION": (st.integers(0, 9), "union_value(n := {})::UNION(n INTEGER, s VARCHAR)"),
    "DECIMAL(4,2)": (st.integers(-9999, 9999), "({}::DECIMAL(18, 2) / 100)::DECIMAL(4, 2)"),
    "DECIMAL(38,10)": (st.integers(-(10**27), 10**27), "'{}.5'::DECIMAL(38, 10)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DUCKDB_TYPES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_duckdb_types(connection, kind, data):
    """Types that DuckDB alone has, or that Arrow brings to it as others, have one digest in both."""
    values, write = DUCKDB_TYPES[kind]
    drawn = data.draw(st.lists(st.none() | values, min_size=1, max_size=5))
    cells = ", ".join("NULL" if one is None else write.format(one) for one in drawn)
    for sql in (
        f"SELECT unnest([{cells}]) AS x",
        f"SELECT [{cells}] AS x",
        f"SELECT {{'a': [{cells}]}} AS x",
    ):
        relation = connection.sql(sql)
        assert fingerprint_relation(relation).finish() == nbgov.fingerprint(relation)


EDGES = {
    "the ends of time": "SELECT unnest(['infinity', '-infinity'])::{} AS x",
    "before 1970": "SELECT '1950-01-01 00:00:00.000001'::{} AS x",
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    "kind", ["DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ"]
)
def test_duckdb_edges_of_time(connection, edge, kind):
    """Moments that DuckDB has a word for, and such before 1970, have one digest in both."""
    relation = connection.sql(EDGES[edge].format(kind))
    assert fingerprint_relation(relation).finish() == nbgov.fingerprint(relation)


@pytest.mark.parametrize(
    "value", ["'101'::BIT", "'1'::BIGNUM", "row(1, 2)", "1::VARIANT", "'01:02:03+02'::TIMETZ"]
)
@pytest.mark.parametrize("around", ["{}", "[{}]", "{{'a': {}}}"])
def test_duckdb_types_without_a_digest_are_refused(connection, value, around):
    """A type that SQL has no digest of is refused by its name, at any depth."""
    relation = connection.sql(f"SELECT {around.format(value)} AS x")
    with pytest.raises(BackendFailed, match="has no digest in SQL"):
        digest_sql(relation.columns, relation.types, "x")


def test_names_of_any_kind_reach_sql(connection):
    """Columns of one name, quotes and keywords are told apart by their place."""
    relation = connection.sql('SELECT 1 AS x, 2 AS x, 3 AS "it\'s", 4 AS "select", 5 AS "a""b"')
    assert fingerprint_relation(relation).finish() == nbgov.fingerprint(relation)
    assert fingerprint_relation(connection.sql("FROM range(0)")).finish().rows == 0


@pytest.mark.slow
def test_many_rows_in_sql(connection):
    """Sums over a hundred thousand rows wrap around alike: no engine rounds them."""
    chance = np.random.default_rng(1)
    table = pa.table(
        {
            "id": np.arange(100_000),
            "amount": np.round(chance.gamma(2, 3, 100_000), 2),
            "name": [f"user{n}@example.com" for n in chance.integers(0, 5_000, 100_000)],
        }
    )
    assert fingerprint_relation(connection.from_arrow(table)).finish() == nbgov.fingerprint(table)

"""The tables that people hold, as one stream of Arrow batches: frames, Arrow data and data files.

Nothing is guessed: what cannot be read value by value is refused, because a fingerprint of what a
conversion left over would name other data. The cases are in ``tests/surfaces/test_tables.py``.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.fingerprint import Fingerprint, Fingerprinter
from nbgov.errors import NbgovError, RequestInvalid

if TYPE_CHECKING:
    import pandas as pd

    from nbgov.pii.files import Source

__all__ = ["FORMATS", "fingerprint", "open_batches"]

FORMATS = {
    ".arrow": "arrow",
    ".csv": "csv",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tab": "csv",
    ".tsv": "csv",
}
"""What a data file is, by how its name ends."""

BATCH_ROWS = 1 << 16
# The types of a CSV file's columns are those of its first block.
BLOCK_BYTES = 1 << 24
HEAD_BYTES = 1 << 20
WHOLE_FLOAT_MAX = 2.0**53
TAKEN = (
    "Hand over a pandas or polars frame, Arrow data, a DuckDB relation, columns by name, or the"
    f" path of a file that ends in {', '.join(sorted(FORMATS))}."
)


def fingerprint(data: Any) -> Fingerprint:
    """What a table holds, as digests that do not depend on engine, order, batches or types.

    Args:
        data: A pandas or polars frame or column; Arrow data, or anything with
            ``__arrow_c_stream__``; a DuckDB relation; a mapping of names to columns; or the path
            of a Parquet, CSV or Arrow file. The index of a pandas frame is no part of it.

    Returns:
        The fingerprint. Equal ones mean equal rows, whoever read them.

    Raises:
        RequestInvalid: ``data`` is no table, or a column cannot be read value by value (``usage``);
            a file cannot be read (``file-unreadable``).
        BackendFailed: A column has a type that has no fingerprint.

    Example:
        >>> import nbgov
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"id": [1, 2, 3], "name": ["a", None, "c"]})
        >>> once = nbgov.fingerprint(frame)
        >>> once == nbgov.fingerprint(pa.table({"id": [3, 1, 2], "name": ["c", "a", None]}))
        True
        >>> once.content_id
        'nbgov-fp-v1:851b080e1714c307c83fbf4a64bace89'
    """
    with open_batches(data) as batches:
        fold = Fingerprinter(batches.schema)
        for batch in batches:
            fold.update(batch)
        return fold.finish()


@contextmanager
def open_batches(data: Any) -> Iterator[pa.RecordBatchReader]:
    """A table as Arrow batches; files and streams are read as they are asked for.

    Args:
        data: As for :func:`fingerprint`.

    Raises:
        RequestInvalid: As for :func:`fingerprint`, also while batches are read.
    """
    if isinstance(data, str | os.PathLike):
        with open_file(Path(data)) as reader:
            yield reader
    else:
        try:
            yield to_reader(data)
        except pa.ArrowException:
            reason = "Arrow cannot read it to its end."
        else:
            return
        # Security: raised after the handler, so without a cause: its text may quote values.
        raise refused(data, reason)


# ---------------------------------------------------------------- what is in memory


def to_reader(data: Any) -> pa.RecordBatchReader:
    """A table in memory, or a stream, as a reader.

    Raises:
        RequestInvalid: It is none (``usage``).
    """
    duckdb, pandas, polars = map(sys.modules.get, ("duckdb", "pandas", "polars"))
    if duckdb is not None and isinstance(data, duckdb.DuckDBPyRelation):
        return duckdb_reader(data)
    if pandas is not None and isinstance(data, pandas.DataFrame | pandas.Series):
        return pandas_table(
            data if isinstance(data, pandas.DataFrame) else data.to_frame()
        ).to_reader()
    if polars is not None and isinstance(data, polars.DataFrame | polars.Series):
        return polars_reader(data if isinstance(data, polars.DataFrame) else data.to_frame())
    if polars is not None and isinstance(data, polars.LazyFrame):
        raise refused(data, "Nothing of it is there yet: call collect() first.")
    return arrow_reader(data)


def duckdb_reader(relation: Any) -> pa.RecordBatchReader:
    """The rows of a DuckDB relation."""
    for name, kind in zip(relation.columns, relation.types, strict=True):
        if "TIME WITH TIME ZONE" in str(kind):
            raise unreadable_column(name, "Arrow does not carry the offset of a TIMETZ.")
    return relation.to_arrow_reader(BATCH_ROWS)


def arrow_reader(data: Any) -> pa.RecordBatchReader:
    """Arrow data, a mapping of columns, or whatever else streams Arrow, as a reader."""
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.Array | pa.ChunkedArray):
        data = {"": data}
    if isinstance(data, Mapping):
        names = [str(name) for name in data]
        arrays = [to_array(name, column) for name, column in data.items()]
        if len({len(array) for array in arrays}) > 1:
            raise refused(data, "Its columns are not equally long.")
        return pa.Table.from_arrays(arrays, names=names).to_reader()
    if not hasattr(data, "__arrow_c_stream__"):
        raise refused(data, "")
    try:
        return pa.RecordBatchReader.from_stream(data)
    except (pa.ArrowException, TypeError):
        reason = "It streams something else than a table."
    raise refused(data, reason)


def pandas_table(frame: pd.DataFrame) -> pa.Table:
    """The columns of a pandas frame, two of one name among them."""
    names = [str(name) for name in frame.columns]
    arrays = [to_array(name, frame.iloc[:, place]) for place, name in enumerate(names)]
    if not arrays:
        empty = pa.array([{}] * len(frame), pa.struct([]))
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(empty)])
    return pa.Table.from_arrays(arrays, names=names)


def polars_reader(frame: Any) -> pa.RecordBatchReader:
    """The columns of a polars frame."""
    for name, dtype in frame.schema.items():
        # Security: Arrow gets addresses for Python objects, not what they hold.
        if "Object" in str(dtype):
            raise unreadable_column(name)
    return pa.RecordBatchReader.from_stream(frame)


def to_array(name: Any, column: Any) -> pa.Array | pa.ChunkedArray:
    """A column as Arrow, value by value.

    Raises:
        RequestInvalid: It holds values that have no type in common (``usage``).
    """
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        array = None
    # Security: raised after the handler, so without a cause: its text quotes values.
    if array is None or is_cut(array, column):
        raise unreadable_column(name)
    warn_of_lost_digits(name, array)
    return array


def is_cut(array: pa.Array | pa.ChunkedArray, column: Any) -> bool:
    """Whether Arrow made dates of timestamps, or one type of moments with and without a zone."""
    if str(getattr(column, "dtype", "object")) != "object":
        return False
    if pa.types.is_date(array.type):
        return any(hasattr(moment, "hour") for moment in column)
    if pa.types.is_timestamp(array.type):
        zones = {moment.tzinfo is None for moment in column if hasattr(moment, "tzinfo")}
        return len(zones) > 1
    return False


def warn_of_lost_digits(name: Any, array: pa.Array | pa.ChunkedArray) -> None:
    """Warn where whole numbers were made floats that cannot hold them, as pandas does with gaps."""
    if not (pa.types.is_float64(array.type) and array.null_count):
        return
    bounds = pc.min_max(array).as_py()
    largest = max(abs(bounds["min"] or 0), abs(bounds["max"] or 0))
    if not WHOLE_FLOAT_MAX < largest < 2 * float(1 << 62):
        return
    if pc.all(pc.equal(pc.floor(array), array)).as_py():
        warnings.warn(
            f"The column {str(name)!r} holds whole numbers above 2^53 as floats, so digits may be"
            " lost already: fetch it as Arrow, or with the dtype Int64.",
            stacklevel=2,
        )


# ---------------------------------------------------------------- files


@contextmanager
def open_file(path: Path) -> Iterator[pa.RecordBatchReader]:
    """A data file as batches.

    Raises:
        RequestInvalid: It cannot be read to its end (``file-unreadable``).
    """
    from nbgov.pii.files import Source
    from nbgov.pii.files import unreadable as unreadable_file

    source = Source(str(path), path, FORMATS.get(path.suffix.lower(), ""))
    if not path.is_file():
        raise unreadable_file(source, "There is no such file.", "Check the path.")
    if not source.format:
        raise unreadable_file(source, "Its name does not say what format it has.", TAKEN)
    with source.open() as stream:
        if source.format == "parquet":
            from nbgov.pii.readers.tables import opened

            with opened(source, stream) as file:
                batches = file.iter_batches(batch_size=BATCH_ROWS)
                yield pa.RecordBatchReader.from_batches(file.schema_arrow, batches)
            return
        try:
            yield read_arrow(stream) if source.format == "arrow" else read_csv(source, stream)
        except pa.ArrowException:
            reason = (
                "Its Arrow is damaged."
                if source.format == "arrow"
                else "A row has more or fewer cells, a column is no longer of the type that it"
                " began with, or it is not UTF-8."
            )
        else:
            return
    # Security: raised after the handler, so without a cause: its text quotes values.
    raise unreadable_file(source, reason, "Write it as Parquet, which says the types itself.")


def read_arrow(stream: Any) -> pa.RecordBatchReader:
    """An Arrow file or stream."""
    from pyarrow import ipc

    try:
        file = ipc.open_file(stream)
    except pa.ArrowInvalid:
        stream.seek(0)
        return ipc.open_stream(stream)
    batches = (file.get_batch(place) for place in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, batches)


def read_csv(source: Source, stream: Any) -> pa.RecordBatchReader:
    """A CSV file, typed by its first block; what pandas takes for missing there is NULL."""
    from pyarrow import csv

    from nbgov.pii.readers.delimited import find_dialect

    dialect = find_dialect(source, stream.read(HEAD_BYTES))
    stream.seek(0)
    reader = csv.open_csv(
        stream,
        csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        csv.ParseOptions(
            delimiter=chr(dialect.delimiter),
            quote_char='"' if dialect.is_quoted else False,
            newlines_in_values=dialect.is_quoted,
        ),
        csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False),
    )
    # Arrow takes text that is not UTF-8 for bytes.
    if any(pa.types.is_binary(kind) for kind in reader.schema.types):
        raise pa.ArrowInvalid
    return reader


# ---------------------------------------------------------------- refusals


def refused(data: Any, why: str) -> NbgovError:
    """The error for what is no table."""
    return RequestInvalid(
        f"A {type(data).__name__} cannot be read as a table.",
        code="usage",
        why=why,
        next_step=TAKEN,
    )


def unreadable_column(
    name: Any, why: str = "It holds Python objects that have no one type in Arrow."
) -> RequestInvalid:
    """The error for a column that cannot be read as what it is."""
    return RequestInvalid(
        f"The column {str(name)!r} cannot be read value by value.",
        code="usage",
        why=why,
        next_step="Cast the column first, for example to text.",
    )

"""Tables that are written batch by batch: Parquet with types, and CSV that is safe to open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

LIST_JOINT = "; "
# Security: a spreadsheet runs a cell that begins like this, even one that was quoted.
FORMULA = r"^[\s]*[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"


class Sheet(Protocol):
    """A table that is being written."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        ...

    def close(self) -> None:
        """End the table. The file stays open."""
        ...


class ParquetSheet:
    """A Parquet file, with a row group for each batch."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self.writer.write_batch(batch)

    def close(self) -> None:
        """End the table."""
        self.writer.close()


class CsvSheet:
    """A CSV file of texts that no spreadsheet takes for formulas."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        import pyarrow as pa
        from pyarrow import csv

        self.schema = pa.schema([(field.name, pa.string()) for field in schema])
        self.writer = csv.CSVWriter(file, self.schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        import pyarrow as pa

        texts = [defused(text_of(column)) for column in batch.columns]
        self.writer.write_batch(pa.RecordBatch.from_arrays(texts, schema=self.schema))

    def close(self) -> None:
        """End the table."""
        self.writer.close()


def text_of(column: pa.Array) -> pa.Array:
    """A column as texts: lists joined, mappings as JSON, times with their zone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_map(column.type):
        held = (None if one is None else json.dumps(dict(one)) for one in column.to_pylist())
        return pa.array(held, pa.string())
    if pa.types.is_list(column.type):
        return pc.binary_join(column, LIST_JOINT)
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string())


def defused(texts: pa.Array) -> pa.Array:
    """Texts with an apostrophe before each that begins like a formula."""
    import pyarrow.compute as pc

    is_formula = pc.match_substring_regex(texts, FORMULA)
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", texts, ""), texts)


SHEETS: Mapping[str, Callable[[BinaryIO, pa.Schema], Sheet]] = {
    "csv": CsvSheet,
    "parquet": ParquetSheet,
}

"""Parquet with columns masked: schema, metadata, row groups and compression stay."""

from __future__ import annotations

from typing import Any, BinaryIO

import pyarrow as pa

from nbgov.pii.copying import Making
from nbgov.pii.files import Source
from nbgov.pii.readers.tables import describing, opened

BATCH_ROWS = 65_536


def write_table(source: Source, stream: BinaryIO, sink: BinaryIO, making: Making) -> int:
    """Write a masked copy of a Parquet file and return the number of rows.

    Raises:
        RequestInvalid: The file cannot be read to its end (``file-unreadable``).
    """
    from pyarrow import parquet

    with opened(source, stream) as file:
        masker = making.mask(file.schema_arrow.names)
        making.check_names(source, masker, set(describing(file.schema_arrow)))
        schema = masker.schema(file.schema_arrow)
        with parquet.ParquetWriter(sink, schema, **settings(file.metadata)) as writer:
            for group in range(file.num_row_groups):
                batches = file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group])
                done = pa.Table.from_batches((masker.batch(b) for b in batches), schema)
                writer.write_table(done, row_group_size=max(1, done.num_rows))
                making.seen()
        return int(file.metadata.num_rows)


def settings(metadata: Any) -> dict[str, Any]:
    """How the file was written."""
    found: dict[str, Any] = {"store_schema": b"ARROW:schema" in (metadata.metadata or {})}
    if metadata.num_row_groups:
        group = metadata.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        found["compression"] = {
            column.path_in_schema: column.compression.replace("UNCOMPRESSED", "NONE")
            for column in columns
        }
    return found

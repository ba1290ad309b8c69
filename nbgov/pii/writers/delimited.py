"""CSV with cells masked: every other byte stays, as far as the encoding lets it."""

from __future__ import annotations

from typing import BinaryIO

import pyarrow as pa

from nbgov.pii.copying import Making
from nbgov.pii.files import Source, unreadable
from nbgov.pii.masker import Masker
from nbgov.pii.readers.delimited import Cells, read_cells
from nbgov.pii.writers.encoding import encoder


def write_csv(source: Source, stream: BinaryIO, sink: BinaryIO, making: Making) -> int:
    """Write a masked copy of a CSV file and return the number of rows.

    Raises:
        RequestInvalid: The file is empty, or is not CSV to its end (``file-unreadable``).
    """
    encode = encoder(source, stream)
    masker: Masker | None = None
    header = int(source.has_header)
    rows = -header
    for cells in read_cells(source, stream):
        if not len(cells.starts):
            sink.write(encode(cells.spliced({})))
            continue
        width = cells.starts.shape[1]
        columns = [cells.texts(column) for column in range(width)]
        if masker is None:
            names = [f"column {i}" for i in range(1, width + 1)]
            if source.has_header:
                names = [column[0].as_py() or "" for column in columns]
            masker = making.mask(names)
            making.check_names(source, masker, {name for name in names if name})
        skipped = header if cells.first_row == 0 else 0
        sink.write(encode(masked(cells, columns, masker, skipped)))
        rows += len(cells.starts)
        making.seen()
    if masker is None:
        raise unreadable(source, "It is empty.", "Look whether it is the file that you mean.")
    sink.write(encode(b"", final=True))
    return rows


def masked(cells: Cells, columns: list[pa.Array], masker: Masker, skipped: int) -> bytes:
    """Rows with their cells masked, but for those that are skipped."""
    values = [column.slice(skipped) for column in columns]
    batch = pa.RecordBatch.from_arrays(values, names=list(masker.names))
    done = masker.batch(batch).columns
    return cells.spliced(
        {
            position: pa.concat_arrays([columns[position].slice(0, skipped), new])
            for position, (old, new) in enumerate(zip(values, done, strict=True))
            if new is not old
        }
    )

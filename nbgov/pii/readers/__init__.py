"""Reads texts out of files of every known format, place by place, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from nbgov.pii.files import Source
from nbgov.pii.readers.texts import NAMES, Tells, Texts

__all__ = ["read"]


def read(
    source: Source, stream: BinaryIO, *, tells: Tells, skip: Callable[[str], None]
) -> Iterator[Texts]:
    """The texts of a file.

    Args:
        source: The file.
        stream: Its bytes.
        tells: Which names hold what is looked for, so that no place repeats them.
        skip: Hears what there is that is no text.

    Raises:
        RequestInvalid: It cannot be read to its end (``file-unreadable``).
    """
    from nbgov.pii.readers import notebooks, prose, tables, values

    match source.format:
        case "csv":
            found = read_csv(source, stream, tells)
        case "parquet":
            found = tables.read_table(source, stream, tells, skip)
        case "jsonl":
            found = values.read_lines(source, stream, tells)
        case "json":
            found = values.read_document(source, stream, tells)
        case "notebook":
            found = notebooks.read_notebook(source, stream, tells, skip)
        case "html":
            found = prose.read_html(source, stream)
        case _:
            found = prose.read_text(source, stream)
    return found


def read_csv(source: Source, stream: BinaryIO, tells: Tells) -> Iterator[Texts]:
    """The cells of a CSV file, column by column."""
    from nbgov.pii.readers.delimited import read_cells

    names: list[str] = []
    for cells in read_cells(source, stream):
        rows = np.arange(cells.first_row, cells.first_row + len(cells.starts))
        columns = [cells.texts(column) for column in range(cells.starts.shape[1])]
        if not len(rows):
            continue
        start = 0
        if not names and source.has_header:
            names = [column[0].as_py() or "" for column in columns]
            said = pa.array(names, pa.large_string())
            yield Texts(NAMES, said, np.arange(1, len(names) + 1), is_names=True)
            start = 1
        names = names or [f"column {position + 1}" for position in range(len(columns))]
        telling = tells(set(names) - {""})
        for position, column in enumerate(columns):
            name = names[position]
            place = name if name and name not in telling else f"column {position + 1}"
            numbers = rows[start:] + (not source.has_header)
            yield Texts(place, column[start:], numbers, context=(name,) if name else ())

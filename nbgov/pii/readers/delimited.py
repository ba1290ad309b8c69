"""CSV as it is written: every cell where it stands, so that all but the masked ones stay untouched.

Cells are text: leading zeros and long numbers survive. The dialect is that of RFC 4180 with any
delimiter: a cell may stand in double quotes, and a quote inside is doubled. What does not read as
that is an error that names the row, because a cell that is cut at the wrong place hides what is in
it. Nothing loops over rows: cells are found by the parity of the quotes before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.errors import RequestInvalid
from nbgov.pii.files import Source, chunks, unreadable

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

QUOTE, NEWLINE, RETURN = 34, 10, 13
DELIMITERS = (",", ";", "\t", "|")
RECORD_BYTES_MAX = 64_000_000


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the cells of a file are told apart.

    Attributes:
        delimiter: The byte between cells.
        newline: The byte that ends a row; a carriage return before it belongs to it.
        is_quoted: Whether a cell may stand in double quotes.
    """

    delimiter: int
    newline: int
    is_quoted: bool


@dataclass(frozen=True, slots=True)
class Cells:
    """Where the cells of some whole rows are. A blank line is no row.

    Attributes:
        data: The bytes of the rows.
        starts: Row by column, the first byte of each cell, with its quote.
        ends: The byte after each.
        dialect: How they were told apart.
        first_row: Number of the first row; the header is row 0.
        is_closed: Whether the last row ends with a newline in the file.
    """

    data: Bytes
    starts: Integers
    ends: Integers
    dialect: Dialect
    first_row: int
    is_closed: bool

    def texts(self, column: int) -> pa.LargeStringArray:
        """The cells of a column without their quotes; null where there is nothing at all."""
        starts, lengths = self.starts[:, column], self.ends[:, column] - self.starts[:, column]
        quoted = self.quoted(column)
        values = gather(self.data, starts + quoted, lengths - 2 * quoted, lengths == 0)
        if quoted.any():
            bare = pc.replace_substring(values, '""', '"')
            values = pc.if_else(pa.array(quoted), bare, values)
        return values

    def quoted(self, column: int) -> Booleans:
        """Which cells of a column stand in quotes."""
        starts = self.starts[:, column]
        is_open: Booleans = (self.data[starts] == QUOTE) & (self.ends[:, column] > starts)
        return is_open & self.dialect.is_quoted

    def spliced(self, replaced: Mapping[int, pa.Array]) -> bytes:
        """The rows with columns replaced. Every cell that stays equal keeps its bytes.

        Raises:
            RequestInvalid: A new text cannot be written, as the file knows no quotes.
        """
        starts, ends, texts = [], [], []
        for column, values in replaced.items():
            new = values.cast(pa.large_string())
            same = pc.fill_null(pc.equal(new, self.texts(column)), fill_value=False)
            at = np.flatnonzero(~same.to_numpy(zero_copy_only=False))
            starts.append(self.starts[at, column])
            ends.append(self.ends[at, column])
            texts.append(self.written(new.take(pa.array(at)), self.quoted(column)[at]))
        kept = self.data if self.is_closed else self.data[:-1]
        if not starts:
            return kept.tobytes()
        return splice(kept, np.concatenate(starts), np.concatenate(ends), pa.concat_arrays(texts))

    def written(self, texts: pa.LargeStringArray, quoted: Booleans) -> pa.LargeStringArray:
        """Texts as cells, in quotes where they need them or where the old cell stood in some."""
        delimiter = chr(self.dialect.delimiter)
        special = pc.match_substring_regex(texts, rf'["\r\n\x{{{self.dialect.delimiter:x}}}]')
        needed = pc.or_(pc.fill_null(special, fill_value=False), pa.array(quoted))
        if self.dialect.is_quoted:
            escaped = pc.replace_substring(texts, '"', '""')
            mark, nothing = (pa.scalar(text, pa.large_string()) for text in ('"', ""))
            marked = pc.binary_join_element_wise(mark, escaped, mark, nothing)
            texts = pc.if_else(needed, marked, texts)
        elif pc.any(needed).as_py():
            raise RequestInvalid(
                "A masked value cannot be written to this file.",
                code="file-unreadable",
                why=f"It holds {delimiter!r}, a quote or a line end, and the file uses no quotes.",
                next_step="Choose another operator, or write the file with quoted cells.",
            )
        return pc.fill_null(texts, "")


def gather(
    data: Bytes, starts: Integers, lengths: Integers, nulls: Booleans
) -> pa.LargeStringArray:
    """The stretches of some bytes as strings."""
    offsets = np.zeros(len(starts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    validity = pa.array(~nulls).buffers()[1] if nulls.any() else None
    stretches = pick(data, starts, lengths)
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(stretches)]
    return pa.Array.from_buffers(pa.large_string(), len(starts), buffers)


def pick(data: Bytes, starts: Integers, lengths: Integers) -> Bytes:
    """Stretches of bytes, one after the other."""
    before = np.cumsum(lengths) - lengths
    return data[np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))]


def splice(data: Bytes, starts: Integers, ends: Integers, texts: pa.LargeStringArray) -> bytes:
    """Bytes with stretches replaced by texts, in any order."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    texts = texts.take(pa.array(order))
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    body = texts.buffers()[2]
    new = np.frombuffer(body, dtype=np.uint8) if body is not None else data[:0]
    pieces = np.empty((2, 2 * len(order) + 1), dtype=np.int64)
    pieces[0, 0::2], pieces[0, 1::2] = np.append(0, ends), len(data) + offsets[:-1]
    pieces[1, 0::2] = np.append(starts, len(data)) - pieces[0, 0::2]
    pieces[1, 1::2] = np.diff(offsets)
    return pick(np.concatenate([data, new]), pieces[0], pieces[1]).tobytes()


# ---------------------------------------------------------------- a file


def read_cells(source: Source, stream: BinaryIO) -> Iterator[Cells]:
    """The rows of a CSV file, a few megabytes at a time.

    Raises:
        RequestInvalid: The file is not CSV throughout (``file-unreadable``).
    """
    carried, width, row, line = b"", 0, 0, 1
    dialect: Dialect | None = None
    for chunk, is_last in marked_last(chunks(source, stream)):
        text = carried + chunk
        dialect = dialect or find_dialect(source, text)
        is_closed = not is_last or text.endswith(bytes([dialect.newline]))
        text = text if is_closed else text + bytes([dialect.newline])
        data = np.frombuffer(text, dtype=np.uint8)
        inside = within_quotes(data, dialect)
        row_ends = np.flatnonzero((data == dialect.newline) & ~inside)
        size = int(row_ends[-1]) + 1 if len(row_ends) else 0
        carried = text[size:]
        place = Place(row, line, width, is_closed)
        line += int(np.count_nonzero(data[:size] == dialect.newline))
        if carried and (is_last or len(carried) > RECORD_BYTES_MAX):
            raise unreadable(
                source,
                f"A quote in line {line:,} or below is opened and never closed."
                if is_last
                else f"The row in line {line:,} has more than {RECORD_BYTES_MAX:,} bytes.",
                "Look there for a quote that is not closed, or whether the file was cut off.",
            )
        found = find_cells(source, data[:size], inside[:size], dialect, place)
        row, width = row + len(found.starts), width or found.starts.shape[1]
        yield found


@dataclass(frozen=True, slots=True)
class Place:
    """What is known before some rows are read: where they are in the file, and how wide.

    Attributes:
        row: Number of the first row; the header is row 0.
        line: Its line in the file.
        width: Cells of each row, or 0 where the first row has still to say it.
        is_closed: Whether the last row ends with a newline in the file.
    """

    row: int
    line: int
    width: int
    is_closed: bool


START = Place(0, 1, 0, is_closed=True)


def marked_last(parts: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each part, and whether it is the last one."""
    held = next(parts, None)
    for part in parts:
        assert held is not None
        yield held, False
        held = part
    if held is not None:
        yield held, True


def within_quotes(data: Bytes, dialect: Dialect) -> Booleans:
    """Which bytes stand between quotes; an opening quote does, a closing one does not."""
    if not dialect.is_quoted:
        return np.zeros(len(data), dtype=np.bool_)
    # The sum wraps around at 256, which keeps its parity.
    return (np.cumsum(data == QUOTE, dtype=np.uint8) & 1).astype(np.bool_)


def find_cells(
    source: Source, data: Bytes, inside: Booleans, dialect: Dialect, place: Place
) -> Cells:
    """The cells of some whole rows.

    Raises:
        RequestInvalid: A row has more or fewer cells than the first one, or a quote stands in the
            middle of a cell (``file-unreadable``).
    """
    # A quote in the wrong place makes rows ragged too, and is what has to be told then.
    check_quotes(source, data, inside, dialect, place)
    ends = np.flatnonzero(((data == dialect.delimiter) | (data == dialect.newline)) & ~inside)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: len(ends)]
    last_cells = np.flatnonzero(data[ends] == dialect.newline)
    stops = ends.copy()
    before = stops[last_cells] - 1
    is_return = (before >= starts[last_cells]) & (data[np.maximum(before, 0)] == RETURN)
    stops[last_cells] -= is_return & (dialect.newline == NEWLINE)
    counts = np.diff(last_cells, prepend=-1)
    blank = (counts == 1) & (stops[last_cells] == starts[last_cells])
    width = place.width or (int(counts[~blank][0]) if (~blank).any() else 1)
    ragged = np.flatnonzero(~blank & (counts != width))
    if len(ragged):
        at = starts[last_cells[ragged[0]]]
        raise unreadable(
            source,
            f"Line {line_of(data, at, dialect, place):,} ends a row of {counts[ragged[0]]:,} "
            f"{'cell' if counts[ragged[0]] == 1 else 'cells'}, and the first row has {width:,}.",
            "Correct that row, or name what stands between cells with --delimiter.",
        )
    kept = ~np.repeat(blank, counts)
    cells = starts[kept].reshape(-1, width), stops[kept].reshape(-1, width)
    return Cells(data, *cells, dialect, place.row, place.is_closed)


def line_of(data: Bytes, at: int, dialect: Dialect, place: Place) -> int:
    """The line of a byte."""
    return place.line + int(np.count_nonzero(data[:at] == dialect.newline))


def check_quotes(
    source: Source, data: Bytes, inside: Booleans, dialect: Dialect, place: Place
) -> None:
    """Refuse quotes that do not enclose a whole cell: what is a cell would be a guess.

    Where no cell is quoted, a quote may stand anywhere but at the start of a cell.
    """
    quotes = np.flatnonzero(data == QUOTE)
    if not len(quotes):
        return
    edges = np.array([dialect.delimiter, NEWLINE, RETURN, QUOTE], dtype=np.uint8)
    if dialect.is_quoted:
        beside = np.where(inside[quotes], quotes - 1, quotes + 1)
        is_out = (beside < 0) | (beside >= len(data))
        wrong = ~is_out & ~np.isin(data[np.clip(beside, 0, len(data) - 1)], edges)
    else:
        wrong = (quotes == 0) | np.isin(data[np.maximum(quotes - 1, 0)], edges[:2])
    if wrong.any():
        at = int(quotes[np.flatnonzero(wrong)[0]])
        raise unreadable(
            source,
            f"In line {line_of(data, at, dialect, place):,} a quote stands inside a cell that is "
            "not quoted as a whole.",
            "Put the whole cell in quotes and double the quotes in it, as RFC 4180 says.",
        )


def find_dialect(source: Source, text: bytes) -> Dialect:
    """How the cells of a file are told apart, by its first megabytes.

    The delimiter is the one that gives every row the same number of cells, the most of them; the
    one that was named wins, and where rows are uneven the one that the first row has most of. A
    single column is what is left where the first row holds none. Quotes are quotes unless that
    leaves a row open, or rows uneven.

    Raises:
        RequestInvalid: The delimiter that was named is not one ASCII character.
    """
    newline = NEWLINE if b"\n" in text or b"\r" not in text else RETURN
    named = source.delimiter.replace("\\t", "\t")
    if named and (len(named) != 1 or not named.isascii() or named in '"\r\n'):
        raise RequestInvalid(
            "The delimiter is not one ASCII character.",
            code="usage",
            next_step="Write --delimiter ';' or --delimiter '\\t'.",
        )
    whole = text[: text.rfind(bytes([newline])) + 1] or text + bytes([newline])
    heading = whole[: whole.index(newline)]
    is_divided = any(delimiter.encode() in heading for delimiter in named or DELIMITERS)
    found = [
        (is_whole, is_quoted, width, dialect)
        for is_quoted in (True, False)
        for delimiter in ([named] if named else DELIMITERS)
        for dialect in [Dialect(ord(delimiter), newline, is_quoted)]
        for width, is_whole in [even_width(source, whole, dialect)]
        if width > is_divided
    ]
    likely = max(DELIMITERS, key=lambda delimiter: heading.count(delimiter.encode()))
    fallback = Dialect(ord(named or likely), newline, is_quoted=True)
    return max(found, key=lambda each: each[:3])[3] if found else fallback


def even_width(source: Source, text: bytes, dialect: Dialect) -> tuple[int, bool]:
    """How many cells every row has, 0 if they differ; and whether no row is left open."""
    data = np.frombuffer(text, dtype=np.uint8)
    inside = within_quotes(data, dialect)
    row_ends = np.flatnonzero((data == dialect.newline) & ~inside)
    size = int(row_ends[-1]) + 1 if len(row_ends) else 0
    try:
        found = find_cells(source, data[:size], inside[:size], dialect, START)
    except RequestInvalid:
        return 0, False
    return found.starts.shape[1] if size else 0, size == len(data)

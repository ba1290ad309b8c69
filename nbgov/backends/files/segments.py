"""Segments of the audit log: their names, and the lines in them.

Section 7 of ``docs/spec/audit-log.md``. Which entry comes next is the log's business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from nbgov.backends.files.durable import OPEN_FLAGS
from nbgov.core.audit import ENTRY_BYTES_MAX

SEGMENT_NAME = re.compile(r"[0-9]{20}\.jsonl")
BLOCK_BYTES = 1024 * 1024
LINE_BYTES_MAX = ENTRY_BYTES_MAX + 1
# The head of every entry: its canonical bytes begin with the member that sorts first.
HEAD = re.compile(rb'\{"index":(0|[1-9][0-9]{0,18}),')
HEAD_BYTES = 32
PROBE_BYTES = 4096


def segment_name(index: int) -> str:
    """The name of the segment whose first entry has this index."""
    return f"{index:020d}.jsonl"


def segment_index(path: Path) -> int:
    """The index of the first entry of a segment."""
    return int(path.stem)


def segments(folder: Path, start: int = 0) -> list[Path]:
    """The segments in a folder that can hold entries from an index on, oldest first."""
    found = folder.iterdir() if folder.exists() else ()
    paths = sorted(path for path in found if SEGMENT_NAME.fullmatch(path.name))
    older = sum(segment_index(path) <= start for path in paths)
    return paths[max(0, older - 1) :]


def new_segment(folder: Path, index: int) -> Path:
    """A new, empty segment."""
    path = folder / segment_name(index)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o600))
    return path


def lines_of(fd: int, start: int, stop: int) -> Iterator[bytes]:
    """The lines in a range of a file that begins with one, without their newlines.

    A line that is too long for an entry comes in pieces, none of which is an entry. What stands
    behind the last newline comes as a line, too.
    """
    rest = b""
    while start < stop:
        block = os.pread(fd, min(BLOCK_BYTES, stop - start), start)
        if not block:
            break  # Somebody has cut the file meanwhile.
        start += len(block)
        # Only a newline ends a line: splitlines would see other ends.
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > LINE_BYTES_MAX or any(len(line) > LINE_BYTES_MAX for line in lines):
            lines = [piece for line in lines for piece in pieces(line)]
            *more, rest = pieces(rest)
            lines += more
        yield from lines
    if rest:
        yield rest


def pieces(line: bytes) -> list[bytes]:
    """A line, cut into pieces one byte longer than an entry can be."""
    return [line[at : at + LINE_BYTES_MAX] for at in range(0, len(line) or 1, LINE_BYTES_MAX)]


def find_line(fd: int, stop: int, index: int) -> int:
    """Where the entry with an index begins in the first ``stop`` bytes of a file.

    The end where there is none so far on. Entries are found by what they say of themselves.
    """
    low, high = 0, stop
    # Below low all entries are older; at high, and from there on, none is.
    while low < high:
        middle = (low + high) // 2
        place, number = next_entry(fd, middle, stop)
        if number is not None and number < index:
            low = place + 1
        else:
            high = middle
    return next_entry(fd, low, stop)[0]


def entries_of(path: Path, index: int, stop: int | None = None) -> Iterator[bytes]:
    """The lines of a segment from the entry with an index on, in its first ``stop`` bytes."""
    fd = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        size = os.fstat(fd).st_size if stop is None else stop
        yield from lines_of(fd, place_of(fd, path, size, index), size)
    finally:
        os.close(fd)


def place_of(fd: int, path: Path, stop: int, index: int) -> int:
    """Where to begin to read in a segment for the entry with an index."""
    return find_line(fd, stop, index) if index > segment_index(path) else 0


def next_entry(fd: int, offset: int, stop: int) -> tuple[int, int | None]:
    """Where the first entry at or behind an offset begins, and its index; the end without one."""
    # A line begins behind a newline, which may be the byte before.
    at = offset - 1
    while at < stop:
        if at >= 0:
            at = next_newline(fd, at, stop)
        if found := HEAD.match(os.pread(fd, HEAD_BYTES, at + 1)) if at + 1 < stop else None:
            return at + 1, int(found[1])
        at = max(at, -1) + 1
    return stop, None


def next_newline(fd: int, at: int, stop: int) -> int:
    """Where the first newline from an offset on is; the end without one."""
    while at < stop:
        data = os.pread(fd, min(PROBE_BYTES, stop - at), at)
        found = data.find(b"\n")
        if found >= 0 or not data:
            return at + found if data else stop
        at += len(data)
    return stop

"""Segments of the audit log, and what it takes to write files that outlive a crash.

Section 6 and 7 of ``docs/spec/audit-log.md``. Which entry comes next is the log's business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from nbgov.core.audit import ENTRY_BYTES_MAX, Entry, decode
from nbgov.errors import IntegrityFailed

SEGMENT_NAME = re.compile(r"[0-9]{20}\.jsonl")
# Security: a symbolic link in the folder must not lead a write elsewhere.
OPEN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def segment_name(index: int) -> str:
    """The name of the segment whose first entry has this index."""
    return f"{index:020d}.jsonl"


def segments(folder: Path) -> list[Path]:
    """Every segment in a folder, oldest first."""
    paths = folder.iterdir() if folder.exists() else ()
    return sorted(path for path in paths if SEGMENT_NAME.fullmatch(path.name))


def new_segment(folder: Path, index: int) -> Path:
    """A new, empty segment."""
    path = folder / segment_name(index)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o600))
    return path


def lines_of(path: Path, size: int) -> Iterator[bytes]:
    """The lines in the first ``size`` bytes of a segment, without their newlines.

    A line that is too long for an entry comes in pieces, none of which is an entry.
    """
    with path.open("rb") as file:
        while size > 0:
            line = file.readline(min(size, ENTRY_BYTES_MAX + 1))
            size -= len(line) or size
            yield line.removesuffix(b"\n")


def whole_entries(data: bytes) -> tuple[list[Entry], int]:
    """The entries in some bytes of a segment, and how many of the bytes they take.

    What is left is nothing or one line, with or without its newline, that is no entry: a process
    died while it wrote that.

    Raises:
        IntegrityFailed: More than one line is no entry.
    """
    *lines, rest = data.split(b"\n")
    entries: list[Entry] = []
    size = 0
    for line in lines:
        try:
            entries.append(decode(line))
        except IntegrityFailed:
            if rest or len(entries) < len(lines) - 1:
                raise
            break
        size += len(line) + 1
    return entries, size


def write_all(fd: int, data: bytes, offset: int) -> int:
    """Write all of the data at an offset, and return where it ends."""
    while data:
        written = os.pwrite(fd, data, offset)
        offset += written
        data = data[written:]
    return offset


def make_folder(folder: Path) -> None:
    """Make a folder that survives a crash, if it is not there."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | OPEN_FLAGS)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""In which state a database was that is a file, from what the file system says of it.

No file is opened for this: the engines lock their files in a way that another handle of the same
process, once closed, undoes. Cases: ``tests/core/test_file_versions.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nbgov.model import SourceVersion, TableName

SECOND_NS = 1_000_000_000
# Two writes within one tick of the file system's clock leave one time. It ticks every few
# milliseconds; a time in whole seconds is of one that ticks every two seconds, as FAT does.
TICK_NS = 20_000_000
COARSE_TICK_NS = 2 * SECOND_NS


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What the file system says of a file: its number, its bytes, and when it was written last."""

    inode: int
    size: int
    written_ns: int


def file_versions(
    tables: Iterable[TableName],
    *,
    kind: str,
    files: Sequence[FileStatus | None],
    now_ns: int,
) -> tuple[SourceVersion, ...]:
    """The states of tables that lie in one database, or nothing where they cannot be told.

    Args:
        tables: The tables; all have the mark of their file.
        kind: What the mark is.
        files: The database file, then its write-ahead log, ``None`` for one that is not there.
        now_ns: The time at which the statuses were taken.

    Example:
        >>> status = FileStatus(7, 4096, 1_700_000_000_123_456_789)
        >>> later = 1_700_000_001 * SECOND_NS
        >>> names = [TableName("main", "t")]
        >>> [found] = file_versions(names, kind="k", files=[status, None], now_ns=later)
        >>> found.mark, found.changed_at.isoformat()
        ('7:4096:1700000000123456789', '2023-11-14T22:13:20.123456+00:00')
        >>> file_versions(names, kind="k", files=[status], now_ns=status.written_ns)
        ()
    """
    # An empty log is made by whoever looks, and says nothing.
    held = [file for file in files if file is not None and file.size]
    if not held or not all(is_settled(file.written_ns, now_ns) for file in held):
        return ()
    mark = "+".join(f"{file.inode}:{file.size}:{file.written_ns}" for file in held)
    seconds, rest = divmod(max(file.written_ns for file in held), SECOND_NS)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return tuple(SourceVersion(str(table), kind, mark, at) for table in sorted(tables))


def is_settled(written_ns: int, now_ns: int) -> bool:
    """Whether a later write would leave a later time."""
    tick = TICK_NS if written_ns % SECOND_NS else COARSE_TICK_NS
    return now_ns - written_ns >= tick

"""A copy of an audit log in files: the same segments and notes, which verify by themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.backends.files.checkpoints import note_path
from nbgov.backends.files.durable import OPEN_FLAGS, FileLock, make_folder, put_file, write_all
from nbgov.backends.files.evidence import FileEvidence
from nbgov.backends.files.segments import new_segment, segments
from nbgov.core.audit import ENTRY_BYTES_MAX, decode
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
# Room for the last entry and a torn one behind it, with their newlines.
TAIL_BYTES_MAX = 2 * (ENTRY_BYTES_MAX + 1)


class FileCopy(FileEvidence):
    """An :class:`~nbgov.ports.AuditCopy` in a folder.

    Args:
        folder: The folder; entries and notes are in ``audit``, as in a state folder.
    """

    def end(self) -> tuple[int, bytes]:
        """How many entries it has, and the last one; empty where there is none.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
            IntegrityFailed: It holds what is no entry.
        """
        with writing(), self.alone():
            return self.mended()

    def extend(self, start: int, lines: Sequence[bytes]) -> bool:
        """Make entries durable behind the last one; ``False`` where the end is another one.

        Raises:
            BackendFailed: They could not be made durable (code ``state-unavailable``).
        """
        with writing(), self.alone():
            if self.mended()[0] != start:
                return False
            newest = self.newest()
            if newest is None or newest.stat().st_size >= SEGMENT_BYTES_MAX:
                newest = new_segment(self.folder, start)
            fd = os.open(newest, os.O_RDWR | OPEN_FLAGS)
            try:
                write_all(fd, b"".join(line + b"\n" for line in lines), os.fstat(fd).st_size)
                os.fsync(fd)
            finally:
                os.close(fd)
            return True

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries.

        Raises:
            BackendFailed: It cannot be kept (code ``state-unavailable``).
        """
        with writing(), self.alone():
            put_file(note_path(self.folder, name), text.encode())

    def close(self) -> None:
        """Nothing is held between two calls."""

    def newest(self) -> Path | None:
        """The newest segment."""
        return next(reversed(segments(self.folder)), None)

    def mended(self) -> tuple[int, bytes]:
        """The end, without what a crash left behind the last newline."""
        newest = self.newest()
        if newest is None:
            return 0, b""
        fd = os.open(newest, os.O_RDWR | OPEN_FLAGS)
        try:
            size = os.fstat(fd).st_size
            start = max(0, size - TAIL_BYTES_MAX)
            whole, newline, torn = os.pread(fd, size - start, start).rpartition(b"\n")
            # Nobody was told of these bytes: the log still has what they were to be.
            if torn and (newline or not start):
                os.ftruncate(fd, size - len(torn))
        finally:
            os.close(fd)
        if not newline and not start:
            newest.unlink()
            return self.mended()
        last = whole.rpartition(b"\n")[2]
        return decode(last).index + 1, last

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process change the copy meanwhile."""
        make_folder(self.folder)
        lock = FileLock(self.folder / "copy.lock")
        lock.hold()
        try:
            yield
        finally:
            lock.forget()


@contextmanager
def writing() -> Iterator[None]:
    """Translate failures of the disk."""
    try:
        yield
    except OSError as error:
        raise BackendFailed(
            "The copy of the audit log cannot be written.",
            code="state-unavailable",
            why=error.strerror or type(error).__name__,
            next_step="look at the folder under audit: sinks: in nbgov.yaml",
        ) from error

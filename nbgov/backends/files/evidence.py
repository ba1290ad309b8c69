"""What is to be read of an audit log on a disk. Nothing here writes, or needs a key."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgov.backends.files.checkpoints import read_note
from nbgov.backends.files.durable import OPEN_FLAGS
from nbgov.backends.files.segments import entries_of, segments
from nbgov.errors import BackendFailed


class FileEvidence:
    """The :class:`~nbgov.ports.Evidence` in a state folder, or in a copy of one.

    Args:
        state: The state folder; entries and notes are in ``audit``.
    """

    def __init__(self, state: Path) -> None:
        self.folder = state / "audit"
        self.reader = 0

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, from an index on, oldest first.

        Raises:
            BackendFailed: A segment cannot be read (code ``state-unavailable``).
        """
        with reading():
            with self.still():
                sizes = [(path, path.stat().st_size) for path in segments(self.folder, start)]
            for path, size in sizes:
                yield from entries_of(path, start, size)

    def note(self, name: str) -> str:
        """A signed note that is kept beside the entries; empty where there is none.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """
        with reading():
            return read_note(self.folder, name)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Hold the log's lock, so that nobody is in the middle of an append."""
        try:
            fd = os.open(self.folder / "lock", os.O_RDONLY | OPEN_FLAGS)
        except FileNotFoundError:
            yield  # A log that somebody copied here, to look at it, comes without a lock.
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            self.reader = threading.get_ident()
            yield
        finally:
            self.reader = 0
            os.close(fd)


@contextmanager
def reading() -> Iterator[None]:
    """Translate failures of reading.

    Raises:
        BackendFailed: What is read cannot be (code ``state-unavailable``).
    """
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise BackendFailed(
            "The audit log cannot be read.",
            code="state-unavailable",
            why=getattr(error, "strerror", None) or type(error).__name__,
            next_step="look at the folder audit in the state folder",
        ) from error

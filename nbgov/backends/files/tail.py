"""The newest segment of the audit log: the file that entries are written to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nbgov.backends.files.durable import OPEN_FLAGS, is_at, sync_folder, write_all
from nbgov.errors import IntegrityFailed

# What a process that died, or whose sync failed, can have left without being durable is its last
# group of entries, and that is no longer than this.
GROUP_BYTES_MAX = 256 * 1024
UNSURE_BYTES_MAX = GROUP_BYTES_MAX + 128 * 1024


class Tail:
    """A segment that is open, and how far it is known to hold entries.

    Args:
        sync: Makes the bytes behind a file descriptor durable.

    Attributes:
        end: How many of its bytes are entries.
        is_durable: Whether all of them are known to outlive a crash.
    """

    def __init__(self, sync: Callable[[int], None]) -> None:
        self.sync_file = sync
        self.path = Path()
        self.fd = -1
        self.end = 0
        self.is_durable = True

    def enter(self, path: Path) -> None:
        """Go on to a segment. Its name is durable then, whoever made it."""
        fd = os.open(path, os.O_RDWR | OPEN_FLAGS)
        self.close()
        self.path, self.fd, self.end, self.is_durable = path, fd, 0, True
        sync_folder(path.parent)

    def size(self) -> int:
        """How long the file is.

        Raises:
            IntegrityFailed: It is not the file at its path any more, or was cut.
        """
        # Security: bytes in a file that was removed, replaced or cut are evidence of nothing.
        if not is_at(self.fd, self.path):
            raise IntegrityFailed("its newest segment was removed or replaced")
        size = os.fstat(self.fd).st_size
        if size < self.end:
            raise IntegrityFailed("its newest segment was cut")
        return size

    def write(self, data: bytes) -> None:
        """Put entries behind those that there are, over whatever a crash left there."""
        self.is_durable = False
        self.end = write_all(self.fd, data, self.end)

    def write_again(self, start: int) -> None:
        """Write what somebody else wrote once more, as far as it may not be durable.

        A sync that failed for its writer leaves bytes that look written, and that the next sync
        would leave out.
        """
        start = max(start, self.end - UNSURE_BYTES_MAX)
        write_all(self.fd, os.pread(self.fd, self.end - start, start), start)
        self.is_durable = False

    def sync(self) -> None:
        """Make every entry durable, in the file that is still the log's.

        Raises:
            IntegrityFailed: It is not that file any more, or somebody else wrote to it.
        """
        if not self.is_durable:
            self.sync_file(self.fd)
            if self.size() > self.end:
                raise IntegrityFailed("somebody who is no writer of it appended to it")
            self.is_durable = True

    def close(self) -> None:
        """Let go of the file."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def is_torn(rest: bytes) -> bool:
    """Whether bytes behind the last entry, which are no entry, are what a crash leaves.

    That is one line, or a group of entries that did not wholly arrive: a power loss leaves zeros in
    the place of what did not.
    """
    line, _, more = rest.partition(b"\n")
    return len(rest) <= UNSURE_BYTES_MAX and (not more or b"\0" in line)

"""Marks of live sessions: section 8 of ``docs/spec/audit-log.md``.

A mark is a file that its process keeps locked. The kernel lets go of the lock when the process
ends, however it ends, and that is how others know. Every method is called under the log's lock.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from nbgov.backends.files.durable import OPEN_FLAGS, sync_folder, write_all

SESSION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
INDEX_DIGITS_MAX = 20


class SessionMarks:
    """The marks in a folder, and those among them that this object holds.

    Args:
        folder: The folder; it need not exist before the first mark is held.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid = os.getpid()
        self.held: dict[str, int] = {}

    def hold(self, session: str, index: int) -> None:
        """Mark a session, whose first attempt could have this index, as alive.

        Raises:
            OSError: Another process holds the mark, or it cannot be made durable.
            RuntimeError: The session's name is none.
        """
        if session in self.held:
            return
        # Security: the name becomes a path.
        if not SESSION_NAME.fullmatch(session):
            raise RuntimeError("The name of a session is made of letters, digits, - and _.")
        fd = os.open(self.folder / session, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(fd, str(index).encode(), 0)
            os.fsync(fd)
            sync_folder(self.folder)
        except OSError:
            os.close(fd)
            raise
        self.held[session] = fd

    def find_dead(self) -> dict[str, int]:
        """Sessions whose mark nobody holds, each with the index from which on to look for it."""
        dead = {}
        with os.scandir(self.folder) as items:
            for item in items:
                if item.name not in self.held and item.is_file(follow_symlinks=False):
                    fd = os.open(item.path, os.O_RDWR | OPEN_FLAGS)
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        dead[item.name] = int(os.pread(fd, INDEX_DIGITS_MAX, 0) or b"0")
                    except BlockingIOError:
                        pass  # Its process lives.
                    except ValueError:
                        dead[item.name] = 0  # The mark says nothing, so the whole log is read.
                    finally:
                        os.close(fd)
        return dead

    def remove(self, session: str) -> None:
        """Take a mark away: nothing is left to be closed for that session."""
        # Security: a forked child must not remove the mark of its living parent.
        if session not in self.held or self.pid == os.getpid():
            (self.folder / session).unlink(missing_ok=True)

    def release(self) -> None:
        """Let go of every mark that this object holds. Marks that are not removed stay behind."""
        for fd in self.held.values():
            os.close(fd)
        self.held.clear()

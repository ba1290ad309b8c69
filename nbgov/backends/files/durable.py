"""What it takes to write files that outlive a crash, and to be alone with them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

# Security: a symbolic link in the folder must not lead a write elsewhere.
OPEN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def write_all(fd: int, data: bytes, offset: int) -> int:
    """Write all of the data at an offset, and return where it ends."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]
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


def put_file(path: Path, data: bytes) -> None:
    """Put some bytes into a file, durable, whole or not at all. For one writer at a time."""
    draft = path.with_name(f"{path.name}.draft")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | OPEN_FLAGS, 0o600)
    try:
        write_all(fd, data, 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.replace(path)
    sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Take a file away, if it is there, so that it stays away."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


class FileLock:
    """A file that one holder at a time keeps locked, in whatever process.

    The kernel lets go of it when the holder's process ends, however it ends.

    Args:
        path: The file. It is made when it is first held.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def hold(self) -> None:
        """Wait until nobody else holds it, and hold it."""
        while True:
            if self.fd < 0:
                self.fd = os.open(self.path, os.O_RDONLY | os.O_CREAT | OPEN_FLAGS, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            # A file that was taken away while somebody held it is not the one others lock now.
            if is_at(self.fd, self.path):
                return
            self.forget()

    def let_go(self) -> None:
        """Let others hold it, also where a child of this process has the file open too."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def forget(self) -> None:
        """Close the file. The lock of a parent process stays its own."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def is_at(fd: int, path: Path) -> bool:
    """Whether the file at a path is the one that is open."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

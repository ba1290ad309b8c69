"""The keys of sealed literals, one file for each principal and day.

A key is made when it is first used, and destroyed when its literals are to be erased. This folder
is the only place that nbgov keeps them in; copies that somebody made of it are out of its reach.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

from nbgov.backends.files.durable import OPEN_FLAGS, sync_folder, write_all
from nbgov.backends.files.state import KEY_BYTES, FileKey
from nbgov.core import sealing
from nbgov.errors import BackendFailed

KEY_NAME = re.compile(r"[0-9a-f]{32}-[0-9]{8}")


class FileSealer:
    """A :class:`~nbgov.ports.Sealer` whose keys are files.

    Args:
        folder: Where the keys are; made with the first of them.
        mac: Makes the keyed digests that stand for principals in the names of keys.
    """

    def __init__(self, folder: Path, *, mac: Callable[[bytes], bytes]) -> None:
        self.folder = folder
        self.mac = mac

    def seal(self, data: bytes, *, principal: str, at: datetime, context: str) -> str | None:
        """The data, encrypted under the principal's key of that day.

        Raises:
            BackendFailed: The key cannot be read or made (code ``state-unavailable``).
        """
        name = sealing.key_name(sealing.key_id(self.mac, principal), at)
        # Security: the file is looked at each time, so that a key that was destroyed seals nothing
        # more in sessions that are still open.
        if self.is_destroyed(name):
            return None
        key = FileKey(self.folder / name).secret()
        nonce = os.urandom(sealing.NONCE_BYTES)
        return sealing.seal(data, key=key, name=name, nonce=nonce, context=context)

    def unseal(self, sealed: str, *, context: str) -> bytes:
        """The data behind a sealed text.

        Raises:
            BackendFailed: Its key was destroyed (``seal-erased``) or cannot be read
                (``state-unavailable``).
            IntegrityFailed: It is not what was sealed in this context (``seal-broken``).
        """
        return sealing.unseal(sealed, key=self.find, context=context)

    def find(self, name: str) -> bytes | None:
        """The key with a name, or ``None`` where there is none."""
        path = self.folder / name
        # Security: the name comes from a log that somebody may have edited, and becomes a path.
        if not KEY_NAME.fullmatch(name) or not path.exists() or self.is_destroyed(name):
            return None
        return FileKey(path).secret()

    def is_destroyed(self, name: str) -> bool:
        """Whether an empty file says that the key with this name was destroyed."""
        try:
            return (self.folder / name).stat().st_size == 0
        except OSError:
            return False

    def keys(self, *, principal: str | None = None, before: date | None = None) -> tuple[str, ...]:
        """The names of the keys of one principal, or of all, that are of days before a date."""
        head = "" if principal is None else sealing.key_id(self.mac, principal)
        wanted = date.max if before is None else before
        try:
            found = (
                sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []
            )
        except OSError as error:
            raise self.failed(error) from error
        return tuple(
            name
            for name in found
            if KEY_NAME.fullmatch(name) and name.startswith(head)
            if sealing.is_before(name, wanted) and not self.is_destroyed(name)
        )

    def destroy(self, key: str) -> None:
        """Overwrite a key, remove its file, and leave an empty one that says so.

        Raises:
            BackendFailed: It cannot be destroyed (code ``state-unavailable``).
        """
        path = self.folder / key
        try:
            fd = os.open(path, os.O_RDWR | OPEN_FLAGS)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.failed(error) from error
        try:
            # Security: a file system that writes in place keeps nothing of the key. Others, such as
            # those that copy on write, may: docs/howto/erase-a-subject.md says so.
            write_all(fd, os.urandom(KEY_BYTES), 0)
            os.fsync(fd)
            path.unlink(missing_ok=True)
            # Otherwise the next request of that day would make another key of the same name, and
            # what the old one sealed would look damaged rather than erased.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | OPEN_FLAGS, 0o600))
            sync_folder(self.folder)
        except OSError as error:
            raise self.failed(error) from error
        finally:
            os.close(fd)

    def failed(self, error: OSError) -> BackendFailed:
        """The error of keys that cannot be reached."""
        return BackendFailed(
            "The keys of sealed literals cannot be reached.",
            code="state-unavailable",
            why=error.strerror or type(error).__name__,
            next_step=f"look at the folder {self.folder.name} in the state folder",
        )

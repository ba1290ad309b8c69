"""Where a login is kept between processes: the system's keychain, or a file that ends with it.

The keychain comes first. Where there is none, as in a container, a file in ``$XDG_RUNTIME_DIR``
takes it, which only its owner can read and which is gone after a restart; where that is not there
either, the login is in memory alone. A refresh token, which lasts for long, is kept outside this
process only if somebody asked for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

SERVICE = "nbgov"
EARLY_S = 60.0


@dataclass(frozen=True, slots=True)
class Proven:
    """A login at an issuer.

    Attributes:
        issuer, client_id: Where it is, and through which client.
        access_token: What proves it.
        refresh_token: What renews it, or empty.
        expires_at: When the access token ends, in seconds since 1970.
        principal: Who it is at the gateway.
    """

    issuer: str
    client_id: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False, default="")
    expires_at: float = 0.0
    principal: str = ""

    @property
    def is_ending(self) -> bool:
        """Whether it is time for a new access token."""
        return time.time() > self.expires_at - EARLY_S

    @property
    def is_over(self) -> bool:
        """Whether the access token has ended."""
        return time.time() >= self.expires_at

    def is_of(self, other: Proven) -> bool:
        """Whether it is the login of the same one."""
        return (self.issuer, self.principal) == (other.issuer, other.principal)

    def with_refresh(self, refresh_token: str) -> Proven:
        """The login with another refresh token."""
        return replace(self, refresh_token=refresh_token)


class Keeping:
    """The place of one gateway's login.

    Args:
        control_url: The gateway.

    Attributes:
        is_remembered: Whether the refresh token is kept, too.
    """

    def __init__(self, control_url: str) -> None:
        self.name = control_url
        self.is_remembered = False

    def save(self, proven: Proven, *, is_remembered: bool) -> bool:
        """Keep a login where the next process finds it; whether there is a place that is safe."""
        self.is_remembered = is_remembered
        kept = proven if is_remembered else proven.with_refresh("")
        text = json.dumps({**asdict(kept), "is_remembered": is_remembered})
        if self.in_keychain(lambda ring: ring.set_password(SERVICE, self.name, text)):
            self.remove_file()
            return True
        # What the keychain still holds would come first, and may be somebody else's.
        self.in_keychain(self.delete)
        return self.write_file(text)

    def load(self) -> Proven | None:
        """The login that was kept."""
        found: list[str] = []
        self.in_keychain(lambda ring: found.append(ring.get_password(SERVICE, self.name) or ""))
        text = next(filter(None, found), "") or self.read_file()
        try:
            told = json.loads(text or "{}")
            self.is_remembered = bool(told.pop("is_remembered", False))
            return Proven(**told) if told else None
        except (ValueError, TypeError, AttributeError):
            return None

    def remove(self) -> None:
        """Forget the login."""
        self.in_keychain(self.delete)
        self.remove_file()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes of this account from the login meanwhile.

        A refresh token is good for one use: of two processes that use it at once, the second would
        seem a thief to the issuer, which then ends the login of both.
        """
        path = self.path() or self.path_aside()
        if path is None:
            yield
            return
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    # ------------------------------------------------------------ the keychain

    def in_keychain(self, step: Callable[[Any], Any]) -> bool:
        """Do something with the system's keychain; whether there is one that did it."""
        import keyring
        from keyring.errors import KeyringError

        try:
            # A backend of priority below 1 keeps nothing, or keeps it in clear.
            if keyring.get_keyring().priority < 1:
                return False
            step(keyring)
        except (KeyringError, RuntimeError, OSError):
            return False
        return True

    def delete(self, ring: Any) -> None:
        """Delete what a keychain holds."""
        if ring.get_password(SERVICE, self.name) is not None:
            ring.delete_password(SERVICE, self.name)

    # ------------------------------------------------------------ the file

    def path(self) -> Path | None:
        """The file, or ``None`` where there is no folder that is ours alone."""
        folder = os.environ.get("XDG_RUNTIME_DIR")
        return self.file_in(Path(folder)) if folder and is_ours(Path(folder)) else None

    def path_aside(self) -> Path | None:
        """The file that would be locked where there is no runtime folder. Nothing is kept in it."""
        folder = Path(tempfile.gettempdir(), f"nbgov-{os.getuid()}")
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self.file_in(folder) if is_ours(folder) else None

    def file_in(self, folder: Path) -> Path:
        """The file in a folder."""
        return folder / f"nbgov-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}.json"

    def write_file(self, text: str) -> bool:
        """Write the file, whole and for its owner alone; whether there is a place for it."""
        path = self.path()
        if path is None:
            return False
        with suppress(OSError):
            descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(draft).replace(path)
            except OSError:
                Path(draft).unlink(missing_ok=True)
                raise
            return True
        return False

    def read_file(self) -> str:
        """The text of the file, or empty."""
        path = self.path()
        if path is not None:
            with suppress(OSError, UnicodeDecodeError):
                return path.read_text(encoding="utf-8")
        return ""

    def remove_file(self) -> None:
        """Remove the file, if there is one."""
        path = self.path()
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def is_ours(folder: Path) -> bool:
    """Whether a folder belongs to this account, and nobody else can enter it."""
    with suppress(OSError):
        # Security: a link, or a folder of somebody else, could lead to files of their choice.
        status = folder.lstat()
        is_own = status.st_uid == os.getuid() and not status.st_mode & 0o077
        return is_own and stat.S_ISDIR(status.st_mode)
    return False

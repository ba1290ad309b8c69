"""The keys, the policy and the time of a machine.

Keys are made on first use. Those of digests and signatures never leave this module; the one of the
pseudonyms goes to the engines, which need it. The policy is a text here, no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import time
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.backends.files.durable import OPEN_FLAGS, make_folder, sync_folder, write_all
from nbgov.backends.files.revision import Revisions
from nbgov.errors import BackendFailed, ConfigInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_BYTES = 32
# Linux goes on counting while the machine sleeps; elsewhere there is the clock that stops then.
SINCE_START = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
SIGNING_KEY = "signing.key"
POLICY_BYTES_MAX = 4 * 1024 * 1024


class FileKey:
    """A secret of 32 bytes in a file that only its owner can read.

    Args:
        path: The key file. It is made on first use; whoever makes it first wins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = b""

    def secret(self) -> bytes:
        """The 32 bytes.

        Raises:
            BackendFailed: The key cannot be read or made (code ``state-unavailable``).
        """
        if not self.known:
            self.known = self.current()
        return self.known

    def current(self) -> bytes:
        """The 32 bytes as the file holds them now, which another process may have exchanged.

        Raises:
            BackendFailed: The key cannot be read or made (code ``state-unavailable``).
        """
        try:
            return self.read()
        except OSError as error:
            raise self.failed(error.strerror or type(error).__name__) from error

    def read(self) -> bytes:
        """The key, made now if it is not there."""
        if not self.path.exists():
            self.make()
        fd = os.open(self.path, os.O_RDONLY | OPEN_FLAGS)
        try:
            key, mode = os.read(fd, KEY_BYTES + 1), os.fstat(fd).st_mode
        finally:
            os.close(fd)
        # Security: whoever can read the key can guess the values behind digests and pseudonyms.
        if mode & 0o077:
            raise self.failed("others than its owner can read or write it")
        if len(key) != KEY_BYTES:
            raise self.failed(f"it does not hold {KEY_BYTES} bytes")
        return key

    def make(self) -> None:
        """Make the key, whole or not at all, unless another process is first."""
        make_folder(self.path.parent)
        with self.draft() as draft, contextlib.suppress(FileExistsError):
            os.link(draft, self.path)
        sync_folder(self.path.parent)

    def rotate(self, at: datetime) -> Path:
        """Put a new key in the place of this one, at once and whole.

        Args:
            at: The moment, part of the name that the old key is kept under.

        Returns:
            Where the old key is, readable by its owner only.

        Raises:
            BackendFailed: There is no key yet, or a file cannot be written (``state-unavailable``).
        """
        kept = self.path.with_name(f"{self.path.name}.{at:%Y%m%dT%H%M%SZ}")
        try:
            os.link(self.path, kept)
            with self.draft() as draft:
                draft.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise self.failed(error.strerror or type(error).__name__) from error
        self.known = b""
        return kept

    def give_way(self, to: Path) -> None:
        """Put the key in another file in the place of this one, and destroy this one.

        At every moment the file holds one of the two, whole.

        Raises:
            BackendFailed: A file is not there or cannot be written (``state-unavailable``).
        """
        try:
            fd = os.open(self.path, os.O_RDWR | OPEN_FLAGS)
            try:
                to.replace(self.path)
                sync_folder(self.path.parent)
                # Security: the bytes go too, as far as a file system lets anybody say so.
                write_all(fd, bytes(KEY_BYTES), 0)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise self.failed(error.strerror or type(error).__name__) from error
        self.known = b""

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """A new key in a file of this process, gone afterwards unless it was moved."""
        path = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o600)
        try:
            write_all(fd, os.urandom(KEY_BYTES), 0)
            os.fsync(fd)
            yield path
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)

    def failed(self, why: str) -> BackendFailed:
        """The error of a key that cannot be used."""
        return BackendFailed(
            f"The key file {self.path.name} cannot be used.",
            code="state-unavailable",
            why=why,
            next_step="restore the file from a copy, readable by its owner only (chmod 600)",
        )


class FileSigner:
    """A :class:`~nbgov.ports.Signer` with keys of its own, each made on first use.

    Args:
        path: The key file of digests. The one of signatures, an Ed25519 seed, stands beside it,
            and so does the next one while it is being rotated.
    """

    def __init__(self, path: Path) -> None:
        self.key = FileKey(path)
        self.seed = FileKey(path.with_name(SIGNING_KEY))
        self.next_seed = FileKey(path.with_name(SIGNING_KEY + ".next"))
        self.rotating = -1

    def mac(self, data: bytes) -> bytes:
        """HMAC-SHA256 of the data, 32 bytes.

        Raises:
            BackendFailed: The key cannot be read or made (code ``state-unavailable``).
        """
        return hmac.digest(self.key.secret(), data, hashlib.sha256)

    def sign(self, data: bytes) -> bytes:
        """Ed25519 signature of the data, 64 bytes.

        Raises:
            BackendFailed: The key cannot be read or made (code ``state-unavailable``).
        """
        return private_key(self.seed).sign(data)

    def public_key(self) -> bytes:
        """The Ed25519 public key, 32 bytes.

        Raises:
            BackendFailed: The key cannot be read or made (code ``state-unavailable``).
        """
        return private_key(self.seed).public_key().public_bytes_raw()

    def successor(self) -> bytes:
        """The public key of the next signing key, made now if there is none yet.

        Until this object has succeeded, or its process has ended, no other one rotates.

        Raises:
            BackendFailed: The key cannot be read or made, or another process is rotating (code
                ``state-unavailable``).
        """
        public = private_key(self.next_seed).public_key().public_bytes_raw()
        if self.rotating < 0:
            self.rotating = self.claim(public)
            self.claimed = weakref.finalize(self, os.close, self.rotating)
        return public

    def claim(self, public: bytes) -> int:
        """The file of the next key, locked."""
        fd = os.open(self.next_seed.path, os.O_RDONLY | OPEN_FLAGS)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.fstat(fd).st_nlink > 0
        except BlockingIOError:
            is_there = False
        if not is_there or private_key(self.next_seed).public_key().public_bytes_raw() != public:
            os.close(fd)
            raise self.next_seed.failed("another process is rotating the key")
        return fd

    def succeed(self) -> None:
        """Sign under the next key from now on, and destroy the one before.

        Raises:
            BackendFailed: A key file cannot be written (code ``state-unavailable``).
            RuntimeError: Nobody asked for the successor.
        """
        if self.rotating < 0:
            raise RuntimeError("There is no successor to the signing key.")
        self.seed.give_way(self.next_seed.path)
        self.claimed()
        self.rotating = -1


def private_key(seed: FileKey) -> Ed25519PrivateKey:
    """The private key, which never leaves this process. Nor does it stay: others may rotate it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed.current())


class FilePolicySource:
    """A :class:`~nbgov.ports.PolicySource` that reads a file each time it is asked.

    Args:
        path: The policy file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.revisions = Revisions(path)

    def revision(self) -> str:
        """The commit of the policy, with ``-dirty`` where the file has changed since; or empty."""
        return self.revisions.current()

    def text(self) -> str:
        """The policy as it stands now.

        Raises:
            ConfigInvalid: The file is absent, cannot be read, or is no text.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(POLICY_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigInvalid(
                f"The policy file {self.path.name} cannot be read.",
                code="policy-missing",
                why=error.strerror or type(error).__name__,
                next_step="create the file, or correct policy: in nbgov.yaml",
            ) from error
        if len(data) > POLICY_BYTES_MAX:
            raise self.invalid(f"it is longer than {POLICY_BYTES_MAX:,} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self.invalid(f"it is not UTF-8 text at byte {error.start}") from error

    def invalid(self, why: str) -> ConfigInvalid:
        """The error of a file that holds no policy."""
        return ConfigInvalid(
            f"The policy file {self.path.name} is no text that nbgov reads.",
            code="policy-invalid",
            why=why,
            next_step="save it as UTF-8 YAML",
        )


class SystemClock:
    """A :class:`~nbgov.ports.Clock`: the machine's own."""

    def now(self) -> datetime:
        """The time, aware, UTC."""
        return datetime.now(UTC)

    def ticks(self) -> int:
        """Milliseconds since the machine was started; never fewer than before."""
        return time.clock_gettime_ns(SINCE_START) // 1_000_000

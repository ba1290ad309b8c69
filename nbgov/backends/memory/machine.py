"""The time and the keys of a machine, in RAM."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class MemoryClock:
    """A :class:`~nbgov.ports.Clock` that is set by hand.

    Args:
        at: The time. A test may assign to it, backwards too.
        tick: How far the clock moves on each time somebody looks.

    Example:
        >>> clock = MemoryClock(tick=timedelta(seconds=1))
        >>> (clock.now(), clock.now())[1].isoformat()
        '2026-01-01T00:00:01+00:00'
    """

    def __init__(
        self,
        at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        *,
        tick: timedelta = timedelta(milliseconds=1),
    ) -> None:
        self.at = at
        self.tick = tick
        self.elapsed = timedelta(0)

    def now(self) -> datetime:
        """The time, aware, UTC."""
        at = self.at
        self.at += self.tick
        self.elapsed += self.tick
        return at

    def ticks(self) -> int:
        """Milliseconds that passed because somebody looked; never fewer than before."""
        return self.elapsed // timedelta(milliseconds=1)


class MemorySigner:
    """A :class:`~nbgov.ports.Signer` with a key that is given."""

    def __init__(self, key: bytes = b"memory") -> None:
        self.key = key
        self.rotations = 0

    def mac(self, data: bytes) -> bytes:
        """HMAC-SHA256 of the data, 32 bytes."""
        return hmac.digest(self.key, data, hashlib.sha256)

    def sign(self, data: bytes) -> bytes:
        """Ed25519 signature of the data, 64 bytes."""
        return self.private_key(self.rotations).sign(data)

    def public_key(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        return self.private_key(self.rotations).public_key().public_bytes_raw()

    def successor(self) -> bytes:
        """The public key of the next signing key."""
        return self.private_key(self.rotations + 1).public_key().public_bytes_raw()

    def succeed(self) -> None:
        """Sign under the next key from now on."""
        self.rotations += 1

    def private_key(self, rotations: int) -> Ed25519PrivateKey:
        """The private key, the same for the same key and as many rotations."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        seed = hashlib.sha256(self.key + b"\0" * rotations).digest()
        return Ed25519PrivateKey.from_private_bytes(seed)

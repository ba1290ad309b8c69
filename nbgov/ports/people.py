"""Who asks, under which policy, and what is kept of it as evidence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nbgov.model import Principal, Receipt, Record


class IdentityProvider(Protocol):
    """Knows who asks."""

    def identify(self, claim: str | None) -> Principal:
        """The principal behind a claim.

        Raises:
            IdentityFailed: The claim, or the account, is not declared.
        """
        ...


class PolicySource(Protocol):
    """Holds the policy's text."""

    def text(self) -> str:
        """The policy as it stands now.

        Raises:
            ConfigInvalid: It cannot be read.
        """
        ...

    def revision(self) -> str:
        """The commit that the text is of, for people; empty where there is none. Never raises."""
        ...


class AuditLog(Protocol):
    """An append-only log whose entries are durable when ``append`` returns."""

    def append(self, record: Record) -> Receipt:
        """Make a record durable.

        Raises:
            BackendFailed: It could not be made durable (code ``audit-unavailable``).
        """
        ...

    def recover(self) -> None:
        """Close the attempts whose session died, and repair what a crash left half written.

        Raises:
            BackendFailed: The log cannot be written (code ``audit-unavailable``).
        """
        ...

    def entries(self) -> Iterator[bytes]:
        """The canonical bytes of every entry, oldest first."""
        ...

    def close(self) -> None:
        """Let go of the log. Callable more than once."""
        ...


class Signer(Protocol):
    """Makes keyed digests and signatures, with keys that the log does not hold."""

    def mac(self, data: bytes) -> bytes:
        """HMAC-SHA256 of the data, 32 bytes."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Ed25519 signature of the data, 64 bytes. The key is made when it is first used."""
        ...

    def public_key(self) -> bytes:
        """The Ed25519 public key that :meth:`sign` signs under, 32 bytes."""
        ...


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time, aware, UTC."""
        ...

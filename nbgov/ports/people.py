"""Who asks, under which policy, and what is kept of it as evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nbgov.core.audit.note import Note, SignatureLine, VerifierKey
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


class Evidence(Protocol):
    """What can be read of an audit log, wherever its bytes are: a disk, a database, a bundle."""

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, from an index on, oldest first.

        Raises:
            BackendFailed: They cannot be read (code ``state-unavailable``).
        """
        ...

    def note(self, name: str) -> str:
        """A signed note that is kept beside the entries; empty where there is none.

        ``checkpoint`` is the newest one, ``witnessed`` the newest one that witnesses cosigned, and
        ``key-N`` the last one under a signing key that entry ``N - 1`` replaced.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """
        ...


class AuditLog(Evidence, Protocol):
    """An append-only log whose entries are durable when ``append`` returns.

    Objects of it are safe to use from several threads, and several of them may share one log.
    """

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

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over every entry there is now; made if there is none yet.

        ``None`` for a log without entries. What is signed is never at odds with what was signed
        before.

        Raises:
            BackendFailed: It cannot be made, or the log is not the one that was signed before
                (code ``audit-unavailable``).
        """
        ...

    def subtree(self, start: int, stop: int) -> bytes:
        """The Merkle digest of a range of entries that the newest checkpoint covers.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """
        ...

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries, in the place of the one with this name.

        Raises:
            BackendFailed: It cannot be kept (code ``audit-unavailable``).
        """
        ...

    def close(self) -> None:
        """Let go of the log, with a checkpoint over what is new. Callable more than once."""
        ...


class AuditCopy(Evidence, Protocol):
    """A copy of an audit log: the same stored bytes and notes somewhere else."""

    def end(self) -> tuple[int, bytes]:
        """How many entries it has, and the last one; empty where there is none.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
            IntegrityFailed: It holds what is no entry.
        """
        ...

    def extend(self, start: int, lines: Sequence[bytes]) -> bool:
        """Make entries durable behind the last one; ``False`` where the end is another one.

        Raises:
            BackendFailed: They could not be made durable (code ``state-unavailable``).
        """
        ...

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries, in the place of the one with this name.

        Raises:
            BackendFailed: It cannot be kept (code ``state-unavailable``).
        """
        ...

    def close(self) -> None:
        """Let go of it. Callable more than once."""
        ...


class Mirroring(Protocol):
    """Keeps the copies of an audit log following it, while a session is open."""

    def start(self) -> None:
        """Follow from now on, unless that goes on already."""
        ...

    def close(self) -> None:
        """Follow once more and stop, within a few seconds. Callable more than once."""
        ...


class Heads(AuditLog, Protocol):
    """The log over the checkpoints of every gateway that shares a database with this one."""

    def beside(self, origin: str) -> Evidence:
        """The log of another gateway."""
        ...


class Witness(Protocol):
    """Somebody off this host who remembers the newest checkpoint of a log, and cosigns it."""

    @property
    def key(self) -> VerifierKey:
        """The key that it cosigns under."""
        ...

    def cosign(self, note: Note, *, old_size: int, path: Sequence[bytes]) -> SignatureLine | int:
        """Its cosignature, or the size of the newest checkpoint it knows where that is another.

        Args:
            note: The checkpoint, signed by the log.
            old_size: The size that the witness is thought to know; 0 for none.
            path: What shows that the log of ``note`` begins with that of ``old_size``.

        Raises:
            BackendFailed: It did not answer (code ``witness-unavailable``).
            IntegrityFailed: It refuses: the log is not the one that it knows, or not one that it
                knows at all (code ``witness-refused``).
        """
        ...


class Cosigning(Protocol):
    """Brings the checkpoints of a log to its witnesses while a session runs statements."""

    def check(self) -> None:
        """Pass unless a witness has refused the log. Waits for nobody.

        Raises:
            IntegrityFailed: One has, and nobody has put it right (code ``witness-refused``).
            BackendFailed: Whether one has cannot be read (code ``state-unavailable``).
        """
        ...

    def one_round(self, *, wait_s: float) -> None:
        """Bring the newest checkpoint to every witness now, and wait for them so long at most."""
        ...

    def close(self) -> None:
        """Stop, with a last round of a few seconds at most. Callable more than once."""
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

    def successor(self) -> bytes:
        """The public key of the next signing key, made now if there is none yet."""
        ...

    def succeed(self) -> None:
        """Sign under the next key from now on, and destroy the one before."""
        ...


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time, aware, UTC."""
        ...

    def ticks(self) -> int:
        """Milliseconds since the machine was started; never fewer than before."""
        ...

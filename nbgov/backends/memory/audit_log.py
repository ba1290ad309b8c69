"""The audit log in RAM: the promises of the one on a disk, without the disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nbgov.backends.memory.faults import Faults
from nbgov.backends.memory.machine import MemorySigner
from nbgov.core.audit import decode, interruptions
from nbgov.core.audit.ledger import Ledger
from nbgov.core.audit.merkle import Frontier, leaf_digest
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey, sign
from nbgov.errors import BackendFailed, NbgovError
from nbgov.model import Receipt, Record, RecordKind
from nbgov.ports import Signer


class MemoryAuditLog:
    """An :class:`~nbgov.ports.AuditLog` in a list of lines.

    ``faults`` knows the operation ``append``; as on a disk, nothing can be appended after a failure
    until the log is opened anew.

    Args:
        origin: Name of the log.
        signer: Signs checkpoints; one with a key that everybody knows by default.
        lines: Stored lines, shared with whoever passes them. The list plays the disk: a second log
            over the same lines is a second process, after the first one died.
        notes: Signed notes by name, shared likewise.
    """

    def __init__(
        self,
        origin: str = "memory",
        *,
        signer: Signer | None = None,
        lines: list[bytes] | None = None,
        notes: dict[str, str] | None = None,
    ) -> None:
        self.origin = origin
        self.signer = signer or MemorySigner()
        self.lines = [] if lines is None else lines
        self.notes = {} if notes is None else notes
        self.faults = Faults()
        self.ledger = Ledger(origin)
        self.attempts: set[int] = set()
        self.settled: dict[int | None, Receipt] = {}
        self.is_open = False
        self.is_failed = False

    @property
    def records(self) -> list[Record]:
        """Every record, oldest first."""
        return [decode(line).record for line in self.lines]

    def append(self, record: Record) -> Receipt:
        """Make a record durable, with a time that is not before the last one.

        Raises:
            BackendFailed: As planned, or after that (code ``audit-unavailable``).
            RuntimeError: The record closes an attempt that is not open in this object.
        """
        self.open()
        if self.is_failed:
            raise BackendFailed("The log failed before.", code="audit-unavailable")
        if record.attempt in self.settled:
            return self.settled[record.attempt]
        if record.attempt is not None and record.attempt not in self.attempts:
            raise RuntimeError(f"The attempt {record.attempt} is not open in this log.")
        try:
            with self.faults.around("append", code="audit-unavailable"):
                return self.write(record)
        except NbgovError:
            self.is_failed = True
            raise

    def recover(self) -> None:
        """Close the attempts that another log over the same lines left open."""
        self.open()

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, from an index on, oldest first."""
        return iter(tuple(self.lines[start:]))

    def note(self, name: str) -> str:
        """A signed note that is kept beside the entries; empty where there is none."""
        return self.notes.get(name, "")

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries; an empty text takes it away."""
        self.notes[name] = text

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over every entry there is now.

        Raises:
            BackendFailed: The log is not the one that was signed before (code
                ``audit-unavailable``).
        """
        self.open()
        size = len(self.lines)
        if not size:
            return None
        kept = self.note("checkpoint")
        was = Note.parse(kept).checkpoint if kept else None
        if was and (was.size > size or was.root != self.subtree(0, was.size)):
            raise BackendFailed("The log is not the one it was.", code="audit-unavailable")
        origin = self.ledger.origin
        key = VerifierKey(origin, self.signer.public_key())
        note = sign(Checkpoint(origin, size, self.subtree(0, size)), key, self.signer.sign)
        self.keep_note("checkpoint", str(note))
        return note

    def subtree(self, start: int, stop: int) -> bytes:
        """The Merkle digest of a range of entries."""
        return tree_over(self.lines[start:stop]).root()

    def close(self) -> None:
        """Let go of everything but the lines and notes, with a checkpoint over what is new."""
        if self.is_open and not self.is_failed:
            self.checkpoint()
        self.attempts, self.settled = set(), {}
        self.is_open = self.is_failed = False

    def open(self) -> None:
        """Go to the end of the log, once."""
        if not self.is_open:
            self.is_open = True
            last = decode(self.lines[-1]) if self.lines else None
            origin = last.origin if last else self.origin
            self.ledger = Ledger(origin, frontier=tree_over(self.lines), last=last)
            if last is not None:
                at = last.record.at
                for record in interruptions(self.lines, is_alive=lambda _: False, at=at):
                    self.write(record)

    def write(self, record: Record) -> Receipt:
        """Put a record behind the last entry."""
        line, receipt = self.ledger.draw_up(record)
        self.lines.append(line)
        if record.kind is RecordKind.ATTEMPT:
            self.attempts.add(receipt.index)
        if record.attempt is not None:
            self.attempts.discard(record.attempt)
            self.settled[record.attempt] = receipt
        return receipt


def tree_over(lines: Iterable[bytes]) -> Frontier:
    """The right edge of the tree over some entries."""
    frontier = Frontier()
    frontier.extend(map(leaf_digest, lines))
    return frontier

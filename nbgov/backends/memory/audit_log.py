"""The audit log in RAM: the promises of the one on a disk, without the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nbgov.backends.memory.faults import Faults
from nbgov.core.audit import GENESIS_DIGEST, Entry, decode, encode, interruptions
from nbgov.errors import BackendFailed, NbgovError
from nbgov.model import Receipt, Record, RecordKind


class MemoryAuditLog:
    """An :class:`~nbgov.ports.AuditLog` in a list of lines.

    ``faults`` knows the operation ``append``; as on a disk, nothing can be appended after a failure
    until the log is opened anew.

    Args:
        origin: Name of the log.
        lines: Stored lines, shared with whoever passes them. The list plays the disk: a second log
            over the same lines is a second process, after the first one died.
    """

    def __init__(self, origin: str = "memory", *, lines: list[bytes] | None = None) -> None:
        self.origin = origin
        self.lines = [] if lines is None else lines
        self.faults = Faults()
        self.last: Entry | None = None
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
            return self.settled.pop(record.attempt)
        if record.attempt is not None and record.attempt not in self.attempts:
            raise RuntimeError(f"The attempt {record.attempt} is not open in this log.")
        try:
            with self.faults.around("append", code="audit-unavailable"):
                return self.write(record)
        except NbgovError:
            self.is_failed = True
            raise
        except KeyboardInterrupt:
            # As on a disk: what was written is found again when it is to be written once more.
            if record.attempt is not None and record.attempt not in self.attempts:
                assert self.last is not None
                receipt = Receipt(self.last.origin, self.last.index, self.last.digest)
                self.settled[record.attempt] = receipt
            raise

    def recover(self) -> None:
        """Close the attempts that another log over the same lines left open."""
        self.open()

    def entries(self) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, oldest first."""
        return iter(tuple(self.lines))

    def close(self) -> None:
        """Let go of everything but the lines. A later append opens the log anew."""
        self.attempts, self.settled = set(), {}
        self.is_open = self.is_failed = False

    def open(self) -> None:
        """Go to the end of the log, once."""
        if not self.is_open:
            self.is_open = True
            self.last = decode(self.lines[-1]) if self.lines else None
            if self.last is not None:
                at = self.last.record.at
                for record in interruptions(self.lines, is_alive=lambda _: False, at=at):
                    self.write(record)

    def write(self, record: Record) -> Receipt:
        """Put a record behind the last entry."""
        index, last = len(self.lines), self.last
        if last is not None:
            record = replace(record, at=max(record.at, last.record.at))
        line = encode(
            record,
            origin=last.origin if last else self.origin,
            index=index,
            prev_digest=last.digest if last else GENESIS_DIGEST,
        )
        self.lines.append(line)
        self.last = decode(line)
        if record.kind is RecordKind.ATTEMPT:
            self.attempts.add(index)
        elif record.attempt is not None:
            self.attempts.discard(record.attempt)
        return Receipt(self.last.origin, index, self.last.digest)

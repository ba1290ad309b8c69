"""What an open log remembers of the attempts of its own sessions."""

from __future__ import annotations

from collections.abc import Container

from nbgov.model import Receipt, Record, RecordKind

SETTLED_MAX = 1024


class Books:
    """The attempts that are open, and the last ones that were closed, each with its receipt.

    Attributes:
        attempts: Index of an open attempt to its session.
    """

    def __init__(self) -> None:
        self.attempts: dict[int, str] = {}
        self.settled: dict[int, Receipt] = {}

    def receipt(self, attempt: int) -> Receipt | None:
        """The receipt of what closed an attempt, or ``None`` if it is open.

        A caller that was interrupted while it waited states its outcome once more.

        Raises:
            RuntimeError: It is not open, and was not closed lately.
        """
        if attempt not in self.attempts and attempt not in self.settled:
            raise RuntimeError(f"The attempt {attempt} is not open in this log.")
        return self.settled.get(attempt)

    def enter(self, record: Record, receipt: Receipt, sessions: Container[str]) -> None:
        """Take in an entry; attempts of other sessions are others' business."""
        if record.kind is RecordKind.ATTEMPT:
            if record.session in sessions:
                self.attempts[receipt.index] = record.session
        elif record.attempt is not None and self.attempts.pop(record.attempt, None) is not None:
            self.settled[record.attempt] = receipt
            if len(self.settled) > SETTLED_MAX:
                del self.settled[next(iter(self.settled))]

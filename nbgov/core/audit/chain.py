"""Many entries of the audit log: section 5 of ``docs/spec/audit-log.md``.

Says whether a log adds up, and which attempts a dead session left open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from nbgov.core.audit.entry import GENESIS_DIGEST, Entry, decode
from nbgov.errors import IntegrityFailed
from nbgov.model import Record, RecordKind

ATTEMPTS_OPEN_MAX = 10_000


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What reading a log from its first entry showed.

    Attributes:
        origin: Name of the log, empty for an empty log.
        entries: Entries that add up; those before the problem, if there is one.
        last_digest: Digest of the last of them, 32 zero bytes for an empty log.
        outcomes: How many outcomes there are of each status.
        interrupted: How many attempts ended with their process.
        repairs: How often bytes that were no entry, as a crash leaves them, were cut off the end.
        open_attempts: Indexes of attempts whose end is unknown, ascending.
        problem: What breaks the log, one sentence, or empty.
        problem_index: The number that the broken entry should have, or ``None``.
    """

    origin: str
    entries: int
    last_digest: bytes
    outcomes: Mapping[str, int]
    interrupted: int
    repairs: int
    open_attempts: tuple[int, ...]
    problem: str = ""
    problem_index: int | None = None

    @property
    def is_intact(self) -> bool:
        """Whether the whole log adds up."""
        return self.problem_index is None


def verify(lines: Iterable[bytes]) -> AuditReport:
    """Read a log from its first entry and report whether it adds up.

    Memory stays bounded: of the past, only the last entry and the open attempts are remembered.
    Reading stops at the first problem, because nothing after it is chained to what is before.

    Args:
        lines: The stored bytes of every entry, oldest first, without newlines.
    """
    trail = Trail()
    problem = ""
    for line in lines:
        try:
            trail.add(line)
        except IntegrityFailed as error:
            problem = error.what
            break
    return AuditReport(
        origin=trail.last.origin if trail.last else "",
        entries=trail.entries,
        last_digest=trail.last.digest if trail.last else GENESIS_DIGEST,
        outcomes=dict(sorted(trail.outcomes.items())),
        interrupted=trail.interrupted,
        repairs=trail.repairs,
        open_attempts=tuple(trail.attempts),
        problem=problem,
        problem_index=trail.entries if problem else None,
    )


def interruptions(
    lines: Iterable[bytes], *, is_alive: Callable[[str], bool], at: datetime
) -> tuple[Record, ...]:
    """Records that close each attempt whose session died before it could state an outcome.

    Args:
        lines: Entries from the first attempt of any such session on, or from further back.
        is_alive: Whether a session still runs.
        at: The time of the records.

    Raises:
        IntegrityFailed: One of the lines is no entry.
    """
    attempts: dict[int, Record] = {}
    for entry in map(decode, lines):
        if entry.record.kind is RecordKind.ATTEMPT:
            attempts[entry.index] = entry.record
        elif entry.record.attempt is not None:
            attempts.pop(entry.record.attempt, None)
    return tuple(
        Record(
            kind=RecordKind.INTERRUPTED,
            at=at,
            request=attempt.request,
            session=attempt.session,
            mode=attempt.mode,
            assurance=attempt.assurance,
            attempt=index,
            principal=attempt.principal,
            connection=attempt.connection,
            note="The process ended before it could state an outcome.",
        )
        for index, attempt in attempts.items()
        if not is_alive(attempt.session)
    )


class Trail:
    """What :func:`verify` remembers of the entries that it has read."""

    def __init__(self) -> None:
        self.last: Entry | None = None
        self.entries = 0
        self.interrupted = 0
        self.repairs = 0
        self.outcomes: Counter[str] = Counter()
        self.attempts: dict[int, None] = {}  # A set that keeps the order.

    def add(self, line: bytes) -> None:
        """Take the next entry, or raise :class:`IntegrityFailed` with what is wrong with it."""
        entry = decode(line)
        # Spec audit-log 5: the invariants, in the order of that section.
        if entry.index != self.entries:
            raise IntegrityFailed(f"The entry says that its index is {entry.index}.")
        if entry.prev_digest != (self.last.digest if self.last else GENESIS_DIGEST):
            raise IntegrityFailed("The entry does not follow from the one before it.")
        if self.last and entry.origin != self.last.origin:
            raise IntegrityFailed("The entry belongs to another log.")
        if self.last and entry.record.at < self.last.record.at:
            raise IntegrityFailed("The entry is older than the one before it.")
        self.count(entry.index, entry.record)
        self.last = entry
        self.entries += 1

    def count(self, index: int, record: Record) -> None:
        """Keep the books of attempts and their ends."""
        if record.kind is RecordKind.ATTEMPT:
            if len(self.attempts) == ATTEMPTS_OPEN_MAX:
                raise IntegrityFailed(f"More than {ATTEMPTS_OPEN_MAX} attempts are open at once.")
            self.attempts[index] = None
        elif record.attempt is not None:
            if record.attempt not in self.attempts:
                raise IntegrityFailed(f"The entry closes {record.attempt}, no open attempt.")
            del self.attempts[record.attempt]
        if record.kind is RecordKind.OUTCOME:
            self.outcomes[record.status or "unknown"] += 1
        elif record.kind is RecordKind.INTERRUPTED:
            self.interrupted += 1
        elif record.kind is RecordKind.REPAIR:
            self.repairs += 1

"""Many entries of the audit log: section 5 of ``docs/spec/audit-log.md``.

Says whether a log adds up, what the roots of its tree are, and which attempts a dead session left
open.
"""

from __future__ import annotations

from binascii import hexlify
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbgov.core.audit.entry import GENESIS_DIGEST, canonical, decode
from nbgov.core.audit.glance import ROTATION, Facts, facts_of, glance
from nbgov.core.audit.merkle import EMPTY_ROOT, Frontier, leaf_digest
from nbgov.errors import IntegrityFailed
from nbgov.model import Record, RecordKind

ATTEMPTS_OPEN_MAX = 10_000
ROTATIONS_MAX = 10_000
STATUSES_MAX = 100
WAITING_MAX = 1024
OTHER = b"other"
HEAD = b'{"index":%d,"origin":%b,"prev":"%b","record":{'


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What reading a log from its first entry showed.

    Attributes:
        origin: Name of the log, empty for an empty log.
        entries: Entries that add up; those before the problem, if there is one.
        last_digest: Digest of the last of them, 32 zero bytes for an empty log.
        root: Root of the Merkle tree over them.
        outcomes: How many outcomes there are of each status.
        interrupted: How many attempts ended with their process.
        repairs: How often bytes that were no entry, as a crash leaves them, were cut off the end.
        open_attempts: Indexes of attempts whose end is unknown, ascending.
        rotations: By index, the next signing key that an entry names.
        roots: The roots at the sizes that were asked for, and behind each rotation.
        digests: The digests of the entries that were asked for, as far as there are such.
        problem: What breaks the log, one sentence, or empty.
        problem_index: The number that the broken entry should have, or ``None``.
    """

    origin: str
    entries: int
    last_digest: bytes
    root: bytes
    outcomes: Mapping[str, int]
    interrupted: int
    repairs: int
    open_attempts: tuple[int, ...]
    rotations: Mapping[int, str] = field(default_factory=dict)
    roots: Mapping[int, bytes] = field(default_factory=dict)
    digests: Mapping[int, bytes] = field(default_factory=dict)
    problem: str = ""
    problem_index: int | None = None

    @property
    def is_intact(self) -> bool:
        """Whether the whole log adds up."""
        return self.problem_index is None


def verify(
    lines: Iterable[bytes],
    *,
    sizes: Iterable[int] = (),
    indexes: Iterable[int] = (),
    is_deep: bool = False,
) -> AuditReport:
    """Read a log from its first entry, once, and report whether it adds up.

    Memory stays bounded: of the past, only the edge of the tree, the open attempts and what was
    asked for are remembered. Reading stops at the first problem, because nothing after it is
    chained to what is before.

    Args:
        lines: The stored bytes of every entry, oldest first, without newlines.
        sizes: The numbers of entries at which the root is wanted.
        indexes: The entries whose digests are wanted.
        is_deep: Whether every entry is decoded, and not only looked at where the chain, the order
            of times and the attempts are told. It takes some ten times as long.
    """
    trail = Trail(sizes, indexes, is_deep=is_deep)
    for line in lines:
        try:
            trail.add(line)
        except IntegrityFailed as error:
            return trail.report(error.what)
    return trail.report()


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

    def __init__(self, sizes: Iterable[int], indexes: Iterable[int], *, is_deep: bool) -> None:
        self.sizes = frozenset(sizes)
        self.indexes = frozenset(indexes)
        self.wanted = {*self.sizes, *(index + 1 for index in self.indexes)}
        self.is_deep = is_deep
        self.origin = ""
        self.origin_json = b""
        self.entries = 0
        self.digest = GENESIS_DIGEST
        self.at = b""
        self.tree = Frontier()
        self.waiting: list[bytes] = []  # Digests of entries that are not in the tree yet.
        self.interrupted = 0
        self.repairs = 0
        self.outcomes: Counter[bytes] = Counter()
        self.attempts: dict[int, None] = {}  # A set that keeps the order.
        self.rotations: dict[int, str] = {}
        self.roots: dict[int, bytes] = {0: EMPTY_ROOT} if 0 in self.sizes else {}
        self.digests: dict[int, bytes] = {}

    def add(self, line: bytes) -> None:
        """Take the next entry, or raise :class:`IntegrityFailed` with what is wrong with it."""
        # Spec audit-log 5: the invariants, in the order of that section. What an entry begins with
        # is known before it is read, so one comparison is enough for all but the last two.
        head = HEAD % (self.entries, self.origin_json, hexlify(self.digest))
        facts = glance(line, len(head)) if line.startswith(head) and not self.is_deep else None
        at, kind, closes, status = facts or self.study(line)
        if at < self.at:
            raise IntegrityFailed("The entry is older than the one before it.")
        if closes is not None and self.attempts.pop(closes, closes) is not None:
            raise IntegrityFailed(f"The entry closes {closes}, no open attempt.")
        if kind == b"outcome":
            is_known = status in self.outcomes or len(self.outcomes) < STATUSES_MAX
            self.outcomes[status if is_known else OTHER] += 1
        else:
            self.count(kind, line)
        self.at = at
        self.digest = leaf_digest(line)
        self.waiting.append(self.digest)
        self.entries += 1
        if self.entries in self.wanted or len(self.waiting) == WAITING_MAX:
            self.mark(self.entries)

    def study(self, line: bytes) -> Facts:
        """Read an entry strictly, for what it is or for what is wrong with it."""
        entry = decode(line)
        if entry.index != self.entries:
            raise IntegrityFailed(f"The entry says that its index is {entry.index}.")
        if entry.prev_digest != self.digest:
            raise IntegrityFailed("The entry does not follow from the one before it.")
        if self.origin not in {"", entry.origin}:
            raise IntegrityFailed("The entry belongs to another log.")
        self.origin, self.origin_json = entry.origin, canonical(entry.origin)
        return facts_of(entry.record)

    def count(self, kind: bytes, line: bytes) -> None:
        """Keep the books of what is no outcome."""
        if kind == b"attempt":
            if len(self.attempts) == ATTEMPTS_OPEN_MAX:
                raise IntegrityFailed(f"More than {ATTEMPTS_OPEN_MAX} attempts are open at once.")
            self.attempts[self.entries] = None
        elif kind == b"interrupted":
            self.interrupted += 1
        elif kind == b"repair":
            self.repairs += 1
        elif kind == b"admin" and ROTATION in line:
            self.rotate(decode(line).record)

    def rotate(self, record: Record) -> None:
        """Keep the next signing key, if it is one that the entry names."""
        if record.verb == "ROTATE":
            if len(self.rotations) == ROTATIONS_MAX:
                raise IntegrityFailed(f"There are more than {ROTATIONS_MAX} keys.")
            self.rotations[self.entries] = record.note or ""
            self.wanted.add(self.entries + 1)

    def mark(self, size: int) -> None:
        """Keep what was asked for of a log of this size."""
        self.grow()
        if size - 1 in self.indexes:
            self.digests[size - 1] = self.digest
        if size in self.sizes or size - 1 in self.rotations:
            self.roots[size] = self.tree.root()

    def grow(self) -> None:
        """Bring the tree up to the last entry."""
        self.tree.extend(self.waiting)
        self.waiting.clear()

    def report(self, problem: str = "") -> AuditReport:
        """What was found."""
        self.grow()
        return AuditReport(
            origin=self.origin,
            entries=self.entries,
            last_digest=self.digest,
            root=self.tree.root(),
            outcomes={s.decode(errors="replace"): self.outcomes[s] for s in sorted(self.outcomes)},
            interrupted=self.interrupted,
            repairs=self.repairs,
            open_attempts=tuple(self.attempts),
            rotations=self.rotations,
            roots=self.roots,
            digests=self.digests,
            problem=problem,
            problem_index=self.entries if problem else None,
        )

"""The end of a log as its writer knows it: what the next entry must be, and what the tree lacks.

A writer that is alone with its log needs no more than this between two entries. Nothing here
stores anything: what :meth:`Ledger.draw_up` returns counts once it is durable.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from nbgov.core.audit.entry import GENESIS_DIGEST, Entry, decode, encode
from nbgov.core.audit.merkle import Frontier, leaf_digest, node_place
from nbgov.errors import IntegrityFailed
from nbgov.model import Receipt, Record

CLOCK_SLACK = timedelta(seconds=1)
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


class Ledger:
    """The last entry of a log, and the right edge of its tree.

    Args:
        origin: Name of the log.
        frontier: The tree over the entries that there are; none by default.
        last: The last of them.

    Raises:
        IntegrityFailed: The last entry is not the last one of the tree (``audit-broken``).

    Attributes:
        fresh: Nodes of the tree that became complete since somebody last emptied the list, in the
            order of storage.

    Example:
        >>> from datetime import UTC, datetime
        >>> from nbgov.model import RecordKind
        >>> record = Record(RecordKind.VOTE, datetime(2026, 1, 2, tzinfo=UTC), "r", "s")
        >>> line, receipt = Ledger("log").draw_up(record)
        >>> Ledger("log").take(line).digest == receipt.entry_digest
        True
    """

    def __init__(
        self, origin: str, *, frontier: Frontier | None = None, last: Entry | None = None
    ) -> None:
        self.origin = origin
        self.frontier = frontier or Frontier()
        self.last = last
        self.fresh: list[bytes] = []
        if (last.origin, last.index) != (origin, self.size - 1) if last else self.size:
            raise IntegrityFailed("its last entry is not the last one of its tree")

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.frontier.size

    def draw_up(self, record: Record) -> tuple[bytes, Receipt]:
        """The next entry, which states a record; its time is not before that of the last one.

        Raises:
            RuntimeError: The record cannot be kept. Nothing has changed then.
        """
        last = self.last
        if last is not None and record.at < last.record.at:
            record = replace(record, at=last.record.at)
        index, prev = self.size, self.digest
        line = encode(record, origin=self.origin, index=index, prev_digest=prev)
        self.advance(Entry(self.origin, index, prev, record, leaf_digest(line)))
        return line, Receipt(self.origin, index, self.digest)

    def take(self, line: bytes) -> Entry:
        """Take in the next entry as it was stored.

        Raises:
            IntegrityFailed: It is no entry, or not the one that comes next (``audit-broken``).
        """
        entry = decode(line)
        place = (entry.origin, entry.index, entry.prev_digest)
        if place != (self.origin, self.size, self.digest):
            raise IntegrityFailed("its entries do not follow from one another")
        self.advance(entry)
        return entry

    @property
    def digest(self) -> bytes:
        """The digest of the last entry."""
        return self.last.digest if self.last else GENESIS_DIGEST

    def advance(self, entry: Entry) -> None:
        """Make an entry the last one."""
        self.last = entry
        self.fresh += self.frontier.add(entry.digest)


class ClockWatch:
    """Notices that a clock went back; the times of entries never do.

    Example:
        >>> at = datetime(2026, 1, 2, 3)
        >>> watch = ClockWatch()
        >>> watch.told(at, newest=at + timedelta(hours=1))
        'the clock says 2026-01-02T03:00:00Z, the entry before this one says 2026-01-02T04:00:00Z'
        >>> watch.told(at, newest=at + timedelta(hours=1))  # Each jump is told once.
        ''
    """

    def __init__(self) -> None:
        self.lag = timedelta(0)

    def told(self, now: datetime, *, newest: datetime) -> str:
        """What an entry should say of the clock; empty where there is nothing new to say."""
        lag, known = newest - now, self.lag
        is_jump = lag > known + CLOCK_SLACK
        self.lag = lag if is_jump else min(known, max(lag, timedelta(0)))
        if not is_jump:
            return ""
        return f"the clock says {now:{MOMENT}}, the entry before this one says {newest:{MOMENT}}"


def edge_places(size: int) -> list[int]:
    """Where the nodes at the right edge of a tree are kept, the largest subtree first."""
    levels = [level for level in range(size.bit_length()) if size >> level & 1]
    return [node_place(level, (size >> level) - 1) for level in reversed(levels)]

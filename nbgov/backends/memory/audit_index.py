"""The index of the audit log in RAM: the plain meaning of a query, entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from nbgov.core.audit.index import SHARED, Extent, Reader, Row
from nbgov.core.audit.query import IDS, Query, is_in_time, meets, traits
from nbgov.ports.indexes import Hit

if TYPE_CHECKING:
    from nbgov.ports import Evidence


class MemoryAuditIndex:
    """An :class:`~nbgov.ports.AuditIndex` in a list."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.extent = Extent()

    def fill(self, log: Evidence, told: Callable[[int], None]) -> str:
        """Take in what the log holds and the index does not.

        Raises:
            IntegrityFailed: The entries do not follow from one another (code ``audit-broken``).
        """
        remark = ""
        last = self.extent.entries - 1
        if not self.extent.is_of(next(log.entries(max(last, 0)), None)):
            self.forget()
            remark = f"Entry {last} of the log is not the one that the index was made of."
        reader = Reader(self.extent, lambda number: next(log.entries(number), b""))
        for line in log.entries(self.extent.entries):
            self.rows.append(reader.take(line))
            self.extent = reader.extent
        told(len(self.rows))
        return remark

    def find(self, query: Query, *, beyond: int | None, count: int) -> list[Hit]:
        """Entries that a query means, in its order."""
        found = [Hit(row.number, row.digest) for row in self.rows if is_met(query, row)]
        if not query.oldest_first:
            found.reverse()
        behind = [hit for hit in found if beyond is None or is_behind(query, hit.number, beyond)]
        return behind[:count]

    def count(self, query: Query) -> int:
        """How many entries a query means."""
        return sum(is_met(query, row) for row in self.rows)

    def forget(self) -> None:
        """Empty the index."""
        self.rows, self.extent = [], Extent()

    def close(self) -> None:
        """Do nothing."""


def is_met(query: Query, row: Row) -> bool:
    """Whether a query means the entry of a row."""
    fields = dict(zip((*SHARED, *IDS), (*row.shared, *row.ids), strict=True))
    return is_in_time(query, datetime.fromisoformat(row.at)) and meets(query, traits(fields))


def is_behind(query: Query, number: int, beyond: int) -> bool:
    """Whether an entry comes behind another one in the order of a query."""
    return number > beyond if query.oldest_first else number < beyond

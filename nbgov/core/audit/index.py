"""What an index of the audit log keeps of each entry.

An index is never evidence: whoever shows an entry reads it back from the log and compares its
digest. So this reads a line quickly, and leaves it to :func:`~nbgov.core.audit.decode` to be
strict. That the entries follow from one another is checked, as an index of anything else would
answer for a log that does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from nbgov.core.audit.entry import GENESIS_DIGEST
from nbgov.core.audit.merkle import leaf_digest
from nbgov.core.audit.query import FIELDS, IDS
from nbgov.errors import IntegrityFailed

# Attempts whose facts are at hand for the entries that close them; others are read again.
ATTEMPTS_HELD_MAX = 10_000
SHARED = tuple(name for name in FIELDS if name not in IDS)


class Row(NamedTuple):
    """What an index keeps of an entry.

    Attributes:
        number: Index of the entry.
        digest: Digest of its bytes.
        at: Its time, as it is stored: such texts sort as the moments do.
        shared: The fields in :data:`SHARED`, which many entries have in common.
        ids: The fields in :data:`~nbgov.core.audit.query.IDS`.
    """

    number: int
    digest: bytes
    at: str
    shared: tuple[str | tuple[str, ...] | None, ...]
    ids: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """How far an index goes.

    Attributes:
        entries: How many entries it holds, from the first one on.
        origin: Name of the log, empty while there is no entry.
        digest: Digest of the last entry.
        at: Time of the last entry.
    """

    entries: int = 0
    origin: str = ""
    digest: bytes = GENESIS_DIGEST
    at: str = ""

    def is_of(self, line: bytes | None) -> bool:
        """Whether its last entry is the one with these stored bytes."""
        return self.entries == 0 or (line is not None and leaf_digest(line) == self.digest)


class Reader:
    """Reads the lines of a log, one after the other.

    Args:
        extent: What was read before.
        line_of: The stored bytes of an earlier entry.
    """

    def __init__(self, extent: Extent, line_of: Callable[[int], bytes]) -> None:
        self.extent = extent
        self.line_of = line_of
        self.attempts: dict[int, dict[str, Any]] = {}

    def take(self, line: bytes) -> Row:
        """The row of the next entry.

        Raises:
            IntegrityFailed: It is no entry, or not the one that follows (code ``audit-broken``).
        """
        last = self.extent
        try:
            entry = json.loads(line)
            fields, number, origin = entry["record"], entry["index"], entry["origin"]
            place = number, entry["prev"], last.origin or origin
            if place != (last.entries, last.digest.hex(), origin) or fields["at"] < last.at:
                raise broken(last.entries, "it does not follow from the entry before")
            row = self.row(number, leaf_digest(line), fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise broken(last.entries, "its line is no entry") from None
        self.extent = Extent(number + 1, origin, row.digest, row.at)
        return row

    def row(self, number: int, digest: bytes, fields: dict[str, Any]) -> Row:
        """The row of an entry, joined with the attempt that it closes."""
        attempt = fields.get("attempt")
        if fields["kind"] == "attempt":
            self.hold(number, fields)
        elif attempt is not None:
            before = self.attempts.pop(attempt, None)
            if before is None:
                before = json.loads(self.line_of(attempt))["record"]
            fields = before | fields
        return Row(
            number,
            digest,
            fields["at"],
            tuple(map(hashable, map(fields.get, SHARED))),
            tuple(map(fields.get, IDS)),
        )

    def hold(self, number: int, fields: dict[str, Any]) -> None:
        """Keep the facts of an attempt for the entry that closes it."""
        if len(self.attempts) >= ATTEMPTS_HELD_MAX:
            del self.attempts[next(iter(self.attempts))]
        self.attempts[number] = fields


def hashable(value: Any) -> Any:
    """A field as a key can hold it."""
    return tuple(value) if isinstance(value, list) else value


def broken(number: int, why: str) -> IntegrityFailed:
    """The error of a log that does not add up at an entry."""
    return IntegrityFailed(
        f"The audit log does not add up at entry {number}.",
        why=why,
        next_step="look at what nbgov audit verify says, and keep the state folder as it is",
    )

"""What finds entries of the audit log. Never evidence, and made anew whenever that is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from nbgov.core.audit.query import Query
    from nbgov.ports.people import Evidence


class Hit(NamedTuple):
    """An entry that an index found: its number, and the digest that it had when it was read."""

    number: int
    digest: bytes


class AuditIndex(Protocol):
    """An index of one audit log. Several processes may fill and ask it at once."""

    def fill(self, log: Evidence, told: Callable[[int], None]) -> str:
        """Take in what the log holds and the index does not; what was taken in stays.

        An index that does not belong to the log is emptied first.

        Args:
            log: The log.
            told: Called with the number of entries that the index holds, now and then.

        Returns:
            Why the index was emptied, one sentence; empty where it was not.

        Raises:
            IntegrityFailed: The entries do not follow from one another (code ``audit-broken``).
            BackendFailed: The log or the index cannot be read or written.
        """
        ...

    def find(self, query: Query, *, beyond: int | None, count: int) -> list[Hit]:
        """Entries that a query means, in its order, whatever its limit is.

        Args:
            query: What is looked for.
            beyond: The entry behind which to go on, or ``None`` to begin.
            count: Entries at most.
        """
        ...

    def count(self, query: Query) -> int:
        """How many entries a query means, whatever its limit is."""
        ...

    def forget(self) -> None:
        """Empty the index."""
        ...

    def close(self) -> None:
        """Let go of the index. Callable more than once."""
        ...

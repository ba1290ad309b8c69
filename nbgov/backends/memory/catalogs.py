"""How the contents of connections evolved, in RAM."""

from __future__ import annotations

from dataclasses import replace

from nbgov.backends.memory.faults import Faults
from nbgov.model import CatalogVersion


class MemoryCatalogStore:
    """A :class:`~nbgov.ports.CatalogStore` in a dict.

    ``faults`` knows the operations ``last`` and ``add``.

    Attributes:
        kept: The versions by connection, oldest first.
    """

    def __init__(self) -> None:
        self.kept: dict[str, list[CatalogVersion]] = {}
        self.faults = Faults()

    def last(self, connection: str) -> CatalogVersion | None:
        """The newest version of a connection, or ``None`` where it was never seen."""
        with self.faults.around("last", code="state-unavailable"):
            return next(iter(self.versions(connection)), None)

    def add(self, version: CatalogVersion) -> None:
        """Keep a version under the number that follows the newest one, unless it is that one."""
        with self.faults.around("add", code="state-unavailable"):
            kept = self.kept.setdefault(version.connection, [])
            if not kept or kept[-1].digest != version.digest:
                kept.append(replace(version, number=len(kept) + 1))

    def versions(self, connection: str) -> tuple[CatalogVersion, ...]:
        """Versions kept of a connection, newest first."""
        return tuple(reversed(self.kept.get(connection, [])))

    def close(self) -> None:
        """Keep everything: what is in RAM has nothing to let go of."""

"""Where it is kept how the contents of connections evolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nbgov.model import CatalogVersion


class CatalogStore(Protocol):
    """Keeps what each connection was seen to hold, version by version. What is kept stays."""

    def last(self, connection: str) -> CatalogVersion | None:
        """The newest version of a connection, or ``None`` where it was never seen.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """
        ...

    def add(self, version: CatalogVersion) -> None:
        """Keep a version under the number that follows the newest one.

        One with the digest of the newest version is left out: somebody else kept it meanwhile.

        Raises:
            BackendFailed: It cannot be kept (code ``state-unavailable``).
        """
        ...

    def versions(self, connection: str) -> tuple[CatalogVersion, ...]:
        """Versions kept of a connection, newest first.

        Raises:
            BackendFailed: They cannot be read (code ``state-unavailable``).
        """
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...

"""The requests of a session that have not got their rows yet, so that a cancel is never lost.

An engine can only stop what it runs. A request that is still being understood, or that waits for a
connection, is stopped here; a write that slipped through in between is rolled back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nbgov.core.transfer import failure

if TYPE_CHECKING:
    from nbgov.model import Request


class Running:
    """The named requests of one session that run now."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.stopped: set[str] = set()

    @contextmanager
    def named(self, request: Request) -> Iterator[None]:
        """While a request runs; a name that was stopped is free again afterwards."""
        # Whether it is a text at all is not known yet.
        name = request.id if isinstance(request.id, str) else ""
        self.names[name] += 1
        try:
            yield
        finally:
            self.names[name] -= 1
            if self.names[name] <= 0:
                del self.names[name]
                self.stopped.discard(name)

    def stop(self, name: str) -> None:
        """Let a request go no further. For any thread."""
        if name and name in self.names:
            self.stopped.add(name)

    def check(self, request: Request) -> None:
        """Go no further with a request that was stopped.

        Raises:
            BackendFailed: It was (``cancelled``).
        """
        if request.id in self.stopped:
            raise failure(request.connection, "cancelled")

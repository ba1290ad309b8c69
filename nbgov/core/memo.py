"""A bounded memory of pure results, so that a cell that runs again is not understood again.

Security: a key must hold everything that the result depends on, the policy's digest and the catalog
among it; a shorter key would be a way around the policy. An object without a value of its own, such
as a catalog, is held by identity, and kept alive so that no other can take its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

ENTRIES_MAX = 512

T = TypeVar("T")


class Memo:
    """The latest results, by key.

    Example:
        >>> memo = Memo()
        >>> world = object()
        >>> [memo.recall(("double", 2), world, lambda: print("made") or 4) for _ in range(2)]
        made
        [4, 4]
    """

    def __init__(self, *, entries_max: int = ENTRIES_MAX) -> None:
        self.entries_max = entries_max
        self.held: dict[Hashable, tuple[object, object]] = {}

    def recall(self, key: tuple[Hashable, ...], world: object, make: Callable[[], T]) -> T:
        """The result for a key in a world, made anew if it is not held for that very world."""
        # Each step is one atomic operation of the dict, since threads may share a session.
        found = self.held.pop(key, None)
        if found is None or found[0] is not world:
            found = (world, make())
        self.held[key] = found
        while len(self.held) > self.entries_max:
            self.held.pop(next(iter(self.held), key), None)
        return found[1]  # type: ignore[return-value]  # what ``make`` gave for this key

"""A detector that tells how far it is in a part of a file, for the one bar over the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nbgov.pii.scanning import Scanner

__all__ = ["Watched"]


class Watched(Scanner):
    """A scanner that shows no bar of its own.

    Args:
        scanner: What finds.
        show: Hears how many of how many values have been read, now and then.
    """

    def __init__(self, scanner: Scanner, show: Callable[[int, int], None]) -> None:
        super().__init__(scanner.detector, reads="text")
        self.show = show

    @contextmanager
    def bar(self, total: int, label: str) -> Iterator[Any]:  # noqa: ARG002 - names stay unsaid.
        """Counts in place of a bar."""
        yield Count(total, self.show)


class Count:
    """Counts up to a total, as a bar does."""

    disable = False

    def __init__(self, total: int, show: Callable[[int, int], None]) -> None:
        self.total = total
        self.show = show
        self.done = 0

    def update(self, count: int) -> None:
        """Count so many more."""
        self.done += count
        self.show(self.done, self.total)

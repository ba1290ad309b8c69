"""What a process of the gateway counts, for its metrics. Nobody's name is ever counted by."""

from __future__ import annotations

import threading
from collections.abc import Mapping

Labels = tuple[tuple[str, str], ...]


class Tally:
    """Sums by name and labels, for any thread.

    Example:
        >>> tally = Tally()
        >>> tally.add("logins", audience="nbgov-data")
        >>> tally.sums()
        {'logins': {(('audience', 'nbgov-data'),): 1}}
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: dict[str, dict[Labels, float]] = {}

    def add(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a sum. Labels must come from a small set that no request can widen."""
        key = tuple(sorted(labels.items()))
        with self.lock:
            sums = self.held.setdefault(name, {})
            sums[key] = sums.get(key, 0) + amount

    def sums(self) -> Mapping[str, Mapping[Labels, float]]:
        """Every sum as it is now."""
        with self.lock:
            return {name: dict(sums) for name, sums in self.held.items()}

"""Releases of models in RAM."""

from __future__ import annotations

from nbgov.backends.memory.faults import Faults
from nbgov.model import Release


class MemoryReleaseStore:
    """A :class:`~nbgov.ports.ReleaseStore` in a list.

    ``faults`` knows the operations ``add`` and ``releases``.

    Attributes:
        kept: The releases, oldest first.
    """

    def __init__(self) -> None:
        self.kept: list[Release] = []
        self.faults = Faults()

    def add(self, release: Release) -> None:
        """Keep a release."""
        with self.faults.around("add", code="state-unavailable"):
            self.kept.append(release)

    def releases(self, model: str = "") -> tuple[Release, ...]:
        """Releases kept, newest first; of one model, or of all."""
        with self.faults.around("releases", code="state-unavailable"):
            return tuple(one for one in reversed(self.kept) if model in {"", one.model})

    def close(self) -> None:
        """Keep everything: what is in RAM has nothing to let go of."""

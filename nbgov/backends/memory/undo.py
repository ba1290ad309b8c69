"""What rows were before approved writes, in RAM."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from nbgov.backends.memory.faults import Faults
from nbgov.model import UndoImage


class MemoryUndoStore:
    """An :class:`~nbgov.ports.UndoStore` in a dict. ``faults`` knows the operation ``keep``."""

    def __init__(self) -> None:
        self.held: dict[str, UndoImage] = {}
        self.faults = Faults()

    def keep(self, image: UndoImage) -> None:
        """Keep an image."""
        with self.faults.around("keep", code="state-unavailable"):
            self.held[image.request] = image

    def image(self, request: str) -> UndoImage | None:
        """The image of the write with this request id, unless it was dropped."""
        return self.held.get(request)

    def images(self) -> tuple[UndoImage, ...]:
        """Every image that is kept, newest first, without its sealed rows."""
        return tuple(replace(image, sealed="") for image in reversed(self.held.values()))

    def drop(self, *, before: datetime) -> int:
        """Forget the images that expired before a moment; say how many."""
        expired = [name for name, image in self.held.items() if image.expires_at < before]
        for name in expired:
            del self.held[name]
        return len(expired)

    def close(self) -> None:
        """Nothing is open."""

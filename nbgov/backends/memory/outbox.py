"""Messages on their way, in RAM."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from nbgov.backends.memory.faults import Faults
from nbgov.model import Parcel


class MemoryOutbox:
    """An :class:`~nbgov.ports.Outbox` in a dict.

    ``faults`` knows the operations ``put``, ``claim`` and ``settle``.

    Attributes:
        kept: Each message with the moment of its next try, by its name and receiver.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[Parcel, datetime]] = {}
        self.lock = threading.Lock()
        self.faults = Faults()

    def put(self, parcels: Sequence[Parcel]) -> None:
        """Keep messages."""
        with self.faults.around("put", code="state-unavailable"), self.lock:
            for one in parcels:
                self.kept[one.id, one.target] = (one, one.made_at)

    def claim(self, target: str, *, now: datetime, until: datetime) -> Parcel | None:
        """The oldest message to a receiver whose time has come, put off until a moment."""
        with self.faults.around("claim", code="state-unavailable"), self.lock:
            for key, (parcel, due_at) in self.kept.items():
                if parcel.target == target and due_at <= now:
                    claimed = replace(parcel, tries=parcel.tries + 1)
                    self.kept[key] = (claimed, until)
                    return claimed
        return None

    def settle(self, parcel: Parcel, *, again_at: datetime | None = None, why: str = "") -> None:
        """Forget a message that was claimed, or keep it for another try."""
        key = parcel.id, parcel.target
        with self.faults.around("settle", code="state-unavailable"), self.lock:
            if again_at is None:
                self.kept.pop(key, None)
            elif key in self.kept and self.kept[key][0].tries == parcel.tries:
                self.kept[key] = (replace(self.kept[key][0], why=why), again_at)

    def waiting(self) -> tuple[Parcel, ...]:
        """Every message that is kept, oldest first, without its body."""
        with self.lock:
            return tuple(replace(parcel, body="") for parcel, _ in self.kept.values())

    def close(self) -> None:
        """Nothing is held open."""

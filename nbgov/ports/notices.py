"""Who is told of tickets, and how a message survives until it has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nbgov.model import Answer, Notice, Parcel


class Notifier(Protocol):
    """Tells people of tickets. It never blocks, never raises, and loses nothing that it took."""

    def start(self) -> None:
        """Send what earlier sessions left behind, from a thread of its own."""
        ...

    def tell(self, notice: Notice) -> None:
        """Take a notice; it is sent from a thread of its own, and again until it arrives."""
        ...

    def close(self) -> None:
        """Stop sending. What has not arrived goes out when the next notifier starts."""
        ...


class Courier(Protocol):
    """Brings messages to one receiver."""

    def deliver(self, parcel: Parcel, *, at: datetime) -> Answer:
        """Try to bring a message, once and within seconds, and say what came of it. Never raises.

        Args:
            parcel: The message.
            at: The time.
        """
        ...


class Outbox(Protocol):
    """Keeps messages until they have arrived or were given up."""

    def put(self, parcels: Sequence[Parcel]) -> None:
        """Keep messages; they are durable when this returns.

        Raises:
            BackendFailed: They cannot be kept (code ``state-unavailable``).
        """
        ...

    def claim(self, target: str, *, now: datetime, until: datetime) -> Parcel | None:
        """The oldest message to a receiver whose time has come; the try counts from now on.

        Nobody else gets it before ``until``, by when the sender has settled it or died.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """
        ...

    def settle(self, parcel: Parcel, *, again_at: datetime | None = None, why: str = "") -> None:
        """Forget a message that was claimed, or keep it for another try at a later moment.

        Args:
            parcel: The message, as it was claimed. Nothing is put off that was claimed again since.
            again_at: When to try again; ``None`` forgets it.
            why: What this try met.

        Raises:
            BackendFailed: It cannot be written (code ``state-unavailable``).
        """
        ...

    def waiting(self) -> tuple[Parcel, ...]:
        """Every message that is kept, oldest first, without its body."""
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...

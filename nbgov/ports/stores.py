"""What is kept: approvals, dataset versions, releases, and rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from nbgov.model import Approval, DatasetVersion, Delivery, Release, UndoImage


class ApprovalStore(Protocol):
    """Keeps approvals; every transition is a compare-and-swap on the whole ticket.

    The rules of a transition live in :mod:`nbgov.core.approval`; the store makes them atomic, and
    holds the ones that a schema can hold against whoever gets past that module.
    """

    def now(self, at: datetime) -> datetime:
        """The store's own time: ``at``, or the latest moment it was ever told, if that is later.

        It is durable when this returns, so that a clock set back revives no consent.
        """
        ...

    def open(self, approval: Approval) -> Approval:
        """Keep a new ticket, or return the live one with the same binding."""
        ...

    def get(self, ticket: str) -> Approval | None:
        """The approval behind a ticket."""
        ...

    def find(self, binding_digest: bytes) -> Approval | None:
        """The latest approval that is bound to exactly this request, in whatever state."""
        ...

    def swap(self, before: Approval, after: Approval) -> bool:
        """Replace ``before`` by ``after`` unless it changed meanwhile; say whether it was done.

        Raises:
            IntegrityFailed: The step is none that a ticket can take (``ticket-forged``).
        """
        ...

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        ...

    def history(self, *, limit: int) -> tuple[Approval, ...]:
        """The tickets that were opened last, in whatever state, newest first."""
        ...

    def unreviewed(self, requester: str) -> tuple[Approval, ...]:
        """Tickets that a principal used without votes and that nobody looked at yet."""
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...


class UndoStore(Protocol):
    """Keeps what rows were before an approved write, sealed, until it expires."""

    def keep(self, image: UndoImage) -> None:
        """Keep an image; it is durable when this returns, and only then is the write committed.

        Raises:
            BackendFailed: It cannot be kept (code ``state-unavailable``).
        """
        ...

    def image(self, request: str) -> UndoImage | None:
        """The image of the write with this request id, unless it was dropped."""
        ...

    def images(self) -> tuple[UndoImage, ...]:
        """Every image that is kept, newest first, without its sealed rows."""
        ...

    def drop(self, *, before: datetime) -> int:
        """Forget the images that expired before a moment; say how many."""
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...


class DatasetStore(Protocol):
    """Keeps dataset versions and who read them."""

    def put(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Keep a version (once) and its delivery. A kept version without a profile learns it."""
        ...

    def describe(self, version_id: str, profile: Mapping[str, Any]) -> None:
        """Keep the profile of a version that was kept without one."""
        ...

    def version(self, version_id: str) -> DatasetVersion | None:
        """The version with this id."""
        ...

    def delivery(self, read_id: str) -> Delivery | None:
        """The delivery with this id."""
        ...

    def versions(self, name: str = "") -> tuple[DatasetVersion, ...]:
        """Versions kept, newest first; of one dataset, or of all."""
        ...

    def deliveries(self, name: str = "") -> tuple[Delivery, ...]:
        """Deliveries kept, newest first; of one dataset, or of all."""
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...


class ReleaseStore(Protocol):
    """Keeps which model versions a gate let pass. What is kept stays."""

    def add(self, release: Release) -> None:
        """Keep a release."""
        ...

    def releases(self, model: str = "") -> tuple[Release, ...]:
        """Releases kept, newest first; of one model, or of all."""
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...


class FactStore(Protocol):
    """Keeps what the log said last about nbgov itself, so that a change is told from the same."""

    def fact(self, name: str) -> str:
        """What was kept last under a name; empty where nothing was."""
        ...

    def keep_fact(self, name: str, text: str) -> None:
        """Keep a text under a name, in the place of the one before."""
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...


class RowDraft(Protocol):
    """Rows on their way into a :class:`RowStore`; nobody can read them before they are kept."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch.

        Raises:
            BackendFailed: They cannot be written (code ``rows-not-kept``).
        """
        ...

    def keep(self, key: str) -> None:
        """Keep the rows under a key, whole or not at all; rows that were kept under it stay.

        Raises:
            BackendFailed: They cannot be kept (code ``rows-not-kept``).
        """
        ...

    def discard(self) -> None:
        """Forget rows that were not kept. Callable more than once, and never raises."""
        ...


class RowStore(Protocol):
    """Keeps the delivered, masked rows of dataset versions, so that a run can be replayed.

    A key is made of the version by :func:`nbgov.core.datasets.rows_key`. Whether rows are still
    those of the version is for whoever reads them to check.
    """

    def draft(self, schema: pa.Schema) -> RowDraft:
        """Room for the rows of one result.

        Raises:
            BackendFailed: There is none (code ``rows-not-kept``).
        """
        ...

    def holds(self, key: str) -> bool:
        """Whether rows are kept under this key."""
        ...

    def read(self, key: str) -> pa.Table | None:
        """The rows that were kept under this key, or ``None`` where none are.

        Raises:
            BackendFailed: They cannot be read (code ``state-unavailable``).
        """
        ...

"""Approvals, datasets and their rows in RAM."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from nbgov.backends.memory.faults import Faults
from nbgov.core.approval import LIVE, expire, folded, forged, moments, require_fresh, require_step
from nbgov.errors import BackendFailed
from nbgov.model import Approval, DatasetVersion, Delivery


class MemoryApprovalStore:
    """An :class:`~nbgov.ports.ApprovalStore` in a dict.

    ``faults`` knows the operations ``open``, ``find`` and ``swap``.
    """

    def __init__(self) -> None:
        self.approvals: dict[str, Approval] = {}
        self.latest_at = datetime.min.replace(tzinfo=UTC)
        self.lock = threading.RLock()
        self.faults = Faults()

    def now(self, at: datetime) -> datetime:
        """The store's own time: ``at``, or the latest moment it was ever told."""
        self.latest_at = max(self.latest_at, at)
        return self.latest_at

    def open(self, approval: Approval) -> Approval:
        """Keep a new ticket, or return the live one with the same binding.

        Raises:
            IntegrityFailed: It was voted on or used, or its name is taken (``ticket-forged``).
        """
        require_fresh(approval)
        with self.lock, self.faults.around("open", code="state-unavailable"):
            now = self.now(approval.requested_at)
            found = self.latest(approval.binding_digest)
            if found is not None and found.state in LIVE:
                current = expire(found, now)
                if current.state in LIVE:
                    return found
                self.approvals[found.ticket] = current
            if approval.ticket in self.approvals:
                raise forged(approval.ticket)
            self.approvals[approval.ticket] = approval
        return approval

    def get(self, ticket: str) -> Approval | None:
        """The approval behind a ticket."""
        return self.approvals.get(ticket)

    def find(self, binding_digest: bytes) -> Approval | None:
        """The latest approval that is bound to exactly this request, in whatever state."""
        with self.faults.around("find", code="state-unavailable"):
            return self.latest(binding_digest)

    def swap(self, before: Approval, after: Approval) -> bool:
        """Replace ``before`` by ``after`` if nobody changed it meanwhile; say whether it was done.

        Raises:
            IntegrityFailed: The step is none that a ticket can take (``ticket-forged``).
        """
        with self.lock, self.faults.around("swap", code="state-unavailable"):
            now = self.now(max(moments(after)))
            found = self.approvals.get(before.ticket)
            if found is None or before not in (found, expire(found, now)):
                return False
            require_step(before, after, now)
            is_break = before.emergency is None and after.emergency is not None
            # Security: somebody looks at the last time before the glass is broken again.
            if is_break and self.unreviewed(after.requester):
                raise forged(before.ticket)
            self.approvals[before.ticket] = after
        return True

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        return tuple(approval for approval in self.approvals.values() if approval.state in LIVE)

    def history(self, *, limit: int) -> tuple[Approval, ...]:
        """The tickets that were opened last, newest first."""
        return tuple(self.approvals.values())[::-1][:limit]

    def unreviewed(self, requester: str) -> tuple[Approval, ...]:
        """Tickets that a principal used without votes and that nobody looked at yet."""
        return tuple(
            one
            for one in self.approvals.values()
            if folded(one.requester) == folded(requester)
            and one.emergency is not None
            and not one.emergency.is_reviewed
        )

    def close(self) -> None:
        """Nothing is held open."""

    def latest(self, binding_digest: bytes) -> Approval | None:
        """The ticket that was opened last for a binding."""
        found = [a for a in self.approvals.values() if a.binding_digest == binding_digest]
        return found[-1] if found else None


class MemoryDatasetStore:
    """A :class:`~nbgov.ports.DatasetStore` in two dicts.

    ``faults`` knows the operation ``put``.
    """

    def __init__(self) -> None:
        self.kept: dict[str, DatasetVersion] = {}
        self.reads: dict[str, Delivery] = {}
        self.faults = Faults()

    def put(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Keep a version (once) and its delivery."""
        with self.faults.around("put", code="state-unavailable"):
            if self.reads.get(delivery.read_id, delivery) != delivery:
                raise BackendFailed("The delivery differs.", code="state-unavailable")
            self.kept.setdefault(version.version_id, version)
            self.reads[delivery.read_id] = delivery
            self.describe(version.version_id, version.profile)

    def describe(self, version_id: str, profile: Mapping[str, Any]) -> None:
        """Keep the profile of a version that was kept without one."""
        known = self.kept.get(version_id)
        if known is not None and not known.profile:
            self.kept[version_id] = replace(known, profile=profile)

    def version(self, version_id: str) -> DatasetVersion | None:
        """The version with this id."""
        return self.kept.get(version_id)

    def delivery(self, read_id: str) -> Delivery | None:
        """The delivery with this id."""
        return self.reads.get(read_id)

    def versions(self, name: str = "") -> tuple[DatasetVersion, ...]:
        """Versions kept, newest first; of one dataset, or of all."""
        newest_first = reversed(self.kept.values())
        return tuple(version for version in newest_first if name in {"", version.name})

    def deliveries(self, name: str = "") -> tuple[Delivery, ...]:
        """Deliveries kept, newest first; of one dataset, or of all."""
        newest_first = reversed(self.reads.values())
        return tuple(delivery for delivery in newest_first if name in {"", delivery.name})

    def close(self) -> None:
        """Nothing is held open."""


class MemoryRowStore:
    """A :class:`~nbgov.ports.RowStore` in a dict.

    ``faults`` knows the operations ``draft``, ``write``, ``keep`` and ``read``.

    Attributes:
        kept: The rows by their key; a test may damage them.
    """

    def __init__(self) -> None:
        self.kept: dict[str, pa.Table] = {}
        self.faults = Faults()

    def draft(self, schema: pa.Schema) -> MemoryRowDraft:
        """Room for the rows of one result."""
        with self.faults.around("draft", code="rows-not-kept"):
            return MemoryRowDraft(self, schema)

    def holds(self, key: str) -> bool:
        """Whether rows are kept under this key."""
        return key in self.kept

    def read(self, key: str) -> pa.Table | None:
        """The rows that were kept under this key, or ``None``."""
        with self.faults.around("read", code="state-unavailable"):
            return self.kept.get(key)


class MemoryRowDraft:
    """A :class:`~nbgov.ports.RowDraft` in a list."""

    def __init__(self, store: MemoryRowStore, schema: pa.Schema) -> None:
        self.store = store
        self.schema = schema
        self.batches: list[pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch."""
        with self.store.faults.around("write", code="rows-not-kept"):
            self.batches.append(batch)

    def keep(self, key: str) -> None:
        """Keep the rows under a key."""
        with self.store.faults.around("keep", code="rows-not-kept"):
            table = pa.Table.from_batches(self.batches, self.schema)
            self.store.kept.setdefault(key, table)

    def discard(self) -> None:
        """Forget the rows."""
        self.batches = []

"""All that the pipeline needs from the world, on one page.

A port is a Protocol with at least two implementations in use; one of them is always
:mod:`nbgov.backends.memory`. Implementations translate the errors of their product into
:class:`~nbgov.errors.BackendFailed` at their edge, with ``raise ... from``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.core.masks import Keys
    from nbgov.model import (
        Approval,
        Catalog,
        Clearance,
        DatasetVersion,
        Delivery,
        EngineOpinion,
        Principal,
        Receipt,
        Record,
        Run,
    )  # fmt: skip


class Stream(Protocol):
    """Batches of an executed statement, in order, with the transaction behind them.

    Iterating to the end commits (a write) or ends (a read) the transaction; ``close`` before the
    end rolls back. ``rows_affected`` is known for a write once the stream exists; ``is_truncated``
    holds once the end is reached, if the clearance's ``rows_max`` cut rows off.
    """

    schema: pa.Schema
    rows_affected: int | None
    is_truncated: bool

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Batches of at most 65,536 rows."""
        ...

    def cancel(self) -> None:
        """Ask the product to stop. Callable from another thread, and more than once."""
        ...

    def close(self) -> None:
        """Release the transaction. Callable more than once."""
        ...


class Engine(Protocol):
    """A source of data."""

    dialect: str

    def catalog(self) -> Catalog:
        """What the source holds now. A backend may cache only what it can prove unchanged."""
        ...

    def inspect(self, sql: str) -> EngineOpinion:
        """The product's own view of a text, without running it or reading data.

        Raises:
            RequestInvalid: The product cannot parse the text.
        """
        ...

    def execute(self, clearance: Clearance) -> Stream:
        """Run what was cleared, once, in one transaction that is read-only for a read.

        Raises:
            BackendFailed: The product failed; the text names no data value.
        """
        ...

    def cancel(self) -> None:
        """Ask the product to stop whatever runs. Callable from another thread."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class Detector(Protocol):
    """Finds entities such as e-mail addresses in text."""

    def detect(
        self,
        values: pa.Array,
        *,
        entities: Sequence[str],
        score_min: float,
        language: str,
        context: Sequence[str] = (),
    ) -> pa.Table:
        """Findings in distinct, non-null strings.

        Args:
            values: The strings.
            entities: What to look for.
            score_min: The lowest score that counts.
            language: The language of the text, as an ISO 639-1 code.
            context: Words that stand beside every value, such as the name of its column.

        Returns:
            Columns ``value`` (int64, index into ``values``), ``entity`` (string), ``start`` and
            ``end`` (int64, characters), ``score`` (double) and ``recognizer`` (string), ordered by
            value.

        Raises:
            BackendFailed: Detection failed for any value; nothing is returned then.
        """
        ...


class IdentityProvider(Protocol):
    """Knows who asks."""

    def identify(self, claim: str | None) -> Principal:
        """The principal behind a claim.

        Raises:
            IdentityFailed: The claim, or the account, is not declared.
        """
        ...


class PolicySource(Protocol):
    """Holds the policy's text."""

    def text(self) -> str:
        """The policy as it stands now.

        Raises:
            ConfigInvalid: It cannot be read.
        """
        ...

    def revision(self) -> str:
        """The commit that the text is of, for people; empty where there is none. Never raises."""
        ...


class ApprovalStore(Protocol):
    """Keeps approvals; every transition is a compare-and-swap on the state.

    The rules of a transition live in :mod:`nbgov.core.approval`; the store makes them atomic.
    """

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
        """Replace ``before`` by ``after`` unless it changed meanwhile; say whether it was done."""
        ...

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
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

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...


@runtime_checkable
class RunStore(Protocol):
    """Knows training runs and shows lineage on them. MLflow is one.

    ``product`` is the name of the product's Python module.
    """

    product: str

    def run(self, run_id: str) -> Run:
        """The run with this id.

        Raises:
            RequestInvalid: There is no such run.
        """
        ...

    def contents(
        self, run_id: str, *, folder: Path, wanted: Callable[[str], bool]
    ) -> Iterator[tuple[str, Sequence[str] | Path | None]]:
        """All that a run holds, for whoever looks for what should not be there.

        Args:
            run_id: The run.
            folder: Where copies of files may be put; whoever asks clears it.
            wanted: Says by its path whether a file is to be fetched.

        Yields:
            First what the run states, such as ``("params", ["depth=3"])``; then each file by its
            path, with a copy on this machine, or ``None`` where it is not wanted.

        Raises:
            RequestInvalid: There is no such run.
            BackendFailed: The product did not answer, or a file cannot be fetched.
        """
        ...

    def is_training(self) -> bool:
        """Whether a run is open that a delivered result is bound to. Never raises."""
        ...

    def delivered(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Hear that a result was delivered; bind it to the active run, if there is one.

        Never raises: a run store that is away must not fail a query.
        """
        ...

    def track(self, delivery: Delivery, *, run_id: str | None, context: str) -> str:
        """Bind a delivery to a run explicitly and return the run's id."""
        ...


class AuditLog(Protocol):
    """An append-only log whose entries are durable when ``append`` returns."""

    def append(self, record: Record) -> Receipt:
        """Make a record durable.

        Raises:
            BackendFailed: It could not be made durable (code ``audit-unavailable``).
        """
        ...

    def recover(self) -> None:
        """Close the attempts whose session died, and repair what a crash left half written.

        Raises:
            BackendFailed: The log cannot be written (code ``audit-unavailable``).
        """
        ...

    def entries(self) -> Iterator[bytes]:
        """The canonical bytes of every entry, oldest first."""
        ...

    def close(self) -> None:
        """Let go of the log. Callable more than once."""
        ...


class Signer(Protocol):
    """Makes keyed digests with a key that the log does not hold."""

    def mac(self, data: bytes) -> bytes:
        """HMAC-SHA256 of the data, 32 bytes."""
        ...


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time, aware, UTC."""
        ...


@dataclass(frozen=True)
class World:
    """Every port together: what a pipeline runs on.

    ``keys`` are the keys of masks, read when the first mask needs them. ``native`` names the schema
    of the masked views of each connection that reads those only.
    """

    engine: Callable[[str], Engine]
    identity: IdentityProvider
    policy: PolicySource
    approvals: ApprovalStore
    datasets: DatasetStore
    audit: AuditLog
    signer: Signer
    clock: Clock
    detector: Detector
    runs: Callable[[], Sequence[RunStore]]
    keys: Callable[[], Keys]
    native: Mapping[str, str] = field(default_factory=dict)

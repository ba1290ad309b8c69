"""All that the pipeline needs from the world, port by port.

A port is a Protocol with at least two implementations in use; one of them is always
:mod:`nbgov.backends.memory`. Implementations translate the errors of their product into
:class:`~nbgov.errors.BackendFailed` at their edge, with ``raise ... from``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from nbgov.ports.catalogs import CatalogStore
from nbgov.ports.indexes import AuditIndex, Hit
from nbgov.ports.logins import GatewayStore
from nbgov.ports.notices import Courier, Notifier, Outbox
from nbgov.ports.people import (
    AuditCopy,
    AuditLog,
    Clock,
    Cosigning,
    Evidence,
    Heads,
    IdentityProvider,
    Mirroring,
    PolicySource,
    Signer,
    Witness,
)
from nbgov.ports.runs import RunStore
from nbgov.ports.sealing import Sealer
from nbgov.ports.sources import Detector, Engine, Stream
from nbgov.ports.stores import (
    ApprovalStore,
    DatasetStore,
    FactStore,
    ReleaseStore,
    RowDraft,
    RowStore,
    UndoStore,
)

if TYPE_CHECKING:
    from nbgov.core.masks import Keys

__all__ = [
    "ApprovalStore",
    "AuditCopy",
    "AuditIndex",
    "AuditLog",
    "CatalogStore",
    "Clock",
    "Cosigning",
    "Courier",
    "DatasetStore",
    "Detector",
    "Engine",
    "Evidence",
    "FactStore",
    "GatewayStore",
    "Heads",
    "Hit",
    "IdentityProvider",
    "Mirroring",
    "Notifier",
    "Outbox",
    "PolicySource",
    "ReleaseStore",
    "RowDraft",
    "RowStore",
    "RowsKept",
    "RunStore",
    "Sealer",
    "Signer",
    "Stream",
    "UndoStore",
    "Witness",
    "World",
]

RowsKept: TypeAlias = Literal["none", "named", "training"]


@dataclass(frozen=True)
class World:
    """Every port together: what a pipeline runs on.

    ``keys`` are the keys of masks, read when the first mask needs them. ``native`` names the schema
    of the masked views of each connection that reads those only. ``rows_kept`` says whose rows go
    into ``rows``: nobody's, those of results that have a name, or also those of results that are
    read while a run is open. Without ``catalogs`` nobody keeps how connections evolve.
    Without a ``sealer`` literals are not kept at all, and without ``facts`` nobody knows what the
    log said last about nbgov itself. ``accounts`` is the database's account of each connection that
    nbgov.yaml names one for, and ``roles`` who runs as which of its roles. ``heads`` is the log
    over the checkpoints of every gateway, where several share a database for their logs, and
    ``mirroring`` keeps the copies of the log. Without ``undo`` and ``undo_sealer`` no write can be
    undone; ``undo_rows_max`` rows of one are kept at most, for ``undo_days`` days. Without a
    ``notifier`` nobody is told of tickets.
    """

    engine: Callable[[str], Engine]
    identity: IdentityProvider
    policy: PolicySource
    approvals: ApprovalStore
    datasets: DatasetStore
    audit: AuditLog
    index: AuditIndex
    signer: Signer
    clock: Clock
    detector: Detector
    runs: Callable[[], Sequence[RunStore]]
    keys: Callable[[], Keys]
    rows: RowStore
    releases: ReleaseStore
    witnesses: Sequence[Witness] = ()
    cosigning: Cosigning | None = None
    native: Mapping[str, str] = field(default_factory=dict)
    rows_kept: RowsKept = "none"
    catalogs: CatalogStore | None = None
    sealer: Sealer | None = None
    facts: FactStore | None = None
    accounts: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    heads: Heads | None = None
    mirroring: Mirroring | None = None
    undo: UndoStore | None = None
    undo_sealer: Sealer | None = None
    undo_rows_max: int = 1_000
    undo_days: int = 30
    notifier: Notifier | None = None

"""All that the pipeline needs from the world, port by port.

A port is a Protocol with at least two implementations in use; one of them is always
:mod:`nbgov.backends.memory`. Implementations translate the errors of their product into
:class:`~nbgov.errors.BackendFailed` at their edge, with ``raise ... from``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from nbgov.ports.people import AuditLog, Clock, IdentityProvider, PolicySource, Signer
from nbgov.ports.runs import RunStore
from nbgov.ports.sources import Detector, Engine, Stream
from nbgov.ports.stores import ApprovalStore, DatasetStore, ReleaseStore, RowDraft, RowStore

if TYPE_CHECKING:
    from nbgov.core.masks import Keys

__all__ = [
    "ApprovalStore",
    "AuditLog",
    "Clock",
    "DatasetStore",
    "Detector",
    "Engine",
    "IdentityProvider",
    "PolicySource",
    "ReleaseStore",
    "RowDraft",
    "RowStore",
    "RowsKept",
    "RunStore",
    "Signer",
    "Stream",
    "World",
]

RowsKept: TypeAlias = Literal["none", "named", "training"]


@dataclass(frozen=True)
class World:
    """Every port together: what a pipeline runs on.

    ``keys`` are the keys of masks, read when the first mask needs them. ``native`` names the schema
    of the masked views of each connection that reads those only. ``rows_kept`` says whose rows go
    into ``rows``: nobody's, those of results that have a name, or also those of results that are
    read while a run is open.
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
    rows: RowStore
    releases: ReleaseStore
    native: Mapping[str, str] = field(default_factory=dict)
    rows_kept: RowsKept = "none"

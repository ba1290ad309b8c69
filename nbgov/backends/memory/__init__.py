"""Every port in RAM, with hooks for faults: what the tests and the examples run on.

These are implementations like any other. They keep the same promises as their durable siblings,
one behaviour suite tests both, and what would be on a disk is an attribute that a test can read.
Each part that can fail has ``faults``, see :class:`Faults`. :func:`memory_world` puts a whole
:class:`~nbgov.ports.World` together::

    engine = MemoryEngine(catalog, {"SELECT 1 AS one": pa.table({"one": [1]})})
    world = memory_world({"warehouse": engine}, policy=text, principals=[ada, grace])
    world.audit.faults.before("append")
"""

from nbgov.backends.memory.audit_log import MemoryAuditLog
from nbgov.backends.memory.catalogs import MemoryCatalogStore
from nbgov.backends.memory.engine import MemoryEngine, MemoryStream
from nbgov.backends.memory.faults import Faults
from nbgov.backends.memory.machine import MemoryClock, MemorySigner
from nbgov.backends.memory.outbox import MemoryOutbox
from nbgov.backends.memory.releases import MemoryReleaseStore
from nbgov.backends.memory.runs import MemoryRunStore
from nbgov.backends.memory.stores import MemoryApprovalStore, MemoryDatasetStore, MemoryRowStore
from nbgov.backends.memory.undo import MemoryUndoStore
from nbgov.backends.memory.witness import MemoryWitness
from nbgov.backends.memory.world import (
    MemoryDetector,
    MemoryIdentity,
    MemoryPolicySource,
    memory_world,
)

__all__ = [
    "Faults",
    "MemoryApprovalStore",
    "MemoryAuditLog",
    "MemoryCatalogStore",
    "MemoryClock",
    "MemoryDatasetStore",
    "MemoryDetector",
    "MemoryEngine",
    "MemoryIdentity",
    "MemoryOutbox",
    "MemoryPolicySource",
    "MemoryReleaseStore",
    "MemoryRowStore",
    "MemoryRunStore",
    "MemorySigner",
    "MemoryStream",
    "MemoryUndoStore",
    "MemoryWitness",
    "memory_world",
]

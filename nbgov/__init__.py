"""nbgov: governed SQL for notebooks, from a ``%%govsql`` cell to the MLflow run page.

Public names are loaded when they are first used, so that ``import nbgov`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

HOMES = {
    "nbgov.session": ("Session", "connect"),
    "nbgov.session.marks": ("lookup", "track"),
    "nbgov.core.drift": ("Cause", "DriftReport"),
    "nbgov.errors": (
        "ApprovalNeeded", "BackendFailed", "ConfigInvalid", "Denied", "IdentityFailed",
        "IntegrityFailed", "NbgovError", "RequestInvalid",
    ),
    "nbgov.model": (
        "Approval", "ApprovalState", "Catalog", "DatasetVersion", "Decision", "Delivery",
        "DriftTerms", "ModelVersion", "Principal",
        "Record", "Request", "Result", "Run", "RunInput", "Statement", "Summary", "Verdict",
    ),
    "nbgov.notebook.magic": ("load_ipython_extension", "unload_ipython_extension"),
    "nbgov.evidence.receipts": ("checkpoint",),
    "nbgov.core.fingerprint": ("Fingerprint", "Fingerprinter"),
    "nbgov.pii": ("Findings", "detect", "mask"),
    "nbgov.core.lineage": ("ApprovalSummary", "Lineage", "LineageEdge"),
    "nbgov.core.promotion": ("Promotion",),
    "nbgov.lineage.files": ("files_digest",),
    "nbgov.lineage.page": ("lineage_page",),
    "nbgov.lineage.tracing": ("trace",),
    "nbgov.promotion": ("judge", "promotions"),
    "nbgov.retraining": ("compare",),
    "nbgov.tables": ("fingerprint",),
}  # fmt: skip

if TYPE_CHECKING:
    from nbgov.core.drift import Cause, DriftReport
    from nbgov.core.fingerprint import Fingerprint, Fingerprinter
    from nbgov.core.lineage import ApprovalSummary, Lineage, LineageEdge
    from nbgov.core.promotion import Promotion
    from nbgov.errors import (
        ApprovalNeeded,
        BackendFailed,
        ConfigInvalid,
        Denied,
        IdentityFailed,
        IntegrityFailed,
        NbgovError,
        RequestInvalid,
    )
    from nbgov.evidence.receipts import checkpoint
    from nbgov.lineage.files import files_digest
    from nbgov.lineage.page import lineage_page
    from nbgov.lineage.tracing import trace
    from nbgov.model import (
        Approval,
        ApprovalState,
        Catalog,
        DatasetVersion,
        Decision,
        Delivery,
        DriftTerms,
        ModelVersion,
        Principal,
        Record,
        Request,
        Result,
        Run,
        RunInput,
        Statement,
        Summary,
        Verdict,
    )
    from nbgov.notebook.magic import load_ipython_extension, unload_ipython_extension
    from nbgov.pii import Findings, detect, mask
    from nbgov.promotion import judge, promotions
    from nbgov.retraining import compare
    from nbgov.session import Session, connect
    from nbgov.session.marks import lookup, track
    from nbgov.tables import fingerprint

__all__ = [
    "Approval", "ApprovalNeeded", "ApprovalState", "ApprovalSummary", "BackendFailed",
    "Catalog", "Cause", "ConfigInvalid", "DatasetVersion", "Decision", "Delivery", "Denied",
    "DriftReport", "DriftTerms", "Findings", "Fingerprint", "Fingerprinter", "IdentityFailed",
    "IntegrityFailed", "Lineage", "LineageEdge", "ModelVersion", "NbgovError", "Principal",
    "Promotion", "Record", "Request", "RequestInvalid", "Result", "Run", "RunInput", "Session",
    "Statement", "Summary", "Verdict", "__version__", "checkpoint", "compare", "connect", "detect",
    "files_digest", "fingerprint", "judge", "lineage_page", "load_ipython_extension", "lookup",
    "mask", "promotions", "trace", "track", "unload_ipython_extension",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    message = f"module 'nbgov' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return __all__

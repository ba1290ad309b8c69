"""nbgov: governed SQL for notebooks, from a ``%%govsql`` cell to the MLflow run page.

Public names are loaded when they are first used, so that ``import nbgov`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

HOMES = {
    "nbgov.session": ("Session", "connect", "lookup"),
    "nbgov.core.drift": ("Cause", "DriftReport", "compare"),
    "nbgov.errors": (
        "ApprovalNeeded", "BackendFailed", "ConfigInvalid", "Denied", "IdentityFailed",
        "IntegrityFailed", "NbgovError", "RequestInvalid",
    ),
    "nbgov.model": (
        "Approval", "ApprovalState", "Catalog", "DatasetVersion", "Decision", "Delivery",
        "Principal",
        "Record", "Request", "Result", "Run", "RunInput", "Statement", "Summary", "Verdict",
    ),
    "nbgov.notebook.magic": ("load_ipython_extension", "unload_ipython_extension"),
    "nbgov.pii": ("Findings", "detect", "mask"),
}  # fmt: skip

if TYPE_CHECKING:
    from nbgov.core.drift import Cause, DriftReport, compare
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
    from nbgov.model import (
        Approval,
        ApprovalState,
        Catalog,
        DatasetVersion,
        Decision,
        Delivery,
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
    from nbgov.session import Session, connect, lookup

__all__ = [
    "Approval", "ApprovalNeeded", "ApprovalState", "BackendFailed", "Catalog", "Cause",
    "ConfigInvalid", "DatasetVersion", "Decision", "Delivery", "Denied", "DriftReport",
    "Findings", "IdentityFailed", "IntegrityFailed", "NbgovError", "Principal", "Record", "Request",
    "RequestInvalid", "Result", "Run", "RunInput", "Session", "Statement", "Summary", "Verdict",
    "__version__", "compare", "connect", "detect", "load_ipython_extension", "lookup", "mask",
    "unload_ipython_extension",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    message = f"module 'nbgov' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return __all__

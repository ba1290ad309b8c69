"""The ``nbgov`` command: the session's verbs in a terminal, one module per group of them.

A surface that translates and decides nothing. Errors go to standard error as people see them in a
cell, with exit code 1; 2 is wrong usage, 3 a statement that waits for approval, 130 an interrupt.
Of ``nbgov drift``, 4 is drift and 5 what could not be told.
"""

from nbgov.cli import (
    approvals,
    audit,
    audit_exports,
    audit_keys,
    audit_proofs,
    audit_seals,
    audit_sinks,
    catalog,
    check,
    classify,
    cosigning,
    custody,
    datasets,
    doctor,
    drift,
    keys,
    lineage,
    notify,
    pii,
    policy,
    promotion,
    sql,
    start,
    undo,
    watch,
    witness,
)
from nbgov.cli.commands import main

__all__ = [
    "approvals",
    "audit",
    "audit_exports",
    "audit_keys",
    "audit_proofs",
    "audit_seals",
    "audit_sinks",
    "catalog",
    "check",
    "classify",
    "cosigning",
    "custody",
    "datasets",
    "doctor",
    "drift",
    "keys",
    "lineage",
    "main",
    "notify",
    "pii",
    "policy",
    "promotion",
    "sql",
    "start",
    "undo",
    "watch",
    "witness",
]

"""The ``nbgov`` command: the session's verbs in a terminal, one module per group of them.

A surface that translates and decides nothing. Errors go to standard error as people see them in a
cell, with exit code 1; 2 is wrong usage, 3 a statement that waits for approval, 130 an interrupt.
Of ``nbgov drift``, 4 is drift and 5 what could not be told.
"""

from nbgov.cli import (
    approvals,
    check,
    classify,
    custody,
    datasets,
    doctor,
    drift,
    evidence,
    keys,
    lineage,
    pii,
    policy,
    promotion,
    sql,
    watch,
)
from nbgov.cli.commands import main

__all__ = [
    "approvals",
    "check",
    "classify",
    "custody",
    "datasets",
    "doctor",
    "drift",
    "evidence",
    "keys",
    "lineage",
    "main",
    "pii",
    "policy",
    "promotion",
    "sql",
    "watch",
]

"""The audit log, the keys, the policy and the time of the machine that nbgov runs on.

Each class is one port of :mod:`nbgov.ports` on a local disk. What the bytes mean is not known here;
:mod:`nbgov.core.audit` says so for the log, and the owner of the policy says so for its text.
"""

from nbgov.backends.files.audit_log import FileAuditLog
from nbgov.backends.files.evidence import FileEvidence
from nbgov.backends.files.rows import FileRowStore
from nbgov.backends.files.seals import FileSealer
from nbgov.backends.files.state import FileKey, FilePolicySource, FileSigner, SystemClock
from nbgov.backends.files.writer import LogTerms

__all__ = [
    "FileAuditLog",
    "FileEvidence",
    "FileKey",
    "FilePolicySource",
    "FileRowStore",
    "FileSealer",
    "FileSigner",
    "LogTerms",
    "SystemClock",
]

"""The bytes of the audit log: how a record becomes an entry, and whether a log adds up.

An entry is one line of canonical JSON that names the SHA-256 of the line before it. This package
knows nothing of files, locks or time: a backend stores what :func:`encode` returns and hands the
same bytes to :func:`verify`. The format is ``docs/spec/audit-log.md``, whose section 9 says what
a chain cannot show; the vectors are ``tests/vectors/audit-log.json``.
"""

from nbgov.core.audit.chain import AuditReport, interruptions, verify
from nbgov.core.audit.entry import ENTRY_BYTES_MAX, GENESIS_DIGEST, Entry, decode, encode

__all__ = [
    "ENTRY_BYTES_MAX",
    "GENESIS_DIGEST",
    "AuditReport",
    "Entry",
    "decode",
    "encode",
    "interruptions",
    "verify",
]

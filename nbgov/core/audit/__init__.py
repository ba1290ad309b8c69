"""The bytes of the audit log: records, entries, the tree over them, and what is signed of it.

An entry is one line of canonical JSON that names the digest of the line before it; the same digest
is a leaf of a Merkle tree whose root the log signs and witnesses cosign. This package knows nothing
of files, locks or time: a backend stores what :func:`encode` returns and hands the same bytes to
:func:`verify`. :mod:`~nbgov.core.audit.merkle`, :mod:`~nbgov.core.audit.note` and
:mod:`~nbgov.core.audit.proof` hold the tree, the signed notes and the proofs. The format is
``docs/spec/audit-log.md``, whose section 10 says what is found out by which means and what is not;
the vectors are ``tests/vectors/audit-log.json``.
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

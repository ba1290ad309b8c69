"""Logs and witnesses for tests: a log in RAM, and the real server on a port of this machine."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime

from nbgov.backends.memory import MemoryAuditLog
from nbgov.backends.witnesses import HttpWitness
from nbgov.core.audit.merkle import consistency_path
from nbgov.core.audit.note import VerifierKey
from nbgov.model import Record, RecordKind
from nbgov.witness import Server, Witness

ORIGIN = "acme.test/audit"
NAME = "witness.test/one"
AT = datetime(2026, 1, 2, tzinfo=UTC)


def grown(entries: int, *, log: MemoryAuditLog | None = None, note: str = "") -> MemoryAuditLog:
    """A log with so many entries more; another note makes another log."""
    log = log or MemoryAuditLog(ORIGIN)
    for _ in range(entries):
        log.append(Record(RecordKind.REPAIR, AT, "", "s", note=note))
    return log


def key_of(log: MemoryAuditLog) -> VerifierKey:
    """The key that a log signs under now."""
    return VerifierKey(log.origin, log.signer.public_key())


def path_of(log: MemoryAuditLog, old: int):
    """What shows that a log continues its first entries."""
    return consistency_path(old, len(log.lines), log.subtree)


@contextlib.contextmanager
def serving(folder, *logs: VerifierKey, tell=lambda line: None, name: str = NAME, timeout_s=5.0):
    """The client of a real server that knows these logs."""
    witness = Witness(folder, name=name, logs=logs)
    server = Server(("127.0.0.1", 0), witness, tell=tell)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        yield HttpWitness(url, witness.key, timeout_s=timeout_s)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        witness.close()

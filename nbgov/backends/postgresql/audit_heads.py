"""The log over the checkpoints of every gateway that shares a database.

Each gateway has one of its own beside its log, ``ORIGIN/heads``, which it signs with the same key.
An entry names the newest checkpoints of other logs, and its own: of those that have changed since
the last entry. So whoever witnesses one such log has seen every gateway. The logs over checkpoints
do not name one another, or none of them would ever come to rest.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

from nbgov.backends.postgresql.audit_log import PostgreSQLAuditLog
from nbgov.backends.postgresql.audit_writer import Writer
from nbgov.core.audit.entry import decode
from nbgov.core.audit.note import Note
from nbgov.model import Record, RecordKind

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADS_SUFFIX = "/heads"
# So many names of logs, with a checkpoint each, fit into an entry.
HEADS_ENTRY_MAX = 100
HEADS_READ_MAX = 100


class HeadsWriter(Writer):
    """Writes what the newest checkpoints are, whenever it makes one itself."""

    known: dict[str, str]
    looked_s = 0.0

    def open(self) -> None:
        """Make the log this thread's own, and read what it last said."""
        super().open()
        start = max(0, self.ledger.size - HEADS_READ_MAX)
        self.known = {}
        for line in self.tables.lines(self.origin, start):
            self.known |= decode(line).record.heads or {}

    def idle_s(self) -> float:
        """How long until the next look at the others."""
        return max(0.0, self.looked_s + self.terms.checkpoint_s - time.monotonic())

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over the newest checkpoints of all."""
        self.looked_s = time.monotonic()
        changed = [item for item in self.heads() if self.known.get(item[0]) != item[1]]
        for start in range(0, len(changed), HEADS_ENTRY_MAX):
            heads = dict(changed[start : start + HEADS_ENTRY_MAX])
            record = Record(RecordKind.HEADS, self.clock.now(), "", self.session, heads=heads)
            self.commit([(record, self.ledger.draw_up(record)[0])])
            self.known |= heads
        return super().checkpoint()

    def finish(self) -> None:
        """End, with what the newest checkpoints are now."""
        self.is_over = True
        self.checkpoint()

    def heads(self) -> Iterator[tuple[str, str]]:
        """Each gateway's log, and its newest checkpoint as an entry states it."""
        for origin, text in self.tables.checkpoints().items():
            if not origin.endswith(HEADS_SUFFIX):
                found = Note.parse(text).checkpoint
                yield origin, f"{found.size} {base64.b64encode(found.root).decode()}"


class PostgreSQLHeads(PostgreSQLAuditLog):
    """An :class:`~nbgov.ports.AuditLog` over the checkpoints of all logs of a database."""

    writer_type = HeadsWriter

"""The end of a session's audit log: its newest entries, and those that come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nbgov.core.audit import Entry, decode
from nbgov.core.audit.note import Note
from nbgov.core.audit.query import Query, matches
from nbgov.errors import IntegrityFailed
from nbgov.evidence.search import Found, entries_at, with_attempt

if TYPE_CHECKING:
    from nbgov.session import Session


def newest(session: Session, number: int) -> list[Found]:
    """The newest entries, oldest first."""
    log = session.world.audit
    text = log.note("checkpoint")
    size = Note.parse(text).checkpoint.size if text else 0
    # Entries that a checkpoint covers need not be walked through.
    lines = deque(log.entries(max(0, size - number)), maxlen=number)
    entries = {entry.index: entry for entry in map(decode, lines)}
    closed = {one.record.attempt for one in entries.values() if one.record.attempt is not None}
    attempts = entries | entries_at(log, closed - set(entries))
    return [with_attempt(entry, attempts) for entry in entries.values()]


def follow(
    session: Session, last: Entry | None, query: Query, *, wait: Callable[[], None]
) -> Iterator[Found]:
    """The entries behind one that a query means, as they come; without an end.

    Args:
        session: Whose log is followed, whichever process writes it.
        last: The entry to begin behind; ``None`` for the beginning.
        query: What is looked for; its limit and its order do not count.
        wait: Called when there is nothing new, to wait a moment.

    Raises:
        IntegrityFailed: What comes does not follow from what was there.
    """
    log = session.world.audit
    while True:
        for line in log.entries(last.index + 1 if last else 0):
            entry = decode(line)
            if last is not None and entry.prev_digest != last.digest:
                raise IntegrityFailed(
                    f"Entry {entry.index} of the audit log does not follow from the one before.",
                    next_step="look at what nbgov audit verify says",
                )
            last = entry
            attempt = entry.record.attempt
            found = with_attempt(entry, entries_at(log, () if attempt is None else {attempt}))
            if matches(query, entry.record, found.attempt):
                yield found
        wait()


def beginning(session: Session) -> Entry | None:
    """The first entry of the log, if there is one."""
    line = next(session.world.audit.entries(), None)
    return decode(line) if line is not None else None

"""Finds entries of a session's audit log, and reads them back.

An index says where to look, and the log says what is there: each entry is read from the log's own
bytes, its digest is that in the index, and it is asked once more whether the query means it. In
embedded mode the log belongs to whoever owns the state folder, so no policy is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING

from nbgov.core.audit import Entry, decode
from nbgov.core.audit.lines import receipt_of
from nbgov.core.audit.note import Note
from nbgov.core.audit.query import Query, joined, matches
from nbgov.cosigning import witnessed
from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.model import Receipt, Record

if TYPE_CHECKING:
    from nbgov.ports import Evidence, Hit
    from nbgov.session import Session

PAGE, PAGE_MAX = 64, 1024
# Entries so near to the one before are reached by reading on.
GAP = 64
RELATED_MAX = 50


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that was found.

    Attributes:
        entry: The entry, as the log holds it.
        attempt: What the attempt states that it closes, if it closes one.
    """

    entry: Entry
    attempt: Record | None = None

    @property
    def record(self) -> Record:
        """What the entry states, joined with the attempt that it closes."""
        return joined(self.entry.record, self.attempt)


def quiet(_: int | str) -> None:
    """Tell nobody."""


def search(
    session: Session,
    query: Query,
    *,
    told: Callable[[int], None] = quiet,
    remark: Callable[[str], None] = quiet,
) -> Iterator[Entry]:
    """The entries that a query means; arguments and errors are those of :func:`find`."""
    return (found.entry for found in find(session, query, told=told, remark=remark))


def find(
    session: Session,
    query: Query,
    *,
    told: Callable[[int], None] = quiet,
    remark: Callable[[str], None] = quiet,
) -> Iterator[Found]:
    """The entries that a query means, each with the attempt that it closes.

    Args:
        session: Whose log is searched.
        query: What is looked for.
        told: Called with the number of entries that were indexed, now and then.
        remark: Called with what a person should know, such as that the index was made anew.

    Raises:
        IntegrityFailed: The log does not add up (``audit-broken``), or is not what it was when it
            was indexed (``index-damaged``).
        BackendFailed: The log or the index cannot be read.
    """
    refresh(session, told=told, remark=remark)
    index, log = session.world.index, session.world.audit
    left, size, last = query.limit, PAGE, None
    while left is None or left > 0:
        count = size if left is None else min(size, left)
        hits = index.find(query, beyond=last, count=count)
        try:
            read = [*read_back(log, query, hits)]
        except IntegrityFailed:
            # It says something about entries that are others now; nobody can use it any more.
            index.forget()
            raise
        yield from read
        if len(hits) < count:
            return
        last, size = hits[-1].number, min(size * 4, PAGE_MAX)
        left = None if left is None else left - len(hits)


def count(
    session: Session,
    query: Query,
    *,
    told: Callable[[int], None] = quiet,
    remark: Callable[[str], None] = quiet,
) -> int:
    """How many entries a query means, as the index says."""
    refresh(session, told=told, remark=remark)
    return session.world.index.count(query)


def refresh(
    session: Session, *, told: Callable[[int], None] = quiet, remark: Callable[[str], None] = quiet
) -> None:
    """Index what the log holds by now."""
    world = session.world
    if why := world.index.fill(world.audit, told):
        remark(f"{why} It was made anew; nbgov audit verify says whether the log holds.")


def read_back(log: Evidence, query: Query, hits: Sequence[Hit]) -> Iterator[Found]:
    """The entries behind hits, in their order.

    Raises:
        IntegrityFailed: One has another digest than the index says, or is not meant by the query
            (code ``index-damaged``).
    """
    entries = entries_at(log, {hit.number for hit in hits})
    for hit in hits:
        entry = entries.get(hit.number)
        if entry is None or entry.digest != hit.digest:
            raise damaged(hit.number)
    closed = {entry.record.attempt for entry in entries.values()} - {None}
    attempts = entries | entries_at(log, {one for one in closed if one is not None} - set(entries))
    for hit in hits:
        found = with_attempt(entries[hit.number], attempts)
        if not matches(query, found.entry.record, found.attempt):
            raise damaged(hit.number)
        yield found


def with_attempt(entry: Entry, attempts: dict[int, Entry]) -> Found:
    """An entry with what the attempt states that it closes."""
    attempt = attempts.get(-1 if entry.record.attempt is None else entry.record.attempt)
    return Found(entry, attempt.record if attempt else None)


def entries_at(log: Evidence, numbers: Iterable[int]) -> dict[int, Entry]:
    """The entries with these numbers, as far as the log has them."""
    found: dict[int, Entry] = {}
    lines: Iterator[bytes] = iter(())
    place = -GAP - 1
    for number in sorted(numbers):
        if number - place > GAP:
            lines, place = log.entries(number), number
        line = next(islice(lines, number - place, None), None)
        place = number + 1
        if line is None:
            break
        entry = decode(line)
        if entry.index == number:
            found[number] = entry
    return found


# ---------------------------------------------------------------- one entry


def look_up(session: Session, reference: str) -> Found:
    """The entry behind its number or its receipt.

    Raises:
        RequestInvalid: It is neither, or the log has no such entry (``unknown-record``).
        IntegrityFailed: The entry is not the one that the receipt is of (``audit-broken``).
    """
    receipt = None if reference.isdecimal() else Receipt.parse(reference)
    number = receipt.index if receipt else int(reference)
    entries = entries_at(session.world.audit, {number})
    if number not in entries:
        raise RequestInvalid(
            f"The audit log has no entry {number}.",
            code="unknown-record",
            why="it ends before that, or its line is another entry",
            next_step="nbgov audit tail shows the newest ones",
        )
    entry = entries[number]
    if receipt is not None and receipt.origin != entry.origin:
        raise RequestInvalid(
            "The receipt is of another log.",
            code="unknown-record",
            why=f"this one is {entry.origin}",
            next_step="use the nbgov.yaml under which the receipt was given",
        )
    if receipt is not None and receipt != receipt_of(entry):
        raise IntegrityFailed(
            f"Entry {number} is not the one that the receipt is of.",
            why="its digest is another, so it was changed after the receipt was given",
            next_step="look at what nbgov audit verify says, and keep the state folder as it is",
        )
    attempt = entry.record.attempt
    return with_attempt(
        entry, entries_at(session.world.audit, () if attempt is None else {attempt})
    )


def related(
    session: Session,
    found: Found,
    *,
    told: Callable[[int], None] = quiet,
    remark: Callable[[str], None] = quiet,
) -> list[Found]:
    """The other entries about the same request, oldest first."""
    request = found.entry.record.request
    if not request:
        return []
    query = Query(request=(request,), limit=RELATED_MAX, oldest_first=True)
    others = find(session, query, told=told, remark=remark)
    return [one for one in others if one.entry.index != found.entry.index]


def cover(session: Session, entry: Entry) -> list[tuple[str, str]]:
    """What covers an entry, as labelled facts. Nothing is verified."""
    log, keys = session.world.audit, [one.key for one in session.world.witnesses]
    text = log.note("checkpoint")
    signed = Note.parse(text).checkpoint.size if text else 0
    seen = witnessed(log, keys)
    by = f" by {', '.join(seen.by)}" if seen.by else ""
    at = f" at {seen.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if seen.at else ""
    nobody = "no witness has seen it" if keys else "nbgov.yaml names no witness"
    return [
        ("signed", covered(entry, signed, "nobody signed it yet")),
        ("witnessed", covered(entry, seen.size, f"{nobody}; its receipt covers it", by + at)),
    ]


def covered(entry: Entry, size: int, otherwise: str, more: str = "") -> str:
    """By which checkpoint an entry is covered."""
    return f"by the checkpoint over {size:,} entries{more}" if entry.index < size else otherwise


def damaged(number: int) -> IntegrityFailed:
    """The error of an index that does not fit the log."""
    return IntegrityFailed(
        f"Entry {number} of the audit log is not the one that was indexed.",
        code="index-damaged",
        why="either the log or its index was changed; the index is removed now",
        next_step="look at what nbgov audit verify says, then search again",
    )

"""The end of an audit log on a disk: sections 7 to 9 of ``docs/spec/audit-log.md``.

Processes share a log by locking one file, so what a writer knows of the log's end is only ever a
guess that it checks first. A writer belongs to one thread, and to its lock: everything here is
called while that is held.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nbgov.backends.files.books import Books
from nbgov.backends.files.checkpoints import Checkpoints
from nbgov.backends.files.durable import FileLock, make_folder
from nbgov.backends.files.segments import (
    entries_of,
    lines_of,
    new_segment,
    place_of,
    segment_index,
    segment_name,
    segments,
)
from nbgov.backends.files.sessions import SessionMarks
from nbgov.backends.files.tail import UNSURE_BYTES_MAX, Tail, is_torn
from nbgov.core.audit import decode, interruptions
from nbgov.core.audit.ledger import ClockWatch, Ledger
from nbgov.core.audit.note import Note
from nbgov.errors import IntegrityFailed
from nbgov.model import Receipt, Record, RecordKind
from nbgov.ports import Clock, Signer

SYNC: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync.


@dataclass(frozen=True, slots=True)
class LogTerms:
    """How a log treats the disk, and when it signs.

    Attributes:
        segment_bytes_max: Size from which on a segment takes no further entry.
        timeout_s: How long the disk, or another process, may keep an append waiting.
        checkpoint_entries: A checkpoint is signed after so many entries,
        checkpoint_s: or so many seconds, whichever comes first, and when the log is closed.
        sync: Makes the bytes behind a file descriptor durable.
    """

    segment_bytes_max: int = 64 * 1024 * 1024
    timeout_s: float = 30.0
    checkpoint_entries: int = 256
    checkpoint_s: float = 10.0
    sync: Callable[[int], None] = SYNC


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes entries on the log's own account, and what it writes them with."""

    session: str
    clock: Clock
    signer: Signer
    origin: str


class LogWriter:
    """Drafts entries, makes them durable in groups, and signs what is durable.

    Args:
        folder: The state folder.
        author: Who writes.
        terms: How.
        books: What is known of the attempts of sessions that this process holds already,
        marks: and the marks of these.
    """

    def __init__(
        self,
        folder: Path,
        author: Author,
        terms: LogTerms,
        *,
        books: Books | None = None,
        marks: SessionMarks | None = None,
    ) -> None:
        self.folder = folder / "audit"
        self.author = author
        self.terms = terms
        self.books = books or Books()
        self.marks = marks or SessionMarks(folder / "sessions")
        self.lock = FileLock(self.folder / "lock")
        self.tail = Tail(terms.sync)
        self.checkpoints = Checkpoints(self.folder, author.signer)
        self.ledger: Ledger | None = None
        self.drafts: list[bytes] = []
        self.draft_bytes = 0
        self.watch = ClockWatch()
        self.unsigned_since = 0.0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the log's lock: no other writer appends meanwhile."""
        if self.tail.fd < 0:
            make_folder(self.folder)
            make_folder(self.marks.folder)
        self.lock.hold()
        try:
            yield
        finally:
            self.lock.let_go()

    # ------------------------------------------------------------ what is asked of it

    def settle(self) -> None:
        """Find the end of the log, which other processes move too; mend it, and mind the clock."""
        if self.tail.fd < 0:
            self.open()
            self.close_dead_sessions()
        else:
            self.read_on(is_live=True)
            self.follow()
        self.mind_clock()

    def append(self, record: Record) -> Receipt:
        """Draft the entry of a record; it is durable after the next :meth:`flush`.

        Raises:
            RuntimeError: The record cannot be kept. Nothing has changed then.
        """
        if record.attempt is not None and (known := self.books.receipt(record.attempt)):
            return known
        if record.kind is RecordKind.ATTEMPT:
            self.marks.hold(record.session, self.end.size)
        return self.draft(record)

    def recover(self) -> None:
        """Close the attempts of sessions whose process died."""
        self.close_dead_sessions()

    def flush(self) -> None:
        """Make every draft durable, with one write and one sync."""
        if self.drafts:
            self.tail.write(b"".join(self.drafts))
            self.drafts, self.draft_bytes = [], 0
            self.unsigned_since = self.unsigned_since or time.monotonic()
        self.tail.sync()

    def sign(self) -> Note | None:
        """The signed checkpoint over every entry, made unless there is one."""
        self.flush()
        note = self.checkpoints.sign(self.end)
        self.unsigned_since = 0.0
        return note

    def due_in(self) -> float | None:
        """How many seconds there are until a checkpoint is due; ``None`` where nothing is new."""
        if not self.unsigned_since:
            return None
        if self.end.size - self.checkpoints.size >= self.terms.checkpoint_entries:
            return 0.0
        return max(0.0, self.unsigned_since + self.terms.checkpoint_s - time.monotonic())

    def keep_note(self, name: str, text: str) -> None:
        """Put a note in the place of the one with its name; take it away for an empty text."""
        self.checkpoints.put(name, text)

    def finish(self) -> None:
        """Sign what is new, and take away the marks of sessions that have nothing open."""
        self.flush()
        if self.unsigned_since:
            self.sign()
        for session in set(self.marks.held) - set(self.books.attempts.values()):
            self.marks.remove(session)

    def release(self) -> None:
        """Let go of files and sessions."""
        self.tail.close()
        self.lock.forget()
        self.marks.release()

    # ------------------------------------------------------------ the end of the log

    @property
    def end(self) -> Ledger:
        """What the next entry must be."""
        assert self.ledger is not None
        return self.ledger

    def open(self) -> None:
        """Go to the last entry. What was signed before must still be there, as it was."""
        self.ledger = None
        signed = self.checkpoints.open()
        # The last entry that was signed is read, too: the chain makes it stand for all before it.
        start = max(0, signed.size - 1)
        paths = segments(self.folder, start) or [new_segment(self.folder, 0)]
        for path in paths:
            self.enter(path, start)
            self.read_on(is_live=False, is_newest=path == paths[-1])
        if self.ledger is None:
            self.checkpoints.check(signed, Ledger(self.author.origin))
            self.ledger = Ledger(self.author.origin)
        self.checkpoints.check(signed, self.ledger)
        if self.ledger.fresh:
            self.unsigned_since = time.monotonic()

    def enter(self, path: Path, start: int = 0) -> None:
        """Make a segment the newest one."""
        index = segment_index(path)
        if index > start if self.ledger is None else index != self.ledger.size:
            raise IntegrityFailed("a segment does not follow from the one before")
        self.tail.enter(path)
        if self.ledger is None:
            self.tail.end = place_of(self.tail.fd, path, self.tail.size(), start)

    def follow(self) -> None:
        """Go on to the segments that other processes started."""
        newer = self.folder / segment_name(self.end.size)
        while newer != self.tail.path and newer.exists():
            self.tail.sync()
            self.enter(newer)
            self.read_on(is_live=True)
            newer = self.folder / segment_name(self.end.size)

    def read_on(self, *, is_live: bool, is_newest: bool = True) -> None:
        """Take in what stands in the segment behind the entries that are known."""
        size, start = self.tail.size(), self.tail.end
        if size == start:
            return
        for line in lines_of(self.tail.fd, start, size):
            end = self.tail.end + len(line) + 1
            if end > size or not self.take(line):
                if not is_newest:
                    raise IntegrityFailed("a segment that is not the newest has a torn tail")
                self.mend(size, is_live=is_live)
                break
            self.tail.end = end
        self.tail.write_again(start)

    def take(self, line: bytes) -> bool:
        """Take in the next entry; ``False`` where the line is no entry at all."""
        try:
            entry = decode(line)
        except IntegrityFailed:
            return False
        if self.ledger is None:
            self.ledger = self.checkpoints.ledger(entry)
        else:
            self.ledger.take(line)
        receipt = Receipt(entry.origin, entry.index, entry.digest)
        self.books.enter(entry.record, receipt, self.marks.held)
        return True

    def mend(self, size: int, *, is_live: bool) -> None:
        """Draft an entry in the place of bytes that no process acknowledged."""
        tail = self.tail
        torn = os.pread(tail.fd, min(size - tail.end, UNSURE_BYTES_MAX + 1), tail.end)
        if not is_torn(torn):
            raise IntegrityFailed("the end of its newest segment holds what is no entry")
        if self.ledger is None:
            self.ledger = self.checkpoints.ledger(None, self.author.origin)
        # Security: while this process lives no power was lost, so only another writer of this log
        # that was killed can have left half an entry, and that begins as the next entry must.
        if is_live and not is_begun(self.end, torn):
            raise IntegrityFailed("somebody who is no writer of it appended to it")
        # Cut first: half an entry over the rest of another one would look like worse damage.
        os.ftruncate(tail.fd, tail.end)
        tail.is_durable = False
        digest = hashlib.sha256(torn).hexdigest()
        note = f"cut {len(torn)} bytes that were no entry, sha256 {digest}"
        self.state(RecordKind.REPAIR, note)

    # ------------------------------------------------------------ entries

    def draft(self, record: Record) -> Receipt:
        """Draw up the next entry, in a new segment where the newest one is full."""
        is_full = self.tail.end + self.draft_bytes >= self.terms.segment_bytes_max
        if is_full:
            self.flush()
            self.enter(new_segment(self.folder, self.end.size))
        if record.ticks is None:
            record = replace(record, ticks=self.author.clock.ticks())
        line, receipt = self.end.draw_up(record)
        self.drafts += (line, b"\n")
        self.draft_bytes += len(line) + 1
        self.books.enter(record, receipt, self.marks.held)
        return receipt

    def state(self, kind: RecordKind, note: str, *, verb: str | None = None) -> None:
        """Draft an entry of the log's own."""
        at, session = self.author.clock.now(), self.author.session
        self.draft(Record(kind, at, "", session, verb=verb, note=note))

    def mind_clock(self) -> None:
        """State that the clock went back; the times of entries never do."""
        last = self.end.last
        if last and (note := self.watch.told(self.author.clock.now(), newest=last.record.at)):
            self.state(RecordKind.ADMIN, note, verb="CLOCK")

    def close_dead_sessions(self) -> None:
        """State that the attempts of sessions which nobody holds any more were interrupted."""
        dead = self.marks.find_dead()
        if dead:
            self.flush()
            names = [name.encode() for name in dead]
            lines = self.lines_from(min(dead.values()))
            found = interruptions(
                (line for line in lines if any(name in line for name in names)),
                is_alive=lambda name: name not in dead,
                at=self.author.clock.now(),
            )
            for record in found:
                self.draft(record)
            self.flush()
        for session in dead:
            self.marks.remove(session)

    def lines_from(self, index: int) -> Iterator[bytes]:
        """The entries from an index on, without what a crash left behind the last one."""
        for path in segments(self.folder, index):
            yield from entries_of(path, index, self.tail.end if path == self.tail.path else None)


def is_begun(ledger: Ledger, torn: bytes) -> bool:
    """Whether some bytes are how the next entry of a log begins."""
    origin = json.dumps(ledger.origin, ensure_ascii=False)
    head = f'{{"index":{ledger.size},"origin":{origin},"prev":"{ledger.digest.hex()}",'.encode()
    return torn[: len(head)] == head[: len(torn)]

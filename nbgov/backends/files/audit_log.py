"""The audit log on a local disk: sections 6 to 8 of ``docs/spec/audit-log.md``.

An entry is durable when :meth:`FileAuditLog.append` returns, and after any failure nothing can be
appended until the log is opened anew. Processes share a log by locking one file, so what this
object knows of the log's end is only ever a guess that it checks first. The bytes of an entry are
the business of :mod:`nbgov.core.audit`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from nbgov.backends.files.segments import (
    OPEN_FLAGS,
    lines_of,
    make_folder,
    new_segment,
    segment_name,
    segments,
    sync_folder,
    whole_entries,
    write_all,
)
from nbgov.backends.files.sessions import SessionMarks
from nbgov.core.audit import ENTRY_BYTES_MAX, GENESIS_DIGEST, Entry, encode, interruptions
from nbgov.errors import BackendFailed, IntegrityFailed
from nbgov.model import Receipt, Record, RecordKind
from nbgov.ports import Clock

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
LOCK_WAIT_S = 30.0
LOCK_POLL_S = 0.002
# Room for the newline before the last entry, that entry, and a torn line behind it.
TAIL_BYTES_MAX = 2 * (ENTRY_BYTES_MAX + 1)
BEGINNING = datetime.min.replace(tzinfo=UTC)
SYNC: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync.


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the log: the newest segment, its bytes that are entries, and the last entry."""

    path: Path
    end: int
    origin: str
    index: int = -1
    digest: bytes = GENESIS_DIGEST
    at: datetime = BEGINNING


class FileAuditLog:
    """An :class:`~nbgov.ports.AuditLog` in the files of a state folder.

    Nothing is opened before it is needed. The first append repairs a torn tail and closes the
    attempts of sessions whose process died; :meth:`recover` does the same at once.

    Args:
        folder: The state folder; entries are in ``audit``, marks of live sessions in ``sessions``.
        session: Name of the session in entries that the log writes on its own account.
        clock: Tells the time of such entries.
        origin: Name of the log if it is new; one is made up by default. A log that exists keeps
            its own.
        segment_bytes_max: Size from which on a segment takes no further entry.
        lock_wait_s: How long to wait for other processes.
        sync: Makes the bytes behind a file descriptor durable.
    """

    def __init__(
        self,
        folder: Path,
        *,
        session: str,
        clock: Clock,
        origin: str = "",
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        lock_wait_s: float = LOCK_WAIT_S,
        sync: Callable[[int], None] = SYNC,
    ) -> None:
        self.folder = folder / "audit"
        self.marks = SessionMarks(folder / "sessions")
        self.session = session
        self.origin = origin or f"nbgov-{uuid.uuid4()}"
        self.clock = clock
        self.segment_bytes_max = segment_bytes_max
        self.lock_wait_s = lock_wait_s
        self.sync = sync
        self.holder = 0
        self.forget()

    def append(self, record: Record) -> Receipt:
        """Make a record durable, with a time that is not before the last one.

        Raises:
            BackendFailed: It could not be made durable (code ``audit-unavailable``).
            RuntimeError: The record closes an attempt that is not open in this object.
        """
        with self.working(), self.locked():
            self.catch_up()
            if record.attempt in self.settled:
                # An append of this outcome was interrupted after its bytes had arrived.
                self.sync(self.fd)
                return self.settled.pop(record.attempt)
            if record.attempt is not None and record.attempt not in self.attempts:
                raise RuntimeError(f"The attempt {record.attempt} is not open in this log.")
            if record.kind is RecordKind.ATTEMPT:
                self.marks.hold(record.session, self.tail.index + 1)
            if self.tail.end >= self.segment_bytes_max:
                self.enter(new_segment(self.folder, self.tail.index + 1))
            return self.write(record)

    def recover(self) -> None:
        """Repair a torn tail, and close the attempts of sessions whose process died.

        Raises:
            BackendFailed: The log cannot be written, or is damaged beyond its last line.
        """
        with self.working(), self.locked():
            self.catch_up()
            self.close_dead_sessions()

    def entries(self) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, oldest first. Writes nothing.

        Raises:
            BackendFailed: A segment cannot be read (code ``state-unavailable``).
        """
        try:
            # A log that somebody copied here, to look at it, comes without a lock.
            with self.locked() if (self.folder / "lock").exists() else nullcontext():
                sizes = [(path, path.stat().st_size) for path in segments(self.folder)]
            for path, size in sizes:
                yield from lines_of(path, size)
        except OSError as error:
            raise BackendFailed(
                "The audit log cannot be read.",
                code="state-unavailable",
                why=error.strerror or type(error).__name__,
                next_step="look at the folder audit in the state folder",
            ) from error

    def close(self) -> None:
        """Let go of files and sessions. A later append opens the log anew."""
        # A mark that stays makes whoever opens the log next look for open attempts: no harm done.
        with suppress(BackendFailed):
            if self.marks.held:
                with self.working(), self.locked():
                    self.catch_up()
                    for session in set(self.marks.held) - set(self.attempts.values()):
                        self.marks.remove(session)
        self.marks.release()
        if self.fd >= 0:
            os.close(self.fd)
        self.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ the end of the log

    def forget(self) -> None:
        """Know nothing about the files."""
        self.fd = -1
        self.tail = Tail(self.folder, 0, self.origin)
        self.torn_bytes = 0
        self.attempts: dict[int, str] = {}
        self.settled: dict[int | None, Receipt] = {}
        self.failure = ""

    def catch_up(self) -> None:
        """Find the end of the log, which other processes move too."""
        is_first = self.fd < 0
        if is_first:
            self.open_newest()
        else:
            self.check_identity()
            self.read_on(self.tail.end)
            self.follow()
        self.repair()
        if is_first:
            self.close_dead_sessions()

    def open_newest(self) -> None:
        """Go to the last entry, in the newest segment or the one before."""
        paths = segments(self.folder)
        if not paths:
            self.enter(new_segment(self.folder, 0))
            return
        self.enter(paths[-1])
        if self.tail.index < 0 and len(paths) > 1:
            # The process that started the newest segment died before it wrote an entry there.
            self.enter(paths[-2])
            self.enter(paths[-1])

    def follow(self) -> None:
        """Go on to the segments that other processes started."""
        newer = self.folder / segment_name(self.tail.index + 1)
        while newer != self.tail.path and newer.exists():
            self.enter(newer)
            newer = self.folder / segment_name(self.tail.index + 1)

    def enter(self, path: Path) -> None:
        """Make a segment the newest one, and go to its last entry."""
        if self.torn_bytes and path > self.tail.path:
            raise IntegrityFailed("a segment that is not the newest has a torn tail")
        fd = os.open(path, os.O_RDWR | OPEN_FLAGS)
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = fd
        self.tail = replace(self.tail, path=path, end=0)
        size = os.fstat(fd).st_size
        self.read_on(max(0, size - TAIL_BYTES_MAX) if self.tail.index < 0 else 0)

    def read_on(self, start: int) -> None:
        """Take in what the newest segment holds from an offset on."""
        data = os.pread(self.fd, os.fstat(self.fd).st_size - start, start)
        is_cut = start > self.tail.end
        if is_cut:
            head, _, data = data.partition(b"\n")
            start += len(head) + 1
        entries, size = whole_entries(data)
        if is_cut and not entries:
            raise IntegrityFailed("the end of the newest segment holds no entry")
        for entry in entries:
            if self.tail.index not in {-1, entry.index - 1}:
                raise IntegrityFailed("its entries do not follow from one another")
            if entry.record.attempt in self.attempts:
                receipt = Receipt(entry.origin, entry.index, entry.digest)
                self.settled[entry.record.attempt] = receipt
            self.advance(entry)
        self.tail = replace(self.tail, end=start + size)
        self.torn_bytes = len(data) - size

    def advance(self, entry: Entry) -> None:
        """Take an entry as the last one, and keep the books of this object's attempts."""
        record = entry.record
        if record.kind is RecordKind.ATTEMPT and record.session in self.marks.held:
            self.attempts[entry.index] = record.session
        elif record.attempt is not None:
            self.attempts.pop(record.attempt, None)
        self.tail = replace(
            self.tail, origin=entry.origin, index=entry.index, digest=entry.digest, at=record.at
        )

    def check_identity(self) -> None:
        """Make sure that the newest segment is still the file that is open."""
        # Security: bytes in a file that was removed, replaced or cut are evidence of nothing.
        here, there = os.fstat(self.fd), self.tail.path.lstat()
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise IntegrityFailed("its newest segment was replaced")
        if here.st_size < self.tail.end:
            raise IntegrityFailed("its newest segment was cut")

    # ------------------------------------------------------------ writing

    def write(self, record: Record) -> Receipt:
        """Put a record behind the last entry, over whatever stands there, and make it durable."""
        tail, index = self.tail, self.tail.index + 1
        if tail.end == 0 and tail.path.name != segment_name(index):
            raise IntegrityFailed("its newest segment does not follow from the one before")
        record = replace(record, at=max(record.at, tail.at))
        line = encode(record, origin=tail.origin, index=index, prev_digest=tail.digest)
        end = write_all(self.fd, line + b"\n", tail.end)
        if os.fstat(self.fd).st_size > end:
            os.ftruncate(self.fd, end)
        self.sync(self.fd)
        if tail.end == 0:
            sync_folder(self.folder)
        digest = hashlib.sha256(line).digest()
        self.advance(Entry(tail.origin, index, tail.digest, record, digest))
        self.tail = replace(self.tail, end=end)
        return Receipt(tail.origin, index, digest)

    def repair(self) -> None:
        """Replace bytes that no process acknowledged by an entry that tells of them."""
        if self.torn_bytes:
            torn = os.pread(self.fd, self.torn_bytes, self.tail.end)
            digest = hashlib.sha256(torn).hexdigest()
            note = f"cut {len(torn)} bytes that were no entry, sha256 {digest}"
            self.write(Record(RecordKind.REPAIR, self.clock.now(), "", self.session, note=note))
            self.torn_bytes = 0

    def close_dead_sessions(self) -> None:
        """State that the attempts of sessions which nobody holds any more were interrupted."""
        dead = self.marks.find_dead()
        if dead:
            lines = self.lines_from(min(dead.values()))
            at = self.clock.now()
            for record in interruptions(lines, is_alive=lambda name: name not in dead, at=at):
                self.write(record)
        for session in dead:
            self.marks.remove(session)

    def lines_from(self, index: int) -> Iterator[bytes]:
        """The entries of the segment that holds ``index``, and of all newer ones."""
        paths = segments(self.folder)
        newer = sum(int(path.stem) > index for path in paths)
        for path in paths[len(paths) - newer - 1 :]:
            yield from lines_of(path, path.stat().st_size)

    # ------------------------------------------------------------ locks and failures

    @contextmanager
    def working(self) -> Iterator[None]:
        """Translate failures, and refuse to go on after one."""
        if self.failure:
            raise unavailable(self.failure)
        try:
            if self.fd < 0:
                make_folder(self.folder)
                make_folder(self.marks.folder)
            yield
        except (OSError, IntegrityFailed) as error:
            # A failed sync says nothing about what a second one would do, so none is tried.
            what = error.what if isinstance(error, IntegrityFailed) else error.strerror
            self.failure = what or type(error).__name__
            raise unavailable(self.failure) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the log's lock: no other thread or process appends meanwhile."""
        if self.holder == threading.get_ident():
            # The collector ran a finaliser in the middle of an append of this very thread.
            raise unavailable("this thread is writing to it")
        fd = self.lock()
        self.holder = threading.get_ident()
        try:
            yield
        finally:
            self.holder = 0
            os.close(fd)

    def lock(self) -> int:
        """The lock file, locked; opened each time, so that it excludes threads and forks too."""
        deadline = time.monotonic() + self.lock_wait_s
        while True:
            fd = os.open(self.folder / "lock", os.O_RDONLY | os.O_CREAT | OPEN_FLAGS, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:
                    return fd
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise unavailable("another process keeps it locked") from None
                time.sleep(LOCK_POLL_S)
            os.close(fd)


def unavailable(why: str) -> BackendFailed:
    """The error of a log that cannot be written."""
    return BackendFailed(
        "The audit log cannot be written, so nothing runs.",
        code="audit-unavailable",
        why=why[:1].lower() + why[1:].removesuffix("."),
        next_step="mend the state folder (nbgov audit verify looks at it), then connect again",
    )

"""The audit log on a local disk: sections 7 to 9 of ``docs/spec/audit-log.md``.

An entry is durable when :meth:`FileAuditLog.append` returns, and after any failure nothing can be
appended until the log is opened anew. The bytes of an entry are the business of
:mod:`nbgov.core.audit`, and the end of the log that of :mod:`nbgov.backends.files.writer`.
"""

from __future__ import annotations

import atexit
import os
import threading
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Self

from nbgov.backends.files.committer import Answer, Committer, unavailable
from nbgov.backends.files.evidence import FileEvidence, reading
from nbgov.backends.files.tree import TreeFile
from nbgov.backends.files.writer import Author, LogTerms, LogWriter
from nbgov.core.audit.merkle import subtree_of
from nbgov.core.audit.note import Note
from nbgov.errors import BackendFailed
from nbgov.model import Receipt, Record
from nbgov.ports import Clock, Signer

# Logs that may have a thread; what is gone from memory is gone from here.
OPENED: weakref.WeakSet[FileAuditLog] = weakref.WeakSet()


class FileAuditLog(FileEvidence):
    """An :class:`~nbgov.ports.AuditLog` in the files of a state folder.

    Nothing is opened before it is needed. The first append repairs a torn tail and closes the
    attempts of sessions whose process died; :meth:`recover` does the same at once.

    Args:
        folder: The state folder; entries are in ``audit``, marks of live sessions in ``sessions``.
        session: Name of the session in entries that the log writes on its own account.
        clock: Tells the time of such entries, and how long the machine runs in every one.
        signer: Signs checkpoints.
        origin: Name of the log if it is new; one is made up by default. A log that exists keeps
            its own.
        terms: How it treats the disk, and when it signs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        session: str,
        clock: Clock,
        signer: Signer,
        origin: str = "",
        terms: LogTerms | None = None,
    ) -> None:
        super().__init__(folder)
        self.state = folder
        self.terms = terms or LogTerms()
        self.signer = signer
        self.author = Author(session, clock, signer, origin or f"nbgov-{uuid.uuid4()}")
        self.opening = threading.RLock()
        self.opened: Committer | None = None
        self.pid = os.getpid()

    def append(self, record: Record) -> Receipt:
        """Make a record durable, with a time that is not before the last one.

        Whoever closes an attempt twice, because the first time was interrupted, gets the receipt of
        the first time.

        Raises:
            BackendFailed: It could not be made durable (code ``audit-unavailable``).
            RuntimeError: The record closes an attempt that is not open in this object.
        """
        committer = self.committer()
        if committer.is_mine():
            # The collector ran a finaliser in the thread that writes. It cannot wait for itself;
            # but that a stream was dropped is worth an entry, which nobody waits for.
            if record.attempt is not None:
                committer.leave(lambda writer: writer.append(record))
            raise unavailable("this thread is writing to it")
        return self.ask(lambda writer: writer.append(record), committer)

    def recover(self) -> None:
        """Repair a torn tail, and close the attempts of sessions whose process died.

        Raises:
            BackendFailed: The log cannot be written, or is damaged beyond its last line.
        """
        self.ask(LogWriter.recover)

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over every entry there is now; made if there is none yet.

        Raises:
            BackendFailed: It cannot be made, or the log is not the one that was signed before
                (code ``audit-unavailable``).
        """
        return self.ask(LogWriter.sign)

    def subtree(self, start: int, stop: int) -> bytes:
        """The Merkle digest of a range of entries that the newest checkpoint covers.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """
        with reading():
            return subtree_of(TreeFile(self.folder / "tree").node)(start, stop)

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries, in the place of the one with this name.

        An empty text takes it away.

        Raises:
            BackendFailed: It cannot be kept (code ``audit-unavailable``).
        """
        self.ask(lambda writer: writer.keep_note(name, text))

    def close(self) -> None:
        """Let go of files and sessions, with a checkpoint over what is new.

        A later append opens the log anew.
        """
        committer = self.opened
        if committer is None or self.pid != os.getpid():
            self.opened = None
            return
        # It stays the one that writes until it has let go of the sessions' marks.
        is_awaited = not committer.is_mine()
        committer.end(is_awaited=is_awaited)
        with self.opening:
            if is_awaited and self.opened is committer:
                self.opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, work: Callable[[LogWriter], Answer], first: Committer | None = None) -> Answer:
        """What the writer answers. Where another thread closes the log, it is opened anew."""
        committer = first or self.committer()
        try:
            return committer.ask(work)
        except BackendFailed:
            if not committer.was_closed():
                raise
        return self.committer().ask(work)

    def committer(self) -> Committer:
        """What writes, opened now if nothing is open; a forked child opens the log for itself."""
        if threading.get_ident() == self.reader:
            # The collector ran a finaliser while this thread holds the lock to read.
            raise unavailable("this thread is reading it")
        opened = self.opened
        if opened is not None and not opened.is_over and self.pid == os.getpid():
            return opened
        with self.opening:
            writer = LogWriter(self.state, self.author, self.terms)
            if self.pid != os.getpid():
                if opened is not None:
                    # Descriptors are inherited, threads are not: sessions stay held.
                    parent = opened.writer
                    writer.books, writer.marks = parent.books, parent.marks
                    parent.lock.forget()
                    parent.tail.close()
            elif self.opened is not None and not self.opened.is_over:
                return self.opened
            made = Committer(writer, timeout_s=self.terms.timeout_s)
            # An object that nobody closes must not keep its thread for ever.
            weakref.finalize(self, made.queue.put, None).atexit = False
            OPENED.add(self)
            self.opened = made
            self.pid = os.getpid()
            return made


@atexit.register
def close_all() -> None:
    """Sign what is new, and end the threads, before the interpreter takes itself apart."""
    for log in tuple(OPENED):
        log.close()

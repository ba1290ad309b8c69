"""The audit log in a PostgreSQL database that several gateways share, one chain each.

Who writes a chain is alone with it: :mod:`nbgov.backends.postgresql.audit_writer`. Sessions of one
process share that writer; another process is refused. Whoever only reads needs neither. The bytes
of an entry are the business of :mod:`nbgov.core.audit`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from nbgov.backends.postgresql.audit_tables import NO_SCHEMA, NO_TABLE, Tables, load_driver
from nbgov.backends.postgresql.audit_writer import Job, Writer, WriterTerms, reason, unavailable
from nbgov.backends.postgresql.origins import sqlstate_of
from nbgov.core.audit.merkle import subtree_of
from nbgov.errors import BackendFailed, NbgovError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from nbgov.core.audit.note import Note
    from nbgov.model import Receipt, Record
    from nbgov.ports import Clock, Signer


class PostgreSQLEvidence:
    """An :class:`~nbgov.ports.Evidence`: one log of a database, read on connections of its own.

    Args:
        url: Where the server is, with the account.
        origin: Name of the log.
    """

    def __init__(self, url: URL, origin: str) -> None:
        self.url = url
        self.origin = origin

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, from an index on, oldest first.

        Raises:
            BackendFailed: They cannot be read (code ``state-unavailable``).
        """
        yield from self.read(lambda tables: tables.lines(self.origin, start))

    def note(self, name: str) -> str:
        """A signed note that is kept beside the entries; empty where there is none.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """
        found = self.read(lambda tables: iter([tables.note(self.origin, name)]))
        return next(found, "")

    def subtree(self, start: int, stop: int) -> bytes:
        """The Merkle digest of a range of entries that the newest checkpoint covers.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """

        def digests(tables: Tables) -> Iterator[bytes]:
            yield subtree_of(lambda place: tables.nodes(self.origin, [place])[0])(start, stop)

        return next(self.read(digests), b"")

    def origins(self) -> tuple[str, ...]:
        """The names of all logs in the database.

        Raises:
            BackendFailed: They cannot be read (code ``state-unavailable``).
        """
        return tuple(self.read(lambda tables: iter(tables.origins())))

    def beside(self, origin: str) -> PostgreSQLEvidence:
        """Another log of the same database."""
        return PostgreSQLEvidence(self.url, origin)

    def read(self, question: Callable[[Tables], Iterator[Any]]) -> Iterator[Any]:
        """What a question finds; nothing where nobody has made the tables yet."""
        failure = ""
        _, errors = load_driver()
        try:
            with Tables(self.url) as tables:
                yield from question(tables)
        except errors as error:
            if sqlstate_of(error) in {NO_TABLE, NO_SCHEMA}:
                return
            failure = reason(error)
        if failure:
            # Security: raised out here, so that no frame of the driver shows the account.
            raise BackendFailed(
                "The audit log cannot be read.",
                code="state-unavailable",
                why=failure,
                next_step="look at the database under audit: sinks: in nbgov.yaml",
            )


class PostgreSQLAuditLog(PostgreSQLEvidence):
    """An :class:`~nbgov.ports.AuditLog` in tables of a PostgreSQL database.

    Nothing is connected before it is needed. The first append closes the attempts that the last
    process left open; :meth:`recover` does the same at once.

    Args:
        url: Where the server is, with the account.
        origin: Name of the log. No other process writes it meanwhile.
        session: Name of the session in entries that the log writes on its own account; of several
            sessions of one process, the first one.
        clock: Tells the time of such entries.
        signer: Signs checkpoints.
        heads: The log over the checkpoints of all, opened and closed with this one.
        terms: When it is signed, and how long its lock is waited for.
    """

    writer_type: type[Writer] = Writer

    def __init__(
        self,
        url: URL,
        *,
        origin: str,
        session: str,
        clock: Clock,
        signer: Signer,
        heads: PostgreSQLAuditLog | None = None,
        terms: WriterTerms | None = None,
    ) -> None:
        super().__init__(url, origin)
        self.heads = heads
        self.new_writer = partial(
            self.writer_type,
            partial(Tables, url),
            origin=origin,
            session=session,
            clock=clock,
            signer=signer,
            terms=terms or WriterTerms(),
        )
        self.token = object()
        self.gate = threading.Lock()
        self.writer: Writer | None = None

    def append(self, record: Record) -> Receipt:
        """Make a record durable, with a time that is not before the last one.

        An attempt is closed once: who closes it again, because the wait for the first time was
        interrupted, gets the receipt of the first time.

        Raises:
            BackendFailed: It could not be made durable (code ``audit-unavailable``).
            RuntimeError: The record closes an attempt that was never open in this object.
        """
        job = Job(self.token, record)
        submit(self.opened(), job)
        receipt: Receipt = job.done.result()
        return receipt

    def recover(self) -> None:
        """Close the attempts that processes, and closed logs of this one, left open.

        Raises:
            BackendFailed: The log cannot be written (code ``audit-unavailable``).
        """
        self.call(lambda writer: writer.recover)

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over every entry there is now; made if there is none yet.

        Raises:
            BackendFailed: It cannot be made, or the log is not the one that was signed before
                (code ``audit-unavailable``).
        """
        note: Note | None = self.call(lambda writer: writer.checkpoint)
        return note

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries, in the place of the one with this name.

        Raises:
            BackendFailed: It cannot be kept (code ``audit-unavailable``).
        """
        self.call(lambda writer: partial(writer.tables.keep_note, self.origin, name, text))

    def close(self) -> None:
        """Let go of the log, with a checkpoint over what is new. A later append opens it anew."""
        with self.gate:
            writer, self.writer = self.writer, None
        if writer is not None and writer.pid == os.getpid():
            WRITERS.release(writer, self.token)
        if self.heads is not None:
            self.heads.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, task: Callable[[Writer], Callable[[], Any]]) -> Any:
        """Have the writer do something, and wait for what comes of it."""
        writer = self.opened()
        job = Job(self.token, task(writer))
        submit(writer, job)
        return job.done.result()

    def opened(self) -> Writer:
        """The writer, started if there is none; it stays the same one after it has failed."""
        with self.gate:
            if self.writer is None or self.writer.pid != os.getpid():
                key = str(os.getpid()), self.url.render_as_string(), self.origin
                self.writer = WRITERS.lease(key, self.token, self.new_writer)
                if self.heads is not None:
                    self.heads.opened()
            return self.writer


class Writers:
    """The writers of this process, each for as long as somebody uses it."""

    def __init__(self) -> None:
        # The collector can run a finaliser, which gives a lease back, in a thread that takes one.
        self.lock = threading.RLock()
        self.known: dict[tuple[str, ...], Writer] = {}
        self.users: dict[Writer, set[object]] = {}

    def lease(self, key: tuple[str, ...], user: object, new_writer: Callable[[], Writer]) -> Writer:
        """The writer of a log, a new one where there is none that works."""
        with self.lock:
            writer = self.known.get(key)
            if writer is None or writer.is_over:
                writer = self.known[key] = new_writer()
                self.users[writer] = set()
                writer.start()
            self.users[writer].add(user)
            writer.submit(Job(user, partial(writer.join_in, user)))
            return writer

    def release(self, writer: Writer, user: object) -> None:
        """Give a lease back; the last one ends the writer."""
        with self.lock:
            users = self.users[writer]
            users.discard(user)
            is_last = not users
            if is_last:
                del self.users[writer]
                self.known = {k: one for k, one in self.known.items() if one is not writer}
        task = writer.finish if is_last else partial(writer.leave, user)
        job = Job(user, task)
        writer.submit(job)
        # A finaliser can run in a writer's own thread, which cannot wait for itself.
        if not isinstance(threading.current_thread(), Writer):
            with suppress(NbgovError):
                job.done.result()
            if is_last:
                writer.join()


WRITERS = Writers()


def submit(writer: Writer, job: Job) -> None:
    """Hand a writer something to do, for which the caller then waits."""
    if threading.current_thread() is writer:
        # The collector ran a finaliser in the writer's own thread, which cannot wait for itself.
        raise unavailable("this thread is writing to it")
    writer.submit(job)

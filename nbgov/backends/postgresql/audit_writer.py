"""The one thread that writes one audit log in PostgreSQL, for every session of this process.

Sessions hand it records and wait. What gathered while it was at the server goes there next, in one
transaction: group commit. It holds the advisory lock of the log on the connection that it writes
through, so that it is alone as long as it can write at all, and everything that it knows stays
true. After any failure it ends, and whoever comes next begins anew from what the server holds.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nbgov.backends.postgresql.audit_tables import UNIQUE_VIOLATION, Tables
from nbgov.backends.postgresql.origins import sqlstate_of
from nbgov.backends.postgresql.transaction import server_reason
from nbgov.core.audit import interruptions
from nbgov.core.audit.entry import decode
from nbgov.core.audit.ledger import ClockWatch, Ledger, edge_places
from nbgov.core.audit.merkle import Frontier, leaf_digest, nodes_below
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey, sign
from nbgov.errors import BackendFailed, IntegrityFailed, NbgovError
from nbgov.model import Record, RecordKind

if TYPE_CHECKING:
    from nbgov.model import Receipt
    from nbgov.ports import Clock, Signer

GROUP_MAX = 256
CLOSED_MAX = 1024
LOCK_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class WriterTerms:
    """When a log is signed, and how long its lock is waited for.

    Attributes:
        checkpoint_entries: A checkpoint is signed after so many entries,
        checkpoint_s: or so many seconds, whichever comes first, and at the end.
        lock_wait_s: How long to wait for another process to let go of the log.
    """

    checkpoint_entries: int = 256
    checkpoint_s: float = 10.0
    lock_wait_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done by the writer, and who waits for it."""

    owner: object
    task: Record | Callable[[], Any]
    done: Future[Any] = field(default_factory=Future)


class Writer(threading.Thread):
    """Writes one log until nobody needs it any more, or until it fails.

    Args:
        tables: Opens a connection.
        origin: Name of the log.
        session: Name of the session in entries that the log writes on its own account.
        clock: Tells the time of such entries.
        signer: Signs checkpoints.
        terms: When it is signed, and how long its lock is waited for.
    """

    def __init__(
        self,
        tables: Callable[[], Tables],
        *,
        origin: str,
        session: str,
        clock: Clock,
        signer: Signer,
        terms: WriterTerms,
    ) -> None:
        super().__init__(name=f"nbgov audit {origin}", daemon=True)
        self.open_tables = tables
        self.origin = origin
        self.session = session
        self.clock = clock
        self.signer = signer
        self.terms = terms
        self.pid = os.getpid()
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self.owners: set[object] = set()
        self.attempts: dict[int, object] = {}
        self.closed: dict[tuple[object, int | None], Receipt] = {}
        self.ledger = Ledger(origin)
        self.signed: Note | None = None
        self.signed_s = time.monotonic()
        self.watch = ClockWatch()
        self.failure = ""
        self.is_over = False

    # ------------------------------------------------------------ for any thread

    def submit(self, job: Job) -> None:
        """Have something done; its future tells how it went."""
        self.jobs.put(job)
        if self.is_over:
            self.refuse_rest()

    def refuse_rest(self) -> None:
        """Tell whoever still waits that nothing more is done."""
        with suppress(queue.Empty):
            while True:
                refuse([self.jobs.get_nowait()], self.failure or "it was closed meanwhile")

    # ------------------------------------------------------------ the thread

    def run(self) -> None:
        """Open the log, and do what is asked until the end."""
        try:
            with self.open_tables() as self.tables:
                self.open()
                while not self.is_over:
                    self.work(self.gather())
        except Exception as error:  # noqa: BLE001 (whatever it was, nothing may be written after it)
            self.failure = reason(error)
        finally:
            self.is_over = True
            self.refuse_rest()

    def gather(self) -> list[Job]:
        """What waits to be done; nothing where it is time for a checkpoint."""
        jobs: list[Job] = []
        with suppress(queue.Empty):
            jobs.append(self.jobs.get(timeout=self.idle_s()))
            while len(jobs) < GROUP_MAX:
                jobs.append(self.jobs.get_nowait())
        return [job for job in jobs if job.done.set_running_or_notify_cancel()]

    def idle_s(self) -> float | None:
        """How long there is nothing to do if nobody asks for anything; ``None`` for ever."""
        if not self.unsigned:
            return None
        return max(0.0, self.signed_s + self.terms.checkpoint_s - time.monotonic())

    def work(self, jobs: Sequence[Job]) -> None:
        """Do jobs in their order; records that stand together become durable together."""
        try:
            for is_record, group in groupby(jobs, key=lambda job: isinstance(job.task, Record)):
                if is_record:
                    self.append(tuple(group))
                else:
                    for job in group:
                        self.call(job)
            if self.unsigned >= self.terms.checkpoint_entries or self.idle_s() == 0:
                self.tick()
        except Exception as error:
            refuse(jobs, reason(error))
            raise

    def call(self, job: Job) -> None:
        """Do one thing that is no append."""
        assert not isinstance(job.task, Record)
        try:
            job.done.set_result(job.task())
        except BackendFailed as error:
            # A key that cannot be read, say: the log itself is as it was.
            job.done.set_exception(error)

    def append(self, jobs: Iterable[Job]) -> None:
        """Make the records of some jobs durable, in one transaction."""
        self.mind_clock()
        lines, receipts = [], []
        for job in jobs:
            assert isinstance(job.task, Record)
            before = self.closed.get((job.owner, job.task.attempt))
            if before is not None:
                receipts.append((job, before))
                continue
            try:
                line, receipt = self.draw_up(job.task, job.owner)
            except RuntimeError as error:
                job.done.set_exception(error)
            else:
                lines.append((job.task, line))
                receipts.append((job, receipt))
        self.commit(lines)
        for job, receipt in receipts:
            job.done.set_result(receipt)

    def mind_clock(self) -> None:
        """State that the clock went back; the times of entries never do."""
        now, last = self.clock.now(), self.ledger.last
        if last and (note := self.watch.told(now, newest=last.record.at)):
            record = Record(RecordKind.ADMIN, now, "", self.session, verb="CLOCK", note=note)
            self.commit([(record, self.ledger.draw_up(record)[0])])

    def draw_up(self, record: Record, owner: object) -> tuple[bytes, Receipt]:
        """The next entry; the books of open attempts are kept."""
        attempt = record.attempt
        if attempt is not None and self.attempts.get(attempt) is not owner:
            problem = f"The attempt {attempt} is not open in this log."
            raise RuntimeError(problem)
        if record.ticks is None:
            record = replace(record, ticks=self.clock.ticks())
        line, receipt = self.ledger.draw_up(record)
        if record.kind is RecordKind.ATTEMPT:
            self.attempts[receipt.index] = owner
        elif attempt is not None:
            del self.attempts[attempt]
            self.closed[owner, attempt] = receipt
            if len(self.closed) > CLOSED_MAX:
                del self.closed[next(iter(self.closed))]
        return line, receipt

    def commit(self, entries: Sequence[tuple[Record, bytes]]) -> None:
        """Make the newest entries durable."""
        start = self.ledger.size - len(entries)
        if entries:
            self.tables.commit(
                self.origin,
                start,
                [line for _, line in entries],
                opened=(
                    index
                    for index, (record, _) in enumerate(entries, start)
                    if record.kind is RecordKind.ATTEMPT
                ),
                closed=(record.attempt for record, _ in entries if record.attempt is not None),
            )

    # ------------------------------------------------------------ the beginning

    def open(self) -> None:
        """Make the log this thread's own, and state which attempts the last writer left open."""
        self.tables.set_up()
        deadline = time.monotonic() + self.terms.lock_wait_s
        while not self.tables.lock(self.origin):
            if time.monotonic() > deadline:
                problem = f"another process writes the log {self.origin}"
                raise IntegrityFailed(problem)
            time.sleep(LOCK_POLL_S)
        text = self.tables.note(self.origin, "checkpoint")
        self.signed = Note.parse(text) if text else None
        first = self.tables.first_attempt(self.origin)
        start = max(0, self.signed_size - 1)
        lines = self.follow(start if first is None else min(start, first))
        lost = interruptions(lines, is_alive=lambda _: False, at=self.clock.now())
        if self.tables.size(self.origin) != self.ledger.size:
            problem = "its entries do not follow from one another"
            raise IntegrityFailed(problem)
        self.interrupt(lost)

    def follow(self, start: int) -> Iterator[bytes]:
        """The entries from an index on; the ledger takes in those that were not signed."""
        signed = self.signed_size
        frontier = self.signed_tree()
        is_known = signed == 0
        for index, line in enumerate(self.tables.lines(self.origin, start), start):
            if index >= signed:
                self.ledger.take(line)
            elif index == signed - 1:
                self.ledger = Ledger(self.origin, frontier=frontier, last=decode(line))
                is_known = True
            yield line
        if not is_known:
            problem = "it is shorter than it was when it was signed"
            raise IntegrityFailed(problem)

    def signed_tree(self) -> Frontier:
        """The edge of the tree that was signed; the tree is made anew where it is damaged."""
        if self.signed is None:
            return Frontier()
        size, root = self.signed.checkpoint.size, self.signed.checkpoint.root
        frontier = Frontier(size, self.tables.nodes(self.origin, edge_places(size)))
        if frontier.root() == root:
            return frontier
        frontier = Frontier()
        nodes: list[bytes] = []
        for line in self.tables.lines(self.origin, stop=size):
            nodes += frontier.add(leaf_digest(line))
        if (frontier.size, frontier.root()) != (size, root):
            problem = "it is not the log that was signed before"
            raise IntegrityFailed(problem)
        self.tables.keep_nodes(self.origin, 0, nodes)
        return frontier

    # ------------------------------------------------------------ what sessions ask for

    def join_in(self, owner: object) -> None:
        """Know another user of the log."""
        self.owners.add(owner)
        self.recover()

    def leave(self, owner: object) -> None:
        """Forget a user; the attempts that it left open are closed with the next one."""
        self.owners.discard(owner)

    def recover(self) -> None:
        """State that the attempts of users who have left were interrupted."""
        lost = {index for index, owner in self.attempts.items() if owner not in self.owners}
        if lost:
            lines = self.tables.lines(self.origin, min(lost))
            found = interruptions(lines, is_alive=lambda _: False, at=self.clock.now())
            self.interrupt(record for record in found if record.attempt in lost)

    def interrupt(self, records: Iterable[Record]) -> None:
        """Write records that close attempts which nobody else will."""
        found = list(records)
        for record in found:
            assert record.attempt is not None
            self.attempts.pop(record.attempt, None)
        for start in range(0, len(found), GROUP_MAX):
            group = found[start : start + GROUP_MAX]
            self.commit([(record, self.ledger.draw_up(record)[0]) for record in group])

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over every entry; made and kept if there is none yet."""
        size = self.ledger.size
        if not size:
            return None
        key = VerifierKey(self.origin, self.signer.public_key())
        if self.signed and not self.unsigned and self.signed.signed_by(key):
            return self.signed
        root = self.ledger.frontier.root()
        note = sign(Checkpoint(self.origin, size, root), key, self.signer.sign)
        # The nodes come first: a note promises that they are there.
        nodes = self.ledger.fresh
        self.tables.keep_nodes(self.origin, nodes_below(size) - len(nodes), nodes)
        self.tables.keep_note(self.origin, "checkpoint", str(note))
        nodes.clear()
        self.signed, self.signed_s = note, time.monotonic()
        return note

    def tick(self) -> None:
        """Do what is due from time to time."""
        self.checkpoint()

    def finish(self) -> None:
        """End, with a checkpoint over what is new."""
        self.is_over = True
        if self.unsigned:
            self.checkpoint()

    @property
    def signed_size(self) -> int:
        """How many entries the newest checkpoint covers."""
        return self.signed.checkpoint.size if self.signed else 0

    @property
    def unsigned(self) -> int:
        """How many entries no checkpoint covers."""
        return self.ledger.size - self.signed_size


def refuse(jobs: Iterable[Job], why: str) -> None:
    """Tell whoever waits for some jobs that they are not done."""
    for job in jobs:
        with suppress(InvalidStateError):
            job.done.set_exception(unavailable(why))


def reason(error: Exception) -> str:
    """Why nothing more is written, in our words: the server's own could hold anything."""
    if isinstance(error, NbgovError):
        return error.why or error.what
    sqlstate = sqlstate_of(error)
    if sqlstate == UNIQUE_VIOLATION:
        return "somebody else wrote the next entry: the log was forked"
    return server_reason(sqlstate) if sqlstate else "the server does not answer"


def unavailable(why: str) -> BackendFailed:
    """The error of a log that cannot be written."""
    return BackendFailed(
        "The audit log cannot be written, so nothing runs.",
        code="audit-unavailable",
        why=why.removesuffix("."),
        next_step="look at the database under audit: sinks: in nbgov.yaml, then connect again",
    )

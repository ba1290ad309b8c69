"""The thread that writes an audit log: what many threads ask for becomes durable in one sync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from nbgov.backends.files.tail import GROUP_BYTES_MAX
from nbgov.backends.files.writer import LogWriter
from nbgov.errors import BackendFailed, NbgovError

Answer = TypeVar("Answer")


class Job:
    """Something to be done by the writer, and who waits for it.

    Attributes:
        claim: Held by whoever came first: the thread that does it, or the caller that gave up.
        done: Free once the answer counts.
    """

    __slots__ = ("answer", "claim", "done", "error", "is_durable", "work")

    def __init__(self, work: Callable[[LogWriter], Any]) -> None:
        self.work = work
        self.claim = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.answer: Any = None
        self.error: RuntimeError | None = None
        self.is_durable = False


class Committer:
    """Does what is asked of a writer in a thread of its own, in groups.

    A caller that is interrupted so never cuts a commit in two, and one that waits for a disk that
    hangs gives up in time. After a failure everything is refused. The queue may be used by a
    finaliser that runs in the middle of anything.

    Args:
        writer: Used by nobody else.
        timeout_s: How long a caller waits.
    """

    def __init__(self, writer: LogWriter, *, timeout_s: float) -> None:
        self.writer = writer
        self.timeout_s = timeout_s
        self.queue: SimpleQueue[Job | None] = SimpleQueue()
        self.starting = threading.Lock()
        self.thread = threading.Thread(target=self.run, name="nbgov audit log", daemon=True)
        self.ident = 0
        self.is_waiting_for_lock = False
        self.is_over = False
        self.failure = ""
        self.failure_step = ""
        self.cause: BaseException | None = None

    def ask(self, work: Callable[[LogWriter], Answer]) -> Answer:
        """What the writer answers, once everything before it is durable.

        Raises:
            BackendFailed: It could not be done (code ``audit-unavailable``), or not any more, which
                is when this :meth:`was_closed`.
            RuntimeError: What is asked for cannot be.
        """
        if self.failure:
            raise self.failed()
        job = Job(work)
        self.queue.put(job)
        if self.is_over:
            self.refuse()
        else:
            self.start()
        try:
            is_done = job.done.acquire(timeout=self.timeout_s)
        except BaseException:
            # An interrupt: what has not begun is not to be done any more.
            job.claim.acquire(blocking=False)
            raise
        if not is_done:
            self.give_up(job)
        if job.error is not None:
            raise job.error
        if not job.is_durable:
            raise self.failed() from self.cause
        answer: Answer = job.answer
        return answer

    def leave(self, work: Callable[[LogWriter], object]) -> None:
        """Have something done without waiting for it."""
        self.queue.put(Job(work))

    def is_mine(self) -> bool:
        """Whether it is this object's own thread that asks."""
        return threading.get_ident() == self.ident

    def was_closed(self) -> bool:
        """Whether it ended after it had done all that it began: what is not done never began."""
        return self.is_over and not self.failure

    def end(self, *, is_awaited: bool) -> None:
        """Do what was asked for, let go of the log, and end the thread."""
        with suppress(BackendFailed):
            if is_awaited and not self.failure:
                self.ask(LogWriter.finish)
        self.queue.put(None)
        self.start()
        if is_awaited and self.thread.is_alive() and not self.is_hung():
            self.thread.join(self.timeout_s)

    # ------------------------------------------------------------ the thread

    def start(self) -> None:
        """Start the thread, once."""
        if self.starting.acquire(blocking=False):
            try:
                self.thread.start()
            except RuntimeError:
                # The interpreter is about to end and starts no thread any more: the caller writes.
                self.run(is_thread=False)
                self.starting.release()

    def run(self, *, is_thread: bool = True) -> None:
        """Do what is asked for, until nothing will be; in a caller's thread, until nothing is."""
        self.ident = threading.get_ident()
        while is_thread or not self.queue.empty():
            job = self.next_job()
            if job is None:
                self.finish()
                break
            if self.failure:
                job.done.release()
            else:
                self.commit(job)
            # An idle thread keeps nothing alive that a caller passed.
            del job
        self.ident = 0

    def finish(self) -> None:
        """Let go of the log, and of those who asked too late."""
        try:
            self.writer.release()
        finally:
            # Whoever asks before this is refused here, and whoever asks later by itself.
            self.is_over = True
            self.refuse()

    def refuse(self) -> None:
        """Do nothing of what is asked for any more."""
        with suppress(Empty):
            while True:
                if (job := self.queue.get_nowait()) is not None:
                    job.done.release()

    def next_job(self) -> Job | None:
        """The next thing to do: a checkpoint that is due is one."""
        try:
            return self.queue.get(timeout=None if self.failure else self.writer.due_in())
        except Empty:
            return Job(LogWriter.sign)

    def commit(self, first: Job) -> None:
        """Do a job and all that wait behind it, as one group."""
        begun: list[Job] = []
        try:
            self.is_waiting_for_lock = True
            with self.writer.locked():
                self.is_waiting_for_lock = False
                self.writer.settle()
                for job in self.group(first):
                    if job.claim.acquire(blocking=False):
                        begun.append(job)
                        self.work(job)
                self.writer.flush()
                # Once somebody gave up, and was told so, nothing counts any more.
                is_durable = not self.failure
                for job in begun:
                    job.is_durable = is_durable
                    job.done.release()
                begun = []
                if self.writer.due_in() == 0:
                    self.writer.sign()
        except BaseException as error:  # noqa: BLE001 (each caller gets it, and nothing goes on)
            self.latch(error)
            for job in {*begun, first}:
                if job.claim.acquire(blocking=False) or job in begun:
                    job.done.release()
        finally:
            self.is_waiting_for_lock = False

    def group(self, first: Job) -> Iterator[Job]:
        """A job, and those that were asked for meanwhile."""
        yield first
        while self.writer.draft_bytes < GROUP_BYTES_MAX:
            try:
                job = self.queue.get_nowait()
            except Empty:
                return
            if job is None:
                self.queue.put(None)
                return
            yield job

    def work(self, job: Job) -> None:
        """Do one job of a group. What cannot be is the caller's business alone."""
        try:
            job.answer = job.work(self.writer)
        except RuntimeError as error:
            job.error = error

    # ------------------------------------------------------------ failures

    def latch(self, error: BaseException) -> None:
        """Refuse everything from now on."""
        # A failed sync says nothing about what a second one would do, so none is tried.
        self.cause = error
        why = getattr(error, "what", None) or getattr(error, "strerror", None)
        self.failure = self.failure or why or type(error).__name__
        if isinstance(error, NbgovError):
            self.failure_step = error.next_step

    def is_hung(self) -> bool:
        """Whether the thread cannot be waited for."""
        return bool(self.failure) and self.cause is None

    def give_up(self, job: Job) -> None:
        """Stop waiting for a job."""
        if job.claim.acquire(blocking=False) and self.is_waiting_for_lock:
            # It has not begun, and never will.
            raise unavailable("another process keeps it locked")
        self.failure = self.failure or f"the disk did not answer within {self.timeout_s:g} s"

    def failed(self) -> BackendFailed:
        """The error of a log that failed before, or was closed."""
        return unavailable(self.failure or "another thread closed it", self.failure_step)


def unavailable(why: str, next_step: str = "") -> BackendFailed:
    """The error of a log that cannot be written."""
    return BackendFailed(
        "The audit log cannot be written, so nothing runs.",
        code="audit-unavailable",
        why=why[:1].lower() + why[1:].removesuffix("."),
        next_step=next_step
        or "mend the state folder (nbgov audit verify looks at it), then connect again",
    )

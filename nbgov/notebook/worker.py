"""What a cell asked for and has to wait for: the ticket is watched, then the statement runs here.

A kernel that runs a cell hears no clicks, and a query that blocks the main thread hears no Stop. So
the watch is a thread, and the run is another one: exactly one, for the consent is used by
compare-and-swap in the store, and whoever loses says so. What came of it, a result as it was
delivered or an error, is parked until the cell is run again, and handed over once.

The module knows no widgets; cards and waiting cells listen. A listener is called on any thread.
Cases are in ``tests/surfaces/test_card.py``.
"""

from __future__ import annotations

import enum
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nbgov.errors import BackendFailed, NbgovError, RequestInvalid
from nbgov.model import Approval, ApprovalState, Result
from nbgov.session import Session

LIVE = (ApprovalState.REQUESTED, ApprovalState.APPROVED)
# How often the store is asked: often while somebody is likely to look at the card.
BRISK_S, CALM_S, CALM_AFTER_S = 1.0, 5.0, 600.0
PROGRESS_S = 0.5
STOP_TICK_S = 0.05
CLOSE_TIMEOUT_S = 5.0
ERRANDS_MAX = 32
# Results of approved reads that no cell has taken yet; what came last always stays.
PARKED_BYTES_MAX = 256 * 2**20

Key = tuple[Any, ...]


def pace(age_s: float) -> float:
    """Seconds until the next look at the store, for a ticket that was asked for so long ago.

    >>> pace(0), pace(3_600)
    (1.0, 5.0)
    """
    return BRISK_S if age_s < CALM_AFTER_S else CALM_S


class Stage(enum.Enum):
    """Where an errand stands; from ``DONE`` on nothing more happens by itself."""

    WAITING = enum.auto()
    RUNNING = enum.auto()
    DONE = enum.auto()
    FAILED = enum.auto()
    HANDED_OVER = enum.auto()
    DROPPED = enum.auto()
    OVER = enum.auto()
    CLOSED = enum.auto()


SPENT = (Stage.HANDED_OVER, Stage.DROPPED, Stage.OVER, Stage.CLOSED)


@dataclass(frozen=True)
class Order:
    """One statement that can be run again exactly as it was typed.

    Attributes:
        key: Gives everything that makes a cell that is run again the same one.
        run: Runs it under a request id and with a ticket, either of which may be empty.
    """

    key: Callable[[], Key]
    run: Callable[[str, str], Result]


class Errand:
    """One ticket's way from the question to what came of it.

    Args:
        session: The requester's session.
        order: What runs once it is approved.
        approval: The ticket as it stands.
        pace: Seconds until the next look at the store, from the age of the errand.

    Attributes:
        request: Request id of the run, by which it is cancelled.
        problem: What went wrong at the last look or click, for people, or empty.
        is_awaited: Whether a cell waits for it, so that nobody has to run it again.
        is_told: Whether somebody pressed Stop and was told so, by an error of its own.
    """

    def __init__(
        self,
        session: Session,
        order: Order,
        approval: Approval,
        *,
        pace: Callable[[float], float] = pace,
    ) -> None:
        self.session = session
        self.order = order
        self.approval = approval
        self.pace = pace
        self.request = uuid.uuid4().hex
        self.stage = Stage.WAITING
        self.problem = ""
        self.is_awaited = False
        self.is_told = False
        self.is_cancelled = False
        self.began_s = 0.0
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.listeners: list[Callable[[], None]] = []
        self.lock = threading.RLock()
        self.nudged = threading.Event()
        self.settled = threading.Event()
        self.watcher = threading.Thread(target=self.watch, name="nbgov-watch", daemon=True)
        self.worker: threading.Thread | None = None

    # ------------------------------------------------------------ the ticket

    def watch(self) -> None:
        """Look at the store, and at the run, until the errand is settled."""
        began = time.monotonic()
        while not self.settled.is_set():
            is_running = self.stage is Stage.RUNNING
            self.nudged.wait(PROGRESS_S if is_running else self.pace(time.monotonic() - began))
            self.nudged.clear()
            if self.stage is Stage.RUNNING:
                self.repeat_cancel()
                self.tell()
            else:
                self.look()

    def look(self) -> None:
        """Read the ticket; run, if it was approved since. For any thread."""
        with self.lock:
            if self.stage is not Stage.WAITING:
                return
            self.take(lambda: self.session.approval(self.approval.ticket))
            if self.stage is Stage.WAITING:
                is_fresh = self.approval.state is ApprovalState.APPROVED and not self.approval.uses
                if is_fresh:
                    self.start()
                elif self.approval.state is not ApprovalState.REQUESTED:
                    self.settle(Stage.OVER)
        self.tell()

    def withdraw(self) -> None:
        """Take the request back. A click may come on any thread, and twice."""
        with self.lock:
            if self.stage is not Stage.WAITING:
                return
            self.take(lambda: self.session.cancel_ticket(self.approval.ticket))
            if self.approval.state is not ApprovalState.REQUESTED and not self.problem:
                self.settle(Stage.OVER)
        self.tell()

    def take(self, step: Callable[[], Approval]) -> None:
        """Take one step, with the lock held, and keep the ticket or the error that comes back."""
        try:
            self.approval = step()
        except NbgovError as error:
            self.problem = str(error)
        else:
            self.problem = ""

    # ------------------------------------------------------------ the run

    def start(self) -> None:
        """Begin to run, with the lock held."""
        self.stage = Stage.RUNNING
        self.began_s = time.monotonic()
        self.worker = threading.Thread(target=self.work, name="nbgov-run", daemon=True)
        self.worker.start()
        self.nudged.set()

    def work(self) -> None:
        """Run the statement, and park what comes of it."""
        try:
            # Security: this ticket or none, so that whoever comes second does not ask anew.
            with self.order.run(self.request, self.approval.ticket) as result:
                self.result = result
                if result.schema.names:
                    # Masked batches only: what is parked is what was delivered and recorded.
                    result.to_arrow()
        except BaseException as error:  # noqa: BLE001 - it is raised where the cell runs again
            self.error = error
        self.park()

    def park(self) -> None:
        """Settle the errand: a result, an error, or the news that somebody else was first."""
        with self.lock:
            ran, error = self.stage is Stage.RUNNING, self.error
            self.take(lambda: self.session.approval(self.approval.ticket))
            self.problem = ""
            if not ran:
                return
            if is_lost(error):
                self.result = self.error = None
                self.settle(Stage.OVER)
            elif error is None:
                self.settle(Stage.DONE)
            else:
                self.settle(Stage.HANDED_OVER if self.is_told else Stage.FAILED)
        self.tell()

    def cancel(self) -> None:
        """Stop the statement that runs. For any thread."""
        self.is_cancelled = True
        self.repeat_cancel()
        self.nudged.set()

    def repeat_cancel(self) -> None:
        """Say it again to an engine that had not begun when it was said first."""
        if self.is_cancelled and self.stage is Stage.RUNNING:
            with suppress(NbgovError):
                self.session.cancel(self.request)

    @property
    def progress(self) -> tuple[float, int, int]:
        """Seconds, rows and bytes so far."""
        summary = self.result.summary if self.result else None
        rows, size = (summary.rows_read, summary.bytes_read) if summary else (0, 0)
        return time.monotonic() - self.began_s, rows, size

    # ------------------------------------------------------------ the end

    def settle(self, stage: Stage) -> None:
        """Nothing more happens by itself, with the lock held."""
        self.stage = stage
        self.settled.set()
        self.nudged.set()

    def finish(self) -> None:
        """Wait on the main thread for a run to end; Stop stops the statement.

        Raises:
            BackendFailed: It was stopped (``cancelled``).
        """
        try:
            while self.stage is Stage.RUNNING:
                self.settled.wait(STOP_TICK_S)
        except KeyboardInterrupt:
            raise self.stop() from None

    def stop(self) -> BackendFailed:
        """Stop the statement for somebody at the keyboard, and give what they are told."""
        self.is_told = True
        self.cancel()
        return stopped()

    def hand_over(self) -> Result | None:
        """What came of the run, once; ``None`` if there is nothing.

        Raises:
            BaseException: What the run raised, once.
        """
        with self.lock:
            if self.stage not in {Stage.DONE, Stage.FAILED}:
                return None
            result, error = self.result, self.error
            self.result = self.error = None
            self.stage = Stage.HANDED_OVER
        self.tell()
        if error is not None:
            raise error
        return result

    def drop(self) -> None:
        """Let go of a parked result."""
        with self.lock:
            if self.stage is not Stage.DONE:
                return
            self.result = None
            self.stage = Stage.DROPPED
        self.tell()

    def close(self) -> None:
        """Stop watching and running, and forget what is parked. The ticket stays as it is."""
        was_running = self.stage is Stage.RUNNING
        if was_running:
            self.cancel()
        with self.lock:
            if not was_running:
                self.result = self.error = None
                self.settle(Stage.CLOSED)
        self.tell()
        self.listeners.clear()
        for thread in (self.worker, self.watcher):
            if thread is not None and thread.is_alive():
                thread.join(CLOSE_TIMEOUT_S)
        self.result = self.error = None

    def tell(self) -> None:
        """Call the listeners, without the lock."""
        for listener in tuple(self.listeners):
            listener()


class Desk:
    """The errands of one kernel, by what their cells asked for."""

    def __init__(self) -> None:
        self.errands: dict[Key, Errand] = {}

    def add(self, errand: Errand) -> None:
        """Keep an errand in place of an earlier one for the same cell, and watch its ticket."""
        key = errand.order.key()
        if key in self.errands:
            self.errands.pop(key).close()
        for one in [key for key, known in self.errands.items() if known.stage in SPENT]:
            del self.errands[one]
        while len(self.errands) >= ERRANDS_MAX:
            self.errands.pop(next(iter(self.errands))).close()
        self.errands[key] = errand
        errand.listeners.append(self.trim)
        errand.watcher.start()

    def claim(self, order: Order) -> Result | None:
        """What came of an earlier run of the same cell, once; waits for one that still runs.

        Raises:
            BaseException: What the run raised, once.
        """
        if not self.errands:
            return None
        try:
            key = order.key()
        except RequestInvalid:
            # The session meets the same error, and records it.
            return None
        errand = self.errands.get(key)
        if errand is None:
            return None
        # A vote since the last look is used here too, so that cell and card never both use it.
        errand.look()
        errand.finish()
        try:
            return errand.hand_over()
        finally:
            if errand.stage is Stage.HANDED_OVER:
                self.errands.pop(key, None)

    def trim(self) -> None:
        """Drop the oldest parked results until the rest fits."""
        parked = [e for e in tuple(self.errands.values()) if e.stage is Stage.DONE]
        size = 0
        for place, errand in enumerate(reversed(parked)):
            size += errand.progress[2]
            if place and size > PARKED_BYTES_MAX:
                errand.drop()

    def close(self) -> None:
        """Close every errand."""
        while self.errands:
            self.errands.popitem()[1].close()


def is_lost(error: BaseException | None) -> bool:
    """Whether a run never began, as the ticket was used, ended or replaced meanwhile."""
    return isinstance(error, NbgovError) and error.code in {"ticket-conflict", "approval-needed"}


def stopped() -> BackendFailed:
    """The error of a statement that Stop ended."""
    return BackendFailed(
        "The statement was stopped.",
        code="cancelled",
        why="the kernel was interrupted; no result was delivered",
        next_step="run the cell again",
    )

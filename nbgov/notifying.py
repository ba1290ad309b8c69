"""Telling people of tickets, in the background.

A notice is written for each receiver and kept in an outbox before anything is sent, so that it
outlives this process. Each receiver has a thread of its own, so that one that hangs delays nobody.
What a receiver will never take, or has not taken for a day, is given up, and the log says so.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nbgov.core.notices import GIVE_UP_S, TEST, wait_s, write
from nbgov.errors import NbgovError
from nbgov.model import Answer, Notice, Parcel

if TYPE_CHECKING:
    from nbgov.ports import Clock, Courier, Outbox

EVERY_S = 5.0
CLOSE_WAIT_S = 3.0
# Longer than any one try takes; after that, the sender is taken for dead.
CLAIM_S = 120.0
# Hears of a message that will not arrive: its ticket, its receiver and why.
Lost = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is told.

    Attributes:
        name: The name in ``nbgov.yaml``.
        kind: ``webhook``, ``slack``, ``teams`` or ``smtp``.
        events: What they are told of.
        courier: Who brings it.
    """

    name: str
    kind: str
    events: frozenset[str]
    courier: Courier


class Notifying:
    """A :class:`~nbgov.ports.Notifier` with an outbox.

    Args:
        receivers: Who is told.
        outbox: What keeps messages.
        clock: Tells the time.
        source: Gives the name of the audit log.
        page: Where tickets are looked at, or empty.
        lost: Hears of each message that is given up.
        every_s: Time from one look into the outbox to the next.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        outbox: Outbox,
        *,
        clock: Clock,
        source: Callable[[], str],
        page: str,
        lost: Lost,
        every_s: float = EVERY_S,
    ) -> None:
        self.receivers = tuple(receivers)
        self.outbox = outbox
        self.clock = clock
        self.source = source
        self.page = page
        self.lost = lost
        self.every_s = every_s
        self.reset()

    def reset(self) -> None:
        """Begin without threads, as in a process that was forked."""
        self.pid = os.getpid()
        self.guard = threading.Lock()
        self.over = threading.Event()
        self.is_closed = False
        self.threads: dict[str, threading.Thread] = {}
        self.wakes = {one.name: threading.Event() for one in self.receivers}
        self.held: dict[str, datetime] = {}

    # ------------------------------------------------------------ what a session calls

    def start(self) -> None:
        """Send what is due from now on, unless that goes on already or is over."""
        if self.pid != os.getpid():
            self.reset()
        with self.guard:
            if not self.threads and not self.over.is_set():
                self.threads = {
                    one.name: threading.Thread(
                        target=self.go_on, args=[one], name="nbgov notices", daemon=True
                    )
                    for one in self.receivers
                }
                for thread in self.threads.values():
                    thread.start()

    def tell(self, notice: Notice) -> None:
        """Keep a notice for everybody who is told of such, and wake who sends it."""
        try:
            self.outbox.put(self.parcels(notice))
            self.start()
        except Exception as error:  # noqa: BLE001 - a message must stop no statement
            why = error.code if isinstance(error, NbgovError) else type(error).__name__
            self.lost(notice.ticket, "the outbox", why)
        for wake in self.wakes.values():
            wake.set()

    def close(self, *, wait_s: float = CLOSE_WAIT_S) -> None:
        """Try once more what is due and stop, within a few seconds. Callable more than once."""
        self.over.set()
        for wake in self.wakes.values():
            wake.set()
        threads, self.threads = self.threads, {}
        for thread in threads.values():
            # What has not arrived then goes out in the next session.
            thread.join(wait_s)
        self.is_closed = True
        if not any(thread.is_alive() for thread in threads.values()):
            self.outbox.close()

    def test(self, name: str) -> Answer:
        """Send one receiver a message about nothing, now and past the outbox."""
        receiver = next(one for one in self.receivers if one.name == name)
        now = self.clock.now()
        notice = Notice(TEST, TEST, now, "nbgov", "nbgov", "", "", (), ())
        return receiver.courier.deliver(self.parcel(receiver, notice, uuid.uuid4().hex), at=now)

    # ------------------------------------------------------------ writing

    def parcels(self, notice: Notice) -> list[Parcel]:
        """A message to each receiver who is told of such, all under one name."""
        name = uuid.uuid4().hex
        told = [one for one in self.receivers if notice.event in one.events]
        return [self.parcel(one, notice, name) for one in told]

    def parcel(self, receiver: Receiver, notice: Notice, name: str) -> Parcel:
        """A message to one receiver."""
        body = write(receiver.kind, notice, id=name, source=self.source(), page=self.page)
        return Parcel(name, receiver.name, notice.ticket, body, self.clock.now())

    # ------------------------------------------------------------ sending

    def go_on(self, receiver: Receiver) -> None:
        """Send what is due until the session is over, and then once more."""
        wake, over = self.wakes[receiver.name], self.over
        is_last = False
        while not is_last:
            is_last = over.is_set()
            # An outbox that is away keeps what it has; what it cannot take is told of by tell().
            with suppress(NbgovError):
                self.bring(receiver)
            if not is_last:
                wake.wait(self.every_s)
                wake.clear()

    def bring(self, receiver: Receiver) -> None:
        """Send one receiver all that is due.

        Raises:
            BackendFailed: The outbox is away (code ``state-unavailable``).
        """
        while (now := self.clock.now()) >= self.held.get(receiver.name, now):
            until = now + timedelta(seconds=CLAIM_S)
            parcel = self.outbox.claim(receiver.name, now=now, until=until)
            if parcel is None:
                return
            answer = receiver.courier.deliver(parcel, at=now)
            if answer.wait_s:
                self.held[receiver.name] = now + timedelta(seconds=answer.wait_s)
            self.settle(parcel, answer)
            if answer.state == "later" and self.over.is_set():
                return

    def settle(self, parcel: Parcel, answer: Answer) -> None:
        """Forget a message, or decide when it is tried again.

        Raises:
            BackendFailed: The outbox is away (code ``state-unavailable``).
        """
        if answer.state == "arrived":
            self.outbox.settle(parcel)
            return
        pause = max(wait_s(parcel.tries, chance=random.random()), answer.wait_s)  # noqa: S311
        again_at = self.clock.now() + timedelta(seconds=pause)
        is_late = again_at > parcel.made_at + timedelta(seconds=GIVE_UP_S)
        if answer.state == "later" and not is_late:
            self.outbox.settle(parcel, again_at=again_at, why=answer.said)
        elif not self.is_closed:
            # The record comes first; a session that is over leaves it to the next one.
            self.lost(parcel.ticket, parcel.target, answer.said)
            self.outbox.settle(parcel)

"""Telling people of tickets: nothing waits for it, nothing stops it, and nothing is told twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest

import nbgov
from nbgov.backends.memory import MemoryClock, MemoryOutbox
from nbgov.backends.sqlite.outbox import SqliteOutbox
from nbgov.backends.webhooks import WebhookCourier
from nbgov.config import EVENTS
from nbgov.core.audit import decode
from nbgov.core.notices import GIVE_UP_S
from nbgov.model import Answer, Notice
from nbgov.notifying import Notifying, Receiver
from tests.flights import CONFIG, build
from tests.receivers import listening

AT = MemoryClock().now()
NOTICE = Notice("requested", "1f2e", AT, "ada", "ada", "wh", "UPDATE", ("t",), ("r",), 3)
WAIT_S = 60


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Scripted:
    """A courier with planned answers; it tells when it was asked.

    Attributes:
        answers: What it answers next; the last one stays.
        taken: The messages that it was given.
    """

    def __init__(self, *answers):
        self.answers = list(answers) or [Answer("arrived", "200 OK")]
        self.taken = []
        self.came = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def deliver(self, parcel, *, at):
        self.taken.append(parcel)
        self.came.release()
        self.gate.wait(WAIT_S)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


LATER, NEVER = Answer("later", "503 Service Unavailable"), Answer("never", "404 Not Found")


@pytest.fixture
def outbox():
    return MemoryOutbox()


@pytest.fixture
def notifier(outbox):
    made, lost = [], []

    def make(*couriers, clock=None, events=EVENTS, box=outbox, every_s=0.01, **more):
        receivers = [
            Receiver(f"r{n}", "webhook", frozenset(events), one) for n, one in enumerate(couriers)
        ]
        one = Notifying(
            receivers,
            box,
            clock=clock or MemoryClock(tick=timedelta(seconds=1)),
            source=lambda: "log",
            page="",
            lost=lambda *told: lost.append(told),
            every_s=every_s,
            **more,
        )
        one.was_lost = lost
        made.append(one)
        return one

    yield make
    for one in made:
        for receiver in one.receivers:
            if isinstance(receiver.courier, Scripted):
                receiver.courier.gate.set()
        one.close()


def still():
    """A clock that stands until it is set."""
    return MemoryClock(tick=timedelta(0))


def settled(outbox, why):
    """Wait until the last try of the only message is over."""
    while [one.why for one in outbox.waiting()] != [why]:
        threading.Event().wait(0.01)


def heard(courier, count=1):
    for _ in range(count):
        assert courier.came.acquire(timeout=WAIT_S)


# ---------------------------------------------------------------- from a notice to a message


def test_everybody_who_is_told_of_an_event_gets_it_once_under_one_name(notifier, outbox):
    """Each receiver gets the notice, and then nothing of it is left."""
    one, two = Scripted(), Scripted()
    this = notifier(one, two)
    this.tell(NOTICE)
    heard(one)
    heard(two)
    this.close()
    assert len(one.taken) == len(two.taken) == 1
    assert one.taken[0].id == two.taken[0].id == json.loads(one.taken[0].body)["id"]
    assert json.loads(one.taken[0].body)["source"] == "log"
    assert outbox.waiting() == ()
    assert this.was_lost == []


def test_nobody_is_told_of_what_they_did_not_ask_for(notifier, outbox):
    """An event that a receiver does not name is not kept for it."""
    one = Scripted()
    this = notifier(one, events=["denied"])
    this.tell(NOTICE)
    this.tell(replace(NOTICE, event="denied"))
    heard(one)
    this.close()
    assert [json.loads(p.body)["data"]["event"] for p in one.taken] == ["denied"]


def test_telling_waits_for_nobody(notifier, outbox):
    """A receiver that hangs delays neither the caller nor another receiver."""
    hung, other = Scripted(), Scripted()
    hung.gate.clear()
    this = notifier(hung, other)
    for _ in range(3):
        this.tell(NOTICE)
    heard(other, 3)
    heard(hung)
    assert len(hung.taken) == 1
    this.close(wait_s=0.01)
    assert {one.target for one in outbox.waiting()} == {"r0"}


def test_what_is_told_is_kept_before_anything_is_sent(notifier, outbox):
    """When telling returns, the message is in the outbox or has arrived."""
    one = Scripted()
    one.gate.clear()
    this = notifier(one)
    this.tell(NOTICE)
    assert [p.ticket for p in outbox.waiting()] == ["1f2e"]


# ---------------------------------------------------------------- trying again


def test_a_message_is_tried_until_it_arrives(notifier, outbox):
    """Under one name and with one body, each time after a longer pause."""
    one = Scripted(LATER, LATER, Answer("arrived", "200 OK"))
    this = notifier(one)
    this.tell(NOTICE)
    heard(one, 3)
    this.close()
    assert len({(p.id, p.body) for p in one.taken}) == 1
    assert [p.tries for p in one.taken] == [1, 2, 3]
    assert outbox.waiting() == ()
    assert this.was_lost == []


def test_a_message_that_nobody_will_take_is_given_up_at_once(notifier, outbox):
    """It is told of by ticket, receiver and reason, and forgotten."""
    one = Scripted(NEVER)
    this = notifier(one)
    this.tell(NOTICE)
    heard(one)
    this.close()
    assert this.was_lost == [("1f2e", "r0", "404 Not Found")]
    assert outbox.waiting() == ()


def test_a_message_is_given_up_after_a_day(notifier, outbox):
    """However often it was tried; one that was never tried is tried once even then."""
    clock = still()
    one = Scripted(LATER)
    this = notifier(one, clock=clock)
    this.tell(NOTICE)
    heard(one)
    settled(outbox, LATER.said)
    clock.at += timedelta(seconds=GIVE_UP_S)
    heard(one)
    this.close()
    assert this.was_lost == [("1f2e", "r0", "503 Service Unavailable")]
    assert outbox.waiting() == ()


def test_a_receiver_that_asks_to_be_left_alone_is(notifier, outbox):
    """Until the time it asks for is over, no message of any ticket goes there."""
    clock = still()
    one = Scripted(Answer("later", "429", 100.0), Answer("arrived", "200 OK"))
    this = notifier(one, clock=clock)
    this.tell(NOTICE)
    heard(one)
    settled(outbox, "429")
    clock.at += timedelta(seconds=99)
    this.tell(replace(NOTICE, ticket="2"))
    assert not one.came.acquire(timeout=0.1)
    clock.at += timedelta(seconds=1)
    heard(one, 2)
    this.close()
    assert [p.ticket for p in one.taken] == ["1f2e", "1f2e", "2"]


def test_what_one_session_leaves_behind_the_next_one_sends(notifier, outbox):
    """A session that ends while a receiver is away loses nothing."""
    first = notifier(Scripted(LATER))
    first.tell(NOTICE)
    first.close()
    assert len(outbox.waiting()) == 1
    first.tell(replace(NOTICE, ticket="after the end"))
    one = Scripted()
    clock = MemoryClock(AT + timedelta(hours=1))
    second = notifier(one, clock=clock)
    second.start()
    second.start()
    heard(one, 2)
    second.close()
    assert {p.ticket for p in one.taken} == {"1f2e", "after the end"}
    assert outbox.waiting() == ()


def test_a_message_that_is_given_up_after_the_end_is_left_to_the_next_session(notifier, outbox):
    """A thread that outlives its session records nothing in a log that was closed."""
    one = Scripted(NEVER)
    one.gate.clear()
    this = notifier(one)
    this.tell(NOTICE)
    heard(one)
    (thread,) = this.threads.values()
    this.close(wait_s=0.01)
    one.gate.set()
    thread.join(WAIT_S)
    assert this.was_lost == []
    assert len(outbox.waiting()) == 1


# ---------------------------------------------------------------- an outbox that is broken


@pytest.mark.parametrize("error", [None, RuntimeError("a bug")])
def test_a_broken_outbox_stops_nothing_and_is_told(notifier, outbox, error):
    """Telling returns; the log hears of it, and the next notice goes its way."""
    one = Scripted()
    this = notifier(one)
    outbox.faults.before("put", error=error)
    this.tell(NOTICE)
    what = "RuntimeError" if error else "state-unavailable"
    assert this.was_lost == [("1f2e", "the outbox", what)]
    this.tell(NOTICE)
    heard(one)


@pytest.mark.parametrize("operation", ["claim", "settle"])
def test_an_outbox_that_fails_between_does_not_end_the_sending(notifier, outbox, operation):
    """The thread goes on; what was sent and not settled comes again when its sender counts as dead."""
    one = Scripted()
    outbox.faults.before(operation)
    this = notifier(one, clock=MemoryClock(tick=timedelta(seconds=5)))
    this.tell(NOTICE)
    heard(one, 2 if operation == "settle" else 1)
    this.close()
    assert outbox.waiting() == ()


# ---------------------------------------------------------------- several processes


def count_for(path, port, number):
    """Send what waits, beside others who do the same."""
    courier = WebhookCourier(lambda: f"http://127.0.0.1:{port}/{number}")
    receivers = [Receiver("r0", "slack", frozenset(EVENTS), courier)]
    box = SqliteOutbox(path)
    one = Notifying(
        receivers, box, clock=MemoryClock(AT + timedelta(hours=1)), source=lambda: "log", page="",
        lost=lambda *_: None, every_s=0.01,
    )  # fmt: skip
    one.start()
    while box.waiting():
        one.over.wait(0.01)
    one.close()


def test_two_processes_never_send_one_message_at_once(tmp_path, notifier):
    """Four processes share thirty messages, and the receiver gets each of them once."""
    path = tmp_path / "outbox.sqlite"
    box = SqliteOutbox(path)
    this = notifier(Scripted(), box=box)
    this.over.set()
    for number in range(30):
        this.tell(replace(NOTICE, ticket=f"t{number}"))
    with listening() as server:
        spawn = multiprocessing.get_context("spawn")
        workers = [
            spawn.Process(target=count_for, args=(path, server.server_port, n)) for n in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(WAIT_S)
        assert [worker.exitcode for worker in workers] == [0] * 4
        tickets = [json.loads(body)["subject"] for _, _, body in server.taken]
    assert len(tickets) == len(set(tickets)) == 30
    box.close()


def test_a_forked_process_sends_what_it_tells(tmp_path, notifier):
    """A child has threads of its own, and its parent goes on."""
    with listening() as server:
        courier = WebhookCourier(lambda: server.url)
        this = notifier(courier, box=SqliteOutbox(tmp_path / "outbox.sqlite"))
        this.tell(NOTICE)
        server.wait()
        # A thread that was in the middle of a step would leave its lock held in the child.
        while this.outbox.waiting():
            time.sleep(0.01)
        child = os.fork()
        if child == 0:
            try:
                this.tell(replace(NOTICE, ticket="child"))
                this.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        server.wait()
        this.tell(replace(NOTICE, ticket="parent"))
        server.wait()
        assert [json.loads(body)["subject"] for _, _, body in server.taken] == [
            "1f2e",
            "child",
            "parent",
        ]


KILLED = """
import os, signal, sys
import nbgov
from nbgov.model import Notice

session = nbgov.connect(sys.argv[1], as_="ada@acme.test")
now = session.world.clock.now()
notice = Notice("requested", "1f2e", now, "ada", "ada", "warehouse", "UPDATE", ("t",), ("r",))
session.world.notifier.tell(notice)
os.kill(os.getpid(), signal.SIGKILL)
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


NOTIFY = """
notify:
  page: https://nbgov.acme.test/approvals
  targets:
    hook: {{kind: webhook, url: "http://127.0.0.1:{}/hook", secret: "env:HOOK"}}
"""


def make_project(folder, port):
    config = CONFIG + NOTIFY.format(port)
    return build(folder, "CREATE TABLE flights (email TEXT)", config=config)


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("HOOK", SECRET)


@pytest.fixture
def project(tmp_path):
    """A project whose messages go to a server of the test's own."""
    with listening() as server:
        yield make_project(tmp_path, server.server_port), server


def test_what_a_killed_process_told_the_next_session_delivers(tmp_path):
    """kill -9 between telling and sending loses nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # Nobody listens there yet.
    folder = make_project(tmp_path, port)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], check=False, timeout=WAIT_S
    )
    assert killed.returncode == -signal.SIGKILL
    outbox = SqliteOutbox(folder / ".nbgov" / "outbox.sqlite")
    assert [(p.target, p.ticket) for p in outbox.waiting()] == [("hook", "1f2e")]
    # The process may have died with the message in its hands; then the next one waits minutes.
    outbox.settle(outbox.waiting()[0], again_at=outbox.waiting()[0].made_at)
    with listening(port) as again, nbgov.connect(folder, as_="ada@acme.test"):
        again.wait()
    ((_, _, body),) = again.taken
    event = json.loads(body)
    assert event["data"]["url"] == "https://nbgov.acme.test/approvals/1f2e"
    assert outbox.waiting() == ()
    outbox.close()


def test_a_message_that_is_given_up_is_an_entry_of_the_log(project):
    """The log names receiver, ticket and status, and the session goes on."""
    folder, server = project
    server.answers = [(410, {})]
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        session.world.notifier.tell(replace(NOTICE, at=session.world.clock.now()))
        server.wait()
        session.world.notifier.close()
        session.sql("SELECT count(*) FROM flights").to_arrow()
        entries = [decode(line).record for line in session.world.audit.entries()]
    (told,) = [one for one in entries if one.verb == "NOTIFY"]
    assert (told.ticket, told.status, told.code) == ("1f2e", "error", "notice-undelivered")
    assert told.note == "hook: 410 Gone"
    assert SECRET not in (folder / ".nbgov" / "outbox.sqlite").read_bytes().decode("latin-1")


def test_a_secret_that_is_not_set_stops_no_session(project, monkeypatch):
    """Statements run; the message waits, and says why."""
    folder, server = project
    monkeypatch.delenv("HOOK")
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        notifier = session.world.notifier
        notifier.tell(replace(NOTICE, at=session.world.clock.now()))
        session.sql("SELECT count(*) FROM flights").to_arrow()
        notifier.close()
        (waiting,) = notifier.outbox.waiting()
        assert waiting.why == "secret-missing"
    assert server.taken == []

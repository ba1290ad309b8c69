"""One suite for every outbox: nothing is lost, and no two senders get one message at once."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nbgov.backends.memory import MemoryOutbox
from nbgov.backends.sqlite.outbox import SqliteOutbox
from nbgov.errors import BackendFailed
from nbgov.model import Parcel

AT = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
LATER = AT + timedelta(minutes=2)
ONE = Parcel("a", "slack", "1f2e", '{"text":"ü"}', AT)
TWO = replace(ONE, id="b", made_at=AT - timedelta(days=1))


@pytest.fixture(params=["memory", "sqlite"])
def outbox(request, tmp_path):
    made = MemoryOutbox() if request.param == "memory" else SqliteOutbox(tmp_path / "outbox.sqlite")
    yield made
    made.close()
    made.close()


def claim(outbox, target="slack", now=AT, until=LATER):
    return outbox.claim(target, now=now, until=until)


def test_what_was_put_first_is_claimed_first_and_once(outbox):
    """Each message comes once, with its try counted; then nothing is due."""
    outbox.put([ONE, TWO])
    assert claim(outbox) == replace(ONE, tries=1)
    assert claim(outbox) == replace(TWO, tries=1)
    assert claim(outbox) is None


def test_receivers_have_messages_of_their_own(outbox):
    """One name can go to two receivers, and settling one leaves the other."""
    other = replace(ONE, target="mail")
    outbox.put([ONE, other])
    outbox.settle(claim(outbox))
    assert claim(outbox, "mail") == replace(other, tries=1)
    assert claim(outbox, "teams") is None


def test_a_message_that_was_settled_is_gone(outbox):
    """What has arrived is forgotten, with its body."""
    outbox.put([ONE])
    outbox.settle(claim(outbox))
    assert outbox.waiting() == ()
    assert claim(outbox, now=LATER) is None


def test_a_message_that_did_not_arrive_comes_again_when_its_time_has_come(outbox):
    """Not before, and it says what the last try met."""
    outbox.put([ONE])
    outbox.settle(claim(outbox), again_at=AT + timedelta(seconds=9), why="503")
    assert claim(outbox, now=AT + timedelta(seconds=8)) is None
    assert claim(outbox, now=AT + timedelta(seconds=9)) == replace(ONE, tries=2, why="503")


def test_a_sender_that_died_leaves_its_message_to_the_next(outbox):
    """What was claimed and never settled can be claimed when its time is over."""
    outbox.put([ONE])
    claim(outbox)
    assert claim(outbox, now=LATER - timedelta(seconds=1)) is None
    assert claim(outbox, now=LATER).tries == 2


def test_a_sender_that_comes_back_late_puts_nothing_off(outbox):
    """Once somebody else has claimed a message, an older try changes nothing but its end."""
    outbox.put([ONE])
    first = claim(outbox)
    second = claim(outbox, now=LATER, until=LATER + timedelta(minutes=1))
    outbox.settle(first, again_at=LATER + timedelta(days=9), why="late")
    assert claim(outbox, now=LATER + timedelta(minutes=1)) == replace(second, tries=3)
    outbox.settle(first)
    assert outbox.waiting() == ()


def test_a_listing_shows_no_bodies(outbox):
    """Who waits, for how long and why, oldest first."""
    outbox.put([ONE, TWO])
    outbox.settle(claim(outbox), again_at=LATER, why="503")
    assert outbox.waiting() == (
        replace(ONE, body="", tries=1, why="503"),
        replace(TWO, body=""),
    )


def test_no_two_of_many_senders_get_one_message(tmp_path):
    """Eight threads with an outbox each share forty messages, each of them once."""
    path = tmp_path / "outbox.sqlite"
    SqliteOutbox(path).put([replace(ONE, id=str(n)) for n in range(40)])
    got, boxes = [], [SqliteOutbox(path) for _ in range(8)]

    def work(box):
        while parcel := claim(box):
            got.append(parcel.id)

    threads = [threading.Thread(target=work, args=[box]) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got, key=int) == [str(n) for n in range(40)]
    for box in boxes:
        box.close()


def test_only_the_owner_can_read_what_waits(tmp_path):
    """The file is made for its owner alone."""
    outbox = SqliteOutbox(tmp_path / "state" / "outbox.sqlite")
    outbox.put([ONE])
    assert (tmp_path / "state" / "outbox.sqlite").stat().st_mode & 0o077 == 0
    outbox.close()


def test_a_broken_outbox_is_told_without_its_content(tmp_path):
    """A file that is none, and a row that somebody changed, are errors of the state."""
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(BackendFailed) as caught:
        SqliteOutbox(path).put([ONE])
    assert caught.value.code == "state-unavailable"
    path.unlink()
    outbox = SqliteOutbox(path)
    outbox.put([ONE])
    outbox.close()
    link = sqlite3.connect(path)
    link.execute("UPDATE parcels SET made_at = 'yesterday'")
    link.commit()
    link.close()
    with pytest.raises(BackendFailed, match="cannot be read"):
        outbox.waiting()
    outbox.close()


@pytest.mark.parametrize("operation", ["put", "claim", "settle"])
def test_a_planned_fault_of_an_outbox_in_ram_looks_like_a_broken_file(operation):
    """Whatever fails, it is an error of the state."""
    outbox = MemoryOutbox()
    outbox.faults.before(operation)
    calls = {
        "put": lambda: outbox.put([ONE]),
        "claim": lambda: claim(outbox),
        "settle": lambda: outbox.settle(ONE),
    }
    with pytest.raises(BackendFailed) as caught:
        calls[operation]()
    assert caught.value.code == "state-unavailable"

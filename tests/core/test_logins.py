"""The book of logins, on the database that every Python has; the stores are tested on theirs."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from nbgov.core.logins import SCHEMA, SPENT_SCHEMA, Book, moment_of, number_of
from nbgov.errors import IdentityFailed
from nbgov.model import Audience, Login, Node, Principal, Stop, StopKind

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ADA = Principal("ada", frozenset({"analysts"}))
WORDS = {"blob": "BLOB", "number": "INTEGER", "strict": ""}


@pytest.fixture
def book():
    link = sqlite3.connect(":memory:")
    link.executescript((SCHEMA + SPENT_SCHEMA).format(**WORDS))

    @contextmanager
    def transaction():
        yield lambda sql, *values: link.execute(sql, values).fetchall()

    found = Book(transaction, spending=transaction, close=link.close)
    yield found
    found.close()


def test_logins_are_kept_until_long_after_they_end(book):
    """A login is found, listed, ended and remembered for a day, so that its owner is told why."""
    one = Login("one", ADA, Audience.DATA, START, START + MINUTE)
    book.open_login(one, b"1")
    assert book.login(b"1") == one
    assert book.logins(now=START) == (one,)
    [ended] = book.end_logins(login="one", by="olga", at=START, reason="left")
    assert (book.login(b"1"), book.logins(now=START)) == (ended, ())
    assert book.ended(since=START) == {"one"}
    later = START + timedelta(days=2)
    book.open_login(Login("two", ADA, Audience.DATA, later, later + MINUTE), b"2")
    assert book.login(b"1") is None


def test_names_keys_and_nonces_are_given_once(book):
    """The first one who comes gets the name, the key and the nonce."""
    assert book.bind_name("ada", "s1") == book.bind_name("other", "s1") == "ada"
    with pytest.raises(IdentityFailed):
        book.bind_name("ADA", "s2")
    assert book.names() == (("ada", "s1"),)
    assert (book.free_name("ada"), book.free_name("ada")) == (True, False)
    assert book.key("k", b"a") == book.key("k", b"b") == b"a"
    assert book.spend(b"n", until=START)
    assert not book.spend(b"n", until=START)
    assert book.spend(b"m", until=START + timedelta(hours=1))
    assert book.spend(b"n", until=START + timedelta(hours=1))


def test_stops_and_processes_are_told(book):
    """What is stopped is listed until it is lifted, and processes until they leave."""
    stop = Stop(StopKind.CONNECTION, "w", "leak", "olga", START)
    book.stop(stop)
    assert book.stops() == (stop,)
    assert (book.lift(StopKind.CONNECTION, "w"), book.lift(StopKind.CONNECTION, "w")) == (
        stop,
        None,
    )
    node = Node("n1", "host", 7, "", START)
    book.tell(node)
    assert book.nodes(since=START) == (node,)
    book.leave("n1")
    assert book.nodes(since=START) == ()


def test_moments_are_kept_to_the_microsecond():
    """A moment is the same after it was a number."""
    assert moment_of(number_of(START)) == START

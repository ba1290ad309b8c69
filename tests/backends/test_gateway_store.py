"""What every store of a gateway promises, whether it is in memory, in files or in a database."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nbgov.backends.memory.logins import MemoryGatewayStore
from nbgov.backends.sqlite.logins import SqliteGatewayStore
from nbgov.errors import BackendFailed, IdentityFailed
from nbgov.model import Audience, Login, Node, Principal, Stop, StopKind, Work

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ADA = Principal("ada", frozenset({"analysts"}), frozenset({"approver"}), "https://idp|1", "oidc:a")


def postgresql(url):
    """A store in a database of its own."""
    from sqlalchemy.engine import make_url

    from nbgov.backends.postgresql.audit_tables import Tables
    from nbgov.backends.postgresql.logins import PostgreSQLGatewayStore

    with Tables(make_url(url)) as tables:
        name = f"gateway_{uuid.uuid4().hex}"
        tables.ask(f"CREATE DATABASE {name}")
    place = make_url(url).set(database=name)
    return lambda: PostgreSQLGatewayStore(place)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def opener(request, tmp_path):
    """What opens the same store as often as one likes."""
    if request.param == "memory":
        store = MemoryGatewayStore()
        return lambda: store
    if request.param == "sqlite":
        return lambda: SqliteGatewayStore(tmp_path)
    return postgresql(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(opener):
    """A store."""
    opened = opener()
    yield opened
    opened.close()


def login(name="one", *, principal=ADA, opened_at=START):
    return Login(
        name, principal, Audience.DATA, opened_at, opened_at + 15 * MINUTE, "127.0.0.1", "t"
    )


def test_a_login_is_found_by_the_digest_of_its_token_alone(store):
    """What was kept under a digest comes back as it was, and nothing under another one."""
    store.open_login(login(), b"1" * 32)
    assert store.login(b"1" * 32) == login()
    assert store.login(b"2" * 32) is None


def test_open_logins_are_listed_until_they_end_or_expire(store):
    """The list holds what is neither ended nor over, newest first."""
    store.open_login(login("one"), b"1" * 32)
    store.open_login(login("two", opened_at=START + MINUTE), b"2" * 32)
    assert [one.id for one in store.logins(now=START + MINUTE)] == ["two", "one"]
    assert [one.id for one in store.logins(now=START + 15 * MINUTE)] == ["two"]


def test_ending_says_who_why_and_when_once(store):
    """A login that was ended tells it, and is not ended again."""
    store.open_login(login(), b"1" * 32)
    told = {"by": "olga", "at": START + MINUTE, "reason": "left"}
    [ended] = store.end_logins(login="one", **told)
    assert ended == replace(login(), ended_at=START + MINUTE, ended_by="olga", reason="left")
    assert store.login(b"1" * 32) == ended
    assert store.end_logins(login="one", **told) == ()
    assert store.ended(since=START + MINUTE) == {"one"}
    assert store.ended(since=START + 2 * MINUTE) == set()
    assert store.logins(now=START + MINUTE) == ()


def test_all_logins_of_a_principal_end_together(store):
    """Ending by principal ends all of theirs, and nobody else's."""
    grace = replace(ADA, name="grace", account="https://idp|2")
    for number, (name, who) in enumerate([("one", ADA), ("two", ADA), ("three", grace)]):
        store.open_login(login(name, principal=who), bytes([number]) * 32)
    ended = store.end_logins(principal="ada", by="olga", at=START, reason="")
    assert {one.id for one in ended} == {"one", "two"}
    assert [one.id for one in store.logins(now=START)] == ["three"]


def test_a_name_stays_with_the_first_subject(store):
    """A subject keeps its first name; nobody else gets it, however it is spelled."""
    assert store.bind_name("Ada", "s1") == "Ada"
    assert store.bind_name("Lovelace", "s1") == "Ada"
    for name in ("Ada", "ADA", "\uff41\uff44\uff41", " ada "):
        with pytest.raises(IdentityFailed) as refused:
            store.bind_name(name, "s2")
        assert refused.value.code == "name-taken"
    assert store.names() == (("Ada", "s1"),)


def test_a_name_that_is_freed_can_be_had_by_another(store):
    """After an administrator has freed a name, the next subject gets it."""
    store.bind_name("ada", "s1")
    assert store.free_name("ADA")
    assert not store.free_name("ada")
    assert store.bind_name("ada", "s2") == "ada"


def test_a_nonce_is_spent_once(opener):
    """Of many who spend one nonce at once, one does."""
    stores = [opener() for _ in range(8)]
    until = datetime.now(UTC) + MINUTE

    def spend(store):
        return store.spend(b"n" * 12, until=until)

    with ThreadPoolExecutor(8) as pool:
        won = sum(pool.map(spend, stores))
    for one in stores:
        one.close()
    assert won == 1


def test_a_name_is_bound_once(opener):
    """Of many subjects who come with one name at once, one gets it."""
    stores = [opener() for _ in range(8)]

    def bind(number):
        try:
            return stores[number].bind_name("ada", f"s{number}")
        except IdentityFailed:
            return ""

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(bind, range(8)))
    for one in stores:
        one.close()
    assert sorted(found) == [""] * 7 + ["ada"]


def test_all_processes_have_one_key_of_a_name(opener):
    """The first key that is offered for a name is everybody's."""
    first, second = opener(), opener()
    assert first.key("one", b"a" * 32) == second.key("one", b"b" * 32) == b"a" * 32
    assert second.key("two", b"b" * 32) == b"b" * 32
    first.close()
    second.close()


def test_a_stop_holds_until_it_is_lifted(store):
    """What is stopped is listed, oldest first, and lifting tells what there was."""
    first = Stop(StopKind.CONNECTION, "warehouse", "leak", "olga", START)
    second = Stop(StopKind.PRINCIPAL, "ada", "left", "olga", START + MINUTE)
    store.stop(second)
    store.stop(first)
    assert store.stops() == (first, second)
    store.stop(replace(first, reason="worse"))
    assert store.lift(StopKind.CONNECTION, "warehouse") == replace(first, reason="worse")
    assert store.lift(StopKind.CONNECTION, "warehouse") is None
    assert store.stops() == (second,)


def test_processes_tell_of_themselves(store):
    """The last word of each process is kept until it leaves, or is too old to be believed."""
    work = Work("r1", "one", "ada", "warehouse", "SELECT ?", "flight-sql", START, 5, 60)
    node = Node("n1", "host", 7, "ab" * 32, START, (work,))
    store.tell(node)
    store.tell(replace(node, seen_at=START + MINUTE, works=()))
    store.tell(replace(node, id="n2"))
    assert store.nodes(since=START) == (
        replace(node, seen_at=START + MINUTE, works=()),
        replace(node, id="n2"),
    )
    assert [one.id for one in store.nodes(since=START + MINUTE)] == ["n1"]
    store.leave("n1")
    assert [one.id for one in store.nodes(since=START)] == ["n2"]


def test_a_store_that_is_away_lets_nobody_in(tmp_path):
    """A file that cannot be read is an error, and not an empty store."""
    (tmp_path / "gateway.sqlite").write_text("no database")
    with pytest.raises(BackendFailed) as failed:
        SqliteGatewayStore(tmp_path).login(b"1" * 32)
    assert failed.value.code == "state-unavailable"

"""One suite for every approval store, then what only one kind of store can suffer."""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
import threading
from dataclasses import replace

import pytest
from sqlalchemy.engine import make_url

from nbgov.backends.memory import MemoryApprovalStore
from nbgov.backends.postgresql.approvals import PostgreSQLApprovalStore
from nbgov.backends.postgresql.audit_tables import Tables
from nbgov.backends.sqlite.approvals import SqliteApprovalStore
from nbgov.backends.sqlite.datasets import SqliteDatasetStore
from nbgov.core.approval import cancel, expire, review, revoke, supersede
from nbgov.errors import BackendFailed, IntegrityFailed
from nbgov.model import ApprovalState
from tests.approvals import (
    ADA,
    DIGEST,
    GRACE,
    HEIDI,
    HOUR,
    IVAN,
    SECOND,
    START,
    WAIT,
    WINDOW,
    broken,
    quorum,
    ticket,
    used,
    voted,
)

TWO = (quorum(votes_min=2), quorum("second", roles=(), groups=("stewards",)))


def unavailable():
    return pytest.raises(BackendFailed, match="state-unavailable")


def forged():
    return pytest.raises(IntegrityFailed, match="ticket-forged")


@pytest.fixture
def database(postgres_url):
    """The url of a database of this test's own: its schema goes when the test ends."""
    url = make_url(postgres_url)
    yield url
    with Tables(url) as tables:
        tables.link.execute_simple("DROP SCHEMA IF EXISTS nbgov_approval CASCADE")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "memory":
        store = MemoryApprovalStore()
    elif request.param == "sqlite":
        store = SqliteApprovalStore(tmp_path / "state" / "state.sqlite")
    else:
        store = PostgreSQLApprovalStore(request.getfixturevalue("database"))
    yield store
    store.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.sqlite"


@pytest.fixture
def sqlite(path):
    store = SqliteApprovalStore(path)
    yield store
    store.close()


def walk(store, *steps):
    """Open the first one, and take each further step."""
    store.open(steps[0])
    for before, after in itertools.pairwise(steps):
        assert store.swap(before, after)
    return steps[-1]


# ---- every store


def test_a_ticket_comes_back_as_it_went_in(store):
    """Every field of a ticket, its quorums and its votes survive the store."""
    asked = ticket(*TWO)
    half = voted(asked, GRACE)
    given = voted(half, IVAN)
    assert store.open(asked) == asked
    for before, after in ((asked, half), (half, given), (given, used(given))):
        assert store.get("t1") == store.find(DIGEST) == before
        assert store.swap(before, after)
        assert store.get("t1") == store.find(DIGEST) == after


def test_endings_and_emergencies_come_back_too(store):
    """Who ended a ticket and why, how the glass was broken, and what came of it, survive."""
    revoked = voted(ticket(), GRACE)
    steps = [
        [ticket(), voted(ticket(), GRACE), revoke(revoked, GRACE, reason="no", now=START)],
        [ticket(name="t2"), cancel(ticket(name="t2"), ADA, now=START, reason="ü")],
        [ticket(name="t3"), supersede(ticket(name="t3"), reason="other votes", now=START)],
    ]
    glass = broken(ticket(name="t4"))
    seen = review(used(glass), GRACE, finding="it burned", now=START + HOUR)
    steps.append([ticket(name="t4"), glass, used(glass), seen])
    ended = [walk(store, *one) for one in steps]
    assert store.history(limit=9) == tuple(reversed(ended))
    assert store.history(limit=1) == (seen,)
    assert store.history(limit=0) == ()


def test_an_unknown_ticket_is_none(store):
    """What was never opened cannot be found."""
    assert store.get("t1") is None
    assert store.find(DIGEST) is None
    assert store.pending() == store.history(limit=5) == store.unreviewed(ADA.name) == ()
    assert not store.swap(ticket(), voted(ticket(), GRACE))


def test_a_live_ticket_is_found_instead_of_opened_again(store):
    """Asking twice for the same thing gives the same ticket, with the votes it has."""
    half = walk(store, ticket(*TWO), voted(ticket(*TWO), GRACE))
    assert store.open(ticket(name="t2", now=START + HOUR)) == half
    assert store.get("t2") is None


def test_another_binding_is_another_ticket(store):
    """Two statements that differ have a ticket each."""
    store.open(ticket())
    other = ticket(name="t2", digest=b"e" * 32)
    assert store.open(other) == other
    assert [approval.ticket for approval in store.pending()] == ["t1", "t2"]


@pytest.mark.parametrize("ending", ["cancelled", "consumed", "denied"])
def test_a_ticket_that_has_ended_makes_room_for_a_new_one(store, ending):
    """After its end the same statement can be asked for anew, and the latest ticket is found."""
    asked, given = ticket(), voted(ticket(), GRACE)
    steps = {
        "cancelled": [cancel(asked, ADA, now=START)],
        "consumed": [given, used(given)],
        "denied": [voted(asked, GRACE, yes=False)],
    }[ending]
    walk(store, asked, *steps)
    again = ticket(name="t2", now=START + SECOND)
    assert store.open(again) == again
    assert store.find(DIGEST) == again
    assert store.get("t1").state == ending


def test_a_ticket_that_ran_out_makes_room_for_a_new_one(store):
    """A ticket whose time is over when the same is asked again is kept as expired."""
    store.open(ticket())
    again = ticket(name="t2", now=START + WAIT)
    assert store.open(again) == again
    assert store.get("t1").state is ApprovalState.EXPIRED
    assert store.pending() == (again,)


def test_pending_tickets_are_the_live_ones_oldest_first(store):
    """Tickets that wait for votes or for use are listed, ended ones are not."""
    asked = [store.open(ticket(name=f"t{n}", digest=bytes([n]) * 32)) for n in range(4)]
    store.swap(asked[0], cancel(asked[0], ADA, now=START))
    given = voted(asked[2], GRACE)
    store.swap(asked[2], given)
    assert store.pending() == (asked[1], given, asked[3])


def test_a_step_from_an_old_state_is_not_made(store):
    """Of two steps from the same state the first is made and the second is not."""
    asked = store.open(ticket(*TWO))
    one = voted(asked, GRACE)
    assert store.swap(asked, one)
    assert not store.swap(asked, voted(asked, HEIDI))
    assert not store.swap(asked, cancel(asked, ADA, now=START))
    assert store.get("t1") == one


def test_a_consent_is_consumed_once(store):
    """The second use of the same grant does not happen."""
    given = walk(store, ticket(), voted(ticket(), GRACE))
    assert [store.swap(given, used(given)) for _ in range(3)] == [True, False, False]


def test_a_window_is_used_one_time_after_the_other(store):
    """Each use of a window is a step of its own; of two at once one is made."""
    given = walk(store, ticket(WINDOW), voted(ticket(WINDOW), GRACE))
    once = used(given)
    assert [store.swap(given, once) for _ in range(2)] == [True, False]
    assert store.swap(once, used(once))
    assert store.get("t1").uses == 2


def test_an_expiry_is_written_with_the_step_that_found_it(store):
    """A ticket that ran out unnoticed is expired when somebody looks at its emergency."""
    glass = walk(store, ticket(), broken(ticket()))
    late = store.now(START + WAIT)
    gone = expire(glass, late)
    seen = review(gone, GRACE, finding="never used", now=late)
    assert store.swap(gone, seen)
    assert store.get("t1") == seen


def test_the_glass_is_broken_once_until_somebody_looked(store):
    """A second emergency of one person, under whatever spelling, is refused until the review."""
    ADA2 = replace(ADA, name="Ada@ACME.test")  # noqa: N806
    glass = walk(store, ticket(), broken(ticket()))
    assert store.unreviewed("ADA@acme.test") == (glass,)
    other = store.open(ticket(name="t2", digest=b"e" * 32, by=ADA2))
    with forged():
        store.swap(other, broken(other, by=ADA2))
    assert store.get("t2") == other
    assert store.swap(glass, review(glass, GRACE, finding="", now=START))
    assert store.unreviewed(ADA.name) == ()
    assert store.swap(other, broken(other, by=ADA2))


def test_the_clock_of_a_store_runs_forward_only(store):
    """The latest moment that the store was told is its now, and a consent that ran out stays so."""
    given = walk(store, ticket(), voted(ticket(), GRACE))
    assert store.now(START + WAIT) == START + WAIT
    assert store.now(START) == START + WAIT
    with forged():
        store.swap(given, used(given, now=START))
    assert store.swap(given, expire(given, store.now(START)))


def test_what_is_no_step_is_not_made(store):
    """An approval without votes, another text, or a vote of one's own, is refused as forged."""
    asked = store.open(ticket(*TWO))
    end = START + HOUR
    for after in (
        replace(asked, state=ApprovalState.APPROVED, valid_until=end),
        replace(voted(asked, GRACE), sql="DROP TABLE bookings"),
        replace(asked, votes=voted(replace(asked, requester="x"), IVAN, HEIDI).votes[:2]),
        asked,
    ):
        with forged():
            store.swap(asked, after)
    assert store.get("t1") == asked


def test_only_new_tickets_are_opened(store):
    """A ticket that comes with votes, or under a name that is taken, is refused as forged."""
    with forged():
        store.open(voted(ticket(), GRACE))
    asked = store.open(ticket())
    with forged():
        store.open(ticket(digest=b"e" * 32))
    assert store.history(limit=9) == (asked,)


@pytest.mark.parametrize("operation", ["open", "swap"])
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_failed_write_is_there_or_not(operation, is_kept):
    """A write that failed was either kept whole or not at all, and later ones go on."""
    store, asked, after = MemoryApprovalStore(), ticket(*TWO), voted(ticket(*TWO), GRACE)
    steps = {"open": lambda: store.open(asked), "swap": lambda: store.swap(asked, after)}
    if operation == "swap":
        store.open(asked)
    (store.faults.after if is_kept else store.faults.before)(operation)
    with unavailable():
        steps[operation]()
    kept = {"open": (asked, None), "swap": (after, asked)}[operation]
    assert store.get("t1") == kept[not is_kept]
    assert store.open(asked) is not None


# ---- PostgreSQL


def test_gateways_share_tickets(database):
    """What one gateway opens another one votes on, and a third uses, each once."""
    one, two = PostgreSQLApprovalStore(database), PostgreSQLApprovalStore(database)
    asked = one.open(ticket())
    assert two.swap(asked, voted(asked, GRACE))
    assert not one.swap(asked, cancel(asked, ADA, now=START))
    assert one.swap(one.get("t1"), used(two.get("t1")))
    assert two.get("t1").state is ApprovalState.CONSUMED
    one.close()
    two.close()


def test_a_connection_that_the_server_dropped_is_opened_anew(database):
    """A restart of the server between two calls is not noticed."""
    store = PostgreSQLApprovalStore(database)
    asked = store.open(ticket())
    with Tables(database) as tables:
        tables.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
    assert store.get("t1") == asked
    store.close()


def test_a_server_that_is_away_is_an_error():
    """Without a server there is a code, and no account in the text."""
    store = PostgreSQLApprovalStore(make_url("postgresql://who@/db?host=/nowhere"))
    with unavailable() as caught:
        store.pending()
    assert "who" not in str(caught.value)


def test_tables_of_another_version_are_refused(database):
    """A schema from the future is not read."""
    store = PostgreSQLApprovalStore(database)
    store.now(START)
    store.close()
    with Tables(database) as tables:
        tables.ask("UPDATE nbgov_approval.clock SET version = 9")
    with unavailable() as caught:
        store.pending()
    assert "version 9" in caught.value.why


# ---- SQLite


def test_a_ticket_and_the_clock_survive_the_process(path):
    """Another store over the same file finds the same tickets, and no earlier time."""
    first = SqliteApprovalStore(path)
    asked = first.open(ticket())
    first.now(START + HOUR)
    first.close()
    second = SqliteApprovalStore(path)
    assert (second.get("t1"), second.now(START)) == (asked, START + HOUR)
    second.close()


def test_only_the_owner_can_read_it(sqlite, path):
    """The file and what SQLite puts beside it have mode 0600."""
    before = os.umask(0)
    try:
        sqlite.open(ticket())
        found = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert found == dict.fromkeys([path.name, f"{path.name}-wal", f"{path.name}-shm"], 0o600)


def execute(path, sql, *values):
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def test_transactions_are_durable(sqlite, path):
    """The file is in WAL mode, and commits wait for the disk."""
    sqlite.open(ticket())
    assert execute(path, "PRAGMA journal_mode") == [("wal",)]
    with sqlite.database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_file_of_a_newer_nbgov_is_refused(sqlite, path):
    """A schema from the future is not read."""
    execute(path, "PRAGMA user_version = 1000")
    with unavailable() as caught:
        sqlite.pending()
    assert "version 1000" in caught.value.why


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0garbage" * 99])
def test_a_file_that_is_no_database_is_an_error(sqlite, path, content):
    """Damage is an error with a code, and the file stays as it is."""
    path.write_bytes(content)
    with unavailable():
        sqlite.open(ticket())
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_is_an_error(tmp_path):
    """Where a file stands in the way of the folder, there is a code."""
    (tmp_path / "state").write_text("a file")
    with unavailable():
        SqliteApprovalStore(tmp_path / "state" / "state.sqlite").pending()


@pytest.mark.parametrize("replacement", [None, b""])
def test_a_file_that_was_taken_away_is_noticed(sqlite, path, replacement):
    """Nothing is written to a file that was removed or replaced meanwhile."""
    sqlite.open(ticket())
    path.unlink()
    if replacement is not None:
        path.write_bytes(replacement)
    with unavailable():
        sqlite.open(ticket(name="t2", digest=b"e" * 32))


@pytest.mark.parametrize(
    ("trigger", "sql"),
    [
        ("approvals_stay", "UPDATE approvals SET tables = '7'"),
        ("approvals_stay", f"UPDATE approvals SET decide_by = {2**62}"),
        ("quorums_stay", "UPDATE quorums SET roles = 'null'"),
        ("approvals_stay", "UPDATE approvals SET evidence = '{}'"),
    ],
)
def test_a_row_that_makes_no_sense_is_an_error(sqlite, path, trigger, sql):
    """A row that somebody else wrote past the rules is an error with a code, not a crash."""
    sqlite.open(ticket())
    execute(path, f"DROP TRIGGER {trigger}")
    execute(path, sql)
    with unavailable() as caught:
        sqlite.get("t1")
    assert "does not decode" in caught.value.why


def test_text_that_is_no_unicode_is_an_error(sqlite):
    """Half a surrogate pair cannot be kept, and says so."""
    with unavailable():
        sqlite.open(ticket(sql="SELECT '\ud83d'"))
    assert sqlite.pending() == ()


def test_a_failed_step_leaves_nothing_behind(sqlite, path):
    """A step that breaks off in the middle is rolled back whole."""
    asked = sqlite.open(ticket())

    def break_off():
        with sqlite.database.writing() as connection:
            connection.execute("UPDATE approval_clock SET at = at + 1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert sqlite.now(START) == START
    assert sqlite.get("t1") == asked


def test_threads_share_a_store(sqlite):
    """Threads that consume one grant at the same time have one winner."""
    asked = sqlite.open(ticket())
    approved = voted(asked, GRACE)
    sqlite.swap(asked, approved)
    won = []
    gate = threading.Barrier(6)

    def work():
        gate.wait()
        won.append(sqlite.swap(approved, used(approved)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]


def test_both_stores_share_a_file(path):
    """Approvals and datasets are kept in one file by two objects."""
    approvals, datasets = SqliteApprovalStore(path), SqliteDatasetStore(path)
    assert datasets.versions() == ()
    approvals.open(ticket())
    assert len(approvals.pending()) == 1
    approvals.close()
    datasets.close()

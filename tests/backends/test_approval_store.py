"""One suite for every approval store, then what only SQLite can suffer."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbgov.backends.memory import MemoryApprovalStore
from nbgov.backends.sqlite.approvals import SqliteApprovalStore
from nbgov.backends.sqlite.datasets import SqliteDatasetStore
from nbgov.core.approval import cancel, consume, vote
from nbgov.errors import BackendFailed
from nbgov.model import Approval, ApprovalQuorum, ApprovalState, Principal, Vote

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADA = Principal("ada@acme.test")
GRACE = Principal("grace@acme.test", roles=frozenset({"approver"}))
HEIDI = Principal("heidi@acme.test", groups=frozenset({"stewards"}))
QUORUMS = (
    ApprovalQuorum("first", frozenset(), frozenset({"stewards"}), frozenset({"approver"}), 2),
    ApprovalQuorum("second", frozenset({"heidi@acme.test"}), frozenset(), frozenset(), 1),
)


def ticket(name="t1", *, digest=b"d" * 32, at=START, quorums=QUORUMS, **changes):
    plain = Approval(
        ticket=name,
        binding_digest=digest,
        connection="ops",
        sql="UPDATE bookings\nSET note = 'ü\u2028😀' -- why",
        binds="id: int = 7",
        requester=ADA.name,
        quorums=quorums,
        verb="UPDATE",
        tables=("main.bookings", "main.people"),
        requested_at=at,
        expires_at=at + HOUR,
    )
    return replace(plain, **changes)


def voted(approval, *voters, at=START, yes=True):
    for voter in voters:
        ballot = Vote(voter.name, yes, "because: ü", at)
        approval = vote(approval, ballot, voter=voter, now=at)
    return approval


def unavailable():
    return pytest.raises(BackendFailed, match="state-unavailable")


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryApprovalStore()
        return
    store = SqliteApprovalStore(tmp_path / "state" / "state.sqlite")
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


# ---- every store


def test_a_ticket_comes_back_as_it_went_in(store):
    """Every field of a ticket, its quorums and its votes survive the store."""
    asked = ticket()
    assert store.open(asked) == asked
    assert store.get("t1") == store.find(asked.binding_digest) == asked
    approved = voted(asked, GRACE, HEIDI)
    assert approved.state is ApprovalState.APPROVED
    assert store.swap(asked, approved)
    assert store.get("t1") == store.find(asked.binding_digest) == approved


def test_an_unknown_ticket_is_none(store):
    """What was never opened cannot be found."""
    assert store.get("t1") is None
    assert store.find(b"d" * 32) is None
    assert store.pending() == ()
    assert not store.swap(ticket(), voted(ticket(), GRACE))


def test_a_live_ticket_is_found_instead_of_opened_again(store):
    """Asking twice for the same thing gives the same ticket, with the votes it has."""
    asked = store.open(ticket())
    half = voted(asked, GRACE)
    store.swap(asked, half)
    assert store.open(ticket("t2", at=START + HOUR / 2)) == half
    assert store.get("t2") is None


def test_another_binding_is_another_ticket(store):
    """Two statements that differ have a ticket each."""
    store.open(ticket())
    other = ticket("t2", digest=b"e" * 32)
    assert store.open(other) == other
    assert [approval.ticket for approval in store.pending()] == ["t1", "t2"]


@pytest.mark.parametrize("ending", ["cancelled", "consumed", "refused"])
def test_a_ticket_that_has_ended_makes_room_for_a_new_one(store, ending):
    """After its end the same statement can be asked for anew, and the latest ticket is found."""
    asked = store.open(ticket())
    approved = voted(asked, GRACE, HEIDI)
    steps = {
        "cancelled": [cancel(asked, ADA, now=START)],
        "consumed": [approved, consume(approved, START)],
        "refused": [voted(asked, GRACE, yes=False)],
    }[ending]
    for before, after in zip([asked, *steps], steps, strict=False):
        assert store.swap(before, after)
    again = ticket("t2", at=START + timedelta(seconds=1))
    assert store.open(again) == again
    assert store.find(again.binding_digest) == again
    assert store.get("t1").state == ending


def test_a_ticket_that_ran_out_makes_room_for_a_new_one(store):
    """A ticket whose time is over when the same is asked again is kept as expired."""
    store.open(ticket())
    again = ticket("t2", at=START + HOUR)
    assert store.open(again) == again
    assert store.get("t1").state is ApprovalState.EXPIRED
    assert store.pending() == (again,)


def test_pending_tickets_are_the_live_ones_oldest_first(store):
    """Tickets that wait for votes or for use are listed, ended ones are not."""
    asked = [store.open(ticket(f"t{n}", digest=bytes([n]) * 32)) for n in range(4)]
    store.swap(asked[0], cancel(asked[0], ADA, now=START))
    approved = voted(asked[2], GRACE, HEIDI)
    store.swap(asked[2], approved)
    assert store.pending() == (asked[1], approved, asked[3])


def test_a_step_from_an_old_state_is_not_made(store):
    """Of two steps from the same state the first is made and the second is not."""
    asked = store.open(ticket())
    one, other = voted(asked, GRACE), voted(asked, HEIDI)
    assert store.swap(asked, one)
    assert not store.swap(asked, other)
    assert not store.swap(asked, cancel(asked, ADA, now=START))
    assert store.get("t1") == one


def test_a_consent_is_consumed_once(store):
    """The second use of the same grant does not happen."""
    asked = store.open(ticket())
    approved = voted(asked, GRACE, HEIDI)
    assert store.swap(asked, approved)
    used = consume(approved, START)
    assert [store.swap(approved, used) for _ in range(3)] == [True, False, False]


def test_a_refused_ticket_can_be_put_away(store):
    """A refusal that the requester was told of can be closed as cancelled."""
    asked = store.open(ticket())
    refused = voted(asked, GRACE, yes=False)
    assert store.swap(asked, refused)
    assert store.swap(refused, replace(refused, state=ApprovalState.CANCELLED))


def test_a_step_cannot_change_the_statement(store):
    """A step that changes more than state and votes is a mistake of ours, and is not made."""
    asked = store.open(ticket())
    with pytest.raises(RuntimeError, match="nothing but its state"):
        store.swap(asked, replace(asked, sql="DROP TABLE bookings"))
    assert store.get("t1") == asked


def test_a_ticket_name_is_taken_once(store):
    """A second ticket under the name of the first is an error, and the first stays."""
    asked = store.open(ticket())
    with unavailable():
        store.open(ticket(digest=b"e" * 32))
    assert store.get("t1") == asked


@pytest.mark.parametrize("operation", ["open", "swap"])
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_failed_write_is_there_or_not(operation, is_kept):
    """A write that failed was either kept whole or not at all, and later ones go on."""
    store = MemoryApprovalStore()
    asked = ticket()
    after = voted(asked, GRACE)
    steps = {"open": lambda: store.open(asked), "swap": lambda: store.swap(asked, after)}
    if operation == "swap":
        store.open(asked)
    (store.faults.after if is_kept else store.faults.before)(operation)
    with unavailable():
        steps[operation]()
    kept = {"open": (asked, None), "swap": (after, asked)}[operation]
    assert store.get("t1") == kept[not is_kept]
    assert store.open(asked) is not None


# ---- SQLite


def test_a_ticket_survives_the_process(path):
    """Another store over the same file finds the same tickets."""
    first = SqliteApprovalStore(path)
    asked = first.open(ticket())
    first.close()
    second = SqliteApprovalStore(path)
    assert second.get("t1") == asked
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
        connection.execute("PRAGMA foreign_keys = ON")
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def test_transactions_are_durable(sqlite, path):
    """The file is in WAL mode, and commits wait for the disk."""
    sqlite.open(ticket())
    assert execute(path, "PRAGMA journal_mode") == [("wal",)]
    with sqlite.database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE quorums SET votes_min = 0",
        "UPDATE approvals SET state = 'allowed'",
        "UPDATE approvals SET revision = -1",
        "UPDATE approvals SET expires_at = requested_at",
        "UPDATE approvals SET binding_digest = x'00'",
        "INSERT INTO votes VALUES ('t1', 'ada@acme.test', 5, 1, '', '', '[]')",
        "INSERT INTO votes VALUES ('t1', 'ADA@acme.test', 5, 1, '', '', '[]')",
        "INSERT INTO votes VALUES ('t1', 'GRACE@acme.test', 5, 1, '', '', '[]')",
        "INSERT INTO votes VALUES ('t1', 'ivan@acme.test', 5, 2, '', '', '[]')",
        "INSERT INTO votes VALUES ('t9', 'ivan@acme.test', 5, 1, '', '', '[]')",
        "INSERT INTO votes VALUES ('t1', 'ivan@acme.test', 5, 1, '', '', 'all')",
    ],
)
def test_the_rules_are_in_the_schema_too(sqlite, path, sql):
    """A quorum of zero, a requester's vote, a second vote or an unknown state cannot be kept."""
    asked = sqlite.open(ticket())
    sqlite.swap(asked, voted(asked, GRACE))
    with pytest.raises(sqlite3.IntegrityError):
        execute(path, sql)


@pytest.mark.parametrize("ended", ["consumed", "cancelled", "expired", "refused"])
def test_a_ticket_that_has_ended_cannot_come_back(sqlite, path, ended):
    """No statement brings an ended ticket back to life."""
    sqlite.open(ticket())
    execute(path, "UPDATE approvals SET state = ?", ended)
    with pytest.raises(sqlite3.IntegrityError, match="has ended"):
        execute(path, "UPDATE approvals SET state = 'approved'")


def test_one_live_ticket_for_a_binding(sqlite, path):
    """Two live tickets for one statement cannot be kept, whoever writes them."""
    sqlite.open(ticket())
    sqlite.open(ticket("t2", digest=b"e" * 32))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        execute(path, "UPDATE approvals SET binding_digest = ?", b"d" * 32)


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
        sqlite.open(ticket("t2", digest=b"e" * 32))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE approvals SET tables = '7'",
        "UPDATE approvals SET requested_at = '0'",
        "UPDATE quorums SET roles = 'null'",
    ],
)
def test_a_row_that_makes_no_sense_is_an_error(sqlite, path, sql):
    """A row that somebody else wrote is an error with a code, not a crash."""
    sqlite.open(ticket())
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
            connection.execute("UPDATE approvals SET state = 'approved'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert sqlite.get("t1") == asked


def test_threads_share_a_store(sqlite):
    """Threads that consume one grant at the same time have one winner."""
    asked = sqlite.open(ticket())
    approved = voted(asked, GRACE, HEIDI)
    sqlite.swap(asked, approved)
    won = []
    gate = threading.Barrier(6)

    def work():
        gate.wait()
        won.append(sqlite.swap(approved, consume(approved, START)))

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


RACE = """
import os, sys
from pathlib import Path
from datetime import UTC, datetime, timedelta
from nbgov.backends.sqlite.approvals import SqliteApprovalStore
from nbgov.core.approval import consume, vote
from nbgov.model import Approval, ApprovalQuorum, Principal, Vote

START = datetime(2026, 1, 1, tzinfo=UTC)
none = frozenset()
GRACE = Principal("grace", roles=frozenset({"approver"}))
quorum = ApprovalQuorum("rule", none, none, GRACE.roles, 1)

def race(path, work):
    # Eight processes make the file together, and then work at the same moment.
    (heard, ready), (gate, go) = os.pipe(), os.pipe()
    children = []
    for number in range(8):
        child = os.fork()
        if not child:
            os.close(go)
            store = SqliteApprovalStore(path)
            store.pending()
            os.write(ready, b".")
            os.read(gate, 1)
            os._exit(work(store, number))
        children.append(child)
    os.close(ready)
    for _ in children:
        os.read(heard, 1)
    os.close(go)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

def ask(store, number):
    asked = Approval(
        f"t{number}", b"d" * 32, "ops", "UPDATE t SET a = 1", "", "ada", (quorum,),
        "UPDATE", ("t",), START, START + timedelta(hours=1))
    return store.open(asked)

def ask_for_the_same(store, number):
    return int(ask(store, number).ticket[1:])

def grant(store):
    asked = ask(store, 9)
    store.swap(asked, vote(asked, Vote("grace", True, "", START), voter=GRACE, now=START))

def use(store, number):
    found = store.find(b"d" * 32)
    return store.swap(found, consume(found, START)) if found.state == "approved" else 0

for number in range(int(sys.argv[2])):
    print(*race(Path(sys.argv[1]) / f"{number}.sqlite", ask_for_the_same))
for number in range(int(sys.argv[2])):
    path = Path(sys.argv[1]) / f"granted-{number}.sqlite"
    grant(SqliteApprovalStore(path))
    print(*race(path, use))
"""


@pytest.fixture(scope="module")
def races(tmp_path_factory):
    """What eight processes that did the same at once said, for several rounds of two kinds."""
    command = [sys.executable, "-c", RACE, str(tmp_path_factory.mktemp("races")), "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rounds = [line.split() for line in done.stdout.splitlines()]
    return rounds[:5], rounds[5:]


def test_of_many_processes_one_uses_a_grant(races):
    """Eight processes that consume one grant at once have exactly one winner, every time."""
    assert [sorted(said) for said in races[1]] == [["0"] * 7 + ["1"]] * 5


def test_many_processes_that_ask_for_the_same_get_one_ticket(races):
    """Eight processes that make the file and ask for the same at once all get one ticket."""
    assert [(len(said), len(set(said))) for said in races[0]] == [(8, 1)] * 5

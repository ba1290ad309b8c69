"""The rules of tickets in the schemas of SQLite and PostgreSQL, and that each of them is needed.

Each attack is a statement typed by hand. The schema refuses it; and where the one rule that is in
its way is taken out, it goes through: so no rule stands there for show.
"""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from nbgov.backends.postgresql import approvals as in_postgresql
from nbgov.backends.postgresql.approvals import PostgreSQLApprovalStore
from nbgov.backends.postgresql.audit_tables import Tables
from nbgov.backends.postgresql.origins import sqlstate_of
from nbgov.backends.sqlite import approvals as in_sqlite
from nbgov.backends.sqlite.approvals import SqliteApprovalStore
from nbgov.errors import IntegrityFailed
from tests.approvals import (
    GRACE,
    START,
    WAIT,
    WINDOW,
    broken,
    quorum,
    ticket,
    used,
    voted,
)
from tests.core.test_approval import FORGED

ROOT = Path(__file__).resolve().parents[2]
TWO = (quorum(votes_min=2),)
ASKED, GIVEN, GLASS = ticket(), voted(ticket(), GRACE), broken(ticket())
HALF = [ticket(*TWO), voted(ticket(*TWO), GRACE)]
GIVEN_WINDOW = [ticket(WINDOW), voted(ticket(WINDOW), GRACE)]
VOTE = (
    "INSERT INTO {t}votes (ticket, place, voter, voter_folded, is_approval, reason, at, rules)"
    " VALUES ('t1', {place}, '{voter}', '{folded}', 1, '', 0, '{rules}')"
)
QUORUM = "INSERT INTO {t}quorums VALUES ('t1', 'more', 7, '[]', '[]', '[]', {votes}, 'once', 1, 1)"
BREAK = "INSERT INTO {t}emergencies VALUES ('{ticket}', 'ada@acme.test', 'x', 0, '', '', NULL, '')"
COPY = (
    "INSERT INTO {t}approvals (ticket, binding_digest, connection, sql, binds, requester,"
    " requester_folded, verb, tables, requested_at, decide_by, mode, valid_s, evidence, undoes,"
    " state, valid_until, uses) SELECT 't2', {digest}, connection, sql, binds, requester,"
    " requester_folded, verb, tables, requested_at, decide_by, mode, valid_s, evidence, undoes,"
    " 'approved', 1, 0 FROM {t}approvals"
)
SELF_REVIEW = (
    "UPDATE {t}emergencies SET reviewed_by = 'x', reviewed_by_folded = 'ada@acme.test',"
    " reviewed_at = 1"
)


def ballot(voter, folded="", rules='["first"]', place=0):
    """A vote, typed by hand."""
    held = {"voter": voter, "folded": folded or voter, "rules": rules, "place": place}
    return VOTE.format(t="{t}", **held)


# What happened before, what is typed, and the rules that are in its way.
ATTACKS = {
    "no votes": (
        [ASKED], "UPDATE {t}approvals SET state = 'approved', valid_until = 1",
        ["approvals_need_votes"],
    ),
    "too few votes": (
        HALF, "UPDATE {t}approvals SET state = 'approved', valid_until = 1",
        ["approvals_need_votes"],
    ),
    "an own vote": ([ASKED], ballot("ada@acme.test"), ["votes_four_eyes"]),
    "an own vote in capitals": ([ASKED], ballot("ADA@acme.test", "x"), ["votes_four_eyes"]),
    "an own vote, folded": ([ASKED], ballot("x", "ada@acme.test"), ["votes_four_eyes"]),
    "a vote twice": (HALF, ballot("GRACE@acme.test", "x", place=1), ["votes_once"]),
    "a late vote": ([ASKED, GIVEN], ballot("ivan@acme.test", place=1), ["votes_in_time"]),
    "a vote for no rule": ([ASKED], ballot("ivan@acme.test", rules="[]"), ["votes_count"]),
    "a vote for another rule": (
        [ASKED], ballot("ivan@acme.test", rules='["first", "x"]'), ["votes_count"],
    ),
    "another vote": (HALF, "UPDATE {t}votes SET is_approval = 0", ["votes_stay"]),
    "a vote less": (HALF, "DELETE FROM {t}votes", ["votes_are_kept"]),
    "a quorum of zero": ([ASKED], QUORUM.format(t="{t}", votes=0), ["quorums.votes_min"]),
    "a quorum afterwards": ([ASKED, GIVEN], QUORUM.format(t="{t}", votes=1), ["quorums_come_first"]),
    "a smaller quorum": (HALF, "UPDATE {t}quorums SET votes_min = 1", ["quorums_stay"]),
    "a quorum less": (HALF, "DELETE FROM {t}quorums", ["quorums_are_kept"]),
    "used again": (
        [ASKED, GIVEN, used(GIVEN)], "UPDATE {t}approvals SET state = 'approved'",
        ["approvals_edges"],
    ),
    "another statement": ([ASKED, GIVEN], "UPDATE {t}approvals SET sql = 'x'", ["approvals_stay"]),
    "a longer life": (
        [ASKED, GIVEN], "UPDATE {t}approvals SET valid_until = valid_until + 1", ["approvals_end"],
    ),
    "two uses": (GIVEN_WINDOW, "UPDATE {t}approvals SET uses = 2", ["approvals_used"]),
    "a use taken back": (
        [*GIVEN_WINDOW, used(GIVEN_WINDOW[1])], "UPDATE {t}approvals SET uses = 0",
        ["approvals_used"],
    ),
    "twice of once": (
        [ASKED, GIVEN], "UPDATE {t}approvals SET uses = 2, state = 'consumed'",
        ["approvals_used", "approvals.uses"],
    ),
    "a denial of nobody": (
        [ASKED], "UPDATE {t}approvals SET state = 'denied'", ["approvals_denied"],
    ),
    "expired early": (
        [ASKED], "UPDATE {t}approvals SET state = 'expired'", ["approvals_expire_late"],
    ),
    "used late": (
        [ASKED, GIVEN, WAIT], "UPDATE {t}approvals SET state = 'consumed', uses = 1",
        ["approvals_in_time"],
    ),
    "the clock set back": ([ASKED, WAIT], "UPDATE {clock} SET at = 0", ["clock_runs_forward"]),
    "approved from the start": ([ASKED], COPY, ["approvals_begin"]),
    "glass after votes": (
        [ASKED, GIVEN], BREAK.format(t="{t}", ticket="t1"), ["emergencies_in_time"],
    ),
    "glass again": (
        [ASKED, GLASS, ticket(name="t2", digest=b"e" * 32)], BREAK.format(t="{t}", ticket="t2"),
        ["emergencies_open"],
    ),
    "another reason": (
        [ASKED, GLASS], "UPDATE {t}emergencies SET reason = 'y'", ["emergencies_reviewed_once"],
    ),
    "an own review": ([ASKED, GLASS], SELF_REVIEW, ["emergencies.reviewed_by"]),
    "an emergency less": ([ASKED, GLASS], "DELETE FROM {t}emergencies", ["emergencies_are_kept"]),
}  # fmt: skip
# What else SQLite has in the way: there, "INSERT OR REPLACE" takes no notice of a key.
MORE_IN_SQLITE = {"emergencies_open": ["emergencies_in_time"]}
CHECKS = {
    "quorums.votes_min": ("quorums", "votes_min >= 1"),
    "approvals.uses": ("approvals", "uses <= 1"),
    "emergencies.reviewed_by": ("emergencies", "reviewed_by_folded <> requester_folded"),
}


def prepare(store, steps):
    """Take steps; a ticket under another name is opened, and a while goes by."""
    last = None
    for step in steps:
        if not hasattr(step, "ticket"):
            store.now(START + step)
        elif last is None or step.ticket != last.ticket:
            last = store.open(step)
        else:
            assert store.swap(last, step)
            last = step
    store.close()


class InSqlite:
    """Hands at the file of a store."""

    def __init__(self, tmp_path):
        self.path = tmp_path / "state.sqlite"
        self.store = SqliteApprovalStore(self.path)

    def execute(self, sql, without=()):
        """Type a statement, with some rules gone; say whether it went through."""
        connection = sqlite3.connect(self.path)
        gone = [*without, *itertools.chain(*(MORE_IN_SQLITE.get(name, []) for name in without))]
        for name in gone:
            if name in CHECKS:
                connection.execute("PRAGMA ignore_check_constraints = ON")
            elif name == "emergencies_open":
                connection.execute(f"DROP INDEX {name}")
            else:
                clock = "approval_" if name.startswith("clock") else ""
                connection.execute(f"DROP TRIGGER {clock}{name}")
        digest = f"x'{'65' * 32}'"
        try:
            connection.execute(sql.format(t="", clock="approval_clock", digest=digest))
        except sqlite3.IntegrityError:
            return False
        finally:
            connection.close()
        return True


class InPostgresql:
    """Hands at the tables of a store."""

    def __init__(self, url):
        self.url = make_url(url)
        self.store = PostgreSQLApprovalStore(self.url)

    def execute(self, sql, without=()):
        """Type a statement, with some rules gone; say whether it went through."""
        with Tables(self.url) as tables:
            for name in without:
                tables.link.execute_simple(self.drop(tables, name))
            digest = f"decode('{'65' * 32}', 'hex')"
            held = {"t": "nbgov_approval.", "clock": "nbgov_approval.clock", "digest": digest}
            try:
                tables.ask("BEGIN")
                tables.ask(sql.format(**held))
            except tables.errors as error:
                if not sqlstate_of(error).startswith("23"):
                    raise
                return False
            finally:
                tables.ask("ROLLBACK")
        return True

    def drop(self, tables, name):
        """What takes a rule out."""
        if name in CHECKS:
            table, text = CHECKS[name]
            [[found]] = tables.ask(
                "SELECT conname::text FROM pg_constraint WHERE contype = 'c'"
                " AND conrelid = $1::text::regclass AND pg_get_constraintdef(oid) LIKE $2",
                f"nbgov_approval.{table}",
                f"%{text}%",
            )
            return f"ALTER TABLE nbgov_approval.{table} DROP CONSTRAINT {found}"
        if name == "emergencies_open":
            return "DROP INDEX nbgov_approval.emergencies_open"
        if name.endswith("_are_kept"):
            return f"DROP TRIGGER kept_delete ON nbgov_approval.{name.removesuffix('_are_kept')}"
        return f"DROP FUNCTION nbgov_approval.{name}() CASCADE"


@pytest.fixture(params=["sqlite", "postgresql"])
def hands(request, tmp_path):
    """A database of this test's own."""
    if request.param == "sqlite":
        yield InSqlite(tmp_path)
        return
    held = InPostgresql(request.getfixturevalue("postgres_url"))
    yield held
    held.store.close()
    with Tables(held.url) as tables:
        tables.link.execute_simple("DROP SCHEMA IF EXISTS nbgov_approval CASCADE")


@pytest.mark.parametrize("name", ATTACKS)
def test_each_rule_is_in_the_schema_and_needed(hands, name):
    """What is typed by hand is refused by just the rules that are there for it."""
    steps, sql, rules = ATTACKS[name]
    prepare(hands.store, steps)
    assert not hands.execute(sql)
    assert hands.execute(sql, without=rules)


HELD_BY_SCHEMA = [
    "no votes", "too few votes", "an own vote", "a vote twice", "a vote for no rule",
    "a vote for another rule", "a denial without a vote", "a denial that approves",
    "an approval that denies", "a longer time", "more time", "a use that is not over",
    "an end without a use", "two uses", "a use taken back", "ended by nobody", "nobody revokes",
    "expired early", "glass without a reason", "glass reviewed at once", "an own review",
]  # fmt: skip


@pytest.mark.parametrize("name", HELD_BY_SCHEMA)
def test_the_schema_holds_where_the_code_would_not(hands, name, monkeypatch):
    """With core's rules switched off, the schema refuses a step that is none, by the same code."""
    for module in (in_sqlite, in_postgresql):
        monkeypatch.setattr(module, "require_step", lambda *_: None)
    before, after = FORGED[name]
    steps = {
        "approved": [ASKED, GIVEN],
        "consumed": [ASKED, GIVEN, used(GIVEN)],
        "requested": HALF if before.votes else [before],
    }[before.state]
    prepare(hands.store, [ASKED, GLASS] if before.emergency else steps)
    with pytest.raises(IntegrityFailed, match="ticket-forged"):
        hands.store.swap(before, after)
    assert hands.store.get("t1") == before


@pytest.mark.parametrize(
    "sql",
    [
        "TRUNCATE nbgov_approval.votes CASCADE",
        "TRUNCATE nbgov_approval.clock",
        "TRUNCATE nbgov_approval.approvals CASCADE",
        "DELETE FROM nbgov_approval.clock",
    ],
)
def test_postgresql_keeps_what_is_kept(postgres_url, sql):
    """Nothing is emptied either, and the clock is not set back by taking it away."""
    hands = InPostgresql(postgres_url)
    prepare(hands.store, [ASKED])
    try:
        assert not hands.execute(sql)
    finally:
        with Tables(hands.url) as tables:
            tables.link.execute_simple("DROP SCHEMA IF EXISTS nbgov_approval CASCADE")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT OR REPLACE INTO approval_clock VALUES (1, 0)",
        "INSERT OR REPLACE INTO votes VALUES ('t1', 0, 'ivan', 'ivan', 1, '', 0, '[\"first\"]')",
        "INSERT OR REPLACE INTO quorums VALUES ('t1', 'first', 0, '', '', '', 1, 'once', 1, 1)",
        "DELETE FROM approvals",
        "DELETE FROM approval_clock",
    ],
)
def test_sqlite_replaces_nothing(tmp_path, sql):
    """A row that is kept is not replaced by an INSERT that says so, either."""
    hands = InSqlite(tmp_path)
    prepare(hands.store, HALF)
    assert not hands.execute(sql.replace("{votes}", "1"))


# ---- many processes, one grant

RACE = """
import os, sys
from pathlib import Path
from sqlalchemy.engine import make_url
from nbgov.backends.postgresql.approvals import PostgreSQLApprovalStore
from nbgov.backends.sqlite.approvals import SqliteApprovalStore
from tests.approvals import GRACE, ticket, used, voted

place, rounds = sys.argv[1], int(sys.argv[2])

def open_store():
    if "://" in place:
        return PostgreSQLApprovalStore(make_url(place))
    return SqliteApprovalStore(Path(place))

def race(work):
    # Eight processes are ready, and then work at the same moment.
    (heard, ready), (gate, go) = os.pipe(), os.pipe()
    children = []
    for number in range(8):
        child = os.fork()
        if not child:
            os.close(go)
            # One that fails says so at once, and nobody waits for it.
            code = 99
            try:
                store = open_store()
                store.pending()
                os.write(ready, b".")
                os.read(gate, 1)
                code = int(work(store, number))
            finally:
                if code == 99:
                    os.write(ready, b"!")
                os._exit(code)
        children.append(child)
    os.close(ready)
    for _ in children:
        os.read(heard, 1)
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(heard)
    os.close(gate)
    return codes

def ask(store, number):
    return int(store.open(ticket(name=f"t{number}", digest=b"s" * 32)).ticket[1:])

def use(digest):
    def work(store, number):
        found = store.find(digest)
        return store.swap(found, used(found, digest=digest)) if found.state == "approved" else 0
    return work

print(*race(ask))
for number in range(rounds):
    digest = number.to_bytes(32, "big")
    store, asked = open_store(), ticket(name=f"r{number}", digest=digest)
    store.open(asked)
    assert store.swap(asked, voted(asked, GRACE))
    store.close()
    print(*race(use(digest)))
"""


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_of_many_processes_one_uses_a_grant(hands, rounds, request):
    """Eight processes that ask at once get one ticket, and that use a grant have one winner."""
    place = hands.path if isinstance(hands, InSqlite) else request.getfixturevalue("postgres_url")
    command = [sys.executable, "-c", RACE, str(place), str(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked, *said = [line.split() for line in done.stdout.splitlines()]
    assert (len(asked), len(set(asked))) == (8, 1)
    assert [sorted(one) for one in said] == [["0"] * 7 + ["1"]] * rounds

"""The consent that a statement needs: what it is bound to, when it ends, and who hears of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import nbgov
from nbgov.backends.memory import MemoryApprovalStore
from nbgov.core.approval import read_binds
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied, IntegrityFailed, RequestInvalid
from nbgov.model import Approval, ApprovalState, Column, Notice, Request
from tests.scene import PEOPLE, POLICY, READ, WRITE, Scene, make_scene
from tests.surfaces.house import CHANGE, CONFIG, build
from tests.surfaces.house import POLICY as HOUSE_POLICY

BINDS = {"id": 1}
SECOND = """
  - id: second
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["wh.main.people"]
    obligations: {approval: {by: {names: [grace]}}}
content:"""


class Told:
    """A notifier that remembers what it was told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def tell(self, notice: Notice) -> None:
        """Take a notice."""
        self.notices.append(notice)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def told() -> Told:
    """Who is told of tickets."""
    return Told()


@pytest.fixture
def scene(told: Told) -> Scene:
    """A fresh world."""
    return make_scene(notifier=told)


def ask(scene: Scene, sql: str = WRITE, **more: Any) -> str:
    """Run a statement until it waits, and return its ticket."""
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(sql, **{"binds": BINDS} | more)
    return caught.value.ticket


def ticket_of(scene: Scene, name: str) -> Approval:
    """A ticket as the store holds it."""
    found = scene.approvals.get(name)
    assert found is not None
    return found


def committed(scene: Scene) -> int:
    """How many statements were committed."""
    return sum(stream.state == "committed" for stream in scene.engine.streams)


# ---------------------------------------------------------------- what a consent is bound to


def test_a_ticket_has_the_same_name_and_text_everywhere() -> None:
    """The error of a waiting statement is equal on every run and in every fresh world."""
    texts = set()
    for _ in range(2):
        scene = make_scene()
        for _ in range(2):
            with pytest.raises(ApprovalNeeded) as caught:
                scene.run(WRITE, binds=BINDS)
            texts.add(str(caught.value))
    [text] = texts
    assert caught.value.ticket in text
    assert "the rule change asks" in text
    assert "run the same statement again" in text


def test_a_consent_ends_with_the_tables_it_names(scene: Scene) -> None:
    """Another column of the table means another ticket, and nobody votes on the old one any more."""
    ticket = ask(scene)
    scene.approve(ticket)
    wider = replace(PEOPLE, columns=(*PEOPLE.columns, Column("pay", "DOUBLE")))
    scene.engine.held = replace(scene.engine.held, tables={PEOPLE.name: wider})
    assert ask(scene) == f"{ticket}-2"
    ended = ticket_of(scene, ticket)
    assert ended.state is ApprovalState.CANCELLED
    assert ended.ending is not None
    assert ended.ending.by == "nbgov"
    assert committed(scene) == 0


def test_a_consent_ends_with_the_views_behind_its_view(tmp_path: Path) -> None:
    """A view that another one reads is part of what was approved, down to its condition."""
    build(tmp_path)
    views = "  - {id: top, effect: permit, to: {groups: [analysts]}, actions: [read],\n"
    views += "     on: [wh.main.top], obligations: {approval: {by: {roles: [approver]}}}}\n"
    (tmp_path / "policy.yaml").write_text(HOUSE_POLICY + views)

    def define(condition: str) -> None:
        with duckdb.connect(tmp_path / "wh.duckdb") as connection:
            view = f"SELECT id FROM people WHERE {condition}"
            connection.execute(f"CREATE OR REPLACE VIEW below AS {view}")
            connection.execute("CREATE OR REPLACE VIEW top AS SELECT id FROM below")

    define("id = 1")
    with open_as(tmp_path, "ada") as ada, pytest.raises(ApprovalNeeded) as caught:
        ada.sql("SELECT * FROM top")
    with open_as(tmp_path, "grace") as grace:
        grace.vote(caught.value.ticket, is_approval=True)
    define("id > 0")
    with open_as(tmp_path, "ada") as ada, pytest.raises(ApprovalNeeded) as again:
        ada.sql("SELECT * FROM top")
    assert again.value.ticket == f"{caught.value.ticket}-2"


def test_a_consent_does_not_end_with_other_tables(scene: Scene) -> None:
    """What happens to a table that the statement does not name changes nothing."""
    scene.approve(ask(scene))
    other = replace(PEOPLE, name=replace(PEOPLE.name, name="other"))
    tables = {PEOPLE.name: PEOPLE, other.name: other}
    scene.engine.held = replace(scene.engine.held, tables=tables)
    scene.run(WRITE, binds=BINDS)
    assert committed(scene) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{by: {roles: [approver]}}", "{by: {roles: [approver]}, votes: 2}"),
        ("\ncontent:", SECOND),
    ],
)
def test_a_consent_covers_what_is_asked_now(scene: Scene, before: str, after: str) -> None:
    """Where the policy asks for other votes by now, the ticket ends and a new one is opened."""
    ticket = ask(scene)
    scene.approve(ticket)
    assert before in scene.policy.text()
    scene.policy.policy = scene.policy.text().replace(before, after)
    assert ask(scene) == f"{ticket}-2"
    assert ticket_of(scene, ticket).state is ApprovalState.CANCELLED
    assert committed(scene) == 0


def test_a_consent_covers_less_than_it_was_asked_for(scene: Scene) -> None:
    """Where the policy asks for fewer votes by now, those that were given are enough."""
    scene.policy.policy = POLICY.replace("\ncontent:", SECOND)
    scene.approve(ask(scene))
    scene.policy.policy = POLICY
    scene.run(WRITE, binds=BINDS)
    assert committed(scene) == 1


def test_a_policy_that_only_reads_differently_asks_nothing_anew(scene: Scene) -> None:
    """A comment in the policy does not take a consent away."""
    scene.approve(ask(scene))
    scene.policy.policy = POLICY + "\n# a comment"
    scene.run(WRITE, binds=BINDS)
    assert committed(scene) == 1


def test_a_limit_that_came_later_ends_a_consent(scene: Scene) -> None:
    """Masks, filters and limits are part of what was consented to."""
    ticket = ask(scene)
    scene.approve(ticket)
    approval = "{approval: {by: {roles: [approver]}}}"
    assert approval in POLICY
    scene.policy.policy = POLICY.replace(
        approval, "{approval: {by: {roles: [approver]}}, write_limit: 5}"
    )
    assert ask(scene) == f"{ticket}-2"
    assert ticket_of(scene, ticket).state is ApprovalState.CANCELLED


def test_a_deny_wins_over_a_consent(scene: Scene) -> None:
    """A statement that the policy denies by now does not run, whoever consented."""
    scene.approve(ask(scene))
    scene.policy.policy = POLICY.replace("actions: [update]", "actions: [delete]")
    with pytest.raises(Denied):
        scene.run(WRITE, binds=BINDS)
    assert committed(scene) == 0


# ---------------------------------------------------------------- how tickets end


def test_a_denial_is_told_once(scene: Scene) -> None:
    """The requester hears of a denial on the next run, and the one after that asks anew."""
    ticket = ask(scene)
    scene.approve(ticket, is_approval=False)
    with pytest.raises(Denied, match="grace denied") as caught:
        scene.run(WRITE, binds=BINDS)
    assert caught.value.code == "approval-denied"
    assert ask(scene) == f"{ticket}-2"


def test_a_ticket_that_was_taken_meanwhile_runs_nothing(scene: Scene) -> None:
    """Who loses the race for a ticket gets an error, after the attempt was recorded."""
    scene.approve(ask(scene))
    scene.approvals.faults.before("swap")
    with pytest.raises(BackendFailed):
        scene.run(WRITE, binds=BINDS)
    assert committed(scene) == 0
    assert [kind for kind, *_ in scene.stories()][-2:] == ["attempt", "outcome"]


def test_a_request_may_name_its_only_ticket(scene: Scene) -> None:
    """A ticket that is named is used or an error; no other one is opened in its place."""
    ticket = ask(scene)
    with pytest.raises(ApprovalNeeded):
        scene.run(WRITE, binds=BINDS, ticket=ticket)
    scene.approve(ticket)
    scene.run(WRITE, binds=BINDS, ticket=ticket)
    with pytest.raises(IntegrityFailed) as caught:
        scene.run(WRITE, binds=BINDS, ticket=ticket)
    assert caught.value.code == "ticket-conflict"
    with pytest.raises(RequestInvalid) as unknown:
        scene.run(WRITE, binds=BINDS, ticket="nope")
    assert unknown.value.code == "unknown-ticket"
    assert scene.approvals.pending() == ()


def test_a_ticket_is_in_the_log_before_it_is_in_the_store(scene: Scene) -> None:
    """A log that cannot be written opens no ticket."""
    scene.audit.faults.before("append", calls=2)  # After the two entries of the dry run.
    with pytest.raises(BackendFailed) as caught:
        scene.run(WRITE, binds=BINDS)
    assert caught.value.code == "audit-unavailable"
    assert scene.approvals.pending() == ()


def test_people_are_told_of_tickets(scene: Scene, told: Told) -> None:
    """A ticket that was opened and one that was used are told, without any text of the statement."""
    ticket = ask(scene)
    scene.approve(ticket)
    scene.run(WRITE, binds=BINDS)
    by_event = {notice.event: notice for notice in told.notices}
    assert [by_event[event].ticket for event in ("requested", "consumed")] == [ticket] * 2
    assert by_event["requested"].rows == 3
    assert by_event["consumed"].by == "ada"


def test_a_read_may_need_consent(scene: Scene) -> None:
    """A read waits in the same way, is not tried before, and delivers its rows once."""
    scene.policy.policy = POLICY.replace(
        "{masks: {", "{approval: {by: {roles: [approver]}}, masks: {", 1
    )
    ticket = ask(scene, READ, binds={})
    assert not scene.engine.executions
    assert ticket_of(scene, ticket).evidence.dry_run
    scene.approve(ticket)
    assert scene.read(READ).num_rows == 3
    assert ask(scene, READ, binds={}) == f"{ticket}-2"


# ---------------------------------------------------------------- undoing what was consented to


def test_an_undo_needs_the_consent_of_the_first_time(tmp_path: Path) -> None:
    """Who undoes a write needs the votes that it needed, though the policy asks for none by now."""
    build(tmp_path)
    with duckdb.connect(tmp_path / "wh.duckdb") as link:
        link.execute("ALTER TABLE people ADD PRIMARY KEY (id)")
    with open_as(tmp_path, "ada") as ada, open_as(tmp_path, "grace") as grace:
        with pytest.raises(ApprovalNeeded) as caught:
            ada.sql(CHANGE)
        first = grace.vote(caught.value.ticket, is_approval=True, reason="yes")
        assert (first.evidence.undo, bool(first.evidence.undo_sql)) == ("", True)
        record = ada.sql(CHANGE).record
        approval = "obligations: {approval: {by: {roles: [approver]}}}"
        assert approval in HOUSE_POLICY
        (tmp_path / "policy.yaml").write_text(HOUSE_POLICY.replace(approval, ""))
        with pytest.raises(ApprovalNeeded) as again:
            ada.undo(record)
        asked = grace.approval(again.value.ticket)
        assert (asked.quorums, bool(asked.undoes)) == (first.quorums, True)
        grace.vote(asked.ticket, is_approval=True, reason="yes")
        ada.undo(record)
        teams = ada.sql("SELECT team FROM people WHERE id = 1").to_arrow()
        assert teams.column(0).to_pylist() == ["red"]


def test_an_undo_of_nothing_is_an_error() -> None:
    """What nobody kept cannot be undone, with or without the policy's consent."""
    scene = make_scene()
    with pytest.raises(RequestInvalid) as caught:
        scene.run(WRITE, binds=BINDS, undoes="never")
    assert caught.value.code in {"undo-unavailable", "undo-unknown"}
    assert not scene.engine.executions


def test_veiled_values_reach_neither_store_nor_log(scene: Scene) -> None:
    """Of a veiled value the ticket holds a keyed digest, and it still tells values apart."""
    secret = "trout-4471"
    first = ask(scene, binds={"id": secret}, veiled=True)
    held = ticket_of(scene, first)
    assert secret not in repr(held)
    with pytest.raises(ValueError, match="veiled"):
        read_binds(held.binds)
    assert secret.encode() not in b"".join(scene.audit.lines)
    assert ask(scene, binds={"id": "trout-4472"}, veiled=True) != first
    scene.approve(first)
    scene.run(WRITE, binds={"id": secret}, veiled=True)
    assert committed(scene) == 1


# ---------------------------------------------------------------- on real databases


@pytest.fixture(params=["duckdb", "sqlite", "postgresql"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A house whose connection is one of three products."""
    build(tmp_path)
    rows = "(1, 'a@x.org', 'red', NULL), (2, 'b@x.org', 'red', NULL)"
    seed = [
        "DROP TABLE IF EXISTS people",
        "CREATE TABLE people (id INTEGER, email VARCHAR(40), team VARCHAR(40), note VARCHAR(40))",
        f"INSERT INTO people VALUES {rows}",
    ]
    schema = "main"
    if request.param == "sqlite":
        import sqlite3

        with sqlite3.connect(tmp_path / "wh.sqlite") as link:
            for sql in seed:
                link.execute(sql)
        link.close()
        config = CONFIG.replace("kind: duckdb, path: wh.duckdb", "kind: sqlite, path: wh.sqlite")
    elif request.param == "postgresql":
        from adbc_driver_postgresql import dbapi

        url = request.getfixturevalue("postgres_url")
        with dbapi.connect(url, autocommit=True) as link, link.cursor() as cursor:
            for sql in seed:
                cursor.execute(sql)
        schema = "public"
        config = CONFIG.replace("kind: duckdb, path: wh.duckdb", f'kind: postgresql, url: "{url}"')
    else:
        config = CONFIG
    (tmp_path / "nbgov.yaml").write_text(config)
    (tmp_path / "policy.yaml").write_text(HOUSE_POLICY.replace("main", schema))
    return tmp_path


def open_as(folder: Path, name: str) -> nbgov.Session:
    """A session of somebody."""
    return nbgov.connect(folder, as_=f"{name}@acme.test")


def test_a_denial_is_told_once_across_sessions(folder: Path) -> None:
    """A new process does not tell a denial again: it asks anew."""
    with open_as(folder, "ada") as ada, pytest.raises(ApprovalNeeded) as caught:
        ada.sql(CHANGE)
    with open_as(folder, "grace") as grace:
        grace.vote(caught.value.ticket, is_approval=False, reason="no")
    with open_as(folder, "ada") as ada, pytest.raises(Denied):
        ada.sql(CHANGE)
    with open_as(folder, "ada") as ada, pytest.raises(ApprovalNeeded) as again:
        ada.sql(CHANGE)
    assert again.value.ticket == f"{caught.value.ticket}-2"


def test_an_approved_statement_runs_once_in_a_database(folder: Path) -> None:
    """Nothing changes before the vote, the approved run changes rows, and the next one waits."""
    with open_as(folder, "ada") as ada:
        with pytest.raises(ApprovalNeeded) as caught:
            ada.sql(CHANGE)
        teams = "SELECT team FROM people WHERE id = 1"
        assert ada.sql(teams).to_arrow().column(0).to_pylist() == ["red"]
    with open_as(folder, "grace") as grace:
        evidence = grace.approval(caught.value.ticket).evidence
        assert (evidence.rows_changed, evidence.dry_run) == (1, "")
        grace.vote(caught.value.ticket, is_approval=True, reason="yes")
    with open_as(folder, "ada") as ada:
        assert ada.sql(CHANGE).summary.rows_affected == 1
        assert ada.sql(teams).to_arrow().column(0).to_pylist() == ["blue"]
        with pytest.raises(ApprovalNeeded):
            ada.sql(CHANGE)


def test_a_name_stops_one_statement_of_a_session(folder: Path) -> None:
    """Of two statements of a session, cancel stops the one that has the name."""
    tens = ", ".join(f"people p{place}" for place in range(40))
    long = f"SELECT sum(p0.id + p39.id) AS n FROM {tens}"
    with open_as(folder, "ada") as ada:
        short = ada.sql("SELECT id FROM people ORDER BY id", request="short")
        codes, is_done = [], threading.Event()

        def run() -> None:
            try:
                ada.sql(long, request="long").to_arrow()
            except nbgov.NbgovError as error:
                codes.append(error.code)
            finally:
                is_done.set()

        thread = threading.Thread(target=run)
        thread.start()
        while not is_done.wait(0.05):
            ada.cancel("long")
        thread.join()
        assert codes == ["cancelled"]
        assert short.to_arrow().column(0).to_pylist()[:2] == [1, 2]


def test_a_cancel_before_the_engine_begins_is_not_lost(scene: Scene) -> None:
    """A request that is stopped while it is still understood runs nothing; its name is free then."""
    pipeline, inspect = scene.pipeline, scene.engine.inspect

    def stop(sql: str) -> Any:
        pipeline.cancel("r")
        return inspect(sql)

    scene.engine.inspect = stop  # type: ignore[method-assign]
    with pytest.raises(BackendFailed) as caught:
        pipeline.run(Request("wh", READ, claim="ada", id="r"))
    assert caught.value.code == "cancelled"
    assert not scene.engine.executions
    scene.engine.inspect = inspect  # type: ignore[method-assign]
    assert pipeline.run(Request("wh", READ, claim="ada", id="r")).to_arrow().num_rows == 3


def test_the_store_is_told_of_every_moment(scene: Scene) -> None:
    """A clock that was set back revives no consent."""
    approval = scene.approve(ask(scene))
    assert isinstance(scene.approvals, MemoryApprovalStore)
    assert approval.valid_until is not None
    early = scene.clock.at
    scene.clock.at = approval.valid_until
    with pytest.raises(ApprovalNeeded):
        scene.run(WRITE + " ", binds=BINDS)
    scene.clock.at = early
    ask(scene)
    assert committed(scene) == 0

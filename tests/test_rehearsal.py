"""What voters are told of a statement, and the dry run behind it: measured, recorded, rolled back."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

import nbgov
from nbgov.core.audit import verify
from nbgov.core.audit.ocsf import Events
from nbgov.core.audit.overview import Overview
from nbgov.core.case import DRY_RUN
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied
from nbgov.model import Catalog, Evidence, RecordKind
from nbgov.pipeline import rehearsal
from tests.scene import PEOPLE, POLICY, READ, WRITE, Scene, make_scene
from tests.surfaces.house import CHANGE, build
from tests.surfaces.house import POLICY as HOUSE_POLICY

BINDS = {"id": 1}
APPROVAL = "{approval: {by: {roles: [approver]}}}"


@pytest.fixture
def scene() -> Scene:
    """A fresh world."""
    return make_scene()


def measured(scene: Scene, sql: str = WRITE, **more: Any) -> Evidence:
    """Run a statement until it waits, and return what its voters are told."""
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(sql, **{"binds": BINDS} | more)
    found = scene.approvals.get(caught.value.ticket)
    assert found is not None
    return found.evidence


def test_voters_are_told_what_the_statement_does(scene: Scene) -> None:
    """Effects, names, columns, limits, requester and origin are those of the statement."""
    found = measured(scene, origin={"surface": "magic", "cell": "3"})
    assert found.dialect == "duckdb"
    assert "write" in found.effects
    [highlight] = found.highlights
    assert (WRITE[highlight.start : highlight.end], highlight.kind) == ("people", "changed")
    assert found.written == ("main.people.note",)
    assert "main.people.id" in found.read
    assert found.obligations == ()
    assert found.groups == ("analysts",)
    assert found.origin == {"surface": "magic", "cell": "3"}
    assert found.policy == scene.pipeline.policy().digest.hex()
    assert (found.rows_changed, found.dry_run) == (3, "")
    assert found.measured_s is not None
    assert found.undo


def test_evidence_holds_no_value(scene: Scene) -> None:
    """Neither literals nor bound values stand in what is measured."""
    found = measured(
        scene, "UPDATE people SET note = 'swordfish' WHERE id = :v", binds={"v": 77341}
    )
    assert "swordfish" not in repr(found)
    assert "77341" not in repr(found)


def test_an_estimate_is_told_away_from_protected_data(scene: Scene) -> None:
    """Statistics of stored values are told only where no mask or filter is near."""
    sql = 'UPDATE "main"."people" SET note = \'x\' WHERE id = :id'
    scene.engine.estimates[sql] = 42
    assert measured(scene).rows_estimated is None
    scene.policy.policy = POLICY.replace('obligations: {masks: {"pii.*": redact}}', "")
    scene.engine.estimates = dict.fromkeys((sql, WRITE), 42)
    assert measured(scene, binds={"id": 2}).rows_estimated == 42


def test_a_dry_run_is_recorded_as_one(scene: Scene) -> None:
    """It has an attempt and an outcome of its own, with the ticket, and the log holds."""
    measured(scene)
    dry = [record for record in scene.audit.records if record.plan == DRY_RUN]
    assert [record.kind for record in dry] == [RecordKind.ATTEMPT, RecordKind.OUTCOME]
    [ticket] = {record.ticket for record in dry if record.ticket}
    assert scene.approvals.get(ticket) is not None
    assert (dry[1].status, dry[1].rows_affected) == ("ok", 3)
    assert dry[0].request not in {r.request for r in scene.audit.records if r.plan != DRY_RUN}
    assert [stream.state for stream in scene.engine.streams] == ["rolled back"]
    scene.audit.close()
    assert verify(scene.audit.entries()).is_intact


def test_a_dry_run_counts_as_no_change(scene: Scene) -> None:
    """An auditor's account and a watcher's events do not take it for a write."""
    from nbgov.core.audit import decode
    from nbgov.core.audit.query import joined

    measured(scene)
    entries = [decode(line) for line in scene.audit.entries()]
    begun = {entry.index: entry.record for entry in entries}
    overview = Overview()
    for entry in entries:
        attempt = entry.record.attempt
        overview.add(
            entry.index, joined(entry.record, begun.get(attempt) if attempt is not None else None)
        )
    assert (overview.whole.rows_affected, overview.dry_runs) == (0, 1)
    assert overview.whole.ended == {"pending": 1}
    names = [event["activity_name"] for event in Events(product_version="1").of(entries)]
    assert "Dry run, rolled back" in names


def test_a_write_that_the_database_does_not_run_opens_no_ticket(scene: Scene) -> None:
    """The requester gets the error now, and nobody is bothered with the statement."""
    scene.engine.faults.before("execute")
    with pytest.raises(BackendFailed) as caught:
        scene.run(WRITE, binds=BINDS)
    assert caught.value.code == "database-error"
    assert scene.approvals.pending() == ()
    assert [status for _, status, _ in scene.stories()] == [None, "error", "error"]


def test_a_write_beyond_its_limit_opens_no_ticket(tmp_path: Path) -> None:
    """A write that changes more rows than the policy permits is an error before anybody votes."""
    build(tmp_path)
    policy = HOUSE_POLICY.replace(APPROVAL, "{approval: {by: {roles: [approver]}}, write_limit: 1}")
    (tmp_path / "policy.yaml").write_text(policy)
    with nbgov.connect(tmp_path, as_="ada@acme.test") as ada:
        with pytest.raises(Denied) as caught:
            ada.sql("UPDATE people SET team = 'x' WHERE id > 0")
        assert caught.value.code == "too-many-rows-changed"
        assert ada.pending() == ()


def test_an_interrupt_in_a_dry_run_leaves_nothing(scene: Scene) -> None:
    """Ctrl-C while a write is tried ends the request: no ticket, and both attempts are closed."""
    scene.engine.faults.before("execute", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        scene.run(WRITE, binds=BINDS)
    assert scene.approvals.pending() == ()
    assert [status for _, status, _ in scene.stories()] == [None, "cancelled", "cancelled"]
    scene.audit.close()
    assert verify(scene.audit.entries()).is_intact


def test_a_database_that_is_away_opens_a_ticket_all_the_same(scene: Scene) -> None:
    """A file that somebody else has open just now is no reason not to ask; the voters are told."""
    away = BackendFailed("Away.", code="database-unavailable", why="another process writes to it")
    scene.engine.faults.before("execute", error=away)
    found = measured(scene)
    assert (found.rows_changed, found.dry_run) == (None, "another process writes to it")


@pytest.mark.parametrize(
    ("dialect", "sql", "why"),
    [
        ("duckdb", READ, "reads"),
        ("mysql", "ALTER TABLE people ADD COLUMN more INT", "commits a change of its tables"),
        ("oracle", "UPDATE people SET note = 'x' WHERE id = 1", "nobody knows"),
        ("duckdb", "EXPLAIN UPDATE people SET note = 'x' WHERE id = 1", ""),
    ],
)
def test_what_cannot_be_rolled_back_is_not_tried(dialect: str, sql: str, why: str) -> None:
    """Where a dry run is not to be had, nothing is run, and the voters are told why."""
    from nbgov.core.statement import parse

    statement = parse(sql, Catalog(dialect, "main", {PEOPLE.name: PEOPLE}))
    told = rehearsal.obstacle(statement)
    assert told
    assert why in told


def test_a_dry_run_that_takes_too_long_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that outlasts a dry run opens a ticket that says so; the database is as it was."""
    monkeypatch.setattr(rehearsal, "DRY_RUN_S", 0.3)
    folder = light(tmp_path, rows=3_000)
    slow = (
        "UPDATE people SET team = (SELECT max(a.id * b.id * c.id) FROM people a, people b, people c)"
        " WHERE id = 1"
    )
    with nbgov.connect(folder, as_="ada@acme.test") as ada:
        with pytest.raises(ApprovalNeeded) as caught:
            ada.sql(slow)
        evidence = ada.approval(caught.value.ticket).evidence
        assert evidence.rows_changed is None
        assert "was stopped" in evidence.dry_run
        teams = ada.sql("SELECT DISTINCT team FROM people").to_arrow()
        assert teams.column(0).to_pylist() == ["red"]


def test_a_requester_can_stop_a_dry_run(tmp_path: Path) -> None:
    """A cancel by the request's name ends the request while its write is tried: no ticket."""
    folder = light(tmp_path, rows=3_000)
    slow = (
        "UPDATE people SET team = (SELECT max(a.id * b.id * c.id) FROM people a, people b, people c)"
        " WHERE id = 1"
    )
    codes, is_done = [], threading.Event()
    with nbgov.connect(folder, as_="ada@acme.test") as ada:

        def run() -> None:
            try:
                ada.sql(slow, request="mine")
            except nbgov.NbgovError as error:
                codes.append(error.code)
            finally:
                is_done.set()

        thread = threading.Thread(target=run)
        thread.start()
        while not is_done.wait(0.05):
            ada.cancel("mine")
        thread.join()
        assert codes == ["cancelled"]
        assert ada.pending() == ()


def test_the_database_is_as_it_was(tmp_path: Path) -> None:
    """After a ticket was opened, every row is what it was."""
    build(tmp_path)
    with nbgov.connect(tmp_path, as_="ada@acme.test") as ada:
        before = ada.sql("SELECT id, team FROM people ORDER BY id").to_arrow()
        with pytest.raises(ApprovalNeeded):
            ada.sql(CHANGE)
        assert ada.sql("SELECT id, team FROM people ORDER BY id").to_arrow() == before


def light(folder: Path, *, rows: int) -> Path:
    """A house on SQLite with many rows."""
    build(folder)
    with sqlite3.connect(folder / "wh.sqlite") as link:
        link.execute("CREATE TABLE people (id INTEGER, email TEXT, team TEXT, note TEXT)")
        values = [(number, f"{number}@x.org", "red", None) for number in range(rows)]
        link.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", values)
    link.close()
    config = (folder / "nbgov.yaml").read_text()
    (folder / "nbgov.yaml").write_text(
        config.replace("kind: duckdb, path: wh.duckdb", "kind: sqlite, path: wh.sqlite")
    )
    return folder

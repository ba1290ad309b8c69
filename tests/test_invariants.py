"""The three invariants of architecture.md 1, each with the test that is named after it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.audit import verify
from nbgov.errors import ApprovalNeeded, BackendFailed, NbgovError
from nbgov.model import EngineOpinion
from tests.scene import READ, WRITE, Scene, make_scene

SQL = st.sampled_from(
    [READ, WRITE, "SELECT count(*) FROM people", "DROP TABLE people", "SELECT 1; SELECT 2", "SELECT (", "DELETE FROM people",
     "SELECT * FROM nowhere", "UPDATE people SET email = 'x' WHERE id = 1", "SELECT pg_sleep(1)", "COPY people TO 'x'"]
)  # fmt: skip
FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["audit.append", "engine.execute", "engine.batch", "engine.commit", "detector.detect", "datasets.put", "approvals.swap"]),
        st.sampled_from(["before", "after"]),
        st.integers(0, 3),
    ),
    max_size=3,
)  # fmt: skip
ENDS = st.sampled_from(["read", "close", "drop", "one batch"])


def plan(scene: Scene, faults: list[tuple[str, str, int]]) -> None:
    """Plan faults by the name of their port and operation."""
    ports = {
        "audit": scene.audit, "engine": scene.engine, "detector": scene.detector,
        "datasets": scene.datasets, "approvals": scene.approvals,
    }  # fmt: skip
    for name, moment, calls in faults:
        port, operation = name.split(".")
        getattr(ports[port].faults, moment)(operation, calls=calls)


def consume(scene: Scene, sql: str, end: str) -> int:
    """Run a statement, end its result in one of four ways, and count the rows that were seen."""
    rows = 0
    with scene.run(sql, binds={"id": 1}) as result:
        if end == "read":
            rows = result.to_arrow().num_rows
        elif end == "one batch":
            rows = sum(batch.num_rows for batch in list(result.batches())[:1])
        elif end == "close":
            result.close()
    return rows


@given(sql=SQL, faults=FAULTS, end=ENDS)
def test_no_row_without_a_record(sql: str, faults: list[tuple[str, str, int]], end: str) -> None:
    """The attempt is in the log before the engine sees SQL, and no result ends before its outcome is."""
    scene = make_scene()
    seen: list[int] = []
    execute = scene.engine.execute
    scene.engine.execute = lambda clearance: (
        seen.append(len(scene.audit.lines)),
        execute(clearance),
    )[1]  # type: ignore[method-assign]
    plan(scene, faults)
    rows, is_complete = 0, False
    with contextlib.suppress(NbgovError):
        rows = consume(scene, sql, end)
        is_complete = True
    scene.audit.close()
    records = scene.audit.records
    assert all(entries >= 1 for entries in seen)
    if seen:
        assert records[0].kind.value == "attempt"
    if is_complete:
        assert records[-1].kind.value == "outcome"
        assert (records[-1].rows_read or 0) >= rows
    report = verify(scene.audit.entries())
    assert report.is_intact


@given(sql=SQL, faults=FAULTS)
def test_no_execution_without_a_clearance(sql: str, faults: list[tuple[str, str, int]]) -> None:
    """The engine runs nothing but what was permitted, rewritten and, where asked for, approved."""
    scene = make_scene()
    plan(scene, faults)
    with contextlib.suppress(NbgovError):
        consume(scene, sql, "read")
    for clearance in scene.engine.executions:
        assert clearance.is_read
        assert '"main"."people"' in clearance.sql


@given(sql=SQL)
def test_no_decision_that_cannot_be_replayed(sql: str) -> None:
    """The same request under the same policy has the same outcome in another world at another time."""
    stories = []
    for _ in range(2):
        scene = make_scene()
        with contextlib.suppress(NbgovError):
            consume(scene, sql, "read")
        records = scene.audit.records
        stories.append(
            [
                (r.decision, r.rules, r.obligations, r.code, r.policy, r.tables, r.columns)
                for r in records
            ]
        )
    assert stories[0] == stories[1]


def test_a_log_that_cannot_be_written_lets_nothing_run() -> None:
    """No attempt in the log, no execution."""
    scene = make_scene()
    scene.audit.faults.before("append")
    with pytest.raises(BackendFailed) as caught:
        scene.run(READ)
    assert caught.value.code == "audit-unavailable"
    assert not scene.engine.executions


def test_an_outcome_that_cannot_be_written_withholds_the_end() -> None:
    """A reader never sees the end of a result whose outcome is not durable."""
    scene = make_scene()
    result = scene.run(READ)
    scene.audit.faults.before("append")
    with pytest.raises(BackendFailed) as caught:
        result.to_arrow()
    assert caught.value.code == "audit-unavailable"


@pytest.mark.parametrize("how", ["closed", "forgotten", "exhausted by another"])
def test_a_stream_that_is_dropped_is_recorded_as_such(how: str) -> None:
    """A result that nobody reads to its end has an outcome all the same."""
    scene = make_scene()
    result = scene.run(READ)
    if how == "closed":
        result.close()
    elif how == "forgotten":
        del result
    else:
        next(result.batches())
        result.close()
    assert scene.stories()[-1][:2] == ("outcome", "dropped")
    assert scene.engine.streams[0].state == "rolled back"


def test_an_interrupt_is_recorded_as_cancelled() -> None:
    """Ctrl-C in the middle of a stream closes the attempt."""
    scene = make_scene()
    scene.engine.faults.before("batch", calls=1, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        scene.run(READ).to_arrow()
    assert scene.stories()[-1] == ("outcome", "cancelled", "KeyboardInterrupt")


def test_a_detector_that_fails_releases_nothing() -> None:
    """Text that was not scanned does not leave."""
    scene = make_scene()
    scene.detector.faults.before("detect")
    batches = scene.run(READ).batches()
    with pytest.raises(BackendFailed) as caught:
        next(batches)
    assert caught.value.code == "detector-failed"


def test_an_attempt_whose_outcome_is_lost_stays_open() -> None:
    """A write that ran, and whose outcome could not be written, shows as an open attempt."""
    scene = make_scene()
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(WRITE, binds={"id": 1})
    scene.approve(caught.value.ticket)
    scene.audit.faults.before("append", calls=1)
    with pytest.raises(BackendFailed):
        scene.run(WRITE, binds={"id": 1})
    scene.audit.close()
    report = verify(scene.audit.entries())
    assert report.is_intact
    assert len(scene.engine.executions) == 1


def test_no_record_holds_a_value() -> None:
    """Literals, bound values and rows are in no entry of the log."""
    scene = make_scene()
    scene.engine.opinion = EngineOpinion(1)
    with contextlib.suppress(NbgovError):
        scene.run(
            "SELECT id FROM people WHERE email = 'swordfish' OR note = :v", binds={"v": "trout"}
        ).to_arrow()
    with contextlib.suppress(NbgovError):
        scene.run("SELECT 'swordfish", binds={"v": "trout"})
    text = b"\n".join(scene.audit.lines)
    assert text
    assert b"swordfish" not in text
    assert b"trout" not in text
    assert b"met Ada" not in text

"""The three invariants of architecture.md 1, each with the test that is named after it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.backends.memory import MemoryRunStore, MemorySigner
from nbgov.backends.memory.keeping import MemorySealer
from nbgov.config import database_accounts
from nbgov.config import parse as parse_config
from nbgov.core.audit import decode, verify
from nbgov.core.case import DRY_RUN, code_of
from nbgov.errors import ApprovalNeeded, BackendFailed, IntegrityFailed, NbgovError
from nbgov.model import EngineOpinion, RecordKind
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
    dry_runs = [record for record in records if record.plan == DRY_RUN]
    attempts = [record for record in dry_runs if record.kind is RecordKind.ATTEMPT]
    assert len(attempts) == sum(one.is_dry_run for one in scene.engine.executions) or faults
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
        assert clearance.is_read or clearance.is_dry_run
        assert '"main"."people"' in clearance.sql
    assert all(
        stream.state == "rolled back"
        for stream, clearance in zip(scene.engine.streams, scene.engine.executions, strict=False)
        if clearance.is_dry_run
    )


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
    assert [one.is_dry_run for one in scene.engine.executions] == [True, False]


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


# ---------------------------------------------------------------- every end is a record

# Ways in which a request can end, by the stage that ends it: what is asked, and what fails.
ENDINGS: dict[str, tuple[dict[str, Any], str]] = {
    "shape: sql": ({"sql": 5}, ""),
    "shape: connection": ({"sql": READ, "connection": ["wh"]}, ""),
    "shape: binds": ({"sql": READ, "binds": [1]}, ""),
    "shape: names of binds": ({"sql": READ, "binds": {1: 1}}, ""),
    "shape: origin": ({"sql": READ, "origin": 5}, ""),
    "shape: rows": ({"sql": READ, "rows_max": -1}, ""),
    "identify": ({"sql": READ, "claim": "nobody"}, ""),
    "engine": ({"sql": READ, "connection": "nowhere"}, ""),
    "catalog": ({"sql": READ}, "engine.catalog"),
    "parse: syntax": ({"sql": "SELECT 'swordfish"}, ""),
    "parse: surrogate": ({"sql": "SELECT '\ud800'"}, ""),
    "parse: nothing": ({"sql": "-- swordfish"}, ""),
    "parse: names": ({"sql": "SELECT swordfish FROM people"}, ""),
    "parse: several": ({"sql": "SELECT 1; SELECT 'swordfish'"}, ""),
    "parse: engine": ({"sql": READ}, "engine.inspect"),
    "check": ({"sql": "SELECT pg_sleep(1), 'swordfish'"}, ""),
    "decide": ({"sql": READ, "claim": "eve"}, ""),
    "bind: missing": ({"sql": "SELECT :a FROM people"}, ""),
    "bind: type": ({"sql": "SELECT id FROM people WHERE id = :a", "binds": {"a": object()}}, ""),
    "approve": ({"sql": WRITE, "binds": {"id": 1}}, ""),
    "execute": ({"sql": READ}, "engine.execute"),
    "batch": ({"sql": READ}, "engine.batch"),
    "mask": ({"sql": READ}, "detector.detect"),
    "dataset": ({"sql": READ}, "datasets.put"),
    "commit": ({"sql": READ}, "engine.commit"),
}


@pytest.mark.parametrize("how", ENDINGS)
@given(error=st.sampled_from([None, KeyboardInterrupt, MemoryError, RuntimeError]))
def test_every_end_of_a_request_is_a_record(how: str, error: type[BaseException] | None) -> None:
    """Whatever ends a request at whatever stage, its outcome says so and the error names it."""
    asked, fault = ENDINGS[how]
    scene = make_scene()
    if fault:
        port, operation = fault.split(".")
        target = getattr(scene, port)
        target.faults.before(operation, error=error() if error is not None else None)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is the point of the test
        scene.run(**asked).to_arrow()
    found = caught.value
    last = scene.audit.records[-1]
    assert (last.kind, last.code) == (RecordKind.OUTCOME, code_of(found))
    assert last.status not in {None, "ok"}
    if isinstance(found, NbgovError):
        named = decode(scene.audit.lines[found.record or 0])
        assert named.record.request == last.request
        assert found.receipt is not None
    assert verify(scene.audit.entries()).is_intact
    assert b"swordfish" not in b"".join(scene.audit.lines)


@given(votes=st.lists(st.sampled_from(["ada", "eve", "nobody", "grace"]), min_size=1, max_size=4))
def test_every_vote_is_a_record(votes: list[str]) -> None:
    """A vote that counts and one that is refused are both in the log."""
    scene = make_scene()
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(WRITE, binds={"id": 1})
    for name in votes:
        before = len(scene.audit.lines)
        code, number = None, before
        try:
            scene.approve(caught.value.ticket, claim=name)
        except NbgovError as error:
            code, number = error.code, error.record
        record = scene.audit.records[-1]
        assert number == before
        assert len(scene.audit.lines) == before + 1
        assert (record.kind, record.principal, record.code) == (RecordKind.VOTE, name, code)


def test_an_outcome_says_what_its_attempt_did_not() -> None:
    """What is known before a statement runs is said once; what it did is said by the outcome."""
    scene = make_scene()
    scene.read()
    attempt, outcome = scene.audit.records
    assert (attempt.statement, attempt.decision) == ("SELECT id, email, note FROM people", "permit")
    assert attempt.groups == ("analysts",)
    assert outcome.attempt == 0
    assert (outcome.principal, outcome.connection, outcome.verb) == ("ada", "wh", "SELECT")
    assert (outcome.statement, outcome.policy, outcome.groups) == (None, None, None)
    assert (outcome.rows_read, outcome.batches) == (3, 2)
    assert outcome.bytes_read
    version = scene.datasets.versions()[0]
    assert (outcome.version, outcome.schema) == (version.version_id, version.schema_id)


def test_a_sealer_that_fails_lets_nothing_run() -> None:
    """Where literals are to be kept, a statement whose literals cannot be does not run."""
    sealer = MemorySealer(MemorySigner())
    scene = make_scene(sealer=sealer)
    sealer.faults.before("seal")
    with pytest.raises(BackendFailed) as caught:
        scene.run(READ)
    assert caught.value.code == "state-unavailable"
    assert not scene.engine.executions
    sealer.faults.before("seal")
    with pytest.raises(NbgovError):
        scene.run(READ, claim="eve")
    assert [story[0] for story in scene.stories()] == ["outcome", "outcome"]


@pytest.mark.parametrize(
    ("sql", "claim"), [(READ + " WHERE note = 'swordfish'", "ada"), ("SELECT 'swordfish", "eve")]
)
def test_literals_are_sealed_for_their_entry(sql: str, claim: str) -> None:
    """What was asked word for word comes back from its own entry, under its key, and nowhere else."""  # fmt: skip
    sealer = MemorySealer(MemorySigner())
    scene = make_scene(sealer=sealer)
    with contextlib.suppress(NbgovError):
        scene.read(sql, claim=claim)
    record = scene.audit.records[0]
    assert record.literals is not None
    assert b"swordfish" not in b"".join(scene.audit.lines)
    assert sql in sealer.unseal(record.literals, context=record.request).decode()
    with pytest.raises(IntegrityFailed):
        sealer.unseal(record.literals, context="another")
    (key,) = sealer.keys(principal=claim)
    sealer.destroy(key)
    with pytest.raises(BackendFailed) as caught:
        sealer.unseal(record.literals, context=record.request)
    assert caught.value.code == "seal-erased"
    with contextlib.suppress(NbgovError):
        scene.read(sql, claim=claim)
    assert all(one.literals is None for one in scene.audit.records[1:])


def test_records_name_the_run_the_account_and_the_number_of_an_error() -> None:
    """What is known without asking anybody: the open run, the account, what the database said."""
    store = MemoryRunStore([])
    store.active = "run-1"
    scene = make_scene(runs=lambda: [store], accounts={"wh": "nbgov_reader"})
    error = BackendFailed("no", code="database-error")
    error.sqlstate = "22000"
    scene.engine.faults.before("batch", error=error)
    with pytest.raises(BackendFailed):
        scene.read()
    attempt, outcome = scene.audit.records
    assert (attempt.run, attempt.database_user) == ("run-1", "nbgov_reader")
    assert outcome.sqlstate == "22000"


def test_a_connection_names_its_account() -> None:
    """The account is the one that nbgov.yaml names, beside the url or in it; files have none."""
    config = parse_config(
        "{version: 1, policy: p, connections: {a: {kind: duckdb, path: x},"
        " b: {kind: postgresql, url: 'postgresql://h/d', user: ada},"
        " c: {kind: postgresql, url: 'postgresql://bo@h/d'}, d: {kind: sqlalchemy, url: 'x://h/d'}}}"
    )
    assert database_accounts(config) == {"b": "ada", "c": "bo"}

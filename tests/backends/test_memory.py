"""The parts in RAM that other tests rely on: engine, detector, identity, runs, faults, a world."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from nbgov.backends.memory import (
    Faults,
    MemoryAuditLog,
    MemoryDetector,
    MemoryEngine,
    MemoryIdentity,
    MemoryRunStore,
    memory_world,
)
from nbgov.errors import BackendFailed, IdentityFailed, RequestInvalid
from nbgov.model import (
    Catalog,
    Clearance,
    Column,
    DatasetVersion,
    Delivery,
    Effect,
    EngineOpinion,
    Principal,
    Record,
    RecordKind,
    Run,
    RunInput,
    Table,
    TableName,
)

FLIGHTS = TableName("main", "flights")
CATALOG = Catalog("duckdb", "main", {FLIGHTS: Table(FLIGHTS, (Column("month", "INTEGER"),))})
MONTHS = pa.table({"month": list(range(10))})
ADA, GRACE = Principal("ada@acme.test"), Principal("grace@acme.test")
START = datetime(2026, 1, 1, tzinfo=UTC)


def clearance(sql="SELECT month FROM flights", *, is_read=True, rows_max=None):
    return Clearance(sql, {}, (), is_read=is_read, rows_max=rows_max)


def engine(**options):
    answers = {"SELECT month FROM flights": MONTHS, "DELETE FROM flights": 10}
    return MemoryEngine(CATALOG, answers, **options)


def months(stream):
    return [value for batch in stream for value in batch["month"].to_pylist()]


# ---- the engine


def test_an_engine_answers_what_is_prepared():
    """A prepared text gives its table, and the execution is kept."""
    source = engine()
    stream = source.execute(clearance())
    assert stream.schema == MONTHS.schema
    assert months(stream) == list(range(10))
    assert (stream.rows_affected, stream.is_truncated, stream.state) == (None, False, "committed")
    assert source.executions == [clearance()]
    assert source.streams == [stream]
    assert source.catalog() == CATALOG
    assert source.dialect == "duckdb"


def test_a_write_says_how_many_rows_it_affects():
    """A prepared number is a write with that many rows, and no row to deliver."""
    stream = engine().execute(clearance("DELETE FROM flights", is_read=False))
    assert (list(stream), stream.rows_affected, stream.state) == ([], 10, "committed")


def test_an_answer_can_be_made_up():
    """A function answers any text."""
    source = MemoryEngine(CATALOG, lambda asked: pa.table({"month": [len(asked.sql)]}))
    assert months(source.execute(clearance("SELECT 1"))) == [8]


def test_an_unprepared_text_is_an_error():
    """A text that nobody prepared fails, as a database would fail."""
    with pytest.raises(BackendFailed, match="No answer is prepared"):
        engine().execute(clearance("SELECT 2"))


@pytest.mark.parametrize(("rows_max", "is_truncated"), [(4, True), (10, False), (11, False)])
def test_rows_beyond_the_limit_are_cut(rows_max, is_truncated):
    """A clearance's limit cuts rows off, and the stream says so at its end."""
    stream = engine(batch_rows_max=3).execute(clearance(rows_max=rows_max))
    assert months(stream) == list(range(min(rows_max, 10)))
    assert stream.is_truncated == is_truncated


def test_a_stream_that_is_closed_early_is_rolled_back():
    """Closing before the end takes everything back; closing after it changes nothing."""
    source = engine(batch_rows_max=3)
    early, late = source.execute(clearance()), source.execute(clearance())
    next(iter(early))
    early.close()
    months(late)
    late.close()
    assert [stream.state for stream in source.streams] == ["rolled back", "committed"]


def test_a_cancelled_stream_ends_with_a_code():
    """After a cancellation the next batch fails, and nothing is committed."""
    stream = engine(batch_rows_max=3).execute(clearance())
    batches = iter(stream)
    next(batches)
    stream.cancel()
    with pytest.raises(BackendFailed) as caught:
        next(batches)
    assert caught.value.code == "cancelled"
    assert stream.state == "open"


def test_an_engine_fails_where_it_is_told_to():
    """Execution, a batch in the middle and the commit can fail, before or after the work."""
    source = engine(batch_rows_max=3)
    source.faults.before("execute")
    with pytest.raises(BackendFailed):
        source.execute(clearance())
    assert source.executions == []
    source.faults.after("execute")
    with pytest.raises(BackendFailed):
        source.execute(clearance())
    assert len(source.executions) == 1
    source.faults.before("batch", calls=2)
    delivered = []
    with pytest.raises(BackendFailed):
        delivered.extend(iter(source.execute(clearance())))
    assert source.streams[-1].state == "open"
    for plan, state in ((source.faults.before, "open"), (source.faults.after, "committed")):
        plan("commit")
        with pytest.raises(BackendFailed):
            months(source.execute(clearance()))
        assert source.streams[-1].state == state


def test_an_engine_has_an_opinion():
    """By default an engine counts one statement; a value or a function says more."""
    known = EngineOpinion(statements=1, effects=frozenset({Effect.READ}))
    assert engine().inspect("SELECT 1") == EngineOpinion(statements=1)
    assert engine(opinion=known).inspect("SELECT 1") == known
    counted = engine(opinion=lambda sql: EngineOpinion(statements=sql.count(";")))
    assert counted.inspect("a;b;").statements == 2


def test_a_closed_engine_remembers_it():
    """Closing can be seen."""
    source = engine()
    source.close()
    assert source.is_closed


# ---- faults


def test_faults_happen_once_and_in_order():
    """Each planned failure happens once, after the calls that it lets pass."""
    faults = Faults()
    faults.before("put", calls=1, error=ValueError("first"))
    faults.after("put", error=OSError("second"))
    done = []

    def put():
        with faults.around("put", code="state-unavailable"):
            done.append(len(done))

    put()
    with pytest.raises(ValueError, match="first"):
        put()
    with pytest.raises(OSError, match="second"):
        put()
    put()
    assert done == [0, 1, 2]


def test_a_fault_of_one_operation_leaves_the_others_alone():
    """A planned failure waits for its own operation."""
    faults = Faults()
    faults.before("swap")
    with faults.around("open", code="state-unavailable"):
        pass
    assert faults.take("swap") is not None


# ---- the detector


def test_a_detector_finds_texts_and_patterns():
    """Findings name value, entity and place, in the order that the port asks for."""
    detector = MemoryDetector({"PERSON": "Ada", "PHONE": re.compile(r"\d{3}")}, score=0.5)
    values = pa.array(["call Ada at 123 or 456", "nobody", "Ada"])
    found = detector.detect(values, entities=["PHONE", "PERSON"], score_min=0.5, language="en")
    assert found.to_pylist() == [
        {
            "value": 0,
            "entity": "PERSON",
            "start": 5,
            "end": 8,
            "score": 0.5,
            "recognizer": "MemoryDetector",
        },
        {
            "value": 0,
            "entity": "PHONE",
            "start": 12,
            "end": 15,
            "score": 0.5,
            "recognizer": "MemoryDetector",
        },
        {
            "value": 0,
            "entity": "PHONE",
            "start": 19,
            "end": 22,
            "score": 0.5,
            "recognizer": "MemoryDetector",
        },
        {
            "value": 2,
            "entity": "PERSON",
            "start": 0,
            "end": 3,
            "score": 0.5,
            "recognizer": "MemoryDetector",
        },
    ]


@pytest.mark.parametrize(
    ("entities", "score_min"), [(["PERSON"], 0.6), ([], 0.1), (["PLACE"], 0.1)]
)
def test_a_detector_finds_only_what_is_asked_for(entities, score_min):
    """Other entities, or a score that is too low, give no finding, in the same shape."""
    detector = MemoryDetector({"PERSON": "Ada"}, score=0.5)
    found = detector.detect(
        pa.array(["Ada"]), entities=entities, score_min=score_min, language="en"
    )
    assert found.num_rows == 0
    assert found.schema.names == ["value", "entity", "start", "end", "score", "recognizer"]


def test_a_detector_fails_where_it_is_told_to():
    """A planned failure releases no findings."""
    detector = MemoryDetector({"PERSON": "Ada"})
    detector.faults.after("detect")
    with pytest.raises(BackendFailed, match="detector-failed"):
        detector.detect(pa.array(["Ada"]), entities=["PERSON"], score_min=0, language="en")


# ---- identity, records and runs


def test_the_first_principal_asks_without_a_claim():
    """No claim means the first declared principal; a claim means that one or nobody."""
    identity = MemoryIdentity([ADA, GRACE])
    assert (identity.identify(None), identity.identify("grace@acme.test")) == (ADA, GRACE)
    for provider, claim in ((identity, "eve@acme.test"), (MemoryIdentity([]), None)):
        with pytest.raises(IdentityFailed):
            provider.identify(claim)


def test_a_log_in_memory_shows_its_records():
    """Records can be looked at without reading the lines."""
    log = MemoryAuditLog()
    log.append(Record(RecordKind.VOTE, START, "r", "s", note="seen"))
    assert [record.note for record in log.records] == ["seen"]


def dataset():
    return DatasetVersion(
        version_id="v1", content_id="c", schema_id="s", name="flights", connection="warehouse",
        dialect="duckdb", tables=(), statement="", statement_mac="", binds_mac="", binds=(),
        policy="", rows=0, columns=(), masked={},
    )  # fmt: skip


def delivered():
    return Delivery("r1", "v1", "flights", ADA.name, "permit", (), 0, "log/0#", START)


def bound(context, via, **more):
    return RunInput("flights", "v1", context, via, read_id="r1", read_at=START, **more)


def test_a_delivery_is_bound_to_the_active_run():
    """What is delivered while a run is active becomes its input; otherwise it is only noticed."""
    store = MemoryRunStore([Run("run1", "first", (), {}, {})])
    store.delivered(dataset(), delivered())
    assert store.run("run1").inputs == ()
    store.active = "run1"
    store.delivered(dataset(), delivered())
    assert store.run("run1").inputs == (bound("read", "in_run"),)
    assert [run for run, _ in store.delivered_to] == [None, "run1"]


def test_a_delivery_is_bound_explicitly():
    """Tracking binds to the run that is named, else to the active one, else fails."""
    store = MemoryRunStore([Run("run1", "first", (), {}, {})])
    assert store.track(delivered(), run_id="run1", context="training") == "run1"
    assert store.run("run1").inputs == (bound("training", "explicit"),)
    for run_id in (None, "run2"):
        with pytest.raises(RequestInvalid) as caught:
            store.track(delivered(), run_id=run_id, context="training")
        assert caught.value.code == "unknown-run"
    with pytest.raises(RequestInvalid):
        store.run("run2")


def test_a_run_hands_over_what_it_holds(tmp_path):
    """What a run states comes first, then its files, copied where they are wanted."""
    run = Run("run1", "first", (), {"depth": "3"}, {"rmse": 0.5})
    store = MemoryRunStore([run], files={"run1": {"a/x.csv": b"1", "m.pkl": b"2"}})
    found = dict(store.contents("run1", folder=tmp_path, wanted=lambda path: path != "m.pkl"))
    assert found == {
        "params": ["depth=3"],
        "metrics": ["rmse"],
        "a/x.csv": tmp_path / "a/x.csv",
        "m.pkl": None,
    }
    assert (tmp_path / "a/x.csv").read_bytes() == b"1"
    with pytest.raises(RequestInvalid, match="run2"):
        next(store.contents("run2", folder=tmp_path, wanted=bool))


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_failed_binding_is_there_or_not(is_kept):
    """A run store that fails has bound the delivery, or has not."""
    store = MemoryRunStore([Run("run1", "first", (), {}, {})], active="run1")
    (store.faults.after if is_kept else store.faults.before)("track")
    with pytest.raises(BackendFailed, match="run-store-failed"):
        store.track(delivered(), run_id=None, context="training")
    assert len(store.run("run1").inputs) == is_kept


def test_a_world_is_whole():
    """A world in memory has every port, and knows its connections and principals."""
    source = engine()
    world = memory_world({"warehouse": source}, policy="version: 1", principals=[ADA, GRACE])
    assert world.engine("warehouse") is source
    assert world.identity.identify(None) == ADA
    assert world.policy.text() == "version: 1"
    assert world.runs() == ()
    assert list(world.audit.entries()) == []
    with pytest.raises(RequestInvalid) as caught:
        world.engine("ops")
    assert caught.value.code == "unknown-connection"

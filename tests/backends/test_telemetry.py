"""What passes through the audit log is told to OpenTelemetry: enough to watch, and no value."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import db_attributes as other
from opentelemetry.semconv._incubating.metrics import db_metrics
from opentelemetry.semconv.attributes import db_attributes as db
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanKind, StatusCode

from nbgov.backends.memory import MemoryAuditLog, MemorySigner
from nbgov.backends.telemetry import OPEN_MAX, Instruments, ObservedLog, summary
from nbgov.core.audit.note import Checkpoint, Note
from nbgov.errors import BackendFailed, NbgovError
from nbgov.model import Record, RecordKind
from tests.scene import READ, WRITE, make_scene

SECRET = "ada-4711"


class Watched:
    """A scene whose audit log is observed, with everything that was told."""

    def __init__(self):
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        traces = TracerProvider()
        traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = traces
        self.figures = MeterProvider([self.reader])
        told = Instruments(traces.get_tracer("nbgov"), self.figures.get_meter("nbgov"))
        self.log = MemoryAuditLog(signer=MemorySigner())
        self.observed = ObservedLog(self.log, told)
        self.scene = make_scene(audit=self.observed)

    def spans(self):
        return self.exporter.get_finished_spans()

    def points(self):
        """Every figure by name, as (attributes, value or sum)."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: [
                (dict(p.attributes), p.value if hasattr(p, "value") else p.sum)
                for p in metric.data.data_points
            ]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def everything(self):
        return str([span.to_json() for span in self.spans()]) + str(self.points())


@pytest.fixture
def watched():
    made = Watched()
    yield made
    made.traces.shutdown()
    made.figures.shutdown()


def test_a_read_is_one_span_with_the_names_of_the_conventions(watched):
    """From the attempt to the outcome, with the redacted text and the number of its record."""
    watched.scene.read("SELECT id FROM people WHERE note = 'ada-4711'")
    [span] = watched.spans()
    assert (span.name, span.kind) == ("SELECT main.people", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    facts = dict(span.attributes)
    text = facts.pop(db.DB_QUERY_TEXT)
    assert "?" in text
    assert facts == {
        db.DB_SYSTEM_NAME: "duckdb",
        db.DB_NAMESPACE: "wh",
        db.DB_OPERATION_NAME: "SELECT",
        db.DB_QUERY_SUMMARY: "SELECT main.people",
        db.DB_COLLECTION_NAME: "main.people",
        other.DB_RESPONSE_RETURNED_ROWS: 3,
        "nbgov.decision": "permit",
        "nbgov.status": "ok",
        "nbgov.record": 0,
    }
    assert span.end_time >= span.start_time


class Broken:
    """A sampler, or a processor, of somebody else that fails."""

    def __getattr__(self, name):
        raise RuntimeError(name)


def test_instruments_that_fail_stop_nothing():
    """What somebody else installed to watch cannot keep a durable record from its request."""
    log = MemoryAuditLog(signer=MemorySigner())
    broken = Broken()
    broken.__dict__["logs"] = set()
    scene = make_scene(audit=ObservedLog(log, broken))
    assert scene.read().num_rows == 3
    assert [record.kind for record in log.records] == [RecordKind.ATTEMPT, RecordKind.OUTCOME]
    log.faults.before("append")
    with pytest.raises(BackendFailed):
        scene.read()


def test_a_span_belongs_to_the_one_that_was_open_when_it_began(watched):
    """However late the rows are read."""
    tracer = watched.traces.get_tracer("test")
    with tracer.start_as_current_span("cell") as cell:
        result = watched.scene.run(READ)
    result.to_arrow()
    [span] = [one for one in watched.spans() if one.name != "cell"]
    assert span.parent.span_id == cell.get_span_context().span_id


def test_figures_count_requests_rows_and_appends(watched):
    """By decision and status; histograms have the names and units of the conventions."""
    watched.scene.read()
    with pytest.raises(NbgovError):
        watched.scene.read(claim="eve")
    points = watched.points()
    requests = {(a["nbgov.decision"], a["nbgov.status"]): n for a, n in points["nbgov.requests"]}
    assert requests[("permit", "ok")] == 1
    assert sum(requests.values()) == 2
    assert db_metrics.DB_CLIENT_OPERATION_DURATION in points
    [(_, rows)] = points[db_metrics.DB_CLIENT_RESPONSE_RETURNED_ROWS]
    assert rows == 3
    kinds = {
        attributes["nbgov.record.kind"] for attributes, _ in points["nbgov.audit.append.duration"]
    }
    assert kinds == {"attempt", "outcome"}
    [(named, size)] = points["nbgov.audit.entries"]
    assert size == len(watched.log.records)
    assert list(named) == ["nbgov.log"]


def test_an_error_is_told_by_its_code(watched):
    """The span failed, and neither it nor a figure holds the product's words."""
    watched.scene.engine.faults.before(
        "execute", error=BackendFailed(SECRET, code="database-error")
    )
    with pytest.raises(BackendFailed):
        watched.scene.read()
    [span] = watched.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[ERROR_TYPE] == "database-error"
    assert SECRET not in watched.everything()


def test_no_literal_bind_or_value_is_told(watched):
    """Not of statements that run, are refused, wait, or cannot be parsed; nor names of people."""
    scene = watched.scene
    for sql, more in (
        (f"SELECT id FROM people WHERE note = '{SECRET}' -- {SECRET}", {}),
        (f"SELECT id FROM people WHERE email = '{SECRET}'", {"claim": "eve"}),
        (f"SELECT '{SECRET}' FROM nothing", {}),
        (f"FROB '{SECRET}'", {}),
        (f"SELECT '{SECRET}", {}),
        (WRITE, {"binds": {"id": SECRET}}),
        (READ, {"claim": f"{SECRET}"}),
        (READ, {"connection": f"postgresql://{SECRET}@host/db"}),
    ):
        try:
            scene.read(sql, **more)
        except NbgovError:
            continue
    told = watched.everything()
    assert SECRET not in told
    assert "Ada" not in told
    assert len(watched.spans()) == 9  # One of them a dry run.


def test_the_window_that_no_witness_saw_is_a_figure(watched):
    """Entries behind the newest cosigned checkpoint; all of them where there is none."""
    watched.scene.read()
    [(_, window)] = watched.points()["nbgov.audit.unwitnessed"]
    assert window == 2
    checkpoint = watched.log.checkpoint()
    watched.log.keep_note("witnessed", str(checkpoint))
    watched.scene.read()
    [(_, window)] = watched.points()["nbgov.audit.unwitnessed"]
    assert window == 2
    assert isinstance(Note.parse(str(checkpoint)).checkpoint, Checkpoint)


def test_a_note_that_cannot_be_read_leaves_its_figure_out(watched):
    """Collecting figures raises nothing."""
    watched.scene.read()
    watched.log.keep_note("witnessed", "no note")
    points = watched.points()
    assert not points.get("nbgov.audit.unwitnessed")
    assert points["nbgov.audit.entries"]


def test_a_record_that_is_not_kept_is_counted(watched):
    """And the error goes on as it is."""
    watched.log.faults.before("append")
    with pytest.raises(BackendFailed):
        watched.scene.read()
    assert watched.points()["nbgov.audit.failures"] == [({"error.type": "audit-unavailable"}, 1)]


def test_attempts_without_an_end_are_forgotten(watched):
    """What waits for an outcome is bounded."""
    record = Record(kind=RecordKind.ATTEMPT, at=watched.scene.clock.now(), request="", session="s")
    for number in range(OPEN_MAX + 2):
        watched.observed.begun[f"old {number}"] = None
    watched.observed.append(replace(record, request="new"))
    assert len(watched.observed.begun) == OPEN_MAX
    assert "new" in watched.observed.begun


def test_the_log_behind_keeps_its_promises(watched):
    """Whatever is asked of the observed log is answered by the one behind it."""
    watched.scene.read()
    observed, log = watched.observed, watched.log
    observed.recover()
    observed.keep_note("key-1", "text")
    assert observed.note("key-1") == "text"
    assert list(observed.entries(1)) == list(log.entries(1))
    checkpoint = observed.checkpoint()
    assert checkpoint == log.checkpoint()
    assert observed.subtree(0, 2) == log.subtree(0, 2)
    observed.close()


def test_a_long_summary_ends_at_a_word():
    """The conventions give it 255 characters."""
    record = Record(RecordKind.ATTEMPT, None, "", "", verb="SELECT", tables=("main.table",) * 50)
    assert summary(record).endswith("main.table")
    assert len(summary(record)) <= 255


def test_without_opentelemetry_nothing_is_imported():
    """A process that has not loaded it keeps records and does not load it."""
    program = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from nbgov.backends.memory.audit_log import MemoryAuditLog\n"
        "from nbgov.backends.telemetry import ObservedLog\n"
        "from nbgov.model import Record, RecordKind\n"
        "log = ObservedLog(MemoryAuditLog())\n"
        "record = Record(RecordKind.REPAIR, datetime(2026, 1, 1, tzinfo=UTC), '', '')\n"
        "print(log.append(record).index)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "[]"]


@pytest.mark.slow
def test_the_providers_of_the_process_are_told():
    """A provider that the process sets, before or after the first request, gets its spans."""
    program = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "from nbgov.backends.telemetry import ObservedLog\n"
        "from tests.scene import make_scene\n"
        "from nbgov.backends.memory import MemoryAuditLog\n"
        "scene = make_scene(audit=ObservedLog(MemoryAuditLog()))\n"
        "scene.read()\n"
        "exporter, provider = InMemorySpanExporter(), TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(exporter))\n"
        "trace.set_tracer_provider(provider)\n"
        "scene.read()\n"
        "print([span.name for span in exporter.get_finished_spans()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['SELECT main.people']"

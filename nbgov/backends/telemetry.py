"""Traces and metrics of what passes through an audit log, for OpenTelemetry. Never the evidence.

What is told is a part of what the log keeps in clear, so that it can hold no literal: the names and
units are those of the semantic conventions for databases, and ``nbgov.`` stands before our own.
Where the process has not loaded OpenTelemetry nothing is imported, and a record passes as it is.
How to look at it is in ``docs/howto/telemetry.md``.
"""

from __future__ import annotations

import functools
import sys
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbgov.core.audit.note import Note
from nbgov.errors import NbgovError
from nbgov.model import Receipt, Record, RecordKind

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
    from opentelemetry.trace import Tracer

    from nbgov.ports import AuditLog

LOADED = "opentelemetry.trace"
SCOPE = "nbgov"
OPEN_MAX = 10_000
NANOSECONDS = 1e9
# What the conventions call the products whose dialect has another name.
SYSTEMS = {"postgres": "postgresql", "tsql": "microsoft.sql_server", "oracle": "oracle.db"}
SUMMARY_CHARS_MAX = 255

Attributes = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt whose outcome is to come: when, in which context, and what was recorded."""

    at_ns: int
    context: Any
    record: Record
    index: int


class ObservedLog:
    """The audit log of a session, whose passing records are told to OpenTelemetry.

    Every promise is that of the log behind it. What is told changes no record, and what fails to be
    told is left out; a processor that a process installed runs in the thread that appends.

    Args:
        log: The log that entries go to.
        instruments: What is told through; those of the process when left out.

    Attributes:
        size: How many entries there are, as far as is known here.
    """

    def __init__(self, log: AuditLog, instruments: Instruments | None = None) -> None:
        self.log = log
        self.size = 0
        self.origin = ""
        self.given = instruments
        self.begun: dict[str, Begun] = {}

    def append(self, record: Record) -> Receipt:
        """Make a record durable.

        Raises:
            BackendFailed: It could not be made durable (code ``audit-unavailable``).
        """
        if self.given is None and LOADED not in sys.modules:
            return self.log.append(record)
        told = self.given or instruments_of_process()
        told.logs.add(self)
        start_ns = time.time_ns()
        try:
            receipt = self.log.append(record)
        except NbgovError as error:
            with suppress(Exception):
                told.failures.add(1, {"error.type": error.code})
            raise
        self.size, self.origin = receipt.index + 1, receipt.origin
        # A sampler or processor of somebody else's can raise; the record is durable already.
        with suppress(Exception):
            self.tell(told, record, receipt, start_ns)
        return receipt

    def tell(self, told: Instruments, record: Record, receipt: Receipt, start_ns: int) -> None:
        """Keep the beginning of a request, or tell a request that ended."""
        seconds = (time.time_ns() - start_ns) / NANOSECONDS
        told.appends.record(seconds, {"nbgov.record.kind": record.kind.value})
        if record.kind is RecordKind.ATTEMPT:
            self.begun[record.request] = Begun(start_ns, context(), record, receipt.index)
            while len(self.begun) > OPEN_MAX:
                self.begun.pop(next(iter(self.begun), ""), None)
        elif record.kind is RecordKind.OUTCOME:
            begun = self.begun.pop(record.request, None)
            told.request(begun or Begun(start_ns, context(), record, receipt.index), record)

    def unwitnessed(self) -> int:
        """How many entries follow the newest checkpoint that witnesses cosigned."""
        text = self.log.note("witnessed")
        return self.size - (Note.parse(text).checkpoint.size if text else 0)

    # ------------------------------------------------------------ the log behind it

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, from an index on, oldest first."""
        return self.log.entries(start)

    def note(self, name: str) -> str:
        """A signed note that is kept beside the entries; empty where there is none."""
        return self.log.note(name)

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries."""
        self.log.keep_note(name, text)

    def recover(self) -> None:
        """Close the attempts whose session died, and repair what a crash left half written."""
        self.log.recover()

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over every entry there is now; made if there is none yet."""
        return self.log.checkpoint()

    def subtree(self, start: int, stop: int) -> bytes:
        """The Merkle digest of a range of entries that the newest checkpoint covers."""
        return self.log.subtree(start, stop)

    def close(self) -> None:
        """Let go of the log. Callable more than once."""
        self.log.close()


class Instruments:
    """Where spans and figures go.

    Args:
        tracer: Makes spans.
        meter: Makes counters, histograms and gauges.

    Attributes:
        logs: The logs whose sizes are told when somebody collects figures.
    """

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self.tracer = tracer
        self.logs: weakref.WeakSet[ObservedLog] = weakref.WeakSet()
        self.requests = meter.create_counter(
            "nbgov.requests", "{request}", "Requests that ended, by decision and status."
        )
        self.failures = meter.create_counter(
            "nbgov.audit.failures", "{record}", "Records that could not be made durable."
        )
        self.durations = meter.create_histogram(
            "db.client.operation.duration", "s", "From the attempt to the outcome."
        )
        self.rows = meter.create_histogram(
            "db.client.response.returned_rows", "{row}", "Rows that were read."
        )
        self.appends = meter.create_histogram(
            "nbgov.audit.append.duration", "s", "Until a record was durable."
        )
        meter.create_observable_gauge(
            "nbgov.audit.entries", [self.sizes], "{entry}", "Entries of the audit log."
        )
        meter.create_observable_gauge(
            "nbgov.audit.unwitnessed",
            [self.windows],
            "{entry}",
            "Entries behind the newest checkpoint that witnesses cosigned.",
        )

    def request(self, begun: Begun, outcome: Record) -> None:
        """Tell a request that ended: one span, and its share of every figure."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        end_ns = time.time_ns()
        shared = operation(begun.record, outcome)
        ended: Attributes = {
            "nbgov.decision": decision(begun.record),
            "nbgov.status": outcome.status or "",
        }
        namespace = {key: shared[key] for key in ("db.namespace",) if key in shared}
        self.requests.add(1, ended | namespace)
        self.durations.record((end_ns - begun.at_ns) / NANOSECONDS, shared)
        if outcome.rows_read is not None:
            self.rows.record(outcome.rows_read, shared)
        name = summary(begun.record)
        span = self.tracer.start_span(
            name, begun.context, kind=SpanKind.CLIENT, start_time=begun.at_ns
        )
        if span.is_recording():
            facts: Attributes = {**shared, **ended, "db.query.summary": name}
            span.set_attributes(facts | detail(begun, outcome))
            if "error.type" in shared:
                span.set_status(Status(StatusCode.ERROR, str(shared["error.type"])))
        span.end(end_ns)

    def sizes(self, _: CallbackOptions) -> Iterable[Observation]:
        """The number of entries of each log."""
        return self.observed(lambda log: log.size)

    def windows(self, _: CallbackOptions) -> Iterable[Observation]:
        """The number of entries of each log that no witness has seen."""
        return self.observed(ObservedLog.unwitnessed)

    def observed(self, figure: Any) -> Sequence[Observation]:
        """A figure of each log; a log that cannot be read is left out."""
        from opentelemetry.metrics import Observation

        found: dict[str, int] = {}
        for log in tuple(self.logs):
            try:
                found[log.origin] = max(figure(log), found.get(log.origin, 0))
            except NbgovError:
                continue
        return [Observation(value, {"nbgov.log": origin}) for origin, value in found.items()]


@functools.cache
def instruments_of_process() -> Instruments:
    """The instruments of whatever providers this process has, or will have."""
    from opentelemetry import metrics, trace

    return Instruments(trace.get_tracer(SCOPE), metrics.get_meter(SCOPE))


def context() -> Any:
    """The context that a span of now belongs to."""
    from opentelemetry import context as contexts

    return contexts.get_current()


# ---------------------------------------------------------------- what is told of a request


def operation(attempt: Record, outcome: Record) -> Attributes:
    """What every figure of a request carries; few values each, none of which a person can choose.

    A connection is named when its dialect was told by its engine: before, it is what was typed.
    """
    facts: Attributes = {}
    if attempt.dialect:
        facts["db.system.name"] = SYSTEMS.get(attempt.dialect, attempt.dialect)
        facts["db.namespace"] = attempt.connection or ""
    if attempt.verb:
        facts["db.operation.name"] = attempt.verb
    if outcome.status == "error":
        facts["error.type"] = outcome.code or "_OTHER"
    return facts


def detail(begun: Begun, outcome: Record) -> Attributes:
    """What a span carries beyond that. Who asked is left to the record."""
    attempt = begun.record
    facts: Mapping[str, str | int | None] = {
        "db.query.text": attempt.statement if attempt.verb else None,
        "db.collection.name": attempt.tables[0] if len(attempt.tables or ()) == 1 else None,  # type: ignore[index]  # there is one
        "db.response.status_code": outcome.sqlstate,
        "db.response.returned_rows": outcome.rows_read,
        "nbgov.code": outcome.code,
        "nbgov.record": begun.index,
        "nbgov.rows_affected": outcome.rows_affected,
    }
    return {key: value for key, value in facts.items() if value is not None}


def decision(record: Record) -> str:
    """What was decided; ``none`` where it did not come to that."""
    return record.decision or "none"


def summary(record: Record) -> str:
    """The first word of a statement and the tables that it names, for people and for grouping."""
    text = " ".join([record.verb or "request", *(record.tables or ())])
    return text if len(text) <= SUMMARY_CHARS_MAX else text[:SUMMARY_CHARS_MAX].rpartition(" ")[0]

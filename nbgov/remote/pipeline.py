"""Requests that are decided, masked and recorded at a gateway: the pipeline of its connections.

What comes back is a result like any other: the decision, the record and the receipt before the
first row, the summary after the last one. The dataset version and its delivery are kept here as
well, so that runs of this process find them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nbgov.core.case import check_request
from nbgov.core.statement import find_binds, take_values
from nbgov.core.transport import fill_summary, read, write_request
from nbgov.errors import BackendFailed, IdentityFailed, NbgovError, RequestInvalid
from nbgov.model import Catalog, Result, Summary, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.model import BindMarker, Request
    from nbgov.ports import World
    from nbgov.remote.channel import Channel, Incoming

CHECK, CATALOG = "nbgov.v1.check", "nbgov.v1.catalog"
CANCEL, DIALECT = "nbgov.v1.cancel", "nbgov.v1.dialect"

Answer = TypeVar("Answer")


@dataclass
class Inflow:
    """A result on its way here.

    Attributes:
        stream: What arrives.
        summary: Filled in as it does.
        is_whole: Whether the gateway has said that this was all.
    """

    stream: Incoming
    summary: Summary
    is_whole: bool = False

    def take(self) -> Iterator[pa.RecordBatch | Mapping[str, Any]]:
        """The head, then the batches.

        Raises:
            NbgovError: The stream broke before its end, or is none of this version.
        """
        is_begun = False
        for batch, text in self.stream.chunks():
            if text and is_begun:
                self.end(text)
            elif text:
                is_begun = True
                yield read_head(text)
            elif batch is not None:
                self.summary.rows_read += batch.num_rows
                self.summary.bytes_read += batch.nbytes
                self.summary.batches += 1
                yield batch
        if not self.is_whole:
            # Security: cut where one message ends, a stream of Arrow looks like a complete one.
            raise cut("it ended without saying that this was all")

    def end(self, text: bytes) -> None:
        """Take over what is known of the whole result."""
        rows = self.summary.rows_read
        try:
            fill_summary(self.summary, text)
        except ValueError:
            raise cut("its end cannot be read") from None
        if self.summary.rows_read != rows:
            raise cut(f"{self.summary.rows_read} rows were sent, and {rows} arrived")
        self.is_whole = True


class RemotePipeline:
    """Has requests for one connection run at its gateway.

    Args:
        name: The connection here.
        channel: The way to the gateway.
        world: Where dataset versions are kept here, and which runs are open.
    """

    def __init__(self, name: str, channel: Channel, world: World) -> None:
        self.name = name
        self.channel = channel
        self.world = world
        self.there = channel.terms.connection or name
        self.known_dialect = ""

    def run(self, request: Request) -> Result:
        """Run one request; see :meth:`nbgov.pipeline.Pipeline.run`.

        Raises:
            NbgovError: For every reason why it did not run.
        """
        request = self.sendable(request)
        is_tracked = any(store.active_run() for store in self.world.runs())
        asked = replace(request, id=request.id or uuid.uuid4().hex, is_tracked=is_tracked)
        text = write_request(asked, connection=self.there)
        stream = self.channel.stream(text, stop=lambda: self.cancel(asked.id))
        try:
            return self.result(stream)
        except BaseException:
            stream.cancel()
            raise

    def sendable(self, request: Request) -> Request:
        """A request with plain values for its markers, and no others.

        Raises:
            NbgovError: It is none, is somebody else's, or a value has a type that cannot be bound.
        """
        check_request(request)
        require_own(request)
        if not request.binds:
            return request
        markers: Sequence[BindMarker] = ()
        # What cannot be read is refused, and recorded, at the gateway.
        with suppress(RequestInvalid):
            markers = find_binds(request.sql, self.dialect)
        named = [one for one in markers if one.name in request.binds]
        return replace(request, binds=take_values(named, request.binds))

    def result(self, stream: Incoming) -> Result:
        """The open result of a stream. A write is read to its end before it is handed out."""
        inflow = Inflow(stream, Summary())
        arriving = inflow.take()
        head = next(arriving)
        if not isinstance(head, Mapping):
            raise cut("its beginning is missing")
        summary = inflow.summary
        summary.record, summary.receipt = head["record"], head["receipt"]
        delivery = self.deliver(inflow, cast("Iterator[pa.RecordBatch]", arriving))
        # A generator that has not begun would not notice being closed.
        next(delivery)
        batches = cast("Iterator[pa.RecordBatch]", delivery)
        if not head["statement"].is_read:
            batches = iter(list(batches))
        return Result(
            stream.schema,
            batches,
            decision=head["decision"],
            statement=head["statement"],
            record=head["record"],
            receipt=head["receipt"],
            summary=summary,
            cancel=stream.cancel,
        )

    def deliver(
        self, inflow: Inflow, arriving: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch | None]:
        """The batches; once the last one is through, the delivery is kept here, too."""
        is_over = False
        try:
            yield None
            yield from arriving
            is_over = True
        finally:
            if not is_over:
                inflow.stream.cancel()
        self.keep(inflow.summary)

    def keep(self, summary: Summary) -> None:
        """Keep what was delivered, and let run stores bind it to an active run."""
        version, delivery = summary.version, summary.delivery
        if version is None or delivery is None:
            return
        try:
            self.world.datasets.put(version, delivery)
        except BackendFailed as error:
            # The rows are whole, and their version is kept at the gateway.
            summary.remarks.append(f"The version is not kept here: {error.what}")
            return
        for store in self.world.runs():
            store.delivered(version, delivery)

    def check(self, request: Request) -> Verdict:
        """Decide a request and say what would run, without running or recording anything."""
        request = self.sendable(request)
        text = write_request(request, connection=self.there)
        return self.ask(CHECK, text, Verdict)

    def catalog(self, connection: str, *, claim: str | None) -> Catalog:  # noqa: ARG002
        """What there is for whoever is logged in; the rest reads as absent."""
        body = json.dumps({"connection": self.there}).encode()
        return self.ask(CATALOG, body, Catalog)

    @property
    def dialect(self) -> str:
        """sqlglot's name of the SQL dialect."""
        if not self.known_dialect:
            body = json.dumps({"connection": self.there}).encode()
            self.known_dialect = self.ask(DIALECT, body, str)
        return self.known_dialect

    def cancel(self, request: str) -> None:
        """Stop a request that runs, by its name. Never raises; for any thread."""
        with suppress(NbgovError):
            self.channel.act(CANCEL, json.dumps({"id": request}).encode())

    def ask(self, action: str, body: bytes, kind: type[Answer]) -> Answer:
        """What the gateway answers, of the kind that it should be."""
        try:
            found = read(self.channel.act(action, body))
        except ValueError:
            found = None
        if not isinstance(found, kind):
            raise cut("the answer cannot be read")
        return found


def read_head(text: bytes) -> Mapping[str, Any]:
    """What is known before the first row."""
    try:
        head = read(text)
    except ValueError:
        head = None
    if not isinstance(head, Mapping) or not {"record", "receipt", "decision", "statement"} <= {
        *head
    }:
        raise cut("its beginning cannot be read")
    return head


def require_own(request: Request) -> None:
    """Go no further in somebody else's name.

    Raises:
        IdentityFailed: Somebody is claimed.
    """
    if request.claim is not None:
        raise IdentityFailed(
            "Nobody can act in the name of somebody else at a gateway.",
            why="the gateway knows who asks by their login",
            next_step="leave --as out, or log in as the other one: nbgov login",
        )


def cut(why: str) -> BackendFailed:
    """The error of an answer that is not whole, or not one of this version."""
    return BackendFailed(
        "The gateway's answer is not whole.",
        code="gateway-cut",
        why=why,
        next_step="run the statement again; use the same version at both ends",
    )

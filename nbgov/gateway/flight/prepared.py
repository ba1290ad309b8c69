"""Prepared statements: handles that hold the text, and the values once they are bound.

A handle is sealed like a ticket, and nothing of it is kept here. What is bound comes in a new
handle, which the client uses from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nbgov.core.approval import read_binds, write_binds
from nbgov.core.wire import encode, write_command
from nbgov.errors import RequestInvalid
from nbgov.gateway.flight.parameters import bound, count_markers, rows_of
from nbgov.gateway.flight.sealing import HANDLE_S
from nbgov.gateway.flight.statements import SURFACE
from nbgov.model import Request

if TYPE_CHECKING:
    from nbgov.gateway.flight.calls import Call
    from nbgov.gateway.flight.sealing import Sealer
    from nbgov.gateway.flight.statements import Statements
    from nbgov.gateway.house import House

HANDLE = "prepared statement"
# Drivers for Java take a statement without columns for one that changes something.
JAVA = "grpc-java"


class Prepared:
    """Prepares the statements of guests.

    Args:
        house: Where they run.
        sealer: Seals handles.
        statements: Runs them.
    """

    def __init__(self, house: House, sealer: Sealer, statements: Statements) -> None:
        self.house = house
        self.sealer = sealer
        self.statements = statements

    def create(self, call: Call, sql: str) -> bytes:
        """A handle for a text. One without markers is decided at once.

        Raises:
            NbgovError: It would not run.
        """
        dialect = call.guest.session.dialect(call.connection)
        request = Request(call.connection, sql)
        markers = count_markers(sql, dialect)
        is_read = True
        if not markers:
            verdict = self.house.check(call.guest, request, surface=SURFACE, address=call.address)
            is_read = verdict.statement.is_read
        wanted = pa.schema([pa.field(str(n + 1), pa.null()) for n in range(markers)])
        columns = b""
        if is_read and not markers and JAVA in call.agent:
            columns = self.statements.schema(call, request).serialize().to_pybytes()
        return write_command(
            "ActionCreatePreparedStatementResult",
            prepared_statement_handle=self.seal(call, {"sql": sql, "binds": None}),
            dataset_schema=columns,
            parameter_schema=wanted.serialize().to_pybytes() if markers else b"",
        )

    def seal(self, call: Call, content: dict[str, Any]) -> bytes:
        """A handle."""
        content["connection"] = call.connection
        return self.sealer.seal(HANDLE, content, call.guest, lasts_s=HANDLE_S)

    def request(self, call: Call, handle: bytes) -> Request:
        """The request that a handle stands for.

        Raises:
            RequestInvalid: It is none, or is somebody else's (``ticket-invalid``).
        """
        content = self.sealer.open(HANDLE, handle, call.guest)
        return Request(content["connection"], content["sql"], read_binds(content["binds"] or "{}"))

    def bind(self, call: Call, handle: bytes, batches: Iterator[pa.RecordBatch]) -> bytes:
        """The answer to values that are sent for a query: a handle that holds them.

        Raises:
            RequestInvalid: They are not one row, or do not fit the markers.
        """
        request = self.request(call, handle)
        rows = list(rows_of(batches))
        if len(rows) != 1:
            raise RequestInvalid(
                f"A query takes one row of values, and {len(rows)} are bound.",
                code="bind-missing",
                next_step="run the query once for each row",
            )
        dialect = call.guest.session.dialect(request.connection)
        sql, binds = bound(request.sql, dialect, *rows[0])
        content = {"sql": sql, "binds": write_binds(binds)}
        return encode(
            "DoPutPreparedStatementResult", prepared_statement_handle=self.seal(call, content)
        )

    def write(self, call: Call, handle: bytes, batches: Iterator[pa.RecordBatch]) -> bytes:
        """The answer to values that are sent for a statement which changes something.

        It runs once for each row of values, each time as a request of its own; where one of them
        fails, those before it stay done, and the error says so by its record.
        """
        request = self.request(call, handle)
        dialect = call.guest.session.dialect(request.connection)
        requests = [
            Request(request.connection, *bound(request.sql, dialect, names, values))
            for names, values in rows_of(batches)
        ]
        counts = [self.statements.write(call, one) for one in requests or [request]]
        total = -1 if any(count < 0 for count in counts) else sum(counts)
        return encode("DoPutUpdateResult", record_count=total)

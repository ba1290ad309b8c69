"""Statements of Flight SQL: decided when they are planned, run when their rows are taken.

A ticket holds the whole request, sealed. So nothing is kept for a client that does not come back,
and any process of the gateway can serve it, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbgov.core.approval import read_binds, write_binds
from nbgov.core.transfer import failure
from nbgov.core.wire import flight_info, write_command
from nbgov.gateway.flight.framing import framed
from nbgov.gateway.flight.sealing import TICKET_S
from nbgov.model import Request, Result

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.gateway.flight.calls import Call
    from nbgov.gateway.flight.sealing import Sealer
    from nbgov.gateway.house import House

SURFACE = "flight-sql"
TICKET = "ticket"


class Statements:
    """Runs the statements of guests.

    Args:
        house: Where they run.
        sealer: Seals tickets.
    """

    def __init__(self, house: House, sealer: Sealer) -> None:
        self.house = house
        self.sealer = sealer

    def plan(self, call: Call, descriptor: bytes, request: Request) -> bytes:
        """The ``FlightInfo`` of a statement: decided, and not run yet.

        Raises:
            NbgovError: It would not run.
        """
        self.house.check(call.guest, request, surface=SURFACE, address=call.address)
        content = {
            "connection": request.connection,
            "sql": request.sql,
            "binds": write_binds(request.binds),
        }
        sealed = self.sealer.seal(TICKET, content, call.guest, lasts_s=TICKET_S)
        ticket = write_command("TicketStatementQuery", statement_handle=sealed)
        return flight_info(descriptor=descriptor, ticket=ticket)

    def redeem(self, call: Call, handle: bytes) -> Iterator[bytes]:
        """The rows of a statement that was planned before.

        Raises:
            NbgovError: The ticket cannot be used, or the statement did not run.
        """
        content = self.sealer.spend(TICKET, handle, call.guest)
        yield from self.rows(call, request_of(content))

    def rows(self, call: Call, request: Request) -> Iterator[bytes]:
        """The rows of a statement, as messages of Flight."""
        with closing(self.run(call, request)) as result:
            yield from framed(result.schema, result.batches())

    def schema(self, call: Call, request: Request) -> pa.Schema:
        """The columns of a read, which has to run for that; no row is delivered.

        A statement that changes something is not run for a question, and has none.
        """
        import pyarrow as pa

        verdict = self.house.check(call.guest, request, surface=SURFACE, address=call.address)
        if not verdict.statement.is_read:
            return pa.schema([])
        with closing(self.run(call, replace(request, rows_max=0))) as result:
            return result.schema

    def write(self, call: Call, request: Request) -> int:
        """Run a statement for what it changes; how many rows that was, or -1."""
        with closing(self.run(call, request)) as result:
            for _ in result.batches():
                pass
            affected = result.summary.rows_affected
        return -1 if affected is None else affected

    def run(self, call: Call, request: Request, *, surface: str = SURFACE) -> Result:
        """Run a statement; a client that goes away, or cancels, stops it.

        Raises:
            NbgovError: It did not run.
        """
        request = self.house.named(call.guest, request, surface=surface, address=call.address)

        def stop() -> None:
            self.house.cancel(lambda work: work.id == request.id)

        # It is called when the call is over, whoever has ended it.
        if not call.context.add_callback(stop):
            raise failure(request.connection, "cancelled")
        return self.house.ask(call.guest, request, surface=surface, address=call.address)


def request_of(content: dict[str, Any]) -> Request:
    """The request that a ticket holds."""
    return Request(content["connection"], content["sql"], read_binds(content["binds"]))

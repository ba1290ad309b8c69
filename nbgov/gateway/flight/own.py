"""What nbgov's own client asks: one message for a statement, with everything beside its rows.

The stream of a request is the schema, a message with metadata only that tells the decision, the
rows, and a last one with metadata only that tells how it ended. Where that one is missing, the
stream was cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from nbgov.core.transport import read_request, write, write_summary
from nbgov.core.wire import URL, flight_data, write_bytes
from nbgov.errors import RequestInvalid
from nbgov.gateway.flight.framing import framed
from nbgov.gateway.guests import own_id
from nbgov.model import StopKind

if TYPE_CHECKING:
    from nbgov.gateway.flight.calls import Call
    from nbgov.gateway.flight.statements import Statements
    from nbgov.gateway.house import House

REQUEST = URL + "nbgov.v1.Request"
CHECK, CATALOG = "nbgov.v1.check", "nbgov.v1.catalog"
CANCEL, DIALECT = "nbgov.v1.cancel", "nbgov.v1.dialect"
ACTIONS = {
    CHECK: "Decide a request without running it.",
    CATALOG: "What there is on a connection.",
    DIALECT: "Which dialect of SQL a connection speaks.",
    CANCEL: "Cancel a request by its name.",
}
SURFACE = "nbgov"


def stream(statements: Statements, call: Call, text: bytes) -> Iterator[bytes]:
    """The messages that answer a request.

    Raises:
        NbgovError: It did not run.
    """
    request = read_request(text)
    with closing(statements.run(call, request, surface=SURFACE)) as result:
        rows = framed(result.schema, result.batches())
        yield next(rows)
        head = {
            "record": result.record,
            "receipt": result.receipt,
            "decision": result.decision,
            "statement": result.statement,
        }
        yield flight_data(b"", metadata=write(head).encode())
        yield from rows
        yield flight_data(b"", metadata=write_summary(result.summary))


def answer(house: House, call: Call, action: str, body: bytes) -> Iterator[bytes]:
    """The results of an action of our own.

    Raises:
        NbgovError: It failed.
    """
    session = call.guest.session
    if action == CHECK:
        request = read_request(body)
        request = house.named(call.guest, request, surface=SURFACE, address=call.address)
        yield result(session.pipeline.check(request))
    elif action == CATALOG:
        name = name_in(body, "connection")
        house.require_open(StopKind.CONNECTION, name)
        yield result(session.catalog(name))
    elif action == DIALECT:
        yield result(session.dialect(name_in(body, "connection")))
    elif action == CANCEL:
        # Security: a guest stops what is their own, whatever name they know.
        name = own_id(call.guest.principal, name_in(body, "id"))
        house.cancel(lambda work: work.id == name)
        yield result(None)


def result(value: Any) -> bytes:
    """A value as the result of an action."""
    return write_bytes(1, write(value).encode())


def name_in(body: bytes, key: str) -> str:
    """A name in the JSON of an action.

    Raises:
        RequestInvalid: There is none (``usage``).
    """
    try:
        found = json.loads(body)[key]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        raise RequestInvalid(f"The action names no {key}.", code="usage")
    return found

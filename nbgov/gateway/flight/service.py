"""The calls of Flight and Flight SQL, each led to who answers it. Every failure is translated.

What runs a statement takes a thread until its rows are taken; the house limits how many do. Calls
that run nothing always find a thread, since there are more of them than streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa

from nbgov.core.wire import (
    COMMAND_BYTES_MAX,
    FLIGHT_SQL,
    Message,
    WireError,
    encode,
    flight_info,
    last_bytes,
    read_command,
    read_text,
    unpack,
    write_bytes,
)
from nbgov.errors import RequestInvalid
from nbgov.gateway.flight import own
from nbgov.gateway.flight.calls import Call, received, token_of
from nbgov.gateway.flight.failures import abort
from nbgov.gateway.flight.framing import framed
from nbgov.gateway.flight.metadata import ANSWERS, answered, columns_of
from nbgov.gateway.flight.prepared import Prepared
from nbgov.gateway.flight.sealing import Sealer
from nbgov.gateway.flight.statements import Statements
from nbgov.model import Request

if TYPE_CHECKING:
    from nbgov.gateway.house import House

SERVICE = "arrow.flight.protocol.FlightService"
ACTIONS = {
    "CreatePreparedStatement": "Prepare a statement.",
    "ClosePreparedStatement": "Let go of a prepared statement.",
    "CancelFlightInfo": "Cancel a statement that was planned.",
    "CancelQuery": "Cancel a statement that was planned.",
    "CloseSession": "Say that nothing more comes.",
    **own.ACTIONS,
}
NO_TRANSACTIONS = (
    "every statement is a transaction of its own here, so that no client can hold one open; "
    "connect with autocommit"
)
REFUSED = {
    "BeginTransaction": NO_TRANSACTIONS,
    "EndTransaction": NO_TRANSACTIONS,
    "BeginSavepoint": NO_TRANSACTIONS,
    "EndSavepoint": NO_TRANSACTIONS,
    "CreatePreparedSubstraitPlan": "a plan hides what a policy has to see; send SQL",
}
CANCEL_UNKNOWN = 3


class FlightService(grpc.GenericRpcHandler):
    """Flight SQL for the guests of a house."""

    def __init__(self, house: House) -> None:
        self.house = house
        sealer = Sealer(house)
        self.statements = Statements(house, sealer)
        self.prepared = Prepared(house, sealer, self.statements)
        one, many, both = (
            grpc.unary_unary_rpc_method_handler,
            grpc.unary_stream_rpc_method_handler,
            grpc.stream_stream_rpc_method_handler,
        )
        self.handlers: dict[str, Any] = {
            "Handshake": both(self.handshake),
            "ListFlights": many(self.streaming(lambda *_: iter(()))),
            "GetFlightInfo": one(self.single(self.get_flight_info)),
            "GetSchema": one(self.single(self.get_schema)),
            "DoGet": many(self.streaming(self.do_get)),
            "DoPut": both(self.streaming(self.do_put)),
            "DoAction": many(self.streaming(self.do_action)),
            "ListActions": many(self.streaming(self.list_actions)),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """What answers a method; ``None`` where there is none."""
        service, _, method = handler_call_details.method.strip("/").partition("/")
        return self.handlers.get(method) if service == SERVICE else None

    def single(self, answer: Callable[[Call, bytes], bytes]) -> Callable[[bytes, Any], bytes]:
        """A handler that answers once."""

        def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                return answer(received(self.house, context), message)
            except Exception as error:  # noqa: BLE001 - each is translated, none gets out
                abort(context, error)

        return handle

    def streaming(self, answer: Callable[[Call, Any], Iterator[bytes]]) -> Callable[..., Any]:
        """A handler that answers with a stream."""

        def handle(message: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            try:
                yield from answer(received(self.house, context), message)
            except Exception as error:  # noqa: BLE001 - each is translated, none gets out
                abort(context, error)

        return handle

    # ------------------------------------------------------------ the calls

    def handshake(
        self, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """Take a token that comes as a password, and give it back as the bearer that it is."""
        for _ in messages:
            break
        try:
            received(self.house, context)
        except Exception as error:  # noqa: BLE001 - each is translated, none gets out
            abort(context, error)
        headers = {str(key): str(value) for key, value in context.invocation_metadata()}
        token = token_of(headers.get("authorization", ""))
        context.send_initial_metadata((("authorization", f"Bearer {token}"),))
        yield b""

    def get_flight_info(self, call: Call, descriptor: bytes) -> bytes:
        """Plan a command."""
        command = last_bytes(descriptor, 2)
        message = read_command(command)
        if message.name in ANSWERS:
            schema = columns_of(message).serialize().to_pybytes()
            return flight_info(descriptor=descriptor, ticket=command, schema=schema)
        return self.statements.plan(call, descriptor, self.asked(call, message))

    def get_schema(self, call: Call, descriptor: bytes) -> bytes:
        """The columns that a command would give."""
        message = read_command(last_bytes(descriptor, 2))
        if message.name in ANSWERS:
            schema = columns_of(message)
        else:
            schema = self.statements.schema(call, self.asked(call, message))
        return write_bytes(1, schema.serialize().to_pybytes())

    def asked(self, call: Call, message: Message) -> Request:
        """The request that a command is.

        Raises:
            RequestInvalid: It is none (``not-supported``).
        """
        if message.name == "CommandStatementQuery":
            refuse_transaction(message)
            return Request(call.connection, message["query"])
        if message.name == "CommandPreparedStatementQuery":
            return self.prepared.request(call, message["prepared_statement_handle"])
        raise unsupported(message.name)

    def do_get(self, call: Call, ticket: bytes) -> Iterator[bytes]:
        """The rows behind a ticket."""
        command = last_bytes(ticket, 1)
        url, body = unpack(command)
        if url == own.REQUEST:
            yield from own.stream(self.statements, call, body)
            return
        message = read_command(command)
        if message.name == "TicketStatementQuery":
            yield from self.statements.redeem(call, message["statement_handle"])
        elif message.name in ANSWERS:
            table = answered(self.house, call, message)
            yield from framed(table.schema, table.to_batches())
        else:
            raise unsupported(message.name)

    def do_put(self, call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        """Statements that change something, and values that are bound."""
        message, batches = taken(messages)
        match message.name:
            case "CommandStatementUpdate":
                refuse_transaction(message)
                count = self.statements.write(call, Request(call.connection, message["query"]))
                answer = encode("DoPutUpdateResult", record_count=count)
            case "CommandPreparedStatementQuery":
                handle = message["prepared_statement_handle"]
                answer = self.prepared.bind(call, handle, batches)
            case "CommandPreparedStatementUpdate":
                handle = message["prepared_statement_handle"]
                answer = self.prepared.write(call, handle, batches)
            case "CommandStatementIngest":
                raise unsupported("bulk ingest", "write with INSERT, which a policy can read")
            case _:
                raise unsupported(message.name)
        yield write_bytes(1, answer)

    def do_action(self, call: Call, action: bytes) -> Iterator[bytes]:
        """Everything else."""
        name, body = read_text(last_bytes(action, 1)), last_bytes(action, 2)
        if name in own.ACTIONS:
            yield from own.answer(self.house, call, name, body)
        elif name == "CreatePreparedStatement":
            message = read_command(body)
            refuse_transaction(message)
            yield write_bytes(1, self.prepared.create(call, message["query"]))
        elif name in {"ClosePreparedStatement", "CloseSession"}:
            # Nothing is kept for a handle; a login ends with its token, or when it is revoked.
            return
        elif name in {"CancelFlightInfo", "CancelQuery"}:
            # What was planned does not run yet, and what runs ends with the call that reads it.
            yield write_bytes(1, encode("ActionCancelQueryResult", result=CANCEL_UNKNOWN))
        else:
            raise unsupported(name, REFUSED.get(name, ""))

    def list_actions(self, call: Call, message: bytes) -> Iterator[bytes]:  # noqa: ARG002
        """The actions that there are."""
        for name, told in ACTIONS.items():
            yield write_bytes(1, name.encode()) + write_bytes(2, told.encode())


def taken(messages: Iterator[bytes]) -> tuple[Message, Iterator[pa.RecordBatch]]:
    """The command that a stream of the client begins with, and the rows that it brings.

    Raises:
        WireError: It is no command, or its rows are none of Arrow.
    """
    first = next(messages, b"")
    message = read_command(last_bytes(last_bytes(first, 1), 2))

    def read() -> Iterator[pa.RecordBatch]:
        parts, size = [], 0
        for one in (first, *messages):
            header, body = last_bytes(one, 2), last_bytes(one, 1000)
            size += len(one)
            if size > COMMAND_BYTES_MAX:
                raise WireError(f"more than {COMMAND_BYTES_MAX:,} bytes are bound")
            if header:
                padding = b"\0" * (-len(header) % 8)
                length = (len(header) + len(padding)).to_bytes(4, "little")
                parts.append(b"\xff\xff\xff\xff" + length + header + padding + body)
        if not parts:
            return
        try:
            yield from pa.ipc.open_stream(b"".join(parts)).read_all().to_batches()
        except (pa.ArrowException, OSError):
            raise WireError("the bound values are no rows of Arrow") from None

    return message, read()


def refuse_transaction(message: Message) -> None:
    """Go no further with a statement of a transaction.

    Raises:
        RequestInvalid: It is one (``not-supported``).
    """
    if message["transaction_id"]:
        raise unsupported("transactions", NO_TRANSACTIONS)


def unsupported(name: str, next_step: str = "") -> RequestInvalid:
    """The error of something that is not offered."""
    return RequestInvalid(
        f"This gateway has no {name.removeprefix(FLIGHT_SQL)[:60]}.",
        code="not-supported",
        next_step=next_step or "see docs/spec/gateway.md for what there is",
    )

"""The messages of Arrow Flight and Flight SQL on the wire: protobuf's encoding, without protobuf.

Only what is written down in ``docs/spec/gateway.md`` is read: every length is checked against what
is there, a command has at most 4 MiB, nothing nests deeper than an ``Any`` in a command, and fields
that are not known are skipped, as protobuf asks of every reader. Field numbers are facts of
``Flight.proto`` and ``FlightSql.proto`` of Apache Arrow; the encoding is that of
https://protobuf.dev/programming-guides/encoding/. The tests hold it against protobuf itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

COMMAND_BYTES_MAX = 4 * 2**20
VARINT_BITS = 64
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
WORD = 0xFFFFFFFF
SIGN = 1 << (VARINT_BITS - 1)
SCOPE = ("catalog", "db_schema")
URL = "type.googleapis.com/"
FLIGHT_SQL = URL + "arrow.flight.protocol.sql."

Kind: TypeAlias = Literal["text", "bytes", "bool", "int", "texts", "numbers", "map"]


class WireError(ValueError):
    """Bytes are no message, or not one that is known."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message: its number, its name, and what it holds.

    ``is_optional`` fields read as ``None`` where they are absent, others as their empty value.
    """

    number: int
    name: str
    kind: Kind
    is_optional: bool = False


EMPTY: Mapping[Kind, Any] = {
    "text": "",
    "bytes": b"",
    "bool": False,
    "int": 0,
    "texts": (),
    "numbers": (),
    "map": {},
}


def text(number: int, name: str, *, is_optional: bool = False) -> Field:
    """A field that holds UTF-8."""
    return Field(number, name, "text", is_optional)


def data(number: int, name: str, *, is_optional: bool = False) -> Field:
    """A field that holds bytes."""
    return Field(number, name, "bytes", is_optional)


def key(*, prefix: str = "", first: int = 1) -> tuple[Field, ...]:
    """The three fields by which a message names a table."""
    names = [text(first + n, prefix + part, is_optional=True) for n, part in enumerate(SCOPE)]
    return (*names, text(first + 2, f"{prefix}table"))


TRANSACTION = data(2, "transaction_id", is_optional=True)
PREPARED = data(1, "prepared_statement_handle")
MESSAGES: Mapping[str, tuple[Field, ...]] = {
    "CommandGetSqlInfo": (Field(1, "info", "numbers"),),
    "CommandGetXdbcTypeInfo": (Field(1, "data_type", "int", is_optional=True),),
    "CommandGetCatalogs": (),
    "CommandGetDbSchemas": (
        text(1, "catalog", is_optional=True),
        text(2, "db_schema_filter_pattern", is_optional=True),
    ),
    "CommandGetTables": (
        text(1, "catalog", is_optional=True),
        text(2, "db_schema_filter_pattern", is_optional=True),
        text(3, "table_name_filter_pattern", is_optional=True),
        Field(4, "table_types", "texts"),
        Field(5, "include_schema", "bool"),
    ),
    "CommandGetTableTypes": (),
    "CommandGetPrimaryKeys": key(),
    "CommandGetExportedKeys": key(),
    "CommandGetImportedKeys": key(),
    "CommandGetCrossReference": (*key(prefix="pk_"), *key(prefix="fk_", first=4)),
    "CommandStatementQuery": (text(1, "query"), TRANSACTION),
    "CommandStatementUpdate": (text(1, "query"), TRANSACTION),
    "CommandStatementSubstraitPlan": (data(1, "plan"), TRANSACTION),
    "CommandPreparedStatementQuery": (PREPARED,),
    "CommandPreparedStatementUpdate": (PREPARED,),
    "CommandStatementIngest": (
        data(1, "table_definition_options"),
        text(2, "table"),
        text(3, "schema", is_optional=True),
        text(4, "catalog", is_optional=True),
        Field(5, "temporary", "bool"),
        data(6, "transaction_id", is_optional=True),
        Field(1000, "options", "map"),
    ),
    "TicketStatementQuery": (data(1, "statement_handle"),),
    "ActionCreatePreparedStatementRequest": (text(1, "query"), TRANSACTION),
    "ActionCreatePreparedSubstraitPlanRequest": (data(1, "plan"), TRANSACTION),
    "ActionCreatePreparedStatementResult": (
        PREPARED,
        data(2, "dataset_schema"),
        data(3, "parameter_schema"),
    ),
    "ActionClosePreparedStatementRequest": (PREPARED,),
    "ActionBeginTransactionRequest": (),
    "ActionBeginSavepointRequest": (data(1, "transaction_id"), text(2, "name")),
    "ActionEndTransactionRequest": (data(1, "transaction_id"), Field(2, "action", "int")),
    "ActionEndSavepointRequest": (data(1, "savepoint_id"), Field(2, "action", "int")),
    "ActionCancelQueryRequest": (data(1, "info"),),
    "ActionCancelQueryResult": (Field(1, "result", "int"),),
    "DoPutUpdateResult": (Field(1, "record_count", "int"),),
    "DoPutPreparedStatementResult": (data(1, "prepared_statement_handle", is_optional=True),),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read: its name, and its fields by name."""

    name: str
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


# ---------------------------------------------------------------- reading


def read_fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """The fields of a message as they come: number, wire type and value.

    Raises:
        WireError: The bytes end early, or are none of the encoding.
    """
    place, end = 0, len(message)
    while place < end:
        head, place = read_varint(message, place)
        number, kind = head >> 3, head & 7
        if not number:
            raise WireError("a field has the number 0")
        if kind == VARINT:
            value, place = read_varint(message, place)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, place = read_varint(message, place)
        elif kind in FIXED_SIZES:
            size = FIXED_SIZES[kind]
        else:
            raise WireError("a field has a type that is not known")
        if size > end - place:
            raise WireError("a field ends behind its message")
        yield number, kind, message[place : place + size]
        place += size


def read_varint(message: bytes, place: int) -> tuple[int, int]:
    """A number at a place of a message, and the place behind it.

    Raises:
        WireError: It does not end, or has more than 64 bits.
    """
    value = shift = 0
    while True:
        if place >= len(message):
            raise WireError("a number ends behind its message")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value & (2**VARINT_BITS - 1), place
        shift += 7
        if shift >= VARINT_BITS:
            raise WireError("a number has more than 64 bits")


def last_bytes(message: bytes, number: int) -> bytes:
    """The last field of a number that holds bytes; empty where there is none.

    Raises:
        WireError: The bytes are no message.
    """
    found = b""
    for one, _, value in read_fields(message):
        if one == number and isinstance(value, bytes):
            found = value
    return found


def decode(name: str, message: bytes) -> Message:
    """A message of a name.

    Raises:
        WireError: The bytes are none.
    """
    fields = {field.number: field for field in MESSAGES[name]}
    values = {f.name: None if f.is_optional else EMPTY[f.kind] for f in fields.values()}
    for number, kind, value in read_fields(message):
        field = fields.get(number)
        if field is not None:
            values[field.name] = read_value(field, kind, value, values[field.name])
    return Message(name, values)


def read_value(field: Field, kind: int, value: int | bytes, before: Any) -> Any:
    """The value of a field, after one more time that it occurs.

    Raises:
        WireError: It has another type, or is no UTF-8.
    """
    if isinstance(value, int) and field.kind in FROM_NUMBER:
        return FROM_NUMBER[field.kind](value, before)
    if isinstance(value, bytes) and kind == BYTES and field.kind in FROM_BYTES:
        return FROM_BYTES[field.kind](value, before)
    raise WireError(f"the field {field.name} has another type")


def read_text(value: bytes) -> str:
    """A text.

    Raises:
        WireError: It is no UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise WireError("a text is no UTF-8") from None


def read_packed(value: bytes) -> Iterator[int]:
    """Numbers that stand one behind the other."""
    place = 0
    while place < len(value):
        number, place = read_varint(value, place)
        yield number


def read_pair(value: bytes, before: Mapping[str, str]) -> dict[str, str]:
    """A mapping with one more pair."""
    return {**before, read_text(last_bytes(value, 1)): read_text(last_bytes(value, 2))}


FROM_NUMBER: Mapping[str, Callable[[int, Any], Any]] = {
    "bool": lambda value, _: bool(value),
    "int": lambda value, _: value - 2 * SIGN if value & SIGN else value,
    "numbers": lambda value, before: (*before, value & WORD),
}
FROM_BYTES: Mapping[str, Callable[[bytes, Any], Any]] = {
    "bytes": lambda value, _: value,
    "text": lambda value, _: read_text(value),
    "texts": lambda value, before: (*before, read_text(value)),
    "numbers": lambda value, before: (*before, *(one & WORD for one in read_packed(value))),
    "map": read_pair,
}


def unpack(message: bytes) -> tuple[str, bytes]:
    """The type and the bytes of what is packed in an ``Any``.

    Raises:
        WireError: The bytes are none, or too many.
    """
    if len(message) > COMMAND_BYTES_MAX:
        raise WireError(f"a command has more than {COMMAND_BYTES_MAX:,} bytes")
    return read_text(last_bytes(message, 1)), last_bytes(message, 2)


def read_command(message: bytes) -> Message:
    """The message of Flight SQL that is packed in an ``Any``.

    Raises:
        WireError: It is none.
    """
    url, packed = unpack(message)
    name = url.removeprefix(FLIGHT_SQL)
    if not url.startswith(FLIGHT_SQL) or name not in MESSAGES:
        raise WireError("the command is none of Flight SQL")
    return decode(name, packed)


# ---------------------------------------------------------------- writing


def write_varint(value: int) -> bytes:
    """A number."""
    value &= 2**VARINT_BITS - 1
    written = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - what fits into seven bits
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def write_number(number: int, value: int) -> bytes:
    """A field that holds a number."""
    return write_varint(number << 3 | VARINT) + write_varint(value)


def write_bytes(number: int, value: bytes) -> bytes:
    """A field that holds bytes, a text or a message."""
    return write_varint(number << 3 | BYTES) + write_varint(len(value)) + value


def encode(name: str, /, **values: Any) -> bytes:
    """A message of a name, from its fields by name."""
    unknown = values.keys() - {field.name for field in MESSAGES[name]}
    assert not unknown, unknown
    return b"".join(
        write_value(field, values[field.name])
        for field in MESSAGES[name]
        if values.get(field.name) is not None
    )


def write_value(field: Field, value: Any) -> bytes:
    """A field; nothing where it holds what an absent one reads as."""
    if not value and not field.is_optional:
        return b""
    match field.kind:
        case "bool" | "int":
            return write_number(field.number, int(value))
        case "text" | "bytes":
            pieces = [value]
        case "texts":
            pieces = value
        case "numbers":
            pieces = [b"".join(map(write_varint, value))]
        case _:
            pieces = [write_pair(*pair) for pair in value.items()]
    return b"".join(
        write_bytes(field.number, one.encode() if isinstance(one, str) else one) for one in pieces
    )


def write_pair(name: str, told: str) -> bytes:
    """An entry of a mapping."""
    return write_bytes(1, name.encode()) + write_bytes(2, told.encode())


def pack(url: str, message: bytes) -> bytes:
    """An ``Any`` around a message of a type."""
    return write_bytes(1, url.encode()) + write_bytes(2, message)


def write_command(name: str, /, **values: Any) -> bytes:
    """An ``Any`` around a message of Flight SQL."""
    return pack(FLIGHT_SQL + name, encode(name, **values))


# ---------------------------------------------------------------- what Flight itself sends


def flight_data(header: bytes, body: Iterable[bytes] = (), metadata: bytes = b"") -> bytes:
    """A ``FlightData``: a message of Arrow IPC, or metadata of the application's own, or both."""
    parts: list[bytes | memoryview] = [write_bytes(2, header)] if header else []
    if metadata:
        parts.append(write_bytes(3, metadata))
    pieces = [memoryview(piece) for piece in body]
    size = sum(piece.nbytes for piece in pieces)
    if size:
        # It comes last, as its number is the highest; the bytes of rows are copied once, here.
        parts += [write_varint(1000 << 3 | BYTES), write_varint(size), *pieces]
    return b"".join(parts)


def flight_info(*, descriptor: bytes, ticket: bytes, schema: bytes = b"") -> bytes:
    """A ``FlightInfo`` of one endpoint, which is wherever the client asks; sizes are not known."""
    endpoint = write_bytes(1, write_bytes(1, ticket))
    head = write_bytes(1, schema) if schema else b""
    return (
        head
        + write_bytes(2, descriptor)
        + write_bytes(3, endpoint)
        + write_number(4, -1)
        + write_number(5, -1)
    )


def error_details(code: int, message: str, reason: str, facts: Mapping[str, str]) -> bytes:
    """A ``google.rpc.Status`` with an ``ErrorInfo``: the trailer ``grpc-status-details-bin``."""
    pairs = b"".join(write_bytes(3, write_pair(*pair)) for pair in facts.items())
    info = write_bytes(1, reason.encode()) + write_bytes(2, b"nbgov") + pairs
    detail = pack(URL + "google.rpc.ErrorInfo", info)
    return write_number(1, code) + write_bytes(2, message.encode()) + write_bytes(3, detail)

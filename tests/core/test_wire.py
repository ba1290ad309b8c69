"""The codec of Flight SQL: equal to protobuf's own, and shut to everything that is no message."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core import wire
from nbgov.core.wire import (
    COMMAND_BYTES_MAX,
    FLIGHT_SQL,
    MESSAGES,
    WireError,
    decode,
    encode,
    error_details,
    flight_data,
    flight_info,
    last_bytes,
    read_command,
    read_fields,
    unpack,
    write_command,
)

PACKAGE = "arrow.flight.protocol.sql"
LABEL = descriptor_pb2.FieldDescriptorProto
TYPES = {
    "text": LABEL.TYPE_STRING,
    "texts": LABEL.TYPE_STRING,
    "bytes": LABEL.TYPE_BYTES,
    "bool": LABEL.TYPE_BOOL,
    "int": LABEL.TYPE_INT64,
    "numbers": LABEL.TYPE_UINT32,
}
REPEATED = {"texts", "numbers", "map"}


def described():
    """Protobuf's own classes for every message, in a pool that nobody else sees."""
    file = descriptor_pb2.FileDescriptorProto(
        name="nbgov_test_flight_sql.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            made = message.field.add(name=field.name, number=field.number)
            made.label = LABEL.LABEL_REPEATED if field.kind in REPEATED else LABEL.LABEL_OPTIONAL
            if field.kind == "map":
                entry = message.nested_type.add(name="OptionsEntry")
                entry.options.map_entry = True
                for number, part in enumerate(("key", "value"), 1):
                    entry.field.add(
                        name=part, number=number, type=LABEL.TYPE_STRING, label=LABEL.LABEL_OPTIONAL
                    )
                made.type = LABEL.TYPE_MESSAGE
                made.type_name = f".{PACKAGE}.{name}.OptionsEntry"
                continue
            made.type = TYPES[field.kind]
            if field.is_optional:
                made.proto3_optional = True
                made.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


CLASSES = described()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = {
    "text": TEXT,
    "texts": st.lists(TEXT, max_size=4).map(tuple),
    "bytes": st.binary(max_size=60),
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "numbers": st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple),
    "map": st.dictionaries(TEXT, TEXT, max_size=3),
}


@st.composite
def messages(draw):
    """Any message, as its name and its fields."""
    name = draw(st.sampled_from(sorted(MESSAGES)))
    values = {}
    for field in MESSAGES[name]:
        optional = st.none() if field.is_optional else st.just(wire.EMPTY[field.kind])
        values[field.name] = draw(optional | VALUES[field.kind])
    return name, values


def theirs(name, values):
    """The same message, made by protobuf."""
    made = CLASSES[name]()
    for field in MESSAGES[name]:
        value = values[field.name]
        if field.kind in {"texts", "numbers"}:
            getattr(made, field.name).extend(value)
        elif field.kind == "map":
            getattr(made, field.name).update(value)
        elif value is not None:
            setattr(made, field.name, value)
    return made


@given(messages())
def test_what_protobuf_writes_is_read(message):
    """Every message that protobuf writes reads as the fields that it was made of."""
    name, values = message
    packed = any_pb2.Any()
    packed.Pack(theirs(name, values))
    found = read_command(packed.SerializeToString())
    assert (found.name, dict(found.values)) == (name, values)


@given(messages())
def test_what_is_written_protobuf_reads(message):
    """Every message that is written here reads in protobuf as the fields that it was made of."""
    name, values = message
    packed = any_pb2.Any.FromString(write_command(name, **values))
    made = CLASSES[name]()
    assert packed.Unpack(made)
    assert made == theirs(name, values)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data):
    """Whatever bytes come, they are a command or a WireError."""
    with suppress(WireError):
        read_command(data)


@given(messages(), st.data())
def test_what_is_cut_off_is_never_read_past_its_end(message, data):
    """A message that was cut reads as fewer fields, or as none, and nothing behind it is touched."""
    name, values = message
    whole = encode(name, **values)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    with suppress(WireError):
        assert decode(name, cut).name == name


@given(messages(), st.integers(2000, 2**29 - 1), st.binary(max_size=20))
def test_fields_that_are_not_known_are_skipped(message, number, value):
    """A newer client may send fields that this one does not know."""
    name, values = message
    more = encode(name, **values) + wire.write_bytes(number, value) + wire.write_number(number, 7)
    assert dict(decode(name, more).values) == values


@pytest.mark.parametrize(
    "message",
    [
        b"\x80",
        b"\x08" + b"\xff" * 10 + b"\x01",
        b"\x00",
        b"\x0b",
        b"\x0a\x05ab",
        b"\x0d\x01\x02",
        b"\x09\x01",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
    ids=[
        "open-number",
        "long-number",
        "field-zero",
        "group",
        "short-bytes",
        "short-32",
        "short-64",
        "huge-length",
    ],
)
def test_each_broken_encoding_is_told(message):
    """Numbers that do not end, lengths past the end, groups and field 0 are no message."""
    with pytest.raises(WireError):
        list(read_fields(message))


def test_a_field_of_another_type_is_told():
    """A number where bytes belong, and text that is no UTF-8, are no message."""
    for message in (wire.write_number(1, 1), wire.write_bytes(1, b"\xff")):
        with pytest.raises(WireError):
            decode("CommandStatementQuery", message)
    with pytest.raises(WireError):
        decode("CommandGetTables", wire.write_bytes(5, b"x"))
    assert list(read_fields(b"\x0d\x01\x00\x00\x00\x09" + bytes(8)))


def test_a_command_has_a_size():
    """Commands of more than 4 MiB are not even looked at, and other types are none of Flight SQL."""
    with pytest.raises(WireError):
        unpack(bytes(COMMAND_BYTES_MAX + 1))
    for url in ("type.googleapis.com/other.Thing", FLIGHT_SQL + "Other"):
        with pytest.raises(WireError):
            read_command(wire.pack(url, b""))


def test_numbers_may_come_one_by_one():
    """A list of numbers reads the same, packed and not."""
    loose = wire.write_number(1, 500) + wire.write_number(1, 501)
    assert decode("CommandGetSqlInfo", loose)["info"] == (500, 501)


def test_flight_reads_what_is_sent():
    """Schema, rows and metadata of a FlightData stand in the fields that Flight has for them."""
    data = flight_data(b"head", [b"body", b"!"], b"meta")
    found = [last_bytes(data, number) for number in (2, 3, 1000)]
    assert found == [b"head", b"meta", b"body!"]
    assert flight_data(b"head", [b""]) == wire.write_bytes(2, b"head")
    assert flight_data(b"", (), b"meta") == wire.write_bytes(3, b"meta")
    info = flight_info(descriptor=b"d", ticket=b"t", schema=b"s")
    assert (last_bytes(info, 1), last_bytes(last_bytes(last_bytes(info, 3), 1), 1)) == (b"s", b"t")
    assert last_bytes(flight_info(descriptor=b"d", ticket=b"t"), 1) == b""


def test_error_details_are_those_of_google():
    """The details of an error are a google.rpc.Status around an ErrorInfo."""
    details = error_details(7, "what", "denied", {"sqlstate": "42501"})
    url, info = unpack(last_bytes(details, 3))
    assert url == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (last_bytes(info, 1), last_bytes(info, 2)) == (b"denied", b"nbgov")
    assert last_bytes(last_bytes(info, 3), 2) == b"42501"


def test_nothing_unknown_is_written():
    """A field that a message does not have is a mistake of ours."""
    with pytest.raises(AssertionError):
        encode("CommandGetCatalogs", catalog="x")


def test_mutated_messages_break_nothing():
    """200,000 messages with changed, added and lost bytes are commands or WireErrors, and no more."""
    chance = random.Random(8)
    bases = [
        write_command(
            name,
            **{field.name: VALUES_OF[field.kind] for field in fields},
        )
        for name, fields in MESSAGES.items()
    ]
    refused = 0
    for _ in range(200_000):
        data = bytearray(chance.choice(bases))
        for _ in range(chance.randint(1, 5)):
            place = chance.randrange(len(data) + 1)
            match chance.randrange(3):
                case 0 if place < len(data):
                    data[place] = chance.randrange(256)
                case 1:
                    data.insert(place, chance.randrange(256))
                case _:
                    del data[place:]
        try:
            read_command(bytes(data))
        except WireError:
            refused += 1
    assert 0 < refused < 200_000


VALUES_OF = {
    "text": "people",
    "texts": ("TABLE", "VIEW"),
    "bytes": b"\x00\x01handle",
    "bool": True,
    "int": -1,
    "numbers": (0, 500, 2**32 - 1),
    "map": {"a": "b"},
}

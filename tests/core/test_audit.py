"""The bytes of an entry of the audit log: the vectors of the specification, and every field."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.audit import (
    ENTRY_BYTES_MAX,
    GENESIS_DIGEST,
    decode,
    encode,
)
from nbgov.core.audit.entry import layout
from nbgov.core.audit.merkle import leaf_digest
from nbgov.errors import IntegrityFailed
from nbgov.model import Record, RecordKind
from tests.reference import audit_log_vectors

TESTS = Path(__file__).parents[1]
VECTORS = json.loads((TESTS / "vectors" / "audit-log.json").read_text(encoding="utf-8"))
ORIGIN = VECTORS["origin"]
AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
SEALED = f"{'5e' * 16}-20260102:{'A' * 22_000}"  # As long as what is sealed may get.
SURROGATES = st.text(st.characters(codec=None), max_size=8)


def record(kind=RecordKind.VOTE, at=AT, **fields):
    return Record(kind=kind, at=at, request="r", session="s", **fields)


def from_vector(fields):
    """The record behind the JSON of a vector."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    values["kind"] = RecordKind(values["kind"])
    values["at"] = datetime.fromisoformat(values["at"])
    return Record(**values)


def log_of(*records, origin="log"):
    """The lines of a log with these records."""
    lines, prev = [], GENESIS_DIGEST
    for index, one in enumerate(records):
        lines.append(encode(one, origin=origin, index=index, prev_digest=prev))
        prev = leaf_digest(lines[-1])
    return lines


def line_of(one):
    return encode(one, origin="log", index=0, prev_digest=GENESIS_DIGEST)


# ---- the specification's vectors


def test_the_vectors_are_what_the_reference_writes():
    """The committed vectors are what the reference writes today."""
    assert audit_log_vectors.VECTORS.read_text(encoding="utf-8") == audit_log_vectors.file_text()


def test_an_entry_has_the_bytes_of_its_vector():
    """Every vector's record encodes to the vector's bytes, and its digest is that of the bytes."""
    prev = GENESIS_DIGEST
    for index, vector in enumerate(VECTORS["entries"]):
        line = encode(from_vector(vector["record"]), origin=ORIGIN, index=index, prev_digest=prev)
        assert line == vector["line"].encode()
        prev = decode(line).digest
        assert prev.hex() == vector["digest"]


def test_a_record_comes_back_from_its_entry():
    """Decoding an entry gives the record that went in, and says where in which log it stands."""
    for index, vector in enumerate(VECTORS["entries"]):
        entry = decode(vector["line"].encode())
        assert entry.record == from_vector(vector["record"])
        assert (entry.origin, entry.index) == (ORIGIN, index)


@pytest.mark.parametrize("vector", VECTORS["shortened"], ids=lambda vector: vector["field"])
def test_a_field_that_is_too_long_is_named_by_its_digest(vector):
    """A record that does not fit an entry is shortened as its vector says."""
    name, parts = vector["field"], range(vector["parts"])
    value = {
        "statement": vector["part"] * vector["parts"],
        "columns": tuple(f"main.wide.column_{number:04}" for number in parts),
        "origin": {f"key {number:04}": "v" * 20 for number in parts},
        "entities": {f"ENTITY_{number:05}": 1 for number in parts},
    }[name]
    start = from_vector(VECTORS["entries"][0]["record"])
    plain = record(RecordKind.ATTEMPT, **{name: value})
    plain = replace(plain, request=start.request, session=start.session)
    assert encode(plain, origin=ORIGIN, index=0, prev_digest=GENESIS_DIGEST) == (
        vector["line"].encode()
    )
    assert decode(vector["line"].encode()).record.kind is RecordKind.ATTEMPT


# ---- what goes in


@dataclass(frozen=True, slots=True)
class WithSecret(Record):
    secret: str | None = field(default=None, metadata={"audit": "perhaps"})


@dataclass(frozen=True, slots=True)
class WithFraction(Record):
    share: float | None = field(default=None, metadata={"audit": "keep"})


@pytest.mark.parametrize("kind", [WithSecret, WithFraction])
def test_a_field_that_nobody_decided_on_is_refused(kind):
    """A field with an unknown declaration, or a type that the format lacks, cannot be kept."""
    with pytest.raises(RuntimeError, match="does not declare"):
        layout(kind)


def test_every_field_is_kept_as_declared():
    """Filling each optional field of a record adds just that field, in clear or as a digest."""
    samples = {
        "int": 3,
        "datetime": AT,
        "str": "text",
        "tuple[str, ...]": ("a", "b"),
        "Mapping[str, str]": {"a": "b"},
        "Mapping[str, int]": {"a": 1},
        "digest": "0f" * 32,
        "sealed": f"{'5e' * 16}-20260102:c2VhbGVk",
    }
    bare = json.loads(line_of(record(RecordKind.OUTCOME)))["record"].keys()
    for row in layout(Record):
        if not row.is_required:
            value = samples[row.shape]
            line = line_of(record(RecordKind.OUTCOME, **{row.name: value}))
            stored = json.loads(line)["record"]
            assert stored.keys() - bare == {row.name}
            assert getattr(decode(line).record, row.name) == value


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"statement_mac": "SELECT salary FROM people"}, "cannot be kept as digest"),
        ({"statement_mac": "0F" * 32}, "cannot be kept as digest"),
        ({"literals": "SELECT salary FROM people"}, "cannot be kept as sealed"),
        ({"rows_read": -1}, "cannot be kept as int"),
        ({"rows_read": True}, "cannot be kept as int"),
        ({"rows_read": 1.5}, "cannot be kept as int"),
        ({"tables": ("t", 1)}, "cannot be kept as tuple"),
        ({"entities": {"PERSON": "3"}}, "cannot be kept as Mapping"),
        ({"attempt": 0}, "names no attempt"),
        ({"at": datetime(2026, 1, 2)}, "aware"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(fields, problem):
    """A record that would make a malformed entry is refused before it is one."""
    with pytest.raises(RuntimeError, match=problem):
        line_of(replace(record(), **fields))


def test_an_interruption_names_its_attempt():
    """A record that interrupts nothing is refused."""
    with pytest.raises(RuntimeError, match="interrupts no attempt"):
        line_of(record(RecordKind.INTERRUPTED))


@pytest.mark.parametrize("origin", ["", "o" * 257])
def test_a_log_has_a_name_of_bounded_length(origin):
    """An origin is neither empty nor longer than the format takes."""
    with pytest.raises(RuntimeError, match="1 to 256 characters"):
        encode(record(), origin=origin, index=0, prev_digest=GENESIS_DIGEST)


def test_times_are_written_in_utc():
    """One moment in two zones is one text."""
    east = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert line_of(record(at=AT)) == line_of(record(at=east))


@given(SURROGATES, st.dictionaries(SURROGATES, SURROGATES, max_size=4))
def test_any_text_can_be_kept(text, mapping):
    """Whatever text a person types, the entry is canonical and reads back the same each time."""
    line = line_of(record(statement=text, origin=mapping, tables=(text,)))
    found = decode(line)
    assert line_of(found.record) == line
    assert found.digest == leaf_digest(line)


def test_a_surrogate_is_replaced():
    """UTF-8 cannot carry half a surrogate pair, so a question mark stands for it."""
    assert decode(line_of(record(statement="a\ud83d\ude00b"))).record.statement == "a??b"


@settings(max_examples=20)
@given(st.data())
def test_every_record_fits_an_entry(data):
    """However long all fields of a record are, the entry stays below 64 KiB and reads back."""
    long = st.sampled_from(["\0" * 3_000, "\U0001f600" * 5_000, "x" * 70_000, ""])
    values = {
        "str": long,
        "tuple[str, ...]": st.builds(lambda s, n: (s,) * n, long, st.sampled_from([0, 1, 4])),
        "Mapping[str, str]": st.builds(lambda s: {s: s, "": s}, long),
        "Mapping[str, int]": st.builds(lambda s: {s: 1, "y" * 70_000: 2}, long),
        "int": st.just(2**62),
        "digest": st.just("f" * 64),
        "sealed": st.just(SEALED),
        "RecordKind": st.just(RecordKind.INTERRUPTED),
        "datetime": st.just(AT),
    }
    full = Record(**{row.name: data.draw(values[row.shape], row.name) for row in layout(Record)})
    line = encode(full, origin="\0" * 256, index=2**63, prev_digest=GENESIS_DIGEST)
    assert len(line) <= ENTRY_BYTES_MAX
    assert decode(line).record.attempt == 2**62


def test_a_record_of_nothing_but_nuls_fits_an_entry():
    """The longest escapes in every field at once do not overflow an entry."""
    values = {
        "str": "\0" * 70_000,
        "tuple[str, ...]": ("\0",) * 70_000,
        "Mapping[str, str]": {"\0" * 70_000: "\0" * 70_000},
        "Mapping[str, int]": {"\0" * 70_000: 2**62},
        "int": 2**62,
        "digest": "f" * 64,
        "sealed": SEALED,
        "RecordKind": RecordKind.INTERRUPTED,
        "datetime": AT,
    }
    full = Record(**{row.name: values[row.shape] for row in layout(Record)})
    line = encode(full, origin="\0" * 256, index=2**63, prev_digest=b"\xff" * 32)
    whole = b'"' + rb"\u0000" * 70_000 + b'"'
    assert decode(line).record.principal.endswith(hashlib.sha256(whole).hexdigest())


def test_what_is_sealed_or_digested_is_never_shortened():
    """A part of either would be malformed, so another field gives way however short it is."""
    long = record(RecordKind.OUTCOME, literals=SEALED, binds_mac="0f" * 32, note="n" * 60_000)
    found = decode(line_of(long)).record
    assert (found.literals, found.binds_mac) == (long.literals, long.binds_mac)
    assert found.note.startswith("n" * 128 + "… 60002 bytes")


def test_fields_are_shortened_only_as_far_as_needed():
    """Of two long fields the longer one is cut, and the other stays whole if that is enough."""
    found = decode(line_of(record(statement="s" * 60_000, note="n" * 30_000))).record
    assert found.note == "n" * 30_000
    assert found.statement.startswith("s" * 128 + "… 60002 bytes, sha256 ")


# ---- what comes out


@pytest.mark.parametrize(
    "line",
    [b"[" * 60_000, b"9" * 60_000, b"\xff\xfe", b"", line_of(record(note="n"))[:-1] + b" }"],
    ids=["brackets", "digits", "not UTF-8", "nothing", "space"],
)
def test_hostile_lines_are_refused(line):
    """A line made to hurt the reader is no entry, and nothing worse happens."""
    with pytest.raises(IntegrityFailed, match="canonical") as caught:
        decode(line)
    assert caught.value.code == "audit-broken"


def test_a_line_that_is_too_long_is_no_entry():
    """An entry that says its length in more than two bytes is refused, whatever it holds."""
    line = line_of(record(note="n"))
    long = line.replace(b'"note":"n"', b'"note":"' + b"n" * 65_536 + b'"')
    with pytest.raises(IntegrityFailed, match="canonical"):
        decode(long)


@given(st.binary(max_size=60))
def test_any_bytes_can_be_read(line):
    """Bytes are an entry or an IntegrityFailed, never another error."""
    with pytest.raises(IntegrityFailed):
        decode(line)


def test_the_digest_is_that_of_the_stored_bytes():
    """An entry's digest is SHA-256 of a zero byte and what is stored."""
    line = line_of(record())
    assert decode(line).digest == hashlib.sha256(b"\0" + line).digest()


def test_an_entry_is_a_value():
    """Entries are frozen."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        decode(line_of(record())).index = 5

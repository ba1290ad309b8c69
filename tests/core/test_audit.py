"""The bytes of the audit log: the vectors of the specification, the invariants, and every flip."""

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
    interruptions,
    verify,
)
from nbgov.core.audit.chain import ATTEMPTS_OPEN_MAX
from nbgov.core.audit.entry import layout
from nbgov.errors import IntegrityFailed
from nbgov.model import Record, RecordKind
from tests.reference import audit_log_vectors

TESTS = Path(__file__).parents[1]
VECTORS = json.loads((TESTS / "vectors" / "audit-log.json").read_text(encoding="utf-8"))
ORIGIN = VECTORS["origin"]
AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
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
        prev = hashlib.sha256(lines[-1]).digest()
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


def test_a_log_that_adds_up_is_reported_as_such():
    """The report on the vectors counts what the vectors hold."""
    report = verify(vector["line"].encode() for vector in VECTORS["entries"])
    found = {name: getattr(report, name) for name in VECTORS["report"]}
    found |= {
        "open_attempts": list(report.open_attempts),
        "last_digest": report.last_digest.hex(),
    }
    assert found == VECTORS["report"]
    assert report.is_intact
    assert report.problem == ""


@pytest.mark.parametrize("vector", VECTORS["broken"], ids=lambda vector: vector["what"])
def test_a_log_that_does_not_add_up_is_found_out(vector):
    """The first entry that breaks an invariant is named, and what is before it is counted."""
    report = verify(line.encode() for line in vector["lines"])
    assert not report.is_intact
    assert report.problem_index == report.entries == vector["problem_index"]
    assert vector["problem"] in report.problem


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
    assert found.digest == hashlib.sha256(line).digest()


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
        "RecordKind": RecordKind.INTERRUPTED,
        "datetime": AT,
    }
    full = Record(**{row.name: values[row.shape] for row in layout(Record)})
    line = encode(full, origin="\0" * 256, index=2**63, prev_digest=b"\xff" * 32)
    whole = b'"' + rb"\u0000" * 70_000 + b'"'
    assert decode(line).record.principal.endswith(hashlib.sha256(whole).hexdigest())


def test_fields_are_shortened_only_as_far_as_needed():
    """Of two long fields the longer one is cut, and the other stays whole if that is enough."""
    found = decode(line_of(record(statement="s" * 60_000, note="n" * 30_000))).record
    assert found.note == "n" * 30_000
    assert found.statement.startswith("s" * 256 + "… 60002 bytes, sha256 ")


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


def a_busy_log():
    return log_of(
        record(RecordKind.ATTEMPT, statement="SELECT ?"),
        record(RecordKind.OUTCOME, attempt=0, status="ok", rows_read=9),
        record(RecordKind.ATTEMPT),
        record(RecordKind.INTERRUPTED, attempt=2),
    )


@given(st.data())
def test_any_flipped_bit_is_found(data):
    """A flipped bit anywhere breaks the log; in the last entry it may only change the digest."""
    lines = a_busy_log()
    intact = verify(lines)
    row = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[row]) - 1))
    flipped = bytearray(lines[row])
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    report = verify([*lines[:row], bytes(flipped), *lines[row + 1 :]])
    assert report.last_digest != intact.last_digest
    assert not report.is_intact or row == len(lines) - 1


@given(st.permutations(range(4)), st.integers(0, 4))
def test_entries_that_are_moved_or_missing_are_found(order, kept):
    """Any selection of entries that is not the beginning of the log breaks it."""
    lines = a_busy_log()
    chosen = order[:kept]
    report = verify(lines[index] for index in chosen)
    assert report.is_intact == (chosen == list(range(kept)))


def test_an_empty_log_adds_up():
    """A log without entries is intact, and its last digest is that before the first entry."""
    report = verify([])
    assert report.is_intact
    assert (report.entries, report.last_digest, report.origin) == (0, GENESIS_DIGEST, "")


def test_what_a_chain_cannot_show():
    """Cutting the end off, or chaining an edited log anew, goes unseen: receipts are for that."""
    lines = a_busy_log()
    assert verify(lines[:2]).is_intact
    rewritten = log_of(*(replace(decode(line).record, principal="eve") for line in lines))
    assert verify(rewritten).is_intact
    assert verify(rewritten).last_digest != verify(lines).last_digest


def test_reading_stops_at_the_first_problem():
    """Nothing behind a broken entry is read, because nothing ties it to what is before."""
    lines = iter([*a_busy_log()[:1], b"broken", b"never read"])
    assert verify(lines).problem_index == 1
    assert list(lines) == [b"never read"]


def test_memory_stays_bounded():
    """A log that leaves more attempts open than anybody has is reported, not remembered."""
    report = verify(log_of(*[record(RecordKind.ATTEMPT)] * (ATTEMPTS_OPEN_MAX + 1)))
    assert report.problem_index == len(report.open_attempts) == ATTEMPTS_OPEN_MAX
    assert "attempts are open at once" in report.problem


def test_outcomes_are_counted_by_status():
    """The report counts every outcome, also one without a status or an attempt."""
    statuses = ("ok", "denied", "denied", None)
    report = verify(log_of(*(record(RecordKind.OUTCOME, status=status) for status in statuses)))
    assert report.outcomes == {"denied": 2, "ok": 1, "unknown": 1}


# ---- interruptions


def test_only_open_attempts_of_dead_sessions_are_interrupted():
    """An attempt with an end, or of a session that lives, is left alone."""
    attempt = record(RecordKind.ATTEMPT, principal="ada", connection="ops")
    lines = log_of(
        replace(attempt, session="dead", request="one"),
        replace(attempt, session="alive"),
        replace(attempt, session="dead"),
        record(RecordKind.OUTCOME, attempt=2, status="ok"),
        record(RecordKind.OUTCOME, status="denied"),
    )
    later = AT + timedelta(hours=1)
    [found] = interruptions(lines, is_alive=lambda name: name == "alive", at=later)
    assert (found.kind, found.attempt, found.at) == (RecordKind.INTERRUPTED, 0, later)
    assert (found.session, found.request) == ("dead", "one")
    assert (found.principal, found.connection) == ("ada", "ops")


def test_interruptions_close_the_log():
    """After its interruptions are appended, a log has no open attempts and still adds up."""
    records = [record(RecordKind.ATTEMPT), record(), record(RecordKind.ATTEMPT)]
    found = interruptions(log_of(*records), is_alive=lambda _: False, at=AT)
    report = verify(log_of(*records, *found))
    assert (report.is_intact, report.interrupted, report.open_attempts) == (True, 2, ())


def test_interruptions_are_found_from_the_middle_of_a_log():
    """Ends whose attempts are further back do no harm."""
    lines = log_of(
        record(RecordKind.ATTEMPT),
        record(RecordKind.OUTCOME, attempt=0, status="ok"),
        record(RecordKind.ATTEMPT),
    )
    [found] = interruptions(lines[1:], is_alive=lambda _: False, at=AT)
    assert found.attempt == 2


def test_a_damaged_log_interrupts_nothing():
    """Lines that are no entries raise."""
    with pytest.raises(IntegrityFailed):
        interruptions([b"damage"], is_alive=lambda _: False, at=AT)


def test_the_digest_is_that_of_the_stored_bytes():
    """An entry's digest is SHA-256 of what is stored."""
    line = line_of(record())
    assert decode(line).digest == hashlib.sha256(line).digest()


def test_an_entry_is_a_value():
    """Entries and reports are frozen."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        decode(line_of(record())).index = 5

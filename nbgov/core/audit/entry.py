"""One entry of the audit log, to bytes and back: sections 1 to 4 of ``docs/spec/audit-log.md``.

Nothing here looks at a second entry; :mod:`nbgov.core.audit.chain` does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

from nbgov.core.audit.merkle import leaf_digest
from nbgov.errors import IntegrityFailed
from nbgov.model import Record, RecordKind

VERSION = 1
GENESIS_DIGEST = bytes(32)
ENTRY_BYTES_MAX = 65_535
ORIGIN_CHARS_MAX = 256
SHORTENED_CHARS_MAX = 128

MEMBERS = {"v": "int", "origin": "origin", "index": "int", "prev": "digest", "record": "object"}
HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
# The id of a key, and base64 of a nonce and what AES-GCM made under that key.
SEALED = re.compile(r"[0-9a-f]{32}-[0-9]{8}:[A-Za-z0-9+/]+={0,2}")
# Spec audit-log 2: sorted members, no white space, nothing escaped that need not be.
CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log, read back.

    Attributes:
        origin: Name of the log.
        index: Number of the entry.
        prev_digest: Digest of the entry before.
        record: What the entry states.
        digest: Digest of the stored bytes, which is that of a leaf of the Merkle tree.
    """

    origin: str
    index: int
    prev_digest: bytes
    record: Record
    digest: bytes


def encode(record: Record, *, origin: str, index: int, prev_digest: bytes) -> bytes:
    r"""The entry that states a record, in canonical bytes without a newline.

    A record that is too long for an entry is shortened; what is left out is named by its digest.

    Args:
        record: What to state.
        origin: Name of the log.
        index: Number of the entry.
        prev_digest: Digest of the entry before; :data:`GENESIS_DIGEST` for the first.

    Raises:
        RuntimeError: A field does not declare how the log keeps it, or breaks what it declares.

    Example:
        >>> at = datetime(2026, 1, 2, tzinfo=UTC)
        >>> record = Record(kind=RecordKind.REPAIR, at=at, request="", session="")
        >>> encode(record, origin="o", index=0, prev_digest=GENESIS_DIGEST)[:27]
        b'{"index":0,"origin":"o","pr'
    """
    if not 0 < len(origin) <= ORIGIN_CHARS_MAX:
        raise RuntimeError(f"The name of an audit log has 1 to {ORIGIN_CHARS_MAX} characters.")
    fields = write_record(record)
    entry = {
        "v": VERSION,
        "origin": origin,
        "index": index,
        "prev": prev_digest.hex(),
        "record": fields,
    }
    line = canonical(entry)
    if len(line) > ENTRY_BYTES_MAX:
        entry["record"] = shorten(fields, excess=len(line) - ENTRY_BYTES_MAX)
        line = canonical(entry)
    assert len(line) <= ENTRY_BYTES_MAX, "Shortened fields fit, however many there are."
    return line


def decode(line: bytes) -> Entry:
    """The entry behind stored bytes.

    Raises:
        IntegrityFailed: The bytes are no entry in canonical form (code ``audit-broken``).
    """
    try:
        entry = json.loads(line.decode())
        is_canonical = canonical(entry) == line and len(line) <= ENTRY_BYTES_MAX
    except (ValueError, RecursionError) as error:
        raise IntegrityFailed("The line is not JSON in canonical form.") from error
    if not is_canonical:
        raise IntegrityFailed("The line is not JSON in canonical form.")
    if not isinstance(entry, dict) or entry.keys() != MEMBERS.keys():
        raise IntegrityFailed("The line is not an audit entry.")
    if entry["v"] != VERSION:
        raise IntegrityFailed("The entry has a format version that this nbgov does not read.")
    if not all(SHAPES[shape](entry[member]) for member, shape in MEMBERS.items()):
        raise IntegrityFailed("The entry does not say where it belongs.")
    return Entry(
        origin=entry["origin"],
        index=entry["index"],
        prev_digest=bytes.fromhex(entry["prev"]),
        record=read_record(entry["record"]),
        digest=leaf_digest(line),
    )


# ---------------------------------------------------------------- one record


class Row(NamedTuple):
    """A field of a record: its name, how the log keeps it, and its shape in JSON."""

    name: str
    keeping: str
    shape: str
    is_required: bool


def layout(record_type: type[Record]) -> tuple[Row, ...]:
    """How the log keeps each field of a record, as the field itself declares.

    Raises:
        RuntimeError: A field declares nothing, or what the format does not know.
    """
    rows = []
    for field in dataclasses.fields(record_type):
        keeping = field.metadata.get("audit")
        written, _, absent = str(field.type).partition(" | ")
        if keeping not in {"keep", "digest", "seal", "omit"} or written not in SHAPES:
            raise RuntimeError(f"Record.{field.name} does not declare how the audit log keeps it.")
        shape = {"digest": "digest", "seal": "sealed"}.get(keeping, written)
        rows.append(Row(field.name, keeping, shape, is_required=not absent))
    return tuple(rows)


def write_record(record: Record) -> dict[str, Any]:
    """The fields of a record as JSON holds them."""
    fields = {}
    for row in ROWS:
        value = getattr(record, row.name)
        if value is not None and row.keeping != "omit":
            fields[row.name] = written = write(value)
            # Security: clear text that slips into a field for digests must not reach the log, and
            # one malformed entry would make the whole log unreadable for good.
            if not SHAPES[row.shape](written):
                raise RuntimeError(f"Record.{row.name} cannot be kept as {row.shape}.")
    if problem := misplaced_attempt(record):
        raise RuntimeError(problem)
    return fields


def write(value: Any) -> Any:
    """A field's value as JSON holds it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, datetime):
        return write_time(value)
    if isinstance(value, tuple):
        return [write(item) for item in value]
    if isinstance(value, Mapping):
        return {clean(key): write(item) for key, item in value.items()}
    return value


def read_record(fields: Any) -> Record:
    """The record behind a stored object, or :class:`IntegrityFailed`."""
    if fields.keys() - {row.name for row in ROWS if row.keeping != "omit"}:
        raise IntegrityFailed("The record has a field that this nbgov does not know.")
    values: dict[str, Any] = {}
    for row in ROWS:
        if row.name in fields:
            value = fields[row.name]
            if not SHAPES[row.shape](value):
                raise IntegrityFailed(f"The field {row.name} of the record is malformed.")
            values[row.name] = READERS[row.shape](value) if row.shape in READERS else value
        elif row.is_required:
            raise IntegrityFailed(f"The record lacks the field {row.name}.")
    record = Record(**values)
    if problem := misplaced_attempt(record):
        raise IntegrityFailed(problem)
    return record


def misplaced_attempt(record: Record) -> str:
    """What is wrong with the attempt that a record names or fails to name, or empty."""
    if record.kind is RecordKind.INTERRUPTED and record.attempt is None:
        return "The record interrupts no attempt."
    is_closing = record.kind in {RecordKind.OUTCOME, RecordKind.INTERRUPTED}
    return (
        "A record of this kind names no attempt."
        if record.attempt is not None and not is_closing
        else ""
    )


def shorten(fields: dict[str, Any], *, excess: int) -> dict[str, Any]:
    """The same fields, the longest ones shortened until ``excess`` bytes are saved."""
    # Spec audit-log 4: longest first, ties by name.
    sizes = {name: len(canonical(value)) for name, value in fields.items()}
    # A part of a digest, or of what is sealed, would be of no use and of no known shape.
    longest_first = iter(sorted(sizes.keys() & CUTTABLE, key=lambda name: (-sizes[name], name)))
    shortened = dict(fields)
    while excess > 0:
        name = next(longest_first)
        shortened[name] = cut(fields[name])
        excess -= sizes[name] - len(canonical(shortened[name]))
    return shortened


def cut(value: Any) -> Any:
    """The head of a long value and a mark that names the whole."""
    whole = canonical(value)
    mark = f"… {len(whole)} bytes, sha256 {hashlib.sha256(whole).hexdigest()}"
    if isinstance(value, str):
        return value[:SHORTENED_CHARS_MAX] + mark
    if isinstance(value, list):
        ends = accumulate(len(item) + 1 for item in value)
        return [
            *(v for v, end in zip(value, ends, strict=True) if end <= SHORTENED_CHARS_MAX),
            mark,
        ]
    return {mark: type(next(iter(value.values())))()}


# ---------------------------------------------------------------- JSON


def canonical(value: Any) -> bytes:
    """The one way to write a JSON value."""
    return CANONICAL.encode(value).encode()


def clean(text: str) -> str:
    """The text with ``?`` for each surrogate, which UTF-8 cannot carry."""
    return text.encode(errors="replace").decode()


def write_time(at: datetime) -> str:
    """A moment in UTC with six digits of fraction."""
    if at.utcoffset() is None:
        raise RuntimeError("A record carries an aware time.")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def is_time(value: Any) -> bool:
    """Whether JSON holds a moment as :func:`write_time` writes it."""
    try:
        return str(value).endswith("Z") and write_time(datetime.fromisoformat(value)) == value
    except (TypeError, ValueError):
        return False


def is_count(value: Any) -> bool:
    """Whether JSON holds a number that counts something; ``true`` is none."""
    return type(value) is int and value >= 0


def is_text(value: Any) -> bool:
    """Whether JSON holds a text."""
    return isinstance(value, str)


def holds(container: type, is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A test whether JSON holds such a container of such items."""

    def is_shaped(value: Any) -> bool:
        items = value.values() if isinstance(value, dict) else value
        return isinstance(value, container) and all(map(is_item, items))

    return is_shaped


KINDS = frozenset(RecordKind)
# How each type of field looks in JSON, and how it is read from there if not as it is.
SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "RecordKind": lambda value: is_text(value) and value in KINDS,
    "datetime": is_time,
    "digest": lambda value: is_text(value) and HEX_DIGEST.fullmatch(value) is not None,
    "int": is_count,
    "object": lambda value: isinstance(value, dict),
    "origin": lambda value: is_text(value) and 0 < len(value) <= ORIGIN_CHARS_MAX,
    "sealed": lambda value: is_text(value) and SEALED.fullmatch(value) is not None,
    "str": is_text,
    "tuple[str, ...]": holds(list, is_text),
    "Mapping[str, str]": holds(dict, is_text),
    "Mapping[str, int]": holds(dict, is_count),
}
UNCUT = {"RecordKind", "datetime", "int"}
READERS: Mapping[str, Callable[[Any], Any]] = {
    "RecordKind": RecordKind,
    "datetime": datetime.fromisoformat,
    "tuple[str, ...]": tuple,
}
ROWS = layout(Record)
CUTTABLE = {row.name for row in ROWS if row.keeping == "keep" and row.shape not in UNCUT}

"""What a verifier needs of an entry, read at places that the canonical form fixes.

Decoding a line of JSON takes ten times as long as hashing it. In canonical bytes the fields stand
in one order, and no text can imitate a name of a field: within a text, a quotation mark follows a
backslash, never a comma. So a few searches find what the invariants are about. :func:`glance` gives
up where it is not sure, and :func:`facts_of` says the same of a record that was decoded. Section 10
of ``docs/spec/audit-log.md`` says what is not looked at this way.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from nbgov.core.audit.entry import ENTRY_BYTES_MAX, write_time
from nbgov.model import Record, RecordKind

# The time, the kind, the attempt that it closes, and of an outcome the status, never empty.
Facts: TypeAlias = tuple[bytes, bytes, int | None, bytes]

UNKNOWN = b"unknown"
END = b'},"v":1}'
KIND, HEADS, SESSION, STATUS = b',"kind":"', b',"heads":{', b',"session":"', b',"status":"'
ROTATION = b'"verb":"ROTATE"'
MOMENT = re.compile(
    rb',"at":"([0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])'
    rb'T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z)"'
    rb'(?:,"attempt":(0|[1-9][0-9]{0,18})(?=,)|(?!,"attempt"))'
)
CLOSING = frozenset({b"interrupted"})
OPENING = frozenset(kind.encode() for kind in RecordKind) - CLOSING - {b"outcome"}


def glance(line: bytes, start: int) -> Facts | None:
    """The facts of an entry in canonical bytes; ``None`` where only decoding can tell.

    Args:
        line: The stored bytes.
        start: Where the fields of the record begin.
    """
    # The time comes before every field whose names are free, so the first such name is its own.
    moment = MOMENT.match(line, line.find(b',"at":"', start))
    if moment is None or len(line) > ENTRY_BYTES_MAX or not line.endswith(END):
        return None
    at, attempt = moment.groups()
    name = line.find(KIND, moment.end())
    # Security: the names in `heads` are free and stand before `kind`, so one of them can be it.
    if name < 0 or line.find(HEADS, moment.end(), name) >= 0:
        return None
    kind = line[name + len(KIND) : line.find(b'"', name + len(KIND))]
    closes = None if attempt is None else int(attempt)
    if kind == b"outcome":
        status = status_of(line)
        return None if b"\\" in status else (at, kind, closes, status)
    if kind not in (OPENING if closes is None else CLOSING):
        return None
    return at, kind, closes, b""


def status_of(line: bytes) -> bytes:
    """The status of an outcome in canonical bytes, as it is written there."""
    # `session` is in every record, and behind its last name stand no names that are free.
    name = line.find(STATUS, line.rfind(SESSION))
    begin = name + len(STATUS)
    return (line[begin : line.find(b'"', begin)] if name >= 0 else b"") or UNKNOWN


def facts_of(record: Record) -> Facts:
    """The facts of a record."""
    status = b""
    if record.kind is RecordKind.OUTCOME:
        status = (record.status or "").encode() or UNKNOWN
    return write_time(record.at).encode(), record.kind.encode(), record.attempt, status

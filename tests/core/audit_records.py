"""Records of every kind with every field, drawn for the tests of what is made of the audit log."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from hypothesis import strategies as st

from nbgov.model import Record, RecordKind

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SEALED = "0" * 32 + "-20261123:c2VhbGVk"
TEXT = st.text(max_size=6)
FIELDS = {
    "str": TEXT,
    "int": st.integers(0, 2**40),
    "tuple[str, ...]": st.lists(TEXT, max_size=2).map(tuple),
    "Mapping[str, str]": st.dictionaries(TEXT, TEXT, max_size=2),
    "Mapping[str, int]": st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
    "datetime": st.just(AT),
}
SPECIAL = {
    "verb": st.sampled_from(
        ["SELECT", "GRANT", "OPEN", "CLOSE", "POLICY", "EXPORT", "ROTATE", "UNSEAL", "X", ""]
    ),
    "status": st.sampled_from(["ok", "denied", "pending", "error", "begun", "leaks", "odd"]),
    "decision": st.sampled_from(["permit", "deny"]),
    "effects": st.sampled_from([("read",), ("write",), ("read", "write"), ("unknown",), ()]),
    "note": st.sampled_from(["approve", "refuse", "cancel"]),
    "statement_mac": st.just("0" * 64),
    "binds_mac": st.just("1" * 64),
    "literals": st.just(SEALED),
}


@st.composite
def drawn_records(draw):
    """A record of any kind with any of its fields."""
    kind = draw(st.sampled_from(sorted(RecordKind)))
    fields = {}
    for field in dataclasses.fields(Record)[3:]:
        written, _, absent = str(field.type).partition(" | ")
        if field.name != "attempt" and (not absent or draw(st.booleans())):
            fields[field.name] = draw(SPECIAL.get(field.name, FIELDS[written]))
    if kind is RecordKind.INTERRUPTED:
        fields["attempt"] = 0
    return Record(kind=kind, at=AT, request=draw(st.sampled_from("ab")), **fields)

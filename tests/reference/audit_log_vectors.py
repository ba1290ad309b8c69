"""Write ``tests/vectors/audit-log.json`` from the words of ``docs/spec/audit-log.md`` alone.

Run it as ``python tests/reference/audit_log_vectors.py``. It shares no code with nbgov, and writes
JSON entries by hand. A vector never changes: the logs that people keep hold these bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "vectors" / "audit-log.json"
ORIGIN = "nbgov-vectors"
GENESIS = "0" * 64
NAMED_ESCAPES = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}


# ---- sections 1 and 2: bytes


def text(value):
    return '"' + "".join(map(character, value)) + '"'


def character(one):
    if one in NAMED_ESCAPES:
        return "\\" + NAMED_ESCAPES[one]
    if ord(one) < 0x20:
        return f"\\u{ord(one):04x}"
    return "?" if 0xD800 <= ord(one) <= 0xDFFF else one


def written(value):
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return "{" + ",".join(f"{text(key)}:{written(value[key])}" for key in sorted(value)) + "}"


def digest(line):
    return hashlib.sha256(line.encode()).hexdigest()


def entry(record, index=0, prev=GENESIS, origin=ORIGIN):
    return (
        f'{{"index":{index},"origin":{text(origin)},"prev":"{prev}",'
        f'"record":{written(record)},"v":1}}'
    )


def chain(records):
    lines, prev = [], GENESIS
    for index, record in enumerate(records):
        lines.append(entry(record, index, prev))
        prev = digest(lines[-1])
    return lines


# ---- section 3: records


def record(kind, at="03:04:05.000006", **fields):
    return {
        "kind": kind,
        "at": f"2026-01-02T{at}Z",
        "request": "5f",
        "session": "s1",
        "mode": "embedded",
        "assurance": "advisory",
        **fields,
    }


ATTEMPT = record(
    "attempt",
    principal="ada@acme.test",
    account="ada",
    origin={"surface": "magic", "cell": "7"},
    connection="warehouse",
    dialect="duckdb",
    verb="SELECT",
    effects=["read"],
    statement="SELECT ? FROM flights WHERE month = :m",
    statement_mac="0f" * 32,
    binds_mac="a1" * 32,
    tables=["main.flights"],
    columns=["main.flights.month"],
    decision="permit",
    rules=["analysts-read"],
    obligations=["at most 100000 rows"],
    policy="3f9c",
)
OUTCOME = record(
    "outcome",
    "03:04:06.500000",
    attempt=0,
    status="ok",
    rows_read=12,
    masked=["email: redact"],
    entities={"PERSON": 3, "EMAIL_ADDRESS": 1},
    version="ab",
    content="cd",
)
STRANGE = 'quote " backslash \\ tab \t line \n bell \x07 del \x7f é 漢 😀 \u2028'
DENIAL = record("outcome", "03:04:06.500000", status="denied", rules=[], statement=STRANGE)
VOTE = record("vote", "03:04:08.000000", ticket="t1", voters=["grace@acme.test"], note="approve")
INTERRUPTION = record("interrupted", "03:05:00.000000", request="60", attempt=3)
REPAIR = record("repair", "03:05:01.000000", request="", session="", note="cut 7 bytes")
RECORDS = [
    ATTEMPT,
    OUTCOME,
    DENIAL,
    record("attempt", "03:04:07.000000", request="60"),
    VOTE,
    INTERRUPTION,
    REPAIR,
    record("attempt", "03:06:00.000000", request="61"),
]
REPORT = {
    "origin": ORIGIN,
    "entries": len(RECORDS),
    "outcomes": {"denied": 1, "ok": 1},
    "interrupted": 1,
    "repairs": 1,
    "open_attempts": [7],
    "last_digest": digest(chain(RECORDS)[-1]),
}


# ---- section 4: records that are too long


def mark(value):
    whole = written(value)
    return f"… {len(whole.encode())} bytes, sha256 {digest(whole)}"


def head(items):
    sums = [sum(len(one) + 1 for one in items[: count + 1]) for count in range(len(items))]
    return [one for one, end in zip(items, sums, strict=True) if end <= 256]


def shortened():
    statement = "ü" * 40_000
    columns = [f"main.wide.column_{number:04}" for number in range(3_000)]
    origin = {f"key {number:04}": "v" * 20 for number in range(3_000)}
    entities = dict.fromkeys((f"ENTITY_{number:05}" for number in range(4_000)), 1)
    for field, value, stored in (
        ("statement", statement, statement[:256] + mark(statement)),
        ("columns", columns, [*head(columns), mark(columns)]),
        ("origin", origin, {mark(origin): ""}),
        ("entities", entities, {mark(entities): 0}),
    ):
        assert len(entry(record("attempt", **{field: value})).encode()) > 65_535
        # The record is too long to repeat; a test makes it of the part and the number of parts.
        part = value[0] if isinstance(value, str) else field
        line = entry(record("attempt", **{field: stored}))
        yield {"field": field, "part": part, "parts": len(value), "line": line}


# ---- section 5: logs that do not verify


def malformed():
    """A first line that is no entry, and a part of the sentence that says so."""
    line = entry(ATTEMPT)
    yield "white space between tokens", line.replace(":", ": ", 1), "canonical"
    yield "members out of order", '{"v":1,' + line[1:].replace(',"v":1', ""), "canonical"
    yield "a member twice", '{"index":0,' + line[1:], "canonical"
    yield "a needless escape", line.replace('"read"', '"re\\u0061d"'), "canonical"
    yield "half a surrogate pair", line.replace('"read"', '"\\ud83d"'), "canonical"
    yield "a torn line", line[:-1], "canonical"
    yield "nothing", "", "canonical"
    yield "no object", "[]", "not an audit entry"
    yield "a member too many", line[:-1] + ',"w":1}', "not an audit entry"
    yield "another version", line[:-2] + "2}", "version"
    yield "true for a version", line[:-2] + "true}", "where it belongs"
    yield "a number for an origin", line.replace(f'"{ORIGIN}"', "1"), "where it belongs"
    yield "an empty origin", line.replace(ORIGIN, ""), "where it belongs"
    yield "an endless origin", line.replace(ORIGIN, "o" * 257), "where it belongs"
    yield "a short prev", line.replace(GENESIS, GENESIS[1:]), "where it belongs"
    yield "a negative index", line.replace('"index":0', '"index":-1'), "where it belongs"
    yield "a record that is a list", entry(["attempt"]), "where it belongs"
    yield "a prev before the first", entry(ATTEMPT, prev="1" * 64), "does not follow"


def misshapen():
    """A record that cannot be, and a part of the sentence that says so."""
    yield "an unknown field", {**VOTE, "colour": "red"}, "does not know"
    yield "a missing field", {k: v for k, v in VOTE.items() if k != "mode"}, "lacks the field mode"
    yield "an unknown kind", {**VOTE, "kind": "party"}, "field kind"
    yield "a kind that is a list", {**VOTE, "kind": ["vote"]}, "field kind"
    yield "no fraction of a second", {**VOTE, "at": "2026-01-02T03:04:05Z"}, "field at"
    yield "another zone", {**VOTE, "at": "2026-01-02T03:04:05.000000+00:00"}, "field at"
    yield "a thirteenth month", {**VOTE, "at": "2026-13-02T03:04:05.000000Z"}, "field at"
    yield "a number for a time", {**VOTE, "at": 5}, "field at"
    yield "a number for a text", {**VOTE, "verb": 7}, "field verb"
    yield "a text for a number", {**VOTE, "rows_read": "12"}, "field rows_read"
    yield "less than nothing", {**VOTE, "rows_read": -1}, "field rows_read"
    yield "a text for a list", {**VOTE, "tables": "t"}, "field tables"
    yield "a number in a list of texts", {**VOTE, "tables": ["t", 1]}, "field tables"
    yield "a list for a mapping", {**VOTE, "origin": ["magic"]}, "field origin"
    yield "a text among numbers", {**VOTE, "entities": {"PERSON": "3"}}, "field entities"
    yield "clear text for a digest", {**VOTE, "statement_mac": "SELECT 1"}, "field statement_mac"
    yield "an upper-case digest", {**VOTE, "binds_mac": "0F" * 32}, "field binds_mac"
    yield "an interruption of nothing", record("interrupted"), "interrupts no attempt"
    yield "a vote on an attempt", {**VOTE, "attempt": 0}, "names no attempt"
    yield "an attempt at an attempt", {**ATTEMPT, "attempt": 0}, "names no attempt"


def unchained():
    """Whole logs, the index that breaks them, and a part of the sentence that says so."""
    lines = chain(RECORDS)
    edited = lines[0].replace('"account":"ada"', '"account":"eve"')
    yield "an edited entry", [edited, *lines[1:]], 1, "does not follow"
    yield "a removed entry", lines[:2] + lines[3:], 2, "its index is 3"
    yield "a repeated entry", [*lines[:2], *lines[1:]], 2, "its index is 1"
    yield "swapped entries", [lines[0], lines[2], lines[1], *lines[3:]], 1, "its index is 2"
    foreign = entry(OUTCOME, 1, digest(lines[0]), "other")
    yield "an entry of another log", [lines[0], foreign], 1, "another log"
    earlier = {**OUTCOME, "at": "2026-01-02T03:04:05.000005Z"}
    yield "a clock that ran backwards", chain([ATTEMPT, earlier]), 1, "older"
    yield "two outcomes", chain([ATTEMPT, OUTCOME, OUTCOME]), 2, "no open attempt"
    yield "an outcome of nothing", chain([OUTCOME]), 0, "no open attempt"
    late = {**INTERRUPTION, "attempt": 0}
    yield "an end after the end", chain([ATTEMPT, OUTCOME, late]), 2, "no open attempt"


def broken():
    for what, line, problem in malformed():
        yield {"what": what, "lines": [line], "problem_index": 0, "problem": problem}
    for what, fields, problem in misshapen():
        yield {"what": what, "lines": chain([fields]), "problem_index": 0, "problem": problem}
    for what, lines, index, problem in unchained():
        yield {"what": what, "lines": lines, "problem_index": index, "problem": problem}


def vectors():
    return {
        "spec": "docs/spec/audit-log.md, version 1",
        "origin": ORIGIN,
        "entries": [
            {"record": one, "line": line, "digest": digest(line)}
            for one, line in zip(RECORDS, chain(RECORDS), strict=True)
        ],
        "report": REPORT,
        "shortened": list(shortened()),
        "broken": list(broken()),
    }


def file_text():
    return json.dumps(vectors(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    VECTORS.write_text(file_text(), encoding="utf-8")

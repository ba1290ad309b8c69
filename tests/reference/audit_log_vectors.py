"""Write ``tests/vectors/audit-log.json`` from the words of ``docs/spec/audit-log.md`` alone.

Run it as ``python tests/reference/audit_log_vectors.py``. It shares no code with nbgov, and writes
JSON entries, the tree and Ed25519 by hand. A vector never changes: the logs that people keep hold
these bytes.
"""

from __future__ import annotations

import base64
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


def sha256(data):
    return hashlib.sha256(data).digest()


def digest(line):
    return sha256(b"\0" + line.encode()).hex()


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
    via="os-account",
    groups=["analysts"],
    roles=["reader"],
    origin={"surface": "magic", "cell": "7"},
    connection="warehouse",
    database_user="nbgov_reader",
    dialect="duckdb",
    verb="SELECT",
    effects=["read"],
    statement="SELECT ? FROM flights WHERE month = :m",
    statement_mac="0f" * 32,
    binds_mac="a1" * 32,
    literals=f"{'5e' * 16}-20260102:c2VhbGVk",
    tables=["main.flights"],
    columns=["main.flights.month"],
    decision="permit",
    reason="analysts may read flights",
    rules=["analysts-read"],
    obligations=["at most 100000 rows"],
    policy="3f9c",
    run="e1d2",
    ticks=81_000,
)
OUTCOME = record(
    "outcome",
    "03:04:06.500000",
    attempt=0,
    status="ok",
    rows_read=12,
    bytes_read=4_096,
    batches=1,
    masked=["email: redact"],
    entities={"PERSON": 3, "EMAIL_ADDRESS": 1},
    version="ab",
    content="cd",
    schema="ef",
)
STRANGE = 'quote " backslash \\ tab \t line \n bell \x07 del \x7f é 漢 😀 \u2028'
DENIAL = record("outcome", "03:04:06.500000", status="denied", rules=[], statement=STRANGE)
VOTE = record("vote", "03:04:08.000000", ticket="t1", voters=["grace@acme.test"], note="approve")
INTERRUPTION = record("interrupted", "03:05:00.000000", request="60", attempt=3)
REPAIR = record("repair", "03:05:01.000000", request="", session="", note="cut 7 bytes")
FAILURE = record(
    "outcome", "03:05:02.000000", request="62", status="error", code="refused-by-database",
    sqlstate="42501",
)  # fmt: skip
ROTATION = record(
    "admin", "03:05:03.000000", request="", verb="ROTATE",
    note="nbgov-vectors+7a0c6b6e+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
)  # fmt: skip
CATALOG = record(
    "catalog", "03:05:04.000000", request="", connection="warehouse", tables=["main.flights"],
    changes=["main.flights: column delay was added"], version="2",
)  # fmt: skip
# The names in a mapping are free, and these look like fields.
HEADS = record(
    "heads", "03:05:05.000000", request="", session="",
    heads={"gateway-1": "7 AAAA", "kind": "attempt", "status": "ok", "attempt": "0", "at": "now"},
)  # fmt: skip
RECORDS = [
    ATTEMPT,
    OUTCOME,
    DENIAL,
    record("attempt", "03:04:07.000000", request="60"),
    VOTE,
    INTERRUPTION,
    REPAIR,
    FAILURE,
    ROTATION,
    CATALOG,
    HEADS,
    record("attempt", "03:06:00.000000", request="61"),
]
REPORT = {
    "origin": ORIGIN,
    "entries": len(RECORDS),
    "outcomes": {"denied": 1, "error": 1, "ok": 1},
    "interrupted": 1,
    "repairs": 1,
    "open_attempts": [11],
    "rotations": {"8": ROTATION["note"]},
    "last_digest": digest(chain(RECORDS)[-1]),
}


# ---- section 4: records that are too long


def mark(value):
    whole = written(value).encode()
    return f"… {len(whole)} bytes, sha256 {sha256(whole).hex()}"


def head(items):
    sums = [sum(len(one) + 1 for one in items[: count + 1]) for count in range(len(items))]
    return [one for one, end in zip(items, sums, strict=True) if end <= 128]


def shortened():
    statement = "ü" * 40_000
    columns = [f"main.wide.column_{number:04}" for number in range(3_000)]
    origin = {f"key {number:04}": "v" * 20 for number in range(3_000)}
    entities = dict.fromkeys((f"ENTITY_{number:05}" for number in range(4_000)), 1)
    for field, value, stored in (
        ("statement", statement, statement[:128] + mark(statement)),
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


# ---- section 6: the tree, as RFC 6962 defines it


def root(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    half = middle(len(leaves))
    return sha256(b"\1" + root(leaves[:half]) + root(leaves[half:]))


def middle(count):
    power = 1
    while 2 * power < count:
        power *= 2
    return power


def inclusion(index, leaves):
    if len(leaves) == 1:
        return []
    half = middle(len(leaves))
    if index < half:
        return [*inclusion(index, leaves[:half]), root(leaves[half:])]
    return [*inclusion(index - half, leaves[half:]), root(leaves[:half])]


def consistency(old, leaves, *, is_whole=True):
    if old == len(leaves):
        return [] if is_whole else [root(leaves)]
    half = middle(len(leaves))
    if old <= half:
        return [*consistency(old, leaves[:half], is_whole=is_whole), root(leaves[half:])]
    return [*consistency(old - half, leaves[half:], is_whole=False), root(leaves[:half])]


def hexes(digests):
    return [one.hex() for one in digests]


def tree():
    leaves = [bytes.fromhex(digest(line)) for line in chain(RECORDS)]
    sizes = range(len(leaves) + 1)
    return {
        "roots": [root(leaves[:size]).hex() for size in sizes],
        "inclusion": [
            {"index": index, "size": size, "path": hexes(inclusion(index, leaves[:size]))}
            for size in sizes
            for index in range(size)
        ],
        "consistency": [
            {"old": old, "new": new, "path": hexes(consistency(old, leaves[:new]))}
            for new in sizes
            for old in range(1, new + 1)
        ],
    }


# ---- section 6: signed notes, with Ed25519 as RFC 8032 defines it

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202


def added(one, other):
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - k, -1, P)
    return x % P, y % P


def times(number):
    total, doubled = (0, 1), (BASE_X, BASE_Y)
    while number:
        if number & 1:
            total = added(total, doubled)
        doubled = added(doubled, doubled)
        number >>= 1
    x, y = total
    return (y | (x & 1) << 255).to_bytes(32, "little")


def secrets(seed):
    hashed = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(hashed[:32], "little") & (2**255 - 8) & ~(2**255) | 2**254
    return scalar % 2**255, hashed[32:]


def public(seed):
    return times(secrets(seed)[0])


def number_of(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def signature(seed, data):
    scalar, prefix = secrets(seed)
    nonce = number_of(prefix, data)
    point = times(nonce)
    proof = (nonce + number_of(point, public(seed), data) * scalar) % ORDER
    return point + proof.to_bytes(32, "little")


def base(data):
    return base64.b64encode(data).decode()


def key_id(name, algorithm, key):
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + key)[:4]


def vkey(name, algorithm, seed):
    key = public(seed)
    return f"{name}+{key_id(name, algorithm, key).hex()}+{base(bytes([algorithm]) + key)}"


SEED, WITNESS_SEED, WITNESS, SECONDS = bytes(range(32)), bytes(32), "witness.example/w1", 1767323045


def checkpoint():
    lines = chain(RECORDS)
    found = root([bytes.fromhex(digest(line)) for line in lines])
    return f"{ORIGIN}\n{len(lines)}\n{base(found)}\n"


def signed():
    body = checkpoint()
    value = key_id(ORIGIN, 1, public(SEED)) + signature(SEED, body.encode())
    return f"{body}\n— {ORIGIN} {base(value)}\n"


def cosigned():
    covered = f"cosignature/v1\ntime {SECONDS}\n{checkpoint()}".encode()
    value = SECONDS.to_bytes(8, "big") + signature(WITNESS_SEED, covered)
    return f"{signed()}— {WITNESS} {base(key_id(WITNESS, 4, public(WITNESS_SEED)) + value)}\n"


def notes():
    return {
        "seed": SEED.hex(),
        "key": vkey(ORIGIN, 1, SEED),
        "checkpoint": signed(),
        "witness_seed": WITNESS_SEED.hex(),
        "witness": vkey(WITNESS, 4, WITNESS_SEED),
        "seconds": SECONDS,
        "cosigned": cosigned(),
    }


# ---- section 6: a proof


def proof(index):
    lines = chain(RECORDS)
    path = inclusion(index, [bytes.fromhex(digest(line)) for line in lines])
    head = ["c2sp.org/tlog-proof@v1", f"extra {base(lines[index].encode())}", f"index {index}"]
    return {"index": index, "text": "\n".join([*head, *map(base, path), "", signed()])}


def vectors():
    return {
        "spec": "docs/spec/audit-log.md, version 1",
        "origin": ORIGIN,
        "entries": [
            {"record": one, "line": line, "digest": digest(line)}
            for one, line in zip(RECORDS, chain(RECORDS), strict=True)
        ],
        "report": REPORT,
        "receipt": f"{ORIGIN}/1#{digest(chain(RECORDS)[1])}",
        "tree": tree(),
        "notes": notes(),
        "proof": proof(2),
        "shortened": list(shortened()),
        "broken": list(broken()),
    }


def file_text():
    return json.dumps(vectors(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    VECTORS.write_text(file_text(), encoding="utf-8")

"""Whether a log adds up: the vectors, the invariants, every flip, and the reader that only looks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbgov.core.audit import (
    ENTRY_BYTES_MAX,
    GENESIS_DIGEST,
    decode,
    encode,
    interruptions,
    verify,
)
from nbgov.core.audit.chain import ATTEMPTS_OPEN_MAX, ROTATIONS_MAX, STATUSES_MAX
from nbgov.core.audit.glance import facts_of, glance
from nbgov.core.audit.merkle import EMPTY_ROOT, Frontier, leaf_digest
from nbgov.errors import IntegrityFailed
from nbgov.model import Record, RecordKind
from tests.core.test_audit import AT, VECTORS, line_of, log_of, record

LINES = [vector["line"].encode() for vector in VECTORS["entries"]]
DEPTHS = pytest.mark.parametrize("is_deep", [False, True], ids=["glance", "deep"])


# ---- the specification's vectors


@DEPTHS
def test_a_log_that_adds_up_is_reported_as_such(is_deep):
    """The report on the vectors counts what the vectors hold."""
    report = verify(LINES, is_deep=is_deep)
    found = {name: getattr(report, name) for name in VECTORS["report"]}
    found |= {
        "open_attempts": list(report.open_attempts),
        "rotations": {str(index): key for index, key in report.rotations.items()},
        "last_digest": report.last_digest.hex(),
    }
    assert found == VECTORS["report"]
    assert report.is_intact
    assert report.problem == ""
    assert report.root.hex() == VECTORS["tree"]["roots"][-1]


@DEPTHS
@pytest.mark.parametrize("vector", VECTORS["broken"], ids=lambda vector: vector["what"])
def test_a_log_that_does_not_add_up_is_found_out(vector, is_deep):
    """The first entry that breaks an invariant is named, and what is before it is counted."""
    report = verify((line.encode() for line in vector["lines"]), is_deep=is_deep)
    assert not report.is_intact
    assert report.problem_index == report.entries == vector["problem_index"]
    assert vector["problem"] in report.problem


# ---- invariants


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


# ---- the tree, and what is asked for


def test_roots_and_digests_come_as_asked():
    """One pass gives the root at every size and the digest of every entry that is asked for."""
    count = len(LINES)
    report = verify(LINES, sizes=range(count + 9), indexes=range(count + 9))
    assert [report.roots[size].hex() for size in range(count + 1)] == VECTORS["tree"]["roots"]
    assert report.digests == dict(enumerate(map(leaf_digest, LINES)))
    assert max(report.roots) == count


def test_a_long_log_has_the_root_of_its_tree():
    """The root is right beyond the entries that are brought into the tree at once."""
    lines = log_of(*[record()] * 2_500)
    tree = Frontier()
    for line in lines:
        list(tree.add(leaf_digest(line)))
    report = verify(lines, sizes=[1_500])
    assert report.root == tree.root()
    assert report.roots == {1_500: verify(lines[:1_500]).root}
    assert verify([], sizes=[0]).roots == {0: verify([]).root} == {0: EMPTY_ROOT}


def test_only_rotations_name_keys():
    """Another record that says the word in a mapping or with another verb names no key."""
    rotation = record(RecordKind.ADMIN, verb="ROTATE", note="a key")
    lure = record(RecordKind.ADMIN, verb="OPEN", origin={"verb": "ROTATE"}, note="no key")
    bare = record(RecordKind.ADMIN, verb="ROTATE")
    report = verify(log_of(lure, rotation, record(verb="ROTATE"), bare))
    assert report.rotations == {1: "a key", 3: ""}
    assert sorted(report.roots) == [2, 4]


def test_statuses_and_keys_stay_bounded(monkeypatch):
    """A log that makes up statuses is counted roughly, one that makes up keys is broken."""
    outcomes = [
        record(RecordKind.OUTCOME, status=str(number)) for number in range(STATUSES_MAX + 9)
    ]
    report = verify(log_of(*outcomes))
    assert (len(report.outcomes), report.outcomes["other"]) == (STATUSES_MAX + 1, 9)
    monkeypatch.setattr("nbgov.core.audit.chain.ROTATIONS_MAX", 2)
    assert ROTATIONS_MAX > 2
    report = verify(log_of(*[record(RecordKind.ADMIN, verb="ROTATE")] * 3))
    assert (report.problem_index, report.problem) == (2, "There are more than 2 keys.")


# ---- the reader that only looks

TEXTS = st.one_of(
    st.sampled_from(
        [
            "", "ok", "kind", "status", "at", "attempt", "session", "heads", "verb", "ROTATE",
            '","kind":"outcome', '"', "\\", '\\"', ',"heads":{', '"verb":"ROTATE"', "é\n\0",
            '{"kind":"vote","mode":"', '},"v":1}', "2026-01-02T03:04:05.000006Z",
        ]
    ),
    st.text(st.sampled_from('",:{}\\kindstauhv'), max_size=12),
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {
        "request": TEXTS,
        "session": TEXTS,
        "mode": TEXTS,
        "assurance": TEXTS,
        "at": st.datetimes(timezones=st.just(UTC)),
    },
    optional={
        "account": TEXTS,
        "status": TEXTS,
        "note": TEXTS,
        "verb": TEXTS,
        "via": TEXTS,
        "columns": st.lists(TEXTS, max_size=3).map(tuple),
        "voters": st.lists(TEXTS, max_size=3).map(tuple),
        "origin": st.dictionaries(TEXTS, TEXTS, max_size=4),
        "heads": st.dictionaries(TEXTS, TEXTS, max_size=4),
        "entities": st.dictionaries(TEXTS, st.integers(0, 9), max_size=4),
        "attempt": st.integers(0, 10**25),
    },
)


def records_of(kind, fields):
    """A record that may be written: one that closes an attempt only where it may."""
    closing = {RecordKind.OUTCOME, RecordKind.INTERRUPTED}
    fields = {name: value for name, value in fields.items() if name != "attempt" or kind in closing}
    if kind is RecordKind.INTERRUPTED:
        fields.setdefault("attempt", 0)
    return Record(kind=kind, **fields)


@settings(max_examples=400)
@given(st.sampled_from(RecordKind), FIELDS)
def test_a_glance_and_a_strict_reading_agree(kind, fields):
    """On canonical bytes, whatever texts stand in them, a glance gives up or sees what is so."""
    line = line_of(records_of(kind, fields))
    seen = glance(line, line.index(b'"record":{') + len(b'"record":{'))
    assert seen in {None, facts_of(decode(line).record)}


@given(st.sampled_from(RecordKind), FIELDS)
def test_a_glance_is_enough_for_what_is_usual(kind, fields):
    """It gives up only for heads, for a status that needs escapes, and for absurd attempts."""
    usual = {"heads", "status", "attempt"}
    fields = {name: value for name, value in fields.items() if name not in usual}
    line = line_of(records_of(kind, fields | {"status": "ok"}))
    assert glance(line, 0) == facts_of(decode(line).record)


def test_names_in_heads_do_not_pass_for_fields():
    """Heads may hold every name that a field has; the attempt that one names is no attempt."""
    lure = {"a": "b", "kind": "attempt", "mode": "m", "status": "ok"}
    line = line_of(record(RecordKind.HEADS, heads=lure))
    assert glance(line, 0) is None
    assert verify([line]).open_attempts == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1}', b'"v":1} '),
        (b'"at":"2026-01-02', b'"at":"2026-13-02'),
        (b'"at":"2026-01-02', b'"at":"2026-01-02T'),
        (b'"kind":"outcome"', b'"kind":"party"'),
        (b'"kind":"outcome"', b'"kind":1'),
        (b'"kind":"outcome"', b'"kind":"vote"'),
        (b'"attempt":0', b'"attempt":00'),
        (b'"attempt":0', b'"attempt":-1'),
        (b'"attempt":0', b'"attempt":0.0'),
        (b'"status":"ok"', b'"status":"\\u006fk"'),
        (b'"status":"ok"', b'"status":"ok"' + b" " * ENTRY_BYTES_MAX),
    ],
)
def test_what_a_glance_reads_is_well_formed(old, new):
    """A field that a glance looks at and that is malformed is found, also in the middle of a log."""
    attempt, outcome = (
        record(RecordKind.ATTEMPT),
        record(RecordKind.OUTCOME, attempt=0, status="ok"),
    )
    lines = log_of(attempt, outcome)
    assert old in lines[1]
    assert verify(lines).is_intact
    assert verify([lines[0], lines[1].replace(old, new)]).problem_index == 1


def test_only_decoding_finds_what_nobody_looks_at():
    """An unknown field in a chained log breaks it for who decodes every entry, and only then."""
    lines = log_of(record(), record())
    odd = lines[1].replace(b'"mode":"embedded"', b'"mode":"embedded","model":"m"')
    assert verify([lines[0], odd]).is_intact
    report = verify([lines[0], odd], is_deep=True)
    assert (report.problem_index, "does not know" in report.problem) == (1, True)


@given(st.binary(max_size=90), st.integers(0, 400))
def test_any_bytes_can_follow_a_good_beginning(tail, kept):
    """Whatever follows the part of an entry that can be foretold, verification ends in a report."""
    first = line_of(record(RecordKind.ATTEMPT))
    second = encode(
        record(RecordKind.OUTCOME, attempt=0, status="ok"),
        origin="log",
        index=1,
        prev_digest=leaf_digest(first),
    )
    for line in (second[:kept] + tail, second[:kept] + tail + b'},"v":1}'):
        assert verify([first, line]).entries in {1, 2}


@example(status=b"\xff")
@given(status=st.binary(max_size=3).filter(lambda status: b'"' not in status))
def test_a_status_that_is_no_text_is_reported(status):
    """Bytes that are no UTF-8 do not stop the report of a log that is only glanced at."""
    first, second = log_of(record(), record(RecordKind.OUTCOME, status="ok"))
    report = verify([first, second.replace(b'"status":"ok"', b'"status":"' + status + b'"')])
    assert all(isinstance(one, str) for one in report.outcomes)

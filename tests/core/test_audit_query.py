"""What a query of the audit log means, how people write one, and what an index keeps."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from nbgov.core.audit import GENESIS_DIGEST, decode, encode
from nbgov.core.audit.index import ATTEMPTS_HELD_MAX, Extent, Reader
from nbgov.core.audit.lines import GROUPS, groups, how, line_of, mood, receipt_of, what
from nbgov.core.audit.merkle import leaf_digest
from nbgov.core.audit.query import OPTIONS, Query, joined, matches, read_query, read_time
from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.model import Record, RecordKind

AT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
READ = Record(
    kind=RecordKind.ATTEMPT, at=AT, request="r1abc", session="s1", principal="Ada@acme.test",
    connection="Ware.House", verb="SELECT", statement="SELECT email FROM People WHERE id = ?",
    tables=("main.People",), columns=("main.People.email",), decision="permit",
    rules=("read-people",), ticket="T7", run="run42",
)  # fmt: skip
ENDED = Record(
    kind=RecordKind.OUTCOME, at=AT, request="r1abc", session="s1", attempt=0, status="error",
    code="database-error", version="3f9c",
)  # fmt: skip


def lines_of(*records):
    """The lines of a log that states these records."""
    lines, prev = [], GENESIS_DIGEST
    for index, one in enumerate(records):
        lines.append(encode(one, origin="log", index=index, prev_digest=prev))
        prev = leaf_digest(lines[-1])
    return lines


def usage(error):
    assert error.value.code == "usage"
    assert error.value.next_step
    return str(error.value)


# ---- meaning


@pytest.mark.parametrize(
    ("field", "pattern", "is_meant"),
    [
        ("principal", "ada*", True),
        ("principal", "ADA@ACME.TEST", True),
        ("principal", "ada", False),
        ("connection", "ware*", True),
        ("table", "people", True),
        ("table", "main.*", True),
        ("table", "*", True),
        ("table", "ware_house.main.people", True),
        ("table", "other.main.people", False),
        ("table", "main*", False),
        ("table", "a.b.c.d.main.people", False),
        ("column", "*.email", True),
        ("column", "email", True),
        ("column", "people.e?ail", True),
        ("column", "main.email", False),
        ("decision", "permit", True),
        ("rule", "read-*", True),
        ("verb", "select", True),
        ("kind", "attempt", True),
        ("status", "ok", False),
        ("code", "*", False),
        ("request", "r1", True),
        ("request", "abc", False),
        ("ticket", "t7", True),
        ("run", "run4", True),
        ("session", "s1", True),
        ("version", "3f", False),
    ],
)
def test_a_pattern_means_what_people_expect(field, pattern, is_meant):
    """Globs in any case; the last parts of dotted names, part by part; how an id begins."""
    assert matches(Query(**{field: (pattern,)}), READ) is is_meant


def test_all_conditions_hold_and_any_pattern_of_one():
    """Conditions are joined by and, the patterns of one of them by or."""
    assert matches(Query(principal=("bo", "ada*"), verb=("select",)), READ)
    assert not matches(Query(principal=("ada*",), verb=("update",)), READ)
    assert matches(Query(), READ)


def test_text_is_part_of_the_statement():
    """Any part of the redacted statement counts, in any case; other fields do not."""
    assert matches(Query(text="FROM people"), READ)
    assert not matches(Query(text="read-people"), READ)
    assert not matches(Query(text="x"), dataclasses.replace(READ, statement=None))


def test_times_begin_and_end():
    """The first moment belongs to the time that is asked for, the last one does not."""
    second = timedelta(seconds=1)
    assert matches(Query(since=AT, until=AT + second), READ)
    assert not matches(Query(until=AT), READ)
    assert not matches(Query(since=AT + second), READ)


def test_a_closing_entry_is_seen_with_its_attempt():
    """What an outcome leaves to its attempt counts for it as well; its own fields win."""
    query = Query(table=("people",), status=("error",), kind=("outcome",), text="email")
    assert matches(query, ENDED, READ)
    assert not matches(query, ENDED)
    whole = joined(ENDED, READ)
    assert (whole.kind, whole.code, whole.tables) == ("outcome", "database-error", READ.tables)
    assert joined(READ, None) is READ


# ---- how people write it


def test_options_become_a_query():
    """Every option has a field; what is not given asks for nothing."""
    names = {option.name for option in OPTIONS}
    assert names < {field.name for field in dataclasses.fields(Query)}
    assert read_query({}, now=AT) == Query()
    query = read_query(
        {"table": ["main.*", "x"], "since": "2h", "text": "a", "limit": 3, "oldest_first": True},
        now=AT,
    )
    assert query == Query(
        table=("main.*", "x"), since=AT - timedelta(hours=2), text="a", limit=3, oldest_first=True
    )
    assert str(query) == "table main.* or x, text 'a', since 2026-11-23 10:00:00 UTC"
    assert str(Query()) == ""


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", AT),
        ("90s", AT - timedelta(seconds=90)),
        ("7d", AT - timedelta(days=7)),
        ("2w", AT - timedelta(weeks=2)),
        ("today", datetime(2026, 11, 23, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T09:30", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
        ("2026-11-20T09:30+02:00", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_written_in_many_ways(text, at):
    """Relative times, words for days, and ISO 8601; UTC where no offset is given."""
    assert read_time(text, now=AT) == at


@pytest.mark.parametrize("text", ["3x", "999999w", "soon", "2026-13-01", "-2h", ""])
def test_what_is_no_time_is_refused(text):
    """The error says which forms there are."""
    with pytest.raises(RequestInvalid) as error:
        read_time(text, now=AT)
    assert "90m" in usage(error)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"decision": ["permitt"]}, "write --decision permit"),
        ({"kind": ["xyz"]}, "use one of: attempt"),
        ({"table": [""]}, "--table is empty"),
        ({"since": "1h", "until": "2h"}, "--since"),
        ({"limit": 0}, "above zero"),
    ],
)
def test_what_finds_nothing_for_sure_is_refused(options, told):
    """An option that can mean no entry is an error, not an empty answer."""
    with pytest.raises(RequestInvalid) as error:
        read_query(options, now=AT)
    assert told in usage(error)
    assert read_query({"decision": ["per*"]}, now=AT).decision == ("per*",)


# ---- what an index keeps


def test_a_reader_follows_the_log():
    """Rows carry number, digest and time; an outcome has what its attempt stated."""
    lines = lines_of(READ, ENDED, Record(RecordKind.VOTE, AT, "r", "s"))
    reader = Reader(Extent(), lines.__getitem__)
    rows = [reader.take(line) for line in lines]
    assert [(row.number, row.digest) for row in rows] == [
        (n, decode(line).digest) for n, line in enumerate(lines)
    ]
    assert READ.tables in rows[1].shared
    assert "error" in rows[1].shared
    assert rows[1].ids[-2:] == ("run42", "3f9c")
    assert reader.extent.is_of(lines[2])
    assert not reader.extent.is_of(lines[1])
    assert not reader.extent.is_of(None)
    assert Extent().is_of(None)


def test_a_reader_that_begins_later_fetches_the_attempt():
    """Facts of an attempt that was read before come from the log."""
    lines = lines_of(READ, ENDED)
    first = Reader(Extent(), lines.__getitem__)
    first.take(lines[0])
    row = Reader(first.extent, lines.__getitem__).take(lines[1])
    assert READ.tables in row.shared


def test_a_reader_holds_few_attempts():
    """However many attempts stay open, only so many are remembered."""
    reader = Reader(Extent(), lambda _: b"")
    for number in range(ATTEMPTS_HELD_MAX + 3):
        reader.hold(number, {})
    assert len(reader.attempts) == ATTEMPTS_HELD_MAX
    assert min(reader.attempts) == 3


def edited(line, **fields):
    return json.dumps(json.loads(line) | fields, sort_keys=True).encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line[:-1],
        lambda line: b"[]",
        lambda line: b"{}",
        lambda line: edited(line, index=5),
        lambda line: edited(line, prev="00"),
        lambda line: edited(line, origin="other"),
        lambda line: edited(line, record={"kind": "vote", "at": "1999"}),
        lambda line: edited(line, record=[]),
        lambda line: edited(line, record={"kind": "outcome", "at": "9999", "attempt": 77}),
    ],
)
def test_a_reader_stops_where_the_log_breaks(spoil):
    """What does not follow from the entry before is not indexed."""
    lines = lines_of(READ, READ)
    reader = Reader(Extent(), lambda n: b"")
    reader.take(lines[0])
    with pytest.raises(IntegrityFailed) as error:
        reader.take(spoil(lines[1]))
    assert error.value.code == "audit-broken"
    assert "at entry 1" in str(error.value)
    assert reader.extent.entries == 1


# ---- lines for people


def test_every_field_of_a_record_is_on_the_card():
    """A new field of a record must be put into a group, or it would never be seen."""
    shown = {name for names in GROUPS.values() for name in names}
    elsewhere = {"at", "attempt", "ticks"}
    assert shown | elsewhere == {field.name for field in dataclasses.fields(Record)}
    assert not shown & elsewhere


def test_a_line_says_who_did_what_and_how_it_went():
    """One line has a text for each head, whatever the kind of the entry."""
    lines = lines_of(READ, ENDED)
    first = line_of(decode(lines[0]), READ)
    assert receipt_of(decode(lines[0])).entry_digest == leaf_digest(lines[0])
    assert first == (
        "0", "2026-11-23 12:00:00", "Ada@acme.test", "SELECT", "Ware.House", "started",
        READ.statement,
    )  # fmt: skip
    assert how(joined(ENDED, READ)) == "error database-error"
    vote = Record(RecordKind.VOTE, AT, "", "", status="approved", account="bo")
    assert (what(vote), how(vote), mood(vote)) == ("vote", "approved", "good")
    assert line_of(decode(lines[0]), vote)[2] == "bo"
    open_ = Record(RecordKind.OUTCOME, AT, "", "", status="pending", code="approval-needed")
    assert (what(open_), how(open_), mood(open_)) == ("statement", "pending", "open")
    denied = Record(RecordKind.OUTCOME, AT, "", "", status="denied", code="denied-by-guard")
    assert (how(denied), mood(denied)) == ("denied-by-guard", "bad")
    done = Record(RecordKind.OUTCOME, AT, "", "", status="ok", rows_read=1200, rows_affected=3)
    assert how(done) == "ok, 1,200 read, 3 changed"
    dead = Record(RecordKind.INTERRUPTED, AT, "", "", attempt=0, note="it died")
    assert (how(dead), mood(dead), line_of(decode(lines[0]), dead)[-1]) == (
        "interrupted", "bad", "it died",
    )  # fmt: skip
    assert mood(READ) == ""


def test_groups_hold_texts_and_leave_out_what_is_empty():
    """Facts are texts; literals that are sealed show under which key, and not as they are."""
    record = dataclasses.replace(
        READ, literals="k-1:c2VjcmV0", entities={"EMAIL": 2}, decided_at=AT, rows_read=12345
    )
    told = groups(record)
    assert ("literals", "sealed under the key k-1") in told["kept apart"]
    assert ("entities", "EMAIL 2") in told["outcome"]
    assert ("rows read", "12,345") in told["outcome"]
    assert ("decided at", "2026-11-23 12:00:00 UTC") in told["decision"]
    assert "c2VjcmV0" not in str(told)
    assert "outcome" not in groups(READ)

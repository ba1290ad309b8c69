"""The index of the audit log: it finds what a naive filter finds, and is never believed."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.backends.memory.audit_index import MemoryAuditIndex
from nbgov.backends.memory.audit_log import MemoryAuditLog
from nbgov.backends.sqlite import audit_index
from nbgov.backends.sqlite.audit_index import SqliteAuditIndex
from nbgov.core.audit import GENESIS_DIGEST, decode, encode
from nbgov.core.audit.merkle import leaf_digest
from nbgov.core.audit.query import Query, matches
from nbgov.errors import BackendFailed, IntegrityFailed
from nbgov.model import Record, RecordKind

AT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
PEOPLE = st.sampled_from(["ada@acme.test", "Bo@acme.test", "straße@x"])
TABLES = st.sampled_from(["main.people", "main.Orders", "hr.people", "people", "a.b.c"])
TEXTS = st.sampled_from(
    ["SELECT * FROM people", 'SELECT "ß" FROM x', "select\0 %_'x", "ΣΑΣ ", "UPDATE people", ""]
)
# Few ids, some of them the beginning of others.
IDS = st.sampled_from(["a", "ab", "abc", "b1"])


def maybe(values):
    return st.none() | values


def several(values):
    return maybe(st.lists(values, max_size=3).map(tuple))


def records():
    """Records of any kind, with few different values, so that queries meet many of them."""
    return st.builds(
        Record,
        kind=st.sampled_from([k for k in RecordKind if k is not RecordKind.INTERRUPTED]),
        at=st.integers(0, 5).map(lambda n: AT + timedelta(minutes=n)),
        request=IDS, session=IDS, principal=maybe(PEOPLE),
        connection=maybe(st.sampled_from(["wh", "a.b", "Lake"])),
        verb=maybe(st.sampled_from(["SELECT", "UPDATE", "OPEN"])),
        statement=maybe(TEXTS), tables=several(TABLES),
        columns=several(TABLES.map("{}.email".format)),
        decision=maybe(st.sampled_from(["permit", "deny"])), rules=several(IDS),
        status=maybe(st.sampled_from(["ok", "error", "denied"])), code=maybe(IDS),
        ticket=maybe(IDS), run=maybe(IDS), version=maybe(IDS),
    )  # fmt: skip


def patterns(*texts):
    return st.lists(st.sampled_from(texts), min_size=1, max_size=2).map(tuple)


MOMENTS = st.integers(0, 6).map(lambda n: AT + timedelta(minutes=n))
CONDITIONS = {
    "principal": patterns("ada*", "BO@acme.test", "STRASSE*"),
    "connection": patterns("wh", "l?ke", "a.b"),
    "table": patterns("people", "main.*", "wh.*.people", "*", "c"),
    "column": patterns("*.email", "people.email", "e*"),
    "decision": patterns("permit", "d*"),
    "rule": patterns("a", "a*"),
    "status": patterns("ok", "e*"),
    "code": patterns("ab", "abc"),
    "kind": patterns("attempt", "outcome", "v*"),
    "verb": patterns("select", "*"),
    "session": patterns("a", "b"),
    "request": patterns("ab", "b"),
    "ticket": patterns("a", "b"),
    "run": patterns("abc", "b"),
    "version": patterns("A"),
    "text": st.sampled_from(["people", "ss", "ß", "σας", "\0", "%_'", '"', "t", "elect *"]),
    "since": MOMENTS,
    "until": MOMENTS,
    "oldest_first": st.just(True),
}


@st.composite
def queries(draw):
    """Queries with few conditions, so that most of them mean something."""
    names = draw(st.lists(st.sampled_from(sorted(CONDITIONS)), max_size=3, unique=True))
    return Query(**{name: draw(CONDITIONS[name]) for name in names})


def lines_of(drawn):
    """The lines of a log that adds up: times never fall, and outcomes close open attempts."""
    lines, prev, at, attempts = [], GENESIS_DIGEST, AT, []
    for index, one in enumerate(drawn):
        at = max(at, one.at)
        attempt = None
        if one.kind is RecordKind.OUTCOME and attempts and index % 3:
            attempt = attempts.pop()
        fields = {name: getattr(one, name) for name in Record.__dataclass_fields__}
        record = Record(**(fields | {"at": at, "attempt": attempt}))
        if one.kind is RecordKind.ATTEMPT:
            attempts.append(index)
        lines.append(encode(record, origin="log", index=index, prev_digest=prev))
        prev = leaf_digest(lines[-1])
    return lines


def naive(lines, query):
    """The numbers of the entries that a query means, by the plain meaning of the words."""
    entries = [decode(line) for line in lines]
    found = []
    for entry in entries:
        attempt = entry.record.attempt
        before = None if attempt is None else entries[attempt].record
        if matches(query, entry.record, before):
            found.append(entry.index)
    return found if query.oldest_first else found[::-1]


def log_of(lines):
    return MemoryAuditLog("log", lines=lines)


def numbers(index, query, page=3):
    """Everything that an index finds, page by page."""
    found = []
    while hits := index.find(query, beyond=found[-1] if found else None, count=page):
        found += [hit.number for hit in hits]
    return found


def fill(index, lines):
    told = []
    remark = index.fill(log_of(lines), told.append)
    return remark, told


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("index")


def some(count=20):
    """A log of reads by two people, each attempt followed by its outcome."""
    drawn = []
    for n in range(count):
        kind = RecordKind.OUTCOME if n % 2 else RecordKind.ATTEMPT
        drawn.append(
            Record(
                kind=kind, at=AT + timedelta(seconds=n), request=f"r{n // 2}", session="s",
                principal=f"p{n // 2 % 2}", statement=f"SELECT a{n // 2} FROM people",
            )
        )  # fmt: skip
    return lines_of(drawn)


@settings(deadline=None, max_examples=50)
@given(drawn=st.lists(records(), max_size=25), asked=st.lists(queries(), min_size=4, max_size=12),
       with_trigrams=st.booleans(), sorted_max=st.sampled_from([0, 20_000]))  # fmt: skip
def test_an_index_finds_what_a_naive_filter_finds(
    tmp_path_factory, drawn, asked, with_trigrams, sorted_max
):
    """Both indexes find, in order and in number, exactly the entries that a query means."""
    lines = lines_of(drawn)
    path = tmp_path_factory.mktemp("index") / "i.sqlite"
    plain = MemoryAuditIndex()
    fill(plain, lines)
    with (
        closing(SqliteAuditIndex(path, with_trigrams=with_trigrams)) as index,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(audit_index, "SORTED_MAX", sorted_max)
        fill(index, lines)
        for query in asked:
            expected = naive(lines, query)
            assert numbers(index, query) == numbers(plain, query) == expected
            assert index.count(query) == plain.count(query) == len(expected)


@settings(deadline=None, max_examples=15)
@given(drawn=st.lists(records(), min_size=1, max_size=25), stops=st.sets(st.integers(0, 25)),
       batch=st.integers(1, 7))  # fmt: skip
def test_an_index_may_be_filled_at_any_time(tmp_path_factory, drawn, stops, batch):
    """Filled between appends, in batches of any size, it holds what one that is filled once does."""
    lines = lines_of(drawn)
    folder = tmp_path_factory.mktemp("index")
    with (
        closing(SqliteAuditIndex(folder / "a.sqlite")) as once,
        closing(SqliteAuditIndex(folder / "b.sqlite")) as often,
        pytest.MonkeyPatch.context() as patch,
    ):
        fill(once, lines)
        patch.setattr(audit_index, "BATCH", batch)
        for stop in sorted({n for n in stops if n < len(lines)} | {len(lines)}):
            assert fill(often, lines[:stop])[0] == ""
        assert contents(folder / "a.sqlite") == contents(folder / "b.sqlite")


def contents(path):
    """Every row of every table of an index."""
    with closing(sqlite3.connect(path)) as connection:
        tables = ["extent", "names", "shapes", "postings", "entries"]
        return {one: sorted(connection.execute(f"SELECT * FROM {one}")) for one in tables}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_index_of_another_log_is_emptied(folder, kind):
    """Another origin, other entries or fewer of them: it is made anew, and that is said."""
    index = MemoryAuditIndex() if kind == "memory" else SqliteAuditIndex(folder / "i.sqlite")
    with closing(index):
        assert fill(index, some(20))[0] == ""
        other = lines_of([Record(RecordKind.VOTE, AT, "r", "s", principal="eve")] * 30)
        assert "Entry 19" in fill(index, other)[0]
        assert index.count(Query(principal=("eve",))) == 30
        assert "Entry 29" in fill(index, other[:5])[0]
        assert index.count(Query()) == 5
        assert "Entry 4" in fill(index, [])[0]
        assert index.count(Query()) == 0
        assert fill(index, other)[0] == ""


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_log_that_breaks_is_indexed_up_to_there(folder, kind):
    """The error names the entry, and what is before it can be found."""
    index = MemoryAuditIndex() if kind == "memory" else SqliteAuditIndex(folder / "i.sqlite")
    lines = some(20)
    lines[12] = lines[12].replace(b"a6", b"a7")
    with closing(index):
        for _ in range(2):
            with pytest.raises(IntegrityFailed, match="at entry 13"):
                fill(index, lines)
            assert index.count(Query()) == 13
        if kind == "sqlite":
            index.forget()
            lines[0] = b"{}"
            with pytest.raises(IntegrityFailed, match="at entry 0"):
                fill(index, lines)


def spoil(path, statement):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE number = 7",
        "DELETE FROM entries WHERE number > 7",
        "UPDATE extent SET digest = x'00'",
        "UPDATE extent SET entries = 12",
        "DELETE FROM extent",
    ],
)
def test_an_index_that_somebody_changed_is_made_anew(folder, statement):
    """An index that does not hold as many entries as it says, or another last one, is emptied."""
    path = folder / "i.sqlite"
    with closing(SqliteAuditIndex(path)) as index:
        fill(index, some())
        spoil(path, statement)
        remark, _ = fill(index, some())
        assert "is not the one" in remark
        assert numbers(index, Query()) == list(range(19, -1, -1))


def test_a_file_that_is_no_index_is_replaced(folder):
    """Damage, and tables of another version: the index is made anew."""
    path = folder / "i.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with closing(SqliteAuditIndex(path)) as index:
        assert "could not be read" in fill(index, some())[0]
        assert index.count(Query()) == 20
    with closing(SqliteAuditIndex(path, with_trigrams=False)) as index:
        assert "could not be read" in fill(index, some())[0]
        assert index.count(Query(text="select a3")) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_an_error(folder):
    """Where the disk is away, nothing is thrown away."""
    (folder / "file").write_text("")
    index = SqliteAuditIndex(folder / "file" / "i.sqlite")
    with pytest.raises(BackendFailed) as error:
        fill(index, some())
    assert error.value.code == "state-unavailable"


def test_an_interrupt_keeps_what_was_committed(folder, monkeypatch):
    """After Ctrl-C the batches before are there, and the rest follows."""
    monkeypatch.setattr(audit_index, "BATCH", 4)
    lines = some()

    def interrupt(number):
        if number == 8:
            raise KeyboardInterrupt

    with closing(SqliteAuditIndex(folder / "i.sqlite")) as index:
        with pytest.raises(KeyboardInterrupt):
            index.fill(log_of(lines), interrupt)
        assert index.extent().entries == 8
        told = []
        assert index.fill(log_of(lines), told.append) == ""
        assert told == [12, 16, 20]


def test_two_processes_may_fill_one_index(folder, monkeypatch):
    """Whoever comes second to a batch goes on behind it; both end with the whole log."""
    monkeypatch.setattr(audit_index, "BATCH", 4)
    lines = some(60)
    path = folder / "i.sqlite"
    with closing(SqliteAuditIndex(path)) as first, closing(SqliteAuditIndex(path)) as second:
        done = []

        def meanwhile(number):
            if number == 8:
                done.append(fill(second, lines[:30]))

        assert first.fill(log_of(lines), meanwhile) == ""
        assert done == [("", [12, 16, 20, 24, 28, 30])]
        threads = [threading.Thread(target=fill, args=(one, some(90))) for one in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert numbers(first, Query(), page=50) == list(range(89, -1, -1))
        assert numbers(second, Query(principal=("p1",)), page=50) == naive(
            some(90), Query(principal=("p1",))
        )


def test_shapes_that_are_forgotten_are_found_again(folder, monkeypatch):
    """The memory of shapes is bounded, and each is kept once all the same."""
    monkeypatch.setattr(audit_index, "SHAPES_HELD_MAX", 2)
    path = folder / "i.sqlite"
    lines = lines_of(
        [Record(RecordKind.VOTE, AT, "r", "s", principal=f"p{n % 5}") for n in range(20)]
    )
    with closing(SqliteAuditIndex(path)) as index:
        fill(index, lines)
        assert len(contents(path)["shapes"]) == 5
        assert index.count(Query(principal=("p3",))) == 4

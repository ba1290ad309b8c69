"""The end of a log: what comes next, and where the edge of the tree is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.audit import decode, verify
from nbgov.core.audit.ledger import Ledger, edge_places
from nbgov.core.audit.merkle import Frontier
from nbgov.errors import IntegrityFailed
from nbgov.model import Record, RecordKind

AT = datetime(2026, 1, 2, tzinfo=UTC)


def record(hours=0, **fields):
    return Record(RecordKind.VOTE, AT + timedelta(hours=hours), "r", "s", **fields)


def written(ledger, count):
    return [ledger.draw_up(record(note=str(number)))[0] for number in range(count)]


@given(before=st.integers(0, 20), after=st.integers(0, 20))
def test_a_log_that_is_continued_is_one_log(before, after):
    """Entries drawn up by one ledger and by one that begins at its end add up, with one root."""
    first = Ledger("log")
    lines = written(first, before)
    nodes = list(first.fresh)
    edge = [nodes[place] for place in edge_places(before)]
    last = decode(lines[-1]) if lines else None
    second = Ledger("log", frontier=Frontier(before, edge), last=last)
    lines += written(second, after)
    report = verify(lines)
    assert (report.is_intact, report.entries) == (True, before + after)
    assert report.root == second.frontier.root()
    whole = Ledger("log")
    for line in lines:
        whole.take(line)
    assert (whole.digest, whole.fresh) == (second.digest, nodes + second.fresh)


def test_time_never_runs_backwards():
    """A record from before the last one is dated like the last one."""
    ledger = Ledger("log")
    lines = [ledger.draw_up(record(hours))[0] for hours in (1, 0, 2)]
    assert [(decode(line).record.at - AT) / timedelta(hours=1) for line in lines] == [1, 1, 2]


def test_a_record_that_cannot_be_kept_changes_nothing():
    """After a record that breaks the format, the next one has the number it would have had."""
    ledger = Ledger("log")
    with pytest.raises(RuntimeError, match="cannot be kept"):
        ledger.draw_up(record(statement_mac="SELECT 1"))
    assert (ledger.size, ledger.fresh) == (0, [])
    assert ledger.draw_up(record())[1].index == 0


@pytest.mark.parametrize("wrong", ["again", "skipped", "other log", "other chain"])
def test_what_does_not_come_next_is_not_taken(wrong):
    """An entry is taken only with the number, the log and the digest that come next."""
    lines = written(Ledger("log"), 3)
    ledger = Ledger("log")
    ledger.take(lines[0])
    line = {
        "again": lines[0],
        "skipped": lines[2],
        "other log": written(Ledger("other"), 2)[1],
        "other chain": [*written(Ledger("log"), 1), Ledger("log").draw_up(record())[0]][1],
    }[wrong]
    with pytest.raises(IntegrityFailed, match="do not follow"):
        ledger.take(line)
    assert ledger.size == 1


@pytest.mark.parametrize("last", [None, 0, 2])
def test_a_ledger_begins_at_the_end_of_its_tree(last):
    """The last entry has to be the one that the tree ends with."""
    lines = written(Ledger("log"), 3)
    frontier = Frontier(2, [b"x" * 32])
    with pytest.raises(IntegrityFailed, match="last entry"):
        Ledger("log", frontier=frontier, last=None if last is None else decode(lines[last]))
    with pytest.raises(IntegrityFailed, match="last entry"):
        Ledger("other", frontier=frontier, last=decode(lines[1]))
    with pytest.raises(IntegrityFailed, match="last entry"):
        Ledger("log", last=decode(lines[0]))

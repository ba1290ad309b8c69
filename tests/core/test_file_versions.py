"""The state of a database in a file: told only where a later write would show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.file_versions import (
    COARSE_TICK_NS,
    SECOND_NS,
    TICK_NS,
    FileStatus,
    file_versions,
    is_settled,
)
from nbgov.model import TableName

NAMES = [TableName("main", "b"), TableName("main", "a")]
FILE = FileStatus(7, 4096, 1_700_000_000 * SECOND_NS + 5)
LATER = FILE.written_ns + SECOND_NS


def mark(*files: FileStatus | None, now_ns: int = LATER) -> str | None:
    """The mark of a table in these files, if it is told."""
    found = file_versions(NAMES[:1], kind="k", files=files, now_ns=now_ns)
    return found[0].mark if found else None


def test_all_tables_have_the_mark_of_their_file() -> None:
    """Tables come in order, each with the same mark, kind and time."""
    found = file_versions(NAMES, kind="duckdb-file", files=[FILE, None], now_ns=LATER)
    assert [one.table for one in found] == ["main.a", "main.b"]
    assert {(one.kind, one.mark) for one in found} == {("duckdb-file", f"7:4096:{FILE.written_ns}")}
    assert {one.changed_at for one in found} == {datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}


@pytest.mark.parametrize("field", ["inode", "size", "written_ns"])
def test_every_part_of_a_status_is_in_the_mark(field: str) -> None:
    """Another file, another size or another time is another state."""
    other = replace(FILE, **{field: getattr(FILE, field) - 1})
    assert mark(FILE) != mark(other)


def test_a_log_beside_the_file_is_part_of_the_state() -> None:
    """What was written is in the log first; an empty log says nothing."""
    log = FileStatus(8, 100, FILE.written_ns)
    assert len({mark(FILE), mark(FILE, log), mark(FILE, replace(log, size=200))}) == 3
    assert mark(FILE, replace(log, size=0)) == mark(FILE, None) == mark(FILE)


def test_no_file_is_no_state() -> None:
    """Of a file that is not there, nothing is told."""
    assert mark(None, None) is None


def test_a_fresh_log_keeps_the_state_untold() -> None:
    """One part that was just written is enough."""
    assert mark(FILE, FileStatus(8, 100, LATER)) is None


@given(written=st.integers(0, 2**62), age=st.integers(-10 * SECOND_NS, 10 * SECOND_NS))
def test_a_state_is_told_once_a_tick_has_passed(written: int, age: int) -> None:
    """A time in whole seconds is of a clock that ticks slowly; a time ahead of ours is never told."""
    tick = COARSE_TICK_NS if written % SECOND_NS == 0 else TICK_NS
    assert is_settled(written, written + age) == (age >= tick)

"""Copies of the audit log: what they hold, and what happens when they cannot follow."""

from __future__ import annotations

import threading

import pytest
from click.testing import CliRunner

import nbgov
from nbgov.backends.files import FileEvidence
from nbgov.backends.files.copies import FileCopy
from nbgov.backends.memory import MemoryAuditLog
from nbgov.backends.postgresql.audit_copy import PostgreSQLCopy
from nbgov.cli import main
from nbgov.core.audit import verify
from nbgov.core.audit.note import Note
from nbgov.errors import BackendFailed
from nbgov.mirroring import Mirror, Mirroring
from nbgov.model import Record, RecordKind
from tests.backends.postgres_disk import AT, PostgresDisk
from tests.flights import CONFIG, build


def filled(count=5, **fields):
    log = MemoryAuditLog("log")
    for number in range(count):
        log.append(Record(RecordKind.VOTE, AT, "r", "s", note=str(number), **fields))
    return log


@pytest.fixture(params=["files", "postgresql"])
def copy(request, tmp_path):
    if request.param == "files":
        return FileCopy(tmp_path / "copy")
    disk = PostgresDisk(request.getfixturevalue("postgres_url"))
    return PostgreSQLCopy(disk.url, "log")


def test_a_copy_holds_the_same_bytes_and_notes(copy):
    """What the log holds stands in the copy, which verifies by itself, also after more came."""
    log = filled(300)
    mirror = Mirror("copy", log, lambda _: copy)
    log.checkpoint()
    heard = []
    assert mirror.follow(watch=heard.append).state == "level"
    log.append(Record(RecordKind.VOTE, AT, "r", "s"))
    assert mirror.follow().size == 301
    assert list(copy.entries()) == log.lines
    assert verify(copy.entries()).is_intact
    assert heard == [256, 44]
    assert copy.note("checkpoint") == log.note("checkpoint")
    log.checkpoint()
    mirror.follow()
    assert Note.parse(copy.note("checkpoint")).checkpoint.size == 301
    mirror.close()


def test_a_copy_keeps_what_replaced_keys_signed(copy):
    """The note under a replaced key follows, also where it is made after its entry was copied."""
    log, mirror = filled(2), None
    mirror = Mirror("copy", log, lambda _: copy)
    log.append(Record(RecordKind.ADMIN, AT, "r", "s", verb="ROTATE"))
    mirror.follow()
    assert copy.note("key-3") == ""
    log.keep_note("key-3", str(log.checkpoint()))
    mirror.follow()
    assert copy.note("key-3") == log.note("key-3")


def test_a_note_that_a_dead_process_did_not_copy_is_found_by_a_thorough_look(copy):
    """A copy without the note under a replaced key gets it where the whole log is looked at."""
    log = filled(2)
    log.append(Record(RecordKind.ADMIN, AT, "r", "s", verb="ROTATE"))
    Mirror("copy", log, lambda _: copy).follow()
    log.keep_note("key-3", str(log.checkpoint()))
    later = Mirror("copy", log, lambda _: copy)
    later.follow()
    assert copy.note("key-3") == ""
    assert later.follow(is_thorough=True).state == "level"
    assert copy.note("key-3") == log.note("key-3") != ""


def test_a_note_of_a_copy_never_goes_back(copy):
    """A log whose newest notes were taken away leaves those of the copy as they are."""
    log = filled(2)
    old = str(log.checkpoint())
    log.append(Record(RecordKind.VOTE, AT, "r", "s"))
    new = str(log.checkpoint())
    mirror = Mirror("copy", log, lambda _: copy)
    mirror.follow()
    log.keep_note("checkpoint", old)
    assert mirror.follow().state == "level"
    assert copy.note("checkpoint") == new


def test_a_copy_goes_on_where_it_stopped(copy):
    """Another process takes up a copy at its end."""
    log = filled(3)
    Mirror("copy", log, lambda _: copy).follow()
    for line in filled(9).lines[3:]:
        log.lines.append(line)
    assert Mirror("copy", log, lambda _: copy).follow().size == 9
    assert list(copy.entries()) == log.lines


def test_an_empty_log_has_no_copy(copy):
    """Where there is nothing, nothing is made."""
    assert Mirror("copy", MemoryAuditLog("log"), lambda _: copy).follow().size == 0


@pytest.mark.parametrize("size", [2, 3, 6])
def test_a_copy_of_another_log_is_told_and_left(copy, size):
    """A copy that is longer than the log, or differs at its end, is not touched again."""
    other = filled(size, connection="other")
    Mirror("copy", other, lambda _: copy).follow()
    mirror = Mirror("copy", filled(3), lambda _: copy)
    for _ in range(2):
        told = mirror.follow()
        assert (told.state, told.why) == ("diverged", "It holds something else than the log.")
    assert list(copy.entries()) == other.lines


def test_a_copy_that_another_process_is_always_first_to_extend(copy):
    """However often somebody else was faster, the copy is level in the end."""
    log = filled(1)
    extend, lost = copy.extend, []
    Mirror("copy", log, lambda _: copy).follow()
    log.append(Record(RecordKind.VOTE, AT, "r", "s"))
    copy.extend = lambda start, lines: (
        extend(start, lines) if len(lost) > 1500 else lost.append(start)
    )
    copy.end = lambda: (1, log.lines[0])
    assert Mirror("copy", log, lambda _: copy).follow().state == "level"


def test_two_processes_bring_up_one_copy(copy):
    """A copy that somebody else extended meanwhile is looked at anew."""
    log = filled(4)
    extend, calls = copy.extend, []

    def late(start, lines):
        if not calls:
            calls.append(extend(0, log.lines[:2]))
        return extend(start, lines)

    copy.extend = late
    assert Mirror("copy", log, lambda _: copy).follow().state == "level"
    assert list(copy.entries()) == log.lines


@pytest.mark.parametrize("torn", [b"torn", b'{"index":', b""])
def test_a_torn_copy_in_files_is_mended(tmp_path, torn):
    """What a crash left behind the last entry is written again from the log."""
    log, copy = filled(3), FileCopy(tmp_path)
    Mirror("copy", log, lambda _: copy).follow()
    [path] = (tmp_path / "audit").glob("*.jsonl")
    path.write_bytes(path.read_bytes() + torn)
    log.append(Record(RecordKind.VOTE, AT, "r", "s"))
    assert Mirror("copy", log, lambda _: copy).follow().state == "level"
    assert list(copy.entries()) == log.lines
    path.write_bytes(torn)
    assert Mirror("copy", log, lambda _: copy).follow().size == 4
    assert list(copy.entries()) == log.lines


class Hanging:
    """A copy that does not answer until it is let go, and then fails."""

    def __init__(self):
        self.asked, self.free = threading.Event(), threading.Event()

    def end(self):
        self.asked.set()
        self.free.wait()
        raise BackendFailed("It is away.", code="state-unavailable", why="it does not answer")

    def close(self):
        """Nothing to do."""


def test_a_copy_that_hangs_delays_nobody(tmp_path):
    """Beside a copy that hangs another one follows, and the session ends all the same."""
    log, stuck, copy = filled(3), Hanging(), FileCopy(tmp_path)
    mirrors = [Mirror("stuck", log, lambda _: stuck), Mirror("copy", log, lambda _: copy)]
    mirroring = Mirroring(mirrors, every_s=0.001)
    mirroring.start()
    mirroring.start()
    threads = mirroring.threads
    stuck.asked.wait()
    mirroring.close(wait_s=0.2)
    assert [one.state for one in mirroring.states()] == ["behind", "level"]
    stuck.free.set()
    for thread in threads:
        thread.join()
    assert mirroring.states()[0].why == "it does not answer"
    assert list(copy.entries()) == log.lines


def test_the_sinks_of_a_session_are_copied(tmp_path):
    """Closing a session brings its copies up to date; sync and doctor say how far they are."""
    more = "audit:\n  sinks: [{kind: files}, {kind: files, path: copies/one}]\n"
    folder = build(tmp_path, "CREATE TABLE flights AS SELECT 1 AS n", config=CONFIG + more)
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT n FROM flights").to_arrow()
    log = FileEvidence(folder / ".nbgov")
    copied = FileEvidence(folder / "copies" / "one")
    assert list(copied.entries()) == list(log.entries())
    assert copied.note("checkpoint") == log.note("checkpoint")
    run = CliRunner().invoke(
        main, ["--config", str(folder), "--as", "ada@acme.test", "audit", "sync"]
    )
    assert (run.exit_code, "sink 2 (files)" in run.stdout, "level" in run.stdout) == (0, True, True)
    [path] = (folder / "copies" / "one" / "audit").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"ok"', b'"no"'))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]).replace(b"s", b"z"))
    run = CliRunner().invoke(
        main, ["--config", str(folder), "--as", "ada@acme.test", "audit", "sync"]
    )
    assert (run.exit_code, "diverged" in run.stdout) == (1, True)
    told = CliRunner().invoke(
        main, ["--config", str(folder), "--as", "ada@acme.test", "audit", "status"]
    )
    assert (told.exit_code, "copy       sink 2 (files): " in told.stdout) == (0, True)
    told = (
        CliRunner()
        .invoke(main, ["--config", str(folder), "--as", "ada@acme.test", "doctor"])
        .stdout
    )
    assert "diverged" in told


def test_without_copies_there_is_nothing_to_sync(tmp_path):
    """A log with one sink says so."""
    folder = build(tmp_path, "CREATE TABLE flights AS SELECT 1 AS n", config=CONFIG)
    run = CliRunner().invoke(
        main, ["--config", str(folder), "--as", "ada@acme.test", "audit", "sync"]
    )
    assert run.stdout == "nbgov.yaml names no copy of the audit log.\n"

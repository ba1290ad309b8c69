"""One suite for every audit log, then what only files suffer: crashes, full disks, neighbours."""

from __future__ import annotations

import errno
import fcntl
import gc
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbgov.backends.files import FileAuditLog, LogTerms, SystemClock
from nbgov.backends.files.committer import Job
from nbgov.backends.files.writer import LogWriter
from nbgov.backends.memory import MemoryAuditLog, MemoryClock, MemorySigner
from nbgov.core.audit import decode, verify
from nbgov.core.audit.merkle import Frontier, leaf_digest
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey
from nbgov.errors import BackendFailed
from nbgov.model import Record, RecordKind
from tests.backends.postgres_disk import PostgresDisk

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 1, 2, tzinfo=UTC)


def record(kind=RecordKind.VOTE, at=AT, session="s", **fields):
    return Record(kind=kind, at=at, request="r", session=session, **fields)


def attempt(session="s"):
    return record(RecordKind.ATTEMPT, session=session)


def outcome(receipt, status="ok"):
    return record(RecordKind.OUTCOME, attempt=receipt.index, status=status)


def kinds(log):
    return [decode(line).record.kind.value for line in log.entries()]


def records(log):
    return [decode(line).record for line in log.entries()]


def unavailable():
    return pytest.raises(BackendFailed, match="audit-unavailable")


class MemoryDisk:
    """Lines in RAM, and failures planned in the log."""

    def __init__(self):
        self.lines = []

    def open(self, **_):
        return MemoryAuditLog("log", lines=self.lines)

    def fail(self, log, *, is_kept, error=None):
        (log.faults.after if is_kept else log.faults.before)("append", error=error)


class FileDisk:
    """A folder, and a sync that fails: bytes that it did not reach are lost, or not."""

    def __init__(self, folder):
        self.folder = folder
        self.planned = None
        self.synced = {}

    def sync(self, fd):
        inode = os.fstat(fd).st_ino
        if self.planned is not None:
            (is_kept, error), self.planned = self.planned, None
            if isinstance(error, KeyboardInterrupt):
                # It reaches who waits for the entry, not the thread that writes it.
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                return
            if not is_kept:
                os.ftruncate(fd, self.synced.get(inode, 0))
            raise error
        self.synced[inode] = os.fstat(fd).st_size

    def open(self, *, session="s", origin="log", **options):
        terms = LogTerms(**({"sync": self.sync} | options))
        clock, signer = MemoryClock(AT + timedelta(days=1)), MemorySigner()
        return FileAuditLog(
            self.folder, session=session, clock=clock, signer=signer, origin=origin, terms=terms
        )

    def fail(self, log, *, is_kept, error=None):
        self.planned = is_kept, error or OSError(errno.EIO, "Input/output error")

    @property
    def segments(self):
        return sorted((self.folder / "audit").glob("*.jsonl"))


@pytest.fixture(params=["memory", "files", "postgresql"])
def disk(request, tmp_path):
    if request.param == "postgresql":
        return PostgresDisk(request.getfixturevalue("postgres_url"))
    return MemoryDisk() if request.param == "memory" else FileDisk(tmp_path / "state")


@pytest.fixture
def files(tmp_path):
    return FileDisk(tmp_path / "state")


# ---- every audit log


def test_what_was_acknowledged_is_there(disk):
    """A receipt names its log and its entry, and the entry has the receipt's digest."""
    log = disk.open()
    receipts = [log.append(record(note=str(number))) for number in range(5)]
    lines = list(log.entries())
    assert [decode(line).record.note for line in lines] == list("01234")
    assert [(r.origin, r.index) for r in receipts] == [("log", number) for number in range(5)]
    assert [r.entry_digest for r in receipts] == [leaf_digest(line) for line in lines]
    log.close()


def test_a_log_adds_up_across_restarts(disk):
    """What one process wrote is continued by the next, in one chain."""
    for number in range(3):
        log = disk.open()
        first = log.append(attempt())
        log.append(outcome(first))
        log.close()
        assert verify(log.entries()).entries == 2 * number + 2
    report = verify(disk.open().entries())
    assert (report.is_intact, report.outcomes, report.open_attempts) == (True, {"ok": 3}, ())


def test_an_empty_log_has_no_entries(disk):
    """A log that nobody wrote to can be read, and holds nothing."""
    assert list(disk.open().entries()) == []


def test_time_never_runs_backwards(disk):
    """A record from before the last one is dated like the last one."""
    log = disk.open()
    for hours in (2, 1, 3, 0):
        log.append(record(at=AT + timedelta(hours=hours)))
    log.close()
    log = disk.open()
    log.append(record(at=AT))
    assert [(r.at - AT) / timedelta(hours=1) for r in records(log)] == [2, 2, 3, 3, 3]
    assert verify(log.entries()).is_intact
    log.close()


def test_an_attempt_is_closed_once(disk):
    """A second outcome gets the receipt of the first; one of no attempt leaves no trace."""
    log = disk.open()
    first = log.append(attempt())
    receipt = log.append(outcome(first))
    assert log.append(outcome(first, "cancelled")) == receipt
    with pytest.raises(RuntimeError, match="is not open"):
        log.append(record(RecordKind.OUTCOME, attempt=7, status="ok"))
    log.append(record())
    assert kinds(log) == ["attempt", "outcome", "vote"]
    log.close()


def test_a_record_that_cannot_be_kept_leaves_no_trace(disk):
    """A record that breaks the format is refused, and the log goes on."""
    log = disk.open()
    with pytest.raises(RuntimeError, match="cannot be kept"):
        log.append(record(statement_mac="SELECT 1"))
    assert log.append(record()).index == 0
    log.close()


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_failed_append_closes_the_log(disk, is_kept):
    """After a failure nothing can be appended until the log is opened anew, and nothing is lost."""
    log = disk.open()
    log.append(record(note="before"))
    disk.fail(log, is_kept=is_kept)
    for _ in range(3):
        with unavailable():
            log.append(record(note="failed"))
    log.close()
    log = disk.open()
    assert log.append(record(note="after")).index == 1 + is_kept
    notes = [r.note for r in records(log)]
    assert notes == ["before", *["failed"] * is_kept, "after"]
    assert verify(log.entries()).is_intact
    log.close()


@pytest.mark.parametrize("is_kept", [False, True])
def test_an_attempt_that_failed_to_be_recorded_is_never_left_open(disk, is_kept):
    """An attempt that was kept although its append failed is interrupted, else there is none."""
    log = disk.open()
    disk.fail(log, is_kept=is_kept)
    with unavailable():
        log.append(attempt())
    log.close()
    log = disk.open()
    log.recover()
    assert kinds(log) == ["attempt", "interrupted"] * is_kept
    log.close()


def test_an_attempt_without_outcome_is_interrupted(disk):
    """Opening a log closes the attempts that the last process left open, and only these."""
    log = disk.open()
    done = log.append(attempt())
    log.append(outcome(done))
    lost = log.append(attempt())
    log.close()
    log = disk.open()
    assert log.append(record()).index == 4
    assert kinds(log) == ["attempt", "outcome", "attempt", "interrupted", "vote"]
    assert records(log)[3].attempt == lost.index
    log.recover()
    assert verify(log.entries()).interrupted == 1
    log.close()


def test_a_closed_log_opens_anew(disk):
    """Appending after a close, also after a failure, opens the log again."""
    log = disk.open()
    disk.fail(log, is_kept=False)
    with unavailable():
        log.append(record())
    log.close()
    assert log.append(record()).index == 0
    log.close()


@pytest.mark.parametrize("is_kept", [False, True])
def test_an_interrupted_outcome_is_recorded_once(disk, is_kept):
    """An outcome whose append was interrupted is written once, however often it is tried."""
    log = disk.open()
    first = log.append(attempt())
    if not is_kept and isinstance(disk, FileDisk):
        pytest.skip("has a test of its own")
    disk.fail(log, is_kept=is_kept, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        log.append(outcome(first, "ok"))
    assert log.append(outcome(first, "cancelled")).index == 1
    assert [r.status for r in records(log)] == [None, "ok" if is_kept else "cancelled"]
    assert log.append(record()).index == 2
    assert verify(log.entries()).is_intact
    log.close()


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("goes_on", [False, True])
def test_an_interrupted_attempt_is_closed_later(disk, is_kept, goes_on):
    """An attempt that was kept although its append was interrupted is closed after its session."""
    log = disk.open()
    if not is_kept and isinstance(disk, FileDisk):
        pytest.skip("has a test of its own")
    disk.fail(log, is_kept=is_kept, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        log.append(attempt())
    if goes_on:
        log.append(record())
    log.close()
    log = disk.open()
    log.recover()
    assert kinds(log) == ["attempt"] * is_kept + ["vote"] * goes_on + ["interrupted"] * is_kept
    log.close()


STEPS = st.lists(
    st.sampled_from(["vote", "attempt", "outcome", "reopen", "lost", "kept", "denied"]), max_size=14
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_no_acknowledged_entry_is_ever_lost(kind, steps, tmp_path_factory):
    """Whatever fails in whatever order, the log adds up and holds every receipt's entry."""
    folder = tmp_path_factory.mktemp("state")
    walk(MemoryDisk() if kind == "memory" else FileDisk(folder), steps)


def walk(disk, steps):
    log, receipts, open_attempts = disk.open(), [], []
    for step in steps:
        if step == "reopen":
            log.close()
            log, open_attempts = disk.open(), []
        elif step in {"lost", "kept"}:
            disk.fail(log, is_kept=step == "kept")
            with unavailable():
                log.append(attempt())
            log.close()
            log, open_attempts = disk.open(), []
        elif step == "attempt":
            receipts.append(log.append(attempt()))
            open_attempts.append(receipts[-1])
        elif step == "outcome" and open_attempts:
            receipts.append(log.append(outcome(open_attempts.pop())))
        else:
            kind_of = RecordKind.OUTCOME if step == "denied" else RecordKind.VOTE
            receipts.append(log.append(record(kind_of, status="denied")))
    log.recover()
    lines = list(log.entries())
    assert [leaf_digest(lines[r.index]) for r in receipts] == [r.entry_digest for r in receipts]
    report = verify(lines)
    assert report.is_intact
    assert report.open_attempts == tuple(sorted(r.index for r in open_attempts))
    log.close()


# ---- files: what is on the disk


def test_only_the_owner_can_read_it(files):
    """Files have mode 0600 and folders 0700, whatever the process would give them."""
    before = os.umask(0)
    try:
        with files.open() as log:
            log.append(attempt())
            found = {p: stat.S_IMODE(p.stat().st_mode) for p in files.folder.rglob("*")}
    finally:
        os.umask(before)
    assert {p for p, mode in found.items() if mode != (0o700 if p.is_dir() else 0o600)} == set()
    assert {p.name for p in found} == {"audit", "sessions", "lock", "s", f"{0:020}.jsonl"}


def test_a_segment_holds_the_entries_and_a_newline_each(files):
    """What is on the disk is the entries, each with one newline, and nothing else."""
    with files.open() as log:
        log.append(record(statement="a\nb\u2028c"))
        log.append(record())
        lines = list(log.entries())
    assert files.segments[0].read_bytes() == b"".join(line + b"\n" for line in lines)


def test_segments_are_named_by_their_first_entry(files):
    """A segment that is full is followed by one that is named by its first index."""
    with files.open(segment_bytes_max=600) as log:
        for _ in range(8):
            log.append(record())
        lines = list(log.entries())
    assert len(files.segments) > 2
    for path in files.segments:
        first = path.read_bytes().split(b"\n")[0]
        assert path.name == f"{decode(first).index:020}.jsonl"
    assert verify(lines).entries == 8
    with files.open(segment_bytes_max=600) as log:
        assert log.append(record()).index == 8


def test_neighbours_follow_one_another_into_new_segments(files):
    """A log that a neighbour continued in further segments is continued at its end."""
    log, other = files.open(segment_bytes_max=300), files.open(segment_bytes_max=300)
    for _ in range(3):
        for one in (log, other, other, other):
            one.append(record())
    assert len(files.segments) > 5
    assert verify(log.entries()).entries == 12
    log.close()
    other.close()


def test_a_process_that_died_between_segments_does_no_harm(files):
    """An empty newest segment, or one with a torn line only, is continued."""
    with files.open() as log:
        log.append(record())
    newer = files.folder / "audit" / f"{1:020}.jsonl"
    newer.write_bytes(b"")
    with files.open() as log:
        assert log.append(record()).index == 1
    assert newer.stat().st_size > 0
    (files.folder / "audit" / f"{2:020}.jsonl").write_bytes(b'{"torn')
    with files.open() as log:
        assert log.append(record()).index == 3
        assert kinds(log) == ["vote", "vote", "repair", "vote"]
        assert verify(log.entries()).is_intact


def test_a_log_keeps_its_name(files):
    """Whoever opens an existing log under another name continues it under its own."""
    with files.open(origin="first") as log:
        assert log.append(record()).origin == "first"
    with files.open(origin="second") as log:
        assert log.append(record()).origin == "first"
        assert verify(log.entries()).is_intact


def test_a_new_log_has_a_name_of_its_own(tmp_path):
    """Two logs that nobody named have different names."""
    logs = [
        FileAuditLog(tmp_path / n, session="s", clock=SystemClock(), signer=MemorySigner())
        for n in "ab"
    ]
    one, other = (log.append(record()).origin for log in logs)
    assert one != other
    for log in logs:
        log.close()


def test_a_copied_log_can_be_read(files, tmp_path):
    """Segments without a lock beside them, as an auditor gets them, can be read."""
    with files.open() as log:
        log.append(record())
    copy = tmp_path / "copy" / "audit"
    copy.mkdir(parents=True)
    (copy / files.segments[0].name).write_bytes(files.segments[0].read_bytes())
    assert verify(FileDisk(copy.parent).open().entries()).entries == 1
    assert [p.name for p in copy.iterdir()] == [files.segments[0].name]


def test_reading_writes_nothing(files):
    """Reading entries neither repairs nor closes anything."""
    log = files.open()
    log.append(attempt())
    log.close()
    with files.segments[0].open("ab") as file:
        file.write(b"torn")
    before = files.segments[0].read_bytes()
    report = verify(files.open().entries())
    assert report.problem_index == 1
    assert files.segments[0].read_bytes() == before


def test_a_segment_that_cannot_be_read_is_an_error(files):
    """A segment that is no file ends reading with a code, not with half a log."""
    (files.folder / "audit" / f"{0:020}.jsonl").mkdir(parents=True)
    with pytest.raises(BackendFailed, match="state-unavailable"):
        list(files.open().entries())


def test_endless_lines_do_not_fill_the_memory(files):
    """A line that is longer than any entry is read in pieces, and reported."""
    (files.folder / "audit").mkdir(parents=True)
    path = files.folder / "audit" / f"{0:020}.jsonl"
    path.write_bytes(b"x" * 1_000_000)
    lines = list(files.open().entries())
    assert max(map(len, lines)) == 65_536
    assert verify(lines).problem_index == 0


# ---- files: crashes


@pytest.mark.parametrize(
    "torn",
    [b'{"index":', b"\0" * 5_000, b"{}\n", b'{"torn"\n', b"x" * 65_000],
    ids=["half a line", "zeros", "a wrong line", "half a line and a newline", "long"],
)
def test_a_torn_tail_is_cut_and_told(files, torn):
    """What a crash left behind the last entry is replaced by a record of how much it was."""
    with files.open() as log:
        log.append(record())
    with files.segments[0].open("ab") as file:
        file.write(torn)
    with files.open(session="next") as log:
        log.append(record())
        found = records(log)
    assert [r.kind.value for r in found] == ["vote", "repair", "vote"]
    assert found[1].session == "next"
    assert f"cut {len(torn)} bytes" in found[1].note
    assert hashlib.sha256(torn).hexdigest() in found[1].note
    assert verify(files.open().entries()).is_intact


def test_another_process_mends_a_torn_tail_while_this_one_lives(files):
    """A tail torn by a neighbour is cut by whoever appends next; a stranger's bytes are not."""
    log = files.open()
    log.append(record())
    with files.segments[0].open("ab") as file:
        file.write(b'{"index":1,"origin":"lo')
    log.append(record())
    assert kinds(log) == ["vote", "repair", "vote"]
    log.close()


@pytest.mark.parametrize(
    "damage",
    [b"{}\n{}\n", b"{}\ntorn", b"x" * 500_000, b"\n" * 3],
    ids=["two wrong lines", "wrong and torn", "long", "empty lines"],
)
def test_worse_damage_is_left_as_it_is(files, damage):
    """More than one line that is no entry is no accident: nothing is cut, and nothing appended."""
    with files.open() as log:
        log.append(record())
    with files.segments[0].open("ab") as file:
        file.write(damage)
    before = files.segments[0].read_bytes()
    log = files.open()
    with unavailable():
        log.append(record())
    assert files.segments[0].read_bytes() == before
    log.close()


def test_segments_that_do_not_belong_together_are_refused(files):
    """A newest segment that does not follow from the one before takes no entry."""
    with files.open() as log:
        log.append(record())
    (files.folder / "audit" / f"{5:020}.jsonl").write_bytes(b"")
    log = files.open()
    with unavailable():
        log.append(record())
    log.close()


def test_an_older_segment_with_a_torn_tail_is_refused(files):
    """Only the newest segment can be torn by a crash."""
    with files.open() as log:
        log.append(record())
    with files.segments[0].open("ab") as file:
        file.write(b"torn")
    (files.folder / "audit" / f"{1:020}.jsonl").write_bytes(b"")
    log = files.open()
    with unavailable():
        log.append(record())
    log.close()


def test_entries_that_jump_are_refused(files):
    """Entries that a neighbour appended have to follow from those before."""
    log = files.open()
    log.append(record())
    line = files.segments[0].read_bytes()
    with files.segments[0].open("ab") as file:
        file.write(line)
    with unavailable():
        log.append(record())
    log.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_power_loss_at_any_byte_loses_nothing_acknowledged(data, tmp_path_factory):
    """Unsynced bytes can be missing, cut or wrong after power loss; synced entries stay."""
    files = FileDisk(tmp_path_factory.mktemp("state"))
    log = files.open()
    receipts = [log.append(record(note="x" * 50)) for _ in range(3)]
    files.fail(log, is_kept=True)
    with unavailable():
        log.append(record(note="not acknowledged"))
    log.close()
    path, synced = files.segments[0], max(files.synced.values())
    content = bytearray(path.read_bytes())
    del content[data.draw(st.integers(synced, len(content)), "bytes that arrived") :]
    for place in range(synced, len(content)):
        if content[place] != ord("\n") and data.draw(st.integers(0, 19), "lost") == 0:
            content[place] = 0
    path.write_bytes(content)
    log = files.open()
    log.append(record())
    lines = list(log.entries())
    assert list(map(leaf_digest, lines[:3])) == [r.entry_digest for r in receipts]
    assert verify(lines).is_intact
    log.close()


def test_a_log_that_acknowledges_before_it_syncs_would_lose_entries(files):
    """The test above can fail: without a sync, entries that were acknowledged are gone."""
    log = files.open(sync=lambda fd: None)
    acknowledged = [log.append(record()) for _ in range(2)]
    log.close()
    os.truncate(files.segments[0], max(files.synced.values(), default=0))
    assert verify(files.open().entries()).entries < len(acknowledged)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from datetime import UTC, datetime
from nbgov.backends.files import FileAuditLog, LogTerms, SystemClock
from nbgov.backends.memory import MemorySigner
from nbgov.model import Record, RecordKind

def work(number, pipe):
    log = FileAuditLog(Path(sys.argv[1]), session=f"s{number}", clock=SystemClock(), signer=MemorySigner())
    while True:
        now = datetime.now(UTC)
        facts = {"at": now, "request": "r", "session": f"s{number}", "note": "n" * 500}
        first = log.append(Record(kind=RecordKind.ATTEMPT, **facts))
        os.write(pipe, b"%d %s\\n" % (first.index, first.entry_digest.hex().encode()))
        second = log.append(Record(kind=RecordKind.OUTCOME, attempt=first.index, **facts))
        os.write(pipe, b"%d %s\\n" % (second.index, second.entry_digest.hex().encode()))

for number in range(int(sys.argv[2])):
    end, start = os.pipe()
    child = os.fork()
    if not child:
        work(number, start)
    os.close(start)
    with os.fdopen(end) as heard:
        for _ in range(3 + number % 4):
            print(heard.readline().strip())
        os.kill(child, signal.SIGKILL)
        print(heard.read().strip())
    os.waitpid(child, 0)
"""


def run(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kill_9_loses_nothing_acknowledged(tmp_path):
    """Ten processes killed in mid-append leave every entry that they had acknowledged."""
    heard = run(KILLED, tmp_path, 10).split("\n")
    acknowledged = dict(line.split() for line in heard if line)
    with FileAuditLog(tmp_path, session="s", clock=SystemClock(), signer=MemorySigner()) as log:
        log.recover()
        lines = list(log.entries())
        report = verify(lines)
    assert len(acknowledged) >= 10 * 3
    found = {str(index): leaf_digest(line).hex() for index, line in enumerate(lines)}
    assert acknowledged.items() <= found.items()
    assert report.is_intact
    assert report.open_attempts == ()
    assert report.interrupted >= 1


NEIGHBOURS = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from nbgov.backends.files import FileAuditLog, LogTerms, SystemClock
from nbgov.backends.memory import MemorySigner
from nbgov.model import Record, RecordKind

name, count = sys.argv[2], int(sys.argv[3])
log = FileAuditLog(Path(sys.argv[1]), session=name, clock=SystemClock(), signer=MemorySigner(), terms=LogTerms(segment_bytes_max=4000))
for number in range(count):
    facts = {"at": datetime.now(UTC), "request": name, "session": name}
    first = log.append(Record(kind=RecordKind.ATTEMPT, **facts))
    log.append(Record(kind=RecordKind.OUTCOME, attempt=first.index, status="ok", **facts))
log.close()
"""


def test_processes_share_a_log(tmp_path):
    """Two processes that append at the same time make one chain, across segments."""
    command = [sys.executable, "-c", NEIGHBOURS, str(tmp_path)]
    both = [subprocess.Popen([*command, name, "40"], cwd=ROOT) for name in ("one", "other")]
    assert [process.wait() for process in both] == [0, 0]
    log = FileAuditLog(tmp_path, session="s", clock=SystemClock(), signer=MemorySigner())
    report = verify(log.entries())
    assert (report.is_intact, report.outcomes, report.interrupted) == (True, {"ok": 80}, 0)
    assert {decode(line).record.request for line in log.entries()} == {"one", "other"}
    assert len(list((tmp_path / "audit").glob("*.jsonl"))) > 5
    assert list((tmp_path / "sessions").iterdir()) == []


FORKED = """
import os, sys
from pathlib import Path
from datetime import UTC, datetime
from nbgov.backends.files import FileAuditLog, LogTerms, SystemClock
from nbgov.backends.memory import MemorySigner
from nbgov.model import Record, RecordKind

facts = {"at": datetime.now(UTC), "request": "r", "session": "s"}
log = FileAuditLog(Path(sys.argv[1]), session="s", clock=SystemClock(), signer=MemorySigner())
first = log.append(Record(kind=RecordKind.ATTEMPT, **facts))
log.append(Record(kind=RecordKind.OUTCOME, attempt=first.index, status="ok", **facts))
child = os.fork()
for _ in range(30):
    log.append(Record(kind=RecordKind.VOTE, **facts))
if not child:
    log.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert os.listdir(Path(sys.argv[1]) / "sessions") == ["s"]
log.close()
assert os.listdir(Path(sys.argv[1]) / "sessions") == []
"""


def test_a_forked_child_shares_the_log(tmp_path):
    """A log used on both sides of a fork stays one chain; the child does not end the session."""
    run(FORKED, tmp_path)
    report = verify(
        FileAuditLog(tmp_path, session="s", clock=SystemClock(), signer=MemorySigner()).entries()
    )
    assert (report.is_intact, report.entries, report.outcomes) == (True, 62, {"ok": 1})


def test_threads_share_a_log(files):
    """Threads that append to one object at the same time make one chain."""
    log = files.open()
    threads = [
        threading.Thread(target=lambda: [log.append(record()) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(log.entries()).entries == 80
    log.close()


FULL = """
import json, resource, sys
from pathlib import Path
from datetime import UTC, datetime
from nbgov.backends.files import FileAuditLog, SystemClock
from nbgov.backends.memory import MemorySigner
from nbgov.errors import BackendFailed
from nbgov.model import Record, RecordKind

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
facts = {"at": datetime.now(UTC), "request": "r", "session": "s", "note": "n" * 700}
log = FileAuditLog(Path(sys.argv[1]), session="s", clock=SystemClock(), signer=MemorySigner())
heard, refused = [], []
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
for _ in range(40):
    try:
        heard.append(log.append(Record(kind=RecordKind.VOTE, **facts)).entry_digest.hex())
    except BackendFailed as error:
        refused.append(error.code)
        if len(refused) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.close()
log = FileAuditLog(Path(sys.argv[1]), session="s", clock=SystemClock(), signer=MemorySigner())
heard.append(log.append(Record(kind=RecordKind.VOTE, **facts)).entry_digest.hex())
print(json.dumps([heard, refused]))
"""


def test_a_full_disk_stops_everything(tmp_path):
    """When space runs out appends fail until the log is opened anew, and nothing heard is lost."""
    heard, refused = json.loads(run(FULL, tmp_path))
    assert len(heard) > 10
    assert len(refused) > 10
    assert set(refused) == {"audit-unavailable"}
    lines = list(
        FileAuditLog(tmp_path, session="s", clock=SystemClock(), signer=MemorySigner()).entries()
    )
    assert [
        leaf_digest(x).hex() for x in lines if decode(x).record.kind is not RecordKind.REPAIR
    ] == heard
    assert verify(lines).is_intact


# ---- files: the file is not what it was


def removed_now(path):
    path.unlink()


def renamed_now(path):
    path.rename(path.with_suffix(".old"))


def emptied_now(path):
    os.truncate(path, 0)


def grown_now(path):
    with path.open("ab") as file:
        file.write(b"x")


def removed(path):
    path.unlink()


def renamed(path):
    path.rename(path.with_suffix(".old"))


def emptied(path):
    path.with_suffix(".copy").write_bytes(path.read_bytes())
    os.truncate(path, 0)


def exchanged(path):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def shortened(path):
    lines = path.read_bytes().splitlines(keepends=True)
    os.truncate(path, len(lines[0]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (removed, "was removed"),
        (renamed, "was removed"),
        (emptied, "was cut"),
        (exchanged, "or replaced"),
        (shortened, "was cut"),
    ],
)
def test_a_log_that_was_taken_away_is_noticed(files, change, why):
    """Nothing is acknowledged into a segment that was removed, renamed, cut or exchanged."""
    log = files.open()
    log.append(record())
    log.append(record())
    change(files.segments[0])
    for _ in range(2):
        with unavailable() as caught:
            log.append(record())
        assert why in caught.value.why
    log.close()


def test_a_state_folder_that_cannot_be_is_an_error(tmp_path):
    """Where a file stands in the way of the folder, nothing can be appended."""
    (tmp_path / "state").write_text("a file")
    log = FileDisk(tmp_path / "state").open()
    with unavailable():
        log.append(record())
    log.close()


def test_a_link_is_not_followed(files, tmp_path):
    """A segment that is a symbolic link to another file is refused."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    (files.folder / "audit").mkdir(parents=True)
    (files.folder / "audit" / f"{0:020}.jsonl").symlink_to(victim)
    log = files.open()
    with unavailable():
        log.append(record())
    assert victim.read_bytes() == b""
    log.close()


def test_a_lock_that_is_held_is_waited_for_so_long(files):
    """A neighbour that holds the lock makes an append fail in time; later ones go on."""
    log = files.open(timeout_s=0.2)
    log.append(record())
    with (files.folder / "audit" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with unavailable():
            log.append(record())
    assert log.append(record()).index == 1
    log.close()


def test_a_lock_that_was_removed_is_no_lock(files):
    """A lock file that was removed while it was held elsewhere does not let two writers in."""
    log = files.open()
    log.append(record())
    (files.folder / "audit" / "lock").unlink()
    assert log.append(record()).index == 1
    assert (files.folder / "audit" / "lock").exists()
    log.close()


# ---- files: interruptions


def test_a_finaliser_in_the_thread_that_writes_does_not_hang(files):
    """It is refused at once; an outcome that it states is written all the same, nothing else is."""
    nested = []

    def sync(fd):
        if first is not None and not nested:
            for one in (record(note="nested"), attempt(), outcome(first, "dropped")):
                with unavailable() as caught:
                    log.append(one)
                nested.append(caught.value.why)

    first = None
    log = files.open(sync=sync)
    first = log.append(attempt())
    log.append(record(note="outer"))
    log.append(record(note="next"))
    assert sorted(kinds(log)) == ["attempt", "outcome", "vote", "vote"]
    assert nested == ["this thread is writing to it"] * 3
    log.close()
    assert verify(log.entries()).outcomes == {"dropped": 1}


def test_a_finaliser_in_a_thread_that_reads_does_not_hang(files):
    """While a thread holds the lock to read it cannot append; it can at once afterwards."""
    log = files.open()
    log.append(record())
    with log.still(), unavailable():
        log.append(record())
    log.append(record())
    log.close()


def test_an_append_that_is_interrupted_before_it_began_leaves_no_trace(files):
    """An outcome whose append was interrupted while it waited for the lock can be another one."""
    log = files.open()
    first = log.append(attempt())
    gone = threading.Event()

    def interrupt(held):
        while not log.opened.is_waiting_for_lock:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        gone.wait()
        held.close()

    held = (files.folder / "audit" / "lock").open()
    fcntl.flock(held, fcntl.LOCK_EX)
    thread = threading.Thread(target=interrupt, args=[held])
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        log.append(outcome(first, "ok"))
    gone.set()
    assert log.append(outcome(first, "cancelled")).index == 1
    thread.join()
    assert [r.status for r in records(log)] == [None, "cancelled"]
    log.close()


def test_a_disk_that_hangs_is_not_waited_for(files):
    """An append gives up in time, later ones at once, and nothing that hung is acknowledged."""
    hangs, goes_on = threading.Event(), threading.Event()

    def sync(fd):
        if hangs.is_set():
            goes_on.wait()

    log = files.open(sync=sync, timeout_s=0.3)
    log.append(record())
    hangs.set()
    for _ in range(2):
        with unavailable() as caught:
            log.append(record())
        assert "did not answer" in caught.value.why
    thread = log.opened.thread
    log.close()
    goes_on.set()
    thread.join()
    hangs.clear()
    assert log.append(record()).index == 2
    assert verify(log.entries()).is_intact
    log.close()


def test_who_waits_hears_of_it_when_another_gave_up(files):
    """A disk that goes on after somebody gave up frees the others at once; nothing counts."""
    hangs, goes_on = threading.Event(), threading.Event()
    heard = []

    def sync(fd):
        hangs.set()
        goes_on.wait()

    def append():
        with unavailable() as caught:
            log.append(record())
        heard.append(caught.value.why)

    log = files.open(sync=sync, timeout_s=threading.TIMEOUT_MAX)
    waiting = threading.Thread(target=append, daemon=True)
    waiting.start()
    hangs.wait()
    committer = log.opened
    committer.give_up(Job(LogWriter.flush))
    goes_on.set()
    waiting.join(5)
    assert ["did not answer" in why for why in heard] == [True]
    log.close()
    committer.thread.join()


@pytest.mark.parametrize("is_closed_before", [True, False])
def test_an_append_while_another_thread_closes_the_log_opens_it_anew(files, is_closed_before):
    """Whoever asks what is ending, before or after it ended, neither waits nor fails."""
    waits, goes_on = threading.Event(), threading.Event()

    def sync(fd):
        waits.set()
        goes_on.wait()

    def take():
        """What an append found just before another thread closed the log."""
        del log.committer
        return committer

    log = files.open(sync=sync, timeout_s=5)
    first = threading.Thread(target=log.append, args=[record(note="first")])
    first.start()
    waits.wait()
    committer, log.opened = log.opened, None
    committer.queue.put(None)
    if is_closed_before:
        goes_on.set()
        committer.thread.join()
    else:
        # The next job stands behind the end when the thread goes on.
        committer.start = goes_on.set
    log.committer = take
    assert log.append(record(note="second")).index == 1
    first.join()
    log.close()
    assert [r.note for r in records(log)] == ["first", "second"]


def test_a_log_nobody_closed_ends_its_thread():
    """A log that is dropped does not keep its thread."""
    with tempfile.TemporaryDirectory() as folder:
        log = FileDisk(Path(folder)).open()
        log.append(record())
        thread = log.opened.thread
        del log
        gc.collect()
        thread.join()


def test_a_process_that_ends_signs_what_is_new(tmp_path):
    """Whoever forgets to close a log leaves a checkpoint over all of its entries."""
    script = (
        "import sys; from pathlib import Path\n"
        "from nbgov.backends.files import FileAuditLog, FileSigner, SystemClock\n"
        "from nbgov.model import Record, RecordKind\n"
        "clock, folder = SystemClock(), Path(sys.argv[1])\n"
        "signer = FileSigner(folder / 'audit.key')\n"
        "log = FileAuditLog(folder, session='s', clock=clock, signer=signer)\n"
        "log.append(Record(kind=RecordKind.VOTE, at=clock.now(), request='r', session='s'))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert Note.parse((tmp_path / "audit/checkpoint").read_text()).checkpoint.size == 1


def test_where_no_thread_can_be_started_the_caller_writes(files, monkeypatch):
    """At the end of the interpreter, which starts no threads, entries are written all the same."""

    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    log = files.open()
    for number in range(3):
        assert log.append(record()).index == number
    log.close()
    assert verify(log.entries()).entries == 3


# ---- files: checkpoints


def signed(log):
    return Note.parse(log.note("checkpoint")).checkpoint


def root(lines):
    frontier = Frontier()
    frontier.extend(map(leaf_digest, lines))
    return frontier.root()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_a_checkpoint_covers_every_entry(disk, count):
    """It names the log, how many entries there are and their root, under the signer's key."""
    log = disk.open()
    assert log.checkpoint() is None
    for _ in range(count):
        log.append(record())
    note, lines = log.checkpoint(), list(log.entries())
    assert note.checkpoint == Checkpoint("log", count, root(lines))
    assert note.signed_by(VerifierKey("log", MemorySigner().public_key())) is not None
    assert str(log.checkpoint()) == log.note("checkpoint") == str(note)
    for start in range(count):
        assert log.subtree(start, count) == root(lines[start:])
    log.close()


def test_checkpoints_follow_the_entries(files):
    """One is signed after so many entries, and one over what is new when the log is closed."""
    log = files.open(checkpoint_entries=4, segment_bytes_max=900)
    for _ in range(10):
        log.append(record())
    log.recover()
    assert signed(log).size == 8
    log.close()
    assert signed(log) == Checkpoint("log", 10, root(log.entries()))
    with files.open(checkpoint_entries=4) as log:
        log.append(record())
    assert signed(log) == Checkpoint("log", 11, root(log.entries()))


def test_a_checkpoint_follows_in_time(files):
    """A log that has gone quiet is signed after so many seconds, without anybody asking."""
    log = files.open(checkpoint_s=0.01)
    log.append(record())
    while not log.note("checkpoint"):
        time.sleep(0.001)
    assert signed(log).size == 1
    log.close()


def test_neighbours_sign_one_tree(files):
    """Two objects that append and sign in turn agree on every root."""
    logs = [files.open(session=name, checkpoint_entries=5) for name in "ab"]
    for number in range(40):
        logs[number % 3 % 2].append(record())
        if number % 7 == 0:
            size = logs[number % 2].checkpoint().checkpoint.size
            assert signed(logs[0]).root == root(list(logs[0].entries())[:size])
    for log in logs:
        log.close()
    assert signed(log) == Checkpoint("log", 40, root(log.entries()))


@pytest.mark.parametrize("damage", ["gone", "cut", "wrong"])
def test_a_tree_that_is_damaged_is_made_anew(files, damage):
    """The tree is only as good as the checkpoint says, and the entries make it again."""
    with files.open(segment_bytes_max=900) as log:
        for _ in range(11):
            log.append(record())
    path = files.folder / "audit" / "tree"
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:70] if damage == "cut" else bytes(len(content)))
    with files.open() as log:
        log.append(record())
        lines = list(log.entries())
        assert log.checkpoint().checkpoint == Checkpoint("log", 12, root(lines))
        assert log.subtree(0, 11) == root(lines[:11])


def cut_short(files):
    path = files.segments[0]
    os.truncate(path, path.read_bytes().index(b"\n", 500) + 1)


def emptied_whole(files):
    for path in files.segments:
        path.unlink()


def rewritten(files):
    log = FileDisk(files.folder.parent / "other").open()
    for number in range(6):
        log.append(record(note=f"another {number}"))
    content = (files.folder.parent / "other" / "audit" / files.segments[0].name).read_bytes()
    log.close()
    files.segments[0].write_bytes(content)


@pytest.mark.parametrize("has_tree", [True, False])
@pytest.mark.parametrize(
    ("change", "why"),
    [(cut_short, "checkpoint was signed over 6"), (emptied_whole, "over 6"), (rewritten, "those")],
)
def test_a_log_at_odds_with_its_checkpoint_takes_nothing(files, change, why, has_tree):
    """Where signed entries are gone or others, nothing is signed and nothing is appended."""
    with files.open() as log:
        for _ in range(6):
            log.append(record())
    before = log.note("checkpoint")
    change(files)
    if not has_tree:
        (files.folder / "audit" / "tree").unlink()
    log = files.open()
    for _ in range(2):
        with unavailable() as caught:
            log.append(record())
        assert why in caught.value.why
        assert "a copy" in caught.value.next_step
    with unavailable():
        log.checkpoint()
    assert log.note("checkpoint") == before
    log.close()


def test_a_log_that_loses_signed_entries_while_it_is_open_signs_nothing_more(files):
    """The old root has to be the root at the old size whenever a checkpoint is signed."""
    log = files.open()
    log.append(record())
    note = log.checkpoint()
    log.append(record())
    for forged in (Checkpoint("log", 9, bytes(32)), Checkpoint("log", 1, bytes(32))):
        log.keep_note("checkpoint", str(Note(forged.text, note.signatures)))
        with unavailable():
            log.checkpoint()
        log.close()
        (files.folder / "audit" / "checkpoint").unlink()
        log.recover()
    log.close()


def test_notes_are_kept_and_taken_away(disk):
    """A note is there until another, or nothing, is put in its place; other names are none."""
    log = disk.open()
    log.append(record())
    assert log.note("witnessed") == ""
    for text in ("one\n", "two\n", ""):
        log.keep_note("witnessed", text)
        assert log.note("witnessed") == text
    log.close()


@pytest.mark.parametrize("name", ["../victim", "lock", "key-0", "key-", "tree", "checkpoint.draft"])
def test_a_note_has_a_name_of_its_own(files, name):
    """A name that could be another file is refused."""
    with files.open() as log:
        for step in (lambda: log.note(name), lambda: log.keep_note(name, "x")):
            with pytest.raises(RuntimeError, match="name"):
                step()


# ---- files: strangers, and the clock


@pytest.mark.parametrize("foreign", [b"torn", b"{}\n", b"\0" * 9, b'{"index":2,'])
def test_what_a_stranger_appends_to_a_live_log_is_refused(files, foreign):
    """Bytes that no writer of the log would begin an entry with are not taken for a crash."""
    log = files.open()
    log.append(record())
    with files.segments[0].open("ab") as file:
        file.write(foreign)
    before = files.segments[0].read_bytes()
    for _ in range(2):
        with unavailable() as caught:
            log.append(record())
        assert "no writer" in caught.value.why
    assert files.segments[0].read_bytes() == before
    log.close()


@pytest.mark.parametrize("change", [removed_now, renamed_now, emptied_now, grown_now])
def test_a_log_that_is_taken_away_in_mid_append_is_noticed(files, change):
    """What was written to a file that is no longer the log is not acknowledged."""

    def sync(fd):
        if is_due:
            is_due.clear()
            change(files.segments[0])

    is_due = []
    log = files.open(sync=sync)
    log.append(record())
    is_due.append(True)
    with unavailable():
        log.append(record())
    with unavailable():
        log.append(record())
    log.close()


def test_a_clock_that_goes_back_is_told_once(files):
    """Entries keep the last time, and one of them says what the clock says; so for each jump."""
    log = files.open()
    clock = log.author.clock
    log.append(record(at=clock.now()))
    for hours in (1, 1):
        clock.at -= timedelta(hours=hours)
        for _ in range(3):
            log.append(record(at=clock.now()))
    log.close()
    told = [r for r in records(log) if r.verb == "CLOCK"]
    assert [r.kind for r in told] == [RecordKind.ADMIN] * 2
    assert (
        "the clock says 2026-01-02T23:00:00Z, the entry before this one says 2026-01-03"
        in told[0].note
    )
    assert len(records(log)) == 9
    assert len({r.at for r in records(log)}) == 1
    assert verify(log.entries()).is_intact
    ticks = [r.ticks for r in records(log)]
    assert ticks == sorted(ticks)


# ---- files: reading from an index on


def test_entries_are_found_by_their_index(disk):
    """Reading from an index on gives what reading all gives from there on, and past the end none."""
    log = disk.open()
    for number in range(60):
        log.append(record(note="n" * (number * 37 % 9000)))
    lines = list(log.entries())
    for start in range(63):
        assert list(log.entries(start)) == lines[start:]
    log.close()


def test_entries_are_found_in_many_segments(files):
    """It is the same where every few entries begin another segment."""
    with files.open(segment_bytes_max=1500) as log:
        for number in range(40):
            log.append(record(note="n" * (number * 37 % 900)))
        lines = list(log.entries())
        assert len(files.segments) > 10
        for start in range(43):
            assert list(log.entries(start)) == lines[start:]


# ---- files: sessions


def test_the_attempt_of_a_living_session_is_left_alone(files):
    """While its process lives an attempt stays open, and can be closed by its outcome."""
    log = files.open(session="first")
    first = log.append(attempt("first"))
    with files.open(session="second") as other:
        other.append(record())
        other.recover()
        assert verify(other.entries()).open_attempts == (first.index,)
    log.append(outcome(first))
    log.close()
    assert verify(log.entries()).open_attempts == ()
    assert list((files.folder / "sessions").iterdir()) == []


def test_a_session_that_dies_later_is_found_by_recover(files):
    """A log that is open for long closes the attempts of sessions that died meanwhile."""
    survivor = files.open(session="survivor")
    survivor.append(record())
    victim = files.open(session="victim")
    lost = victim.append(attempt("victim"))
    victim.close()
    survivor.recover()
    assert records(survivor)[-1].attempt == lost.index
    assert records(survivor)[-1].session == "victim"
    assert list((files.folder / "sessions").iterdir()) == []
    survivor.close()


def test_one_session_is_marked_by_one_process(files):
    """A second process cannot take a session that a first one holds."""
    log, other = files.open(), files.open()
    log.append(attempt())
    with unavailable():
        other.append(attempt())
    other.close()
    assert list((files.folder / "sessions").iterdir()) != []
    log.close()


@pytest.mark.parametrize("content", [b"", b"soon", b"0"])
def test_a_mark_that_says_nothing_makes_the_whole_log_be_read(files, content):
    """A mark that was torn by a crash does not hide an open attempt."""
    with files.open(segment_bytes_max=300) as log:
        for _ in range(3):
            log.append(outcome(log.append(attempt())))
        lost = log.append(attempt())
        log.append(record())
    assert len(files.segments) > 2
    (files.folder / "sessions" / "s").write_bytes(content)
    with files.open() as log:
        log.recover()
        assert records(log)[-1].attempt == lost.index


def test_only_what_is_needed_is_read_to_recover(files):
    """Attempts are looked for from the dead session's first one on, not in older segments."""
    with files.open(segment_bytes_max=300) as log:
        for _ in range(4):
            log.append(record(note="n" * 300))
    with files.open(session="late", segment_bytes_max=300) as log:
        lost = log.append(attempt("late"))
    assert (files.folder / "sessions" / "late").read_bytes() == b"4"
    files.segments[0].write_bytes(b"not read, so not noticed here\n")
    with files.open() as log:
        log.recover()
        last = list(log.entries())[-1]
    assert decode(last).record.attempt == lost.index


def test_a_session_name_is_no_path(files):
    """A session's name that could leave the folder is refused, and so is nothing else done."""
    log = files.open()
    for name in ("../../victim", "", "a" * 65, "a/b", "."):
        with pytest.raises(RuntimeError, match="name of a session"):
            log.append(attempt(name))
    assert kinds(log) == []
    log.close()


def test_strange_things_among_the_marks_are_left_alone(files, tmp_path):
    """A folder or a link among the marks is no session."""
    with files.open() as log:
        log.append(record())
    (files.folder / "sessions" / "folder").mkdir()
    (files.folder / "sessions" / "link").symlink_to(tmp_path)
    with files.open() as log:
        log.recover()
    assert {p.name for p in (files.folder / "sessions").iterdir()} == {"folder", "link"}

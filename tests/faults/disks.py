"""Disks that are full, broken, slow or taken away, and others who use the same log."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

from nbgov.backends.files import FileAuditLog, LogTerms
from nbgov.backends.memory import MemoryClock, MemorySigner
from nbgov.core.audit import decode
from nbgov.errors import BackendFailed
from nbgov.model import Receipt
from tests.faults.kills import children_words
from tests.faults.table import Row, attempt, open_log, outcome, record

NOBODY = 65_534


def refused_from_now_on(row: Row, log: FileAuditLog, heard: list[Receipt], *, tries: int) -> None:
    """Append until the log refuses, and see that it goes on refusing."""
    refusals = 0
    for _ in range(tries):
        try:
            receipt = log.append(record("s"))
        except BackendFailed as error:
            refusals += 1
            if error.code != "audit-unavailable":
                row.problems.append(error.code)
        else:
            heard.append(receipt)
            if refusals:
                row.problems.append("it acknowledged a record after a failure")
    if not refusals:
        row.problems.append("nothing was refused")


def full(row: Row, folder: Path, *, runs: int) -> None:
    """A file may not grow beyond some size."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for number in range(runs):
        log, heard = open_log(folder / f"full{number}"), []
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000 + 37 * number, hard))
        try:
            refused_from_now_on(row, log, heard, tries=40)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        log.close()
        row.runs += 1
        row.count(heard, folder / f"full{number}")
    row.told = "refused until the log was opened anew"


def tiny(row: Row, folder: Path) -> None:
    """A file system of one MiB that fills up; needs root."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        row.told = "not run: this user may not mount"
        row.runs = 1
        return
    try:
        log, heard = open_log(folder / "state"), []
        refused_from_now_on(row, log, heard, tries=2_000)
        log.close()
        copy = folder.parent / "copy"
        shutil.copytree(folder / "state", copy)
        row.runs += 1
        row.count(heard, copy)
        row.told = f"{len(heard):,} records fit"
    finally:
        subprocess.run(["umount", folder], check=True)


def broken_once(row: Row, folder: Path, *, runs: int) -> None:
    """One sync fails, and every later one would work."""
    for number in range(runs):
        syncs, heard = iter([False] * (number % 7 + 1) + [True]), []

        def sync(fd: int, syncs=syncs) -> None:
            if next(syncs, False):
                raise OSError(errno.EIO, "Input/output error")
            os.fdatasync(fd)

        log = open_log(folder / f"eio{number}", sync=sync)
        refused_from_now_on(row, log, heard, tries=20)
        log.close()
        row.runs += 1
        row.count(heard, folder / f"eio{number}")
    row.told = "refused until the log was opened anew, although the disk works again"


def read_only(row: Row, folder: Path) -> None:
    """A folder that cannot be written to, before the log is opened and while it is open."""
    state = folder / "state"
    with open_log(state) as log:
        heard = [log.append(record("s"))]
    for path in (state, *state.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    folder.chmod(0o755)

    def work(pipe: int) -> None:
        # Root may write everywhere, so the child is nobody.
        with suppress(PermissionError):
            os.setuid(NOBODY)
        try:
            open_log(state, "t").append(record("t"))
        except BackendFailed as error:
            os.write(pipe, f"{error.code}\n".encode())
        os.kill(os.getpid(), 9)

    for parent in folder.parents:
        with suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    if children_words(work, None) != ["audit-unavailable"]:
        row.problems.append("a read-only folder was written to")
    for path in (state, *state.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if os.geteuid() == 0:
            os.chown(path, 0, 0)
    row.runs += 1
    row.count(heard, state)
    row.told = "refused"


def hung(row: Row, folder: Path, *, runs: int) -> None:
    """A sync that does not return."""
    for number in range(runs):
        goes_on, hangs, heard = threading.Event(), threading.Event(), []

        def sync(fd: int, goes_on=goes_on, hangs=hangs) -> None:
            if hangs.is_set():
                goes_on.wait()
            os.fdatasync(fd)

        log = open_log(folder / f"hung{number}", sync=sync, timeout_s=0.2)
        heard += [log.append(record("s")) for _ in range(number)]
        hangs.set()
        refused_from_now_on(row, log, heard, tries=5)
        thread = log.opened.thread
        log.close()
        goes_on.set()
        thread.join()
        row.runs += 1
        row.count(heard, folder / f"hung{number}")
    row.told = "refused after the time that an append may take (30 s; here 0.2 s)"


def newest(state: Path) -> Path:
    """The newest segment."""
    return max((state / "audit").glob("*.jsonl"))


def removed(state: Path) -> None:
    newest(state).unlink()


def renamed(state: Path) -> None:
    newest(state).rename(newest(state).with_suffix(".old"))


def truncated(state: Path) -> None:
    shutil.copy(newest(state), newest(state).with_suffix(".copy"))
    os.truncate(newest(state), 0)


def replaced(state: Path) -> None:
    path = newest(state)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def appended(state: Path) -> None:
    with newest(state).open("ab") as file:
        file.write(b'{"a":"line of somebody else"}\n')


def taken(row: Row, folder: Path, change: Callable[[Path], None], *, runs: int) -> None:
    """The live log is changed by somebody else, before an append or in the middle of one."""
    for number in range(runs):
        state, heard, due = folder / f"{change.__name__}{number}", [], threading.Event()

        def sync(fd: int, state=state, due=due) -> None:
            os.fdatasync(fd)
            if due.is_set():
                due.clear()
                change(state)

        log = open_log(state, sync=sync)
        heard += [log.append(record("s")) for _ in range(3)]
        before = newest(state).read_bytes()
        if number % 2:
            due.set()
        else:
            change(state)
        refused = len(heard)
        refused_from_now_on(row, log, heard, tries=5)
        if len(heard) > refused:
            row.problems.append("it acknowledged a record into a file that is no longer the log")
        log.close()
        for path in (state / "audit").glob("*.jsonl"):
            path.unlink()
        (state / "audit" / f"{0:020}.jsonl").write_bytes(before)
        row.runs += 1
        row.count(heard, state)
    row.told = "found at the next append, or in the middle of it: refused"


def shared(row: Row, folder: Path, *, processes: int, pairs: int) -> None:
    """Several processes, two objects in each, append to one log at the same time."""

    def work(pipe: int, name: str) -> None:
        logs = [open_log(folder, f"{name}{n}", segment_bytes_max=50_000) for n in range(2)]

        def pairs_of(log: FileAuditLog, session: str) -> None:
            for _ in range(pairs):
                first = log.append(attempt(session))
                second = log.append(outcome(session, first))
                os.write(pipe, f"{first}\n{second}\n".encode())

        together(partial(pairs_of, log, f"{name}{n}") for n, log in enumerate(logs))
        for log in logs:
            log.close()
        os.kill(os.getpid(), 9)

    words: list[list[str]] = [[] for _ in range(processes)]

    def listen(number: int) -> None:
        words[number] = children_words(lambda pipe: work(pipe, f"p{number}x"), None)

    together(partial(listen, number) for number in range(processes))
    heard = [Receipt.parse(line) for one in words for line in one]
    if len({receipt.index for receipt in heard}) != 4 * processes * pairs:
        row.problems.append("an index was used twice, or a record was not acknowledged")
    row.runs += 1
    row.count(heard, folder)
    row.told = f"{processes} processes with two writers each: one chain, no index twice"


def together(works: Iterable[Callable[[], None]]) -> None:
    """Do some works at the same time, to their end."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def clock_back(row: Row, folder: Path) -> None:
    """The clock goes back by an hour while the log is open, and before it is opened again."""
    clock, heard = MemoryClock(), []
    for _ in range(2):
        log = FileAuditLog(
            folder, session="s", clock=clock, signer=MemorySigner(), terms=LogTerms()
        )
        for hours in (0, 1):
            clock.at -= timedelta(hours=hours)
            heard += [log.append(replace(record("s"), at=clock.now())) for _ in range(5)]
        log.close()
        clock.at -= timedelta(hours=1)
        row.runs += 1
    row.count(heard, folder)
    with open_log(folder, "reader") as log:
        records = [decode(line).record for line in log.entries()]
    told = sum(one.verb == "CLOCK" for one in records)
    if told < 3 or any(a.at > b.at for a, b in pairwise(records)):
        row.problems.append("a time went back, or nobody told")
    row.told = f"times never decrease; {told} entries tell what the clock said"

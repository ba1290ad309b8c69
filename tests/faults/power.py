"""A model of power loss: what was not synced is there, is not there, or is there in part.

A real log runs on a real folder while every call that changes a file is written down. The model
plays those calls up to any point, with two memories: what the disk has for certain, and what only
the page cache had. Then the power goes. Of every file the writes since its last sync arrive up to
some point, the last one torn at any byte, or with zeros in the place of sectors that did not
arrive; names that were made, moved or removed since the last sync of their folder arrive up to some
point, too. The log is opened on what is left.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbgov.backends.files.committer import Job
from nbgov.model import Receipt
from tests.faults.table import Row, attempt, open_log, outcome, record

SECTOR_BYTES = 512
CALLS = ("open", "pwrite", "fsync", "fdatasync", "ftruncate", "replace", "unlink", "mkdir")
Event = tuple[Any, ...]


class Recorder:
    """Writes down what a log does to its folder."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.events: list[Event] = []
        self.paths: dict[int, str] = {}
        self.numbers: dict[int, int] = {}
        self.real = {name: getattr(os, name) for name in CALLS}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Stand in for the calls of the operating system."""
        for name in CALLS:
            setattr(os, name, getattr(self, name))
        try:
            yield
        finally:
            for name, call in self.real.items():
                setattr(os, name, call)

    def note(self, *event: Any) -> None:
        self.events.append(event)

    def number(self, fd: int) -> int:
        return self.numbers.get(os.fstat(fd).st_ino, -1)

    def is_ours(self, path: Any) -> bool:
        return os.fspath(path).startswith(self.root) if not isinstance(path, int) else False

    def open(self, path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        is_ours = self.is_ours(path)
        is_new = is_ours and flags & os.O_CREAT and not Path(path).exists()
        fd: int = self.real["open"](path, flags, mode, **rest)
        if is_ours:
            self.paths[fd] = os.fspath(path)
            if is_new:
                # A file system gives the number of a file that is gone to the next one.
                self.numbers[os.fstat(fd).st_ino] = len(self.events)
                self.note("name", os.fspath(path), self.number(fd))
            if flags & os.O_TRUNC:
                self.note("cut", self.number(fd), 0)
        else:
            self.paths.pop(fd, None)
        return fd

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        written: int = self.real["pwrite"](fd, data, offset)
        self.note("write", self.number(fd), offset, bytes(data[:written]))
        return written

    def fsync(self, fd: int) -> None:
        self.real["fsync"](fd)
        path = self.paths.get(fd, "")
        self.note(*(("folder", path) if Path(path).is_dir() else ("sync", self.number(fd))))

    fdatasync = fsync

    def ftruncate(self, fd: int, size: int) -> None:
        self.real["ftruncate"](fd, size)
        self.note("cut", self.number(fd), size)

    def replace(self, source: Any, target: Any, **rest: Any) -> None:
        self.real["replace"](source, target, **rest)
        self.note("move", os.fspath(source), os.fspath(target))

    def unlink(self, path: Any, **rest: Any) -> None:
        self.real["unlink"](path, **rest)
        self.note("gone", os.fspath(path))

    def mkdir(self, path: Any, *rest: Any, **more: Any) -> None:
        self.real["mkdir"](path, *rest, **more)
        self.note("made", os.fspath(path))


def workload(folder: Path, *, seed: int) -> tuple[list[Event], int]:
    """What a log does that is opened three times, and how many records it acknowledged."""
    recorder, chance, count = Recorder(folder), random.Random(seed), 0
    terms = {"segment_bytes_max": 6_000, "checkpoint_entries": 9}
    with recorder.watching():
        for number in range(3):
            session = f"s{number}"
            log = open_log(folder, session, sync=recorder.fdatasync, **terms)
            opened: list[Receipt] = []
            for _ in range(14):
                receipts = group(log, session, opened, chance)
                for receipt in receipts:
                    recorder.note("ack", receipt)
                count += len(receipts)
            if number == 1:
                log.recover()
            log.close()
    return recorder.events, count


def group(log: Any, session: str, opened: list[Receipt], chance: random.Random) -> list[Receipt]:
    """Some records that are appended at once, and so become durable in one sync."""
    records = []
    for _ in range(chance.randrange(1, 6)):
        if opened and chance.random() < 0.4:
            records.append(outcome(session, opened.pop()))
        else:
            records.append(attempt(session) if chance.random() < 0.5 else record(session))
    first = log.append(records[0])
    jobs = [Job(lambda writer, one=one: writer.append(one)) for one in records[1:]]
    with (log.folder / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for job in jobs:
            log.opened.queue.put(job)
    for job in jobs:
        job.done.acquire()
        assert job.is_durable
    receipts = [first, *(job.answer for job in jobs)]
    opened += [
        receipt
        for one, receipt in zip(records, receipts, strict=True)
        if one.kind.value == "attempt"
    ]
    return receipts


class Model:
    """What the disk has, and what only the page cache has."""

    def __init__(self, *, has_syncs: bool) -> None:
        self.has_syncs = has_syncs
        self.contents: dict[int, bytes] = {}
        self.writes: dict[int, list[Event]] = {}
        self.names: dict[str, int] = {}
        self.moves: dict[str, list[Event]] = {}
        self.acknowledged: list[Receipt] = []

    def play(self, event: Event) -> None:
        """Take one call."""
        kind, *rest = event
        if kind == "ack":
            self.acknowledged.append(rest[0])
        elif kind in {"write", "cut"}:
            self.writes.setdefault(rest[0], []).append(event)
        elif kind in {"name", "move", "gone"}:
            self.moves.setdefault(str(Path(rest[0]).parent), []).append(event)
        elif kind == "sync" and self.has_syncs:
            content = self.contents.get(rest[0], b"")
            for one in self.writes.pop(rest[0], []):
                content = written(content, one)
            self.contents[rest[0]] = content
        elif kind == "folder" and self.has_syncs:
            for one in self.moves.pop(rest[0], []):
                named(self.names, one)

    def lose_power(self, folder: Path, root: str, chance: random.Random) -> bool:
        """Write what is left into a folder; say whether anything was torn."""
        names, contents = dict(self.names), {}
        for moves in self.moves.values():
            for one in moves[: chance.randint(0, len(moves))]:
                named(names, one)
        is_torn = False
        for inode in set(names.values()):
            content = self.contents.get(inode, b"")
            writes = self.writes.get(inode, [])
            arrived = chance.randint(0, len(writes))
            for one in writes[:arrived]:
                content = written(content, one)
            if arrived < len(writes) and writes[arrived][0] == "write":
                content, is_torn = torn(content, writes[arrived], chance), True
            contents[inode] = content
        for path, inode in names.items():
            target = folder / os.path.relpath(path, root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(contents[inode])
            target.chmod(0o600)
        return is_torn


def named(names: dict[str, int], event: Event) -> None:
    """A folder after one change of its names."""
    kind, path, *rest = event
    if kind == "name":
        names[path] = rest[0]
    elif path in names:
        inode = names.pop(path)
        if kind == "move":
            names[rest[0]] = inode


def written(content: bytes, event: Event) -> bytes:
    """A file after one write or cut."""
    kind, _, *rest = event
    if kind == "cut":
        return content[: rest[0]].ljust(rest[0], b"\0")
    offset, data = rest
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


def torn(content: bytes, event: Event, chance: random.Random) -> bytes:
    """A file after a write that did not wholly arrive."""
    _, inode, offset, data = event
    if chance.random() < 0.5:
        return written(content, ("write", inode, offset, data[: chance.randint(0, len(data))]))
    # Sectors arrive in any order. One that is new to the file and did not arrive is zeros.
    whole = bytearray(written(content, event))
    for begin in range(offset - offset % SECTOR_BYTES, offset + len(data), SECTOR_BYTES):
        if chance.random() < 0.5:
            for place in range(max(begin, offset), min(begin + SECTOR_BYTES, offset + len(data))):
                whole[place] = content[place] if place < len(content) else 0
    return bytes(whole)


def power_lost(row: Row, folder: Path, *, points: int, seed: int, has_syncs: bool = True) -> None:
    """Lose the power at many points of what logs do, and open what is left each time."""
    chance, tears, repairs = random.Random(seed), 0, 0
    traces = min(20, points // 20)
    for number in range(traces):
        root = folder / f"run{number}"
        root.mkdir()
        events, _ = workload(root, seed=seed + number)
        # Most of what can go wrong goes wrong while something was written and is not synced.
        unsure = [n + 1 for n, one in enumerate(events) if one[0] in {"write", "cut", "move"}]
        places = [*unsure * 3, *range(len(events))]
        stops = sorted(chance.choice(places) for _ in range(points // traces))
        model, played = Model(has_syncs=has_syncs), 0
        for stop in stops:
            for event in events[played:stop]:
                model.play(event)
            played = stop
            left = folder / "left"
            left.mkdir()
            tears += model.lose_power(left, str(root), chance)
            repairs += opened_again(row, left, model.acknowledged)
            shutil.rmtree(left)
        shutil.rmtree(root)
    row.told = f"{tears:,} of them tore a write; {repairs:,} torn tails mended and told"


def opened_again(row: Row, left: Path, acknowledged: list[Receipt]) -> int:
    """Open what a power loss left, and count."""
    from nbgov.errors import BackendFailed

    row.runs += 1
    before = len(row.problems)
    try:
        row.count(acknowledged, left)
    except BackendFailed as error:
        # A log that cannot be opened has lost everything that was acknowledged.
        row.acknowledged += len(acknowledged)
        row.lost += len(acknowledged)
        if not row.is_control:
            row.problems.append(error.why)
    if row.is_control:
        del row.problems[before:]
    return sum(b'"kind":"repair"' in p.read_bytes() for p in (left / "audit").glob("*.jsonl"))

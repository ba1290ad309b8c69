"""``kill -9`` of real processes that append from eight threads, and of a session in mid-stream."""

from __future__ import annotations

import os
import random
import select
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from nbgov.backends.files import tail
from nbgov.backends.files.durable import write_all
from nbgov.core.audit import decode, verify
from nbgov.model import Receipt, RecordKind
from tests.faults.table import Row, attempt, open_log, outcome

THREADS = 8
WAIT_S = 60


def killed(row: Row, folder: Path, *, runs: int, seed: int, tears: int) -> None:
    """Kill children that append from eight threads; every acknowledgement came over a pipe.

    Args:
        row: Where to count.
        folder: An empty state folder, shared by all of them, one after the other.
        runs: How many children.
        seed: Seed of when they are killed.
        tears: Every so-manieth child kills itself in the middle of a write instead.
    """
    chance, heard = random.Random(seed), []
    for number in range(runs):
        is_torn = number % tears == tears - 1
        die_at = chance.randrange(2, 30)
        work = append_and_tear if is_torn else append_for_ever
        lines = children_words(lambda pipe, work=work, n=number, at=die_at: work(
            folder, f"s{n}", pipe, at), None if is_torn else chance.randrange(1, 60))  # fmt: skip
        heard += map(Receipt.parse, lines)
        row.runs += 1
    row.count(heard, folder)
    if len({receipt.index for receipt in heard}) != len(heard):
        row.problems.append("an index was acknowledged twice")
    with open_log(folder, "reader") as log:
        report = verify(log.entries(), is_deep=True)
    row.told = (
        f"{report.entries:,} entries verify; {report.repairs} torn tails mended and told; "
        f"{report.interrupted:,} open attempts closed as interrupted; "
        f"{runs // tears} of the children died in the middle of a write"
    )
    if report.repairs < runs // tears // 2:
        row.problems.append("too few torn tails for the test to mean anything")


def append_for_ever(folder: Path, session: str, pipe: int, _: int = 0) -> None:
    """Append from eight threads, and tell of each record once it was acknowledged."""
    log = open_log(folder, session)

    def work() -> None:
        while True:
            first = log.append(attempt(session))
            os.write(pipe, f"{first}\n".encode())
            os.write(pipe, f"{log.append(outcome(session, first))}\n".encode())

    for _ in range(THREADS - 1):
        threading.Thread(target=work, daemon=True).start()
    work()


def append_and_tear(folder: Path, session: str, pipe: int, die_at: int) -> None:
    """The same, until one of the writes stops half way and the process is killed."""
    writes = iter(range(die_at))

    def half(fd: int, data: bytes, offset: int) -> int:
        if next(writes, None) is None:
            write_all(fd, data[: random.Random(die_at).randrange(1, len(data))], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return write_all(fd, data, offset)

    tail.write_all = half
    append_for_ever(folder, session, pipe)


def children_words(work: Callable[[int], None], lines_max: int | None) -> list[str]:
    """What a child says until it has said so many lines and is killed; or until it dies itself."""
    end, start = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        try:
            work(start)
        except Exception:  # noqa: BLE001 (the parent would hear nothing)
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(start)
    words = b""
    for data in heard(end):
        words += data
        if lines_max is not None and words.count(b"\n") >= lines_max:
            os.kill(child, signal.SIGKILL)
            lines_max = None
    os.close(end)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), words[-2000:]
    return words.decode().split("\n")[:-1]


def heard(end: int) -> Iterator[bytes]:
    """What comes through a pipe until its other end is closed."""
    while select.select([end], [], [], WAIT_S)[0]:
        data = os.read(end, 65_536)
        if not data:
            return
        yield data
    raise TimeoutError("The child says nothing any more.")


def killed_streams(row: Row, house: Path, *, runs: int) -> None:
    """Kill sessions while their rows stream: each batch that came out has its attempt recorded."""
    chance, said = random.Random(7), []
    for _ in range(runs):
        said += children_words(lambda pipe: stream(house, pipe), chance.randrange(1, 12))
        row.runs += 1
    heard = [Receipt.parse(line.split(" ")[0]) for line in said]
    row.told = released_without_record(row, house, said)
    row.count(dict.fromkeys(heard), house / ".nbgov")


def stream(house: Path, pipe: int) -> None:
    """Read rows, and tell of every batch as it comes."""
    from nbgov.session import connect

    session = connect(house, as_="ada@acme.test")
    while True:
        result = session.sql("SELECT id, team FROM people")
        for number, _ in enumerate(result.batches()):
            os.write(pipe, f"{result.receipt} batch {number}\n".encode())


def dropped_streams(row: Row, house: Path, *, runs: int) -> None:
    """Consumers that go away in mid-stream leave an outcome that says so."""
    from nbgov.session import connect

    receipts = []
    with connect(house, as_="ada@acme.test") as session:
        for number in range(runs):
            result = session.sql("SELECT id, team FROM people")
            batches = result.batches()
            for _ in range(number % 4):
                next(batches)
            receipts.append(result.receipt)
            if number % 2:
                result.close()
            del result, batches
            row.runs += 1
        records = [decode(line).record for line in session.world.audit.entries()]
    closed = {r.attempt: r.status for r in records if r.kind is RecordKind.OUTCOME}
    open_ones = [r.index for r in receipts if closed.get(r.index) not in {"dropped", "ok"}]
    if open_ones:
        row.problems.append(f"attempts without an outcome: {open_ones}")
    row.told = f"{sum(v == 'dropped' for v in closed.values())} outcomes say so"
    row.count(receipts, house / ".nbgov")


def released_without_record(row: Row, house: Path, said: list[str]) -> str:
    """Compare the batches that came out with the attempts that are recorded."""
    with open_log(house / ".nbgov", "reader") as log:
        log.recover()
        records = {e.index: e.record for e in map(decode, log.entries())}
    batches = [Receipt.parse(line.split(" ")[0]).index for line in said]
    bare = [i for i in batches if i not in records or records[i].kind is not RecordKind.ATTEMPT]
    if bare:
        row.problems.append(f"{len(bare)} batches were released without a record")
    ended = {record.attempt for record in records.values()}
    if left := set(batches) - ended:
        row.problems.append(f"attempts without an end: {sorted(left)}")
    return f"{len(batches):,} batches were released, {len(bare)} of them without a record"

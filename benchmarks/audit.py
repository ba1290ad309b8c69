"""Durable records: nbgov's chained log beside one INSERT per transaction in SQLite."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Thread

from benchmarks.ground import Ground
from benchmarks.measure import RATE, Contender, Row, Suite

PAIRS = 320
SESSION = "benchmark"
THREADS = (1, 16, 64)
ROWS = tuple(
    Row(
        f"audit.append.{count}{'.wall' if is_wall else ''}",
        f"durable records per {'second' if is_wall else 'CPU second'} from {count} threads; "
        "the peer keeps no chain",
        f"nbgov.{count}{is_wall}",
        f"sqlite.{count}{is_wall}",
        RATE,
    )
    for count in THREADS
    for is_wall in (False, True)
)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """Both logs, open, taking attempts and outcomes in turn."""
    from nbgov.backends.files import FileAuditLog, FileSigner, SystemClock
    from nbgov.model import Record, RecordKind

    folder = ground.folder / "audit"
    folder.mkdir()
    signer = FileSigner(folder / "audit.key")
    log = ground.open.enter_context(
        FileAuditLog(folder, session=SESSION, clock=SystemClock(), signer=signer)
    )
    attempt = Record(
        kind=RecordKind.ATTEMPT,
        at=datetime.now(UTC),
        request="6f1c9d",
        session=SESSION,
        principal="ada@acme.test",
        connection="warehouse",
        dialect="duckdb",
        statement="SELECT day, minutes FROM rides WHERE status = ?",
        verb="SELECT",
        effects=("read",),
        tables=("main.rides",),
        columns=("main.rides.day", "main.rides.minutes", "main.rides.status"),
        policy="0" * 64,
        decision="permit",
        rules=("analysts-read",),
    )
    outcome = replace(attempt, kind=RecordKind.OUTCOME, status="ok", rows_read=1_000)

    def append(pairs: int) -> None:
        for _ in range(pairs):
            receipt = log.append(attempt)
            log.append(replace(outcome, attempt=receipt.index))

    path = ground.folder / "audit.sqlite"
    facts = {
        name: list(value) if isinstance(value, tuple) else value
        for name in ("request", "session", "principal", "connection", "dialect", "statement",
                     "verb", "effects", "tables", "columns", "policy", "decision", "rules")
        if (value := getattr(attempt, name)) is not None
    }  # fmt: skip
    connect(path).execute("CREATE TABLE records (number INTEGER PRIMARY KEY, facts TEXT NOT NULL)")

    def insert(pairs: int) -> None:
        with closing(connect(path)) as connection:
            for _ in range(2 * pairs):
                text = json.dumps({**facts, "at": datetime.now(UTC).isoformat()}, sort_keys=True)
                connection.execute("INSERT INTO records (facts) VALUES (?)", (text,))

    return {
        f"{key}.{count}{is_wall}": Contender(
            name,
            partial(together, work, count),
            2 * (PAIRS // count) * count,
            gauge=wall if is_wall else None,
        )
        for count in THREADS
        for is_wall in (False, True)
        for key, name, work in (
            ("nbgov", "FileAuditLog", append),
            ("sqlite", "SQLite WAL FULL", insert),
        )
    }


def connect(path: Path) -> sqlite3.Connection:
    """A connection for one thread, which waits for the others as long as it takes."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=600)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def together(work: Callable[[int], None], count: int) -> None:
    """Have so many threads do the work, each its share."""
    threads = [Thread(target=work, args=[PAIRS // count]) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def wall(run: Callable[[], object]) -> float:
    """The seconds that a run takes, waiting included."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


SUITE = Suite(ROWS, prepare, rounds=5)

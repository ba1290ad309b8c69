"""Durable records: nbgov's chained log beside one INSERT per transaction in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from benchmarks.ground import Ground
from benchmarks.measure import RATE, Contender, Row, Suite

PAIRS = 50
SESSION = "benchmark"
ROWS = (
    Row(
        "audit.append",
        "durable records per CPU second, one at a time; the peer keeps no chain",
        "nbgov",
        "sqlite",
        RATE,
    ),
)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """Both logs, open, taking attempts and outcomes in turn."""
    from nbgov.backends.files import FileAuditLog, SystemClock
    from nbgov.model import Record, RecordKind

    folder = ground.folder / "audit"
    folder.mkdir()
    log = ground.open.enter_context(FileAuditLog(folder, session=SESSION, clock=SystemClock()))
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

    def append() -> None:
        for _ in range(PAIRS):
            receipt = log.append(attempt)
            log.append(replace(outcome, attempt=receipt.index))

    connection = ground.open.enter_context(
        closing(sqlite3.connect(ground.folder / "audit.sqlite", isolation_level=None))
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE records (number INTEGER PRIMARY KEY, facts TEXT NOT NULL)")
    facts = {
        name: list(value) if isinstance(value, tuple) else value
        for name in ("request", "session", "principal", "connection", "dialect", "statement",
                     "verb", "effects", "tables", "columns", "policy", "decision", "rules")
        if (value := getattr(attempt, name)) is not None
    }  # fmt: skip

    def insert() -> None:
        for _ in range(2 * PAIRS):
            text = json.dumps({**facts, "at": datetime.now(UTC).isoformat()}, sort_keys=True)
            connection.execute("INSERT INTO records (facts) VALUES (?)", (text,))

    return {
        "nbgov": Contender("FileAuditLog", append, 2 * PAIRS),
        "sqlite": Contender("SQLite WAL FULL", insert, 2 * PAIRS),
    }


SUITE = Suite(ROWS, prepare, rounds=5)

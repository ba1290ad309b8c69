"""Verifying a log of a million entries, beside SQLite hashing the same lines."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from benchmarks.ground import Ground
from benchmarks.measure import RATE, Contender, Row, Suite

ENTRIES = 1_000_000
DEEP_ENTRIES = 20_000
ORIGIN = "acme.test/benchmark"
# What an entry begins with; the rest of it is the same in every attempt, and in every outcome.
HEAD = b'{"index":%d,"origin":"acme.test/benchmark","prev":"%b","record":{'
ROWS = (
    Row(
        "audit.verify",
        f"entries of 0.9 kB verified per CPU second, {ENTRIES:,} of them, from the files: chain, "
        "root, order, attempts; the peer reads the same lines and hashes each",
        "nbgov",
        "sqlite",
        RATE,
    ),
    Row(
        "audit.verify.deep",
        f"the same with --deep, of {DEEP_ENTRIES:,} entries",
        "deep",
        "sqlite",
        RATE,
    ),
)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """The same lines in a log's files and in a table."""
    from nbgov.backends.files import FileEvidence
    from nbgov.evidence.verification import Trust, verify

    state = ground.folder / "verify"
    segments = state / "audit"
    segments.mkdir(parents=True)
    with (segments / f"{0:020}.jsonl").open("wb") as file:
        file.writelines(line + b"\n" for line in lines(ENTRIES))
    connection = ground.open.enter_context(closing(sqlite3.connect(state / "lines.sqlite")))
    connection.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, line BLOB NOT NULL)")
    with connection:
        connection.executemany("INSERT INTO lines VALUES (?, ?)", enumerate(lines(ENTRIES)))
    whole = FileEvidence(state)

    def verify_all() -> None:
        found = verify(whole, Trust())
        if not found.is_sound or found.report.entries != ENTRIES:
            raise RuntimeError(f"The log of the benchmark does not verify: {found.problems}")

    def hash_all() -> None:
        for (line,) in connection.execute("SELECT line FROM lines ORDER BY number"):
            hashlib.sha256(line).digest()

    part = tuple(islice(whole.entries(), DEEP_ENTRIES))

    def verify_deep() -> None:
        from nbgov.core import audit

        audit.verify(part, is_deep=True)

    return {
        "nbgov": Contender("nbgov audit verify", verify_all, ENTRIES),
        "deep": Contender("nbgov audit verify --deep", verify_deep, DEEP_ENTRIES),
        "sqlite": Contender("SQLite and SHA-256", hash_all, ENTRIES),
    }


def lines(count: int) -> Iterator[bytes]:
    """The entries of a log: attempts and their outcomes in turn."""
    from nbgov.core.audit import GENESIS_DIGEST
    from nbgov.core.audit.merkle import leaf_digest

    attempt, before, after = bodies()
    prev = GENESIS_DIGEST
    for index in range(count):
        head = HEAD % (index, prev.hex().encode())
        body = b"%b%d%b" % (before, index - 1, after) if index % 2 else attempt
        line = head + body
        prev = leaf_digest(line)
        yield line


def bodies() -> tuple[bytes, bytes, bytes]:
    """The rest of an attempt's entry, and that of an outcome's around the attempt's number."""
    from nbgov.core.audit import GENESIS_DIGEST, encode
    from nbgov.model import Record, RecordKind

    attempt = Record(
        kind=RecordKind.ATTEMPT,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        request="6f1c9d2e8b7a4f60a1b2c3d4e5f60718",
        session="5b1f0c77f1d94d0c8a52d9a6f5d1f0aa",
        principal="ada@acme.test",
        account="ada",
        via="os-account",
        groups=("analysts",),
        origin={"surface": "magic", "notebook": "rides.ipynb", "cell": "17"},
        connection="warehouse",
        dialect="duckdb",
        verb="SELECT",
        effects=("read",),
        statement="SELECT day, minutes, status FROM rides WHERE status = ? AND day >= ?",
        statement_mac="0f" * 32,
        tables=("main.rides",),
        columns=("main.rides.day", "main.rides.minutes", "main.rides.status"),
        decision="permit",
        rules=("analysts-read",),
        obligations=("at most 100000 rows",),
        policy="3f" * 32,
        ticks=123_456_789,
    )
    outcome = replace(
        attempt, kind=RecordKind.OUTCOME, attempt=0, status="ok", rows_read=1_000, ticks=None,
        via=None, groups=None, obligations=None, statement_mac=None, bytes_read=81_000, batches=1, masked=("email",),
    )  # fmt: skip
    first, second = (
        encode(one, origin=ORIGIN, index=0, prev_digest=GENESIS_DIGEST).partition(b'"record":{')[2]
        for one in (attempt, outcome)
    )
    before, number, after = second.partition(b'"attempt":0')
    return first, before + number[:-1], after


SUITE = Suite(ROWS, prepare, rounds=2)

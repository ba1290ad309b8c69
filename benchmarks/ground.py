"""What the benchmarks run on: invented data, two databases and a policy, in one temporary folder.

A million rides of ten columns, the same on every machine. Nothing is built before it is asked for.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from nbgov.session import Session

ROWS = 1_000_000
NOTES = 2_000
OTHER_TABLES = 40
SEED = 2013
SQL = "SELECT * FROM rides"
PRINCIPAL = "ada@acme.test"

CONFIG = f"""\
version: 1
policy: policy.yaml
default_connection: duckdb
connections:
  duckdb: {{kind: duckdb, path: rides.duckdb}}
  sqlite: {{kind: sqlite, path: rides.sqlite}}
  masked_duckdb: {{kind: duckdb, path: rides.duckdb}}
  masked_sqlite: {{kind: sqlite, path: rides.sqlite}}
  token_duckdb: {{kind: duckdb, path: rides.duckdb}}
principals:
  {PRINCIPAL}: {{groups: [analysts]}}
"""
POLICY = """\
version: 1
tags:
  pii.text: ["masked_*.main.rides.status", "masked_*.main.rides.note"]
  pii.key: ["token_*.main.rides.status", "token_*.main.rides.note"]
  public:
    - "duckdb.main.rides.*"
    - "sqlite.main.rides.*"
    - "masked_*.main.rides.[!sn]*"
    - "token_*.main.rides.[!sn]*"
rules:
  - id: analysts-read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["*.main.*"]
    obligations: {masks: {pii.text: redact, pii.key: token}}
"""
SQLITE_TABLE = """\
CREATE TABLE rides (
    id INTEGER, day INTEGER, bike INTEGER, dock INTEGER, minutes REAL, metres REAL, price REAL,
    status TEXT, note TEXT, at TIMESTAMP
)
"""


class Ground:
    """A temporary folder and what is built in it on demand. A context manager."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open.__exit__(kind, error, traceback)

    @cached_property
    def rides(self) -> pa.Table:
        """Four integer columns, one of them with gaps; three floats; two texts; a time."""
        import numpy as np
        import pyarrow as pa

        chance = np.random.default_rng(SEED)
        statuses = ["ended", "lost", "moved", "open", "paid", "refunded", "started", "void"]
        notes = [f"dock {n % 97} reports lamp {n} as weak" for n in range(NOTES)]
        start = np.datetime64("2013-01-01", "us")
        return pa.table(
            {
                "id": pa.array(np.arange(ROWS)),
                "day": pa.array(chance.integers(0, 365, ROWS, np.int32)),
                "bike": pa.array(chance.zipf(1.5, ROWS) % 6_000),
                "dock": pa.array(chance.integers(0, 400, ROWS), mask=chance.random(ROWS) < 0.05),
                "minutes": pa.array(chance.gamma(2.0, 8.0, ROWS)),
                "metres": pa.array(np.round(chance.gamma(2.0, 900.0, ROWS))),
                "price": pa.array(np.round(chance.gamma(2.0, 1.5, ROWS), 2)),
                "status": pa.array(statuses).take(pa.array(chance.integers(0, 8, ROWS))),
                "note": pa.array(notes).take(pa.array(chance.integers(0, NOTES, ROWS))),
                "at": pa.array(start + chance.integers(0, 31_536_000_000_000, ROWS)),
            }
        )

    @cached_property
    def duckdb_path(self) -> Path:
        """The rides as a DuckDB file."""
        import duckdb

        path = self.folder / "rides.duckdb"
        with duckdb.connect(path) as connection:
            connection.register("made", self.rides)
            connection.execute("CREATE TABLE rides AS SELECT * FROM made")
            # A catalog of one table would flatter whoever looks at the catalog for each statement.
            for number in range(OTHER_TABLES):
                connection.execute(f"CREATE TABLE other_{number} AS SELECT * FROM made LIMIT 0")
        return path

    @cached_property
    def sqlite_path(self) -> Path:
        """The rides as a SQLite file; times are text, as SQLite's own functions write them."""
        import pyarrow as pa

        path = self.folder / "rides.sqlite"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(SQLITE_TABLE)
            for batch in self.rides.to_batches(100_000):
                texts = batch.column("at").cast(pa.string())
                columns = [*batch.columns[:-1], texts]
                rows = zip(*(column.to_pylist() for column in columns), strict=True)
                connection.executemany("INSERT INTO rides VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
        return path

    @cached_property
    def session(self) -> Session:
        """A session on both databases."""
        from nbgov import connect

        assert self.duckdb_path.exists()
        (self.folder / "nbgov.yaml").write_text(CONFIG, encoding="utf-8")
        (self.folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
        return self.open.enter_context(connect(self.folder, as_=PRINCIPAL))

    @cached_property
    def peer_duckdb(self) -> duckdb.DuckDBPyConnection:
        """A plain connection to a copy: DuckDB opens one file in one way only per process."""
        import duckdb

        path = self.folder / "peer.duckdb"
        shutil.copy(self.duckdb_path, path)
        return self.open.enter_context(duckdb.connect(path, read_only=True))

"""Where masks are put: at the scan, in the gateway after the fetch, or not at all."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.fetch import rows_to_arrow
from benchmarks.ground import SQL, Ground
from benchmarks.measure import Contender, Row, Suite

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.session import Session

BATCH_ROWS = 65_536
MASKED = ("status", "note")
KEY = bytes(32)
WAY = "decision, rewrite, fetch and audit of 1M x 10 from DuckDB to Arrow"

ROWS = (
    Row("mask.none", f"{WAY}, nothing masked", "scan.none", "raw"),
    Row("mask.redact.raw", f"{WAY}, two texts redacted at the scan", "scan.redact", "raw"),
    Row("mask.redact.gateway", f"{WAY}, two texts redacted", "scan.redact", "gateway.redact"),
    Row("mask.token.raw", f"{WAY}, two texts as tokens, made at the scan", "scan.token", "raw"),
    Row("mask.token.gateway", f"{WAY}, two texts as tokens", "scan.token", "gateway.token"),
    Row("mask.none.sqlite", WAY.replace("DuckDB", "SQLite"), "scan.sqlite", "raw.sqlite"),
)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """Each way to the same million rows."""
    assert ground.sqlite_path.exists()
    session, duck = ground.session, ground.peer_duckdb
    plain = ground.open.enter_context(closing(sqlite3.connect(ground.sqlite_path)))

    def raw() -> pa.Table:
        return duck.sql(SQL).to_arrow_reader(BATCH_ROWS).read_all()

    return {
        "raw": Contender("duckdb to_arrow_reader", raw),
        "raw.sqlite": Contender(
            "sqlite3 fetchmany to Arrow", lambda: rows_to_arrow(plain, ground.rides.schema)
        ),
        "scan.none": Contender("nbgov", lambda: execute(session, "duckdb")),
        "scan.redact": Contender("nbgov", lambda: execute(session, "masked_duckdb")),
        "scan.token": Contender("nbgov", lambda: execute(session, "token_duckdb")),
        "scan.sqlite": Contender("nbgov", lambda: execute(session, "sqlite")),
        "gateway.redact": Contender("fetch, then Arrow if_else", lambda: after(raw(), redacted)),
        "gateway.token": Contender("fetch, then HMAC in Python", lambda: after(raw(), tokens)),
    }


def execute(session: Session, connection: str) -> object:
    """Take a statement through every stage but the fingerprint."""
    pipeline = session.pipeline
    case = pipeline.case(session.request(SQL, connection, {}), id="benchmark")
    pipeline.understand(case)
    pipeline.consents.seek(case, partial(pipeline.measure, case))
    clearance = pipeline.clear(case)
    pipeline.recorder.attempt(case)
    pipeline.consents.consume(case)
    batches = list(session.engine(connection).execute(clearance))
    pipeline.recorder.outcome(case, "ok", summary=None)
    return batches


def after(table: pa.Table, mask: Callable[[Any], Any]) -> pa.Table:
    """The rows with both texts masked in this process."""
    for name in MASKED:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, mask(table[name]))
    return table


def redacted(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every text as the same sign."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_null(column), pa.scalar(None, pa.string()), "***")


def tokens(column: pa.ChunkedArray) -> pa.Array:
    """Every text as its keyed digest, one by one, as gateways do."""
    import pyarrow as pa

    made = (
        None if text is None else hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
        for text in column.to_pylist()
    )
    return pa.array(made, pa.string())


SUITE = Suite(ROWS, prepare)

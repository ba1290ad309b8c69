"""A million rows of ten columns: the whole way, its parts one by one, and masked columns."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from benchmarks.ground import SQL, Ground
from benchmarks.measure import SECONDS, Contender, Row, Suite

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536
PEER_ROWS = 4_096  # What serves sqlite3 best: more rows at a time keep the collector busy.
ALL = "1M x 10 public columns"
MASKED = "1M x 10, two texts redacted at the scan; the peer reads them raw"
PART = "part of the way: "

ROWS = (
    Row("fetch.1m10.duckdb.arrow", f"{ALL} to Arrow", "duckdb.arrow", "peer.duckdb.arrow"),
    Row("fetch.1m10.duckdb.pandas.df", f"{ALL} to pandas", "duckdb.pandas", "peer.duckdb.df"),
    Row(
        "fetch.1m10.duckdb.pandas.read_sql",
        f"{ALL} to pandas",
        "duckdb.pandas",
        "peer.duckdb.read_sql",
    ),
    Row("fetch.1m10.sqlite.arrow", f"{ALL} to Arrow", "sqlite.arrow", "peer.sqlite.arrow"),
    Row(
        "fetch.1m10.sqlite.pandas.read_sql",
        f"{ALL} to pandas",
        "sqlite.pandas",
        "peer.sqlite.read_sql",
    ),
    Row(
        "fetch.1m10.sqlite.pandas.read_sql_dbapi",
        f"{ALL} to pandas",
        "sqlite.pandas",
        "peer.sqlite.dbapi",
    ),
    Row(
        "fetch.1m10.split.duckdb",
        PART + "the engine alone",
        "engine.duckdb",
        "peer.duckdb.arrow",
        SECONDS,
    ),
    Row(
        "fetch.1m10.split.sqlite",
        PART + "the engine alone",
        "engine.sqlite",
        "peer.sqlite.arrow",
        SECONDS,
    ),
    Row(
        "fetch.1m10.split.decide",
        PART + "decision and records (the statement with LIMIT 0)",
        "decide",
        unit=SECONDS,
    ),
    Row(
        "fetch.1m10.split.fingerprint", PART + "the fingerprint alone", "fingerprint", unit=SECONDS
    ),
    Row("fetch.1m10.split.profile", PART + "the profile alone", "profile", unit=SECONDS),
    Row(
        "fetch.1m10.split.scan",
        "not part of the above: content scan of both texts, had nobody classified them",
        "scan",
        unit=SECONDS,
    ),
    Row("fetch.masked.duckdb.arrow", f"{MASKED}, to Arrow", "masked.duckdb", "peer.duckdb.arrow"),
    Row("fetch.masked.sqlite.arrow", f"{MASKED}, to Arrow", "masked.sqlite", "peer.sqlite.arrow"),
)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """Every way from the database to a table, and every part of nbgov's."""
    return whole_ways(ground) | parts(ground) | peers(ground)


def whole_ways(ground: Ground) -> dict[str, Contender]:
    """From the statement to the end of the result, records and dataset version included."""
    assert ground.sqlite_path.exists()
    sql = ground.session.sql
    return {
        "duckdb.arrow": Contender("nbgov to_arrow", lambda: sql(SQL, "duckdb").to_arrow()),
        "duckdb.pandas": Contender("nbgov to_pandas", lambda: sql(SQL, "duckdb").to_pandas()),
        "sqlite.arrow": Contender("nbgov to_arrow", lambda: sql(SQL, "sqlite").to_arrow()),
        "sqlite.pandas": Contender("nbgov to_pandas", lambda: sql(SQL, "sqlite").to_pandas()),
        "masked.duckdb": Contender("nbgov to_arrow", lambda: sql(SQL, "masked_duckdb").to_arrow()),
        "masked.sqlite": Contender("nbgov to_arrow", lambda: sql(SQL, "masked_sqlite").to_arrow()),
    }


def parts(ground: Ground) -> dict[str, Contender]:
    """The parts of nbgov's way, each over all rows and by itself."""
    from nbgov.core.drift import Profiler
    from nbgov.core.fingerprint import Fingerprinter
    from nbgov.model import Clearance

    rides, session = ground.rides, ground.session
    batches = rides.to_batches(BATCH_ROWS)
    clearance = Clearance(sql=SQL, binds={}, marker_spans=(), is_read=True)
    columns = dict.fromkeys(rides.schema.names, "open")

    def fold(make: Callable[[], Any]) -> Callable[[], object]:
        def run() -> object:
            folded = make()
            for batch in batches:
                folded.update(batch)
            return folded.finish()

        return run

    return {
        "engine.duckdb": Contender(
            "nbgov engine", lambda: list(session.engine("duckdb").execute(clearance))
        ),
        "engine.sqlite": Contender(
            "nbgov engine", lambda: list(session.engine("sqlite").execute(clearance))
        ),
        "decide": Contender(
            "nbgov to_arrow", lambda: session.sql(f"{SQL} LIMIT 0", "duckdb").to_arrow()
        ),
        "fingerprint": Contender("nbgov Fingerprinter", fold(lambda: Fingerprinter(rides.schema))),
        "profile": Contender("nbgov Profiler", fold(lambda: Profiler(columns))),
        "scan": Contender("nbgov mask", lambda: scan(batches)),
    }


def scan(batches: list[pa.RecordBatch]) -> object:
    """Look for every default entity in the two texts, with a detector that has seen nothing yet."""
    from nbgov.backends.presidio import PresidioDetector
    from nbgov.core.masking import MaskingPlan, mask
    from nbgov.core.policy.document import ContentTerms

    content = ContentTerms().mask()
    names = batches[0].schema.names
    plan = MaskingPlan(content, {names.index(name): (name,) for name in ("status", "note")}, {})
    detector = PresidioDetector()
    return [mask(batch, plan, detector.detect) for batch in batches]


def peers(ground: Ground) -> dict[str, Contender]:
    """What people use today, ungoverned."""
    import pandas as pd
    import sqlalchemy as sa

    warnings.filterwarnings("ignore", message="pandas only supports SQLAlchemy")
    duck: Any = ground.peer_duckdb  # pandas takes it, its annotations do not.
    plain = ground.open.enter_context(closing(sqlite3.connect(ground.sqlite_path)))
    engine = sa.create_engine(f"sqlite:///{ground.sqlite_path}")
    ground.open.callback(engine.dispose)
    return {
        "peer.duckdb.arrow": Contender(
            "duckdb to_arrow_reader", lambda: duck.sql(SQL).to_arrow_reader(BATCH_ROWS).read_all()
        ),
        "peer.duckdb.df": Contender("duckdb df", lambda: duck.sql(SQL).df()),
        "peer.duckdb.read_sql": Contender("pandas.read_sql, DBAPI", lambda: pd.read_sql(SQL, duck)),
        "peer.sqlite.arrow": Contender(
            "sqlite3 fetchmany to Arrow", lambda: rows_to_arrow(plain, ground.rides.schema)
        ),
        "peer.sqlite.read_sql": Contender(
            "pandas.read_sql, SQLAlchemy", lambda: pd.read_sql(SQL, engine)
        ),
        "peer.sqlite.dbapi": Contender("pandas.read_sql, DBAPI", lambda: pd.read_sql(SQL, plain)),
    }


def rows_to_arrow(connection: sqlite3.Connection, schema: pa.Schema) -> pa.Table:
    """The shortest way from SQLite to Arrow without its driver, by one who knows the types."""
    import pyarrow as pa

    schema = schema.set(schema.get_field_index("at"), pa.field("at", pa.string()))
    cursor = connection.execute(SQL)
    batches = []
    while rows := cursor.fetchmany(PEER_ROWS):
        columns = zip(*rows, strict=True)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return pa.Table.from_batches(batches, schema)


SUITE = Suite(ROWS, prepare)

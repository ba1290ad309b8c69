"""One statement in one DuckDB transaction, and its rows as Arrow.

Enumerations arrive as the text that they stand for; every other type is DuckDB's own Arrow export.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import pyarrow as pa

from nbgov.core.binds import bind_values, number_markers
from nbgov.core.transfer import BATCH_ROWS_MAX, Rows, failure
from nbgov.errors import RequestInvalid
from nbgov.model import BindMarker, Clearance

if TYPE_CHECKING:
    from nbgov.backends.duckdb.engine import DuckDBEngine

Answer = TypeVar("Answer")

SIGNAL_CHECK_S = 0.1
READ_STATEMENTS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
WHY = {
    "Binder Error": "A column or function is unknown, or is used with types it does not take.",
    "Catalog Error": "A table, column or function is unknown, or exists already.",
    "Constraint Error": "A constraint of a table would be broken.",
    "Conversion Error": "A value does not fit the type that it is converted to.",
    "Dependency Error": "Another object depends on this one.",
    "Invalid Input Error": "DuckDB does not accept a value, or this kind of statement here.",
    "IO Error": "A file could not be read or written.",
    "Not implemented Error": "DuckDB does not implement this.",
    "Out of Memory Error": "The statement needs more memory than DuckDB may use.",
    "Out of Range Error": "A number is out of the range of its type.",
    "Parser Error": "DuckDB cannot parse the statement.",
    "Permission Error": "The statement reaches for a file or an extension, which stay closed.",
    "TransactionContext Error": "The transaction is read-only, or another one got in its way.",
}


def render_markers(sql: str, markers: Sequence[BindMarker]) -> tuple[str, list[str]]:
    """The text with markers as ``$1``, and the name behind each number."""
    return number_markers(sql, markers)


class DuckDBTransaction:
    """One statement on a connection of its own, so that streams do not end one another."""

    errors: tuple[type[Exception], ...] = (
        duckdb.Error,
        OSError,
        pa.ArrowException,
    )

    def __init__(self, engine: DuckDBEngine, *, is_read: bool) -> None:
        self.connection = engine.name
        self._engine = engine
        self._is_read = is_read
        self._is_late = False
        self._is_stopping = False
        self._lock = threading.Lock()
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._reader: pa.RecordBatchReader | None = None
        self._timer: threading.Timer | None = None

    def begin(self, clearance: Clearance) -> Rows:
        """Run the statement: a read streams from here on, a write is done when this returns."""
        sql, names = render_markers(clearance.sql, clearance.marker_spans)
        values = bind_values(clearance.binds, names)
        cursor = self._cursor = self._engine.lend(is_read=self._is_read)
        self._start_timer()
        self._check_kind(cursor, sql)
        # Security: DuckDB calls a writable CTE a SELECT; the read-only transaction stops it.
        cursor.execute(f"BEGIN TRANSACTION {'READ ONLY' if self._is_read else ''}")
        if not self._is_read:
            table = self._wait(lambda: run(cursor, sql, values).to_arrow_table())
            return changed_rows(table, is_returning=says_returning(sql))
        self._reader = self._wait(lambda: run(cursor, sql, values).to_arrow_reader(BATCH_ROWS_MAX))
        return Rows(plain_schema(self._reader.schema), self._batches(self._reader))

    def commit(self) -> None:
        """End the transaction and the loan."""
        assert self._cursor is not None
        self._cursor.execute("COMMIT")
        self._let_go()

    def abandon(self) -> None:
        """Drop what is still to come, roll back and end the loan."""
        if self._cursor is not None:
            if self._reader is not None:
                self._reader.close()
            # After a failed BEGIN or COMMIT there is nothing to roll back.
            with suppress(duckdb.Error):
                self._cursor.execute("ROLLBACK")
        self._let_go()

    def interrupt(self) -> None:
        """Interrupt the connection, if the loan still lasts."""
        self._is_stopping = True
        with self._lock:
            if self._cursor is not None:
                self._cursor.interrupt()

    def explain(self, error: Exception) -> BaseException:
        """DuckDB's kind of error in our words."""
        kind, _, _ = str(error).partition(":")
        if self._is_late:
            why = f"It ran longer than timeout_s, which is {self._engine.timeout_s:g} s."
            return failure(self.connection, "cancelled", why=why)
        why = WHY.get(kind, "DuckDB stopped in it; its own message may quote data.")
        return failure(self.connection, "database-error", why=why)

    def _check_kind(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
        """Refuse a text that is not one statement, or not of a kind that can be a read."""
        statements = cursor.extract_statements(sql)
        if len(statements) != 1:
            raise RequestInvalid(
                f"DuckDB counts {len(statements)} statements.",
                code="not-one-statement",
                next_step="Send one statement at a time.",
            )
        if self._is_read and statements[0].type not in READ_STATEMENTS:
            why = f"It is to run as a read, and DuckDB calls it {statements[0].type.name}."
            raise failure(self.connection, "database-error", why=why)

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """The batches of a read, as plain as its schema."""
        schema = plain_schema(reader.schema)
        while (batch := self._wait(partial(next, reader, None))) is not None:
            yield batch.cast(schema)

    def _wait(self, call: Callable[[], Answer]) -> Answer:
        """Make a call that may take long, so that Ctrl-C and ``interrupt`` end it.

        Signals come to the main thread, which DuckDB would keep busy; so the call has another one.
        DuckDB forgets an interrupt that comes before the call has begun, so it is said again.
        """
        with ThreadPoolExecutor(1, "nbgov-duckdb") as worker:
            future = worker.submit(call)
            try:
                # Polars makes every wait go on after a signal, unless it ends by itself.
                while not wait([future], SIGNAL_CHECK_S).done:
                    if self._is_stopping:
                        self.interrupt()
            except KeyboardInterrupt:
                while not wait([future], SIGNAL_CHECK_S).done:
                    self.interrupt()
                raise
            return future.result()

    def _start_timer(self) -> None:
        """Interrupt the statement when its time is up."""
        if self._engine.timeout_s is not None:
            self._timer = threading.Timer(self._engine.timeout_s, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def _expire(self) -> None:
        self._is_late = True
        self.interrupt()

    def _let_go(self) -> None:
        """Stop the timer and end the loan, once."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            cursor, self._cursor = self._cursor, None
        if cursor is not None:
            self._engine.take_back(cursor, is_read=self._is_read)


def run(cursor: duckdb.DuckDBPyConnection, sql: str, values: list[Any]) -> duckdb.DuckDBPyRelation:
    """The statement as a relation, which runs a read when its rows are asked for."""
    return cursor.sql(sql, params=values) if values else cursor.sql(sql)


def changed_rows(table: pa.Table, *, is_returning: bool) -> Rows:
    """What a write answers: the rows of ``RETURNING``, or only the count that DuckDB gives."""
    if is_returning:
        schema = plain_schema(table.schema)
        return Rows(schema, table.cast(schema).to_batches(), table.num_rows)
    is_counted = table.column_names == ["Count"] and table.num_rows == 1
    return Rows(pa.schema([]), (), table["Count"][0].as_py() if is_counted else None)


def says_returning(sql: str) -> bool:
    """Whether the keyword ``RETURNING`` stands in the text, outside of strings and comments."""
    text = sql.encode()
    return any(
        kind == duckdb.token_type.keyword and text[start : start + 9].lower() == b"returning"
        for start, kind in duckdb.tokenize(sql)
    )


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with enumerations as the text that they stand for."""
    return pa.schema(
        [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    )

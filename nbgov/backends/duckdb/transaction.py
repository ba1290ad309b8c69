"""One statement in one DuckDB transaction, and its rows as Arrow.

Enumerations arrive as the text that they stand for; every other type is DuckDB's own Arrow export.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import duckdb
import pyarrow as pa

from nbgov.core.binds import bind_values, number_markers
from nbgov.core.pseudonym import pads
from nbgov.core.transfer import BATCH_ROWS_MAX, Rows, failure, is_keyed
from nbgov.core.undo_images import keeping
from nbgov.errors import RequestInvalid
from nbgov.model import BindMarker, Clearance

if TYPE_CHECKING:
    from nbgov.backends.duckdb.engine import DuckDBEngine

Answer = TypeVar("Answer")

Taken: TypeAlias = tuple[list[pa.RecordBatch], bool]

SIGNAL_CHECK_S = 0.1
TAKEN_MAX = 2
CHANGES = ("delete", "insert", "merge", "update")
WORD = re.compile(rb"\w+")
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
        self._is_read_loan = is_read
        self._deadline = inf
        self._is_late = False
        self._is_stopping = False
        self._lock = threading.Lock()
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._reader: pa.RecordBatchReader | None = None

    def begin(self, clearance: Clearance) -> Rows:
        """Run the statement: a read streams from here on, a write is done when this returns."""
        sql, names = render_markers(clearance.sql, clearance.marker_spans)
        values = bind_values(clearance.binds, names)
        # DuckDB does not even plan a write where it may not write. Nothing of it is kept.
        self._is_read_loan = self._is_read and not plans_write(sql)
        cursor = self._cursor = self._engine.lend(is_read=self._is_read_loan)
        if self._engine.timeout_s is not None:
            self._deadline = time.monotonic() + self._engine.timeout_s
        kind = self._checked_kind(cursor, sql)
        if is_keyed(self.connection, sql, pseudonym_key=self._engine.pseudonym_key):
            set_key(cursor, self._engine.pseudonym_key)
        # Security: DuckDB calls a writable CTE a SELECT; the read-only transaction stops it.
        cursor.execute(f"BEGIN TRANSACTION {'READ ONLY' if self._is_read_loan else ''}")
        if not self._is_read:
            return keeping(clearance, self._ask, lambda: self._write(kind, sql, values))
        sources = self._engine.sources(clearance.tables) if clearance.tables else ()
        first = self._wait(lambda: self._start(cursor, sql, values))
        reader = self._reader
        assert reader is not None
        batches = self._batches(reader, first)
        return Rows(plain_schema(reader.schema), batches, sources=sources)

    def commit(self) -> None:
        """End the transaction and the loan."""
        assert self._cursor is not None
        self._cursor.execute("COMMIT" if self._is_read == self._is_read_loan else "ROLLBACK")
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

    def _checked_kind(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> duckdb.StatementType:
        """The kind of the one statement in a text, which is a kind of read if it has to be one."""
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
        return statements[0].type

    def _write(self, kind: duckdb.StatementType, sql: str, values: list[Any]) -> Rows:
        """Run a write to its end."""
        cursor = self._cursor
        assert cursor is not None
        table = self._wait(lambda: run(cursor, sql, values).to_arrow_table())
        words = keywords(sql)
        is_counted = "with" not in words or (
            kind != duckdb.StatementType.SELECT and sum(map(words.count, CHANGES)) == 1
        )
        return changed_rows(table, is_returning="returning" in words, is_counted=is_counted)

    def _ask(
        self, sql: str, markers: Sequence[BindMarker], binds: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """The rows of a query beside the write, in its transaction."""
        cursor = self._cursor
        assert cursor is not None
        text, names = render_markers(sql, markers)
        values = bind_values(binds, names)
        return self._wait(lambda: run(cursor, text, values).fetchall())

    def _start(self, cursor: duckdb.DuckDBPyConnection, sql: str, values: list[Any]) -> Taken:
        """Run a read and take its first batch."""
        self._reader = run(cursor, sql, values).to_arrow_reader(BATCH_ROWS_MAX)
        return take(self._reader)

    def _batches(self, reader: pa.RecordBatchReader, first: Taken) -> Iterator[pa.RecordBatch]:
        """The batches of a read, as plain as its schema."""
        schema = plain_schema(reader.schema)
        is_plain = schema == reader.schema
        batches, is_over = first
        while True:
            yield from (batch if is_plain else batch.cast(schema) for batch in batches)
            if is_over:
                return
            batches, is_over = self._wait(partial(take, reader))

    def _wait(self, call: Callable[[], Answer]) -> Answer:
        """Make a call that may take long, so that Ctrl-C, ``interrupt`` and the clock end it.

        Signals come to the main thread, which DuckDB would keep busy; so the call has another one.
        DuckDB forgets an interrupt that comes before the call has begun, so it is said again.
        """
        if self._is_over_time():
            raise duckdb.InterruptException
        future = self._engine.workers.submit(call)
        try:
            # Polars makes every wait go on after a signal, unless it ends by itself.
            while not wait([future], SIGNAL_CHECK_S).done:
                if self._is_stopping or self._is_over_time():
                    self.interrupt()
        except KeyboardInterrupt:
            while not wait([future], SIGNAL_CHECK_S).done:
                self.interrupt()
            raise
        return future.result()

    def _is_over_time(self) -> bool:
        """Whether the statement has had all of its time."""
        self._is_late = self._is_late or time.monotonic() > self._deadline
        return self._is_late

    def _let_go(self) -> None:
        """End the loan, once."""
        with self._lock:
            cursor, self._cursor = self._cursor, None
        if cursor is not None:
            self._engine.take_back(cursor, is_read=self._is_read_loan)


def set_key(cursor: duckdb.DuckDBPyConnection, pseudonym_key: bytes) -> None:
    """Let one connection know the key of the pseudonyms, as values and in no text."""
    for variable, pad in zip(("nbgov_inner", "nbgov_outer"), pads(pseudonym_key), strict=True):
        cursor.execute(f"SET VARIABLE {variable} = $1", [pad])


def run(cursor: duckdb.DuckDBPyConnection, sql: str, values: list[Any]) -> duckdb.DuckDBPyRelation:
    """The statement as a relation, which runs a read when its rows are asked for."""
    return cursor.sql(sql, params=values) if values else cursor.sql(sql)


def take(reader: pa.RecordBatchReader) -> Taken:
    """The next batch, with the one after it if it is not full, and whether that was all.

    A batch that is not full is the last one, as a rule, so that a short answer takes one call.
    """
    batches: list[pa.RecordBatch] = []
    while (batch := next(reader, None)) is not None:
        batches.append(batch)
        if batch.num_rows >= BATCH_ROWS_MAX or len(batches) == TAKEN_MAX:
            return batches, False
    return batches, True


def changed_rows(table: pa.Table, *, is_returning: bool, is_counted: bool) -> Rows:
    """What a write answers: the rows of ``RETURNING``, or only the count that DuckDB gives.

    Rows that a CTE changes are in neither, so that nothing is counted then.
    """
    if is_returning:
        schema = plain_schema(table.schema)
        batches = table.cast(schema).to_batches()
        return Rows(schema, batches, table.num_rows if is_counted else None)
    has_count = is_counted and table.column_names == ["Count"] and table.num_rows == 1
    return Rows(pa.schema([]), (), table["Count"][0].as_py() if has_count else None)


def plans_write(sql: str) -> bool:
    """Whether a text asks for the plan of a write, and not for the write.

    Example:
        >>> plans_write("EXPLAIN DELETE FROM t"), plans_write("EXPLAIN ANALYZE DELETE FROM t")
        (True, False)
    """
    words = keywords(sql)
    is_plan = words[:1] == ["explain"] and "analyze" not in words
    return is_plan and not set(CHANGES).isdisjoint(words)


def keywords(sql: str) -> list[str]:
    """The keywords of a text, lower case, outside of strings and comments."""
    text, tokens = sql.encode(), duckdb.tokenize(sql)
    starts = [start for start, kind in tokens if kind == duckdb.token_type.keyword]
    words = (WORD.match(text, start) for start in starts)
    return [word[0].decode().lower() for word in words if word]


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with enumerations as the text that they stand for."""
    return pa.schema(
        [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    )

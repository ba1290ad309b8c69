"""One statement in one PostgreSQL transaction, and its rows as Arrow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from nbgov.backends.postgresql.columns import delivered_schema, exact, exact_text
from nbgov.backends.postgresql.opinion import READ_ROOT, only_statement, parsed, scoped_nodes
from nbgov.core.binds import bind_values, number_markers
from nbgov.core.transfer import BATCH_ROWS_MAX, Rows, failure, is_keyed, record_batch, told_state
from nbgov.core.undo_images import keeping
from nbgov.model import BindMarker, Clearance

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy.pool import PoolProxiedConnection

    from nbgov.backends.postgresql.engine import PostgreSQLEngine

Answer = TypeVar("Answer")

# Without COPY: the driver takes any statement then, and holds the whole answer.
BUFFERED = {"adbc.postgresql.use_copy": "false"}
FETCH_SQL = f"FETCH FORWARD {BATCH_ROWS_MAX} FROM nbgov_rows"
CHANGES = {"DeleteStmt", "InsertStmt", "MergeStmt", "UpdateStmt"}
CHANGE_ROOTS = {"delete_stmt", "insert_stmt", "merge_stmt", "update_stmt"}
READ_ROOTS = {READ_ROOT, "explain_stmt", "variable_show_stmt"}
CANCELLED = "57014"
GONE = {"57P01", "57P02", "57P03"}
CLASSES = {
    "21": "a subquery gives more rows than it may",
    "22": "a value is out of range or does not fit a type",
    "23": "a constraint of a table would be broken",
    "25": "the transaction is read-only or was aborted",
    "28": "the account is not accepted",
    "40": "another transaction got in its way",
    "42": "a name is unknown, a type does not fit, or the account may not do this",
    "53": "the server is short of resources",
    "54": "a limit of the server is exceeded",
    "55": "an object is not in the state that this needs",
    "P0": "a function of the database raised it",
}


def render_markers(
    sql: str, markers: Sequence[BindMarker], nulls: Collection[str] = ()
) -> tuple[str, list[str]]:
    """The text with markers as ``$1``, and the name behind each number.

    Those whose value is NULL are written as that: the driver would send it as text, which the
    server takes for no other type.
    """
    return number_markers(sql, markers, nulls=nulls)


def counts_changes(sql: str, kind: str) -> bool:
    """Whether the server counts every row that a statement changes: none that a CTE changes.

    Example:
        >>> counts_changes("WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d", READ_ROOT)
        False
    """
    nodes = scoped_nodes(parsed(sql))
    changes = sum(node.DESCRIPTOR.name in CHANGES for node, _ in nodes)
    return kind in CHANGE_ROOTS and changes == 1


def server_reason(sqlstate: str, *, is_sensitive: bool = True) -> str:
    """What the server says in our words. Near protected data it is no more than the class.

    Example:
        >>> server_reason("22012"), server_reason("99999", is_sensitive=False)
        ('SQLSTATE class 22: a value is out of range or does not fit a type.', 'SQLSTATE 99999.')
    """
    reason = CLASSES.get(sqlstate[:2])
    number = f"SQLSTATE class {sqlstate[:2]}" if is_sensitive else f"SQLSTATE {sqlstate}"
    return f"{number}: {reason}." if reason else f"{number}."


class PostgreSQLTransaction:
    """One statement on a leased connection, which is used again only if all went well."""

    def __init__(self, engine: PostgreSQLEngine, *, is_read: bool, driver: ModuleType) -> None:
        self.connection = engine.name
        self.errors: tuple[type[Exception], ...] = (driver.Error, OSError)
        self._engine = engine
        self._is_read = is_read
        self._is_sensitive = True
        self._asked_at = 0.0
        self._lock = threading.Lock()
        self._lease: PoolProxiedConnection | None = None
        self._cursor: Any = None
        self._reader: Any = None

    def begin(self, clearance: Clearance) -> Rows:
        """Run the statement: a read streams from here on, a write is done when this returns."""
        self._is_sensitive = clearance.is_sensitive
        nulls = [name for name, value in clearance.binds.items() if value is None]
        rendered, names = render_markers(clearance.sql, clearance.marker_spans, nulls)
        values = bind_values(clearance.binds, names)
        sql, kind = only_statement(rendered)
        if self._is_read and kind not in READ_ROOTS:
            why = "It is to run as a read, and PostgreSQL does not call it one."
            raise failure(self.connection, "database-error", why=why)
        if clearance.masked:
            self._engine.check_origins(sql, values, clearance.masked)
        is_private = is_keyed(self.connection, sql, pseudonym_key=self._engine.pseudonym_key)
        self._lease, sources = self._engine.lease(
            clearance, is_read=self._is_read, is_keyed=is_private
        )
        cursor = self._open_cursor(is_copy=kind == READ_ROOT and self._is_read and not values)
        described = self._ask(cursor.adbc_execute_schema, sql, values or None)
        if not self._is_read:
            is_counted = counts_changes(sql, kind)
            write = partial(self._write, sql, values, described, is_counted=is_counted)
            return keeping(clearance, self._rows_beside, write)
        text, schema = exact_text(sql, described), delivered_schema(described)
        if values and kind == READ_ROOT:
            declare = f"DECLARE nbgov_rows NO SCROLL CURSOR FOR {text}"
            self._ask(cursor.execute, declare, values)
            batches = self._fetched()
        else:
            self._ask(cursor.execute, text, values or None)
            batches = self._streamed()
        delivered = (record_batch(batch.columns, schema, exact) for batch in batches)
        return Rows(schema, delivered, sources=sources)

    def commit(self) -> None:
        """Commit a write. A read is rolled back: a setting that it made ends with it."""
        assert self._lease is not None
        self._close_cursor()
        if self._is_read:
            self._lease.rollback()
            self._lease.close()
        else:
            self._lease.commit()
            # What a write left behind in its session (temporary tables, locks) ends here.
            self._lease.invalidate()

    def abandon(self) -> None:
        """Cancel what runs and drop the connection; a late cancel may hit nobody else then."""
        with suppress(*self.errors):
            if self._reader is not None:
                # Closing a half-read stream would wait for all of its rows.
                self.interrupt()
            self._close_cursor()
        if self._lease is not None:
            self._lease.invalidate()

    def interrupt(self) -> None:
        """Ask the server to cancel, while the statement is open."""
        with self._lock, suppress(*self.errors):
            if self._cursor is not None:
                self._cursor.adbc_cancel()

    def explain(self, error: Exception) -> BaseException:
        """The SQLSTATE in our words; Ctrl-C as what it is."""
        sqlstate = getattr(error, "sqlstate", None) or ""
        if sqlstate == CANCELLED:
            return self._explain_cancel()
        if not sqlstate or sqlstate in GONE:
            return failure(self.connection, "database-unavailable", why="The connection was lost.")
        why = server_reason(sqlstate, is_sensitive=self._is_sensitive)
        told = told_state(sqlstate, is_sensitive=self._is_sensitive)
        return failure(self.connection, "database-error", why=why, sqlstate=told)

    def _explain_cancel(self) -> BaseException:
        """Who cancelled: the clock, the person at the keyboard, or somebody on the server."""
        timeout_s = self._engine.timeout_s
        if timeout_s is not None and time.monotonic() - self._asked_at >= timeout_s:
            why = f"It ran longer than timeout_s, which is {timeout_s:g} s."
            return failure(self.connection, "cancelled", why=why)
        if threading.current_thread() is threading.main_thread():
            # The driver takes the signal, cancels, and reports no more than that.
            return KeyboardInterrupt()
        return failure(self.connection, "cancelled", why="Somebody cancelled it on the server.")

    def _write(
        self, sql: str, values: list[Any], described: pa.Schema, *, is_counted: bool
    ) -> Rows:
        """Run a write to its end and keep the rows that it returns."""
        if not len(described):
            self._ask(self._cursor.executemany, sql, [values] if values else None)
            changed = self._cursor.rowcount
            return Rows(described, (), changed if changed >= 0 and is_counted else None)
        self._ask(self._cursor.execute, exact_text(sql, described), values or None)
        schema = delivered_schema(described)
        batches = [record_batch(batch.columns, schema, exact) for batch in self._streamed()]
        returned = sum(batch.num_rows for batch in batches)
        return Rows(schema, batches, returned if is_counted else None)

    def _rows_beside(
        self, sql: str, markers: Sequence[BindMarker], binds: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """The rows of a query beside the write, in its transaction."""
        nulls = [name for name, value in binds.items() if value is None]
        text, names = render_markers(sql, markers, nulls)
        self._ask(self._cursor.execute, text, bind_values(binds, names) or None)
        rows: Sequence[Sequence[Any]] = self._cursor.fetchall()
        return rows

    def _streamed(self) -> Iterator[pa.RecordBatch]:
        """Batches of the statement that was executed, as they come."""
        # The driver's own reader, as the public one has lost the SQLSTATE of a late error.
        from adbc_driver_manager._reader import AdbcRecordBatchReader

        stream = self._cursor.fetch_arrow()
        self._reader = AdbcRecordBatchReader._import_from_c(stream.address)  # noqa: SLF001
        yield from self._reader

    def _fetched(self) -> Iterator[pa.RecordBatch]:
        """Batches of the cursor that was declared: bound values and COPY do not go together."""
        cursor = self._open_cursor(is_copy=False)
        while True:
            self._ask(cursor.execute, FETCH_SQL)
            table = cursor.fetch_arrow_table()
            yield from table.to_batches()
            if table.num_rows < BATCH_ROWS_MAX:
                return

    def _ask(self, call: Callable[..., Answer], *args: Any) -> Answer:
        """Send one thing to the server, at a known time."""
        self._asked_at = time.monotonic()
        return call(*args)

    def _open_cursor(self, *, is_copy: bool) -> Any:
        """A cursor in place of the one before, within reach of :meth:`interrupt`."""
        self._close_cursor()
        assert self._lease is not None
        options = None if is_copy else BUFFERED
        self._cursor = self._lease.driver_connection.cursor(adbc_stmt_kwargs=options)  # type: ignore[union-attr]
        return self._cursor

    def _close_cursor(self) -> None:
        """Close the reader and the cursor, out of reach of :meth:`interrupt`."""
        with self._lock:
            cursor, self._cursor = self._cursor, None
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        if cursor is not None:
            cursor.close()

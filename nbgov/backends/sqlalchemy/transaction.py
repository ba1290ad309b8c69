"""One statement in one transaction of a SQLAlchemy connection, and its rows as Arrow."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa
import sqlglot
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlglot.errors import SqlglotError

from nbgov.backends.sqlalchemy.columns import array, settled_type
from nbgov.backends.sqlalchemy.mysql import (
    KEY_SQL,
    OUT_OF_TIME,
    check_origins,
    check_rolls_back,
    check_unlogged,
    table_versions,
    unsafe,
)
from nbgov.core.binds import bind_values, text_form, write_markers
from nbgov.core.pseudonym import pads, token
from nbgov.core.transfer import BATCH_ROWS_MAX, Rows, failure, is_keyed, record_batch, told_state
from nbgov.core.undo_images import keeping
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import BindMarker, Clearance, Span

if TYPE_CHECKING:
    from nbgov.backends.sqlalchemy.engine import SQLAlchemyEngine

# Security: SET TRANSACTION READ WRITE fails once a query has run, and this is one. No temporary
# table stands in for a real one on this path.
PIN_SQL = """
    SELECT set_config(
               'search_path', concat_ws(', ', quote_ident(current_schema()), 'pg_temp'), true
           ),
           set_config('standard_conforming_strings', 'on', true)
"""
# What begins a read, and what begins a write, by sqlglot's name of the dialect.
BEGIN = {
    # The state of tables is asked for before their rows are: of the same snapshot.
    "mysql": (["START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"], ["START TRANSACTION"]),
    "oracle": (["SET TRANSACTION READ ONLY"], []),
    "postgres": (["SET TRANSACTION READ ONLY", PIN_SQL], [PIN_SQL]),
    "sqlite": (["PRAGMA query_only = ON"], ["PRAGMA query_only = OFF", "BEGIN IMMEDIATE"]),
}
SQLSTATE = re.compile(r"[0-9A-Z]{5}")
EXECUTABLE_COMMENT = re.compile(r"/\*M?!", re.IGNORECASE)


def render_markers(sql: str, markers: Sequence[BindMarker]) -> tuple[str, list[str]]:
    r"""The text for :func:`sqlalchemy.text`: its own markers stay, any other colon is escaped.

    Example:
        >>> text, names = render_markers("SELECT '12:30', :x", [BindMarker("x", Span(16, 18))])
        >>> print(text, names)
        SELECT '12\:30',  :x  ['x']
    """
    colons = [
        BindMarker("", Span(place.start(), place.end()))
        for place in re.finditer(":", sql)
        if not any(m.span.start <= place.start() < m.span.end for m in markers)
    ]
    rendered = write_markers(sql, [*markers, *colons], lambda name: f" :{name} " if name else "\\:")
    return rendered, list(dict.fromkeys(marker.name for marker in markers))


def count_statements(sql: str, dialect: str) -> int:
    """How many statements sqlglot counts in a text.

    Raises:
        RequestInvalid: It cannot parse the text.
    """
    try:
        return sum(tree is not None for tree in sqlglot.parse(sql, read=dialect))
    except (SqlglotError, ValueError):
        raise RequestInvalid("The statement cannot be parsed.") from None


def check_comments(sql: str, dialect: str) -> None:
    """Refuse comments that the server runs.

    Raises:
        RequestInvalid: There is one.
    """
    # Security: MySQL and MariaDB run what stands in /*! */, and every parser here skips it.
    if dialect == "mysql" and EXECUTABLE_COMMENT.search(sql):
        raise RequestInvalid(
            "The statement holds a comment that the server would run.",
            next_step="Write it without /*! */.",
        )


class SQLAlchemyTransaction:
    """One statement on a pooled connection, which is used again only if all went well."""

    errors: tuple[type[Exception], ...] = (SQLAlchemyError, OSError)

    def __init__(self, engine: SQLAlchemyEngine, *, is_read: bool) -> None:
        self.connection = engine.name
        self._engine = engine
        self._is_read = is_read
        self._is_late = False
        self._is_sensitive = True
        self._is_keyed = False
        self._lock = threading.Lock()
        self._link: sa.Connection | None = None
        self._driver: Any = None
        self._timer: threading.Timer | None = None

    def begin(self, clearance: Clearance) -> Rows:
        """Run the statement: a read streams after its first batch, a write is done."""
        dialect = self._engine.dialect
        check_comments(clearance.sql, dialect)
        if (count := count_statements(clearance.sql, dialect)) != 1:
            raise RequestInvalid(f"sqlglot counts {count} statements.", code="not-one-statement")
        sql, names = render_markers(clearance.sql, clearance.marker_spans)
        values = dict(zip(names, bind_values(clearance.binds, names), strict=True))
        if dialect == "sqlite":
            values = {name: text_form(value) for name, value in values.items()}
        link = self._link = self._engine.connect()
        self._driver = link.connection.driver_connection
        self._start_timer()
        self._is_sensitive = clearance.is_sensitive
        self._is_keyed = is_keyed(self.connection, sql, pseudonym_key=self._engine.pseudonym_key)
        if self._is_keyed:
            self._set_key(link)
        reading, writing = BEGIN.get(dialect, ([], []))
        for statement in reading if self._is_read else writing:
            link.exec_driver_sql(statement)
        if clearance.is_dry_run and dialect == "mysql":
            check_rolls_back(self.connection, link, clearance.tables)
        is_told = dialect == "mysql" and self._is_read
        sources = table_versions(link, clearance.tables) if is_told else ()
        if not self._is_read:
            return keeping(
                clearance, partial(self._ask, link), lambda: self._run(link, sql, values, clearance)
            )
        return replace(self._run(link, sql, values, clearance), sources=sources)

    def _run(
        self, link: sa.Connection, sql: str, values: Mapping[str, Any], clearance: Clearance
    ) -> Rows:
        """Run the statement."""
        options = {"stream_results": True} if self._is_read else {}
        result = link.execute(sa.text(sql), values, execution_options=options)
        if self._engine.dialect == "mysql" and result.returns_rows:
            check_origins(result.cursor, clearance.masked)
        return self._rows(result, clearance.rows_max)

    def _ask(
        self,
        link: sa.Connection,
        sql: str,
        markers: Sequence[BindMarker],
        binds: Mapping[str, Any],
    ) -> Sequence[Sequence[Any]]:
        """The rows of a query beside the write, in its transaction."""
        text, names = render_markers(sql, markers)
        values = dict(zip(names, bind_values(binds, names), strict=True))
        if self._engine.dialect == "sqlite":
            values = {name: text_form(value) for name, value in values.items()}
        return link.execute(sa.text(text), values).fetchall()

    def commit(self) -> None:
        """Commit a write, roll back a read, and give the connection back."""
        assert self._link is not None
        if self._is_read:
            self._link.rollback()
        else:
            self._link.commit()
        if self._is_keyed:
            self._link.invalidate()
        self._let_go()

    def abandon(self) -> None:
        """Stop the answer and close the connection for good: it may be in the middle of it."""
        if self._link is not None:
            self.interrupt()
            # PyMySQL would read the rest of the answer before it lets go of it.
            pending = getattr(self._driver, "_result", None)
            if pending is not None and getattr(pending, "unbuffered_active", False):
                pending.unbuffered_active = False
            with suppress(*self.errors):
                self._link.invalidate()
        self._let_go()

    def interrupt(self) -> None:
        """Cancel in the driver's own way, where it has one."""
        driver_error = self._engine.source.dialect.loaded_dbapi.Error
        with self._lock, suppress(SQLAlchemyError, BackendFailed, driver_error):
            if hasattr(self._driver, "interrupt"):
                self._driver.interrupt()
            elif hasattr(self._driver, "cancel"):
                self._driver.cancel()
            elif hasattr(self._driver, "thread_id"):
                with self._engine.connect() as other:
                    other.exec_driver_sql(f"KILL QUERY {int(self._driver.thread_id())}")

    def explain(self, error: Exception) -> BaseException:
        """The driver's kind of error; its text may quote data and is not shown."""
        if self._is_late:
            why = f"It ran longer than timeout_s, which is {self._engine.timeout_s:g} s."
            return failure(self.connection, "cancelled", why=why)
        if not isinstance(error, DBAPIError):
            why = f"SQLAlchemy reports {type(error).__name__}."
            return failure(self.connection, "database-error", why=why)
        if error.connection_invalidated:
            return failure(self.connection, "database-unavailable", why="The connection was lost.")
        number = next(iter(getattr(error.orig, "args", ())), "")
        if number in OUT_OF_TIME and self._engine.timeout_s is not None:
            self._is_late = True
            return self.explain(error)
        state = str(getattr(error.orig, "sqlstate", None) or "")
        told = ""
        if SQLSTATE.fullmatch(state):
            code = f" {state[:2] if self._is_sensitive else state}"
            told = told_state(state, is_sensitive=self._is_sensitive)
        else:
            code = f" {number}" if isinstance(number, int) else ""
        why = f"The driver reports {type(error.orig).__name__}{code}."
        return failure(self.connection, "database-error", why=why, sqlstate=told)

    def _rows(self, result: sa.CursorResult[Any], rows_max: int | None) -> Rows:
        """The answer as Arrow; the first batch settles the schema."""
        affected = result.rowcount if not self._is_read and result.rowcount >= 0 else None
        if not result.returns_rows:
            return Rows(pa.schema([]), (), affected)
        description = result.cursor.description
        wanted = BATCH_ROWS_MAX if rows_max is None else min(rows_max + 1, BATCH_ROWS_MAX)
        rows = result.fetchmany(wanted) if self._is_read else result.fetchall()
        columns = transposed(rows, len(description))
        is_mysql = self._engine.dialect == "mysql"
        schema = pa.schema(
            [
                (column[0], settled_type(values, column, is_mysql=is_mysql))
                for column, values in zip(description, columns, strict=True)
            ]
        )
        if not self._is_read:
            return Rows(schema, [record_batch(columns, schema, array)], len(rows))
        return Rows(schema, batches(result, columns, schema))

    def _set_key(self, link: sa.Connection) -> None:
        """Let the session know the key of the pseudonyms; it is not used again after that."""
        # Security: the key is no local variable here, as a traceback may show those.
        if self._engine.dialect == "mysql":
            check_unlogged(self.connection, link, is_read=self._is_read)
            link.exec_driver_sql(KEY_SQL, pads(self._engine.pseudonym_key))
        elif self._engine.dialect == "sqlite":
            self._driver.create_function("nbgov_token", 1, self._pseudonym)
        else:
            raise unsafe(self.connection, "There is no way to tell it that leaves no trace.")

    def _pseudonym(self, value: str | None) -> str | None:
        """What ``nbgov_token`` answers in SQLite."""
        return None if value is None else token(value, self._engine.pseudonym_key)

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
        """Stop the timer and give the connection back, once."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._driver = None
        if self._link is not None:
            self._link.close()


def batches(
    result: sa.CursorResult[Any], columns: Sequence[Sequence[Any]], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The first batch, and those that follow."""
    yield record_batch(columns, schema, array)
    while rows := result.fetchmany(BATCH_ROWS_MAX):
        yield record_batch(transposed(rows, len(schema)), schema, array)


def transposed(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Rows as columns."""
    return list(zip(*rows, strict=True)) or [()] * width

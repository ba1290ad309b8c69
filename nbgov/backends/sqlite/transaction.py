"""One statement in one SQLite transaction, on a connection of its own, and its rows as Arrow."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nbgov.backends.sqlite.columns import array, settled_type
from nbgov.core.binds import bind_values, text_form, write_markers
from nbgov.core.file_versions import FileStatus, file_versions
from nbgov.core.pseudonym import token
from nbgov.core.transfer import BATCH_ROWS_MAX, Rows, failure, is_keyed, record_batch
from nbgov.core.undo_images import keeping
from nbgov.errors import RequestInvalid
from nbgov.model import BindMarker, Clearance, SourceVersion

if TYPE_CHECKING:
    from nbgov.backends.sqlite.engine import SQLiteEngine

# SQLite looks up from its work this often, in its own instructions: every millisecond or so.
STEPS_BETWEEN_CHECKS = 10_000
READ_ACTIONS = {sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_SELECT}
# Security: a write may not open other files, end its own transaction, or change a setting.
NEVER_ACTIONS = {
    sqlite3.SQLITE_ATTACH,
    sqlite3.SQLITE_DETACH,
    sqlite3.SQLITE_PRAGMA,
    sqlite3.SQLITE_SAVEPOINT,
    sqlite3.SQLITE_TRANSACTION,
}
NEVER_FUNCTIONS = {"load_extension"}
WHY = {
    "SQLITE_AUTH": "It does more than its kind of statement may do.",
    "SQLITE_BUSY": "Another connection writes to the file.",
    "SQLITE_CONSTRAINT": "A constraint of a table would be broken.",
    "SQLITE_FULL": "The disk is full.",
    "SQLITE_MISMATCH": "A value does not fit where it is used.",
    "SQLITE_READONLY": "It writes, and is to run as a read.",
    "SQLITE_TOOBIG": "A value or the statement is too large.",
}


def render_markers(sql: str, markers: Sequence[BindMarker]) -> tuple[str, list[str]]:
    """The text with markers as ``?``, and the name behind each, repeated ones repeated."""
    names: list[str] = []

    def write(name: str) -> str:
        names.append(name)
        return "?"

    return write_markers(sql, markers, write), names


def connect(connection: str, path: str, *, is_read: bool) -> sqlite3.Connection:
    """Open the file, which must exist, for reading or for writing.

    Raises:
        BackendFailed: It cannot be opened, or is no SQLite file.
    """
    mode = "ro" if is_read else "rw"
    try:
        link = sqlite3.connect(
            f"{Path(path).absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # Security: no view or trigger of the file may call what is not part of SQLite.
            link.execute("PRAGMA trusted_schema = OFF")
            link.execute("PRAGMA schema_version")
        except sqlite3.Error:
            link.close()
            raise
    except sqlite3.Error:
        raise failure(
            connection,
            "database-unavailable",
            why="The file is missing, is no SQLite file, or may not be read.",
            next_step="Check the path in nbgov.yaml and the file's permissions.",
        ) from None
    return link


class SQLiteTransaction:
    """One statement; closing its connection is what rolls it back."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error, sqlite3.Warning)

    def __init__(self, engine: SQLiteEngine, *, is_read: bool) -> None:
        self.connection = engine.name
        self._engine = engine
        self._is_read = is_read
        self._deadline = float("inf")
        self._is_stopped = False
        self._link: sqlite3.Connection | None = None

    def begin(self, clearance: Clearance) -> Rows:
        """Run the statement: a read streams after its first batch, a write is done."""
        sql, names = render_markers(clearance.sql, clearance.marker_spans)
        values = [text_form(value) for value in bind_values(clearance.binds, names)]
        link = self._link = connect(self.connection, self._engine.path, is_read=self._is_read)
        if self._engine.timeout_s is not None:
            self._deadline = time.monotonic() + self._engine.timeout_s
        if is_keyed(self.connection, sql, pseudonym_key=self._engine.pseudonym_key):
            set_key(link, self._engine.pseudonym_key)
        link.set_progress_handler(self._is_to_stop, STEPS_BETWEEN_CHECKS)
        if not self._is_read:
            begin_write(link)
            return keeping(
                clearance,
                partial(ask, link),
                lambda: write(link, sql, values, told=clearance.masked_types),
            )
        shape = write_markers(clearance.sql, clearance.marker_spans, lambda _: "NULL")
        before = self._sources(clearance)
        rows = read(link, sql, values, shape=shape, clearance=clearance)
        # The read began in between. Where somebody wrote meanwhile, nobody knows which state it
        # sees.
        is_known = before and before == self._sources(clearance)
        return replace(rows, sources=before) if is_known else rows

    def commit(self) -> None:
        """Commit a write; a read leaves nothing to keep."""
        assert self._link is not None
        if not self._is_read:
            self._link.set_authorizer(None)
            self._link.execute("COMMIT")
        self.abandon()

    def abandon(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.close()

    def interrupt(self) -> None:
        """Make SQLite stop when it looks up next."""
        self._is_stopped = True

    def explain(self, error: Exception) -> BaseException:
        """SQLite's kind of error in our words; Ctrl-C as what it is."""
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT":
            if time.monotonic() < self._deadline:
                # Python's own signal handler ran inside the progress handler and raised there.
                return KeyboardInterrupt()
            why = f"It ran longer than timeout_s, which is {self._engine.timeout_s:g} s."
            return failure(self.connection, "cancelled", why=why)
        if "one statement at a time" in str(error):
            return RequestInvalid("SQLite counts several statements.", code="not-one-statement")
        return failure(self.connection, "database-error", why=reason(name, str(error)))

    def _sources(self, clearance: Clearance) -> tuple[SourceVersion, ...]:
        """The state of the file, if the statement reads a table of it."""
        if not clearance.tables:
            return ()
        path = self._engine.path
        return file_versions(
            clearance.tables,
            kind="sqlite-file",
            files=[file_status(path), file_status(f"{path}-wal")],
            now_ns=time.time_ns(),
        )

    def _is_to_stop(self) -> bool:
        return self._is_stopped or time.monotonic() > self._deadline


def file_status(path: str) -> FileStatus | None:
    """What the file system says of a file, or ``None`` where there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return FileStatus(status.st_ino, status.st_size, status.st_mtime_ns)


def set_key(link: sqlite3.Connection, pseudonym_key: bytes) -> None:
    """Give one connection the function that makes pseudonyms."""

    def pseudonym(value: str | None) -> str | None:
        return None if value is None else token(value, pseudonym_key)

    link.create_function("nbgov_token", 1, pseudonym, deterministic=True)


def reason(name: str, message: str) -> str:
    """Why SQLite stopped, by its error name and by the part of its message that quotes no data."""
    for known, why in WHY.items():
        if name.startswith(known):
            return why
    for known in ("no such table", "no such column", "no such function", "syntax error"):
        if known in message.partition(":")[0] or message.endswith(known):
            return f"SQLite says: {known}."
    return f"SQLite reports {name}." if name else "SQLite's driver stopped in it."


def authorize_read(action: int, _: str | None, function: str | None, *__: str | None) -> int:
    """Let a read do nothing but read."""
    is_call = action == sqlite3.SQLITE_FUNCTION and function not in NEVER_FUNCTIONS
    return sqlite3.SQLITE_OK if is_call or action in READ_ACTIONS else sqlite3.SQLITE_DENY


def authorize_write(action: int, _: str | None, function: str | None, *__: str | None) -> int:
    """Let a write change this one file, inside its one transaction."""
    is_denied = action in NEVER_ACTIONS or (
        action == sqlite3.SQLITE_FUNCTION and function in NEVER_FUNCTIONS
    )
    return sqlite3.SQLITE_DENY if is_denied else sqlite3.SQLITE_OK


def begin_write(link: sqlite3.Connection) -> None:
    """Begin a write: nobody else writes from here on."""
    link.execute("BEGIN IMMEDIATE")
    link.set_authorizer(authorize_write)


def ask(
    link: sqlite3.Connection, sql: str, markers: Sequence[BindMarker], binds: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    """The rows of a query beside a write, in its transaction."""
    text, names = render_markers(sql, markers)
    return link.execute(text, [text_form(value) for value in bind_values(binds, names)]).fetchall()


def write(
    link: sqlite3.Connection, sql: str, values: Sequence[Any], *, told: Sequence[str]
) -> Rows:
    """Run a write to its end and keep the rows that it returns."""
    changes_before = link.total_changes
    cursor = link.execute(sql, values)
    rows = cursor.fetchall()
    affected = cursor.rowcount
    if cursor.rowcount < 0:
        # The driver does not take a text for a write that begins with WITH.
        affected = link.total_changes - changes_before
    if cursor.description is None:
        return Rows(pa.schema([]), (), affected)
    columns = transposed(rows, len(cursor.description))
    schema = settled_schema(cursor, columns, [], told)
    return Rows(schema, [record_batch(columns, schema, array)], affected)


def read(
    link: sqlite3.Connection,
    sql: str,
    values: Sequence[Any],
    *,
    shape: str,
    clearance: Clearance,
) -> Rows:
    """Start a read: its first batch settles the schema, the rest follows."""
    link.execute("BEGIN")
    declared = declared_types(link, shape)
    link.execute("PRAGMA query_only = ON")
    link.set_authorizer(authorize_read)
    cursor = link.execute(sql, values)
    if cursor.description is None:
        return Rows(pa.schema([]), ())
    rows_max = clearance.rows_max
    wanted = BATCH_ROWS_MAX if rows_max is None else min(rows_max + 1, BATCH_ROWS_MAX)
    columns = transposed(cursor.fetchmany(wanted), len(cursor.description))
    schema = settled_schema(cursor, columns, declared, clearance.masked_types)
    return Rows(schema, batches(cursor, columns, schema))


def declared_types(link: sqlite3.Connection, shape: str) -> list[str]:
    """The declared types of a statement's columns, without running it; none if it is no SELECT.

    The driver does not tell them, but SQLite does for the columns of a view.
    """
    try:
        link.execute(f"CREATE TEMP VIEW nbgov_shape AS {shape}")
    except sqlite3.Error:
        return []
    rows = link.execute("SELECT type FROM pragma_table_info('nbgov_shape')").fetchall()
    link.execute("DROP VIEW nbgov_shape")
    return [declared for (declared,) in rows]


def settled_schema(
    cursor: sqlite3.Cursor,
    columns: Sequence[Sequence[Any]],
    declared: Sequence[str],
    told: Sequence[str],
) -> pa.Schema:
    """The schema of the whole result, from its first values and the declared types.

    Args:
        cursor: The cursor, which knows the names.
        columns: The first values.
        declared: The types that SQLite knows of; empty where it knows none at all.
        told: The types of the columns that a mask hides from SQLite, in the same way.
    """
    unknown = [""] * len(columns)
    known = declared or unknown
    hidden = told if len(told) == len(columns) else unknown
    described = zip(cursor.description, hidden, known, columns, strict=True)
    return pa.schema(
        [(name, settled_type(own or text, values)) for (name, *_), own, text, values in described]
    )


def batches(
    cursor: sqlite3.Cursor, columns: Sequence[Sequence[Any]], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The first batch, and those that follow."""
    yield record_batch(columns, schema, array)
    while rows := cursor.fetchmany(BATCH_ROWS_MAX):
        yield record_batch(transposed(rows, len(schema)), schema, array)


def transposed(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Rows as columns."""
    return list(zip(*rows, strict=True)) or [()] * width

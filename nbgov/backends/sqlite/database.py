"""The SQLite files in which nbgov keeps state of its own: schemas and transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from nbgov.backends.sqlite.approval_schema import APPROVAL_SCHEMA
from nbgov.errors import BackendFailed

SCHEMA_VERSION = 4
BUSY_WAIT_S = 10.0
RETRY_S = 0.01
MAKING = threading.Lock()
# The low byte of an extended result code is the code itself.
PRIMARY_CODE = 0xFF
SCHEMA = (
    APPROVAL_SCHEMA
    + """
CREATE TABLE versions (
    number INTEGER PRIMARY KEY,
    version_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    facts TEXT NOT NULL CHECK (json_valid(facts)),
    profile BLOB
) STRICT;
CREATE INDEX versions_by_name ON versions (name);

CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    read_id TEXT NOT NULL UNIQUE,
    version_id TEXT NOT NULL REFERENCES versions (version_id),
    name TEXT NOT NULL,
    facts TEXT NOT NULL CHECK (json_valid(facts))
) STRICT;
CREATE INDEX deliveries_by_name ON deliveries (name);

CREATE TABLE releases (
    number INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    facts TEXT NOT NULL CHECK (json_valid(facts))
) STRICT;
CREATE INDEX releases_by_model ON releases (model);
CREATE TRIGGER releases_stay BEFORE UPDATE ON releases
BEGIN SELECT RAISE(ABORT, 'a release is kept as it was'); END;
CREATE TRIGGER releases_are_kept BEFORE DELETE ON releases
BEGIN SELECT RAISE(ABORT, 'a release is kept'); END;

CREATE TABLE facts (
    name TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE catalog_documents (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    document BLOB NOT NULL
) STRICT;
CREATE TABLE catalog_versions (
    connection TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    digest BLOB NOT NULL REFERENCES catalog_documents (digest),
    facts TEXT NOT NULL CHECK (json_valid(facts)),
    PRIMARY KEY (connection, number)
) STRICT;
CREATE TRIGGER catalog_versions_stay BEFORE UPDATE ON catalog_versions
BEGIN SELECT RAISE(ABORT, 'a catalog version is kept as it was'); END;
CREATE TRIGGER catalog_versions_are_kept BEFORE DELETE ON catalog_versions
BEGIN SELECT RAISE(ABORT, 'a catalog version is kept'); END;

CREATE TABLE undo_images (
    number INTEGER PRIMARY KEY,
    request TEXT NOT NULL UNIQUE,
    kept_at TEXT NOT NULL,
    expires_at TEXT NOT NULL CHECK (expires_at > kept_at),
    facts TEXT NOT NULL CHECK (json_valid(facts)),
    sealed TEXT NOT NULL
) STRICT;
CREATE INDEX undo_images_by_expiry ON undo_images (expires_at);
CREATE TRIGGER undo_images_stay BEFORE UPDATE ON undo_images
BEGIN SELECT RAISE(ABORT, 'an image of a write is kept as it was'); END;
"""
)


class Database:
    """A SQLite file of nbgov's own, opened when it is first used.

    Transactions are durable when they end (WAL with ``synchronous=FULL``), exclude one another
    across threads and processes, and leave nothing behind when they fail.

    Args:
        path: The file. It is made, readable by its owner only, if it is not there.
        schema: The statements that make its tables; those of nbgov's state by default.
        version: The version of that schema. A file with another one is refused.
        synchronous: ``NORMAL`` for what may be lost when the power fails.
    """

    def __init__(
        self,
        path: Path,
        *,
        schema: str = SCHEMA,
        version: int = SCHEMA_VERSION,
        synchronous: str = "FULL",
    ) -> None:
        self.path = path
        self.schema = schema
        self.version = version
        self.synchronous = synchronous
        self.lock, self.owner = threading.RLock(), os.getpid()
        self.connection: sqlite3.Connection | None = None
        self.pid = 0
        self.file = (0, 0)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one moment of the state."""
        with self.transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else's write can come between."""
        with self.transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        """A transaction, committed at the end of the block and rolled back on any error.

        Raises:
            BackendFailed: SQLite failed, or the file is not the one it was (code
                ``state-unavailable``).
        """
        try:
            with self.alone():
                connection = self.open()
                connection.execute(begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError, UnicodeError) as error:
            raise unavailable(f"{type(error).__name__} in {self.path.name}") from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other threads of this process out of the file."""
        if self.owner != os.getpid():
            # A lock that another thread held during a fork would never be free again.
            self.lock, self.owner = threading.RLock(), os.getpid()
        with self.lock:
            yield

    def close(self) -> None:
        """Let go of the file. A later transaction opens it anew."""
        with self.lock:
            if self.connection is not None and self.pid == os.getpid():
                self.connection.close()
            self.connection = None

    def open(self) -> sqlite3.Connection:
        """The connection of this process."""
        # A connection does not survive a fork; the parent's is left alone.
        if self.connection is None or self.pid != os.getpid():
            make_file(self.path)
            self.file = file_identity(self.path)
            self.connection = connect(self.path, schema=self.schema, version=self.version)
            self.connection.execute(f"PRAGMA synchronous = {self.synchronous}")
            self.pid = os.getpid()
        # Security: what goes into a file that was removed or replaced, nobody will read again.
        if file_identity(self.path) != self.file:
            raise unavailable(f"{self.path.name} was replaced")
        return self.connection


def make_file(path: Path) -> None:
    """Make an empty file that only its owner can read, unless it is there."""
    # Security: closing any descriptor of a file drops every POSIX lock that this process has on it.
    # Another process would then take itself for the last one and remove the log of writes, and a
    # ticket that is used here would go on being approved there. So only a new file is opened, and
    # nobody else in this process goes on to it before it is closed.
    with MAKING:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives the files it puts beside this one the same mode.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def file_identity(path: Path) -> tuple[int, int]:
    """Device and inode of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def connect(path: Path, *, schema: str, version: int) -> sqlite3.Connection:
    """A connection to a file whose tables are there."""
    connection = sqlite3.connect(
        path, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        switch_to_wal(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        prepare_schema(connection, schema, version)
    except BaseException:
        connection.close()
        raise
    return connection


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to write-ahead logging.

    SQLite does not wait for other processes here, whatever its busy timeout is; so this does.
    """
    deadline = time.monotonic() + BUSY_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
        else:
            return


def prepare_schema(connection: sqlite3.Connection, schema: str, version: int) -> None:
    """Make the tables in a new file; refuse a file with tables of another version."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            for statement in split(schema):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
        elif found != version:
            raise unavailable(f"its schema has version {found}; this nbgov reads {version}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def split(script: str) -> Iterator[str]:
    """The statements of a script; ``executescript`` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def unavailable(why: str) -> BackendFailed:
    """The error of a state file that cannot be used."""
    return BackendFailed(
        "A file with nbgov's own state cannot be read or written.",
        code="state-unavailable",
        why=why,
        next_step="check the state folder, its permissions and the space on its disk",
    )


def time_text(at: datetime) -> str:
    """A moment in UTC, so that texts sort as the moments do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Translate what goes wrong with a row that somebody else wrote."""
    try:
        yield
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise unavailable(f"{what} does not decode") from error

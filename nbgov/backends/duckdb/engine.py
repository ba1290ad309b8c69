"""The engine: who has the file open, and how, and what it holds.

How a statement runs is :mod:`~nbgov.backends.duckdb.transaction`; what DuckDB makes of a text is
:mod:`~nbgov.backends.duckdb.opinion`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import duckdb

from nbgov.backends.duckdb.catalog import DIALECT, make_database, read_catalog
from nbgov.backends.duckdb.opinion import opinion
from nbgov.backends.duckdb.transaction import DuckDBTransaction
from nbgov.core.estimate import duckdb_rows, estimated
from nbgov.core.file_versions import FileStatus, file_versions
from nbgov.core.offline import OfflineEngine
from nbgov.core.transfer import Transfer, Transfers, failure
from nbgov.errors import RequestInvalid
from nbgov.model import Catalog, Clearance, EngineOpinion, SourceVersion, TableName

MEMORY = ":memory:"
WORKERS_MAX = 64
# Security: the text can reach no file, no extension and no Python variable, and cannot change that.
SEALED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",
    "python_enable_replacements": "false",
}


def open_engine(name: str, settings: Mapping[str, Any]) -> DuckDBEngine:
    """The engine of a connection; nothing is opened before it is needed.

    Args:
        name: Name of the connection.
        settings: ``path`` (a file; memory without one), ``timeout_s`` (from the start of a
            statement to the end of its stream), ``pseudonym_key`` and ``threads`` (equal rows come
            in an equal order with one of them only), all optional.
    """
    path = settings.get("path")
    return DuckDBEngine(
        name,
        str(path) if path else MEMORY,
        timeout_s=settings.get("timeout_s"),
        pseudonym_key=settings.get("pseudonym_key", b""),
        threads=settings.get("threads"),
    )


class DuckDBEngine:
    """One DuckDB database, for any number of threads.

    Reads share one open database, and so do writes; DuckDB does not do both on one file at a time.
    """

    dialect = DIALECT

    def __init__(
        self,
        name: str,
        path: str,
        *,
        timeout_s: float | None = None,
        pseudonym_key: bytes = b"",
        threads: int | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.timeout_s = timeout_s
        self.pseudonym_key = pseudonym_key
        self.config = SEALED if threads is None else {**SEALED, "threads": threads}
        self._lock = threading.RLock()
        self._home: duckdb.DuckDBPyConnection | None = None
        self._home_is_read = False
        self._lent = 0
        self._parser: duckdb.DuckDBPyConnection | None = None
        self._catalog: Catalog | None = None
        self._transfers = Transfers()

    def catalog(self) -> Catalog:
        """What the database holds: read once, as an open file keeps every other writer out.

        Raises:
            BackendFailed: The file cannot be opened or read.
        """
        with self._lock:
            if self._catalog is None:
                with (self._home or self._open(is_read=True)).cursor() as cursor:
                    try:
                        self._catalog = read_catalog(cursor)
                    except duckdb.Error:
                        why = "Its catalog cannot be read."
                        raise failure(self.name, "database-error", why=why) from None
            return self._catalog

    def inspect(self, sql: str) -> EngineOpinion:
        """What DuckDB's parser makes of a text. It binds nothing and opens nothing.

        Raises:
            RequestInvalid: The text is not DuckDB's SQL.
        """
        with self._lock:
            if self._parser is None:
                self._parser = duckdb.connect(MEMORY, config=SEALED)
            return checked_opinion(self._parser, sql)

    def execute(self, clearance: Clearance) -> Transfer:
        """Run what was cleared, once; a read sees one snapshot.

        Raises:
            BackendFailed: DuckDB failed, or an open result keeps a write out.
            RequestInvalid: A bind value is missing or cannot be sent.
        """
        return self._transfers.start(DuckDBTransaction(self, is_read=clearance.is_read), clearance)

    def estimate(self, clearance: Clearance) -> int | None:
        """How many rows DuckDB expects the statement to touch. Nothing of it runs."""
        return estimated(clearance, "EXPLAIN (FORMAT json) ", self.execute, duckdb_rows)

    def cancel(self, request: str = "") -> None:
        """Cancel one request, or every statement that runs. For any thread."""
        self._transfers.cancel(request)

    def rest(self) -> None:
        """Let writers of other sessions have the file, unless a statement of this one runs."""
        with self._lock:
            if not self._lent and self.path != MEMORY:
                self._leave()

    def close(self) -> None:
        """Close every stream and give the file back. The next statement opens it again."""
        self._transfers.close()
        with self._lock:
            self._leave()
            if self._parser is not None:
                self._parser.close()
                self._parser = None
            if "workers" in self.__dict__:
                self.workers.shutdown(wait=False)
                del self.workers

    @cached_property
    def workers(self) -> ThreadPoolExecutor:
        """Threads for the calls that may take long, one for each statement that runs."""
        return ThreadPoolExecutor(WORKERS_MAX, "nbgov-duckdb")

    def lend(self, *, is_read: bool) -> duckdb.DuckDBPyConnection:
        """A connection for one statement, onto the database opened the way that it needs.

        Raises:
            BackendFailed: The file cannot be opened, or an open result needs it the other way.
        """
        with self._lock:
            if self._home is not None and not self._suits(is_read=is_read):
                if self._lent:
                    raise failure(
                        self.name,
                        "database-error",
                        why="A result of this connection is still open, and DuckDB does not read "
                        "and write one file at the same time.",
                        next_step="Read that result to its end or close it, then try again.",
                    )
                self._leave()
            cursor = (self._home or self._open(is_read=is_read)).cursor()
            self._lent += 1
            return cursor

    def sources(self, tables: Collection[TableName]) -> tuple[SourceVersion, ...]:
        """In which state the tables are, while a loan keeps every writer out of the file."""
        if self.path == MEMORY:
            return ()
        files = [file_status(self.path), file_status(f"{self.path}.wal")]
        return file_versions(tables, kind="duckdb-file", files=files, now_ns=time.time_ns())

    def take_back(self, cursor: duckdb.DuckDBPyConnection, *, is_read: bool) -> None:
        """End a loan. After the last write, other processes may have the file."""
        cursor.close()
        with self._lock:
            self._lent -= 1
            if not is_read:
                self._catalog = None
                if not self._lent and self.path != MEMORY:
                    self._leave()

    def _suits(self, *, is_read: bool) -> bool:
        """Whether the open database can serve a read, or a write."""
        return self.path == MEMORY or self._home_is_read == is_read

    def _open(self, *, is_read: bool) -> duckdb.DuckDBPyConnection:
        """Open the database, sealed. A missing file is not made."""
        is_memory = self.path == MEMORY
        try:
            if not is_memory and not Path(self.path).is_file():
                raise FileNotFoundError  # Only the answer below is shown.
            self._home = duckdb.connect(
                self.path, read_only=is_read and not is_memory, config=self.config
            )
        except (duckdb.Error, OSError):
            raise failure(
                self.name,
                "database-unavailable",
                why="The file is missing, is no DuckDB file, or another process writes to it.",
                next_step="Check the path in nbgov.yaml, and who else has the file open.",
            ) from None
        self._home_is_read = is_read
        return self._home

    def _leave(self) -> None:
        """Close the database; what was known about it may be wrong from now on."""
        self._catalog = None
        if self._home is not None:
            self._home.close()
            self._home = None


def file_status(path: str) -> FileStatus | None:
    """What the file system says of a file, or ``None`` where there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return FileStatus(status.st_ino, status.st_size, status.st_mtime_ns)


def offline(catalog: Catalog) -> OfflineEngine:
    """An engine that inspects against an empty database made from a catalog."""
    link = duckdb.connect(MEMORY, config=SEALED)
    make_database(link, catalog)
    return OfflineEngine(catalog, partial(checked_opinion, link), link.close)


def checked_opinion(link: duckdb.DuckDBPyConnection, sql: str) -> EngineOpinion:
    """What DuckDB makes of a text.

    Raises:
        RequestInvalid: The text is not DuckDB's SQL.
    """
    try:
        return opinion(link, sql)
    except (duckdb.Error, RecursionError):
        raise RequestInvalid(
            "The statement is not valid SQL for DuckDB.",
            why="DuckDB's own parser stopped in it.",
            next_step="Correct the statement and run it again.",
        ) from None

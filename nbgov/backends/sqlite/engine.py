"""SQLite as an engine, on the standard library's driver.

Every statement has a connection of its own, so that streams do not disturb one another. A read is
fenced four times: the file is opened read-only, ``query_only`` is on, an authorizer lets nothing
but reading through, and nothing is ever committed. It knows no policy and no masks.
Cases: ``tests/backends/test_engine.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from nbgov.backends.sqlite.catalog import DIALECT, make_database, read_catalog
from nbgov.backends.sqlite.opinion import opinion
from nbgov.backends.sqlite.transaction import SQLiteTransaction, connect, render_markers
from nbgov.core.offline import OfflineEngine
from nbgov.core.transfer import Transfer, Transfers, failure
from nbgov.model import Catalog, Clearance, EngineOpinion

__all__ = ["SQLiteEngine", "offline", "open_engine", "render_markers"]


def open_engine(name: str, settings: Mapping[str, Any]) -> SQLiteEngine:
    """The engine of a connection; nothing is opened before it is needed.

    Args:
        name: Name of the connection.
        settings: ``path`` of the file, and optionally ``timeout_s`` (from the start of a statement
            to the end of its stream) and ``pseudonym_key``.
    """
    return SQLiteEngine(
        name,
        str(settings["path"]),
        timeout_s=settings.get("timeout_s"),
        pseudonym_key=settings.get("pseudonym_key", b""),
    )


class SQLiteEngine:
    """One SQLite file, for any number of threads."""

    dialect = DIALECT

    def __init__(
        self, name: str, path: str, *, timeout_s: float | None = None, pseudonym_key: bytes = b""
    ) -> None:
        self.name = name
        self.path = path
        self.timeout_s = timeout_s
        self.pseudonym_key = pseudonym_key
        self._lock = threading.Lock()
        self._link: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version: int | None = None
        self._catalog: Catalog | None = None
        self._transfers = Transfers()

    def catalog(self) -> Catalog:
        """What the file holds now.

        It is read anew when SQLite's schema version has moved, or when the path names another file.
        The connection to the file stays open meanwhile, so its inode cannot be used again.

        Raises:
            BackendFailed: The file cannot be read.
        """
        with self._lock:
            try:
                link = self._catalog_link()
                (version,) = link.execute("PRAGMA schema_version").fetchone()
                if self._catalog is None or version != self._version:
                    self._catalog = read_catalog(link)
                    self._version = version
            except (sqlite3.Error, OSError):
                why = "The file was readable before and is not now."
                raise failure(self.name, "database-unavailable", why=why) from None
            return self._catalog

    def inspect(self, sql: str) -> EngineOpinion:
        """What SQLite makes of a text when it prepares it; nothing runs.

        The tables are those that the text itself names. What a view or a trigger reads on its
        behalf is left out, and SQLite has resolved every name, so each has a schema.

        Raises:
            RequestInvalid: SQLite cannot prepare the text.
            BackendFailed: The file cannot be opened.
        """
        with closing(connect(self.name, self.path, is_read=True)) as link:
            declare_token(link)
            return opinion(link, sql)

    def execute(self, clearance: Clearance) -> Transfer:
        """Run what was cleared, once; a read sees one snapshot.

        Raises:
            BackendFailed: SQLite failed.
            RequestInvalid: A bind value is missing or cannot be sent.
        """
        transaction = SQLiteTransaction(self, is_read=clearance.is_read)
        return self._transfers.start(transaction, clearance)

    def estimate(self, clearance: Clearance) -> int | None:
        """SQLite has no opinion on how many rows a statement touches."""
        del clearance
        return None

    def cancel(self, request: str = "") -> None:
        """Cancel one request, or every statement that runs. For any thread."""
        self._transfers.cancel(request)

    def close(self) -> None:
        """Close every stream and connection. The next statement opens the file again."""
        self._transfers.close()
        with self._lock:
            self._forget()

    def _catalog_link(self) -> sqlite3.Connection:
        """A connection to the file that the path names now."""
        status = Path(self.path).stat() if Path(self.path).exists() else None
        file = (status.st_dev, status.st_ino) if status else None
        if self._link is None or file != self._file:
            self._forget()
            self._link = connect(self.name, self.path, is_read=True)
            self._file = file
        return self._link

    def _forget(self) -> None:
        self._catalog = None
        if self._link is not None:
            self._link.close()
            self._link = None


def offline(catalog: Catalog) -> OfflineEngine:
    """An engine that inspects against an empty database made from a catalog."""
    link = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    make_database(link, catalog)
    declare_token(link)
    return OfflineEngine(catalog, partial(opinion, link), link.close)


def declare_token(link: sqlite3.Connection) -> None:
    """Let a connection that runs nothing prepare texts that make pseudonyms."""
    link.create_function("nbgov_token", 1, lambda _: None, deterministic=True)

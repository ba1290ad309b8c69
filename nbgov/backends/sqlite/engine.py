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
from pathlib import Path
from typing import Any

from nbgov.backends.sqlite.transaction import (
    READ_ACTIONS,
    SQLiteTransaction,
    connect,
    reason,
    render_markers,
)
from nbgov.core.transfer import Transfer, Transfers, failure
from nbgov.errors import RequestInvalid
from nbgov.model import Catalog, Clearance, Column, EngineOpinion, Table, TableName

__all__ = ["SQLiteEngine", "open_engine", "render_markers"]

MAIN = "main"
CHANGES = {sqlite3.SQLITE_DELETE, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE}
TABLES_SQL = """
    SELECT name, type FROM sqlite_schema
    WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    ORDER BY name
"""
COLUMNS_SQL = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"
CODES = {"no such table": "unknown-table", "no such column": "unknown-column"}


def open_engine(name: str, settings: Mapping[str, Any]) -> SQLiteEngine:
    """The engine of a connection; nothing is opened before it is needed.

    Args:
        name: Name of the connection.
        settings: ``path`` of the file, and optionally ``timeout_s`` (from the start of a statement
            to the end of its stream).
    """
    return SQLiteEngine(name, str(settings["path"]), timeout_s=settings.get("timeout_s"))


class SQLiteEngine:
    """One SQLite file, for any number of threads."""

    dialect = "sqlite"

    def __init__(self, name: str, path: str, *, timeout_s: float | None = None) -> None:
        self.name = name
        self.path = path
        self.timeout_s = timeout_s
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
            witness = Witness(link)
            try:
                link.execute(f"EXPLAIN {sql}")
            except (sqlite3.Error, sqlite3.Warning) as error:
                if "one statement at a time" in str(error):
                    return EngineOpinion(statements=2)
                if witness.is_denied:
                    return EngineOpinion(statements=1, is_read=False)
                raise invalid(error) from None
            return witness.opinion()

    def execute(self, clearance: Clearance) -> Transfer:
        """Run what was cleared, once; a read sees one snapshot.

        Raises:
            BackendFailed: SQLite failed.
            RequestInvalid: A bind value is missing or cannot be sent.
        """
        transaction = SQLiteTransaction(
            self.name, self.path, is_read=clearance.is_read, timeout_s=self.timeout_s
        )
        return self._transfers.start(transaction, clearance)

    def cancel(self) -> None:
        """Cancel every statement that runs. For any thread."""
        self._transfers.cancel()

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


class Witness:
    """Watches SQLite prepare one statement and notes what it touches."""

    def __init__(self, link: sqlite3.Connection) -> None:
        rows = link.execute(
            "SELECT lower(name), type FROM sqlite_schema WHERE type IN ('trigger', 'view')"
        ).fetchall()
        self._proxies = dict(rows)
        self._seen: set[tuple[str, str, str]] = set()
        self._is_read = True
        self.is_denied = False
        link.set_authorizer(self._note)

    def opinion(self) -> EngineOpinion:
        """The opinion, once the statement is prepared."""
        tables = frozenset(
            TableName(schema, table) for schema, table, _ in filter(self._is_named, self._seen)
        )
        return EngineOpinion(statements=1, is_read=self._is_read, tables=tables)

    def _note(
        self,
        action: int,
        first: str | None,
        _: str | None,
        schema: str | None,
        via: str | None,
    ) -> int:
        """Note one action. What is more than rows of a table is denied, and so never happens."""
        if action in CHANGES:
            self._is_read = False
        if first is not None and (action == sqlite3.SQLITE_READ or action in CHANGES):
            self._seen.add((schema or MAIN, first, (via or "").lower()))
        elif action not in READ_ACTIONS and action != sqlite3.SQLITE_FUNCTION:
            # Security: some PRAGMAs act while they are prepared, even under EXPLAIN.
            self.is_denied = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    def _is_named(self, seen: tuple[str, str, str]) -> bool:
        """Whether the text names the table itself.

        SQLite also gives the name of a CTE here. Only a view that the text really reads, or a
        trigger of a write, stands between the text and a table.
        """
        _, _, via = seen
        match self._proxies.get(via):
            case "view":
                return not any(table.lower() == via for _, table, _ in self._seen)
            case "trigger":
                return self._is_read
        return True


def invalid(error: sqlite3.Error | sqlite3.Warning) -> RequestInvalid:
    """The error for a text that SQLite cannot prepare."""
    why = reason(getattr(error, "sqlite_errorname", ""), str(error))
    code = next((code for known, code in CODES.items() if known in why), "syntax")
    return RequestInvalid("SQLite cannot prepare the statement.", code=code, why=why)


def read_catalog(link: sqlite3.Connection) -> Catalog:
    """Every table and view of the file that can be read; a view onto nothing cannot."""
    tables = {}
    for table, kind in link.execute(TABLES_SQL).fetchall():
        try:
            rows = link.execute(COLUMNS_SQL, [table]).fetchall()
        except sqlite3.OperationalError:
            continue
        name = TableName(MAIN, table)
        tables[name] = Table(name, tuple(Column(*row) for row in rows), kind=kind)
    return Catalog(SQLiteEngine.dialect, MAIN, tables)

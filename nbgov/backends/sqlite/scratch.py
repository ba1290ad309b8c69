"""A SQLite database for a while: a file of its own in a private folder."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def scratch(name: str, settings: Mapping[str, Any]) -> Iterator[SQLiteScratch]:  # noqa: ARG001
    """An empty database, removed at the end. The connection's own file is not touched."""
    with tempfile.TemporaryDirectory(prefix="nbgov-prove-") as folder:
        path = Path(folder) / "world.sqlite"
        sqlite3.connect(path).close()
        yield SQLiteScratch({"path": str(path)})


class SQLiteScratch:
    """An empty database.

    Attributes:
        settings: How an engine opens it.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def run(self, *statements: str) -> None:
        """Run statements, each committed by itself."""
        with closing(sqlite3.connect(self.settings["path"], isolation_level=None)) as link:
            for sql in statements:
                link.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with closing(sqlite3.connect(self.settings["path"])) as link:
            return link.execute(sql).fetchall()

"""A DuckDB database for a while: a file of its own in a private folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb


@contextmanager
def scratch(name: str, settings: Mapping[str, Any]) -> Iterator[DuckDBScratch]:  # noqa: ARG001
    """An empty database, removed at the end. The connection's own file is not touched."""
    with tempfile.TemporaryDirectory(prefix="nbgov-prove-") as folder:
        # With several threads equal rows come in another order from run to run.
        yield DuckDBScratch({"path": str(Path(folder) / "world.duckdb"), "threads": 1})


class DuckDBScratch:
    """An empty database.

    Attributes:
        settings: How an engine opens it.
    """

    errors: tuple[type[Exception], ...] = (duckdb.Error,)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def run(self, *statements: str) -> None:
        """Run statements, each committed by itself."""
        with duckdb.connect(self.settings["path"]) as link:
            for sql in statements:
                link.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with duckdb.connect(self.settings["path"], read_only=True) as link:
            # Through Arrow: DuckDB's own rows of moments with a zone need a package of their own.
            columns = link.sql(sql).to_arrow_table().columns
            return list(zip(*(column.to_pylist() for column in columns), strict=True))

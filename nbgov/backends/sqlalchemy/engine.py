"""The engine: one SQLAlchemy engine, and what its database holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from nbgov.backends.sqlalchemy.transaction import (
    SQLAlchemyTransaction,
    check_comments,
    count_statements,
)
from nbgov.core.transfer import Transfer, Transfers, failure
from nbgov.errors import BackendFailed, ConfigInvalid
from nbgov.model import Catalog, Clearance, Column, EngineOpinion, Table, TableName

# sqlglot's names for SQLAlchemy's, where they differ.
DIALECTS = {"mariadb": "mysql", "mssql": "tsql", "postgresql": "postgres"}
SYSTEM_SCHEMAS = {
    "guest", "information_schema", "mysql", "performance_schema", "pg_catalog", "sys", "system",
}  # fmt: skip
KINDS = {"table": ObjectKind.TABLE, "view": ObjectKind.ANY_VIEW}


def open_engine(name: str, settings: Mapping[str, Any]) -> SQLAlchemyEngine:
    """The engine of a connection; nothing is connected before it is needed.

    Args:
        name: Name of the connection.
        settings: ``url``, and optionally ``user``, ``password`` and ``timeout_s``.

    Raises:
        ConfigInvalid: The url is no url.
    """
    timeout_s = settings.get("timeout_s")
    url = private_url(settings)
    # Security: a traceback that shows local variables would show the password among the settings.
    settings = {}
    if url is None:
        raise ConfigInvalid(
            f"The url of connection {name} is not valid.",
            next_step="Write it as dialect+driver://host/database in nbgov.yaml.",
        )
    return SQLAlchemyEngine(name, url, timeout_s=timeout_s)


def private_url(settings: Mapping[str, Any]) -> sa.URL | None:
    """The url with the account in it. Its text form hides the password."""
    try:
        url = sa.make_url(settings["url"])
    except ArgumentError:
        return None
    url = url.set(username=settings.get("user") or url.username)
    return url.set(password=settings.get("password") or url.password)


class SQLAlchemyEngine:
    """One database behind a SQLAlchemy URL, for any number of threads."""

    def __init__(self, name: str, url: sa.URL, *, timeout_s: float | None = None) -> None:
        backend = url.get_backend_name()
        self.name = name
        self.timeout_s = timeout_s
        self.dialect = DIALECTS.get(backend, backend)
        self._url = url
        self._transfers = Transfers()

    def catalog(self) -> Catalog:
        """What the database holds now, system schemas left out.

        Raises:
            BackendFailed: The database cannot be reached.
        """
        with self.connect() as link:
            try:
                return read_catalog(sa.inspect(link), self.dialect)
            except SQLAlchemyError:
                why = "Its catalog cannot be read."
                raise failure(self.name, "database-error", why=why) from None

    def inspect(self, sql: str) -> EngineOpinion:
        """How many statements the text holds; the rest the driver cannot tell.

        Raises:
            RequestInvalid: The text is not SQL of the dialect.
        """
        check_comments(sql, self.dialect)
        return EngineOpinion(count_statements(sql, self.dialect))

    def execute(self, clearance: Clearance) -> Transfer:
        """Run what was cleared, once.

        Raises:
            BackendFailed: The driver is missing, or the database failed.
            RequestInvalid: A bind value is missing or cannot be sent.
        """
        transaction = SQLAlchemyTransaction(self, is_read=clearance.is_read)
        return self._transfers.start(transaction, clearance)

    def cancel(self) -> None:
        """Cancel every statement that runs. For any thread."""
        self._transfers.cancel()

    def close(self) -> None:
        """Close every stream and connection. The next statement connects again."""
        self._transfers.close()
        if "source" in self.__dict__:
            self.source.dispose()

    @cached_property
    def source(self) -> sa.Engine:
        """SQLAlchemy's engine. It never logs a bound value.

        Raises:
            BackendFailed: The driver is missing.
        """
        try:
            return sa.create_engine(self._url, hide_parameters=True)
        except (ImportError, ArgumentError):
            raise BackendFailed(
                f"Connection {self.name} needs a database driver, which is not installed.",
                code="driver-missing",
                next_step=f"Install the driver for {self._url.drivername}.",
            ) from None

    def connect(self) -> sa.Connection:
        """A connection from the pool.

        Raises:
            BackendFailed: The database cannot be reached.
        """
        try:
            # SQLite would make a file that is missing.
            if self.dialect == "sqlite" and not Path(self._url.database or "").is_file():
                raise FileNotFoundError
            return self.source.connect()
        except (SQLAlchemyError, OSError):
            raise failure(
                self.name,
                "database-unavailable",
                why="The server does not answer, or refuses the account or its password.",
                next_step="Check url, user and password in nbgov.yaml, and that the server runs.",
            ) from None


def read_catalog(inspector: sa.Inspector, dialect: str) -> Catalog:
    """Every table and view outside of the system schemas."""
    tables = {}
    for schema in inspector.get_schema_names():
        if schema.lower() in SYSTEM_SCHEMAS:
            continue
        for kind, reflected in KINDS.items():
            found = inspector.get_multi_columns(schema=schema, kind=reflected)
            for (_, table), columns in found.items():
                name = TableName(schema, table)
                typed = tuple(Column(column["name"], str(column["type"])) for column in columns)
                tables[name] = Table(name, typed, kind=kind)
    return Catalog(dialect, inspector.default_schema_name or "", tables)

"""The engine: one SQLAlchemy engine, and what its database holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from nbgov.backends import invalid_url, private_url
from nbgov.backends.sqlalchemy.catalog import read_catalog
from nbgov.backends.sqlalchemy.mysql import pin_mysql
from nbgov.backends.sqlalchemy.opinion import opinion
from nbgov.backends.sqlalchemy.transaction import (
    SQLAlchemyTransaction,
)
from nbgov.core.estimate import estimated, mysql_rows
from nbgov.core.offline import OfflineEngine
from nbgov.core.transfer import Transfer, Transfers, failure
from nbgov.errors import BackendFailed
from nbgov.model import Catalog, Clearance, EngineOpinion, revealed

# sqlglot's names for SQLAlchemy's, where they differ.
DIALECTS = {"mariadb": "mysql", "mssql": "tsql", "postgresql": "postgres"}
# What keeps a driver from sending a file of this machine to a server that asks for it.
NO_LOCAL_FILES: Mapping[str, Mapping[str, bool]] = {
    "mysqlconnector": {"allow_local_infile": False},
    "mysqldb": {"local_infile": False},
    "pymysql": {"local_infile": False},
}


def open_engine(name: str, settings: Mapping[str, Any]) -> SQLAlchemyEngine:
    """The engine of a connection; nothing is connected before it is needed.

    Args:
        name: Name of the connection.
        settings: ``url``, and optionally ``user``, ``password``, ``timeout_s`` and
            ``pseudonym_key``.

    Raises:
        ConfigInvalid: The url is no url.
    """
    timeout_s, pseudonym_key = settings.get("timeout_s"), settings.get("pseudonym_key", b"")
    url = private_url(settings)
    # Security: a traceback that shows local variables would show the password among the settings.
    settings = {}
    if url is None:
        raise invalid_url(name, "dialect+driver://host/database")
    return SQLAlchemyEngine(name, url, timeout_s=timeout_s, pseudonym_key=pseudonym_key)


class SQLAlchemyEngine:
    """One database behind a SQLAlchemy URL, for any number of threads."""

    def __init__(
        self, name: str, url: sa.URL, *, timeout_s: float | None = None, pseudonym_key: bytes = b""
    ) -> None:
        backend = url.get_backend_name()
        self.name = name
        self.timeout_s = timeout_s
        self.pseudonym_key = pseudonym_key
        self.dialect = DIALECTS.get(backend, backend)
        self._url = url
        self._catalog: Catalog | None = None
        self._transfers = Transfers()

    def catalog(self) -> Catalog:
        """What the database holds now, system schemas left out; the same object while it does.

        Raises:
            BackendFailed: The database cannot be reached.
        """
        with self.connect() as link:
            try:
                found = read_catalog(link, self.dialect)
            except SQLAlchemyError:
                why = "Its catalog cannot be read."
                raise failure(self.name, "database-error", why=why) from None
        if found != self._catalog:
            self._catalog = found
        return self._catalog

    def inspect(self, sql: str) -> EngineOpinion:
        """How many statements the text holds; the rest the driver cannot tell.

        Raises:
            RequestInvalid: The text is not SQL of the dialect.
        """
        return opinion(sql, self.dialect)

    def execute(self, clearance: Clearance) -> Transfer:
        """Run what was cleared, once.

        Raises:
            BackendFailed: The driver is missing, or the database failed.
            RequestInvalid: A bind value is missing or cannot be sent.
        """
        transaction = SQLAlchemyTransaction(self, is_read=clearance.is_read)
        return self._transfers.start(transaction, clearance)

    def estimate(self, clearance: Clearance) -> int | None:
        """How many rows MySQL or MariaDB expects the statement to touch. Nothing of it runs."""
        if self.dialect != "mysql":
            return None
        return estimated(clearance, "EXPLAIN ", self.execute, mysql_rows, is_read=False)

    def cancel(self, request: str = "") -> None:
        """Cancel one request, or every statement that runs. For any thread."""
        self._transfers.cancel(request)

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
            driver = self._url.get_driver_name()
            guards = dict(NO_LOCAL_FILES.get(driver, {}))
            source = sa.create_engine(self._url, hide_parameters=True, connect_args=guards)
        except (ImportError, ArgumentError):
            raise BackendFailed(
                f"Connection {self.name} needs a database driver, which is not installed.",
                code="driver-missing",
                next_step=f"Install the driver for {self._url.drivername}.",
            ) from None
        sa.event.listen(source, "do_connect", partial(link_up, self._url, guards))
        if self.dialect == "mysql":
            sa.event.listen(source, "connect", partial(pin_mysql, timeout_s=self.timeout_s))
        return source

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


def link_up(url: sa.URL, guards: Mapping[str, bool], dialect: sa.Dialect, *_: object) -> Any:
    """One connection, made with the password as it is now."""
    args, named = dialect.create_connect_args(url.set(password=revealed(url.password)))
    return dialect.connect(*args, **{**named, **guards})


def offline(catalog: Catalog) -> OfflineEngine:
    """An engine that inspects as the engines of its dialect do, without a driver."""
    return OfflineEngine(catalog, partial(opinion, dialect=catalog.dialect))

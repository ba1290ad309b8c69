"""A MySQL or MariaDB database for a while, on the server of a connection."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from nbgov.backends import private_url
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import revealed

SERVERS = {"mariadb", "mysql"}


@contextmanager
def scratch(name: str, settings: Mapping[str, Any]) -> Iterator[SQLAlchemyScratch]:
    """An empty database, dropped at the end whatever happens.

    Raises:
        RequestInvalid: The connection is to another product.
        BackendFailed: The account may not create databases, or the server is away.
    """
    url = private_url(settings)
    assert url is not None
    if url.get_backend_name() not in SERVERS:
        raise RequestInvalid(
            f"No scratch database can be made for connection {name}.",
            code="usage",
            why=f"nbgov makes none on {url.get_backend_name()} yet",
            next_step="prove it on a copy of the schema in PostgreSQL, MySQL, SQLite or DuckDB",
        )
    database = f"nbgov_prove_{secrets.token_hex(4)}"
    home = SQLAlchemyScratch(url, settings)
    try:
        home.run(f"CREATE DATABASE {database}")
    except home.errors:
        raise BackendFailed(
            f"No scratch database can be made on the server of connection {name}.",
            code="database-error",
            why="the server is away, or refused CREATE DATABASE",
            next_step="run it with an account that may create databases, on a server for tests",
        ) from None
    try:
        yield SQLAlchemyScratch(url.set(database=database), settings)
    finally:
        with suppress(*home.errors):
            home.run(f"DROP DATABASE IF EXISTS {database}")


class SQLAlchemyScratch:
    """An empty database.

    Attributes:
        settings: How an engine opens it.
        home: Its name, which is a schema's name too.
    """

    def __init__(self, url: sa.URL, settings: Mapping[str, Any]) -> None:
        known = url.set(password=revealed(url.password))
        self.source = sa.create_engine(known, hide_parameters=True, poolclass=sa.NullPool)
        driver = self.source.dialect.import_dbapi()
        self.errors: tuple[type[Exception], ...] = (SQLAlchemyError, driver.Error)
        self.home = url.database
        self.settings = {**settings, "url": url.set(password=None).render_as_string()}

    def run(self, *statements: str) -> None:
        """Run statements, each committed by itself."""
        # The driver's own cursor: SQLAlchemy's gives it values, and a percent sign would be one.
        with closing(self.source.raw_connection()) as link, closing(link.cursor()) as cursor:
            for sql in statements:
                cursor.execute(sql)
            link.commit()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with closing(self.source.raw_connection()) as link, closing(link.cursor()) as cursor:
            cursor.execute(sql)
            return [*cursor.fetchall()]

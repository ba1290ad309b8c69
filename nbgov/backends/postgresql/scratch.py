"""A PostgreSQL database for a while, on the server of a connection."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from nbgov.backends import private_url
from nbgov.backends.postgresql.admin import run
from nbgov.backends.postgresql.engine import connect, load_driver
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


@contextmanager
def scratch(name: str, settings: Mapping[str, Any]) -> Iterator[PostgreSQLScratch]:
    """An empty database, dropped at the end whatever happens.

    Raises:
        BackendFailed: The account may not create databases, or the server is away.
    """
    url = private_url(settings)
    assert url is not None
    database = f"nbgov_prove_{secrets.token_hex(4)}"
    driver = load_driver(name)
    try:
        run(name, url, [f'CREATE DATABASE "{database}" TEMPLATE template0'])
    except driver.Error as error:
        raise BackendFailed(
            f"No scratch database can be made on the server of connection {name}.",
            code="database-error",
            why=f"the server refused CREATE DATABASE ({getattr(error, 'sqlstate', '')})",
            next_step="run it with an account that has CREATEDB, on a server for tests",
        ) from None
    try:
        yield PostgreSQLScratch(name, url.set(database=database), settings)
    finally:
        with suppress(driver.Error):
            run(name, url, [f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'])


class PostgreSQLScratch:
    """An empty database.

    Attributes:
        settings: How an engine opens it.
    """

    def __init__(self, name: str, url: URL, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.url = url
        self.errors: tuple[type[Exception], ...] = (load_driver(name).Error,)
        address = url.set(password=None).render_as_string()
        self.settings = {**settings, "url": address}

    def run(self, *statements: str) -> None:
        """Run statements, each committed by itself."""
        run(self.name, self.url, statements)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with closing(connect(self.name, self.url)) as link, link.cursor() as cursor:
            cursor.execute(sql)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

"""The four real engines as the tests of the core use them: one plain connection, no backend between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import sqlalchemy as sa

if TYPE_CHECKING:
    import pytest

DIALECTS = ("duckdb", "mysql", "postgres", "sqlite")


@dataclass(frozen=True)
class Product:
    """One engine with a schema for a test.

    Attributes:
        dialect: sqlglot's name of it.
        schema: The schema that unqualified names mean.
        cursor: An open cursor.
    """

    dialect: str
    schema: str
    cursor: Any

    def run(self, *statements: str) -> None:
        """Run statements."""
        for sql in statements:
            self.cursor.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        self.cursor.execute(sql)
        return [tuple(row) for row in self.cursor.fetchall()]


@contextmanager
def open_product(
    request: pytest.FixtureRequest,
    dialect: str,
    schema: str,
    *,
    pads: tuple[bytes, bytes] = (b"", b""),
) -> Iterator[Product]:
    """A fresh schema on one engine, whose session knows the pads of a pseudonym key.

    A fixture may keep its schema open meanwhile, so each place that opens one names its own.
    """
    inner, outer = pads
    if dialect == "duckdb":
        with duckdb.connect() as link:
            link.execute("SET VARIABLE nbgov_inner = ?", [inner])
            link.execute("SET VARIABLE nbgov_outer = ?", [outer])
            link.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}; USE {schema}")
            yield Product(dialect, schema, link)
    elif dialect == "sqlite":
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as link:
            yield Product(dialect, "main", link.cursor())
    elif dialect == "postgres":
        from adbc_driver_postgresql import dbapi

        url = sa.make_url(request.getfixturevalue("postgres_url"))
        options = (
            f"-c nbgov.inner={inner.hex()} -c nbgov.outer={outer.hex()} -c search_path={schema}"
        )
        text = f"host={url.query['host']} user=postgres dbname=postgres options='{options}'"
        with dbapi.connect(text, autocommit=True) as link, link.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            cursor.execute(f"CREATE SCHEMA {schema}")
            yield Product(dialect, schema, cursor)
            cursor.execute(f"DROP SCHEMA {schema} CASCADE")
    else:
        import pymysql

        url = sa.make_url(request.getfixturevalue("mariadb_url"))
        with (
            pymysql.connect(
                unix_socket=url.query["unix_socket"],
                user="root",
                charset="utf8mb4",
                autocommit=True,
            ) as link,
            link.cursor() as cursor,
        ):
            cursor.execute(f"CREATE OR REPLACE DATABASE {schema}")
            cursor.execute(f"USE {schema}")
            cursor.execute("SET @nbgov_inner = %s, @nbgov_outer = %s", [inner, outer])
            yield Product(dialect, schema, cursor)
            cursor.execute(f"DROP DATABASE {schema}")

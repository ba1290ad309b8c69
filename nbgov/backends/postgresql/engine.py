"""The engine: a pool of connections to one database, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby
from types import ModuleType
from typing import Any, cast

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from nbgov.backends.postgresql.opinion import opinion
from nbgov.backends.postgresql.transaction import BUFFERED, PostgreSQLTransaction
from nbgov.core.transfer import Transfer, Transfers, failure
from nbgov.errors import BackendFailed, ConfigInvalid
from nbgov.model import Catalog, Clearance, Column, EngineOpinion, Table, TableName

CONNECTIONS_KEPT_MAX = 4
CONNECTIONS_MAX = 20
CONNECT_WAIT_S = 10
# Security: SET TRANSACTION READ WRITE fails once a read-only transaction has run a query; this is
# that query. The search path is pinned too, so that no temporary table stands in for a real one.
BEGIN_SQL = """
    SELECT set_config('transaction_read_only', $1, true),
           set_config(
               'search_path', concat_ws(', ', quote_ident(current_schema()), 'pg_temp'), true
           ),
           set_config('standard_conforming_strings', 'on', true),
           set_config('cursor_tuple_fraction', '1', true),
           set_config(
               'statement_timeout', coalesce($2, current_setting('statement_timeout')), true
           )
"""
CATALOG_SQL = """
    SELECT current_schema()::text, s.nspname::text, r.relname::text,
           r.relkind IN ('v', 'm', 'f') OR r.relispartition
               OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = r.oid),
           a.attname::text, format_type(a.atttypid, a.atttypmod)
    FROM pg_class r
    JOIN pg_namespace s ON s.oid = r.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
      AND s.nspname <> 'information_schema' AND s.nspname NOT LIKE 'pg\\_%'
    ORDER BY s.nspname, r.relname, a.attnum
"""


def open_engine(name: str, settings: Mapping[str, Any]) -> PostgreSQLEngine:
    """The engine of a connection; nothing is connected before it is needed.

    Args:
        name: Name of the connection.
        settings: ``url``, and optionally ``user``, ``password`` and ``timeout_s``, which the server
            keeps as ``statement_timeout``. A unix socket is named by its folder:
            ``postgresql://user@/database?host=/folder``.

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
            next_step="Write it as postgresql://host/database in nbgov.yaml.",
        )
    return PostgreSQLEngine(name, url, timeout_s=timeout_s)


def private_url(settings: Mapping[str, Any]) -> URL | None:
    """The url with the account in it. Its text form hides the password."""
    try:
        url = make_url(settings["url"])
    except ArgumentError:
        return None
    url = url.set(username=settings.get("user") or url.username)
    return url.set(password=settings.get("password") or url.password)


def conninfo(url: URL) -> str:
    """The url as libpq's own connection string, where no character needs an escape of its own."""
    parts = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
        "connect_timeout": CONNECT_WAIT_S,
        "application_name": "nbgov",
    } | url.query  # fmt: skip
    escapes = str.maketrans({"\\": "\\\\", "'": "\\'"})
    return " ".join(
        f"{key}='{str(value).translate(escapes)}'" for key, value in parts.items() if value
    )


def load_driver(name: str) -> ModuleType:
    """The ADBC driver.

    Raises:
        BackendFailed: It is not installed.
    """
    try:
        from adbc_driver_postgresql import dbapi  # type: ignore[import-untyped]
    except ImportError:
        raise BackendFailed(
            f"Connection {name} needs the PostgreSQL driver, which is not installed.",
            code="driver-missing",
            next_step="Run: pip install nbgov[postgres]",
        ) from None
    return cast("ModuleType", dbapi)


def connect(name: str, url: URL) -> Any:
    """One connection to the server.

    Raises:
        BackendFailed: The server is not there, or does not accept the account.
    """
    driver = load_driver(name)
    try:
        return driver.connect(conninfo(url))
    except driver.Error:
        raise failure(
            name,
            "database-unavailable",
            why="The server does not answer, or refuses the account or its password.",
            next_step="Check url, user and password in nbgov.yaml, and that the server runs.",
        ) from None


class PostgreSQLEngine:
    """One PostgreSQL database, for any number of threads."""

    dialect = "postgres"

    def __init__(self, name: str, url: URL, *, timeout_s: float | None = None) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._pool = QueuePool(
            partial(connect, name, url),
            pool_size=CONNECTIONS_KEPT_MAX,
            max_overflow=CONNECTIONS_MAX - CONNECTIONS_KEPT_MAX,
            reset_on_return=None,
            timeout=CONNECT_WAIT_S,
        )
        self._transfers = Transfers()

    def catalog(self) -> Catalog:
        """What the database holds now, read in one go.

        Raises:
            BackendFailed: The server cannot be reached.
        """
        driver = load_driver(self.name)
        lease = self.lease(is_read=True)
        try:
            with closing(lease.cursor()) as cursor:
                cursor.execute(CATALOG_SQL)
                rows = cursor.fetchall()
            lease.rollback()
        except driver.Error:
            lease.invalidate()
            raise failure(self.name, "database-error", why="Its catalog cannot be read.") from None
        finally:
            lease.close()
        return catalog_of(rows)

    def inspect(self, sql: str) -> EngineOpinion:
        """What PostgreSQL's grammar makes of a text; no server is asked.

        Raises:
            RequestInvalid: The text is not PostgreSQL's SQL.
        """
        return opinion(sql)

    def execute(self, clearance: Clearance) -> Transfer:
        """Run what was cleared, once; a read sees one snapshot.

        Raises:
            BackendFailed: The driver is missing, or the server failed.
            RequestInvalid: A bind value is missing or cannot be sent.
        """
        transaction = PostgreSQLTransaction(
            self, is_read=clearance.is_read, driver=load_driver(self.name)
        )
        return self._transfers.start(transaction, clearance)

    def cancel(self) -> None:
        """Cancel every statement that runs. For any thread."""
        self._transfers.cancel()

    def close(self) -> None:
        """Close every stream and connection. The next statement connects again."""
        self._transfers.close()
        self._renew_pool()

    def lease(self, *, is_read: bool) -> PoolProxiedConnection:
        """A connection from the pool, in a fresh transaction of the right kind.

        A connection that the server has dropped since it was last used is replaced, once.

        Raises:
            BackendFailed: The server cannot be reached, or all connections are taken.
        """
        driver = load_driver(self.name)
        for is_last in (False, True):
            try:
                lease = self._pool.connect()
            except PoolTimeout:
                why = f"All its {CONNECTIONS_MAX} connections hold results that are still open."
                raise failure(self.name, "database-unavailable", why=why) from None
            try:
                begin(lease, is_read=is_read, timeout_s=self.timeout_s)
            except driver.Error:
                lease.invalidate()
                self._renew_pool()
                if is_last:
                    why = "The server ended the connection."
                    raise failure(self.name, "database-unavailable", why=why) from None
            else:
                return lease
        raise AssertionError

    def _renew_pool(self) -> None:
        """Close idle connections; those on lease end with their lease."""
        self._pool.dispose()
        self._pool = self._pool.recreate()


def begin(lease: PoolProxiedConnection, *, is_read: bool, timeout_s: float | None) -> None:
    """Begin a transaction and settle what may happen in it."""
    milliseconds = None if timeout_s is None else str(max(1, round(timeout_s * 1000)))
    link: Any = lease.driver_connection
    with link.cursor(adbc_stmt_kwargs=BUFFERED) as cursor:
        cursor.execute(BEGIN_SQL, ["on" if is_read else "off", milliseconds])


def catalog_of(rows: Sequence[Any]) -> Catalog:
    """The catalog for the rows of its query.

    Views, foreign tables, partitions and heirs are views to us: they show rows of other tables.
    """
    tables = {}
    for (schema, table, is_view), columns in groupby(rows, key=lambda row: row[1:4]):
        name = TableName(schema, table)
        tables[name] = Table(
            name,
            tuple(Column(row[4], row[5]) for row in columns if row[4] is not None),
            kind="view" if is_view else "table",
        )
    return Catalog(PostgreSQLEngine.dialect, rows[0][0] or "" if rows else "public", tables)

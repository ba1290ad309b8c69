"""The engine: a pool of connections to one database, and what it holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from nbgov.backends import invalid_url, private_url
from nbgov.backends.postgresql.catalog import Contents, ContentsReader
from nbgov.backends.postgresql.opinion import opinion
from nbgov.backends.postgresql.origins import Describer, check_origins
from nbgov.backends.postgresql.sources import MARKS_SQL, REPEATABLE_SQL, source_versions
from nbgov.backends.postgresql.transaction import BUFFERED, PostgreSQLTransaction
from nbgov.core.estimate import estimated, postgresql_rows
from nbgov.core.offline import OfflineEngine
from nbgov.core.pseudonym import pads
from nbgov.core.transfer import Transfer, Transfers, failure
from nbgov.errors import BackendFailed
from nbgov.model import (
    Catalog,
    Clearance,
    ColumnName,
    EngineOpinion,
    SourceVersion,
    TableName,
    revealed,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

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
           set_config('row_security', 'on', true),
           set_config('cursor_tuple_fraction', '1', true),
           set_config('application_name', $3, true),
           set_config(
               'statement_timeout', coalesce($2, current_setting('statement_timeout')), true
           )
"""
# After everything that is asked as the account: the role may not even see the server's counts.
ROLE_SQL = "SELECT set_config('role', $1, true)"
APPLICATION = "nbgov"


def open_engine(name: str, settings: Mapping[str, Any]) -> PostgreSQLEngine:
    """The engine of a connection; nothing is connected before it is needed.

    Args:
        name: Name of the connection.
        settings: ``url``, and optionally ``user``, ``password``, ``pseudonym_key`` and
            ``timeout_s``, which the server keeps as ``statement_timeout``. A unix socket is named
            by its folder: ``postgresql://user@/database?host=/folder``.

    Raises:
        ConfigInvalid: The url is no url.
    """
    timeout_s, pseudonym_key = settings.get("timeout_s"), settings.get("pseudonym_key", b"")
    url = private_url(settings)
    # Security: a traceback that shows local variables would show the password among the settings.
    settings = {}
    if url is None:
        raise invalid_url(name, "postgresql://host/database")
    return PostgreSQLEngine(name, url, timeout_s=timeout_s, pseudonym_key=pseudonym_key)


def offline(catalog: Catalog) -> OfflineEngine:
    """An engine that inspects: the grammar needs no server."""
    return OfflineEngine(catalog, opinion)


def conninfo(url: URL, *, options: str = "") -> str:
    """The url as libpq's own connection string, where no character needs an escape of its own.

    Args:
        url: Where the server is, with the account.
        options: Settings of the session, after those that the url gives.
    """
    given = url.query.get("options", "")
    parts = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": revealed(url.password),
        "dbname": url.database,
        "connect_timeout": CONNECT_WAIT_S,
        "application_name": APPLICATION,
    } | url.query | {"options": f"{given} {options}".strip()}  # fmt: skip
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


def connect(name: str, url: URL, *, options: str = "", is_autocommit: bool = False) -> Any:
    """One connection to the server.

    Args:
        name: Name of the connection.
        url: Where the server is, with the account.
        options: Settings of the session.
        is_autocommit: Whether each statement is committed by itself.

    Raises:
        BackendFailed: The server is not there, or does not accept the account.
    """
    driver = load_driver(name)
    try:
        return driver.connect(conninfo(url, options=options), autocommit=is_autocommit)
    except driver.Error:
        pass
    # Security: raised out here, so that no frame of the driver shows the account or the key.
    options = ""
    raise failure(
        name,
        "database-unavailable",
        why="The server does not answer, or refuses the account or its password.",
        next_step="Check url, user and password in nbgov.yaml, and that the server runs.",
    )


def key_options(pseudonym_key: bytes) -> str:
    """The key of the pseudonyms as settings of a session, for the start of a connection.

    Security: what a connection starts with is in no log and in no view of the server, unlike every
    statement.
    """
    inner, outer = pads(pseudonym_key)
    return f"-c nbgov.inner={inner.hex()} -c nbgov.outer={outer.hex()}"


class PostgreSQLEngine:
    """One PostgreSQL database, for any number of threads.

    Only sessions that make pseudonyms know the key of them; they have a pool of their own.
    """

    dialect = "postgres"

    def __init__(
        self, name: str, url: URL, *, timeout_s: float | None = None, pseudonym_key: bytes = b""
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._url = url
        self.pseudonym_key = pseudonym_key
        self._lock = threading.Lock()
        self._pools = {is_keyed: self._new_pool(is_keyed=is_keyed) for is_keyed in (False, True)}
        self._describer = Describer(name, url)
        self._transfers = Transfers()
        self._watch: Any = None
        self._reader = ContentsReader(self._ask_watch)

    def catalog(self) -> Catalog:
        """What the database holds now; the same object while it holds the same.

        Raises:
            BackendFailed: The server cannot be reached.
        """
        return self._contents().catalog

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

    def estimate(self, clearance: Clearance) -> int | None:
        """How many rows the server expects the statement to touch. Nothing of it runs."""
        return estimated(clearance, "EXPLAIN (FORMAT JSON) ", self.execute, postgresql_rows)

    def cancel(self, request: str = "") -> None:
        """Cancel one request, or every statement that runs. For any thread."""
        self._transfers.cancel(request)

    def close(self) -> None:
        """Close every stream and connection. The next statement connects again."""
        self._transfers.close()
        self._describer.close()
        for is_keyed in self._pools:
            self._renew_pool(is_keyed=is_keyed)
        with self._lock:
            self._leave_watch()

    def check_origins(self, sql: str, values: Sequence[Any], masked: frozenset[ColumnName]) -> None:
        """Ask the server where the columns of a result come from, before it makes any row.

        Raises:
            IntegrityFailed: A masked column would arrive as it is stored.
            BackendFailed: The server cannot be asked.
        """
        origins = self._describer.origins(sql, values)
        check_origins(origins, self._contents().columns, masked)

    def lease(
        self, clearance: Clearance, *, is_read: bool, is_keyed: bool
    ) -> tuple[PoolProxiedConnection, tuple[SourceVersion, ...]]:
        """A connection from the pool, in a fresh transaction of the right kind.

        A connection that the server has dropped since it was last used is replaced, once.

        Args:
            clearance: What it is for: which tables' states are asked for, as whom it runs, and
                what it is called.
            is_read: Whether nothing may be written.
            is_keyed: Whether the session has to know the key of the pseudonyms.

        Raises:
            BackendFailed: The server cannot be reached, or all connections are taken.
        """
        driver = load_driver(self.name)
        for is_last in (False, True):
            try:
                lease = self._pools[is_keyed].connect()
            except PoolTimeout:
                why = f"All its {CONNECTIONS_MAX} connections hold results that are still open."
                raise failure(self.name, "database-unavailable", why=why) from None
            try:
                sources = begin(
                    lease,
                    is_read=is_read,
                    timeout_s=self.timeout_s,
                    label=clearance.label or APPLICATION,
                    numbers=self._reader.numbers(clearance.tables),
                )
            except driver.Error:
                lease.invalidate()
                self._renew_pool(is_keyed=is_keyed)
                if is_last:
                    why = "The server ended the connection."
                    raise failure(self.name, "database-unavailable", why=why) from None
            else:
                self._take_role(lease, clearance.role)
                return lease, sources
        raise AssertionError

    def _take_role(self, lease: PoolProxiedConnection, role: str) -> None:
        """Go on as a role until the transaction ends; it goes back by itself then.

        Raises:
            BackendFailed: There is no such role, or the account is no member of it.
        """
        if not role:
            return
        link: Any = lease.driver_connection
        try:
            with link.cursor(adbc_stmt_kwargs=BUFFERED) as cursor:
                cursor.execute(ROLE_SQL, [role])
        except load_driver(self.name).Error:
            lease.invalidate()
            raise failure(
                self.name,
                "database-error",
                why=f"Its account may not run statements as the role {role}.",
                next_step="Grant the role to the account, or correct roles: in nbgov.yaml.",
            ) from None

    def _connect(self, *, is_keyed: bool) -> Any:
        """One connection of a pool."""
        return connect(
            self.name, self._url, options=key_options(self.pseudonym_key) if is_keyed else ""
        )

    def _new_pool(self, *, is_keyed: bool) -> QueuePool:
        """A pool of connections that know the key of the pseudonyms, or that do not."""
        return QueuePool(
            partial(self._connect, is_keyed=is_keyed),
            pool_size=CONNECTIONS_KEPT_MAX,
            max_overflow=CONNECTIONS_MAX - CONNECTIONS_KEPT_MAX,
            reset_on_return=None,
            timeout=CONNECT_WAIT_S,
        )

    def _renew_pool(self, *, is_keyed: bool) -> None:
        """Close idle connections; those on lease end with their lease."""
        pool = self._pools[is_keyed]
        pool.dispose()
        self._pools[is_keyed] = pool.recreate()

    def _contents(self) -> Contents:
        """What the database holds now, on a connection that is kept for this question."""
        driver = load_driver(self.name)
        with self._lock:
            for is_last in (self._watch is None, True):
                try:
                    return self._reader.read()
                except driver.Error:
                    self._leave_watch()
                    if is_last:
                        break
        raise failure(self.name, "database-error", why="Its catalog cannot be read.")

    def _ask_watch(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer to a question about the catalog."""
        if self._watch is None:
            self._watch = connect(self.name, self._url, is_autocommit=True)
        with self._watch.cursor(adbc_stmt_kwargs=BUFFERED) as cursor:
            cursor.execute(sql)
            return cursor.fetchall()  # type: ignore[no-any-return]

    def _leave_watch(self) -> None:
        """Close the connection of the catalog, which may be broken."""
        watch, self._watch = self._watch, None
        if watch is not None:
            with suppress(load_driver(self.name).Error):
                watch.close()


def begin(
    lease: PoolProxiedConnection,
    *,
    is_read: bool,
    timeout_s: float | None,
    label: str,
    numbers: Mapping[int, TableName],
) -> tuple[SourceVersion, ...]:
    """Begin a transaction and settle what may happen in it; say in which state tables are."""
    milliseconds = None if timeout_s is None else str(max(1, round(timeout_s * 1000)))
    terms = ["on" if is_read else "off", milliseconds, label]
    link: Any = lease.driver_connection
    with link.cursor(adbc_stmt_kwargs=BUFFERED) as cursor:
        if not numbers:
            cursor.execute(BEGIN_SQL, terms)
            return ()
        cursor.execute(REPEATABLE_SQL)
        wanted = " ".join(map(str, numbers))
        cursor.execute(BEGIN_SQL + MARKS_SQL, [*terms, wanted])
        [row] = cursor.fetchall()
        return tuple(source_versions(numbers, row[-3:]))

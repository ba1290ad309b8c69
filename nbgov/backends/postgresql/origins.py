"""Where the server says that the columns of a result come from, asked before any row leaves.

The server names, for each column of a result that is a column of a table as it stands, that table
and column. So it tells without our parsers whether a masked column would arrive as it is stored.
The driver of the rows does not pass this on; a second one, which speaks the same protocol, asks for
it on connections of its own. They describe statements and run none.
"""

from __future__ import annotations

import getpass
import os
import ssl
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbgov.backends.postgresql.catalog import USER_NUMBER_MIN
from nbgov.backends.postgresql.transaction import server_reason
from nbgov.core.transfer import failure, masked_column, told_state
from nbgov.errors import BackendFailed
from nbgov.model import ColumnName, revealed

if TYPE_CHECKING:
    from pg8000.core import CoreConnection  # type: ignore[import-untyped]
    from sqlalchemy.engine import URL

CONNECT_WAIT_S = 10
LINKS_KEPT_MAX = 4
PORT = 5432
SOCKET_FOLDER = "/tmp"  # noqa: S108  # Where libpq looks for the server when no host is named.
BEGIN_SQL = """
    BEGIN READ ONLY;
    SELECT set_config(
               'search_path', concat_ws(', ', quote_ident(current_schema()), 'pg_temp'), true
           ),
           set_config('standard_conforming_strings', 'on', true),
           set_config('lock_timeout', '10s', true)
"""
# The types that the driver of the rows gives to bound values (pg_type.dat).
TYPE_NUMBERS: Mapping[type, int] = {
    bool: 16, bytes: 17, int: 20, str: 25, float: 701, date: 1082, time: 1083, Decimal: 1700,
}  # fmt: skip
TIMESTAMP, TIMESTAMP_WITH_ZONE = 1114, 1184


class Describer:
    """Asks one server where result columns come from, on connections that it keeps.

    Args:
        name: Name of the connection.
        url: Where the server is, with the account.
    """

    def __init__(self, name: str, url: URL) -> None:
        self._name = name
        self._url = url
        self._lock = threading.Lock()
        self._idle: list[CoreConnection] = []

    def origins(self, sql: str, values: Sequence[Any]) -> list[tuple[int, int]]:
        """The numbers of the table and column behind each result column; zeros for an expression.

        Args:
            sql: One statement, with its values as ``$1`` and so on.
            values: The values, for their types.

        Raises:
            BackendFailed: The server cannot be asked, or does not take the statement.
        """
        core, error_types = load_driver(self._name)
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is not None:
            try:
                return self._describe(link, sql, values)
            except error_types:
                # An idle connection that the server has dropped is replaced, once.
                give_up(link, error_types)
        try:
            link = connect(core, self._url)
            return self._describe(link, sql, values)
        except error_types as error:
            sqlstate = sqlstate_of(error)
        if link is not None:
            give_up(link, error_types)
        raise self._failure(sqlstate)

    def close(self) -> None:
        """Close the connections that nobody uses. The next question connects again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def _describe(
        self, link: CoreConnection, sql: str, values: Sequence[Any]
    ) -> list[tuple[int, int]]:
        """Ask on one connection, and keep it for the next question."""
        link.execute_simple(BEGIN_SQL)
        name, columns, _ = link.prepare_statement(sql, [type_number(value) for value in values])
        link.close_prepared_statement(name)
        link.execute_simple("ROLLBACK")
        with self._lock:
            is_kept = len(self._idle) < LINKS_KEPT_MAX
            if is_kept:
                self._idle.append(link)
        if not is_kept:
            link.close()
        return [(column["table_oid"], column["column_attrnum"]) for column in columns or ()]

    def _failure(self, sqlstate: str) -> BackendFailed:
        """The error of a server that did not answer the question."""
        if sqlstate and sqlstate[:2] not in {"08", "28", "3D", "53", "57"}:
            told = told_state(sqlstate, is_sensitive=True)
            return failure(self._name, "database-error", why=server_reason(sqlstate), sqlstate=told)
        return failure(
            self._name,
            "database-unavailable",
            why="The driver that checks where result columns come from cannot connect.",
            next_step="Name host, user and password in nbgov.yaml: it reads no password file.",
        )


def check_origins(
    origins: Iterable[tuple[int, int]],
    columns: Mapping[tuple[int, int], ColumnName],
    masked: frozenset[ColumnName],
) -> None:
    """Refuse a result in which a masked column arrives as it is stored.

    Args:
        origins: What the server says of each result column.
        columns: The columns of the database by their numbers.
        masked: Columns of which no value may arrive as it is stored.

    Raises:
        IntegrityFailed: One would, or a column is of a table that is in no catalog.
    """
    for place, origin in enumerate(origins, 1):
        shown = columns_shown(*origin, columns)
        if shown is None or not shown.isdisjoint(masked):
            raise masked_column(place)


def columns_shown(
    table: int, number: int, columns: Mapping[tuple[int, int], ColumnName]
) -> set[ColumnName] | None:
    """The columns that a result column shows as they are stored; ``None`` where nobody knows.

    The server's own tables, and the system columns of any table, are none of the catalog's. Number
    zero is the whole row of a table.
    """
    if table < USER_NUMBER_MIN or number < 0:
        return set()
    if number == 0:
        row = {name for (of, _), name in columns.items() if of == table}
        return row or None
    return {columns[table, number]} if (table, number) in columns else None


def load_driver(name: str) -> tuple[ModuleType, tuple[type[Exception], ...]]:
    """The protocol's driver, and the errors that it raises.

    Raises:
        BackendFailed: It is not installed.
    """
    try:
        from pg8000 import core, exceptions  # type: ignore[import-untyped]
        from scramp import ScramException  # type: ignore[import-untyped]
    except ImportError:
        raise BackendFailed(
            f"Connection {name} needs pg8000 to check masked columns, and it is not installed.",
            code="driver-missing",
            next_step="Run: pip install nbgov[postgres]",
        ) from None
    # AttributeError is how the driver says that the server wants a password and there is none.
    return core, (exceptions.Error, OSError, ScramException, AttributeError)


def connect(core: ModuleType, url: URL) -> CoreConnection:
    """One connection to the server of a url, with libpq's own defaults."""
    given = {name: str(value) for name, value in url.query.items()}
    host = url.host or given.get("host") or os.environ.get("PGHOST") or SOCKET_FOLDER
    port = url.port or int(given.get("port") or PORT)
    user = url.username or given.get("user") or getpass.getuser()
    startup = {"client_encoding": "UTF8"}
    if "options" in given:
        startup["options"] = given["options"]
    is_socket = host.startswith("/")
    return core.CoreConnection(
        user,
        host=None if is_socket else host,
        unix_sock=f"{host}/.s.PGSQL.{port}" if is_socket else None,
        port=port,
        database=url.database or given.get("dbname") or user,
        password=revealed(url.password) or os.environ.get("PGPASSWORD"),
        ssl_context=False if is_socket else encryption(given),
        timeout=CONNECT_WAIT_S,
        application_name="nbgov",
        startup_params=startup,
    )


def encryption(given: Mapping[str, str]) -> ssl.SSLContext | bool | None:
    """What ``sslmode`` and its companions ask for, in the driver's words."""
    mode = given.get("sslmode", "prefer")
    if mode in {"allow", "disable"}:
        return False
    if mode == "prefer":
        return None
    root = given.get("sslrootcert", str(Path.home() / ".postgresql" / "root.crt"))
    context = ssl.create_default_context(cafile=root if Path(root).is_file() else None)
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in given:
        context.load_cert_chain(given["sslcert"], given.get("sslkey"), given.get("sslpassword"))
    return context


def give_up(link: CoreConnection, error_types: tuple[type[Exception], ...]) -> None:
    """Close a connection that may be broken."""
    with suppress(*error_types):
        link.close()


def sqlstate_of(error: Exception) -> str:
    """The SQLSTATE of an error of the server; empty for any other."""
    told = error.args[0] if error.args else None
    return str(told.get("C", "")) if isinstance(told, dict) else ""


def type_number(value: Any) -> int:
    """The server's number of the type in which a value is bound."""
    if isinstance(value, datetime):
        return TIMESTAMP if value.tzinfo is None else TIMESTAMP_WITH_ZONE
    return TYPE_NUMBERS[type(value)]

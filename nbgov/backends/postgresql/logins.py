"""What the processes of a gateway on many hosts know together, in a PostgreSQL database."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nbgov.backends.postgresql.audit_tables import Tables, load_driver, lock_number
from nbgov.backends.postgresql.audit_writer import reason
from nbgov.core.logins import SCHEMA, SPENT_SCHEMA, Ask, Book
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

WORDS = {"blob": "bytea", "number": "bigint", "strict": ""}
SETUP_LOCK = "nbgov_gateway"
IDLE_MAX = 8
FIND_SQL = """
    SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'nbgov_gateway' AND tablename = 'spent'
"""


class PostgreSQLGatewayStore(Book):
    """A :class:`~nbgov.ports.GatewayStore` in tables that several gateways share.

    Nothing is opened before it is needed, and a connection that broke is opened anew.

    Args:
        url: Where the server is, with the account.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.lock = threading.Lock()
        self.idle: list[Tables] = []
        self.pid = os.getpid()
        self.is_set_up = False
        super().__init__(self.asking, spending=self.asking, close=self.let_go)

    @contextmanager
    def asking(self) -> Iterator[Ask]:
        """What asks in a transaction of its own, on a connection that nobody else has meanwhile.

        Raises:
            BackendFailed: The database cannot be read or written (``state-unavailable``).
        """
        _, errors = load_driver()
        tables = None
        try:
            tables = self.take()

            def ask(sql: str, *values: Any) -> Sequence[Sequence[Any]]:
                assert tables is not None
                return tables.ask(numbered(sql), *values)

            tables.ask("BEGIN")
            yield ask
            tables.ask("COMMIT")
        except errors as error:
            self.drop(tables)
            raise unavailable(reason(error)) from None
        except BaseException:
            self.drop(tables)
            raise
        self.give_back(tables)

    def take(self) -> Tables:
        """A connection."""
        with self.lock:
            # A connection does not survive a fork; the parent's are left alone.
            if self.pid != os.getpid():
                self.idle, self.pid = [], os.getpid()
            if self.idle:
                return self.idle.pop()
        tables = Tables(self.url)
        if not self.is_set_up:
            set_up(tables)
            self.is_set_up = True
        tables.ask("SET search_path = nbgov_gateway, pg_catalog")
        return tables

    def give_back(self, tables: Tables) -> None:
        """Keep a connection for the next one who asks."""
        with self.lock:
            if len(self.idle) < IDLE_MAX:
                self.idle.append(tables)
                return
        tables.close()

    def drop(self, tables: Tables | None) -> None:
        """Close a connection on which something went wrong."""
        if tables is not None:
            tables.close()

    def let_go(self) -> None:
        """Close every connection."""
        with self.lock:
            while self.idle:
                self.idle.pop().close()


def set_up(tables: Tables) -> None:
    """Make the tables where nobody has."""
    if tables.ask(FIND_SQL):
        return
    tables.ask("BEGIN")
    tables.ask("SELECT pg_advisory_xact_lock($1)", lock_number(SETUP_LOCK))
    # Two gateways that start at once must not make the tables twice.
    if not tables.ask(FIND_SQL):
        tables.link.execute_simple("CREATE SCHEMA nbgov_gateway")
        tables.link.execute_simple("SET LOCAL search_path = nbgov_gateway")
        tables.link.execute_simple((SCHEMA + SPENT_SCHEMA).format(**WORDS))
    tables.ask("COMMIT")


def numbered(sql: str) -> str:
    """SQL with ``$1`` and so on in the place of ``?``.

    >>> numbered("SELECT ? WHERE a = ?")
    'SELECT $1 WHERE a = $2'
    """
    first, *rest = sql.split("?")
    return first + "".join(f"${place}{part}" for place, part in enumerate(rest, 1))


def unavailable(why: str) -> BackendFailed:
    """The error of a database that logins cannot be kept in."""
    return BackendFailed(
        "The database with the gateway's logins cannot be read or written.",
        code="state-unavailable",
        why=why,
        next_step="look at the database under gateway: store: in nbgov.yaml",
    )

"""What the processes of a gateway on one host know together, in SQLite files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from nbgov.backends.sqlite.database import Database
from nbgov.core.logins import SCHEMA, SPENT_SCHEMA, Ask, Book

VERSION = 1
WORDS = {"blob": "BLOB", "number": "INTEGER", "strict": " STRICT"}


class SqliteGatewayStore(Book):
    """A :class:`~nbgov.ports.GatewayStore` in two files of a folder.

    Nonces have a file of their own that is not forced to the disk: a ticket lives for a minute, and
    what a loss of power takes, no process that survives it has seen.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        kept = Database(folder / "gateway.sqlite", schema=SCHEMA.format(**WORDS), version=VERSION)
        spent = Database(
            folder / "tickets.sqlite",
            schema=SPENT_SCHEMA.format(**WORDS),
            version=VERSION,
            synchronous="NORMAL",
        )

        def close() -> None:
            kept.close()
            spent.close()

        super().__init__(partial(asking, kept), spending=partial(asking, spent), close=close)


@contextmanager
def asking(database: Database) -> Iterator[Ask]:
    """What asks in a transaction of a file."""
    with database.writing() as connection:

        def ask(sql: str, *values: Any) -> Sequence[Sequence[Any]]:
            return connection.execute(sql, values).fetchall()

        yield ask

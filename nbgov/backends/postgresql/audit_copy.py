"""A copy of an audit log in the tables of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from nbgov.backends.postgresql.audit_log import PostgreSQLEvidence
from nbgov.backends.postgresql.audit_tables import UNIQUE_VIOLATION, Tables
from nbgov.backends.postgresql.origins import sqlstate_of

Answer = TypeVar("Answer")


class PostgreSQLCopy(PostgreSQLEvidence):
    """An :class:`~nbgov.ports.AuditCopy` in tables that other logs and copies share."""

    def end(self) -> tuple[int, bytes]:
        """How many entries it has, and the last one; empty where there is none.

        Raises:
            BackendFailed: It cannot be read (code ``state-unavailable``).
        """

        def found(tables: Tables) -> tuple[int, bytes]:
            tables.set_up()
            size = tables.size(self.origin)
            return size, b"".join(tables.lines(self.origin, max(0, size - 1)))

        return self.ask(found)

    def extend(self, start: int, lines: Sequence[bytes]) -> bool:
        """Make entries durable behind the last one; ``False`` where the end is another one.

        Raises:
            BackendFailed: They could not be made durable (code ``state-unavailable``).
        """

        def added(tables: Tables) -> bool:
            try:
                tables.commit(self.origin, start, lines, opened=(), closed=())
            except tables.errors as error:
                if sqlstate_of(error) != UNIQUE_VIOLATION:
                    raise
                return False
            return True

        return self.ask(added)

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries.

        Raises:
            BackendFailed: It cannot be kept (code ``state-unavailable``).
        """
        self.ask(partial(Tables.keep_note, origin=self.origin, name=name, text=text))

    def close(self) -> None:
        """Nothing is held between two calls."""

    def ask(self, question: Callable[[Tables], Answer]) -> Answer:
        """What the server answers, on a connection of its own."""

        def once(tables: Tables) -> Iterator[Answer]:
            yield question(tables)

        found: list[Answer] = list(self.read(once))
        return found[0]

"""A governed connection as PEP 249 wants it: what no policy lets through does not come out here.

Statements take ``:name`` markers and a mapping. Each one is a transaction of its own, committed
when it has run, because a decision, a consent and a record are about one statement: ``commit`` has
nothing left to do, and ``rollback`` says so where there is something that it cannot take back.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from nbgov.dialect.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,  # noqa: A004 - PEP 249 names it
    raise_as,
)
from nbgov.errors import NbgovError
from nbgov.session import connect as open_session
from nbgov.wiring import find_config

if TYPE_CHECKING:
    from nbgov.model import Result
    from nbgov.session import Session

apilevel = "2.0"
threadsafety = 1  # A connection remembers whether something was written through it.
paramstyle = "named"

ORIGIN = {"surface": "dbapi"}
Row = tuple[Any, ...]


class Kind:
    """A type object of PEP 249: equal to every Arrow type that it stands for."""

    def __init__(self, *predicates: Any) -> None:
        self.predicates = predicates

    def __eq__(self, other: object) -> bool:
        return isinstance(other, pa.DataType) and any(one(other) for one in self.predicates)

    def __hash__(self) -> int:
        return id(self)


kinds = pa.types
STRING = Kind(kinds.is_string, kinds.is_large_string, kinds.is_string_view, kinds.is_dictionary)
BINARY = Kind(kinds.is_binary, kinds.is_large_binary, kinds.is_fixed_size_binary)
NUMBER = Kind(kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_boolean)
DATETIME = Kind(kinds.is_temporal)
ROWID = Kind()

Date, Time, Timestamp = datetime.date, datetime.time, datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:  # noqa: N802 - PEP 249 names it
    """The local date of a moment."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:  # noqa: N802 - PEP 249 names it
    """The local time of day of a moment."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:  # noqa: N802 - PEP 249 names it
    """A moment in local time."""
    return Timestamp(*time.localtime(ticks)[:6])


def connect(
    connection: str | None = None,
    *,
    config: str | Path | None = None,
    as_: str | None = None,
) -> Connection:
    """Open a governed connection.

    Args:
        connection: Its name in ``nbgov.yaml``; the default one when left out.
        config: The ``nbgov.yaml``, or its folder; see :func:`nbgov.connect`.
        as_: A declared principal's name; the OS account decides when it is left out.

    Raises:
        OperationalError: There is no ``nbgov.yaml``, or nobody is known.
    """
    try:
        session = borrow(find_config(config), as_)
    except NbgovError as error:
        raise_as(error)
    return Connection(session, connection or session.default_connection)


@dataclass
class Loan:
    """A session, and how many connections use it."""

    session: Session
    users: int = 0


LOANS: dict[tuple[Path, str | None], Loan] = {}
LOCK = threading.Lock()


def borrow(path: Path, as_: str | None) -> Session:
    """A session that connections of one process share: nothing in it is one connection's own."""
    with LOCK:
        if (path, as_) not in LOANS:
            LOANS[path, as_] = Loan(open_session(path, as_=as_))
        loan = LOANS[path, as_]
        loan.users += 1
        return loan.session


def give_back(session: Session) -> None:
    """Use a session no longer; the last one closes it."""
    with LOCK:
        [key] = [key for key, one in LOANS.items() if one.session is session]
        LOANS[key].users -= 1
        if not LOANS[key].users:
            del LOANS[key]
            session.close()


class Connection:
    """A connection of a session.

    Attributes:
        session: The session; connections of one configuration and principal share it.
        name: Name of the connection.
    """

    Warning, Error, InterfaceError, DatabaseError = Warning, Error, InterfaceError, DatabaseError
    DataError, OperationalError, IntegrityError = DataError, OperationalError, IntegrityError
    InternalError, ProgrammingError = InternalError, ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name
        self.is_closed = False
        self.has_written = False

    def cursor(self) -> Cursor:
        """A new cursor."""
        self.require_open()
        return Cursor(self)

    def commit(self) -> None:
        """Nothing is left to do: every statement was committed when it had run."""
        self.require_open()
        self.has_written = False

    def rollback(self) -> None:
        """Leave what has been read.

        Raises:
            NotSupportedError: Something was written, which was committed at once.
        """
        self.require_open()
        if self.has_written:
            self.has_written = False
            raise NotSupportedError(
                "What was written cannot be rolled back: each statement is committed when it has "
                "run. Undo it with nbgov undo, or call commit() after each write."
            )

    def close(self) -> None:
        """Leave the session, which ends with its last connection. Callable more than once."""
        if not self.is_closed:
            self.is_closed = True
            give_back(self.session)

    def require_open(self) -> None:
        """Go no further with a connection that was closed."""
        if self.is_closed:
            raise InterfaceError("The connection is closed.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Cursor:
    """One statement at a time, and the rows that it delivers.

    Attributes:
        description: The columns of the last statement; a type is an Arrow type.
        rowcount: Rows that a write has changed, else -1.
        result: The last statement's :class:`nbgov.Result`, with decision, record and receipt.
    """

    arraysize = 1000
    lastrowid = None

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.result: Result | None = None
        self.rows: Iterator[Row] = iter(())
        self.description: list[Row] | None = None
        self.rowcount = -1
        self.is_closed = False

    def execute(self, operation: str, parameters: Mapping[str, Any] | None = None) -> Self:
        """Run one statement under the policy.

        Args:
            operation: The statement, with ``:name`` markers.
            parameters: The value of each marker.

        Raises:
            Error: For every reason why it did not run.
        """
        self.require_open()
        self.leave()
        if parameters and not isinstance(parameters, Mapping):
            raise InterfaceError("Values are given by name: {'month': 7} for :month.")
        link = self.connection
        try:
            result = link.session.sql(
                operation, link.name, binds=dict(parameters or {}), origin=ORIGIN
            )
        except NbgovError as error:
            raise_as(error)
        self.result = result
        link.has_written = link.has_written or not result.statement.is_read
        affected = result.summary.rows_affected
        self.rowcount = -1 if affected is None else affected
        if result.schema.names:
            self.description = [
                (one.name, one.type, None, None, None, None, one.nullable) for one in result.schema
            ]
            self.rows = rows_of(result)
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Mapping[str, Any]]) -> Self:
        """Run a statement for one set of values.

        Raises:
            NotSupportedError: There are more: each would be a request of its own, and one that
                fails would leave those before it done.
        """
        if len(seq_of_parameters) != 1:
            raise NotSupportedError(
                "One statement is one request here. Put the rows in one INSERT with several "
                "VALUES (pandas: to_sql(..., method='multi')), or run it for each of them."
            )
        return self.execute(operation, seq_of_parameters[0])

    def fetchone(self) -> Row | None:
        """The next row, or ``None`` after the last one."""
        return next(self.delivered(), None)

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows, so many at most."""
        return list(islice(self.delivered(), self.arraysize if size is None else size))

    def fetchall(self) -> list[Row]:
        """The rows that are left."""
        return list(self.delivered())

    def fetch_arrow_table(self) -> pa.Table:
        """All rows as an Arrow table, if none was taken yet."""
        self.require_rows()
        assert self.result is not None
        try:
            return self.result.to_arrow()
        except NbgovError as error:
            raise_as(error)

    def delivered(self) -> Iterator[Row]:
        """The rows, where the last statement has any."""
        self.require_rows()
        return self.rows

    def require_rows(self) -> None:
        """Go no further where there is nothing to take."""
        self.require_open()
        if self.description is None:
            raise ProgrammingError("The last statement, if there was one, delivers no rows.")

    def require_open(self) -> None:
        """Go no further with a cursor that was closed."""
        if self.is_closed:
            raise InterfaceError("The cursor is closed.")
        self.connection.require_open()

    def leave(self) -> None:
        """Stop reading the last statement's rows."""
        if self.result is not None:
            self.result.close()
        self.result, self.description, self.rowcount, self.rows = None, None, -1, iter(())

    def close(self) -> None:
        """Stop reading. Callable more than once."""
        if not self.is_closed:
            self.leave()
            self.is_closed = True

    def setinputsizes(self, sizes: object) -> None:
        """Nothing: the values say what they are."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Nothing: rows come as they are."""

    def __iter__(self) -> Iterator[Row]:
        return self.delivered()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def rows_of(result: Result) -> Iterator[Row]:
    """The rows of a result as tuples, batch by batch."""
    try:
        for batch in result.batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except NbgovError as error:
        raise_as(error)

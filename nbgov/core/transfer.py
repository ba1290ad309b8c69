"""How rows travel from a driver to the pipeline, whatever the product.

A :class:`Transfer` is the stream that every engine hands out: batches of bounded size, limits that
are kept exactly, one commit at the end, a rollback in every other case, and errors that name no
data. Its reader pulls, so one batch at most is under way and memory is bounded without a queue.
What a product does in its own way stands behind :class:`Transaction`. Cases:
``tests/core/test_transfer.py`` and, on real engines, ``tests/backends/test_engine.py``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from nbgov.errors import BackendFailed, Denied, IntegrityFailed

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.model import Clearance, SourceVersion

BATCH_ROWS_MAX = 65_536
WHAT = {
    "database-unavailable": "The database of connection {} cannot be reached or opened.",
    "database-error": "The database of connection {} did not run the statement.",
    "cancelled": "The statement on connection {} was cancelled.",
}
# What a text with pseudonyms says to the product, each product in its own way.
KEY_WORDS = ("nbgov_token(", "nbgov.inner", "nbgov_inner")

Answer = TypeVar("Answer")
Values = TypeVar("Values")


class Misfit(ValueError):
    """A value does not fit the type that its column was given."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a statement answers: schema, batches, and for a write how many rows it changed.

    ``sources`` are the states in which a read sees its base tables, as far as the product tells.
    ``before`` are the rows that a write has changed, as they were before, and ``after`` those that
    an UPDATE has changed, as they are then, in the same order.
    """

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    rows_affected: int | None = None
    sources: tuple[SourceVersion, ...] = ()
    before: pa.Table | None = None
    after: pa.Table | None = None


class Transaction(Protocol):
    """One statement in one transaction of one product.

    Attributes:
        connection: Name of the connection.
        errors: The types of error that the product raises; :meth:`explain` translates them.
    """

    connection: str
    errors: tuple[type[Exception], ...]

    def begin(self, clearance: Clearance) -> Rows:
        """Open the transaction and run the statement in it; a write runs to its end."""
        ...

    def commit(self) -> None:
        """Keep what a write did, or end a read, and give the connection back."""
        ...

    def abandon(self) -> None:
        """Stop, roll back and let go of the connection. Never raises, whatever came before."""
        ...

    def interrupt(self) -> None:
        """Ask the product to stop, from any thread, at any moment. Never raises."""
        ...

    def explain(self, error: Exception) -> BaseException:
        """The error to raise for one of the product's: its text holds no value and no SQL."""
        ...


def record_batch(
    columns: Iterable[Values], schema: pa.Schema, convert: Callable[[Values, pa.DataType], pa.Array]
) -> pa.RecordBatch:
    """Columns as Arrow, each in the type that the schema gives it.

    Raises:
        Misfit: A value does not fit; the text names the column by its place, and no value.
    """
    import pyarrow as pa

    arrays = []
    for place, (values, field) in enumerate(zip(columns, schema, strict=True), 1):
        try:
            arrays.append(convert(values, field.type))
        except (Misfit, pa.ArrowInvalid):
            raise Misfit(
                f"Column {place} of the result is {field.type}, which does not hold all its values."
            ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def failure(
    connection: str, code: str, *, why: str = "", next_step: str = "", sqlstate: str = ""
) -> BackendFailed:
    """The error of a database, in fixed words that name the connection.

    Example:
        >>> print(failure("warehouse", "cancelled"))
        The statement on connection warehouse was cancelled.
          code    cancelled
    """
    error = BackendFailed(WHAT[code].format(connection), code=code, why=why, next_step=next_step)
    error.sqlstate = sqlstate
    return error


def told_state(sqlstate: str, *, is_sensitive: bool) -> str:
    """As much of a SQLSTATE as the requester may know: near protected data, no more than its class.

    Example:
        >>> told_state("22012", is_sensitive=True), told_state("22012", is_sensitive=False)
        ('22000', '22012')
    """
    return f"{sqlstate[:2]}000" if is_sensitive and sqlstate else sqlstate


def masked_column(place: int) -> IntegrityFailed:
    """The error of a server that would deliver a masked column as it is stored."""
    return IntegrityFailed(
        "The result would show a masked column as it is stored.",
        code="masked-column-in-result",
        why=f"The server says so of column {place}; nothing was delivered.",
        next_step="Report this: the rewritten statement should not have allowed it.",
    )


def is_keyed(connection: str, sql: str, *, pseudonym_key: bytes) -> bool:
    """Whether a cleared text makes pseudonyms, so that its session has to know their key.

    Raises:
        BackendFailed: It does, and there is no key.

    Example:
        >>> is_keyed("ops", "SELECT nbgov_token(email) FROM people", pseudonym_key=b"a key")
        True
    """
    is_needed = any(word in sql for word in KEY_WORDS)
    if is_needed and not pseudonym_key:
        why = "It makes pseudonyms, and the connection was given no key for them."
        raise failure(connection, "database-error", why=why)
    return is_needed


class Transfer:
    """The batches of one executed statement, in order, with its transaction behind them.

    Reading to the end commits. Anything else (an error, :meth:`cancel`, :meth:`close`, a stream
    that is dropped) rolls back. A row limit ends a read early and marks it; a write still commits,
    because its rows are only what it reports. More bytes, or more rows changed, than is permitted
    is an error: nothing that is cut short by it is ever called complete.

    Attributes:
        schema: Schema of every batch.
        rows_affected: Rows that a write changed, or ``None``.
        sources: The states in which a read sees its base tables, as far as the product tells.
        before: The rows that a write has changed, as they were before.
        after: The same rows after an UPDATE.
        request: Id of the request that it answers.
        is_truncated: Whether the row limit left at least one row out; known at the end.
    """

    schema: pa.Schema
    rows_affected: int | None
    sources: tuple[SourceVersion, ...]
    before: pa.Table | None
    after: pa.Table | None

    def __init__(self, transaction: Transaction, clearance: Clearance) -> None:
        self.is_truncated = False
        self._is_cancelled = False
        self._is_busy = False
        self.request = clearance.request
        self._is_read = clearance.is_read
        self._is_dry_run = clearance.is_dry_run
        self._rows_left = clearance.rows_max
        self._bytes_max = self._bytes_left = clearance.bytes_max
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        self._transaction = transaction
        self._errors: tuple[type[Exception], ...] = (*transaction.errors, Misfit)
        # Runs once: on an error, on close, when nobody holds the transfer any more, or at exit.
        self._abandon = weakref.finalize(self, transaction.abandon)

    @property
    def is_over(self) -> bool:
        """Whether the transaction has ended, one way or the other."""
        return not self._abandon.alive

    def start(self, clearance: Clearance) -> Transfer:
        """Run the statement.

        Raises:
            NbgovError: It did not run; the transaction is rolled back.
        """
        rows = self._ask(partial(self._transaction.begin, clearance))
        self.schema = rows.schema
        self.rows_affected = rows.rows_affected
        self.sources = rows.sources
        self.before, self.after = rows.before, rows.after
        self._batches = iter(rows.batches)
        if not self._is_read and clearance.written_max is not None:
            self._ask(partial(check_written, rows.rows_affected, clearance.written_max))
        return self

    def __iter__(self) -> Transfer:
        """The transfer itself: its batches can be taken once."""
        return self

    def __next__(self) -> pa.RecordBatch:
        """The next batch; none is empty or longer than :data:`BATCH_ROWS_MAX`.

        Raises:
            NbgovError: The product failed, or the transfer was cancelled.
            KeyboardInterrupt: The person interrupted.
        """
        while (piece := self._next_piece()) is not None:
            if piece.num_rows:
                return piece
        raise StopIteration

    def cancel(self) -> None:
        """Stop as soon as the product can; its reader then gets an error. For any thread."""
        if not self.is_over:
            self._is_cancelled = True
            self._transaction.interrupt()

    def close(self) -> None:
        """Roll back unless the end was reached. While another thread waits for rows, cancel."""
        if self._is_busy:
            self.cancel()
        else:
            self._abandon()

    def _next_piece(self) -> pa.RecordBatch | None:
        """A batch of bounded size, as far as the row limit goes; ``None`` when it is all over."""
        if self.is_over:
            return None
        if not self.is_truncated and (self._batch is None or not self._batch.num_rows):
            self._batch = self._ask(partial(next, self._batches, None))
        if self.is_truncated or self._batch is None:
            self._settle()
            return None
        piece = self._batch.slice(0, BATCH_ROWS_MAX)
        self._batch = self._batch.slice(BATCH_ROWS_MAX)
        if self._rows_left is not None:
            self.is_truncated = piece.num_rows > self._rows_left
            piece = piece.slice(0, self._rows_left)
            self._rows_left -= piece.num_rows
        self._ask(partial(self._spend, piece.nbytes))
        return piece

    def _spend(self, size: int) -> None:
        """Count bytes that are about to be delivered."""
        if self._bytes_left is None:
            return
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise Denied(
                "The result is larger than the policy permits.",
                code="too-many-bytes",
                why=f"It holds more than {self._bytes_max:,} bytes of Arrow data.",
                next_step="Ask for fewer rows or columns.",
            )

    def _settle(self) -> None:
        """End the transaction after the last row."""
        # Security: whoever reads a dry run to its end commits nothing all the same.
        if self._is_dry_run or (self._is_read and self.is_truncated):
            self._abandon()
        else:
            self._ask(self._transaction.commit)
            self._abandon.detach()

    def _ask(self, step: Callable[[], Answer]) -> Answer:
        """Take one step of the transaction; whatever goes wrong in it ends the transaction."""
        self._is_busy = True
        try:
            if self._is_cancelled:
                raise self._cancelled()  # noqa: TRY301  # It ends the transaction, as any error does.
            return step()
        except self._errors as error:
            reason = self._explain(error)
        except BaseException:
            self._abandon()
            raise
        finally:
            self._is_busy = False
        self._abandon()
        # Security: raised out here it has no context. A product's error would print values
        # ("invalid input: 'canary'"), and so would the local variables of its frames.
        raise reason

    def _explain(self, error: Exception) -> BaseException:
        """The error to raise for one of the product's, or for a value that does not fit."""
        if self._is_cancelled:
            return self._cancelled()
        if isinstance(error, Misfit):
            next_step = "Write CAST(column AS text) for it."
            connection = self._transaction.connection
            return failure(connection, "database-error", why=str(error), next_step=next_step)
        return self._transaction.explain(error)

    def _cancelled(self) -> BackendFailed:
        """The error of a statement that somebody has cancelled."""
        return failure(self._transaction.connection, "cancelled")


def check_written(rows_affected: int | None, rows_max: int) -> None:
    """Refuse a write that has changed more rows than it may.

    Raises:
        Denied: It has, or the product does not count them.
    """
    if rows_affected is not None and rows_affected <= rows_max:
        return
    why = "The database does not count the rows that it changes."
    if rows_affected is not None:
        why = f"It changes {rows_affected:,} rows, and the policy permits {rows_max:,}."
    raise Denied(
        "The write was rolled back: it changes more rows than the policy permits.",
        code="too-many-rows-changed",
        why=why,
        next_step="Narrow its WHERE clause, or write the rows in parts.",
    )


class Transfers:
    """The open transfers of one engine, so that all of them can be stopped."""

    def __init__(self) -> None:
        self._known: set[weakref.ref[Transfer]] = set()

    def start(self, transaction: Transaction, clearance: Clearance) -> Transfer:
        """Run a statement, and keep sight of its transfer while somebody holds it."""
        transfer = Transfer(transaction, clearance)
        self._known.add(weakref.ref(transfer, self._known.discard))
        return transfer.start(clearance)

    def open(self) -> list[Transfer]:
        """The transfers whose transaction has not ended."""
        held = [reference() for reference in tuple(self._known)]
        return [transfer for transfer in held if transfer is not None and not transfer.is_over]

    def cancel(self, request: str = "") -> None:
        """Cancel the open transfers of one request, or all. For any thread."""
        for transfer in self.open():
            if request in {"", transfer.request}:
                transfer.cancel()

    def close(self) -> None:
        """Close every open transfer."""
        for transfer in self.open():
            transfer.close()

"""Where rows come from, and what finds personal data in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.model import Catalog, Clearance, EngineOpinion, SourceVersion


class Stream(Protocol):
    """Batches of an executed statement, in order, with the transaction behind them.

    Iterating to the end commits (a write) or ends (a read) the transaction; ``close`` before the
    end rolls back. ``rows_affected`` is known for a write once the stream exists; ``is_truncated``
    holds once the end is reached, if the clearance's ``rows_max`` cut rows off. ``sources`` are the
    states in which the transaction sees the base tables of a read, as far as the product tells.
    ``before`` are the rows that the clearance's ``before`` has read, before the write ran, and
    ``after`` those that an UPDATE has changed, as they are then, in the same order.
    """

    schema: pa.Schema
    rows_affected: int | None
    is_truncated: bool
    sources: tuple[SourceVersion, ...]
    before: pa.Table | None
    after: pa.Table | None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Batches of at most 65,536 rows."""
        ...

    def cancel(self) -> None:
        """Ask the product to stop. Callable from another thread, and more than once."""
        ...

    def close(self) -> None:
        """Release the transaction. Callable more than once."""
        ...


class Engine(Protocol):
    """A source of data."""

    dialect: str

    def catalog(self) -> Catalog:
        """What the source holds now. A backend may cache only what it can prove unchanged."""
        ...

    def inspect(self, sql: str) -> EngineOpinion:
        """The product's own view of a text, without running it or reading data.

        Raises:
            RequestInvalid: The product cannot parse the text.
        """
        ...

    def execute(self, clearance: Clearance) -> Stream:
        """Run what was cleared, once, in one transaction that is read-only for a read.

        Raises:
            BackendFailed: The product failed; the text names no data value.
        """
        ...

    def estimate(self, clearance: Clearance) -> int | None:
        """How many rows the product expects the statement to touch, without running it.

        ``None`` where the product has no opinion; never raises what the product raises.
        """
        ...

    def cancel(self, request: str = "") -> None:
        """Ask the product to stop one request, or whatever runs. Callable from another thread."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class Detector(Protocol):
    """Finds entities such as e-mail addresses in text."""

    def detect(
        self,
        values: pa.Array,
        *,
        entities: Sequence[str],
        score_min: float,
        language: str,
        context: Sequence[str] = (),
    ) -> pa.Table:
        """Findings in distinct, non-null strings.

        Args:
            values: The strings.
            entities: What to look for.
            score_min: The lowest score that counts.
            language: The language of the text, as an ISO 639-1 code.
            context: Words that stand beside every value, such as the name of its column.

        Returns:
            Columns ``value`` (int64, index into ``values``), ``entity`` (string), ``start`` and
            ``end`` (int64, characters), ``score`` (double) and ``recognizer`` (string), ordered by
            value.

        Raises:
            BackendFailed: Detection failed for any value; nothing is returned then.
        """
        ...

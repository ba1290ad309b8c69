"""The open end of a governed query: an Arrow stream and what is known once it has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from nbgov.model.dataset import DatasetVersion, Delivery
    from nbgov.model.decision import Decision
    from nbgov.model.record import Receipt
    from nbgov.model.statement import Statement

# pandas' nullable twins of Arrow's integer and boolean types, by pandas' own names.
NULLABLE = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "boolean")


@dataclass(slots=True)
class Summary:
    """What is known once a result has ended; see :attr:`Result.summary`.

    ``remarks`` is what did not go as asked, though the result is whole.
    """

    rows_read: int = 0
    bytes_read: int = 0
    batches: int = 0
    rows_affected: int | None = None
    is_truncated: bool = False
    found: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    masked: Mapping[str, str] = field(default_factory=dict)
    version: DatasetVersion | None = None
    delivery: Delivery | None = None
    record: int | None = None
    receipt: Receipt | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def entities(self) -> Mapping[str, int]:
        """In how many texts each entity was replaced, over all columns."""
        return sum(map(Counter, self.found.values()), Counter())

    def count(self, found: Mapping[str, Mapping[str, int]]) -> None:
        """Add what was replaced in one more batch: texts by column and entity."""
        counts = {column: Counter(entities) for column, entities in self.found.items()}
        for column, entities in found.items():
            counts.setdefault(column, Counter()).update(entities)
        self.found = counts


class Result:
    """An Arrow stream of governed rows that can be read once.

    Batches are masked before they are handed out. The outcome is durable in the audit log before
    the stream ends; a stream that is closed early is recorded as such.

    Attributes:
        schema: Arrow schema of the delivered batches.
        decision: The decision that let it through.
        statement: The statement it answers.
        record: Number of the attempt in the audit log.
        receipt: Receipt of the attempt.
        summary: Filled in while the stream is read; complete once it has ended.
    """

    def __init__(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        *,
        decision: Decision,
        statement: Statement,
        record: int,
        receipt: Receipt,
        summary: Summary,
        cancel: Callable[[], None],
    ) -> None:
        self.schema = schema
        self.decision = decision
        self.statement = statement
        self.record = record
        self.receipt = receipt
        self.summary = summary
        self.cancel = cancel
        self._batches = batches
        self._table: pa.Table | None = None

    def follow(self, ended: Callable[[], object]) -> None:
        """Call something once, as soon as the result is read to its end, fails or is closed."""
        self._batches = Followed(self._batches, ended)

    def settle(self) -> None:
        """Read to the end now; the rows can still be taken, once."""
        self._batches = iter(list(self._batches))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The masked batches, in order. They can be taken once."""
        return self._batches

    def to_arrow(self) -> pa.Table:
        """Read to the end, as one Arrow table. Later calls return the same table."""
        import pyarrow as pa

        if self._table is None:
            self._table = pa.Table.from_batches(list(self._batches), self.schema)
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        """Read to the end, as a DataFrame whose ``attrs["nbgov"]`` names the dataset version.

        Integer and boolean columns with NULLs keep their values: they get pandas' nullable types.
        """
        frame = as_frame(self.to_arrow())
        frame.attrs["nbgov"] = self.mark()
        return frame

    def to_polars(self) -> pl.DataFrame:
        """Read to the end, as a Polars frame."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def mark(self) -> dict[str, str]:
        """What a frame carries so that a run can name it: read, version and dataset name."""
        delivery = self.summary.delivery
        if delivery is None:
            return {}
        return {"read": delivery.read_id, "version": delivery.version_id, "name": delivery.name}

    def close(self) -> None:
        """Stop reading. What was not read yet is recorded as not delivered."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export as an Arrow C stream (the Arrow PyCapsule interface)."""
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self.schema, self._batches)
        return reader.__arrow_c_stream__(requested_schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Followed:
    """Batches whose end is told, however it comes, even if nobody ever asked for the first one."""

    def __init__(self, batches: Iterator[pa.RecordBatch], ended: Callable[[], object]) -> None:
        self.batches = batches
        self.ended = ended

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            return next(self.batches)
        except BaseException:
            self.ended()
            raise

    def close(self) -> None:
        """Stop reading."""
        try:
            close = getattr(self.batches, "close", None)
            if close is not None:
                close()
        finally:
            self.ended()


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A DataFrame of a table; integers and booleans with NULLs get pandas' nullable types."""
    import pandas as pd
    import pyarrow as pa

    nullable: dict[pa.DataType, Any] = {
        pa.type_for_alias(size.lower()): pd.api.types.pandas_dtype(size) for size in NULLABLE
    }
    kinds, holes = table.schema.types, [column.null_count for column in table.columns]
    holed = {kind for kind, count in zip(kinds, holes, strict=True) if count} & nullable.keys()
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=lambda kind: nullable[kind] if kind in holed else None
    )
    for place, (kind, count) in enumerate(zip(kinds, holes, strict=True)):
        if kind in holed and not count:
            # The mapper knows types only; a column without a NULL keeps its NumPy type.
            frame.isetitem(place, frame.iloc[:, place].to_numpy(kind.to_pandas_dtype()))
    return frame

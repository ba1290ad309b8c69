"""A source of data that answers what it was told to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import pyarrow as pa

from nbgov.backends.memory.faults import Faults
from nbgov.errors import BackendFailed
from nbgov.model import Catalog, Clearance, EngineOpinion, SourceVersion

Answer: TypeAlias = pa.Table | int
BATCH_ROWS_MAX = 65_536


class MemoryEngine:
    """An :class:`~nbgov.ports.Engine` with prepared answers.

    ``faults`` knows the operations ``catalog``, ``inspect``, ``execute``, ``batch`` and ``commit``.

    Args:
        catalog: What the source holds; its dialect is the engine's.
        answers: For each exact text that may run, a table or, for a write, the number of rows it
            affects. Or a function from the clearance to such an answer.
        opinion: What :meth:`inspect` answers, or a function from the text to that. By default the
            engine counts one statement and cannot tell more.
        batch_rows_max: Rows in a batch.
        sources: The states that the tables are in, by name; a test may assign to it.

    Attributes:
        estimates: How many rows each exact text is expected to touch; a test may assign to it.
        executions: Every clearance that was executed, in order.
        streams: The stream of each.
    """

    def __init__(
        self,
        catalog: Catalog,
        answers: Mapping[str, Answer] | Callable[[Clearance], Answer],
        *,
        opinion: EngineOpinion | Callable[[str], EngineOpinion] | None = None,
        batch_rows_max: int = BATCH_ROWS_MAX,
        sources: Iterable[SourceVersion] = (),
    ) -> None:
        self.dialect = catalog.dialect
        self.held = catalog
        self.answers = answers
        self.opinion = opinion or EngineOpinion(statements=1)
        self.batch_rows_max = batch_rows_max
        self.sources = {source.table: source for source in sources}
        self.estimates: dict[str, int] = {}
        self.faults = Faults()
        self.executions: list[Clearance] = []
        self.streams: list[MemoryStream] = []
        self.is_closed = False

    def catalog(self) -> Catalog:
        """What the source holds now."""
        with self.faults.around("catalog", code="database-unavailable"):
            return self.held

    def inspect(self, sql: str) -> EngineOpinion:
        """The prepared opinion on a text."""
        with self.faults.around("inspect", code="database-error"):
            return self.opinion(sql) if callable(self.opinion) else self.opinion

    def execute(self, clearance: Clearance) -> MemoryStream:
        """Answer what was cleared.

        Raises:
            BackendFailed: As planned, or because no answer is prepared for the text.
        """
        with self.faults.around("execute", code="database-error"):
            self.executions.append(clearance)
            stream = MemoryStream(self, clearance, self.answer(clearance))
            self.streams.append(stream)
        return stream

    def answer(self, clearance: Clearance) -> Answer:
        """The prepared answer."""
        if callable(self.answers):
            return self.answers(clearance)
        if clearance.sql not in self.answers:
            raise BackendFailed("No answer is prepared for this statement.", code="database-error")
        return self.answers[clearance.sql]

    def estimate(self, clearance: Clearance) -> int | None:
        """The prepared estimate of a text."""
        return self.estimates.get(clearance.sql)

    def cancel(self, request: str = "") -> None:
        """Let the next batch of one request's streams fail, or of all."""
        for stream in self.streams:
            if request in {"", stream.request}:
                stream.cancel()

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True


class MemoryStream:
    """A :class:`~nbgov.ports.Stream` over one answer.

    Attributes:
        state: ``open``, ``committed`` or ``rolled back``.
    """

    def __init__(self, engine: MemoryEngine, clearance: Clearance, answer: Answer) -> None:
        self.engine = engine
        self.request = clearance.request
        self.rows_max = clearance.rows_max
        self.table = pa.table({}) if isinstance(answer, int) else answer
        self.schema: pa.Schema = self.table.schema
        self.rows_affected = answer if isinstance(answer, int) else None
        self.is_truncated = False
        self.before: pa.Table | None = None
        self.after: pa.Table | None = None
        tables = sorted(map(str, clearance.tables))
        self.sources = tuple(engine.sources[name] for name in tables if name in engine.sources)
        self.is_cancelled = False
        self.state = "open"

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches; the end commits."""
        rows = self.table if self.rows_max is None else self.table.slice(0, self.rows_max)
        for batch in rows.to_batches(max_chunksize=self.engine.batch_rows_max):
            with self.engine.faults.around("batch", code="database-error"):
                self.check_cancelled()
            yield batch
        self.check_cancelled()
        with self.engine.faults.around("commit", code="database-error"):
            self.state = "committed"
        self.is_truncated = rows.num_rows < self.table.num_rows

    def cancel(self) -> None:
        """Let the next batch fail."""
        self.is_cancelled = True

    def close(self) -> None:
        """Roll back what was not committed."""
        if self.state == "open":
            self.state = "rolled back"

    def check_cancelled(self) -> None:
        """Fail if somebody asked to stop."""
        if self.is_cancelled:
            raise BackendFailed("The statement was cancelled.", code="cancelled")

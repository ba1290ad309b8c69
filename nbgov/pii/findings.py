"""What was found in a column, as a table of findings that holds no value of it.

Findings belong to distinct texts; rows come in where somebody asks for them, by arithmetic on whole
columns. Nothing here looks for anything. The cases are in ``tests/pii/test_findings.py``.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

from nbgov.pii.distinct import Integers

if TYPE_CHECKING:
    import pandas as pd
    from presidio_analyzer import RecognizerResult


class Findings:
    """What was found in a column: where, and never what.

    Attributes:
        rows: How many rows the column has.

    Example:
        >>> import nbgov
        >>> found = nbgov.detect(["write to ada@example.com", "hello"], entities=["EMAIL_ADDRESS"])
        >>> found
        1 finding in 1 of 2 rows
          EMAIL_ADDRESS  1
        >>> found.table.select(["row", "entity", "start", "end", "score"]).to_pylist()
        [{'row': 0, 'entity': 'EMAIL_ADDRESS', 'start': 9, 'end': 24, 'score': 1.0}]
    """

    def __init__(self, found: pa.Table, numbers: Integers) -> None:
        self.rows = len(numbers)
        self._found = found
        value = found["value"].to_numpy()
        # One number more than there are texts, so that a null, which counts from the end, finds 0.
        texts = 2 + int(max(numbers.max(initial=-1), value.max(initial=-1)))
        self._per_value = np.bincount(value, minlength=texts)
        self._first = np.cumsum(self._per_value) - self._per_value
        self._numbers = numbers

    @functools.cached_property
    def table(self) -> pa.Table:
        """The findings, by row and then in Presidio's order.

        Columns ``row`` (int64, the place in the column, from 0), ``entity``, ``start`` and ``end``
        (characters), ``score`` and ``recognizer``. A text that stands in ten rows has ten times its
        findings.
        """
        repeats = self._per_value[self._numbers]
        row = np.repeat(np.arange(self.rows), repeats)
        within = np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        places = np.repeat(self._first[self._numbers], repeats) + within
        taken = self._found.drop_columns("value").take(pa.array(places))
        return taken.add_column(0, pa.field("row", pa.int64()), pa.array(row, pa.int64()))

    def counts(self) -> dict[str, int]:
        """How often each entity was found, the most frequent first."""
        uses = np.bincount(self._numbers[self._numbers >= 0], minlength=len(self._per_value))
        entities, entity = np.unique(self._found["entity"].to_pylist(), return_inverse=True)
        totals = np.bincount(entity, uses[self._found["value"].to_numpy()], len(entities))
        ranked = sorted(zip(-totals.astype(int), map(str, entities), strict=True))
        return {name: int(-total) for total, name in ranked if total}

    def to_pandas(self) -> pd.DataFrame:
        """The findings as a DataFrame; see :attr:`table`."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def to_presidio(self) -> Sequence[list[RecognizerResult]]:
        """For each row what ``AnalyzerEngine.analyze`` returns for it, made when it is asked for.

        They are equal to Presidio's own, in Presidio's order, and carry the recognizer's name, but
        no explanation.
        """
        return PresidioResults(self._found, self._first, self._numbers)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export :attr:`table` as an Arrow C stream (the Arrow PyCapsule interface)."""
        return self.table.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self._per_value[self._numbers].sum())

    def __repr__(self) -> str:
        counts = self.counts()
        width = max(map(len, counts), default=0)
        lines = [f"  {name:<{width}}  {count}" for name, count in counts.items()]
        return "\n".join([self._headline(), *lines])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{count}</td></tr>"
            for name, count in self.counts().items()
        )
        return f"<p>{self._headline()}</p><table>{cells}</table>"

    def _headline(self) -> str:
        touched = int(np.count_nonzero(self._per_value[self._numbers]))
        noun = "finding" if len(self) == 1 else "findings"
        return f"{len(self)} {noun} in {touched} of {self.rows} rows"


class PresidioResults(Sequence[list["RecognizerResult"]]):
    """Presidio's results, one list for each row of a column."""

    def __init__(self, found: pa.Table, first: Integers, numbers: Integers) -> None:
        self.found = found
        self.first = first
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, row: int) -> list[RecognizerResult]: ...
    @overload
    def __getitem__(self, row: slice) -> PresidioResults: ...
    def __getitem__(self, row: int | slice) -> list[RecognizerResult] | PresidioResults:
        if isinstance(row, slice):
            return PresidioResults(self.found, self.first, self.numbers[row])
        number = self.numbers[row]
        start, end = self.first[number], np.append(self.first, self.found.num_rows)[number + 1]
        return [to_result(one) for one in self.found.slice(start, end - start).to_pylist()]


def to_result(finding: dict[str, Any]) -> RecognizerResult:
    """One finding as Presidio's object."""
    from presidio_analyzer import RecognizerResult

    name = finding["recognizer"]
    return RecognizerResult(
        entity_type=finding["entity"],
        start=finding["start"],
        end=finding["end"],
        score=finding["score"],
        recognition_metadata={RecognizerResult.RECOGNIZER_NAME_KEY: name},
    )

"""Detection over whole columns: the detector that is meant, and a bar where it takes long.

The cases are in ``tests/pii/test_findings.py``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from nbgov.errors import RequestInvalid
from nbgov.pii.distinct import distinct
from nbgov.pii.findings import Findings

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

    from nbgov.backends.presidio import PresidioDetector
    from nbgov.ports import Detector

PART_VALUES = 2_000
"""Values of the first part that a bar waits for; later parts grow."""

PART_S = 1.0
"""A part that took less than this is followed by one twice as long."""

BAR_AFTER_S = 1.5


def detect(
    column: Any,
    *,
    entities: Sequence[str] | None = None,
    threshold: float | None = None,
    language: str = "en",
    context: Sequence[str] = (),
    engine: AnalyzerEngine | Detector | None = None,
    progress: bool | None = None,
) -> Findings:
    """Find PII in a column: what Presidio finds in each value, and nothing else.

    Type, span, score and order of the findings are those of ``AnalyzerEngine.analyze`` on the same
    engine, value by value. Each distinct value is looked at once. Numbers, booleans and dates are
    read through ``str()``, as Presidio reads them; nulls hold nothing.

    Args:
        column: A pandas or polars Series, a pyarrow Array or ChunkedArray, or a sequence of texts.
        entities: What to look for; everything that the engine knows by default.
        threshold: The lowest score that counts; the engine's own thresholds by default.
        language: The language of the text, as an ISO 639-1 code.
        context: Words that stand beside every value, such as the name of the column. They raise
            scores, as words beside a finding do.
        engine: Your own ``AnalyzerEngine``; by default Presidio's with its default recognizers, on
            the best language model that is installed.
        progress: Whether a bar shows progress. By default it does where the work takes longer than
            a moment and a person watches: on a terminal or in a notebook.

    Raises:
        BackendFailed: Detection failed, so that nothing is known about any value
            (``detector-failed``); or no language model is installed (``detector-model-missing``).
        RequestInvalid: The column holds lists, bytes or the like (``usage``).
    """
    texts, numbers = distinct(column)
    scanner = Scanner(engine, reads="every", progress=progress)
    if entities is None:
        entities = sorted(scanner.entities(language) or ())
    found = scanner.detect(
        texts,
        entities=list(entities),
        score_min=threshold,
        language=language,
        context=tuple(context),
    )
    return Findings(found, numbers)


class Scanner:
    """A detector that shows how far it is.

    Args:
        engine: An ``AnalyzerEngine``, a detector, or ``None`` for the project's own.
        reads: In which values names are looked for; see
            :class:`~nbgov.backends.presidio.PresidioDetector`.
        progress: Whether a bar shows; ``None`` leaves it to where the text goes.
    """

    def __init__(
        self,
        engine: AnalyzerEngine | Detector | None,
        *,
        reads: Literal["every", "text"],
        progress: bool | None = None,
    ) -> None:
        self.detector: Any = engine if hasattr(engine, "detect") else presidio(engine, reads)
        self.progress = progress

    def entities(self, language: str) -> frozenset[str] | None:
        """What the detector can look for, or ``None`` where it does not say."""
        known = getattr(self.detector, "entities", None)
        return None if known is None else frozenset(known(language))

    def known(self, wanted: Iterable[str], language: str) -> list[str]:
        """Those of some entities that the detector can look for, in order."""
        found = self.entities(language)
        return [one for one in wanted if found is None or one in found]

    def refuse_unknown(self, entities: Sequence[str], language: str) -> None:
        """Refuse entities that would never be found.

        Raises:
            RequestInvalid: The detector does not know one of them (``usage``).
        """
        unknown = sorted(set(entities) - set(self.known(entities, language)))
        if unknown:
            known = sorted(self.entities(language) or ())
            raise RequestInvalid(
                f"Nothing finds the entity {unknown[0]!r}.",
                code="usage",
                why=f"the detector knows {', '.join(known)}",
                next_step="correct the name, or hand over an engine that finds it",
            )

    def detect(
        self,
        values: pa.Array,
        *,
        entities: Sequence[str],
        score_min: float | None,
        language: str,
        context: Sequence[str] = (),
    ) -> pa.Table:
        """What :meth:`nbgov.ports.Detector.detect` returns, part by part where it takes long."""
        ask = functools.partial(
            self.detector.detect,
            entities=entities,
            score_min=score_min,
            language=language,
            context=context,
        )
        if self.progress is False or len(values) <= PART_VALUES:
            return ask(values)
        tables, start, size = [], 0, PART_VALUES
        with self.bar(len(values), " ".join(context)) as bar:
            if bar.disable:
                return ask(values)
            if expect := getattr(self.detector, "expect", None):
                expect(values, entities=entities, language=language)
            while start < len(values):
                began_at = time.perf_counter()
                found = ask(values.slice(start, size))
                shifted = pc.add(found["value"], pa.scalar(start, pa.int64()))
                tables.append(found.set_column(0, "value", shifted))
                bar.update(min(size, len(values) - start))
                start += size
                size *= 2 if time.perf_counter() - began_at < PART_S else 1
        return pa.concat_tables(tables)

    @contextmanager
    def bar(self, total: int, label: str) -> Iterator[Any]:
        """A bar over so many values, shown after a moment, gone when it is full."""
        from tqdm.auto import tqdm

        is_off = None if self.progress is None else not self.progress
        # Security: the name of a column may hold the control codes of a terminal.
        shown = "".join(char if char.isprintable() else "?" for char in label)
        with tqdm(
            total=total,
            desc=shown or None,
            unit=" values",
            unit_scale=True,
            delay=BAR_AFTER_S,
            leave=False,
            disable=is_off,
        ) as bar:
            yield bar


def presidio(engine: AnalyzerEngine | None, reads: Literal["every", "text"]) -> PresidioDetector:
    """The detector around an engine; the one without an engine of its own is kept.

    A person may change the registry of their engine at any time, so nothing is remembered of it.
    """
    from nbgov.backends.presidio import PresidioDetector

    return own_detector(reads) if engine is None else PresidioDetector(engine, reads=reads)


@functools.cache
def own_detector(reads: Literal["every", "text"]) -> PresidioDetector:
    """The project's own detector, one in a process for each way of reading."""
    from nbgov.backends.presidio import PresidioDetector

    return PresidioDetector(reads=reads)

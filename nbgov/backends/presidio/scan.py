"""Finding entities in texts: by patterns alone, or by the stock engine where that is needed.

This module chooses the way for each text, and all ways lead to Presidio's own findings, as
:class:`nbgov.backends.presidio.PresidioDetector` promises. It knows no cache and makes no errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from nbgov.backends.presidio.engine import LANGUAGE, Engine, forgetting
from nbgov.backends.presidio.patterns import questions
from nbgov.backends.presidio.text import looks_like_text

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, RecognizerResult

BATCH_VALUES = 256

Found = tuple[tuple[str, int, int, float], ...]
"""Entity, start, end and score of every finding in one text, by start, end, then entity."""


def scan(
    engine: Engine, texts: pa.LargeStringArray, entities: Sequence[str], score_min: float
) -> list[Found]:
    """Findings of each text at or above a score. Not for two threads at once: hold ``engine.lock``.

    Args:
        engine: The engine of this process.
        texts: Non-null strings.
        entities: What to look for; at least one, all of them known to the engine.
        score_min: The lowest score that counts.
    """
    found: list[Found] = [()] * len(texts)
    reads_as_text = np.zeros(len(texts), dtype=bool)
    if engine.named_entities & set(entities):
        reads_as_text = looks_like_text(texts).to_numpy(zero_copy_only=False)
    others = np.flatnonzero(~reads_as_text)
    unsure = []
    by_pattern = match_patterns(engine, texts.take(pa.array(others)), entities)
    for i, results in zip(others, by_pattern, strict=True):
        if results is None:
            unsure.append(i)
        else:
            found[i] = to_found(results, score_min)
    for analyzer, chosen in (
        (engine.stock, np.flatnonzero(reads_as_text)),
        (engine.patterns, np.array(unsure, dtype=np.int64)),
    ):
        analyzed = analyze(engine, analyzer, texts.take(pa.array(chosen)).to_pylist(), entities)
        for i, results in zip(chosen, analyzed, strict=True):
            found[i] = to_found(results, score_min)
    return found


def match_patterns(
    engine: Engine, texts: pa.LargeStringArray, entities: Sequence[str]
) -> Iterator[list[RecognizerResult] | None]:
    """Yield what the pattern recognizers find in each text, or ``None`` where a score may rise."""
    from presidio_analyzer import EntityRecognizer

    values = texts.to_pylist()
    found: dict[int, list[RecognizerResult]] = {}
    unsure = set()
    recognizers = [
        r
        for r in engine.patterns.registry.recognizers
        if not set(entities).isdisjoint(r.supported_entities)
    ]
    for recognizer, indices in questions(recognizers, texts):
        for i in indices:
            results = recognizer.analyze(values[i], list(entities), None)
            if not results:
                continue
            found.setdefault(i, []).extend(results)
            if any(r.score < EntityRecognizer.MAX_SCORE for r in results) and (
                engine.context.may_support(recognizer, values[i])
            ):
                unsure.add(i)
    for i in range(len(values)):
        yield None if i in unsure else EntityRecognizer.remove_duplicates(found.get(i, []))


def analyze(
    engine: Engine, analyzer: AnalyzerEngine, texts: Sequence[str], entities: Sequence[str]
) -> Iterator[list[RecognizerResult]]:
    """Yield the findings of one of the engine's analyzers in each text."""
    from presidio_analyzer import BatchAnalyzerEngine

    wanted = sorted(set(entities).intersection(analyzer.get_supported_entities(LANGUAGE)))
    batch_analyzer = BatchAnalyzerEngine(analyzer)
    for start in range(0, len(texts), BATCH_VALUES):
        with forgetting(engine.nlp):
            results = batch_analyzer.analyze_iterator(
                texts[start : start + BATCH_VALUES],
                language=LANGUAGE,
                batch_size=BATCH_VALUES,
                n_process=1,
                entities=wanted,
            )
        yield from results


def to_found(results: Iterable[RecognizerResult], score_min: float) -> Found:
    """Presidio's results at or above a score, as plain values in a fixed order."""
    return tuple(
        sorted(
            ((r.entity_type, r.start, r.end, r.score) for r in results if r.score >= score_min),
            key=lambda finding: (finding[1], finding[2], finding[0]),
        )
    )

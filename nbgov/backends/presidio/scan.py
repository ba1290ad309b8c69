"""Running a plan over texts: what each recognizer finds, with the scores that context raises.

This module knows no cache, makes no errors of its own and keeps no text. What asks the language
model or the stock engine is in :mod:`~nbgov.backends.presidio.stock`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nbgov.backends.presidio.column import Column, Indices
from nbgov.backends.presidio.hits import Hit
from nbgov.backends.presidio.joined import matches
from nbgov.backends.presidio.merge import merge, without_duplicates
from nbgov.backends.presidio.plan import Path, Plan, Step, method
from nbgov.backends.presidio.stock import (
    Asked,
    NeedsStock,
    called_hits,
    named_hits,
    stock_hits,
    to_hits,
)
from nbgov.backends.presidio.text import looks_like_text

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_VALUES_MAX = 20_000
CHUNK_BYTES_MAX = 1 << 20


def scan(plan: Plan, texts: pa.LargeStringArray, asked: Asked) -> list[Sequence[Hit]]:
    """Findings of each text, as Presidio orders them. Needs the engine's lock.

    Args:
        plan: How to look.
        texts: Non-null strings.
        asked: What counts.
    """
    return [group for chunk in chunks(texts) for group in scan_chunk(plan, chunk, asked)]


def chunks(texts: pa.LargeStringArray) -> Iterator[pa.LargeStringArray]:
    """Yield slices that are small enough for the memory, in order."""
    if not len(texts):
        return
    offsets = np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, texts.offset * 8)
    start = 0
    while start < len(texts):
        end = int(np.searchsorted(offsets, offsets[start] + CHUNK_BYTES_MAX))
        end = min(max(end, start + 1), start + CHUNK_VALUES_MAX, len(texts))
        yield texts.slice(start, end - start)
        start = end


def scan_chunk(plan: Plan, texts: pa.LargeStringArray, asked: Asked) -> list[Sequence[Hit]]:
    """Findings of each text of a chunk."""
    column = Column(texts)
    readable: Indices = np.arange(len(column))
    if asked.text_only and any(step.reads_language for step in plan.steps):
        readable = np.flatnonzero(looks_like_text(texts).to_numpy(zero_copy_only=False))
    if plan.stock:
        return stock_hits(plan, column, asked, readable)
    try:
        hits = [hit for step in plan.steps for hit in run(step, plan, column, readable)]
    except NeedsStock:
        return stock_hits(plan, column, asked, readable)
    found: list[Sequence[Hit]] = [()] * len(column)
    if hits:
        hits = plan.context.raised(column.texts, hits, plan.recognizers, asked.context)
    grouped: dict[int, list[Hit]] = {}
    for hit in hits:
        grouped.setdefault(hit.value, []).append(hit)
    least = least_score(plan, asked.score_min)
    for value, group in grouped.items():
        found[value] = merge(group, least)
    return found


def least_score(plan: Plan, score_min: float | None) -> Callable[[Hit], float]:
    """The lowest score that counts for a hit."""
    if score_min is not None:
        return lambda _: score_min
    thresholds = [recognizer.score_thresholds for recognizer in plan.recognizers]
    default = plan.analyzer.default_score_threshold

    def least(hit: Hit) -> float:
        own = thresholds[hit.recognizer]
        return own.get(hit.entity, own.get("default", default))

    return least


def run(step: Step, plan: Plan, column: Column, readable: Indices) -> Iterable[Hit]:
    """What one recognizer finds."""
    match step.path:
        case Path.PATTERNS:
            return pattern_hits(step, column)
        case Path.CANDIDATES:
            return asked_hits(step, plan, column, candidates(step, column))
        case Path.DIGITS:
            return asked_hits(step, plan, column, np.flatnonzero(column.digits > 0).tolist())
        case Path.PHONES:
            return phone_hits(step, column)
        case Path.NAMED:
            return named_hits(step, plan, column, readable)
        case _:
            indices = readable if step.reads_language else np.arange(len(column))
            return called_hits(step, plan, column, indices)


def pattern_hits(step: Step, column: Column) -> list[Hit]:
    """What the patterns of a recognizer find, as ``PatternRecognizer.analyze`` does."""
    entity = step.recognizer.supported_entities[0]
    judge = judge_of(step.recognizer)
    hits: list[Hit] = []
    successful = 0
    for search in step.searches:
        before = len(hits)
        for value, start, end, matched in matches(search, column, timeout_s=timeout_s()):
            score = judge(matched, search.score) if matched else 0
            if score > 0:
                hits.append(Hit(value, step.index, entity, start, end, score))
        successful += len(hits) > before
    # The matches of one pattern do not overlap.
    return each_without_duplicates(hits) if successful > 1 else hits


def judge_of(recognizer: Any) -> Callable[[str, float], float]:
    """What turns a match and its pattern's score into the score that the recognizer gives it."""
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    validate, invalidate = recognizer.validate_result, recognizer.invalidate_result
    if method(recognizer, "validate_result") is EmailRecognizer.validate_result:
        validate = partial(is_domain_valid, validate, {})
    names = ("validate_result", "invalidate_result")
    if all(method(recognizer, name) is getattr(PatternRecognizer, name) for name in names):
        return lambda _, score: score

    def judge(matched: str, score: float) -> float:
        verdict = validate(matched)
        if verdict is not None:
            score = 1.0 if verdict else 0
        return 0 if invalidate(matched) else score

    return judge


def is_domain_valid(validate: Callable[[str], Any], known: dict[str, Any], matched: str) -> Any:
    """Whether an e-mail address is valid, which depends on its domain alone.

    The address is read as a url; one without a path, a query and a fragment is all authority, and
    its host is what stands behind the last ``@``.
    """
    if not {"/", "?", "#"}.isdisjoint(matched):
        return validate(matched)
    domain = matched.rpartition("@")[2]
    if domain not in known:
        known[domain] = validate(matched)
    return known[domain]


def each_without_duplicates(hits: Iterable[Hit]) -> list[Hit]:
    """Hits of one recognizer, less those that lie in another one of the same value."""
    grouped: dict[int, list[Hit]] = {}
    for hit in hits:
        grouped.setdefault(hit.value, []).append(hit)
    return [
        hit
        for group in grouped.values()
        for hit in (group if len(group) == 1 else without_duplicates(group))
    ]


def timeout_s() -> float:
    """How long a pattern may search in one text."""
    from presidio_analyzer import pattern_recognizer

    return pattern_recognizer.REGEX_TIMEOUT_SECONDS


def candidates(step: Step, column: Column) -> list[int]:
    """The values in which a pattern of a recognizer matches."""
    searches = (matches(search, column, timeout_s=timeout_s()) for search in step.searches)
    return sorted({value for found in searches for value, *_ in found})


def asked_hits(step: Step, plan: Plan, column: Column, values: Iterable[int]) -> list[Hit]:
    """What a recognizer finds that needs no language model, in some of the values."""
    analyze, entities = step.recognizer.analyze, list(plan.entities)
    return [
        hit
        for value in values
        for hit in to_hits(analyze(column.texts[value], entities, None), value, plan, step)
    ]


def phone_hits(step: Step, column: Column) -> list[Hit]:
    """What the recognizer of telephone numbers finds, as ``PhoneRecognizer.analyze`` does."""
    entity, score = step.recognizer.supported_entities[0], step.recognizer.SCORE
    find = step.finder.find
    hits: list[Hit] = []
    for value in np.flatnonzero(column.digits >= step.finder.digits_min).tolist():
        if spans := find(column.texts[value]):
            group = [Hit(value, step.index, entity, a, b, score) for a, b in spans]
            hits += without_duplicates(group) if len(group) > 1 else group
    return hits

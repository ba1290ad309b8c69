"""What takes Presidio's own engine or a language model: documents, and the recognizers of them.

Whatever is not proven to be found in another way is found here, as Presidio finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nbgov.backends.presidio.engine import forgetting, pipeline_of
from nbgov.backends.presidio.hits import Hit

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, RecognizerResult
    from presidio_analyzer.nlp_engine import NlpArtifacts

    from nbgov.backends.presidio.column import Column, Indices
    from nbgov.backends.presidio.plan import Plan, Step

BATCH_VALUES = 256
"""Values whose words and documents are in memory together."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants beside the plan.

    Attributes:
        score_min: The lowest score that counts; ``None`` for the analyzer's own thresholds.
        context: Words that stand beside every value.
        text_only: Whether named entities are looked for only in what reads as text.
    """

    score_min: float | None
    context: tuple[str, ...] = ()
    text_only: bool = False


def documents(plan: Plan, column: Column, indices: Indices) -> Iterator[tuple[int, Any]]:
    """Yield values with what Presidio keeps of them; it is void when the next is asked for."""
    values = indices.tolist()
    texts = [column.texts[value] for value in values]
    yield from zip(values, artifacts_of(plan.analyzer, plan.language, texts), strict=True)


def artifacts_of(
    analyzer: AnalyzerEngine, language: str, texts: list[str]
) -> Iterator[NlpArtifacts]:
    """Yield what Presidio keeps of each text; it is void when the next is asked for.

    Opens a memory zone of spaCy for each batch, so nobody else may hold one meanwhile.
    """
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine: Any = analyzer.nlp_engine
    nlp = pipeline_of(analyzer, language)
    for begin in range(0, len(texts), BATCH_VALUES):
        part = texts[begin : begin + BATCH_VALUES]
        with forgetting(nlp):
            if type(engine) is SpacyNlpEngine:
                batch = engine.process_batch(part, language, batch_size=BATCH_VALUES)
                yield from (artifacts for _, artifacts, *_ in batch)
            else:
                # Another engine may read a text otherwise among others.
                yield from (engine.process_text(text, language) for text in part)


def named_hits(step: Step, plan: Plan, column: Column, readable: Indices) -> list[Hit]:
    """What the language model found, mapped as ``SpacyNlpEngine`` and ``SpacyRecognizer`` do."""
    engine: Any = plan.analyzer.nlp_engine
    labels = Labels(engine.ner_model_configuration)
    wanted = set(plan.entities) & set(step.recognizer.supported_entities)
    values = readable.tolist()
    hits: list[Hit] = []
    for value, spans in zip(
        values, step.finder.find([column.texts[v] for v in values]), strict=True
    ):
        for label, start, end in spans:
            entity, score = labels.read(label)
            if entity in wanted:
                hits.append(Hit(value, step.index, entity, start, end, score))
    return hits


class Labels:
    """What Presidio makes of the labels of a language model.

    Args:
        settings: Presidio's ``NerModelConfiguration``.
    """

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def read(self, label: str) -> tuple[str, float]:
        """The entity of a label, empty if Presidio leaves it out, and its score."""
        settings = self.settings
        entity: str = settings.model_to_presidio_entity_mapping.get(label, label)
        if label in settings.labels_to_ignore or entity in settings.labels_to_ignore:
            return "", 0
        score = settings.default_score
        if entity in settings.low_score_entity_names:
            score *= settings.low_confidence_score_multiplier
        return entity, score


def called_hits(step: Step, plan: Plan, column: Column, indices: Indices) -> list[Hit]:
    """What a recognizer finds that gets the document that the language model made."""
    analyze, entities = step.recognizer.analyze, list(plan.entities)
    return [
        hit
        for value, artifacts in documents(plan, column, indices)
        for hit in to_hits(analyze(column.texts[value], entities, artifacts), value, plan, step)
    ]


class NeedsStock(Exception):
    """A recognizer said something about a result that a hit has no room for."""


def to_hits(
    results: Sequence[RecognizerResult] | None, value: int, plan: Plan, step: Step
) -> list[Hit]:
    """The results of a recognizer as hits, of the recognizer that each of them names.

    Raises:
        NeedsStock: The recognizer raised a score by context itself.
    """
    from presidio_analyzer import RecognizerResult

    hits = []
    for result in results or ():
        facts: dict[str, Any] = result.recognition_metadata or {}
        if facts.get(RecognizerResult.IS_SCORE_ENHANCED_BY_CONTEXT_KEY):
            raise NeedsStock
        named = facts.get(RecognizerResult.RECOGNIZER_IDENTIFIER_KEY, step.recognizer.id)
        if named in plan.ranks:  # Presidio drops what no selected recognizer answers for.
            rank = plan.ranks[named]
            hits.append(
                Hit(value, rank, result.entity_type, result.start, result.end, result.score)
            )
    return hits


def stock_hits(plan: Plan, column: Column, asked: Asked, readable: Indices) -> list[Sequence[Hit]]:
    """What the stock engine finds in each text, in its order."""
    found: list[Sequence[Hit]] = [()] * len(column)
    others = np.setdiff1d(np.arange(len(column)), readable)
    for analyzer, chosen in ((plan.analyzer, readable), (plan.without_language(), others)):
        wanted = known(analyzer, plan)
        if not wanted:
            continue
        for value, artifacts in documents(plan, column, chosen):
            results = analyzer.analyze(
                column.texts[value],
                plan.language,
                entities=wanted,
                score_threshold=asked.score_min,
                context=list(asked.context),
                nlp_artifacts=artifacts,
            )
            found[value] = [stock_hit(result, value, plan) for result in results]
    return found


def known(analyzer: AnalyzerEngine, plan: Plan) -> list[str]:
    """The entities of a plan that an analyzer finds; it would look for all if asked for none."""
    found = {
        entity
        for recognizer in analyzer.registry.recognizers
        if recognizer.supported_language == plan.language
        for entity in recognizer.supported_entities
    }
    return [entity for entity in plan.entities if entity in found]


def stock_hit(result: RecognizerResult, value: int, plan: Plan) -> Hit:
    """A result of the stock engine; it counts even if it names no recognizer of the plan."""
    from presidio_analyzer import RecognizerResult

    facts: dict[str, Any] = result.recognition_metadata or {}
    rank = plan.ranks.get(facts.get(RecognizerResult.RECOGNIZER_IDENTIFIER_KEY, ""), 0)
    return Hit(value, rank, result.entity_type, result.start, result.end, result.score)

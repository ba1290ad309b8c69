"""How each recognizer of an analyzer is run over a column, and why that finds what Presidio finds.

A plan is made once for a set of entities and a language. It is only made of what is proven: a
recognizer that does anything of its own is called as Presidio calls it. This module runs nothing;
:mod:`~nbgov.backends.presidio.scan` does.
The cases are in ``tests/backends/test_detector_recognizers.py``.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import regex

from nbgov.backends.presidio.conditions import Needs, needs_of
from nbgov.backends.presidio.context import ContextScores, enhances_itself
from nbgov.backends.presidio.engine import StrictRegex
from nbgov.backends.presidio.ner import NamedEntities
from nbgov.backends.presidio.phones import VALID, PhoneFinder
from nbgov.backends.presidio.versions import foreign, untested

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, EntityRecognizer

    from nbgov.backends.presidio.engine import Engine


PREDEFINED = "presidio_analyzer.predefined_recognizers."


class Path(StrEnum):
    """A way to run a recognizer."""

    PATTERNS = "its patterns"
    CANDIDATES = "itself, where its patterns match"
    DIGITS = "itself, where there are digits"
    PHONES = "one search for all regions"
    NAMED = "the language model"
    CALLED = "itself"
    STOCK = "the stock engine"


class Search(NamedTuple):
    """One pattern of a recognizer, and what is known of its matches."""

    compiled: Any
    score: float
    needs: Needs


@dataclass(frozen=True, slots=True)
class Step:
    """One recognizer and how it is run.

    Attributes:
        index: Its place in the plan.
        recognizer: The recognizer.
        path: The way it is run.
        reason: Why that is exact, or why it is not run faster.
        searches: Its patterns, for the two paths that search with them.
        finder: What finds telephone numbers or named entities, for the paths that find them.
        reads_language: Whether it reports what a language model found.
    """

    index: int
    recognizer: Any
    path: Path
    reason: str
    searches: tuple[Search, ...] = ()
    finder: Any = None
    reads_language: bool = False


@dataclass(frozen=True)
class Plan:
    """How to find some entities in texts of a language.

    Attributes:
        engine: The engine that runs.
        analyzer: The analyzer whose findings these are.
        language: The language of the texts.
        entities: What to look for.
        steps: One for each recognizer that looks for any of it.
        stock: Why the stock engine runs for everything; empty if it does not.
        doubt: The same, if that is for lack of trust in the fast path.
    """

    engine: Engine
    analyzer: AnalyzerEngine
    language: str
    entities: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    stock: str = ""
    doubt: str = ""

    def in_stock(self, reason: str, *, is_doubt: bool = False) -> Plan:
        """The same question for the stock engine."""
        return replace(self, stock=reason, doubt=reason if is_doubt else "")

    @cached_property
    def recognizers(self) -> list[EntityRecognizer]:
        """The recognizers of the steps, in their order."""
        return [step.recognizer for step in self.steps]

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Which recognizer an identifier of Presidio means."""
        return {recognizer.id: rank for rank, recognizer in enumerate(self.recognizers)}

    @cached_property
    def context(self) -> ContextScores:
        """What raises the scores."""
        key = "context", self.language
        scores = self.engine.make(key, lambda: ContextScores(self.analyzer, self.language))
        assert isinstance(scores, ContextScores)
        return scores

    def without_language(self) -> AnalyzerEngine:
        """The analyzer without the recognizers that report what a language model found."""
        twin, registry = copy.copy(self.analyzer), copy.copy(self.analyzer.registry)
        registry.recognizers = [r for r in registry.recognizers if not reads_language(r)]
        twin.registry = registry
        return twin


def fast_part(engine: Engine, language: str) -> Plan:
    """The way to look for everything, with those recognizers alone that are not simply called."""
    twin, registry = copy.copy(engine.analyzer), copy.copy(engine.analyzer.registry)
    recognizers = [r for r in registry.recognizers if r.supported_language == language]
    steps = [step_for(index, r, engine, language) for index, r in enumerate(recognizers)]
    fast = [s.recognizer for s in steps if s.path not in {Path.CALLED, Path.DIGITS}]
    registry.recognizers, twin.registry = fast, registry
    entities = tuple(sorted({entity for r in fast for entity in r.supported_entities}))
    kept = tuple(step_for(index, r, engine, language) for index, r in enumerate(fast))
    return Plan(engine, twin, language, entities, kept)


def plan_for(engine: Engine, entities: Iterable[str], language: str) -> Plan:
    """The way to look for entities; made once for an engine. Needs the engine's lock.

    Args:
        engine: The engine to run.
        entities: What to look for, at least one and all known to the engine.
        language: The language of the texts, known to the engine.
    """
    asked = tuple(sorted(set(entities)))
    plan = engine.make(("plan", asked, language), lambda: make_plan(engine, asked, language))
    assert isinstance(plan, Plan)
    return plan


def make_plan(engine: Engine, entities: tuple[str, ...], language: str) -> Plan:
    """Choose a way for every recognizer that looks for one of the entities."""
    if reason := foreign():
        steps = tuple(
            Step(index, recognizer, Path.STOCK, reason, reads_language=reads_language(recognizer))
            for index, recognizer in enumerate(selected(engine.analyzer, entities, language))
        )
        return Plan(engine, engine.analyzer, language, entities, steps, reason, reason)
    steps = tuple(
        step_for(index, recognizer, engine, language)
        for index, recognizer in enumerate(selected(engine.analyzer, entities, language))
    )
    stock = stock_reason(engine.analyzer, steps)
    return Plan(engine, engine.analyzer, language, entities, steps, stock)


def selected(
    analyzer: AnalyzerEngine, entities: Sequence[str], language: str
) -> list[EntityRecognizer]:
    """The recognizers that Presidio would ask, in the order of the registry, ready to run."""
    chosen = analyzer.registry.get_recognizers(language=language, entities=list(entities))
    ranks = {id(r): rank for rank, r in enumerate(analyzer.registry.recognizers)}
    chosen.sort(key=lambda recognizer: ranks.get(id(recognizer), len(ranks)))
    for recognizer in chosen:
        if not recognizer.is_loaded:
            recognizer.load()
            recognizer.is_loaded = True
    return chosen


def stock_reason(analyzer: AnalyzerEngine, steps: Sequence[Step]) -> str:
    """Why only the stock engine itself can run these recognizers; empty if others can."""
    from presidio_analyzer import AnalyzerEngine

    for name in ("analyze", "_enhance_using_context", "get_recognizers"):
        if method(analyzer, name) is not getattr(AnalyzerEngine, name):
            return f"the analyzer has its own {name}"
    for step in steps:
        if enhances_itself(step.recognizer):
            return f"{step.recognizer.name} raises scores in its own way"
    return ""


def method(subject: object, name: str) -> Any:
    """The function behind a method of an object, wherever it is overridden."""
    bound = getattr(subject, name)
    return getattr(bound, "__func__", bound)


def reads_language(recognizer: object) -> bool:
    """Whether a recognizer reports what a language model found."""
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    return isinstance(recognizer, SpacyRecognizer)


def step_for(index: int, recognizer: Any, engine: Engine, language: str) -> Step:
    """The way for one recognizer."""
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import IbanRecognizer

    if searches_as(recognizer, PatternRecognizer):
        searches = searches_of(recognizer)
        return Step(index, recognizer, Path.PATTERNS, "they are the patterns it runs", searches)
    if searches_as(recognizer, IbanRecognizer):
        reason = "it finds nothing where none of its patterns matches"
        return Step(index, recognizer, Path.CANDIDATES, reason, searches_of(recognizer))
    if is_presidio_s_phone(recognizer):
        return phone_step(index, recognizer)
    if reads_language(recognizer):
        return named_step(index, recognizer, engine, language)
    return Step(index, recognizer, Path.CALLED, "it searches in its own way")


def searches_as(recognizer: Any, kind: type[Any]) -> bool:
    """Whether a recognizer searches exactly as one of Presidio's classes does."""
    private = f"_{kind.__name__}__analyze_patterns"
    return (
        isinstance(recognizer, kind)
        and method(recognizer, "analyze") is kind.analyze
        and method(recognizer, private) is vars(kind)[private]
    )


def is_presidio_s_phone(recognizer: Any) -> bool:
    """Whether a recognizer of telephone numbers is one of Presidio's own; none reads documents."""
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    return (
        isinstance(recognizer, PhoneRecognizer)
        and type(recognizer).__module__.startswith(PREDEFINED)
        and method(recognizer, "analyze") is type(recognizer).analyze
    )


def phone_step(index: int, recognizer: Any) -> Step:
    """The way for a recognizer of telephone numbers."""
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    if "phonenumbers" in untested():
        return Step(index, recognizer, Path.DIGITS, "this version of phonenumbers was not tested")
    if type(recognizer) is not PhoneRecognizer or recognizer.leniency != VALID:
        return Step(index, recognizer, Path.DIGITS, "every number holds a digit")
    finder = phone_finder(tuple(recognizer.supported_regions))
    reason = finder.reason or "what depends on no region is done once for all of them"
    return Step(index, recognizer, Path.PHONES, reason, finder=finder)


@cache
def phone_finder(regions: tuple[str, ...]) -> PhoneFinder:
    """What finds the numbers of some regions."""
    return PhoneFinder(regions)


def named_step(index: int, recognizer: Any, engine: Engine, language: str) -> Step:
    """The way for a recognizer that reports what a language model found."""
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    reason = ""
    if type(recognizer) is not SpacyRecognizer:
        reason = "it reads the language model in its own way"
    elif type(engine.analyzer.nlp_engine) is not SpacyNlpEngine:
        reason = "the language model is not run by Presidio's engine for spaCy"
    if reason:
        return Step(index, recognizer, Path.CALLED, reason, reads_language=True)
    nlp = engine.pipeline(language)
    finder = engine.make(("named", language), lambda: NamedEntities(nlp))
    reason = "its own numbers, and the pipeline where two answers are close"
    if finder.reason:
        reason = f"the pipeline, because {finder.reason}"
    return Step(index, recognizer, Path.NAMED, reason, finder=finder, reads_language=True)


def searches_of(recognizer: Any) -> tuple[Search, ...]:
    """The patterns of a recognizer as Presidio would run them."""
    flags = recognizer.global_regex_flags
    found = []
    for pattern in recognizer.patterns:
        compiled = pattern.compiled_regex
        if not compiled or pattern.compiled_with_flags != flags:
            compiled = regex.compile(pattern.regex, flags=flags)
        elif isinstance(compiled, StrictRegex):
            compiled = compiled.compiled
        needs = Needs(Counter(), None, "it is no regex of the regex module")
        if isinstance(compiled, regex.Pattern):
            needs = needs_of(compiled)
        found.append(Search(compiled, pattern.score, needs))
    return tuple(found)

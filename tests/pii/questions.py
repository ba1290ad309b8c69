"""What the differential tests ask: an analyzer of stock Presidio, and the terms of a request.

Every analyzer is built by Presidio's own means around one language model. Nothing here comes from
nbgov but the name of that model.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import presidio_analyzer.predefined_recognizers as predefined
import tldextract
from presidio_analyzer import (
    AnalyzerEngine,
    EntityRecognizer,
    Pattern,
    PatternRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpEngineProvider, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer, SpacyRecognizer

from nbgov.backends.presidio.engine import find_model

NEED_OTHER_PRODUCTS = {
    *("AzureAILanguageRecognizer", "AzureHealthDeidRecognizer", "AzureOpenAILangExtractRecognizer"),
    *("BasicLangExtractRecognizer", "GLiNERRecognizer", "HuggingFaceNerRecognizer"),
    *("LangExtractRecognizer", "MedicalNERRecognizer", "NLP_RECOGNIZERS"),
    *("SpacyRecognizer", "StanzaRecognizer", "TransformersRecognizer"),
}


@functools.cache
def language_model() -> SpacyNlpEngine:
    """Presidio's spaCy engine with its default settings, offline."""
    # Without this, the first e-mail asks the web for a list of suffixes.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    settings = dict(NlpEngineProvider().nlp_configuration)
    settings["models"] = [{"lang_code": "en", "model_name": find_model()}]
    return NlpEngineProvider(nlp_configuration=settings).create_engine()


def stock(**settings: Any) -> AnalyzerEngine:
    """An analyzer with the default recognizers."""
    return AnalyzerEngine(nlp_engine=language_model(), supported_languages=["en"], **settings)


def country_recognizers() -> list[EntityRecognizer]:
    """Every recognizer in the package that needs no product beside it and no language model."""
    names = sorted(set(predefined.__all__) - NEED_OTHER_PRODUCTS)
    return [getattr(predefined, name)(supported_language="en") for name in names]


def countries() -> AnalyzerEngine:
    """An analyzer with the recognizers of all countries, and no language model among them."""
    registry = RecognizerRegistry(recognizers=country_recognizers(), supported_languages=["en"])
    return stock(registry=registry)


class Parity(PatternRecognizer):
    """Accepts even codes, rejects those that end in 9, and has no opinion on the rest."""

    def validate_result(self, pattern_text: str) -> bool | None:
        """Presidio's hook."""
        return True if pattern_text[-1] in "02468" else None

    def invalidate_result(self, pattern_text: str) -> bool | None:
        """Presidio's other hook."""
        return pattern_text[-1] == "9"


class Capitals(EntityRecognizer):
    """Finds words in capitals by the language model's tokens, and says two things of each."""

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[RecognizerResult]:
        """Presidio's hook; it returns both entities, whichever was asked for."""
        return [
            RecognizerResult(entity, token.idx, token.idx + len(token), 0.3)
            for token in nlp_artifacts.tokens
            if token.text.isupper() and len(token) > 3
            for entity in ("CAPITALS", "SHOUT")
        ]


class Jealous(PatternRecognizer):
    """Raises its own scores where another recognizer found something."""

    def enhance_using_context(
        self,
        text,
        raw_recognizer_results,
        other_raw_recognizer_results,
        nlp_artifacts,
        context=None,
    ):
        """Presidio's hook."""
        for result in raw_recognizer_results:
            if other_raw_recognizer_results:
                result.score = 0.9
                result.recognition_metadata["is_score_enhanced_by_context"] = True
        return raw_recognizer_results


def custom_recognizers() -> list[EntityRecognizer]:
    """Recognizers of a user's own, of every sort that Presidio takes."""
    pattern = {
        "ORDER": (r"\bORD-\d{6}\b", 0.4, ["order", "invoice"]),
        "SPACED": (r"\d{3}\s\d{3}\s+\d{3}", 0.3, None),
        "WHOLE": (r"\A[a-z]+\Z", 0.2, ["word"]),
        "LINE": (r"^[A-Z]\w+$", 0.2, None),
        "NOT_DIGIT": (r"[^\d]{3}\d{2}[^\d]", 0.25, ["left"]),
        "BEHIND": (r"(?<!\d)\d{4}(?!\d)", 0.1, ["pin", "code"]),
        "LOOKING": (r"(?=.*x)\b\d{2}\b", 0.2, None),
        "ANY": (r"id.{1,4}\d", 0.5, None),
        "EMPTY": (r"z*", 0.5, None),
        "FUZZY": (r"(?:secret){e<=1}", 0.5, None),
        "UNICODE": (r"\p{Lu}\p{Ll}+\d", 0.35, ["tag"]),
        "SURE": (r"\d{5}-\d{3}", 1.0, ["cep"]),
        "CASED": (r"(?-i:[A-Z]{3})\d{3}", 0.45, ["plate"]),
        "BACK": (r"\b(\w)(\w)\2\1\b", 0.2, None),
        "NAMED": (r"(?P<q>['\"]).*?(?P=q)", 0.15, ["quote"]),
    }
    made: list[EntityRecognizer] = [
        PatternRecognizer(entity, patterns=[Pattern(entity, regex, score)], context=context)
        for entity, (regex, score, context) in pattern.items()
    ]
    return [
        *made,
        PatternRecognizer("TITLE", deny_list=["Mr.", "Dr", "Prof", "a.b"], context=["greeting"]),
        PatternRecognizer("ORDER", name="again", patterns=[Pattern("o", r"ORD-\d+", 0.6)]),
        PatternRecognizer(
            "SMALL", patterns=[Pattern("s", r"[a-z]{2}\d{2}", 0.3)], global_regex_flags=0
        ),
        Parity("PARITY", patterns=[Pattern("p", r"\b\d{4,6}\b", 0.3)], context=["even"]),
        Jealous("JEALOUS", patterns=[Pattern("j", r"\d{7}", 0.2)], context=["phone"]),
        Capitals(["CAPITALS", "SHOUT"]),
        PhoneRecognizer(supported_regions=["JP", "AU"], leniency=1, name="far"),
        PhoneRecognizer(supported_regions=["US", "DE"], leniency=2, name="strict"),
        PhoneRecognizer(supported_regions=["US"], leniency=0, name="loose"),
    ]


def custom() -> AnalyzerEngine:
    """The default recognizers and a user's own."""
    analyzer = stock()
    for recognizer in custom_recognizers():
        analyzer.registry.add_recognizer(recognizer)
    return analyzer


def thresholds() -> AnalyzerEngine:
    """Thresholds of recognizers, of entities, and of the engine."""
    analyzer = stock(default_score_threshold=0.3)
    for recognizer in analyzer.registry.recognizers:
        if recognizer.name == "UsLicenseRecognizer":
            recognizer.score_thresholds = {"default": 0.0}
        if recognizer.name == "PhoneRecognizer":
            recognizer.score_thresholds = {"default": 0.1, "PHONE_NUMBER": 0.6}
    return analyzer


def whole_words() -> AnalyzerEngine:
    """Context words that have to match whole, on both sides, and count differently."""
    enhancer = LemmaContextAwareEnhancer(
        context_similarity_factor=0.2,
        min_score_with_context_similarity=0.6,
        context_prefix_count=3,
        context_suffix_count=2,
        context_matching_mode="whole_word",
    )
    return stock(context_aware_enhancer=enhancer)


def both_sides() -> AnalyzerEngine:
    """Parts of words count, on both sides of a finding."""
    enhancer = LemmaContextAwareEnhancer(context_prefix_count=2, context_suffix_count=4)
    return stock(context_aware_enhancer=enhancer)


def organizations() -> AnalyzerEngine:
    """Another reading of the language model's labels: organisations too, with half the score."""
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": find_model()}],
        ner_model_configuration=NerModelConfiguration(
            labels_to_ignore=["CARDINAL"],
            low_score_entity_names=["ORGANIZATION", "ORG"],
            low_confidence_score_multiplier=0.5,
            default_score=0.7,
        ),
    )
    engine.nlp = language_model().nlp
    registry = RecognizerRegistry(
        recognizers=[SpacyRecognizer(supported_entities=["PERSON", "ORGANIZATION", "DATE_TIME"])],
        supported_languages=["en"],
    )
    return AnalyzerEngine(nlp_engine=engine, registry=registry, supported_languages=["en"])


@dataclass(frozen=True)
class Question:
    """An analyzer and the terms of a request.

    Attributes:
        name: What it is called.
        build: Makes the analyzer.
        entities: What to look for, or nothing: everything that the analyzer can find.
        context: Words that stand beside every value.
        score_min: The lowest score that counts; the analyzer's own thresholds without one.
    """

    name: str
    build: Callable[[], AnalyzerEngine] = stock
    entities: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    score_min: float | None = None

    def __str__(self) -> str:
        """The name, so that a test is called so."""
        return self.name

    @property
    def terms(self) -> dict[str, Any]:
        """The rest of the terms, as Presidio takes them."""
        context = {"context": [*self.context]} if self.context else {}
        return context | ({} if self.score_min is None else {"score_threshold": self.score_min})

    def identity(self) -> str:
        """Changes when the question does."""
        source = inspect.getsource(self.build)
        if self.build not in {stock, countries}:
            source = inspect.getsource(sys.modules[__name__])
        return repr((self.name, source, self.entities, self.terms))

    def asked(self, analyzer: AnalyzerEngine) -> list[str]:
        """What to look for."""
        return list(self.entities) or sorted(analyzer.get_supported_entities("en"))


DEFAULT = Question("default")
COUNTRIES = Question("countries", countries)
OTHERS = (
    Question("people", entities=("PERSON",)),
    Question("telephone", entities=("PHONE_NUMBER", "US_SSN")),
    Question("dates", entities=("DATE_TIME",)),
    Question("web", entities=("URL", "EMAIL_ADDRESS", "IP_ADDRESS")),
    Question("mixed", entities=("PERSON", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD")),
    Question("custom", custom),
    Question("custom subset", custom, ("SHOUT", "ORDER", "JEALOUS", "PARITY", "TITLE")),
    Question("column customer_phone", context=("customer_phone",)),
    Question("column ssn", context=("SSN", "bank account")),
    Question("column of countries", countries, context=("Passport No", "id")),
    Question("column at 0.35", context=("license",), score_min=0.35),
    Question("at 0", score_min=0),
    Question("at 0.35", score_min=0.35),
    Question("at 0.6", score_min=0.6),
    Question("countries at 0.35", countries, score_min=0.35),
    Question("custom at 0.35", custom, score_min=0.35),
    Question("own thresholds", thresholds),
    Question("whole words", whole_words),
    Question("both sides", both_sides),
    Question("organizations", organizations),
)

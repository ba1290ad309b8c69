"""Recognizers and analyzers of a person's own run as Presidio runs them, and what runs is explained."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import regex

from nbgov.backends.presidio import PresidioDetector
from nbgov.backends.presidio.engine import Engine, load_engine
from nbgov.backends.presidio.plan import Path, plan_for
from tests.detections import analyzer_with, detected, expected, made_values


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Presidio and its language model, loaded once."""
    return load_engine()


@pytest.fixture(scope="session")
def stock(engine: Engine) -> Any:
    """A stock analyzer with Presidio's default recognizers."""
    return analyzer_with(engine)


def own_recognizers() -> list[Any]:
    """Recognizers that differ from the default ones in every way that they may."""
    from presidio_analyzer import (
        AnalysisExplanation,
        LocalRecognizer,
        Pattern,
        PatternRecognizer,
        RecognizerResult,
    )
    from presidio_analyzer.predefined_recognizers import EmailRecognizer, PhoneRecognizer

    class Checked(PatternRecognizer):
        def validate_result(self, pattern_text: str) -> bool | None:
            return {"0": False, "1": True}.get(pattern_text[-1])

        def invalidate_result(self, pattern_text: str) -> bool | None:
            return "7" in pattern_text

    class Reading(LocalRecognizer):
        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> Any:
            if len(nlp_artifacts.tokens) % 2:
                return None
            explained = AnalysisExplanation("Reading", 0.3)
            return [RecognizerResult("EVEN", 0, 1, 0.3, explained) for _ in text.lstrip()[:1]]

    class Late(PatternRecognizer):
        def load(self) -> None:
            self.ready = getattr(self, "patterns", None) is not None

        def validate_result(self, pattern_text: str) -> bool:
            return self.ready

    class Louder(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool | None:
            return super().validate_result(pattern_text) or None

    late = Late("LATE", patterns=[Pattern("late", r"\bB\d{4,8}\b", 0.5)])
    late.is_loaded = False
    strict = PatternRecognizer("STRICT", patterns=[Pattern("strict", r"\b\d{3}\b", 0.4)])
    strict.score_thresholds = {"default": 0.3, "STRICT": 0.6}
    several = PatternRecognizer("ONE", patterns=[Pattern("one", r"\b[A-N]\d+\b", 0.2)])
    several.supported_entities = ["ONE", "OTHER"]
    return [
        PatternRecognizer(
            "ORDER", patterns=[Pattern("o", r"\bA\d{4,8}\b", 0.4)], context=["order", "invoice"]
        ),
        PatternRecognizer("TITLE", deny_list=["Mr.", "Dr.", "Ada", "12 Main"], context=["said"]),
        PatternRecognizer("SPACED", patterns=[Pattern("s", r"\d{3}\s\d{3}\s+\d{3,4}", 0.3)]),
        PatternRecognizer("AHEAD", patterns=[Pattern("a", r"\d{4}(?=.*@)", 0.3)]),
        PatternRecognizer("NOT_AHEAD", patterns=[Pattern("n", r"\b\d{4}(?!.*[a-z])", 0.3)]),
        PatternRecognizer("BEHIND", patterns=[Pattern("b", r"(?<=\s|^)[0-9]{2}\b", 0.9)]),
        PatternRecognizer("WHOLE", patterns=[Pattern("w", r"\A[0-9-]+\Z", 0.7)]),
        PatternRecognizer("DOTS", patterns=[Pattern("d", r"5.*\n.*5", 0.7)]),
        PatternRecognizer("FUZZY", patterns=[Pattern("f", r"(?:London){e<=1}", 0.7)]),
        PatternRecognizer(
            "CASED", patterns=[Pattern("c", "^[A-Z]+$", 0.7)], global_regex_flags=regex.MULTILINE
        ),
        PatternRecognizer("MARGIN", patterns=[Pattern("^", "^a|x?$", 0.7)], global_regex_flags=0),
        Checked(
            "CHECKED",
            patterns=[Pattern("p", r"\d{2,}", 0.2), Pattern("q", r"\d{4}", 0.9)],
            context=["account"],
        ),
        PatternRecognizer("EMAIL_ADDRESS", patterns=[Pattern("m", r"\S+@\S+", 0.5)]),
        Louder(supported_entity="LOUD"),
        Reading(["EVEN"], context=["phone"]),
        PhoneRecognizer(supported_entity="LENIENT", leniency=0),
        PhoneRecognizer(supported_entity="NATIONAL", supported_regions=["DE", "XX"]),
        PatternRecognizer("FOREIGN", patterns=[Pattern("x", r"\d", 1)], supported_language="de"),
        late,
        strict,
        several,
    ]


@pytest.mark.parametrize("context", [(), ("order", "phone")])
def test_recognizers_of_a_person_s_own_are_run_as_presidio_runs_them(
    engine: Engine, context: tuple[str, ...]
) -> None:
    """Every kind of recognizer finds what it finds in Presidio, beside the default ones."""
    analyzer = analyzer_with(engine, *own_recognizers(), default_score_threshold=0.25)
    values = [*made_values(19, 40, 40), "1234 x@y.com", "ABC\nDEF", "5\n5", "12-34"]
    found = expected(analyzer, values, context=list(context))
    assert detected(analyzer, values, context=context) == found
    asked = ["ONE", "ORDER", "OTHER", "CHECKED"]
    found_some = expected(analyzer, values, entities=asked, context=list(context))
    assert detected(analyzer, values, asked, context=context) == found_some
    kinds = {entity for group in found for entity, *_ in group}
    wanted = {entity for r in own_recognizers() for entity in r.supported_entities}
    assert kinds >= wanted - {"FOREIGN", "OTHER", "ONE", "STRICT"}
    assert "FOREIGN" not in kinds


def test_a_recognizer_that_raises_scores_itself_runs_in_the_stock_engine(engine: Engine) -> None:
    """Where results depend on the results of others, the whole analyzer runs as it is."""
    from presidio_analyzer import Pattern, PatternRecognizer

    class Together(PatternRecognizer):
        def enhance_using_context(
            self,
            text: str,
            raw_recognizer_results: Any,
            other_raw_recognizer_results: Any,
            **_: Any,
        ) -> Any:
            for result in raw_recognizer_results:
                result.score = 0.9 if other_raw_recognizer_results else result.score
            return raw_recognizer_results

    together = Together("TOGETHER", patterns=[Pattern("t", r"\d{3}", 0.2)])
    analyzer = analyzer_with(engine, together)
    values = made_values(23, 15, 15)
    assert detected(analyzer, values) == expected(analyzer, values)
    lines = PresidioDetector(analyzer).explain().lines
    assert {line.path for line in lines} == {Path.STOCK}
    assert "Together raises scores in its own way" in lines[0].reason
    subset = expected(analyzer, values, entities=["US_SSN", "PERSON"])
    assert detected(analyzer, values, ["US_SSN", "PERSON"]) == subset
    reading = PresidioDetector(analyzer, reads="text")
    found = reading.detect(
        pa.array(["212-555-0123", "+91 98709 45113"]),
        entities=["PERSON", "DATE_TIME", "TOGETHER"],
        score_min=None,
        language="en",
    )
    assert "PERSON" not in found["entity"].to_pylist()


def test_a_score_that_a_recognizer_raised_itself_is_not_raised_again(engine: Engine) -> None:
    """A result that says so keeps its score, as in Presidio."""
    from presidio_analyzer import (
        AnalysisExplanation,
        LocalRecognizer,
        RecognizerResult,
    )

    class Sure(LocalRecognizer):
        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> Any:
            facts = {RecognizerResult.IS_SCORE_ENHANCED_BY_CONTEXT_KEY: "call" in text}
            return [RecognizerResult("SURE", 0, 4, 0.3, AnalysisExplanation("Sure", 0.3), facts)]

    analyzer = analyzer_with(engine, Sure(["SURE"], context=["phone"]))
    for values in (["call my phone", "my phone 212-555-0123"], ["my phone"]):
        assert detected(analyzer, values) == expected(analyzer, values)


def test_an_analyzer_with_rules_of_its_own_runs_as_it_is(engine: Engine) -> None:
    """A class of the person's own that analyzes in another way is not second-guessed."""
    from presidio_analyzer import AnalyzerEngine

    class Polite(AnalyzerEngine):
        def analyze(self, *arguments: Any, **asked: Any) -> Any:
            return [r for r in super().analyze(*arguments, **asked) if r.entity_type != "PERSON"]

    analyzer = Polite(nlp_engine=engine.analyzer.nlp_engine)
    values = ["Ada Lovelace, ada@example.com", "212-555-0123"]
    assert detected(analyzer, values) == expected(analyzer, values)
    assert "has its own analyze" in str(PresidioDetector(analyzer).explain())


@pytest.mark.parametrize("kind", ["none", "own"])
def test_any_language_model_will_do(engine: Engine, kind: str) -> None:
    """Analyzers without spaCy, or with one in a class of their own, find what they find."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NoOpNlpEngine, SpacyNlpEngine

    class Own(SpacyNlpEngine):
        def _get_scores_for_entities(self, doc: Any) -> list[float]:
            return [0.5 for _ in doc.ents]

    nlp_engine: Any = (
        NoOpNlpEngine([{"lang_code": "en", "model_name": "x"}])
        if kind == "none"
        else Own(models=[])
    )
    languages = ["en"]
    if kind != "none":
        nlp_engine.nlp = {"en": engine.pipeline("en")}
        nlp_engine.ner_model_configuration = engine.analyzer.nlp_engine.ner_model_configuration
    registry = RecognizerRegistry(supported_languages=languages)
    registry.load_predefined_recognizers(languages=languages, nlp_engine=nlp_engine)
    analyzer = AnalyzerEngine(registry, nlp_engine, supported_languages=languages)
    values = made_values(29, 12, 12)
    found = detected(analyzer, values, context=["phone"])
    assert found == expected(analyzer, values, context=["phone"])
    assert ("PERSON" in {entity for group in found for entity, *_ in group}) is (kind != "none")


def test_an_analyzer_is_wrapped_as_it_is_and_not_changed(engine: Engine) -> None:
    """Its recognizers and patterns stay its own, and what a person changes counts at once."""
    from presidio_analyzer import Pattern, PatternRecognizer

    analyzer = analyzer_with(engine)
    before = [(r, dict(vars(r))) for r in analyzer.registry.recognizers]
    compiled = [p.compiled_regex for r, _ in before for p in getattr(r, "patterns", ())]
    detector = PresidioDetector(analyzer)

    def found(value: str) -> list[str]:
        table = detector.detect(
            pa.array([value]),
            entities=sorted(detector.entities("en")),
            score_min=0.1,
            language="en",
        )
        return sorted(set(table["entity"].to_pylist()))

    assert found("ORD-123") == []
    assert [(r, dict(vars(r))) for r in analyzer.registry.recognizers] == before
    after = [p.compiled_regex for r, _ in before for p in getattr(r, "patterns", ())]
    assert all(one is other for one, other in zip(compiled, after, strict=True))
    analyzer.registry.add_recognizer(PatternRecognizer("ORD", patterns=[Pattern("o", "ORD", 0.5)]))
    assert found("ORD-123") == ["ORD"]
    analyzer.registry.recognizers[-1].patterns[0].score = 0.05
    assert found("ORD-123") == []
    analyzer.registry.recognizers[-1].context = ["123"]
    assert found("ORD-123") == ["ORD"]
    analyzer.registry.remove_recognizer("PatternRecognizer")
    assert found("ORD-123") == []


def test_the_first_recognizer_is_named_where_two_agree(engine: Engine) -> None:
    """Of two recognizers with equal findings, the one named is the first of the registry."""
    from presidio_analyzer import Pattern, PatternRecognizer

    names = ["Zeta", "Alpha", "Mu"]
    twins = [PatternRecognizer("T", name=n, patterns=[Pattern("t", r"\d+", 0.5)]) for n in names]
    analyzer = analyzer_with(engine, *twins, is_alone=True)
    table = PresidioDetector(analyzer).detect(
        pa.array(["1", "22"]), entities=["T"], score_min=None, language="en"
    )
    assert table["recognizer"].to_pylist() == ["Zeta", "Zeta"]


# ---------------------------------------------------------------- what is explained


def test_the_plan_is_explained(engine: Engine, stock: Any) -> None:
    """For each recognizer it is said what runs, why that is exact, and what each pattern needs."""
    explanation = PresidioDetector(stock).explain(["US_SSN", "PHONE_NUMBER", "IBAN_CODE", "PERSON"])
    paths = {line.recognizer: line.path for line in explanation.lines}
    assert paths == {
        "UsSsnRecognizer": Path.PATTERNS,
        "IbanRecognizer": Path.CANDIDATES,
        "PhoneRecognizer": Path.PHONES,
        "SpacyRecognizer": Path.NAMED,
    }
    text = str(explanation)
    assert "UsSsnRecognizer (US_SSN)" in text
    assert "9 digits" in text
    assert "all values at once" in text
    assert all(line.reason for line in explanation.lines)
    own = analyzer_with(engine, *own_recognizers())
    text = str(PresidioDetector(own).explain())
    assert "value by value, as it could look into the next value" in text
    assert "it searches in its own way" in text


def test_all_default_patterns_are_searched_at_once(stock: Any) -> None:
    """Every pattern of a default recognizer is proven to keep joined values apart."""
    engine = Engine(stock, "")
    plan = plan_for(engine, stock.get_supported_entities("en"), "en")
    searches = [search for step in plan.steps for search in step.searches]
    assert len(searches) > 40
    assert {search.needs.separator for search in searches} == {"\n"}
    assert {step.path for step in plan.steps} == {
        *[Path.PATTERNS, Path.CANDIDATES, Path.PHONES, Path.NAMED]
    }

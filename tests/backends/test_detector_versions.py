"""Where the fast path is not known to be exact, stock Presidio runs, and one warning says so."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from nbgov.backends.presidio import PresidioDetector, scan, versions
from nbgov.backends.presidio.engine import Engine, load_engine, quiet
from nbgov.backends.presidio.plan import Path, fast_part
from nbgov.backends.presidio.versions import EXAMPLES, TESTED, StockEngineWarning, untested

VALUES = ["Ada Lovelace, ada@example.com", "my phone number is 212-555-0123", "ssn 078-05-1121"]


@pytest.fixture
def analyzer() -> Any:
    """An analyzer that no detector has seen yet."""
    from presidio_analyzer import AnalyzerEngine

    return AnalyzerEngine(nlp_engine=load_engine().analyzer.nlp_engine)


@pytest.fixture(autouse=True)
def _first_of_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was looked up or warned about yet, and nothing of it stays."""
    monkeypatch.setattr(versions, "WARNED", set())
    untested.cache_clear()
    yield
    untested.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, **others: str) -> None:
    """Let packages have other versions."""
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: others.get(name.replace("-", "_"), real(name))
    )


def found(analyzer: Any) -> list[tuple[Any, ...]]:
    """What a detector finds in the values."""
    detector = PresidioDetector(analyzer)
    table = detector.detect(
        pa.array(VALUES), entities=sorted(detector.entities("en")), score_min=None, language="en"
    )
    return [tuple(row.values())[:5] for row in table.to_pylist()]


def expected(analyzer: Any) -> list[tuple[Any, ...]]:
    """What Presidio finds in the values."""
    with quiet():
        return [
            (i, r.entity_type, r.start, r.end, r.score)
            for i, value in enumerate(VALUES)
            for r in analyzer.analyze(value, "en")
        ]


def test_the_installed_versions_are_tested_ones(analyzer: Any) -> None:
    """What this project is tested with runs the fast path, without a warning."""
    assert untested() == {}
    assert found(analyzer) == expected(analyzer)
    assert Path.STOCK not in {line.path for line in PresidioDetector(analyzer).explain().lines}


@pytest.mark.parametrize("package", sorted(set(TESTED) - {"phonenumbers"}))
def test_another_version_runs_the_stock_engine(
    analyzer: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings stay those of Presidio, and the warning names the version and what to do."""
    installed(monkeypatch, **{package.replace("-", "_"): "99.1"})
    with pytest.warns(StockEngineWarning) as caught:
        assert found(analyzer) == expected(analyzer)
    [warning] = caught
    assert f"{package} 99.1 was not tested" in str(warning.message)
    assert f"pip install '{package}=={TESTED[package][-1]}'" in str(warning.message)
    assert {line.path for line in PresidioDetector(analyzer).explain().lines} == {Path.STOCK}
    with warnings.catch_warnings(action="error"):
        assert found(analyzer)


def test_another_version_of_phonenumbers_concerns_telephone_numbers_only(
    analyzer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its metadata changes every few weeks: Presidio's own recognizer is asked then."""
    installed(monkeypatch, phonenumbers="99.1")
    with pytest.warns(StockEngineWarning, match="telephone numbers.*phonenumbers 99.1"):
        assert found(analyzer) == expected(analyzer)
    paths = {line.recognizer: line.path for line in PresidioDetector(analyzer).explain().lines}
    assert paths["PhoneRecognizer"] == Path.DIGITS
    assert paths["UsSsnRecognizer"] == Path.PATTERNS


def test_a_disagreement_on_the_examples_runs_the_stock_engine(
    analyzer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever makes the fast path differ, it is not used, and the entity is named."""
    scanning = importlib.import_module("nbgov.backends.presidio.scan")
    monkeypatch.setattr(scanning, "phone_hits", lambda *_: [])
    with pytest.warns(StockEngineWarning, match="disagrees with it on PHONE_NUMBER"):
        assert found(analyzer) == expected(analyzer)
    assert {entity for _, entity, *_ in found(analyzer)} >= {"PHONE_NUMBER", "PERSON"}


def test_a_recognizer_that_breaks_on_an_example_is_no_disagreement(analyzer: Any) -> None:
    """A recognizer of a person's own may fail on made-up values, alike in both engines."""
    from presidio_analyzer import Pattern, PatternRecognizer

    class Fragile(PatternRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return {"ORD-123": True}[pattern_text]

    analyzer.registry.add_recognizer(Fragile("ORD", patterns=[Pattern("o", r"ORD-\d+", 0.5)]))
    assert found(analyzer) == expected(analyzer)
    assert "stock" not in str(PresidioDetector(analyzer).explain())


def test_an_analyzer_without_a_fast_recognizer_is_not_compared() -> None:
    """Where everything is asked as it is, there is nothing to compare."""
    from presidio_analyzer import AnalyzerEngine, LocalRecognizer, RecognizerRegistry

    class Own(LocalRecognizer):
        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[Any]:
            assert text in VALUES, "asked about something made up"
            return []

    registry = RecognizerRegistry([Own(["OWN"])])
    assert found(AnalyzerEngine(registry, load_engine().analyzer.nlp_engine)) == []


def test_the_examples_reach_every_default_recognizer(analyzer: Any) -> None:
    """Each recognizer finds something in the examples, so that a difference would show."""
    assert len(set(EXAMPLES)) == len(EXAMPLES)
    with quiet():
        plan = fast_part(Engine(analyzer, ""), "en")
        hits = scan(plan, pa.array(EXAMPLES, pa.large_string()), versions_asked())
    reached = {plan.steps[hit.recognizer].recognizer.name for group in hits for hit in group}
    assert reached == {recognizer.name for recognizer in analyzer.registry.recognizers}
    assert {hit.score for group in hits for hit in group} >= {0.05, 0.4, 0.75, 0.85, 1.0}


def versions_asked() -> Any:
    """A question without a threshold."""
    from nbgov.backends.presidio.stock import Asked

    return Asked(None)


def test_an_expression_without_end_is_tried_once(
    analyzer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regular expression that comes to no end on an example costs one time-out, and no more."""
    from presidio_analyzer import Pattern, PatternRecognizer, pattern_recognizer

    monkeypatch.setattr(pattern_recognizer, "REGEX_TIMEOUT_SECONDS", 0.05)
    tried: list[Any] = []
    real = versions.outcomes
    monkeypatch.setattr(versions, "outcomes", lambda plan: tried.append(plan) or real(plan))
    # Presidio's engine finds the same empty match of this one again and again.
    endless = Pattern("endless", r"(?=\w\K\w)", 0.5)
    analyzer.registry.add_recognizer(PatternRecognizer("ENDLESS", patterns=[endless]))
    with pytest.warns(StockEngineWarning, match="comes to no end"):
        assert found_of(analyzer, "ENDLESS", [" "]) == 0
    assert len(tried) == 1


def found_of(analyzer: Any, entity: str, values: list[str]) -> int:
    """How many findings of one entity a detector has."""
    table = PresidioDetector(analyzer).detect(
        pa.array(values), entities=[entity], score_min=None, language="en"
    )
    return table.num_rows

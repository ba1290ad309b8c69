"""The detector under hostile columns: patterns made up by chance, and values made from patterns.

Beside the corpus in ``tests/pii`` this asks whatever the proofs of the fast path might have missed:
recognizers with any regex, and values that match Presidio's own regexes in odd signs of Unicode.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
import regex
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nbgov.backends.presidio import PresidioDetector
from nbgov.backends.presidio.engine import load_engine, quiet
from nbgov.errors import BackendFailed

Found = list[tuple[str, int, int, float]]
EXAMPLES, EXAMPLES_SLOW = 30, 500
LIMIT_S = 2
"""Seconds that a made-up regex may search; one that nears this in a single value is left out."""

hard = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
harder = settings(
    max_examples=EXAMPLES_SLOW,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def analyzer_of(recognizers: Sequence[Any], nlp_engine: Any) -> Any:
    """A stock analyzer with these recognizers alone."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry

    registry = RecognizerRegistry(recognizers=list(recognizers), supported_languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=nlp_engine)


@cache
def real_engine() -> Any:
    """Presidio's engine for spaCy with a language model."""
    return load_engine().analyzer.nlp_engine


@cache
def blank_engine() -> Any:
    """Presidio's engine for spaCy with a pipeline that only cuts words, to be fast."""
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}  # type: ignore[assignment]
    return engine


def assert_equal(
    analyzer: Any,
    values: Sequence[str],
    context: Sequence[str] = (),
    score_min: float | None = None,
) -> None:
    """A column has the findings that the analyzer has in each value alone; or both fail."""
    entities = sorted(analyzer.get_supported_entities("en"))
    asked: dict[str, Any] = {"entities": entities, "score_threshold": score_min}
    column, detector = pa.array(values, pa.string()), PresidioDetector(analyzer, processes=1)
    try:
        with quiet():
            truth = [analyzer.analyze(v, "en", context=list(context), **asked) for v in values]
    except Exception:  # noqa: BLE001 - recognizers of Presidio raise anything.
        with pytest.raises(BackendFailed):
            detector.detect(
                column, entities=entities, score_min=score_min, language="en", context=context
            )
        return
    table = detector.detect(
        column, entities=entities, score_min=score_min, language="en", context=context
    )
    found: list[Found] = [[] for _ in values]
    for row in table.to_pylist():
        found[row["value"]].append((row["entity"], row["start"], row["end"], row["score"]))
    assert found == [[(r.entity_type, r.start, r.end, r.score) for r in rs] for rs in truth]


# ---------------------------------------------------------------- any regex

SIGNS = st.sampled_from("ab1-:.@ _\n\rA\u212a\u017f\u0662\u0130é\x00\x85\u2028")
ATOMS = st.sampled_from(
    [
        *["a", "b", "1", "-", "@", r"\.", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "k", "s"],
        *["[ab]", "[^a]", r"[^\n]", "[a-z]", r"[\d-]", "[^0-9]", r"\n", r"[\s\S]", "[[:alpha:]]"],
        *["^", "$", r"\b", r"\B", r"\A", r"\Z", r"\1", "(?:a|1)", "(a|)", "", r"\x00", r"\x{61}"],
        *[
            "(?i:A)",
            "(?-i:a)",
            r"\p{Lu}",
            r"\X",
            r"\R",
            r"\m",
            r"\M",
            r"\G",
            r"\K",
            "(?s:.)",
            "(?m:^)",
        ],
        *["(?:ab){e<=1}", r"\h", r"(?<!1)", r"(?<=a)", r"(?=b)", r"(?!1)", r"(?<=^)", r"(?=$)"],
    ]
)


def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Regexes around regexes."""
    group = st.sampled_from(["(?:{})", "({})", "(?={})", "(?!{})", "(?<={})", "(?<!{})", "(?>{})"])
    repeat = st.sampled_from(
        ["", "?", "*", "+", "{2}", "{1,3}", "*?", "+?", "++", "??", "{0}", "{2,}"]
    )
    grouped = st.tuples(group, inner, repeat).map(lambda p: p[0].format(p[1]) + p[2])
    return (
        st.lists(inner, min_size=1, max_size=4).map("".join)
        | grouped
        | st.tuples(inner, inner).map("|".join)
    )


REGEXES = st.recursive(ATOMS, extend, max_leaves=8)
FLAGS = st.sampled_from(
    [
        26,
        26,
        26,
        0,
        regex.M,
        regex.I,
        regex.S,
        regex.I | regex.A,
        regex.V1,
        regex.X,
        regex.W | regex.M,
    ]
)
COLUMNS = st.lists(st.text(SIGNS, max_size=8), min_size=1, max_size=8, unique=True)


def is_quick(text: str, flags: int, values: Sequence[str]) -> bool:
    """Whether the regex module takes a text, and soon finds what is in each value."""
    try:
        with warnings.catch_warnings(action="ignore"):
            regex.compile(text)  # Presidio asks this of every pattern, without its flags.
            compiled = regex.compile(text, flags)
        for value in values:
            # Some search for ever: "(?=a\Kb)" finds the same again and again.
            for _ in compiled.finditer(value, timeout=LIMIT_S / 20):
                pass
    except (regex.error, TimeoutError, ValueError, RecursionError):
        return False
    return True


def check_any_regex(parts: Sequence[tuple[str, int, float]], values: Sequence[str]) -> None:
    """Recognizers of these regexes find in a column what they find in each value."""
    from presidio_analyzer import Pattern, PatternRecognizer

    made = []
    for text, flags, score in parts:
        other = rf"{text}-?"
        assume(is_quick(text, flags, values) and is_quick(other, flags, values))
        patterns = [Pattern("one", text, score), Pattern("two", other, 0.3)]
        made.append(
            PatternRecognizer("X", patterns=patterns, context=["ab"], global_regex_flags=flags)
        )
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        # Joined values may take longer than each of them; that limit is a minute in Presidio.
        patch.setattr("presidio_analyzer.pattern_recognizer.REGEX_TIMEOUT_SECONDS", LIMIT_S)
        # The stock engine would stand in wherever the fast path is wrong about the examples.
        patch.setattr("nbgov.backends.presidio.doubt", lambda *_: "")
        assert_equal(analyzer_of(made, blank_engine()), values)


MADE_UP = st.lists(
    st.tuples(REGEXES, FLAGS, st.sampled_from([0.3, 0.5, 1.0])), min_size=1, max_size=2
)


@settings(hard, max_examples=25)
@given(parts=MADE_UP, values=COLUMNS)
def test_any_regex_finds_in_a_column_what_it_finds_in_values(
    parts: list[tuple[str, int, float]], values: list[str]
) -> None:
    """Whatever the regexes and their flags, no value sees its neighbours, and none is left out."""
    check_any_regex(parts, values)


@pytest.mark.slow
@settings(harder, max_examples=10_000)
@given(parts=MADE_UP, values=COLUMNS)
def test_many_regexes_find_in_a_column_what_they_find_in_values(
    parts: list[tuple[str, int, float]], values: list[str]
) -> None:
    """The same, for many more."""
    check_any_regex(parts, values)


# ---------------------------------------------------------------- values made from patterns


@cache
def predefined() -> list[Any]:
    """Every recognizer of Presidio that runs on patterns, of every country, as an English one."""
    from presidio_analyzer import PatternRecognizer, predefined_recognizers

    made = []
    for name in sorted(dir(predefined_recognizers)):
        kind = getattr(predefined_recognizers, name)
        if not inspect.isclass(kind) or not issubclass(kind, PatternRecognizer):
            continue
        if "supported_language" in inspect.signature(kind).parameters:
            made.append(kind(supported_language="en"))
    assert len(made) >= 40
    return made


@cache
def of_every_country() -> Any:
    """A stock analyzer with all of them."""
    return analyzer_of(predefined(), real_engine())


@cache
def matching() -> st.SearchStrategy[str]:
    """Texts that match a pattern of Presidio, with any sign of Unicode that a class allows."""
    strategies = []
    for recognizer in predefined():
        for pattern in recognizer.patterns:
            if len(pattern.regex) < 1_000:
                try:
                    with warnings.catch_warnings(action="error"):
                        compiled = re.compile(pattern.regex, recognizer.global_regex_flags & 0xFF)
                except (re.error, Warning):
                    continue
                strategies.append(st.from_regex(compiled, fullmatch=True))
    assert len(strategies) >= 80
    return st.one_of(strategies)


@st.composite
def hostile_values(draw: st.DrawFn) -> str:
    """A text from a pattern, bent a little, among words and other texts from patterns."""
    glue = st.sampled_from(["", " ", "\n", "\x00", "\r\n", ", ", "-", ":", "\u2028", "x", "7"])
    words = st.sampled_from(["ssn", "bank account", "passports", "us", "licence", "Let's", "cards"])
    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        text = draw(matching()) if draw(st.integers(0, 3)) else draw(words)
        if text and draw(st.integers(0, 2)) == 0:
            place = draw(st.integers(0, len(text) - 1))
            bent = draw(
                st.sampled_from(
                    ["", " ", "\n", "0", "\u0663", "\uff11", "\u017f", "\u212a", "é", "."]
                )
            )
            text = text[:place] + bent + text[place + draw(st.integers(0, 1)) :]
        pieces += [text, draw(glue)]
    return "".join(pieces)[:300].encode("utf-8", "ignore").decode()


HOSTILE = st.lists(hostile_values(), min_size=1, max_size=6, unique=True)
CONTEXTS = st.lists(st.sampled_from(["ssn", "Bank_Account", "x", "phone"]), max_size=1)
THRESHOLDS = st.sampled_from([None, 0.0, 0.35, 0.4, 0.85, 1.0])


@hard
@given(values=HOSTILE, context=CONTEXTS, score_min=THRESHOLDS)
def test_values_from_patterns_are_read_as_presidio_reads_them(
    values: list[str], context: list[str], score_min: float | None
) -> None:
    """All recognizers on patterns find in hostile values what the stock engine finds."""
    assert_equal(of_every_country(), values, context, score_min)


@pytest.mark.slow
@harder
@given(values=HOSTILE, context=CONTEXTS, score_min=THRESHOLDS)
def test_many_values_from_patterns_are_read_as_presidio_reads_them(
    values: list[str], context: list[str], score_min: float | None
) -> None:
    """The same, for many more."""
    assert_equal(of_every_country(), values, context, score_min)


@settings(hard, max_examples=15)
@given(values=HOSTILE, context=CONTEXTS)
def test_a_stock_analyzer_is_followed_in_hostile_values(
    values: list[str], context: list[str]
) -> None:
    """Presidio's default recognizers, its language model included, find the same in any value."""
    assert_equal(load_engine().analyzer, values, context)

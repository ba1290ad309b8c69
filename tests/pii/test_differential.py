"""Findings are those of stock Presidio in type, span, score and order: no difference anywhere.

``make test-pii`` compares more than 50,000 different values, which takes some minutes once: what
stock Presidio finds is kept in pytest's cache. The everyday suite compares a sample.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine

from nbgov.backends.presidio import PresidioDetector
from nbgov.errors import BackendFailed
from tests.pii.adversary import BLOCKS, ODD
from tests.pii.corpus import corpus
from tests.pii.pieces import TEMPLATES, Pieces
from tests.pii.questions import COUNTRIES, DEFAULT, OTHERS, Question, country_recognizers
from tests.pii.reference import (
    Found,
    Part,
    answer,
    answer_all,
    ask,
    by_value,
    differences,
    report,
    to_found,
)

EVERYDAY_SHARE = 0.021
DISTINCT_MIN = 50_000
pytestmark = pytest.mark.timeout(0)


@functools.cache
def analyzer_of(question: Question) -> AnalyzerEngine:
    """The analyzer of a question, for stock Presidio and nbgov alike."""
    return question.build()


@functools.cache
def detector_of(question: Question) -> PresidioDetector:
    """nbgov around that analyzer; it remembers no value."""
    return PresidioDetector(analyzer_of(question), reads="every", cached_values_max=0)


def detect(question: Question, values: Sequence[str]) -> list[Found]:
    """What nbgov finds in each value."""
    table = detector_of(question).detect(
        pa.array(values, pa.large_string()),
        entities=question.asked(analyzer_of(question)),
        score_min=question.score_min,
        language="en",
        context=question.context,
    )
    return by_value(table, len(values))


def compare(question: Question, values: Sequence[str], truth: Sequence[Found | None]) -> str:
    """What differs, or nothing; where Presidio raises, nbgov has to."""
    sound = [value for value, right in zip(values, truth, strict=True) if right is not None]
    rights = [right for right in truth if right is not None]
    found = detect(question, sound)
    for value, right in zip(values, truth, strict=True):
        if right is None:
            with pytest.raises(BackendFailed):
                detect(question, [value])
    wrong = differences(sound, rights, found)
    if not wrong:
        return ""
    return report(sound, wrong, analyzer_of(question), question, functools.partial(tried, question))


def tried(question: Question, value: str) -> Found | None:
    """What nbgov finds in one value, or ``None`` where it fails."""
    try:
        return detect(question, [value])[0]
    except BackendFailed:
        return None


# ---------------------------------------------------------------- every day


@pytest.fixture(scope="module")
def sample() -> list[str]:
    """The beginning of every kind of value."""
    made = corpus(country_recognizers(), share=EVERYDAY_SHARE)
    return list(dict.fromkeys([*itertools.chain(*made.values()), *TEMPLATES["hostile"]]))


@pytest.mark.parametrize("question", [DEFAULT, COUNTRIES], ids=str)
def test_a_sample_is_read_as_presidio_reads_it(question: Question, sample: list[str]) -> None:
    """In about 1,500 values of every kind, findings are Presidio's own, and so is their order."""
    [truth] = answer(sample, [question])
    assert compare(question, sample, truth) == ""
    assert sum(map(len, filter(None, truth))) > len(sample)


@pytest.mark.parametrize("question", OTHERS, ids=str)
def test_every_question_is_answered_as_presidio_answers_it(
    question: Question, sample: list[str]
) -> None:
    """Subsets, columns' names, thresholds and recognizers of a user's own change nothing."""
    values = sample[:: len(OTHERS) // 2]
    [truth] = answer(values, [question])
    assert compare(question, values, truth) == ""


def test_values_do_not_see_their_neighbours(sample: list[str]) -> None:
    """Whatever stands before and behind a value, it has the findings that it has alone."""
    shuffled = sample.copy()
    random.Random(4).shuffle(shuffled)
    there = dict(zip(sample, detect(COUNTRIES, sample), strict=True))
    elsewhere = dict(zip(shuffled, detect(COUNTRIES, shuffled), strict=True))
    assert elsewhere == there


def test_the_corpus_is_the_same_in_every_run() -> None:
    """Equal seeds make equal values, all of them different, and other seeds make others."""
    recognizers = country_recognizers()
    first, again, other = (corpus(recognizers, share=0.005, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    values = [value for made in first.values() for value in made]
    assert len(set(values)) == len(values)


# ---------------------------------------------------------------- columns by chance


def hostile_texts() -> st.SearchStrategy[str]:
    """Texts of pieces that recognizers care about, and of characters that they trip over."""
    letters = st.sampled_from(
        [chr(point) for low, high in BLOCKS for point in (low, high, (low + high) // 2)]
    )
    pieces = Pieces("hypothesis")
    values = [pieces.make(kind) for kind in sorted(pieces.kinds) for _ in range(6)]
    words = [word for r in country_recognizers() for word in (getattr(r, "context", None) or ())]
    atoms = st.one_of(
        st.sampled_from(values),
        st.sampled_from(sorted(set(words))),
        st.sampled_from(TEMPLATES["hostile"]),
        st.sampled_from([*ODD, " ", ":", ".", "-", ", ", "@", "/", "x", "1"]),
        st.text(st.one_of(st.sampled_from("0123456789"), letters), max_size=12),
    )
    return st.lists(atoms, max_size=6).map("".join)


COLUMNS = st.lists(hostile_texts(), min_size=1, max_size=8, unique=True)
ASKED = st.sampled_from([DEFAULT, COUNTRIES, *OTHERS])


def check_column(question: Question, values: list[str]) -> None:
    """The findings in a column made by chance are Presidio's."""
    truth = [ask(analyzer_of(question), question, value) for value in values]
    assert compare(question, values, truth) == ""


@settings(max_examples=25)
@given(question=ASKED, values=COLUMNS)
def test_a_column_by_chance_is_read_as_presidio_reads_it(
    question: Question, values: list[str]
) -> None:
    """No column that Hypothesis thinks of has other findings than Presidio's."""
    check_column(question, values)


# ---------------------------------------------------------------- make test-pii


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    """Where what Presidio finds is kept between runs."""
    return Path(request.config.cache.mkdir("pii"))


@pytest.fixture(scope="module")
def answered(folder: Path) -> list[Part]:
    """The whole corpus, with what stock Presidio finds in it."""
    return answer_all(folder)


@pytest.mark.slow
def test_the_corpus_is_large(answered: list[Part]) -> None:
    """It holds at least 50,000 different values."""
    assert (
        len({v for part in answered if DEFAULT in part.questions for v in part.values})
        >= DISTINCT_MIN
    )


@pytest.mark.slow
@pytest.mark.parametrize("question", [DEFAULT, COUNTRIES, *OTHERS], ids=str)
def test_the_corpus_is_read_as_presidio_reads_it(
    question: Question, answered: list[Part], folder: Path
) -> None:
    """In the whole corpus, no finding differs in type, span, score or order."""
    asked = [part for part in answered if question in part.questions]
    told = [compare(question, part.values, part.truth(folder, question)) for part in asked]
    assert "\n".join(filter(None, told)) == ""


@pytest.mark.slow
def test_the_corpus_holds_every_entity(answered: list[Part], folder: Path) -> None:
    """Every recognizer finds something in it, or a difference could hide."""
    found = {
        entity
        for part in answered
        for question in {DEFAULT, COUNTRIES} & set(part.questions)
        for findings in part.truth(folder, question)
        for entity, *_ in findings or ()
    }
    wanted = {e for question in (DEFAULT, COUNTRIES) for e in question.asked(analyzer_of(question))}
    assert wanted <= found


def one_by_one(analyzer: AnalyzerEngine, values: Sequence[str]) -> list[Found]:
    """A call for each value."""
    return [to_found(analyzer.analyze(value, "en")) for value in values]


def in_batches(analyzer: AnalyzerEngine, values: Sequence[str], **size: Any) -> list[Found]:
    """Presidio's way with many values."""
    engine = BatchAnalyzerEngine(analyzer)
    return [to_found(r) for r in engine.analyze_iterator(values, "en", **size)]


WAYS: dict[str, Callable[[AnalyzerEngine, Sequence[str]], list[Found]]] = {
    "AnalyzerEngine": one_by_one,
    "BatchAnalyzerEngine": in_batches,
    "BatchAnalyzerEngine 256": functools.partial(in_batches, batch_size=256),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_of_presidio_find_the_same(way: str, answered: list[Part], folder: Path) -> None:
    """What is kept is what each of Presidio's engines finds, whatever the size of its batches."""
    for part in answered:
        if DEFAULT in part.questions:
            truth = part.truth(folder, DEFAULT)[::40]
            assert WAYS[way](analyzer_of(DEFAULT), part.values[::40]) == truth


@pytest.mark.slow
@settings(max_examples=600)
@given(question=ASKED, values=COLUMNS)
def test_many_columns_by_chance_are_read_as_presidio_reads_them(
    question: Question, values: list[str]
) -> None:
    """No column that Hypothesis thinks of in minutes has other findings than Presidio's."""
    check_column(question, values)

"""Recall and precision: nbgov's are stock Presidio's, and the page that tells of them is up to date."""

from __future__ import annotations

import pytest

from benchmarks.detect import stock_analyzer
from benchmarks.labelled import ENTITIES, sentences
from benchmarks.quality import PAGE, Count, count, detected, splice, tables
from tests.pii.reference import to_found

SENTENCES_MIN = 1_500


@pytest.fixture(scope="module")
def analyzer():
    """Stock Presidio."""
    return stock_analyzer()


def found_by_stock(analyzer, texts):
    """What stock Presidio finds, as plain values."""
    return [list(to_found(analyzer.analyze(text, "en"))) for text in texts]


def test_the_labels_are_right():
    """Every sentence holds its values where it says, and all kinds of values occur."""
    told = sentences()
    assert len(told) >= SENTENCES_MIN
    assert len({sentence.text for sentence in told}) == len(told)
    assert {gold.kind for sentence in told for gold in sentence.golds} == set(ENTITIES)
    for sentence in told:
        for gold in sentence.golds:
            value = sentence.text[gold.start : gold.end]
            assert value.strip() == value != ""
    assert sum(not sentence.golds for sentence in told) >= 300


def test_recall_and_precision_are_presidio_s(analyzer):
    """On labelled sentences, nbgov finds what stock Presidio finds, so both have equal figures."""
    told = sentences(per_template=3)
    texts = [sentence.text for sentence in told]
    ours, stock = detected(analyzer, texts), found_by_stock(analyzer, texts)
    assert ours == stock
    assert count(told, ours, lambda gold: gold.entity) == count(
        told, stock, lambda gold: gold.entity
    )


@pytest.mark.slow
def test_the_page_tells_what_is_measured(analyzer):
    """The tables in the documentation are those of stock Presidio on all sentences, to the digit."""
    texts = [sentence.text for sentence in sentences()]
    assert detected(analyzer, texts) == found_by_stock(analyzer, texts)
    page = PAGE.read_text(encoding="utf-8")
    assert splice(page, tables()) == page


def test_counting():
    """Overlaps count once for a value, other entities do not, and a whole cover needs every character."""
    [told] = [s for s in sentences(per_template=1) if s.text.startswith("Contact: <")]
    [gold] = told.golds
    findings = [
        ("EMAIL_ADDRESS", gold.start, gold.start + 2, 0.4),
        ("EMAIL_ADDRESS", gold.start + 3, gold.end, 1.0),
        ("URL", gold.start + 2, gold.end, 0.5),
        ("PERSON", 0, 4, 0.85),
    ]
    counts = count([told], [findings], lambda gold: gold.entity)
    mail, person = counts["EMAIL_ADDRESS"], counts["PERSON"]
    assert [mail.recall(t) for t in (0.0, 0.35, 0.5)] == [1, 1, 1]
    assert [mail.coverage(t) for t in (0.0, 0.35, 0.5)] == [1, 1, 0]
    assert [mail.precision(t) for t in (0.0, 0.5)] == [1, 1]
    assert (counts["URL"].precision(0.0), person.precision(0.35), Count().precision(0.0)) == (
        0,
        0,
        None,
    )
    assert mail.recommended() == 0.5

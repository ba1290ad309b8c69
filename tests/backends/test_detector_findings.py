"""The detector's findings are those of AnalyzerEngine.analyze: entity, span, score and order."""

from __future__ import annotations

import copy
import importlib
import inspect
import random
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.backends.presidio import PresidioDetector, looks_like_text
from nbgov.backends.presidio.engine import Engine, load_engine
from nbgov.backends.presidio.hits import Hit
from nbgov.backends.presidio.merge import merge
from nbgov.backends.presidio.scan import is_domain_valid
from nbgov.errors import BackendFailed
from tests.detections import Found, analyzer_with, detected, expected, made_values


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Presidio and its language model, loaded once."""
    return load_engine()


@pytest.fixture(scope="session")
def stock(engine: Engine) -> Any:
    """A stock analyzer with Presidio's default recognizers."""
    return analyzer_with(engine)


# ---------------------------------------------------------------- the default recognizers


def test_findings_are_those_of_presidio(engine: Engine, stock: Any) -> None:
    """All default entities of all values are those of AnalyzerEngine.analyze."""
    values = made_values(2, 250, 250)
    found = expected(stock, values)
    assert detected(None, values, stock.get_supported_entities("en")) == found
    assert {entity for group in found for entity, *_ in group} >= {
        *["PERSON", "LOCATION", "DATE_TIME", "URL", "EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN"],
        *["CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "MAC_ADDRESS", "UUID", "CRYPTO", "NRP"][:-1],
    }
    assert engine


@pytest.mark.parametrize(
    "asked",
    [
        {"entities": ["PHONE_NUMBER", "PERSON", "US_SSN"]},
        {"entities": ["DATE_TIME"]},
        {"entities": ["US_BANK_NUMBER", "US_PASSPORT", "US_DRIVER_LICENSE"], "context": ["bank"]},
        {"context": ["customer_phone", "SSN"]},
        {"score_threshold": 0.35},
        {"score_threshold": 0.0, "context": ["account"]},
    ],
    ids=str,
)
def test_every_question_is_answered_as_presidio_answers_it(
    stock: Any, asked: dict[str, Any]
) -> None:
    """Entities, words beside the values and the threshold count as they do in Presidio."""
    values = made_values(5, 40, 60)
    found = detected(
        stock, values, asked.get("entities"), asked.get("score_threshold"), asked.get("context", ())
    )
    assert found == expected(stock, values, **asked)
    assert any(found)


def test_what_is_found_does_not_depend_on_neighbours(stock: Any) -> None:
    """A value has the same findings alone, in company, and in any order."""
    values = made_values(7, 20, 20)
    together = detected(stock, values)
    assert detected(stock, values[::-1]) == together[::-1]
    assert [detected(stock, [value])[0] for value in values] == together


HOSTILE = [
    *["a@b.com", "212", "-555-0123", "ssn", "078", "-05-1120", "4111 1111", " 1111 1111", "."],
    *["com", "http://", "DE89 3704 0044", "0532 0130 00", "+44", "20 7946 0958", "\n", "\r", "\0"],
    *[
        "card",
        "phone number",
        "'",
        '"',
        "10.0",
        ".0.1",
        "::",
        "1",
        "12/",
        "5/2020",
        "\u0301",
        "\u200d",
    ],
    *["us", "account", "-", "@", "ada@", "x.com", "passport\n", "\n123456789", "A1234567", "é"],
]


@settings(max_examples=25)
@given(st.lists(st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join), max_size=12))
def test_no_neighbour_reaches_into_a_value(stock: Any, values: list[str]) -> None:
    """Halves of a finding in two values are no finding, and no word of a neighbour is context."""
    distinct = list(dict.fromkeys(values))
    entities = sorted(set(stock.get_supported_entities("en")) - {"PERSON", "LOCATION", "NRP"})
    assert detected(stock, distinct, entities) == expected(stock, distinct, entities=entities)


def test_named_entities_are_looked_for_where_they_are_wanted(engine: Engine, stock: Any) -> None:
    """With reads="text", only values that read as text are given to the language model."""
    values = [*made_values(11, 40, 60), "+91 98709 45113"]
    entities = sorted(stock.get_supported_entities("en"))
    patterns = copy.copy(stock)
    patterns.registry = copy.copy(stock.registry)
    patterns.registry.recognizers = [
        r for r in stock.registry.recognizers if r.name != "SpacyRecognizer"
    ]
    readable = looks_like_text(pa.array(values)).to_pylist()
    table = PresidioDetector(stock, reads="text").detect(
        pa.array(values), entities=entities, score_min=None, language="en"
    )
    found: list[Found] = [[] for _ in values]
    for row in table.to_pylist():
        found[row["value"]].append((row["entity"], row["start"], row["end"], row["score"]))
    for value, is_text, group in zip(values, readable, found, strict=True):
        assert [group] == expected(stock if is_text else patterns, [value])
    assert engine


# ---------------------------------------------------------------- every predefined recognizer


def sampled(tree: Iterable[tuple[Any, Any]], chance: random.Random) -> str:
    """A text that a parsed regex may match; what it looks at beside a match is left out."""
    return "".join(sampled_node(str(operation), argument, chance) for operation, argument in tree)


def sampled_node(operation: str, argument: Any, chance: random.Random) -> str:
    """The same for one node."""
    match operation:
        case "LITERAL":
            text = chr(argument)
        case "IN" if str(argument[0][0]) != "NEGATE":
            text = sampled_member(*chance.choice(argument), chance)
        case "NOT_LITERAL" | "ANY" | "IN":
            text = chance.choice("x7")
        case "BRANCH":
            text = sampled(chance.choice(argument[1]), chance)
        case "SUBPATTERN":
            text = sampled(argument[-1], chance)
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, body = argument
            count = chance.randint(least, min(int(most), least + 2))
            text = "".join(sampled(body, chance) for _ in range(count))
        case _:
            text = ""
    return text


def sampled_member(kind: Any, member: Any, chance: random.Random) -> str:
    """A character of one member of a set."""
    match str(kind):
        case "RANGE":
            return chr(chance.randint(*member))
        case "CATEGORY":
            return chance.choice(
                {"CATEGORY_DIGIT": "07", "CATEGORY_SPACE": " \n"}.get(str(member), "aZ3")
            )
        case _:
            return chr(member)


def predefined() -> list[Any]:
    """One of each of Presidio's recognizers that search on their own, for English."""
    import presidio_analyzer.predefined_recognizers as package
    from presidio_analyzer import LocalRecognizer

    found = []
    for name, kind in sorted(vars(package).items()):
        if not inspect.isclass(kind) or not issubclass(kind, LocalRecognizer):
            continue
        try:
            recognizer = kind(supported_language="en")
        except (TypeError, ImportError):
            continue
        if ("nlp" not in kind.__module__ and hasattr(recognizer, "patterns")) or "Phone" in name:
            found.append(recognizer)
    return found


def samples(recognizers: Iterable[Any], chance: random.Random) -> list[str]:
    """Texts that the patterns of recognizers may match, some of them among context words."""
    parse = importlib.import_module("re._parser").parse
    made = set()
    for recognizer in recognizers:
        for pattern in getattr(recognizer, "patterns", ()):
            tree = parse(pattern.regex.replace("(?i)", ""))
            for before in ("", chance.choice(recognizer.context or [""]) + " ", "é"):
                made.add(before + sampled(tree, chance))
    return sorted(made)


def test_every_predefined_recognizer_finds_what_it_finds_in_presidio(engine: Engine) -> None:
    """Recognizers of all countries have equal findings on texts made of their own patterns."""
    recognizers = predefined()
    assert len(recognizers) > 90
    analyzer = analyzer_with(engine, *recognizers, is_alone=True)
    chance = random.Random(13)
    values, found = [], []
    for value in [*samples(recognizers, chance), *made_values(17, 30, 60)]:
        try:
            found += expected(analyzer, [value])
            values.append(value)
        except Exception:  # noqa: BLE001 - what breaks Presidio breaks the detector, see below.
            with pytest.raises(BackendFailed):
                detected(analyzer, [value])
    chance.shuffle(order := list(range(len(values))))
    assert detected(analyzer, [values[i] for i in order]) == [found[i] for i in order]
    entities = {entity for group in found for entity, *_ in group}
    assert len(entities) > 70, len(entities)


# ---------------------------------------------------------------- merging

HITS = st.builds(
    Hit,
    st.just(0),
    st.integers(0, 2),
    st.sampled_from(["A", "B"]),
    st.integers(0, 4),
    st.integers(4, 8),
    st.sampled_from([0, 0.05, 0.4, 0.75, 1.0]),
)


@settings(max_examples=400)
@given(st.lists(HITS, max_size=8), st.sampled_from([0, 0.4]))
def test_hits_are_merged_as_presidio_merges_them(hits: list[Hit], score_min: float) -> None:
    """Thresholds, duplicates and the order are those of the analyzer's last steps."""
    from presidio_analyzer import EntityRecognizer, RecognizerResult

    results = [RecognizerResult(*hit[2:]) for hit in hits if hit.score >= score_min]
    kept = EntityRecognizer.remove_duplicates(results)
    found = merge(hits, lambda _: score_min)
    assert [hit[2:] for hit in found] == [(r.entity_type, r.start, r.end, r.score) for r in kept]


@given(
    st.text("abA1.-_+'!?/#@:&=é\uff0e[]", max_size=12),
    st.sampled_from(["example.com", "a.zz", "x.co.uk", "1.2.3.4", "é.com", "com", "a/b.com"]),
)
def test_an_address_is_judged_by_its_domain_only_where_that_is_the_same(
    local: str, domain: str
) -> None:
    """A remembered verdict on a domain is the verdict on the address."""
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    load_engine()
    validate = EmailRecognizer().validate_result
    known: dict[str, Any] = {}
    for address in (f"x@{domain}", f"{local}@{domain}", f"{local}@{domain}"):
        assert is_domain_valid(validate, known, address) == validate(address)

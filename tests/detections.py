"""What tests of the detector share: Presidio's own answers, the detector's, and made-up values."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from nbgov.backends.presidio import PresidioDetector
from nbgov.backends.presidio.engine import Engine, quiet

Found = list[tuple[str, int, int, float]]


def analyzer_with(engine: Engine, *recognizers: Any, is_alone: bool = False, **asked: Any) -> Any:
    """A stock analyzer of a person's own, with further recognizers or with these alone."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry

    nlp_engine = engine.analyzer.nlp_engine
    if is_alone:
        registry = RecognizerRegistry(list(recognizers), supported_languages=["en"])
        return AnalyzerEngine(registry, nlp_engine, **asked)
    analyzer = AnalyzerEngine(nlp_engine=nlp_engine, **asked)
    for recognizer in recognizers:
        analyzer.registry.add_recognizer(recognizer)
    return analyzer


def expected(analyzer: Any, values: Sequence[str], **asked: Any) -> list[Found]:
    """What an analyzer finds in each value alone."""
    found = []
    for value in values:
        with quiet():
            results = analyzer.analyze(value, "en", **asked)
        found.append([(r.entity_type, r.start, r.end, r.score) for r in results])
    return found


def detected(
    analyzer: Any,
    values: Sequence[str],
    entities: Iterable[str] | None = None,
    score_min: float | None = None,
    context: Sequence[str] = (),
) -> list[Found]:
    """What a detector finds in all values at once."""
    detector = PresidioDetector(analyzer, processes=1)
    table = detector.detect(
        pa.array(values, pa.string()),
        entities=sorted(detector.entities("en")) if entities is None else list(entities),
        score_min=score_min,
        language="en",
        context=context,
    )
    found: list[Found] = [[] for _ in values]
    for row in table.to_pylist():
        found[row["value"]].append((row["entity"], row["start"], row["end"], row["score"]))
    return found


# ---------------------------------------------------------------- values of every kind

NAMES = ["Ada Lovelace", "GRACE HOPPER", "Jean-Luc Picard", "Siobhán O'Brien", "Nguyen", "王伟"]
PLACES = ["London", "New York, NY", "12 Main Street, Springfield", "São Paulo", "the Alps"]
SENTENCES = [
    "{name} called from {place} about order {number}.",
    "Send it to {name}, {mail}, by {date}; the card is {card}.",
    "My phone number is {phone}. - {name}",
    "social security: {ssn}",
    "Paid from bank account {number} on {date}",
    "Customer meets the public in {place}: passport {number}",
    "see https://{host}/x or mail {mail}",
    "Let's travel, said {name}; license {code}",
    "IBAN {iban} of {name} ({phone})",
    "{mail}\n{phone}\r\n{card}\x00{ssn}",
    "{exotic}{number}{exotic}",
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
        "mail": f"u{digits(3)}@{chance.choice(['mail.example.com', 'x.co.uk', 'y.zz', '王.com'])}",
        "phone": phone.format(digits(4)),
        "card": chance.choice(["4111 1111 1111 1111", f"5500-{digits(4)}-{digits(4)}-{digits(4)}"]),
        "ssn": f"{digits(3)}-{digits(2)}-{digits(4)}",
        "iban": chance.choice(["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19 2 days"]),
        "date": chance.choice(["2013-01-02", "3/4/13", "2 May 2013", "next week"]),
        "host": f"www.{chance.choice('abc')}{digits(2)}.com",
        "ip": chance.choice([f"10.0.0.{digits(2)}", "fe80::1", f"10.1.1.1/{digits(1)}", "::"]),
        "mac": f"00:1A:2B:3C:4D:{digits(2)}",
        "uuid": f"123e4567-e89b-42d3-a456-4266141740{digits(2)}",
        "code": f"{chance.choice('ABN')}{digits(chance.randrange(4, 9))}",
        "wallet": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "exotic": chance.choice(
            ["\uff12\uff11\uff12 555 0123", "\u0662" * 9, "\u212a1234567", "é"]
        ),
    }


def made_values(seed: int, sentences: int, codes: int) -> list[str]:
    """Values that read as text and values that do not, in no order."""
    chance = random.Random(seed)
    kinds = sorted(pieces(chance))
    made = {chance.choice(SENTENCES).format(**pieces(chance)) for _ in range(sentences)}
    made |= {pieces(chance)[chance.choice(kinds)] for _ in range(codes)}
    made |= {"", " ", "\n", "x" * 300, "9" * 60}
    values = sorted(made)
    chance.shuffle(values)
    return values

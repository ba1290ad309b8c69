"""PII in text: values per CPU second beside stock Presidio, on the same language model.

Presidio reads a value again wherever it stands; nbgov reads distinct values once. So every column
comes twice: all different, and with twenty rows for each value, unevenly (Zipf). Presidio's rate
does not depend on that, and is taken once. Every run reads values of its own, as a language model
is faster on words that it has seen.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.ground import SEED, Ground
from benchmarks.measure import RATE, Contender, Row, Suite

if TYPE_CHECKING:
    import pyarrow as pa
    from faker import Faker
    from presidio_analyzer import AnalyzerEngine

ROUNDS = 2
VALUES = 256
ROWS_PER_VALUE = 20
SAMPLE_EVERY = 4  # AnalyzerEngine takes one value at a time, so a sample shows its rate.
BATCH_VALUES = 256
COLUMNS = ("names", "emails", "phones", "notes", "numbers")
BY_MODEL = {"LOCATION", "PERSON"}
ASKED = {"all": "every default entity", "pattern": "default entities found by pattern"}
PEERS = {"analyzer": "AnalyzerEngine", "batch256": "BatchAnalyzerEngine(256)"}

Texts = list[str]
T = TypeVar("T")


def rows() -> Iterator[Row]:
    """Every column, question, shape and peer."""
    for column in COLUMNS:
        for asked, meaning in ASKED.items():
            for shape, told in (("unique", "all different"), ("zipf", "20 rows per value")):
                for peer in PEERS:
                    yield Row(
                        f"detect.{column}.{asked}.{shape}.{peer}",
                        f"{column}, {told}: {meaning}",
                        f"{column}.{asked}.{shape}",
                        f"{column}.{asked}.{peer}",
                        RATE,
                    )


def prepare(_: Ground) -> Mapping[str, Contender]:
    """Our detector and Presidio's two engines on every column."""
    from faker import Faker

    from nbgov.core.policy.document import ContentTerms

    terms = ContentTerms()
    questions = {
        "all": list(terms.entities),
        "pattern": [entity for entity in terms.entities if entity not in BY_MODEL],
    }
    faker = Faker("en_US")
    faker.seed_instance(SEED)
    analyzer = stock_analyzer()
    contenders: dict[str, Contender] = {}

    def fresh(column: str) -> list[Texts]:
        return [values(column, faker) for _ in range(ROUNDS)]

    for column, (asked, entities) in itertools.product(COLUMNS, questions.items()):
        key = f"{column}.{asked}"
        contenders |= {
            f"{key}.unique": ours(fresh(column), entities, terms.score_min),
            f"{key}.zipf": ours_masking(fresh(column), entities, terms.score_min),
            f"{key}.analyzer": one_by_one(analyzer, fresh(column), entities),
            f"{key}.batch256": in_batches(analyzer, fresh(column), entities),
        }
    return contenders


def values(column: str, faker: Faker) -> Texts:
    """Distinct values of a column."""
    make: dict[str, Callable[[], str]] = {
        "names": faker.name,
        "emails": faker.email,
        "phones": faker.phone_number,
        "notes": lambda: note(faker),
        "numbers": lambda: str(faker.random_int(0, 999_999)),
    }
    found: dict[str, None] = {}
    while len(found) < VALUES:
        found[make[column]()] = None
    return list(found)


def note(faker: Faker) -> str:
    """Some sentences; half of the notes hold a name, an address or a number."""
    asides = [
        f"Ask {faker.name()} for the key.",
        f"Write to {faker.email()}.",
        f"The number is {faker.phone_number()}.",
        "",
        "",
        "",
    ]
    return f"{faker.paragraph(5)} {faker.random_element(asides)}".strip()


def in_turn(work: Callable[[T], object], inputs: Iterable[T]) -> Callable[[], object]:
    """A run that works on the next input each time."""
    turns = itertools.cycle(list(inputs))
    return lambda: work(next(turns))


def ours(sets: Sequence[Texts], entities: Sequence[str], score_min: float) -> Contender:
    """nbgov's detector, which has seen none of the values before."""
    import pyarrow as pa

    from nbgov.backends.presidio import PresidioDetector

    def detect(array: pa.Array) -> object:
        return PresidioDetector().detect(
            array, entities=entities, score_min=score_min, language="en"
        )

    return Contender("PresidioDetector", in_turn(detect, map(pa.array, sets)), VALUES)


def ours_masking(sets: Sequence[Texts], entities: Sequence[str], score_min: float) -> Contender:
    """nbgov's content masking, replacement included, of values that repeat."""
    from nbgov.backends.presidio import PresidioDetector
    from nbgov.core.masking import MaskingPlan, mask
    from nbgov.model import ContentMask

    plan = MaskingPlan(ContentMask(tuple(entities), score_min), (0,), {})

    def scan(batch: pa.RecordBatch) -> object:
        return mask(batch, plan, PresidioDetector().detect)

    return Contender("nbgov mask", in_turn(scan, map(repeated, sets)), VALUES * ROWS_PER_VALUE)


def repeated(texts: Texts) -> pa.RecordBatch:
    """Each text at least once, the first ones far more often than the last."""
    import pyarrow as pa

    weights = [1 / rank for rank in range(1, len(texts) + 1)]
    extra = (ROWS_PER_VALUE - 1) * len(texts)
    return pa.record_batch(
        {"text": [*texts, *random.Random(SEED).choices(texts, weights, k=extra)]}
    )


def one_by_one(
    analyzer: AnalyzerEngine, sets: Sequence[Texts], entities: Sequence[str]
) -> Contender:
    """Presidio, a call for each value."""

    def analyze(texts: Texts) -> object:
        return [analyzer.analyze(text, "en", entities=[*entities]) for text in texts]

    samples = [texts[::SAMPLE_EVERY] for texts in sets]
    return Contender(PEERS["analyzer"], in_turn(analyze, samples), VALUES // SAMPLE_EVERY)


def in_batches(
    analyzer: AnalyzerEngine, sets: Sequence[Texts], entities: Sequence[str]
) -> Contender:
    """Presidio, with the batch size that serves it best."""
    from presidio_analyzer import BatchAnalyzerEngine

    engine: Any = BatchAnalyzerEngine(analyzer)

    def analyze(texts: Texts) -> object:
        return engine.analyze_iterator(texts, "en", batch_size=BATCH_VALUES, entities=[*entities])

    return Contender(PEERS["batch256"], in_turn(analyze, sets), VALUES)


def stock_analyzer() -> AnalyzerEngine:
    """Presidio as its documentation sets it up, on the language model that nbgov found.

    nbgov's own engine is loaded first. It keeps Presidio off the network in this process, where a
    list of domain suffixes would be fetched, and that is the same for both.
    """
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    from nbgov.backends.presidio.engine import load_engine

    model = load_engine().model
    language = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
    language.nlp = {"en": spacy.load(model)}  # type: ignore[assignment]
    return AnalyzerEngine(nlp_engine=language, supported_languages=["en"])


SUITE = Suite(tuple(rows()), prepare, rounds=ROUNDS)

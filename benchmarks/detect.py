"""PII in text: values per CPU second beside stock Presidio, on the same analyzer.

Presidio reads a value again wherever it stands; nbgov reads distinct values once. So every column
comes twice: all different, and with twenty rows for each value, unevenly (Zipf). Presidio's rate
does not depend on that, and is taken once. Every run reads values of its own, as a language model
is faster on words that it has seen. Peers get fewer values; rates do not depend on that either.

Both sides look for the same entities with the same ``AnalyzerEngine`` in one process: nbgov's
``detect`` returns what the peer returns, finding by finding (``make test-pii``).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.ground import SEED, Ground
from benchmarks.measure import RATE, Contender, Row, Suite

if TYPE_CHECKING:
    from faker import Faker
    from presidio_analyzer import AnalyzerEngine

    from nbgov.backends.presidio import PresidioDetector

ROUNDS = 3
SETS = 4  # Sets of values per contender; more rounds than that read a set again.
ROWS_PER_VALUE = 20
BATCH_VALUES = 256
COLUMNS = ("names", "emails", "phones", "cards", "ids", "notes", "numbers")
BY_MODEL = {"DATE_TIME", "LOCATION", "NRP", "PERSON"}
ASKED = {"all": "every default entity", "pattern": "default entities found by pattern alone"}
PEERS = {
    "analyzer": "AnalyzerEngine",
    "batch1": "BatchAnalyzerEngine",
    "batch256": "BatchAnalyzerEngine(256)",
    "structured": "presidio-structured",
}
VALUES = {"ours": 2_000, "analyzer": 60, "batch1": 80, "batch256": 256, "structured": 60}
NOTES = {"ours": 500, "analyzer": 30, "batch1": 40, "batch256": 128, "structured": 30}
NOTE_CHARS_MIN, NOTE_CHARS_MAX = 50, 500

Texts = list[str]
T = TypeVar("T")


def rows() -> Iterator[Row]:
    """Every column, question, shape and peer; presidio-structured always looks for everything."""
    shapes = {"unique": "all different", "zipf": "20 rows per value"}
    for column, asked, shape, peer in itertools.product(COLUMNS, ASKED, shapes, PEERS):
        if (asked, peer) != ("pattern", "structured"):
            yield Row(
                f"detect.{column}.{asked}.{shape}.{peer}",
                f"{column}, {shapes[shape]}: {ASKED[asked]}",
                f"{column}.{asked}.{shape}",
                f"{column}.{asked}.{peer}",
                RATE,
            )


def prepare(_: Ground) -> Mapping[str, Contender]:
    """Our detector and Presidio's engines on every column."""
    from faker import Faker

    analyzer = stock_analyzer()
    detector = warm(analyzer)
    every = sorted(analyzer.get_supported_entities("en"))
    questions = {"all": every, "pattern": [e for e in every if e not in BY_MODEL]}
    faker = Faker("en_US")
    faker.seed_instance(SEED)
    contenders: dict[str, Contender] = {}
    for column, (asked, entities) in itertools.product(COLUMNS, questions.items()):
        counts = NOTES if column == "notes" else VALUES

        def fresh(
            who: str, column: str = column, counts: Mapping[str, int] = counts
        ) -> list[Texts]:
            return [values(column, faker, counts[who]) for _ in range(SETS)]

        key = f"{column}.{asked}"
        contenders |= {
            f"{key}.unique": ours(detector, fresh("ours"), entities),
            f"{key}.zipf": ours(detector, [repeated(t) for t in fresh("ours")], entities),
            f"{key}.analyzer": one_by_one(analyzer, fresh("analyzer"), entities),
            f"{key}.batch1": in_batches(analyzer, fresh("batch1"), entities, "batch1"),
            f"{key}.batch256": in_batches(analyzer, fresh("batch256"), entities, "batch256"),
            f"{key}.structured": structured(analyzer, fresh("structured")),
        }
    return contenders


# ---------------------------------------------------------------- values


def values(column: str, faker: Faker, count: int) -> Texts:
    """Distinct values of a column."""
    make: dict[str, Callable[[], object]] = {
        "names": faker.name,
        "emails": faker.email,
        "phones": faker.phone_number,
        "cards": faker.credit_card_number,
        "ids": lambda: identifier(faker),
        "notes": lambda: note(faker),
        "numbers": lambda: faker.random_int(0, 999_999),
    }
    found: dict[str, None] = {}
    while len(found) < count:
        found[str(make[column]())] = None
    return list(found)


def identifier(faker: Faker) -> str:
    """A number that stands for a person, a thing or an account."""
    kinds = (faker.ssn, faker.uuid4, faker.iban, lambda: faker.bothify("ORD-######"))
    return str(faker.random_element(kinds)())


def note(faker: Faker) -> str:
    """Sentences of 50 to 500 characters together; one in six tells something of a person."""
    length, text = faker.random_int(NOTE_CHARS_MIN, NOTE_CHARS_MAX), ""
    tellings: tuple[Callable[[], str], ...] = (
        lambda: f"Ask {faker.name()} for the key. ",
        lambda: f"Write to {faker.email()}. ",
        lambda: f"The number is {faker.phone_number()}. ",
        lambda: f"Moved to {faker.city()} on {faker.date()}. ",
    )
    while len(text) < length:
        tells = faker.random_int(1, 6) == 1
        text += faker.random_element(tellings)() if tells else faker.sentence(9) + " "
    return text[:NOTE_CHARS_MAX].strip()


def repeated(texts: Texts) -> Texts:
    """Each text at least once, the first ones far more often than the last."""
    weights = [1 / rank for rank in range(1, len(texts) + 1)]
    extra = (ROWS_PER_VALUE - 1) * len(texts)
    return [*texts, *random.Random(SEED).choices(texts, weights, k=extra)]


# ---------------------------------------------------------------- contenders


def in_turn(work: Callable[[T], object], inputs: Iterable[T]) -> Callable[[], object]:
    """A run that works on the next input each time."""
    turns = itertools.cycle(list(inputs))
    return lambda: work(next(turns))


def warm(analyzer: AnalyzerEngine) -> PresidioDetector:
    """nbgov's detector around the same analyzer, which remembers no finding.

    Both sides have read a value when they start: what is compiled and planned once is not counted.
    """
    import pyarrow as pa

    from nbgov.backends.presidio import PresidioDetector

    detector = PresidioDetector(analyzer, reads="every", cached_values_max=0)
    entities = analyzer.get_supported_entities("en")
    detector.detect(pa.array(["x"]), entities=entities, score_min=None, language="en")
    analyzer.analyze("x", "en")
    return detector


def ours(detector: PresidioDetector, sets: Sequence[Texts], entities: Sequence[str]) -> Contender:
    """nbgov's detection of a whole column."""
    import pyarrow as pa

    import nbgov

    def detect(column: pa.Array) -> object:
        return nbgov.detect(column, entities=entities, engine=detector, progress=False)

    return Contender("nbgov.detect", in_turn(detect, map(pa.array, sets)), len(sets[0]))


def one_by_one(
    analyzer: AnalyzerEngine, sets: Sequence[Texts], entities: Sequence[str]
) -> Contender:
    """Presidio, a call for each value."""

    def analyze(texts: Texts) -> object:
        return [analyzer.analyze(text, "en", entities=[*entities]) for text in texts]

    return Contender(PEERS["analyzer"], in_turn(analyze, sets), len(sets[0]))


def in_batches(
    analyzer: AnalyzerEngine, sets: Sequence[Texts], entities: Sequence[str], peer: str
) -> Contender:
    """Presidio in batches: of one value, as it comes, or of the size that serves it best."""
    from presidio_analyzer import BatchAnalyzerEngine

    engine: Any = BatchAnalyzerEngine(analyzer)
    size = {"batch_size": BATCH_VALUES} if peer == "batch256" else {}

    def analyze(texts: Texts) -> object:
        return engine.analyze_iterator(texts, "en", entities=[*entities], **size)

    return Contender(PEERS[peer], in_turn(analyze, sets), len(sets[0]))


def structured(analyzer: AnalyzerEngine, sets: Sequence[Texts]) -> Contender:
    """presidio-structured, which reads every row to name one entity for the column."""
    import pandas as pd
    from presidio_structured import PandasAnalysisBuilder

    builder: Any = PandasAnalysisBuilder(analyzer)

    def analyze(frame: pd.DataFrame) -> object:
        return builder.generate_analysis(frame)

    frames = [pd.DataFrame({"column": texts}) for texts in sets]
    return Contender(PEERS["structured"], in_turn(analyze, frames), len(sets[0]))


def stock_analyzer() -> AnalyzerEngine:
    """Presidio as its documentation sets it up, on the language model that nbgov finds, offline."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    from nbgov.backends.presidio.engine import find_model, quiet, use_packaged_suffixes

    use_packaged_suffixes()
    with quiet():
        settings = dict(NlpEngineProvider().nlp_configuration)
        settings["models"] = [{"lang_code": "en", "model_name": find_model()}]
        language_model = NlpEngineProvider(nlp_configuration=settings).create_engine()
        return AnalyzerEngine(nlp_engine=language_model, supported_languages=["en"])


SUITE = Suite(tuple(rows()), prepare, rounds=ROUNDS)

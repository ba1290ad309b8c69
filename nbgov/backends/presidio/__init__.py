"""Detector: Presidio's findings in columns of text.

:class:`PresidioDetector` implements :class:`nbgov.ports.Detector` around a stock
``AnalyzerEngine``; its docstring says what holds. This package knows nothing of policies, tables or
masks. Importing it loads neither Presidio nor spaCy: the first call to ``detect`` does, once per
process. The cases are in ``tests/backends/test_detector.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from nbgov.backends.presidio.engine import Engine, engine_of, load_engine, quiet
from nbgov.backends.presidio.explanation import Explanation, explained
from nbgov.backends.presidio.hits import Hit
from nbgov.backends.presidio.plan import Path, Plan, plan_for
from nbgov.backends.presidio.scan import scan
from nbgov.backends.presidio.stock import Asked
from nbgov.backends.presidio.text import looks_like_text
from nbgov.backends.presidio.versions import doubt, warn
from nbgov.backends.presidio.workers import Workers
from nbgov.errors import BackendFailed, NbgovError

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

__all__ = ["CACHED_VALUES_MAX", "VALUE_CHARS_MAX", "PresidioDetector", "looks_like_text"]

T = TypeVar("T")

VALUE_CHARS_MAX = 100_000
"""Characters of a value at most: spaCy takes about a gigabyte of memory for so many."""

CACHED_VALUES_MAX = 100_000
"""Values whose findings are remembered at most, by default."""

FINDINGS = pa.schema(
    [
        ("value", pa.int64()),
        ("entity", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("score", pa.float64()),
        ("recognizer", pa.string()),
    ]
)

Finding = tuple[str, int, int, float, str]
"""Entity, start, end, score and recognizer."""

Findings = tuple[Finding, ...]
"""What is found in one value, in Presidio's order."""


class PresidioDetector:
    """Finds what Presidio finds, offline, and fails rather than find a part.

    What is found in a value depends on that value alone, not on its neighbours, so that equal
    queries deliver equal text. The findings are those of ``AnalyzerEngine.analyze(value, language,
    entities=..., score_threshold=score_min, context=...)`` in entity, span, score and order:

    * ``reads="every"``: for every value.
    * ``reads="text"``: the same, except that what the language model finds is looked for only in
      values that read as text (:func:`~nbgov.backends.presidio.text.looks_like_text`).

    A pattern that runs out of time, a value of more than ``VALUE_CHARS_MAX`` characters and any
    exception fail the whole call. Findings in the values seen last are remembered under digests; no
    value is kept. Presidio's log is silent meanwhile.

    Args:
        analyzer: An analyzer of the caller's own, with its recognizers and its language models, or
            a function that hands it over when it is first needed. It is not changed, and must not
            run in another thread meanwhile. Without one, nbgov builds
            an English one on the best language model that is installed, see
            :func:`~nbgov.backends.presidio.engine.find_model`.
        reads: Where named entities are looked for.
        cached_values_max: Values whose findings are remembered.
        processes: How many processes may work side by side. The others start when the language
            model has much to read, and only without an analyzer of the caller's own.

    Example:
        >>> detector = PresidioDetector()
        >>> detector.detect(
        ...     pa.array(["write to ada@example.com"]),
        ...     entities=["EMAIL_ADDRESS"], score_min=0.35, language="en",
        ... ).select(["entity", "start", "end", "score"]).to_pylist()
        [{'entity': 'EMAIL_ADDRESS', 'start': 9, 'end': 24, 'score': 1.0}]
    """

    def __init__(
        self,
        analyzer: AnalyzerEngine | Callable[[], AnalyzerEngine] | None = None,
        *,
        reads: Literal["every", "text"] = "every",
        cached_values_max: int = CACHED_VALUES_MAX,
        processes: Literal[1, 2] = 2,
    ) -> None:
        self.analyzer = analyzer
        self.reads = reads
        self.cached_values_max = cached_values_max
        self.cache: dict[bytes, Findings] = {}
        self.last_engine: Engine | None = None
        self.workers: Workers | None = None
        if analyzer is None and processes > 1:
            self.workers = Workers(reads=reads)

    def detect(
        self,
        values: pa.Array,
        *,
        entities: Sequence[str],
        score_min: float | None,
        language: str,
        context: Sequence[str] = (),
    ) -> pa.Table:
        """Findings in distinct, non-null strings.

        Args:
            values: The strings, of any Arrow string type.
            entities: What to look for. Nothing is found if that is nothing.
            score_min: The lowest score that counts; ``None`` for the analyzer's own thresholds.
            language: The language of the text, as an ISO 639-1 code.
            context: Words that stand beside every value, such as the name of its column.

        Returns:
            Columns ``value`` (int64, index into ``values``), ``entity`` (string), ``start`` and
            ``end`` (int64, characters), ``score`` (double) and ``recognizer`` (string), ordered by
            value, and for a value as Presidio orders them.

        Raises:
            BackendFailed: Detection failed for any value, or was asked for what Presidio cannot
                find (``detector-failed``); or no language model is installed
                (``detector-model-missing``).
        """
        assert values.null_count == 0, "the port asks for non-null values"
        if len(values) == 0 or not entities:
            return FINDINGS.empty_table()
        plan = closed(lambda: self.plan(entities, language))
        warn(plan.doubt)
        asked = Asked(score_min, tuple(context), text_only=self.reads == "text")
        return closed(lambda: to_table(self.recall(plan, values.cast(pa.large_string()), asked)))

    def expect(self, values: pa.Array, *, entities: Sequence[str], language: str) -> None:
        """Start the other processes if they pay for values that will come in parts.

        Raises:
            BackendFailed: As for :meth:`detect`.
        """
        if self.workers is None or not entities:
            return
        workers, plan = self.workers, closed(lambda: self.plan(entities, language))
        asked = Asked(0.0, (), text_only=self.reads == "text")
        if pays(workers, plan, values.cast(pa.large_string()), asked):
            workers.prepare()

    def entities(self, language: str) -> frozenset[str]:
        """Everything that can be looked for in texts of a language."""
        return closed(lambda: supported(self.engine(), language))

    def explain(self, entities: Sequence[str] | None = None, language: str = "en") -> Explanation:
        """How each recognizer runs, and why that is exact; ``print`` shows it as text."""
        return closed(lambda: explained(self.plan(entities, language)))

    def plan(self, entities: Iterable[str] | None, language: str) -> Plan:
        """The way to look for entities, or for all: the fast one if it is trusted."""
        engine = self.engine()
        known = supported(engine, language)
        asked = known if entities is None else entities
        refuse_unknown(asked, known)
        with engine.lock:
            plan = plan_for(engine, asked, language)
            if plan.stock:
                return plan
            reason = engine.make(("doubt", language), lambda: doubt(engine, language))
            return plan.in_stock(reason, is_doubt=True) if reason else plan

    def engine(self) -> Engine:
        """The engine that runs: nbgov's, or the caller's as it is now."""
        if self.analyzer is None:
            engine = self.last_engine or load_engine()
        else:
            engine = engine_of(self.analyzer() if callable(self.analyzer) else self.analyzer)
        if engine is not self.last_engine:
            self.cache.clear()
            self.last_engine = engine
        return engine

    def recall(self, plan: Plan, texts: pa.LargeStringArray, asked: Asked) -> list[Findings]:
        """Findings of each text; only those that are not remembered are scanned."""
        refuse_long(texts)
        question = hashlib.blake2b(digest_size=16)
        question.update(
            repr((plan.engine.model, plan.entities, plan.language, asked)).encode() + b"\0"
        )
        keys = [digest(question, text) for text in texts.to_pylist()]
        known = [self.cache.get(key) for key in keys]
        missing = [i for i, findings in enumerate(known) if findings is None]
        fresh = iter(self.find(plan, texts.take(pa.array(missing, pa.int64())), asked))
        found = [next(fresh) if findings is None else findings for findings in known]
        self.cache.update((keys[i], found[i]) for i in missing)
        excess = max(0, len(self.cache) - self.cached_values_max)
        for key in list(islice(self.cache, excess)):
            self.cache.pop(key, None)  # Another thread may have been faster.
        return found

    def find(self, plan: Plan, texts: pa.LargeStringArray, asked: Asked) -> list[Findings]:
        """Findings of each text, in this process or in two others."""
        if self.workers is not None and pays(self.workers, plan, texts, asked):
            return from_table(
                self.workers.detect(
                    texts,
                    entities=plan.entities,
                    score_min=asked.score_min,
                    language=plan.language,
                    context=asked.context,
                ),
                len(texts),
            )
        names = [str(step.recognizer.name) for step in plan.steps]
        with plan.engine.lock:
            scanned = scan(plan, texts, asked)
        return [tuple(to_finding(hit, names) for hit in hits) for hits in scanned]

    def close(self) -> None:
        """End the other processes; they start again when they are needed."""
        if self.workers is not None:
            self.workers.close()


def pays(workers: Workers, plan: Plan, texts: pa.LargeStringArray, asked: Asked) -> bool:
    """Whether the language model has enough to read for more than one process."""
    if plan.stock or not any(step.path is Path.NAMED for step in plan.steps):
        return False
    lengths = pc.utf8_length(texts)
    if asked.text_only:
        lengths = pc.if_else(looks_like_text(texts), lengths, 0)
    return workers.pays(pc.sum(lengths).as_py() or 0)


def closed(call: Callable[[], T]) -> T:
    """What a call returns; whatever a product raises becomes one error without a word it read.

    Raises:
        BackendFailed: Something was raised (``detector-failed``).
    """
    try:
        with quiet():
            return call()
    except NbgovError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a product raises fails closed.
        reason = describe(error)
    # Security: raised after the handler, so without a cause: Presidio's own messages quote the
    # text that it stumbled over, and a traceback shows them.
    raise BackendFailed(
        "The PII detector failed, so nothing was released.",
        code="detector-failed",
        why=reason,
        next_step="Leave the column out, or classify it with a tag in policy.yaml.",
    )


def to_finding(hit: Hit, names: Sequence[str]) -> Finding:
    """A hit without its value, and with the name of its recognizer."""
    return hit.entity, hit.start, hit.end, hit.score, names[hit.recognizer]


def digest(question: hashlib.blake2b, text: str) -> bytes:
    """The key of a value under a question; 128 bits, so that no two values share findings."""
    keyed = question.copy()
    keyed.update(text.encode())
    return keyed.digest()


def supported(engine: Engine, language: str) -> frozenset[str]:
    """Everything that an engine finds in texts of a language.

    Raises:
        BackendFailed: It does not read the language (``detector-failed``).
    """
    languages = engine.analyzer.supported_languages
    if language not in languages:
        raise BackendFailed(
            f"The PII detector does not read the language {language!r}.",
            code="detector-failed",
            next_step=f"Set content.language to {' or '.join(languages)} in policy.yaml.",
        )
    return frozenset(engine.analyzer.get_supported_entities(language))


def refuse_unknown(entities: Iterable[str], known: frozenset[str]) -> None:
    """Refuse to look for what would never be found: Presidio itself would look for the rest.

    Raises:
        BackendFailed: An entity is unknown (``detector-failed``).
    """
    unknown = sorted(set(entities) - known)
    if unknown:
        raise BackendFailed(
            f"The PII detector does not know the entity {unknown[0]}.",
            code="detector-failed",
            why=f"Presidio knows: {', '.join(sorted(known))}.",
            next_step="Correct content.entities in policy.yaml.",
        )


def refuse_long(texts: pa.LargeStringArray) -> None:
    """Refuse values that cannot be scanned whole.

    Raises:
        BackendFailed: A value has more than ``VALUE_CHARS_MAX`` characters (``detector-failed``).
    """
    longest = pc.max(pc.utf8_length(texts)).as_py()
    if longest > VALUE_CHARS_MAX:
        raise BackendFailed(
            "A text is longer than the PII detector reads, so nothing was released.",
            code="detector-failed",
            why=f"It has {longest} characters, and the limit is {VALUE_CHARS_MAX}.",
            next_step="Read a part of it, such as left(column, 1000), or classify the column.",
        )


def describe(error: BaseException) -> str:
    """The type of an exception and where it came from, without its text."""
    traceback, module = error.__traceback__, "nbgov"
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", module)
        traceback = traceback.tb_next
    return f"{type(error).__name__} in {module}."


def from_table(table: pa.Table, count: int) -> list[Findings]:
    """The port's table as the findings of so many values."""
    found: list[list[Finding]] = [[] for _ in range(count)]
    columns = [column.to_pylist() for column in table.columns]
    for value, *finding in zip(*columns, strict=True):
        found[value].append(tuple(finding))
    return list(map(tuple, found))


def to_table(found: Iterable[Findings]) -> pa.Table:
    """The findings of every value as the port's table."""
    rows = [(i, *finding) for i, findings in enumerate(found) for finding in findings]
    if not rows:
        return FINDINGS.empty_table()
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, FINDINGS, strict=True)], FINDINGS)

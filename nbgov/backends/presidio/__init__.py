"""Detector: Presidio's findings in columns of text.

:class:`PresidioDetector` implements :class:`nbgov.ports.Detector` around a stock
``AnalyzerEngine``; its docstring says what holds. This package knows nothing of policies, tables or
masks. Importing it loads neither Presidio nor spaCy: the first call to ``detect`` does, once per
process. The cases are in ``tests/backends/test_detector.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from nbgov.backends.presidio.engine import LANGUAGE, Engine, load_engine, quiet
from nbgov.backends.presidio.scan import Found, scan
from nbgov.backends.presidio.text import looks_like_text
from nbgov.errors import BackendFailed

__all__ = ["CACHED_VALUES_MAX", "VALUE_CHARS_MAX", "PresidioDetector", "looks_like_text"]

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
    ]
)


class PresidioDetector:
    """Finds entities with Presidio, offline, and fails rather than find a part.

    What is found in a value depends on that value alone, not on its neighbours, so that equal
    queries deliver equal text:

    * What Presidio finds by pattern is looked for in every value. The findings are those of
      ``AnalyzerEngine.analyze``, with the scores that words beside a finding raise.
    * Names, places and whatever else the language model finds are looked for in every value that
      reads as text (:func:`~nbgov.backends.presidio.text.looks_like_text`). There the findings of
      all entities are those of ``BatchAnalyzerEngine`` with batches of 256.
    * A pattern that runs out of time, a value of more than ``VALUE_CHARS_MAX`` characters and any
      exception fail the whole call.

    The language model is the best one installed, see
    :func:`~nbgov.backends.presidio.engine.find_model`. Findings in the values seen last are
    remembered under digests; no value is kept. Presidio's log is silent meanwhile.

    Args:
        cached_values_max: Values whose findings are remembered.

    Example:
        >>> detector = PresidioDetector()
        >>> detector.detect(
        ...     pa.array(["write to ada@example.com"]),
        ...     entities=["EMAIL_ADDRESS"], score_min=0.35, language="en",
        ... ).to_pylist()
        [{'value': 0, 'entity': 'EMAIL_ADDRESS', 'start': 9, 'end': 24, 'score': 1.0}]
    """

    def __init__(self, *, cached_values_max: int = CACHED_VALUES_MAX) -> None:
        self.cached_values_max = cached_values_max
        self.cache: dict[bytes, Found] = {}

    def detect(
        self, values: pa.Array, *, entities: Sequence[str], score_min: float, language: str
    ) -> pa.Table:
        """Findings in distinct, non-null strings.

        Returns:
            Columns ``value`` (int64, index into ``values``), ``entity`` (string), ``start`` and
            ``end`` (int64, characters) and ``score`` (double), ordered by value, start, end, then
            entity.

        Raises:
            BackendFailed: Detection failed for any value, or was asked for what Presidio cannot
                find (``detector-failed``); or no language model is installed
                (``detector-model-missing``).
        """
        assert values.null_count == 0, "the port asks for non-null values"
        if len(values) == 0 or not entities:
            return FINDINGS.empty_table()
        try:
            with quiet():
                engine = load_engine()
                refuse_unknown(engine, entities, language)
                texts = values.cast(pa.large_string())
                refuse_long(texts)
                with engine.lock:
                    return to_table(self.recall(engine, texts, sorted(set(entities)), score_min))
        except BackendFailed:
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

    def recall(
        self, engine: Engine, texts: pa.Array, entities: Sequence[str], score_min: float
    ) -> list[Found]:
        """Findings of each text; only those that are not remembered are scanned."""
        question = hashlib.blake2b(digest_size=16)
        question.update(repr((engine.model, entities, score_min, LANGUAGE)).encode() + b"\0")
        keys = [digest(question, text) for text in texts.to_pylist()]
        known = [self.cache.get(key) for key in keys]
        missing = [i for i, findings in enumerate(known) if findings is None]
        fresh = iter(scan(engine, texts.take(pa.array(missing, pa.int64())), entities, score_min))
        found = [next(fresh) if findings is None else findings for findings in known]
        self.cache.update((keys[i], found[i]) for i in missing)
        excess = max(0, len(self.cache) - self.cached_values_max)
        for key in list(islice(self.cache, excess)):
            del self.cache[key]
        return found


def digest(question: hashlib.blake2b, text: str) -> bytes:
    """The key of a value under a question; 128 bits, so that no two values share findings."""
    keyed = question.copy()
    keyed.update(text.encode())
    return keyed.digest()


def refuse_unknown(engine: Engine, entities: Sequence[str], language: str) -> None:
    """Refuse to look for what would never be found: Presidio itself would look for the rest.

    Raises:
        BackendFailed: An entity or the language is unknown (``detector-failed``).
    """
    unknown = sorted(set(entities) - engine.entities)
    if language != LANGUAGE:
        raise BackendFailed(
            f"The PII detector does not read the language {language!r}.",
            code="detector-failed",
            next_step=f"Set content.language to {LANGUAGE} in policy.yaml.",
        )
    if unknown:
        raise BackendFailed(
            f"The PII detector does not know the entity {unknown[0]}.",
            code="detector-failed",
            why=f"Presidio knows: {', '.join(sorted(engine.entities))}.",
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


def to_table(found: Iterable[Found]) -> pa.Table:
    """The findings of every value as the port's table."""
    rows = [(i, *finding) for i, findings in enumerate(found) for finding in findings]
    if not rows:
        return FINDINGS.empty_table()
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, FINDINGS, strict=True)], FINDINGS)

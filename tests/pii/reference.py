"""What stock Presidio finds, kept between runs, and the comparison with what nbgov finds.

The language model reads each value once, in batches of 256, and all questions are asked of what it
read, as ``BatchAnalyzerEngine`` does it. Two processes share the work; ``python -m
tests.pii.reference FOLDER NUMBER`` is one of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.pii.corpus import corpus
from tests.pii.questions import (
    COUNTRIES,
    DEFAULT,
    OTHERS,
    Question,
    country_recognizers,
    language_model,
)

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, RecognizerResult

PART_VALUES = 2_048
BATCH_VALUES = 256
PROCESSES = 2
SAMPLE = 0.05  # The part of the corpus on which the less usual questions are asked.
ROOT = Path(__file__).parents[2]
PACKAGES = ("presidio-analyzer", "spacy", "thinc", "phonenumbers", "tldextract", "regex")
SHOWN_MAX = 5
CUTS_MAX = 400

Found = tuple[tuple[str, int, int, float], ...]
"""Entity, start, end and score of each finding in a value, in order."""


def answer(values: Sequence[str], questions: Sequence[Question]) -> list[list[Found | None]]:
    """What stock Presidio finds in each value, for each question; ``None`` where it raises."""
    answers, read = [], {}
    for question in questions:
        analyzer = question.build()
        engine = analyzer.nlp_engine
        if id(engine) not in read:
            batches = engine.process_batch(values, "en", batch_size=BATCH_VALUES)
            read[id(engine)] = engine, list(batches)
        _, artifacts = read[id(engine)]
        answers.append([ask(analyzer, question, v, nlp_artifacts=made) for v, made in artifacts])
    return answers


def ask(analyzer: AnalyzerEngine, question: Question, text: str, **more: Any) -> Found | None:
    """What stock Presidio finds in one value, or ``None`` where it raises, as some validators do."""
    entities = list(question.entities) or None
    try:
        return to_found(analyzer.analyze(text, "en", entities=entities, **question.terms, **more))
    except Exception:  # noqa: BLE001 - nbgov has to fail there, whatever it is.
        return None


def to_found(results: Sequence[RecognizerResult]) -> Found:
    """Presidio's results as plain values."""
    return tuple((r.entity_type, r.start, r.end, r.score) for r in results)


@dataclass(frozen=True)
class Part:
    """Neighbouring values and the questions about them."""

    values: tuple[str, ...]
    questions: tuple[Question, ...]

    def truth(self, folder: Path, question: Question) -> list[Found | None]:
        """The answers to a question.

        Some invented values depend on the hour, so another process may have answered about others.
        """
        place = self.file(folder, question)
        if not place.exists():
            [found] = answer(self.values, [question])
            return found
        kept: list[Found | None] = pickle.loads(place.read_bytes())
        return kept

    def file(self, folder: Path, question: Question) -> Path:
        """Where the answers to a question are kept."""
        versions = [metadata.version(package) for package in PACKAGES]
        model = language_model().nlp["en"].meta
        told = [platform.python_version(), *versions, model["name"], model["version"]]
        digest = hashlib.sha256(repr((told, question.identity(), self.values)).encode())
        return folder / f"{digest.hexdigest()}.pickle"


def parts(seed: int | None = None) -> Iterator[Part]:
    """The corpus in pieces: the usual questions about all of it, the others about a sample."""
    more = {} if seed is None else {"seed": seed}
    for made in corpus(country_recognizers(), **more).values():
        for piece in pieces(made):
            yield Part(piece, (DEFAULT, COUNTRIES))
    sample = corpus(country_recognizers(), share=SAMPLE, **more)
    for piece in pieces([value for made in sample.values() for value in made]):
        yield Part(piece, OTHERS)


def pieces(values: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The values, a piece at a time."""
    rest = iter(values)
    while piece := tuple(islice(rest, PART_VALUES)):
        yield piece


def fill(folder: Path, number: int, seed: int | None = None) -> None:
    """Answer what is not answered yet, in every part that falls to this process."""
    for part in islice(parts(seed), number, None, PROCESSES):
        missing = [q for q in part.questions if not part.file(folder, q).exists()]
        for question, found in zip(
            missing, answer(part.values, missing) if missing else (), strict=True
        ):
            place = part.file(folder, question)
            written = place.with_suffix(f".{os.getpid()}")
            written.write_bytes(pickle.dumps(found))
            written.replace(place)


def answer_all(folder: Path, seed: int | None = None) -> list[Part]:
    """The parts of the corpus, when every question about them is answered in the folder."""
    command = [sys.executable, "-m", "tests.pii.reference", str(folder)]
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    told = [] if seed is None else [str(seed)]
    children = [
        subprocess.Popen([*command, str(n), *told], cwd=ROOT, env=os.environ | threads)
        for n in range(PROCESSES)
    ]
    assert [child.wait() for child in children] == [0] * PROCESSES
    return list(parts(seed))


# ---------------------------------------------------------------- the comparison

Detect = Callable[[str], Found | None]


def differences(
    values: Sequence[str], truth: Sequence[Found | None], found: Sequence[Found]
) -> list[int]:
    """Which values have other findings than Presidio's, or the same in another order."""
    return [i for i, right in enumerate(truth) if right is not None and right != found[i]]


def report(
    values: Sequence[str],
    wrong: Sequence[int],
    analyzer: AnalyzerEngine,
    question: Question,
    detect: Detect,
) -> str:
    """The digests of all values that differ, and the smallest texts that show why."""
    lines = [f"{question}: {len(wrong)} of {len(values)} values differ"]
    for i in wrong[:SHOWN_MAX]:
        small = shrink(values[i], lambda text: ask(analyzer, question, text) != detect(text))
        digest = hashlib.sha256(values[i].encode()).hexdigest()[:12]
        lines += [
            f"{digest} alone: {small!r}" if small else f"{digest} only among others: {values[i]!r}"
        ]
        if small:
            lines += [
                f"  presidio {ask(analyzer, question, small)}",
                f"  nbgov    {detect(small)}",
            ]
    return "\n".join(lines)


def shrink(text: str, differs: Callable[[str], bool]) -> str:
    """A short part of a text that still differs; empty where the text alone does not."""
    if not differs(text):
        return ""
    size, cuts = len(text) // 2, 0
    while size and cuts < CUTS_MAX:
        for start in range(0, len(text), size):
            shorter = text[:start] + text[start + size :]
            cuts += 1
            if differs(shorter):
                text = shorter
                break
        else:
            size //= 2
    return text


def by_value(table: Any, count: int) -> list[Found]:
    """The findings of nbgov's table, value by value, in its order."""
    found: list[list[tuple[str, int, int, float]]] = [[] for _ in range(count)]
    columns: Mapping[str, list[Any]] = table.to_pydict()
    names = ("value", "entity", "start", "end", "score")
    for value, *finding in zip(*(columns[name] for name in names), strict=True):
        found[value].append(tuple(finding))
    return [tuple(findings) for findings in found]


if __name__ == "__main__":
    logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)
    fill(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:]))

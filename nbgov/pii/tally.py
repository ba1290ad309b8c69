"""What was found in a file: how often, where and how surely, and never what.

:func:`scan` reads a file to its end, or says why it could not. A file that was not read to its end
is never clean. The cases are in ``tests/surfaces/test_pii_cli.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.errors import NbgovError
from nbgov.pii.distinct import distinct
from nbgov.pii.files import Source
from nbgov.pii.readers import read
from nbgov.pii.readers.texts import Texts
from nbgov.pii.scanning import Scanner

__all__ = ["FileReport", "Question", "Tally", "scan"]

Integers = npt.NDArray[np.int64]

WINDOW_CHARS = 20_000
OVERLAP_CHARS = 1_000
"""A long text is read in windows; what is longer than their overlap may be found in part only."""

NUMBERS_MAX = 5
"""Rows that are named for each finding."""

SPOKEN = frozenset({"PERSON", "LOCATION", "NRP", "ORGANIZATION", "DATE_TIME", "AGE", "ID"})
"""What a language model finds. It sees people in names of columns such as ``Email``."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for.

    Attributes:
        entities: Names of entities.
        score_min: The lowest score that counts.
        language: Of the texts.
    """

    entities: tuple[str, ...]
    score_min: float
    language: str = "en"


@dataclass(slots=True)
class Tally:
    """How often one entity was found in one place.

    Attributes:
        values: Cells that it was found in; for running text, how often it was found.
        score_max: The highest score.
        numbers: The first rows or lines that it was found in.
    """

    values: int = 0
    score_max: float = 0.0
    numbers: list[int] = field(default_factory=list)

    def add(self, values: int, score: float, numbers: Collection[int]) -> None:
        """Count more of the same."""
        self.values += values
        self.score_max = max(self.score_max, score)
        if len(self.numbers) < NUMBERS_MAX:
            self.numbers = sorted({*self.numbers, *numbers})[:NUMBERS_MAX]


@dataclass(slots=True)
class FileReport:
    """What was found in a file.

    Attributes:
        source: The file.
        rows: Rows that were read; lines for running text.
        places: Values that were looked at, by place.
        found: By place and entity.
        skipped: What was there and is no text, and how often.
        error: Why the file was not read to its end, or ``None``.
    """

    source: Source
    rows: int = 0
    places: Counter[str] = field(default_factory=Counter)
    found: dict[tuple[str, str], Tally] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    error: NbgovError | None = None

    @property
    def is_clean(self) -> bool:
        """Whether the whole file was read and nothing was found."""
        return not self.found and self.error is None

    def add(self, place: str, entity: str, values: int, score: float, numbers: list[int]) -> None:
        """Count findings of one entity in one place."""
        self.found.setdefault((place, entity), Tally()).add(values, score, numbers)


def scan(
    source: Source,
    stream: BinaryIO,
    question: Question,
    scanner: Scanner,
    seen: Callable[[], None] = lambda: None,
) -> FileReport:
    """Read a file and count what is found in it.

    Args:
        source: The file.
        stream: Its bytes.
        question: What is looked for.
        scanner: What finds it.
        seen: Called after each part that was read.

    Returns:
        The report. A file that could not be read to its end has an ``error``, and what was found
        until then.
    """
    report = FileReport(source)
    looking = Looking(question, scanner, report)
    try:
        for texts in read(source, stream, tells=looking.tells, skip=looking.skip):
            looking.look(texts)
            seen()
    except NbgovError as error:
        report.error = error
    return report


class Looking:
    """Looks through the texts of one file."""

    def __init__(self, question: Question, scanner: Scanner, report: FileReport) -> None:
        self.question = question
        self.scanner = scanner
        self.report = report

    def skip(self, kind: str) -> None:
        """Hear of something that is no text."""
        self.report.skipped[kind] += 1

    def tells(self, names: Collection[str]) -> frozenset[str]:
        """The names in which something is found."""
        ordered = sorted(names)
        found = self.find(pa.array(ordered, pa.large_string()), is_code=True)
        return frozenset(ordered[i] for i in set(found["value"].to_pylist()))

    def look(self, texts: Texts) -> None:
        """Count what is found in the texts of a place."""
        values, codes = distinct(texts.values)
        used = np.unique(codes[codes >= 0])
        rows = np.bincount(codes[codes >= 0], minlength=len(values))
        blank = pc.equal(pc.utf8_trim_whitespace(values), "").to_numpy(zero_copy_only=False)
        self.report.places[texts.place] += int(rows[~blank].sum())
        self.count_rows(texts, values, codes)
        wanted = used[~blank[used]]
        if not len(wanted):
            return
        pieces, owners, offsets = windows(values.take(pa.array(wanted)))
        found = self.find(pieces, context=texts.context, is_code=texts.is_names or texts.is_code)
        at = found["value"].to_numpy()
        owner = wanted[owners[at]]
        if texts.is_lines:
            self.count_lines(texts, found, owner, offsets[at], values, codes)
        else:
            self.count_cells(texts, found, owner, codes)

    def find(
        self, texts: pa.LargeStringArray, *, context: tuple[str, ...] = (), is_code: bool = False
    ) -> pa.Table:
        """The findings in distinct texts."""
        wanted = self.question.entities
        return self.scanner.detect(
            texts,
            entities=[e for e in wanted if not (is_code and e in SPOKEN)],
            score_min=self.question.score_min,
            language=self.question.language,
            context=context,
        )

    def count_rows(self, texts: Texts, values: pa.LargeStringArray, codes: Integers) -> None:
        """Count the rows or lines that were read."""
        if not len(texts.numbers) or texts.is_names:
            return
        last = int(texts.numbers[-1])
        if texts.is_lines:
            text = values[int(codes[-1])].as_py() if codes[-1] >= 0 else ""
            last += text.rstrip("\n").count("\n")
        self.report.rows = max(self.report.rows, last)

    def count_cells(self, texts: Texts, found: pa.Table, owner: Integers, codes: Integers) -> None:
        """Count the cells in which each entity is found."""
        entities = np.array(found["entity"].to_pylist(), dtype=object)
        scores = found["score"].to_numpy()
        for entity in dict.fromkeys(entities):
            of_entity = entities == entity
            is_hit = np.isin(codes, owner[of_entity])
            first = texts.numbers[np.flatnonzero(is_hit)[:NUMBERS_MAX]].tolist()
            highest = float(scores[of_entity].max())
            self.report.add(texts.place, entity, int(is_hit.sum()), highest, first)

    def count_lines(
        self,
        texts: Texts,
        found: pa.Table,
        owner: Integers,
        offsets: Integers,
        values: pa.LargeStringArray,
        codes: Integers,
    ) -> None:
        """Count the findings of running text, each with its line."""
        columns = [found[name].to_pylist() for name in ("entity", "start", "score")]
        hits = {
            (int(code), offset + start, entity): score
            for code, offset, entity, start, score in zip(
                owner, offsets.tolist(), *columns, strict=True
            )
        }
        order = np.argsort(codes, kind="stable")
        first, after = (
            np.searchsorted(codes[order], [code for code, _, _ in hits], side=side)
            for side in ("left", "right")
        )
        read = {code: values[code].as_py() for code in {code for code, _, _ in hits}}
        for (code, start, entity), score, low, high in zip(
            hits, hits.values(), first, after, strict=True
        ):
            numbers = texts.numbers[order[low:high]] + read[code].count("\n", 0, start)
            self.report.add(
                texts.place, entity, len(numbers), score, numbers[:NUMBERS_MAX].tolist()
            )


def windows(values: pa.LargeStringArray) -> tuple[pa.LargeStringArray, Integers, Integers]:
    """The texts, long ones in windows that overlap; whose each is, and where in it it starts."""
    lengths = pc.utf8_length(values).to_numpy()
    if not (lengths > WINDOW_CHARS).any():
        return values, np.arange(len(values)), np.zeros(len(values), dtype=np.int64)
    pieces: list[str] = []
    places: list[tuple[int, int]] = []
    for owner, text in enumerate(values.to_pylist()):
        for start, piece in parted(text):
            pieces.append(piece)
            places.append((owner, start))
    owners, offsets = np.array(places, dtype=np.int64).T
    return pa.array(pieces, pa.large_string()), owners, offsets


def parted(text: str) -> Iterator[tuple[int, str]]:
    """The windows of a text with their starts."""
    for start in range(0, max(1, len(text) - OVERLAP_CHARS), WINDOW_CHARS - OVERLAP_CHARS):
        yield start, text[start : start + WINDOW_CHARS]

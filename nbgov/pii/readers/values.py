"""JSON, as documents or line by line: every text and number by its path, such as ``$.user.email``.

Numbers are texts as they are written, so that long digits survive. An object that names a field
twice keeps both. What fields are called is read too, as :data:`~nbgov.pii.readers.texts.NAMES`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa

from nbgov.errors import RequestInvalid
from nbgov.pii.files import Source, chunks, unreadable
from nbgov.pii.readers.prose import LINE_BYTES_MAX, whole
from nbgov.pii.readers.texts import NAMES, Tells, Texts

__all__ = ["Number", "Pairs", "leaves", "read_document", "read_lines"]

PATHS_MAX = 2_000
"""Paths of a file that are told apart; beyond, fields are told by the object that they are in."""
KNOWN_MAX = 100_000

Path: TypeAlias = tuple[str, ...]


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Pairs(tuple[tuple[str, Any], ...]):
    """An object: its fields in order, a name perhaps more than once."""

    __slots__ = ()


DECODER = json.JSONDecoder(
    object_pairs_hook=Pairs, parse_float=Number, parse_int=Number, parse_constant=Number
)
ITEM = "[*]"
DEPTH_MAX = 200
CONSTANTS = frozenset({"NaN", "Infinity", "-Infinity"})


def parse(source: Source, text: str, number: int) -> Any:
    """A JSON value whose objects are :class:`Pairs` and whose numbers are :class:`Number`.

    Raises:
        RequestInvalid: It is no JSON, or nested too deep (``file-unreadable``).
    """
    try:
        value = DECODER.decode(text)
        if not is_deep(value):
            return value
        line, why = number, "is nested too deep"
    except json.JSONDecodeError as error:
        line, why = number + error.lineno - 1, "is no JSON"
        if error.pos >= len(text.rstrip()):
            why = "ends before its JSON does"
    except RecursionError:
        line, why = number, "is nested too deep"
    # Security: raised after the handler, so without a cause: the cause holds the text.
    raise unreadable(
        source, f"Line {line:,} {why}.", "Correct that line, or look whether the file was cut off."
    )


def is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than what walks over it may go."""
    layer = [value]
    for _ in range(DEPTH_MAX):
        fields = [part for each in layer if isinstance(each, Pairs) for _, part in each]
        items = [part for each in layer if isinstance(each, list) for part in each]
        layer = [part for part in (*fields, *items) if isinstance(part, Pairs | list)]
        if not layer:
            return False
    return True


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text and number in a value with its path, and every name under its object's path."""
    match value:
        case Pairs():
            for name, part in value:
                yield (*path, NAMES), encodable(name)
                yield from leaves(part, (*path, f".{name}"))
        case list():
            for part in value:
                yield from leaves(part, (*path, ITEM))
        case str() if value not in CONSTANTS or not isinstance(value, Number):
            yield path, encodable(value)


def encodable(text: str) -> str:
    """The text with a mark for each half of a surrogate pair, which JSON can hold and UTF-8 not."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_lines(source: Source, stream: BinaryIO, tells: Tells) -> Iterator[Texts]:
    """The values of a file of JSON lines.

    Raises:
        RequestInvalid: A line is no JSON (``file-unreadable``).
    """
    fields = Fields(tells)
    for rows in line_blocks(source, stream):
        yield from fields.told(
            (number, parse(source, text.strip(), number)) for number, text in rows if text.strip()
        )


def read_document(source: Source, stream: BinaryIO, tells: Tells) -> Iterator[Texts]:
    """The values of a JSON document, or of JSON lines under the name of one.

    Raises:
        RequestInvalid: It is no JSON (``file-unreadable``).
    """
    text = whole(source, stream)
    if not text.strip():
        return
    fields = Fields(tells)
    try:
        value = parse(source, text, 1)
    except RequestInvalid:
        rows = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(rows) < 2:  # noqa: PLR2004 - one line is a document.
            raise
        yield from fields.told(
            (number, parse(source, line.strip(), number)) for number, line in rows
        )
        return
    rows = value if isinstance(value, list) else [value]
    yield from fields.told(enumerate(rows, 1))


def dotted(path: Path) -> str:
    """The name of a field for operators, such as ``user.phones[*]``."""
    return "".join(path).removeprefix(".")


def line_blocks(source: Source, stream: BinaryIO) -> Iterator[list[tuple[int, str]]]:
    """The lines of a file with their ends and numbers, some megabytes at a time.

    Raises:
        RequestInvalid: It is not in its encoding, or a line has no end (``file-unreadable``).
    """
    carried, number = b"", 1
    for chunk in chunks(source, stream):
        text, newline, carried = (carried + chunk).rpartition(b"\n")
        rows = io.StringIO((text + newline).decode(), newline="\n").readlines() if newline else []
        yield list(enumerate(rows, number))
        number += len(rows)
        if len(carried) > LINE_BYTES_MAX:
            raise unreadable(
                source,
                f"Line {number:,} is longer than {LINE_BYTES_MAX:,} bytes.",
                "Look whether the file holds JSON lines, one value to a line.",
            )
    if carried:
        yield [(number, carried.decode())]


class Fields:
    """Sorts values by their paths, and keeps names that tell something out of what is shown."""

    def __init__(self, tells: Tells) -> None:
        self.tells = tells
        self.known: set[str] = set()
        self.telling: set[str] = set()
        self.paths: set[Path] = set()

    def told(self, rows: Iterable[tuple[int, Any]]) -> Iterator[Texts]:
        """The texts of some values with their numbers, by path."""
        found: dict[Path, tuple[list[str], list[int]]] = {}
        for number, value in rows:
            for path, text in leaves(value):
                texts, numbers = found.setdefault(self.kept(path), ([], []))
                texts.append(text)
                numbers.append(number)
        named = [texts for path, (texts, _) in found.items() if path[-1:] == (NAMES,)]
        self.learn({name for texts in named for name in texts})
        for path, (texts, numbers) in found.items():
            yield Texts(
                self.label(path),
                pa.array(texts, pa.large_string()),
                np.array(numbers, dtype=np.int64),
                is_names=path[-1:] == (NAMES,),
                context=(dotted(path),),
            )

    def kept(self, path: Path) -> Path:
        """The path, or that of its first field where there are too many."""
        if path not in self.paths:
            if len(self.paths) >= PATHS_MAX:
                return (*path[:1], ".**") if path[-1:] != (NAMES,) else (*path[:1], NAMES)
            self.paths.add(path)
        return path

    def learn(self, names: set[str]) -> None:
        """Find out which names tell something."""
        fresh = names - self.known
        self.telling |= self.tells(fresh) if fresh else frozenset()
        if len(self.known) < KNOWN_MAX:
            self.known |= fresh

    def label(self, path: Path) -> str:
        """A path as people read it."""
        # Security: a name can be data, such as the address that an object is filed under.
        parts = [".*" if part[1:] in self.telling else part for part in path]
        if parts[-1:] == [NAMES]:
            return f"{NAMES} ${''.join(parts[:-1])}"
        return f"${''.join(parts)}"

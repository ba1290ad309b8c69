"""JSON lines with values masked: lines without any stay byte for byte, others keep their order."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.errors import RequestInvalid
from nbgov.pii.copying import Making
from nbgov.pii.files import Source, unreadable
from nbgov.pii.masker import Masker
from nbgov.pii.plan import Treatment
from nbgov.pii.readers.values import (
    ITEM,
    PATHS_MAX,
    Number,
    Pairs,
    Path,
    dotted,
    encodable,
    line_blocks,
    parse,
)
from nbgov.pii.writers.encoding import encoder

KINDS = {
    "text": pa.large_string(),
    "whole": pa.int64(),
    "float": pa.float64(),
    "long": pa.large_string(),
    "truth": pa.bool_(),
}
WHOLE_BITS = 63


def write_lines(source: Source, stream: BinaryIO, sink: BinaryIO, making: Making) -> int:
    """Write a masked copy of a file of JSON lines and return the number of lines.

    The file is read twice: what it holds has to be known before its first line is masked.

    Raises:
        RequestInvalid: A line is no JSON, or there is none (``file-unreadable``).
    """
    columns, names = survey(source, stream)
    masker = prepare(source, making, columns)
    making.check_names(source, masker, names)
    stream.seek(0)
    encode = encoder(source, stream)
    count = 0
    for block in line_blocks(source, stream):
        lines = [Line(source, number, text) for number, text in block]
        rows = [line for line in lines if not line.is_blank]
        mask_rows(rows, columns, masker)
        sink.write(encode("".join(line.written() for line in lines).encode()))
        count += len(rows)
        making.seen()
    sink.write(encode(b"", final=True))
    return count


class Object(list[list[Any]]):
    """An object whose values can be replaced: name and value of each field, in order."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a value stands, so that it can be replaced."""

    path: Path
    kind: str
    value: Any
    holder: list[Any]
    at: int


class Line:
    """One line, with its values at hand."""

    def __init__(self, source: Source, number: int, text: str) -> None:
        self.raw = text
        self.is_blank = not text.strip()
        self.is_changed = False
        self.root: list[Any] = []
        if not self.is_blank:
            self.root.append(mutable(parse(source, text.strip(), number)))

    def slots(self) -> Iterator[Slot]:
        """The values of the line."""
        return slots(self.root, 0, ())

    def written(self) -> str:
        """The line: as it was, or with its new values in the style that it had."""
        if not self.is_changed:
            return self.raw
        body = self.raw.strip()
        is_ascii = self.raw.isascii() and "\\u" in self.raw
        text = spell(self.root[0], is_wide=": " in body or ", " in body, is_ascii=is_ascii)
        return self.raw.replace(body, text, 1) if body else self.raw


def mutable(value: Any) -> Any:
    """A value of which parts can be replaced."""
    if isinstance(value, Pairs):
        return Object([name, mutable(part)] for name, part in value)
    return [mutable(part) for part in value] if isinstance(value, list) else value


def slots(holder: list[Any], at: int, path: Path) -> Iterator[Slot]:
    """The values at and below a place, but for nulls and what is empty."""
    value = holder[at]
    match value:
        case Object():
            for field in value:
                yield from slots(field, 1, (*path, f".{field[0]}"))
        case list():
            for position in range(len(value)):
                yield from slots(value, position, (*path, ITEM))
        case bool():
            yield Slot(path, "truth", value, holder, at)
        case Number():
            yield Slot(path, *number(value), holder, at)
        case str():
            yield Slot(path, "text", encodable(value), holder, at)


def number(text: Number) -> tuple[str, Any]:
    """What kind of number a text is, and its value; a long one stays text."""
    try:
        whole = int(text)
    except ValueError:
        value = float(text)
        return ("float", value) if math.isfinite(value) else ("long", str(text))
    return ("whole", whole) if whole.bit_length() <= WHOLE_BITS else ("long", str(text))


def spell(value: Any, *, is_wide: bool, is_ascii: bool) -> str:
    """A value as JSON; numbers as they were written."""

    def write(part: Any) -> str:
        match part:
            case Object():
                fields = [f"{dump(name)}{colon}{write(below)}" for name, below in part]
                return "{" + comma.join(fields) + "}"
            case list():
                return "[" + comma.join(map(write, part)) + "]"
            case Number():
                return str(part)
            case _:
                return dump(part)

    comma, colon = (", ", ": ") if is_wide else (",", ":")
    dump = functools.partial(json.dumps, ensure_ascii=is_ascii, default=str)
    return write(value)


# ---------------------------------------------------------------- columns


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one kind at one path.

    Attributes:
        path: The path.
        kind: A key of :data:`KINDS`.
        is_listed: Whether a line may have many of them.
    """

    path: Path
    kind: str

    @property
    def is_listed(self) -> bool:
        """Whether a line may have many of them."""
        return ITEM in self.path

    @property
    def names(self) -> tuple[str, ...]:
        """What operators and tags may call it: its path, what it lies in, its last name."""
        above = [dotted(self.path[:end]) for end in range(len(self.path), 0, -1)]
        last = next((part[1:] for part in reversed(self.path) if part != ITEM), "$")
        return tuple(dict.fromkeys([*above, last]))


def survey(source: Source, stream: BinaryIO) -> tuple[list[Column], set[str]]:
    """The columns of a file, and the names of its fields.

    Raises:
        RequestInvalid: There are too many fields to be columns (``file-unreadable``).
    """
    columns: dict[tuple[Path, str], None] = {}
    for block in line_blocks(source, stream):
        for at, text in block:
            line = Line(source, at, text)
            columns |= dict.fromkeys((s.path, s.kind) for s in line.slots()) if line.root else {}
            if len(columns) > PATHS_MAX:
                raise unreadable(
                    source,
                    f"Its lines have more than {PATHS_MAX:,} different fields by line {at:,}.",
                    "Write what is filed under its own name as lists of objects.",
                )
    names = {part[1:] for path, _ in columns for part in path if part != ITEM}
    return [Column(*column) for column in columns], names


def prepare(source: Source, making: Making, columns: list[Column]) -> Masker:
    """The masker of the columns.

    Raises:
        RequestInvalid: There are no columns, or dates of a list would be shifted by subject.
    """
    if not columns:
        raise unreadable(source, "It is empty.", "Look whether it is the file that you mean.")
    known = list(dict.fromkeys(name for column in columns for name in column.names))
    asked = making.mask(known, redacted=(), subject=None)
    treatments = dict(zip(known, asked.treatments, strict=True))
    chosen = [choose(column, treatments) for column in columns]
    operators = making.options.get("operators") or {}
    fitting = {n: text for n, text in operators.items() if n in chosen or n not in known}
    for column, name in zip(columns, chosen, strict=True):
        operator = treatments[name].operator
        if column.is_listed and operator is not None and operator.name == "date-shift":
            raise RequestInvalid(
                f"The dates in {name} cannot be shifted.",
                code="usage",
                why="they are in a list, and nobody says which of them is whose",
                next_step="use year, month or quarter, or write one date to a field",
            )
    return making.mask(chosen, operators=fitting)


def choose(column: Column, treatments: Mapping[str, Treatment]) -> str:
    """The name that decides on a column: one that an operator names, else one that has a tag."""
    for name in column.names:
        if treatments[name].why == "operators":
            return name
    masked = [name for name in column.names if treatments[name].how == "masked"]
    return masked[0] if masked else column.names[0]


def mask_rows(rows: list[Line], columns: list[Column], masker: Masker) -> None:
    """Replace what is masked in some lines."""
    placed: dict[tuple[Path, str], dict[int, tuple[Line, Slot]]] = {}
    for row, line in enumerate(rows):
        for slot in line.slots():
            there = placed.setdefault((slot.path, slot.kind), {})
            # A value stands in the row of its line, beside its subject, where there is only one.
            is_free = ITEM not in slot.path and row not in there
            there[row if is_free else len(rows) + len(there)] = (line, slot)
    length = max([len(rows), *(1 + max(there) for there in placed.values())])
    arrays = []
    for column in columns:
        values: list[Any] = [None] * length
        for at, (_, slot) in placed.get((column.path, column.kind), {}).items():
            values[at] = slot.value
        arrays.append(pa.array(values, KINDS[column.kind]))
    batch = pa.RecordBatch.from_arrays(arrays, names=list(masker.names))
    for column, old, new in zip(columns, arrays, masker.batch(batch).columns, strict=True):
        there = placed.get((column.path, column.kind), {})
        for at in changed(old, new):
            line, slot = there[at]
            slot.holder[slot.at] = new[at].as_py()
            line.is_changed = True


def changed(old: pa.Array, new: pa.Array) -> list[int]:
    """The rows in which a value was replaced."""
    if new is old:
        return []
    kept = pc.or_(pc.is_null(old), pc.fill_null(pc.equal(old, new), fill_value=False))
    return np.flatnonzero(~kept.to_numpy(zero_copy_only=False)).tolist()

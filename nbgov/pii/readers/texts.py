"""What a reader hands out: texts of one place in a file, with the numbers of their rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["NAMES", "Tells", "Texts", "blocks", "lines"]

Integers = npt.NDArray[np.int64]
Tells: TypeAlias = "Callable[[Collection[str]], frozenset[str]]"
"""Says which names hold what is looked for, so that no report repeats them."""

NAMES = "(names)"
"""The place of what a file calls its columns and fields, and of its metadata."""

BLOCK_CHARS = 10_000


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of one place.

    Attributes:
        place: The column, the path of the field, or the cell and its output.
        values: The texts; null where there is none.
        numbers: Number of the row of each, or of the line that it starts in.
        is_lines: Whether the numbers are lines, and a text may go over many of them.
        is_names: Whether these are no values, but what the file calls its parts.
        is_code: Whether they are for machines, where a language model sees people in any word.
        context: Words that stand beside every text.
    """

    place: str
    values: pa.LargeStringArray
    numbers: Integers
    is_lines: bool = False
    is_names: bool = False
    is_code: bool = False
    context: tuple[str, ...] = ()


def blocks(place: str, text: str, *, first: int = 1) -> Texts:
    """A long text in blocks of whole lines, so that a sentence over two lines stays together.

    Args:
        place: Where it stands.
        text: The text.
        first: Number of its first line.
    """
    parts: list[str] = []
    numbers: list[int] = []
    held: list[str] = []
    size = 0
    number = first
    for line in io.StringIO(text, newline="\n"):
        # Security: a block is never cut inside a paragraph that fits, nor inside a line.
        if held and size + len(line) > BLOCK_CHARS:
            parts.append("".join(held))
            numbers.append(number)
            number, held, size = number + len(held), [], 0
        held.append(line)
        size += len(line)
    return lines(place, [*parts, "".join(held)], [*numbers, number])


def lines(
    place: str, values: Sequence[str], numbers: Iterable[int], *, is_code: bool = False
) -> Texts:
    """Texts that start in given lines."""
    return Texts(
        place,
        pa.array(values, pa.large_string()),
        np.fromiter(numbers, np.int64, len(values)),
        is_lines=True,
        is_code=is_code,
    )

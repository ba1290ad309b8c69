"""What a person sees of one statement, and where two such sights differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that running one statement shows to the person who ran it.

    Attributes:
        outcome: ``rows``, or the code of the error.
        text: The text of the error.
        columns: Name and type of each column, in order.
        rows: The rows, in order.
        rows_affected: Rows that a write changed.
        is_truncated: Whether a limit cut rows off.
        masked: Result column to the mask that is shown beside it.
        entities: Entities found in free text, with their counts.
        version: Id of the dataset version.
    """

    outcome: str
    text: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    rows_affected: int | None = None
    is_truncated: bool = False
    masked: Mapping[str, str] = field(default_factory=dict)
    entities: Mapping[str, int] = field(default_factory=dict)
    version: str = ""


def differences(
    first: Observation, second: Observation, *, renaming: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Names of what differs; empty when nobody can tell the two apart.

    Args:
        first: What was seen in one world.
        second: What was seen in the other one.
        renaming: Token of the first world to its token in the second one. With it the rows of the
            first are renamed before they are compared. Order and version, which engine and digest
            make from the tokens, are left out then.

    Example:
        >>> differences(Observation("rows", rows=((1,),)), Observation("rows", rows=((2,),)))
        ('rows',)
    """
    left = {one.name: getattr(first, one.name) for one in fields(first)}
    right = {one.name: getattr(second, one.name) for one in fields(second)}
    if renaming is not None:
        rows = (tuple(renamed(cell, renaming) for cell in row) for row in first.rows)
        left["rows"] = sorted(rows, key=repr)
        right["rows"] = sorted(second.rows, key=repr)
        left["version"] = right["version"] = ""
    # A float that is no number equals nothing, itself included, but reads the same.
    return tuple(name for name in left if repr(left[name]) != repr(right[name]))


def renamed(cell: object, renaming: Mapping[str, str]) -> object:
    """A cell with its token renamed, wherever it stands in it."""
    if isinstance(cell, str):
        return renaming.get(cell, cell)
    if isinstance(cell, (list, tuple)):
        return type(cell)(renamed(one, renaming) for one in cell)
    if isinstance(cell, dict):
        return {key: renamed(one, renaming) for key, one in cell.items()}
    return cell

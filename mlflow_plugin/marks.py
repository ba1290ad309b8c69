"""The mark that governed data carries, and the dataset version behind it.

Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nbgov import DatasetVersion, Delivery, RequestInvalid

Lookup = Callable[[Mapping[str, str]], tuple[DatasetVersion, Delivery] | None]


def mark_of(data: Any) -> Mapping[str, str]:
    """The mark that governed data carries; empty for anything else."""
    if hasattr(data, "mark"):
        data = data.mark()
    mark = data if isinstance(data, Mapping) else getattr(data, "attrs", {}).get("nbgov")
    return mark if isinstance(mark, Mapping) else {}


def found(mark: Mapping[str, str], lookup: Lookup) -> tuple[DatasetVersion, Delivery]:
    """The version and the delivery behind a mark.

    Raises:
        RequestInvalid: There is no mark, or nothing is kept here under it.
    """
    pair = lookup(mark) if mark else None
    if pair is None:
        raise RequestInvalid(
            "The data is not a governed dataset version that is kept here.",
            code="usage",
            why="A merge, a CSV file or a NumPy array loses the mark of a governed frame."
            if not mark
            else "Its version is not in the dataset store of this nbgov.yaml.",
            next_step="Pass the frame or the result that the session delivered.",
        )
    return pair


def distinct_marks(values: Sequence[Any]) -> Iterator[Mapping[str, str]]:
    """The distinct marks of governed frames among a call's values, in order."""
    seen: set[str] = set()
    for value in values:
        mark = mark_of(value) if hasattr(value, "attrs") else {}
        if mark and mark.get("version", "") not in seen:
            seen.add(mark.get("version", ""))
            yield mark

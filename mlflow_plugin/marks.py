"""The mark that governed data carries, and the dataset version behind it.

Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbgov import DatasetVersion, Delivery, RequestInvalid

Pair = tuple[DatasetVersion, Delivery]
Lookup = Callable[[Mapping[str, str]], Pair | None]


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

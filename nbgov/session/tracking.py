"""Finds the delivery behind governed data, by the mark that the data carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbgov.errors import RequestInvalid
from nbgov.model import Delivery, Result


def delivered(data: Any, find: Callable[[Mapping[str, str]], Delivery | None]) -> Delivery:
    """The delivery that a result, or a frame made from one, came by.

    Args:
        data: What a session delivered.
        find: The delivery behind a mark.

    Raises:
        RequestInvalid: The data carries no mark of a delivery that is kept.
    """
    mark = data.mark() if isinstance(data, Result) else getattr(data, "attrs", {}).get("nbgov")
    delivery = find(mark) if mark else None
    if delivery is None:
        raise RequestInvalid(
            "This data was not delivered by nbgov in this state folder.",
            code="usage",
            why="it carries no dataset version, or one that is not kept here",
            next_step="pass the frame that session.sql(...).to_pandas() returned",
        )
    return delivery

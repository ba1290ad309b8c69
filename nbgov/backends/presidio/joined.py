"""Matches of a pattern in the texts of a column: in one run over them all, or text by text.

One run costs what the regex engine costs; a run for each text costs some microseconds more for each
of them. Whether one run finds the same is proven in :mod:`~nbgov.backends.presidio.conditions`.
The cases are in ``tests/backends/test_detector_conditions.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nbgov.backends.presidio.column import Column
    from nbgov.backends.presidio.plan import Search

Match = tuple[int, int, int, str]
"""Index of the text, start and end of the match in it, and what was matched."""


def matches(search: Search, column: Column, *, timeout_s: float) -> Iterator[Match]:
    """Yield every match of a pattern, text by text; some are empty.

    Args:
        search: The pattern.
        column: Where to search.
        timeout_s: Seconds that the search in one text may take.

    Raises:
        TimeoutError: It took more.
    """
    if search.needs.separator is None:
        yield from each(search, column, timeout_s=timeout_s)
        return
    if not len(column.holding(search.needs)):
        return
    text, starts, indices = column.join(search.needs, search.needs.separator)
    try:
        spans = [match.span() for match in search.compiled.finditer(text, timeout=timeout_s)]
    except TimeoutError:
        # Together they may take longer than each of them is allowed.
        yield from each(search, column, timeout_s=timeout_s)
        return
    if not spans:
        return
    owners = np.searchsorted(starts, [start for start, _ in spans], side="right") - 1
    owned = zip(spans, indices[owners].tolist(), starts[owners].tolist(), strict=True)
    for (start, end), index, origin in owned:
        yield index, start - origin, end - origin, text[start:end]


def each(search: Search, column: Column, *, timeout_s: float) -> Iterator[Match]:
    """Yield the same from a search in each text."""
    for index in column.holding(search.needs).tolist():
        text = column.texts[index]
        for match in search.compiled.finditer(text, timeout=timeout_s):
            start, end = match.span()
            yield index, start, end, text[start:end]

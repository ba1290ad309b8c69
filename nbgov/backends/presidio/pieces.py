"""Pieces of a text that spaCy's tokenizer cuts into the same words as the whole text.

spaCy's tokenizer cuts a text at white space and then splits what lies between by itself, so what
stands between two spaces can be read alone. Only a special case of the tokenizer could reach over
a space; no text is cut where one might. The cases are in ``tests/backends/test_context.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from nbgov.backends.presidio.tokens import special_cases

SINGLE_SPACE = re.compile(r"(?<=\S) (?=\S)")
"""The only white space of which spaCy makes no token."""


class Pieces:
    """Cuts texts for the tokenizer of a pipeline as it is now.

    Args:
        nlp: The pipeline; its tokenizer must be spaCy's own.
    """

    def __init__(self, nlp: Any) -> None:
        self.joints = {
            left[-1] + right[0] for case in special_cases(nlp) for left, right in pairwise(case)
        }

    def around(self, text: str, start: int, reach: int) -> tuple[int, int] | None:
        """Where a piece begins and ends that holds a position; ``None`` if there is none.

        Args:
            text: The whole text.
            start: The position.
            reach: How far the piece reaches to the left at most, in characters. To the right it
                reaches half as far at least, and twice as far at most.
        """
        begin = end = None
        if start <= reach:
            begin = 0
        elif (cut := next(self.cuts(text, start - reach, start), None)) is not None:
            begin = cut + 1
        if len(text) <= start + reach:
            end = len(text)
        elif begin is not None:
            end = next(self.cuts(text, start + reach // 2, start + 2 * reach), None)
        return None if begin is None or end is None else (begin, end)

    def cuts(self, text: str, begin: int, end: int) -> Iterator[int]:
        """Yield the spaces in a part of a text at which it may be cut."""
        for match in SINGLE_SPACE.finditer(text, begin, end):
            at = match.start()
            if text[at - 1] + text[at + 1] not in self.joints:
                yield at

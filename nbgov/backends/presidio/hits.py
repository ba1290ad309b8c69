"""What a recognizer found in one value of a column, before and after it is merged as Presidio does.

Presidio carries a finding as an object; here it is a tuple, as a column has millions of them.
"""

from __future__ import annotations

from typing import NamedTuple


class Hit(NamedTuple):
    """One finding.

    Attributes:
        value: Index of the value in the column.
        recognizer: Index of the recognizer in the list that was asked.
        entity: The entity type.
        start, end: Where it lies, in characters.
        score: How sure the recognizer is, from 0 to 1.
    """

    value: int
    recognizer: int
    entity: str
    start: int
    end: int
    score: float

"""What a verifier looked at, one thing at a time: it holds, it fails, or it could not be looked at.

Nothing is left out in silence, so a report is all its checks in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NAMES_SHOWN_MAX = 5

Outcome = Literal["holds", "fails", "unchecked"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        outcome: ``holds``, ``fails``, or ``unchecked`` for what could not be looked at.
        told: What was found, in a sentence without a value.
    """

    name: str
    outcome: Outcome
    told: str


def check(name: str, problems: Sequence[str], told: str) -> Check:
    """A check that fails with its first problems, or holds."""
    return Check(name, "fails", listed(problems)) if problems else Check(name, "holds", told)


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "row"), counted(51_955, "row")
    ('1 row', '51,955 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def counted_entries(number: int) -> str:
    """A number of entries of the audit log."""
    return f"{number:,} {'entry' if number == 1 else 'entries'}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first few of many.

    >>> listed(["a", "b"]), listed(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    rest = len(names) - NAMES_SHOWN_MAX
    shown = ", ".join(names[:NAMES_SHOWN_MAX])
    return f"{shown} and {rest} more" if rest > 0 else shown

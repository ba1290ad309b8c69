"""Operators: what a mask makes of a value, as a person writes it, such as ``partial:4``.

An operator is text in a policy, a preset or a call. Here it is read and checked, and nothing is
known of values: a wrong operator is found before a row is looked at. What each one protects
against, and what not, is in ``docs/concepts/masks.md``; the cases are in
``tests/core/test_mask_operators.py``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from nbgov.errors import ConfigInvalid

__all__ = ["FORMS", "Operator", "parse_operator"]

NOTHING = re.compile("")
# What may stand behind the colon, and how the whole is written.
FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    # Security: a control character in a constant could break the line it is put into.
    "redact": (
        re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,100}"),
        "redact, or redact:[gone] with a text of at most 100 characters",
    ),
    "null": (NOTHING, "null"),
    "partial": (re.compile(r"(?:[1-9]\d?(?::shape)?)?"), "partial:4 or partial:4:shape"),
    "token": (NOTHING, "token"),
    "ff1": (
        re.compile(r"(?:digits|hex|lower|upper|letters|alnum|alnum-lower|alnum-upper)?"),
        "ff1, or ff1:NAME with digits, hex, lower, upper, letters, alnum, alnum-lower, alnum-upper",
    ),
    "date-shift": (re.compile(r"[1-9]\d{0,4}"), "date-shift:30 with a number of days"),
    "year": (NOTHING, "year"),
    "month": (NOTHING, "month"),
    "quarter": (NOTHING, "quarter"),
    "zip": (re.compile(r"[123]?"), "zip:3, zip:2 or zip:1"),
    "bucket": (re.compile(r"[1-9]\d{0,8}"), "bucket:10 with a width"),
    "age": (re.compile(r"(?:[1-9]\d?)?"), "age, or age:5 with a width"),
    "surrogate": (
        re.compile(r"(?:name|email|phone|place)?"),
        "surrogate, or surrogate:KIND with name, email, phone or place",
    ),
    "keep": (NOTHING, "keep"),
}
DEFAULTS = {"partial": 4, "zip": 3, "age": 1}
COLUMNS_ONLY = frozenset({"null", "date-shift", "bucket"})
PART_KEEPING = frozenset({"partial", "year", "month", "quarter", "zip", "bucket", "age", "keep"})
KEYED = frozenset({"token", "ff1", "date-shift", "surrogate"})


@dataclass(frozen=True, slots=True)
class Operator:
    """What a mask makes of a value.

    Attributes:
        name: One of :data:`FORMS`.
        argument: What stands behind the colon, or nothing.

    Raises:
        ConfigInvalid: There is no such operator, or it takes no such argument.

    Example:
        >>> Operator("partial", "4").text
        'partial:4'
    """

    name: str
    argument: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no operator."""
        if self.name not in FORMS:
            near = difflib.get_close_matches(self.name, FORMS, n=1)
            raise refusal(
                self.text,
                why=f"the operators are {', '.join(FORMS)}",
                next_step=f"did you mean {near[0]}?" if near else "name one of these",
            )
        pattern, form = FORMS[self.name]
        if not pattern.fullmatch(self.argument):
            raise refusal(
                self.text,
                why="what stands behind the colon is not what this operator takes",
                next_step=f"write {form}",
            )

    @property
    def text(self) -> str:
        """The operator as a person writes it."""
        return f"{self.name}:{self.argument}" if self.argument else self.name

    @property
    def number(self) -> int:
        """The number of the argument: characters, digits, days or a width.

        Example:
            >>> Operator("partial").number, Operator("date-shift", "30").number
            (4, 30)
        """
        digits = self.argument.partition(":")[0]
        return int(digits) if digits else DEFAULTS[self.name]

    @property
    def fits_text(self) -> bool:
        """Whether the operator makes sense of what is found inside of a text."""
        return self.name not in COLUMNS_ONLY

    @property
    def keeps_part(self) -> bool:
        """Whether a part of the value, or a coarser form of it, can be read afterwards."""
        return self.name in PART_KEEPING

    @property
    def needs_key(self) -> bool:
        """Whether what comes out depends on a key."""
        return self.name in KEYED


def parse_operator(text: str) -> Operator:
    """The operator that a text names.

    Raises:
        ConfigInvalid: There is no such operator, or it takes no such argument
            (``operator-invalid``).

    Example:
        >>> parse_operator("redact:[gone]")
        Operator(name='redact', argument='[gone]')
    """
    name, colon, argument = text.strip().partition(":")
    if colon and not argument:
        raise refusal(text, why="nothing stands behind the colon", next_step="write it without")
    return Operator(name, argument)


def refusal(text: str, *, why: str, next_step: str) -> ConfigInvalid:
    """What is said of a text that is no operator."""
    return ConfigInvalid(
        f"{text!r} is no operator of a mask.", code="operator-invalid", why=why, next_step=next_step
    )

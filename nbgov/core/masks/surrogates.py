"""Surrogates: another name, e-mail address, phone number or place, the same for equal values.

A value and the key choose from the tables of :mod:`nbgov.core.masks.names`, so that nothing has to
be kept: under one key ``Ada Lovelace`` reads the same in every column, text and run. Case and
blanks do not count, and of a phone number only its digits do. Two values may read the same. Phone
numbers are from the range 555-0100 to 555-0199, which nobody has. The cases are in
``tests/core/test_mask_surrogates.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa

from nbgov.core.masks.keys import Task, numbers
from nbgov.core.masks.names import AREAS, DOMAINS, FAMILY, GIVEN, PLACES

__all__ = ["KIND_OF_ENTITY", "by_shape", "of_kind"]

Make: TypeAlias = Callable[[str, int], str]

KIND_OF_ENTITY = {
    "PERSON": "name",
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "LOCATION": "place",
}
TEXT = pa.large_string()
EMAIL = r"[^@\s]+@[^@\s]+"
PHONE = re.compile(r"[0-9\s()+./x-]*")
PHONE_DIGITS_MIN = 7
# The digits of a number within an area, with an area, and with an area behind the 1.
LOCAL, NATIONAL, LONG = 7, 10, 11
LINES = 100
# Two numbers that lie so far apart differ in every table and in the line of a phone.
APART = len(AREAS) + 1


def by_shape(values: pa.Array, task: Task) -> pa.Array:
    """A surrogate of each text: of the kind that the operator names, or that the text looks like.

    What looks neither like an e-mail address nor like a phone number is taken for a name.
    """
    texts = values.to_pylist()
    named = task.operator.argument
    kinds = [named or shape(text) for text in texts]
    return made(texts, kinds, task)


def of_kind(values: pa.Array, kind: str, task: Task) -> pa.Array:
    """A surrogate of each text, all of one kind."""
    return made(values.to_pylist(), [kind] * len(values), task)


def made(texts: list[str], kinds: list[str], task: Task) -> pa.Array:
    """A surrogate of each text."""
    spellings = [SPELLINGS[kind](text) for text, kind in zip(texts, kinds, strict=True)]
    same = pa.array([f"{kind}\0{one}" for kind, one in zip(kinds, spellings, strict=True)], TEXT)
    drawn = numbers(same, task.keys.subkey("surrogate")).tolist()
    rows = zip(texts, kinds, drawn, strict=True)
    return pa.array([other(text, MAKERS[kind], number) for text, kind, number in rows], TEXT)


def other(text: str, make: Make, number: int) -> str:
    """What a number makes in the place of a text; never the text itself, whatever its case."""
    found = make(text, number)
    # Security: a name must not be its own surrogate.
    return found if found.casefold() != text.casefold() else make(text, number + APART)


def shape(text: str) -> str:
    """The kind of surrogate that fits in the place of a text.

    Example:
        >>> shape("ada@lovelace.test"), shape("+1 212-555-7788"), shape("Ada Lovelace")
        ('email', 'phone', 'name')
    """
    if re.fullmatch(EMAIL, text.strip()):
        return "email"
    is_phone = PHONE.fullmatch(text) and len(digits(text)) >= PHONE_DIGITS_MIN
    return "phone" if is_phone else "name"


def digits(text: str) -> str:
    """The digits of a text, of any script."""
    return "".join(character for character in text if character.isdecimal())


def words(text: str) -> str:
    """A text without what spelling adds to it: case, and how many blanks there are."""
    return " ".join(text.casefold().split())


def name(text: str, number: int) -> str:
    """A given name for one word, else a given and a family name, in the order of the text."""
    given, family = GIVEN[number % len(GIVEN)], FAMILY[number // len(GIVEN) % len(FAMILY)]
    if len(text.split()) < len("ab"):
        return cased(given, text)
    return cased(f"{family}, {given}" if "," in text else f"{given} {family}", text)


def email(text: str, number: int) -> str:
    """An address of a name, shaped like the one of the text."""
    local = text.partition("@")[0]
    given, family = GIVEN[number % len(GIVEN)], FAMILY[number // len(GIVEN) % len(FAMILY)]
    number //= len(GIVEN) * len(FAMILY)
    domain = DOMAINS[number % len(DOMAINS)]
    joint = next((mark for mark in "._-" if mark in local), "")
    tail = f"{number // len(DOMAINS) % LINES:02}" if digits(local) else ""
    address = f"{given}{joint}{family}{tail}@{domain}"
    return address.upper() if text.isupper() else address.lower()


def phone(text: str, number: int) -> str:
    """A number of the fictitious range; in the form of the text where that is North American."""
    area, line = AREAS[number % len(AREAS)], f"01{number // len(AREAS) % LINES:02}"
    own = digits(text)
    is_long = len(own) == LONG and own[0] == "1"
    if not own.isascii() or not (len(own) in {LOCAL, NATIONAL} or is_long):
        return f"+1 {area}-555-{line}"
    fresh = iter(f"1{area}555{line}"[-len(own) :])
    return "".join(next(fresh) if c.isdecimal() else c for c in text if PHONE.fullmatch(c))


def place(text: str, number: int) -> str:
    """A town."""
    return cased(PLACES[number % len(PLACES)], text)


def cased(made: str, text: str) -> str:
    """Words in the case of a text, where it has only one.

    Example:
        >>> cased("Nora Berg", "ADA LOVELACE"), cased("Nora", "ada"), cased("Nora", "McCoy")
        ('NORA BERG', 'nora', 'Nora')
    """
    if text.isupper():
        return made.upper()
    return made.lower() if text.islower() else made


MAKERS: dict[str, Make] = {"name": name, "email": email, "phone": phone, "place": place}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "name": words,
    "email": words,
    "phone": digits,
    "place": words,
}

"""Values that try to fool a scanner: odd spellings, hostile neighbours and noise."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator

from tests.pii.pieces import TEMPLATES, Pieces

ODD: list[str] = TEMPLATES["odd"]
DASHES = ("\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212", "\uff0d", "~", "/", "")
SPACES = ("\u00a0", "\u2009", "\u3000", "\t", "  ", "\n", "")
QUOTES = (("(", ")"), ('"', '"'), ("“", "”"), ("<", ">"), ("[", "]"), ("*", "*"), ("=", ";"))
BLOCKS = (
    *((0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF)),
    *((0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0x1100, 0x11FF), (0x1E00, 0x1EFF)),
    *((0x2000, 0x206F), (0x2150, 0x218F), (0x3040, 0x30FF), (0x4E00, 0x4E80), (0xAC00, 0xAC80)),
    *((0xFB00, 0xFB4F), (0xFF00, 0xFFEF), (0x1D400, 0x1D7FF), (0x1F600, 0x1F640), (0, 0x1F)),
)
KINDS = (
    "phone",
    "card",
    "ssn",
    "email",
    "iban",
    "id",
    "url",
    "ip",
    "name",
    "date",
    "digits",
    "code",
)


class Adversary:
    """Makes hostile values out of ordinary ones."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.chance = pieces.chance

    def value(self) -> str:
        """An ordinary value."""
        return self.pieces.make(self.chance.choice(KINDS))

    def spelt(self) -> str:
        """A value in a spelling that readers take for the same one."""
        value = self.value()
        for _ in range(self.chance.randint(1, 2)):
            value = self.chance.choice(SPELLINGS)(self.chance, value)
        return value

    def glued(self) -> str:
        """Values, or parts of them, with next to nothing between them."""
        between = self.chance.choice(("", "", " ", *ODD, ".", "-", "@", ":", "1", "a"))
        return between.join(self.value() for _ in range(self.chance.randint(2, 4)))

    def halves(self) -> Iterator[str]:
        """Two neighbours that would be one value without the border between them."""
        value = self.value()
        cut = self.chance.randint(0, len(value))
        yield value[:cut]
        yield value[cut:]

    def noise(self) -> str:
        """Characters by chance."""
        return self.chance.choice(NOISES)(self.chance)


def spell_digits(chance: random.Random, value: str) -> str:
    """Some or all digits in another script."""
    script, share = chance.choice(TEMPLATES["scripts"]), chance.choice((0.2, 1.0))
    return "".join(
        script[int(sign)] if sign in string.digits and chance.random() < share else sign
        for sign in value
    )


def fold(chance: random.Random, value: str) -> str:
    """Letters that only fold to those that they stand for."""
    plain, odd = chance.choice([*TEMPLATES["folds"].items()])
    return value.replace(plain, odd) if plain in value else f"{odd}{value}"


def insert(chance: random.Random, value: str) -> str:
    """An odd character somewhere."""
    place = chance.randint(0, len(value))
    return value[:place] + chance.choice(ODD) * chance.randint(1, 2) + value[place:]


def wrap(chance: random.Random, value: str) -> str:
    """An odd character before and behind."""
    sign = chance.choice(ODD)
    return chance.choice((f"{sign}{value}{sign}", f"{sign}{value}", f"{value}{sign}"))


def quote(chance: random.Random, value: str) -> str:
    """Quotes or brackets around it."""
    before, behind = chance.choice(QUOTES)
    return f"{before}{value}{behind}"


def part(chance: random.Random, value: str) -> str:
    """A piece of it."""
    start, stop = sorted(chance.choices(range(len(value) + 1), k=2))
    return value[start:stop]


def swap(chance: random.Random, value: str) -> str:
    """One character changed for another that occurs in it, or for a digit."""
    place = chance.randrange(len(value) or 1)
    return value[:place] + chance.choice(value + string.digits) + value[place + 1 :]


SPELLINGS: tuple[Callable[[random.Random, str], str], ...] = (
    spell_digits,
    spell_digits,
    fold,
    fold,
    insert,
    insert,
    wrap,
    wrap,
    quote,
    part,
    swap,
    lambda chance, value: value.replace("-", chance.choice(DASHES)),
    lambda chance, value: value.replace(" ", chance.choice(SPACES)),
    lambda chance, value: value.swapcase(),
    lambda chance, value: value[::-1],
    lambda chance, value: "".join(f"{sign}\u0301" for sign in value[:40]),
    lambda chance, value: chance.choice(" \t\n") + value + chance.choice(" \t\n"),
    lambda chance, value: value * chance.randint(2, 3),
)
NOISES: tuple[Callable[[random.Random], str], ...] = (
    lambda chance: "".join(chance.choices(string.printable, k=chance.randint(1, 60))),
    lambda chance: "".join(chance.choices("0123456789-. ()+/xX", k=chance.randint(2, 30))),
    lambda chance: "".join(chance.choices("0123456789abcdefABCDEF:.-/", k=chance.randint(2, 45))),
    lambda chance: "".join(
        chr(chance.randint(*chance.choice(BLOCKS))) for _ in range(chance.randint(1, 25))
    ),
    lambda chance: "A" * chance.randint(1, 30) + str(chance.randrange(10 ** chance.randint(1, 20))),
    lambda chance: "+" + str(chance.randrange(10 ** chance.randint(3, 16))),
    lambda chance: str(chance.randrange(10 ** chance.randint(1, 40))),
    lambda chance: ("9" * chance.randint(1, 5) + ".") * chance.randint(1, 30),
    lambda chance: (
        chance.choice("ax-_.") * chance.randint(1, 150) + chance.choice((".com", "@b.de"))
    ),
    lambda chance: "x@" + "a-" * chance.randint(1, 60) + "b.com",
    lambda chance: " ".join(chance.choices(("I", "a", "'s", "the", "US", "no", "1", "."), k=6)),
    lambda chance: chance.choice(TEMPLATES["hostile"]) + chance.choice(TEMPLATES["hostile"]),
)

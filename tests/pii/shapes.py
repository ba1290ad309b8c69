"""Strings that a regular expression matches, made from its parse tree, with a seeded chance.

They reach the recognizers of all countries without a word of knowledge about any of them. What a
pattern looks ahead for is not made, so a string may fail to match; that is welcome too.
"""

from __future__ import annotations

import functools
import random
import re
import string
from collections.abc import Iterable
from re import _constants as codes  # The parse tree is private to CPython; tests may look.
from re import _parser as parser
from typing import Any

from tests.pii.pieces import TEMPLATES

POOL = string.ascii_letters + string.digits + string.punctuation + " \t\n" + TEMPLATES["beyond"]
EXTRA_MAX = 6


def matching(regex: str, chance: random.Random) -> str:
    """A string in the shape of a regular expression; empty where it cannot be read."""
    try:
        tree = parse(regex)
    except (re.error, OverflowError):
        return ""
    return Walk(chance).text(tree)


@functools.cache
def parse(regex: str) -> Any:
    """The parse tree; compiled like Presidio's, without regard to case."""
    return parser.parse(regex.replace("(?i)", ""), re.IGNORECASE | re.MULTILINE | re.DOTALL)


class Walk:
    """One walk through a tree, which remembers what groups held."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.groups: dict[int, str] = {}

    def text(self, tree: Iterable[tuple[Any, Any]]) -> str:
        """What a sequence of nodes may match."""
        return "".join(self.node(*node) for node in tree)

    def node(self, code: Any, argument: Any) -> str:
        """What a node may match."""
        if code in {codes.NOT_LITERAL, codes.ANY, codes.IN}:
            return self.chance.choice(members(code, repr(argument), argument) or "?")
        if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
            least, most, body = argument
            count = self.chance.randint(least, min(int(most), least + EXTRA_MAX))
            return "".join(self.text(body) for _ in range(count))
        made = {
            codes.LITERAL: lambda: self.cased(chr(argument)),
            codes.BRANCH: lambda: self.text(self.chance.choice(argument[1])),
            codes.SUBPATTERN: lambda: self.group(argument[0], argument[-1]),
            codes.ATOMIC_GROUP: lambda: self.text(argument),
            # What has to stand before a match belongs to the text; what it looks ahead for is in it.
            codes.ASSERT: lambda: self.text(argument[1]) if argument[0] < 0 else "",
            codes.GROUPREF: lambda: self.groups.get(argument, ""),
        }
        return made[code]() if code in made else ""

    def group(self, number: int, body: Iterable[tuple[Any, Any]]) -> str:
        """What a group may match; a reference to it matches the same."""
        self.groups[number] = self.text(body)
        return self.groups[number]

    def cased(self, letter: str) -> str:
        """A letter, now and then in the other case or one that folds to it."""
        if self.chance.random() > 0.05:
            return letter
        return str(TEMPLATES["folds"].get(letter.lower(), letter.swapcase()))


MEMBERS: dict[tuple[Any, str], str] = {}


def members(code: Any, key: str, argument: Any) -> str:
    """The characters of the pool that a class of characters holds."""
    if (code, key) not in MEMBERS:
        tree = parse("[a]")
        tree = parser.SubPattern(tree.state, [(code, argument)])
        compiled = re._compiler.compile(tree, re.DOTALL)
        MEMBERS[code, key] = "".join(sign for sign in POOL if compiled.fullmatch(sign))
    return MEMBERS[code, key]

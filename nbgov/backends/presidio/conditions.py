"""What every match of a regex must hold, and whether it can be searched for in joined values.

Both are read off the parse tree of the regex, so they hold for any recognizer. Where the tree is
not understood, nothing is concluded.
The cases are in ``tests/backends/test_detector_conditions.py``.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from posixpath import commonprefix
from typing import Any, NamedTuple

import regex

from nbgov.backends.presidio.syntax import (
    ASCII,
    ONE_CHARACTER,
    Node,
    NotUnderstood,
    ascii_matches,
    is_edge,
    parse,
)

IGNORECASE, MULTILINE = int(regex.I), int(regex.M)
LENGTH = "characters"
KINDS: dict[str, frozenset[str]] = {
    "digits": frozenset(string.digits),
    "letters": frozenset(string.ascii_letters),
    "letters or digits": frozenset(string.digits + string.ascii_letters),
    **{sign: frozenset(sign) for sign in "@.:-/"},
}
"""Kinds of characters that are counted."""

PAIRS = {
    "digits beside digits": ("digits", "digits"),
    "letters before digits": ("letters", "digits"),
    "dots before letters": (".", "letters"),
}
"""Kinds of neighbours that are counted."""

SEPARATORS = ("\n", "\0")
NOTHING: frozenset[str] = frozenset()

LITERAL_MAX = 32
"""Repetitions of a literal text that are written out at most."""


class Needs(NamedTuple):
    """What is known of the matches of one regex.

    Attributes:
        counts: How many ASCII characters and neighbours of each kind a match in an ASCII value
            holds at least.
        literal: What a match in an ASCII value holds in lower or upper case; empty if unknown.
        separator: A character that no part of the regex can match, so that values joined with it
            can be searched at once; ``None`` if there is none.
        reason: Why there is no separator; empty if there is one.
    """

    counts: Counter[str]
    separator: str | None
    reason: str = ""
    literal: str = ""


def needs_of(compiled: regex.Pattern[str]) -> Needs:
    r"""What the matches of a compiled regex need.

    Example:
        >>> needs = needs_of(regex.compile(r"\b[0-9]{3}(-|:)?\d{2}@", regex.I | regex.M))
        >>> needs.counts["digits"], needs.counts["@"], needs.separator
        (5, 1, '\n')
        >>> needs_of(regex.compile(r"\p{Nd}+")).reason
        'its syntax is known to the regex module only'
    """
    return read(compiled.pattern, compiled.flags)


@cache
def read(pattern: str, flags: int) -> Needs:
    """The same for the text of a regex and the flags it was compiled with."""
    reader = Reader(flags)
    try:
        shape = reader.sequence(parse(pattern, flags))
    except NotUnderstood as error:
        return Needs(Counter(), None, str(error))
    return Needs(shape.counts, *reader.separator(), shape.literal)


class Shape(NamedTuple):
    """What is known of whatever matches a part of a regex.

    Attributes:
        counts: How many of each kind it holds at least.
        first, last: The ASCII characters that it can begin and end with, if it is not empty.
        is_solid: Whether it is never empty.
        whole: All that it is, in lower case; ``None`` if that varies by more than case.
        head, tail: What it begins and ends with, in lower case.
        literal: The longest text that it is known to hold, in lower case.
    """

    counts: Counter[str]
    first: frozenset[str] = NOTHING
    last: frozenset[str] = NOTHING
    is_solid: bool = False
    whole: str | None = None
    head: str = ""
    tail: str = ""
    literal: str = ""


EMPTY = Shape(Counter(), whole="")


@dataclass
class Reader:
    """Reads a parse tree once, and remembers what its nodes can match.

    Attributes:
        flags: The flags that the regex was compiled with.
        touched: Every character of ASCII that a node can match, in a match or beside it.
        has_line_anchor: Whether a node asks where a line begins or ends.
        has_string_anchor: Whether a node asks where the text begins or ends.
    """

    flags: int
    touched: set[str] = field(default_factory=set)
    has_line_anchor: bool = False
    has_string_anchor: bool = False

    def sequence(self, tree: Iterable[Node]) -> Shape:
        """What is known of nodes one behind the other: their counts add up."""
        return reduce(joined, (self.node(node) for node in tree), EMPTY)

    def node(self, node: Node) -> Shape:
        """What is known of one node."""
        operation, argument = str(node[0]), node[1]
        if operation in ONE_CHARACTER:
            return self.character(node)
        if operation in {"ASSERT", "ASSERT_NOT", "AT", "FAILURE"}:
            self.condition(operation, argument)
            return EMPTY
        return self.compound(operation, argument)

    def compound(self, operation: str, argument: Any) -> Shape:
        """What is known of a node that is made of others.

        Raises:
            NotUnderstood: The node is of an unknown kind.
        """
        match operation:
            case "BRANCH":
                shape = self.branches(argument[1])
            case "SUBPATTERN":
                shape = self.group(*argument)
            case "ATOMIC_GROUP":
                shape = self.sequence(argument)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                shape = repeated(self.sequence(argument[2]), *argument[:2])
            case "GROUPREF":
                # What a group held holds no separator if no node matches one.
                shape = Shape(Counter(), ASCII, ASCII)
            case "GROUPREF_EXISTS":
                shape = either(self.sequence(argument[1]), self.sequence(argument[2] or ()))
            case _:
                raise NotUnderstood("its syntax is not understood")
        return shape

    def condition(self, operation: str, argument: Any) -> None:
        """Read a node that matches nothing by itself."""
        if operation.startswith("ASSERT"):
            self.look(*argument)
        elif operation == "AT":
            self.stand(str(argument))

    def character(self, node: Node) -> Shape:
        """What is known of a node for one character."""
        matched = ascii_matches(node, self.flags)
        self.touched |= matched
        counts = Counter({LENGTH: 1} | {k: 1 for k, held in KINDS.items() if matched <= held})
        letters = {char.lower() for char in matched}
        if len(letters) != 1:
            return Shape(counts, matched, matched, is_solid=True)
        [letter] = letters
        return Shape(counts, matched, matched, True, letter, letter, letter, letter)  # noqa: FBT003

    def branches(self, branches: Sequence[Sequence[Node]]) -> Shape:
        """What is known of every branch."""
        if any(is_edge(branches, side) for side in (-1, 1)):
            # It holds at the edge of a value, alone or joined, by its anchor.
            self.has_line_anchor = True
            return EMPTY
        return reduce(either, map(self.sequence, branches))

    def group(self, _number: Any, added: int, removed: int, body: Any) -> Shape:
        """What is known of a group, which may switch whether the case of letters matters.

        Raises:
            NotUnderstood: It switches anything else.
        """
        if (added | removed) & ~IGNORECASE:
            raise NotUnderstood("its flags are not understood")
        outer, self.flags = self.flags, (self.flags | added) & ~removed
        shape = self.sequence(body)
        self.flags = outer
        return shape

    def look(self, side: int, body: Sequence[Node]) -> None:
        """Read what a match looks at without holding it."""
        match [(str(operation), argument) for operation, argument in body]:
            case [("BRANCH", (_, branches))] if is_edge(branches, side, is_inside=True):
                self.has_line_anchor = True
            case _:
                self.sequence(body)

    def stand(self, anchor: str) -> None:
        """Read where a match stands."""
        match anchor:
            case "AT_BEGINNING" | "AT_END":
                self.has_line_anchor = True
            case "AT_BOUNDARY" | "AT_NON_BOUNDARY":
                pass  # A separator is part of no word, and neither is the end of a value.
            case _:
                self.has_string_anchor = True

    def separator(self) -> tuple[str | None, str]:
        """A separator that keeps joined values apart, or why there is none."""
        if self.has_string_anchor or (self.has_line_anchor and not self.flags & MULTILINE):
            return None, "it asks where the text begins or ends"
        # A line begins and ends at the first separator only.
        usable = SEPARATORS[:1] if self.has_line_anchor else SEPARATORS
        for separator in usable:
            if separator not in self.touched:
                return separator, ""
        return None, "it could look into the next value"


def joined(before: Shape, after: Shape) -> Shape:
    """What is known of two parts one behind the other."""
    counts = before.counts + after.counts
    if before.is_solid and after.is_solid:
        counts.update(pairs(before.last, after.first))
    is_fixed = before.whole is not None and after.whole is not None
    return Shape(
        counts,
        before.first if before.is_solid else before.first | after.first,
        after.last if after.is_solid else before.last | after.last,
        before.is_solid or after.is_solid,
        whole=f"{before.whole}{after.whole}" if is_fixed else None,
        head=before.head if before.whole is None else before.whole + after.head,
        tail=after.tail if after.whole is None else before.tail + after.whole,
        literal=max(before.literal, before.tail + after.head, after.literal, key=len),
    )


def either(one: Shape, other: Shape) -> Shape:
    """What is known of one of two parts."""
    head = commonprefix([one.head, other.head])
    tail = commonprefix([one.tail[::-1], other.tail[::-1]])[::-1]
    return Shape(
        one.counts & other.counts,
        one.first | other.first,
        one.last | other.last,
        one.is_solid and other.is_solid,
        whole=one.whole if one.whole == other.whole else None,
        head=head,
        tail=tail,
        literal=one.literal if one.literal == other.literal else max(head, tail, key=len),
    )


def repeated(part: Shape, least: int, most: int) -> Shape:
    """What is known of a part that comes so often."""
    if not least:
        return Shape(Counter(), part.first, part.last)
    counts = Counter({kind: count * least for kind, count in part.counts.items()})
    if part.is_solid:
        counts.update(dict.fromkeys(pairs(part.last, part.first), least - 1))
    if part.whole is None:
        return part._replace(counts=+counts)
    text = part.whole * min(least, LITERAL_MAX)
    whole = text if least == most <= LITERAL_MAX else None
    return part._replace(counts=+counts, whole=whole, head=text, tail=text, literal=text)


def pairs(left: frozenset[str], right: frozenset[str]) -> list[str]:
    """The kinds of neighbours that two characters are, whichever of these they are."""
    return [pair for pair, (a, b) in PAIRS.items() if left <= KINDS[a] and right <= KINDS[b]]

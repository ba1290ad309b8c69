"""The parse tree of a regex, where the modules ``re`` and ``regex`` are known to read it alike.

Presidio matches with ``regex``, and only ``re`` shows its tree. What a single node of the tree
matches is not worked out here: the ``regex`` module is asked, for each character of ASCII.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import regex

ASCII = frozenset(map(chr, range(128)))
CASELESS = "(?i)"
CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
ONE_CHARACTER = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
"""Operations of nodes that match exactly one character."""

UNDERSTOOD = int(regex.I | regex.M | regex.S | regex.U | regex.V0)
"""The flags of compiled regexes that are understood."""

Node = tuple[Any, Any]
"""An operation and its argument."""


class NotUnderstood(Exception):
    """The two modules may read a regex differently, or a node of its tree is unknown."""


def parse(pattern: str, flags: int) -> Sequence[Node]:
    """The parse tree of a regex.

    Args:
        pattern: The text of the regex.
        flags: The flags of the compiled regex.

    Raises:
        NotUnderstood: The tree may not be what the regex module makes of the text.
    """
    if flags & ~UNDERSTOOD:
        raise NotUnderstood("its flags are not understood")
    # What is escaped and what stands in a set is no syntax.
    unescaped = re.sub(r"\\.", "x", pattern, flags=re.DOTALL)
    plain = re.sub(r"\[\^?\]?[^\]]*\]", "x", unescaped)
    if (
        # The regex module reads "{e<=1}" as "with at most one error".
        re.search(r"\{(?!(\d+(,\d*)?|,\d+)\})", plain)
        # A group's number of two digits may be read as an octal number.
        or re.search(r"\\[0-9]{2}", pattern)
        # "[a[:digit:]]" holds a set within a set, "[:-]" does not.
        or re.search(r"\[\^?\]?[^\]]*\[:", unescaped)
    ):
        raise NotUnderstood("its syntax is known to the regex module only")
    # The regex module takes this flag anywhere, re at the beginning; it is on already.
    if flags & regex.I and plain.count(CASELESS) == pattern.count(CASELESS):
        pattern = pattern.replace(CASELESS, "")
    try:
        with warnings.catch_warnings(action="error"):
            tree: Any = importlib.import_module("re._parser").parse(pattern)
    except (ImportError, RecursionError, re.error, FutureWarning, DeprecationWarning):
        tree = None
    if tree is None or tree.state.flags & ~flags:
        raise NotUnderstood("its syntax is known to the regex module only")
    return tuple(tree)


def ascii_matches(node: Node, flags: int) -> frozenset[str]:
    """The characters of ASCII that a node for one character matches.

    Raises:
        NotUnderstood: The node is of an unknown kind.
    """
    return matched_by(fragment(*node), flags)


@cache
def matched_by(members: str, flags: int) -> frozenset[str]:
    """The same for the node's text, says the regex module itself."""
    compiled = regex.compile(members, flags)
    return frozenset(char for char in ASCII if compiled.fullmatch(char))


def fragment(operation: Any, argument: Any) -> str:
    """A node that matches one character, as the text of a regex again.

    Raises:
        NotUnderstood: The node is of an unknown kind.
    """
    match str(operation):
        case "LITERAL":
            text = escaped(argument)
        case "NOT_LITERAL":
            text = f"[^{escaped(argument)}]"
        case "ANY":
            text = "."
        case "RANGE":
            text = f"{escaped(argument[0])}-{escaped(argument[1])}"
        case "CATEGORY" if str(argument) in CATEGORIES:
            text = CATEGORIES[str(argument)]
        case "NEGATE":
            text = "^"
        case "IN":
            text = f"[{''.join(fragment(*member) for member in argument)}]"
        case _:
            raise NotUnderstood("its syntax is not understood")
    return text


def escaped(code: int) -> str:
    """A character as an escape that both modules read alike."""
    return f"\\U{code:08x}"


def is_edge(branches: Sequence[Sequence[Node]], side: int, *, is_inside: bool = False) -> bool:
    r"""Whether branches say "one of these characters on that side, or the edge of a line".

    ``(?:^|(?<=\W))`` of a deny list is of the kind, and ``\s|$`` in ``(?=\s|$)``.

    Args:
        branches: The branches.
        side: -1 for what stands before, 1 for what stands behind.
        is_inside: Whether the branches stand in a lookaround already.
    """
    edge = "AT_BEGINNING" if side < 0 else "AT_END"
    has_edge = False
    for branch in branches:
        match [(str(operation), argument) for operation, argument in branch]:
            case [("AT", anchor)] if str(anchor) == edge:
                has_edge = True
            case [(operation, _)] if is_inside and operation in ONE_CHARACTER:
                pass
            case [("ASSERT", (looked, body))] if not is_inside and looked == side:
                if is_edge([body], side, is_inside=True):
                    has_edge = True
                elif [str(operation) in ONE_CHARACTER for operation, _ in body] != [True]:
                    return False
            case _:
                return False
    return has_edge

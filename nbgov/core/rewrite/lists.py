"""Where the expressions of a query's lists stand in its text, of which the names can be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.statement.text import LITERALS

OPENING, CLOSING = {"(", "[", "{"}, {")", "]", "}"}
QUOTE = '"'
LISTS = {"SELECT", "RETURNING"}
# Words that end a list of expressions, and say what the brackets after them hold.
CLAUSES = LISTS | {
    "EXCEPT", "FETCH", "FOR", "FROM", "GROUP", "HAVING", "INSERT", "INTERSECT", "INTO", "JOIN",
    "LIMIT", "LOCK", "MINUS", "OFFSET", "ON", "ORDER", "PROCEDURE", "QUALIFY", "UNION", "USING",
    "WHERE", "WINDOW", "WITH",
}  # fmt: skip
# Whether the names of a query can be seen that stands in brackets, by the clause; if it is none of
# these, they can be seen where those around it can.
SHOWN = {
    **dict.fromkeys(CLAUSES - {"EXCEPT", "INTERSECT", "MINUS", "UNION"}, False),
    **dict.fromkeys(("FROM", "JOIN", "WITH"), True),
}
# Clauses after which the names of a query do not matter: it fills a table.
FILLING = {"INSERT", "INTO"}
# Words before which FROM and GROUP are part of an expression.
JOINTS = {"DISTINCT", "WITHIN"}
# What may follow an alias, and no clause begins with.
ALIASED = {",", ";", *CLOSING, "FROM"}
MODIFIERS = {
    "ALL", "DISTINCT", "DISTINCTROW", "HIGH_PRIORITY", "SQL_BIG_RESULT", "SQL_BUFFER_RESULT",
    "SQL_CACHE", "SQL_CALC_FOUND_ROWS", "SQL_NO_CACHE", "SQL_SMALL_RESULT", "STRAIGHT_JOIN",
}  # fmt: skip


@dataclass(slots=True)
class Level:
    """What stands between two brackets, as far as it was read.

    Attributes:
        is_shown: Whether the names of a query here can be seen.
        clause: The word of the clause that is being read.
        start: The token that begins an expression with a name, if one is being read.
    """

    is_shown: bool = True
    clause: str = ""
    start: int | None = None


def expressions(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """Where the expressions of every list stand whose names can be seen, as ranges of tokens."""
    words = [word_of(one) for one in tokens]
    levels = [Level()]
    for index, word in enumerate(words):
        level = levels[-1]
        if word in OPENING:
            levels.append(Level(is_shown=SHOWN.get(level.clause, level.is_shown)))
        elif word in CLOSING:
            yield from ended(level, index)
            levels.pop()
        elif word in {",", ";"}:
            is_list = word == "," and level.start is not None
            yield from ended(level, index)
            level.start = index + 1 if is_list else None
        elif is_clause(words, index) and index >= (level.start or 0):
            yield from ended(level, index)
            is_seen = level.is_shown and (word == "RETURNING" or level.clause not in FILLING)
            level.start = first_of(words, index + 1) if word in LISTS and is_seen else None
            level.clause = word
    yield from ended(levels[0], len(tokens))


def word_of(token: Token) -> str:
    """A word or sign, of which ``ORDER BY`` is one to the tokenizer; nothing that is quoted."""
    if token.token_type in LITERALS or token.token_type is TokenType.IDENTIFIER:
        return QUOTE
    return token.text.upper().split()[0]


def ended(level: Level, index: int) -> Iterator[tuple[int, int]]:
    """The expression that ends before a token, if one does."""
    if level.start is not None and level.start < index:
        yield level.start, index
    level.start = None


def is_clause(words: Sequence[str], index: int) -> bool:
    """Whether a word begins a clause, rather than being a name or a part of an expression."""
    if words[index] not in CLAUSES or words[index - 1] in JOINTS:
        return False
    # SELECT 1 window FROM t: what nothing follows is an alias.
    return words[index] in LISTS or not ALIASED.issuperset(words[index + 1 : index + 2] or ",")


def first_of(words: Sequence[str], index: int) -> int:
    """The first token of a list, behind words such as ``DISTINCT``."""
    while MODIFIERS.issuperset(words[index : index + 1] or ","):
        index += 1
    if words[index : index + 2] == ["ON", "("]:
        depth, index = 1, index + 2
        while depth:
            depth += (words[index] in OPENING) - (words[index] in CLOSING)
            index += 1
    return index

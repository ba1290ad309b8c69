"""The words of a statement that is no query: its tokens, with what is quoted told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.statement.text import LITERALS
from nbgov.model import Span

Place = tuple[int, int, int, int, list[str]]
# What SQLite does with a row in the way of an UPDATE, rolling back left out.
IN_THE_WAY = {"ABORT", "FAIL", "IGNORE", "REPLACE"}
MODIFIERS: Mapping[TokenType, tuple[str, ...]] = {
    TokenType.DELETE: ("IGNORE", "LOW_PRIORITY", "QUICK"),
    TokenType.INSERT: ("DELAYED", "HIGH_PRIORITY", "LOW_PRIORITY"),
    TokenType.REPLACE: ("DELAYED", "LOW_PRIORITY"),
    TokenType.UPDATE: ("IGNORE", "LOW_PRIORITY"),
}
QUOTED = LITERALS | {TokenType.IDENTIFIER}


@dataclass(frozen=True, slots=True)
class Word:
    """A token of a statement that is read by its words.

    Attributes:
        text: As a name: what a quoted one holds, or the token as written.
        upper: The token in upper case; empty for what is quoted, so that it is no keyword.
        span: Where it stands.
    """

    text: str
    upper: str
    span: Span


def words_of(tokens: Sequence[Token]) -> tuple[Word, ...]:
    """The words of a statement."""
    words: list[Word] = []
    for token in tokens:
        span = Span(token.start, token.end + 1)
        if token.token_type in QUOTED:
            words.append(Word(token.text, "", span))
            continue
        # Some keywords of two words are one token.
        words += (Word(part, part.upper(), span) for part in token.text.split())
    return tuple(words)


def plain_insert(tokens: Sequence[Token], dialect: str) -> list[Token]:
    """The tokens with spellings of writes that the parser does not know written plainly.

    ``REPLACE INTO`` is ``INSERT OR REPLACE INTO``. What MySQL says about priorities, and what it
    and SQLite say about rows in the way of an UPDATE, is left out; see :func:`replaces_rows`.
    """
    result: list[Token] = []
    skipped = 0
    for index, token in enumerate(tokens):
        if skipped:
            skipped -= 1
            continue
        follower = tokens[index + 1].text.upper() if index + 1 < len(tokens) else ""
        before = tokens[index - 1].token_type if index else None
        is_word = token.text.upper() == "REPLACE" and token.token_type not in QUOTED
        is_head = is_word and (index == 0 or follower == "INTO") and before is not TokenType.OR
        if dialect in {"mysql", "sqlite"} and is_head:
            place: Place = (token.line, token.col, token.start, token.end, [])
            result.append(Token(TokenType.INSERT, "INSERT", *place))
            result.append(Token(TokenType.OR, "OR", *place))
            result.append(Token(TokenType.REPLACE, "REPLACE", *place))
        else:
            result.append(token)
        skipped = modifiers_after(tokens, index, dialect)
    return result


def modifiers_after(tokens: Sequence[Token], index: int, dialect: str) -> int:
    """How many tokens behind the verb of a write say nothing about what it changes."""
    verb = tokens[index].token_type
    words = [token.text.upper() for token in tokens[index + 1 : index + 5]]
    if dialect == "sqlite" and verb is TokenType.UPDATE and words[:1] == ["OR"]:
        return 2 if words[1:2] != [] and words[1] in IN_THE_WAY else 0
    known = MODIFIERS.get(verb, ()) if dialect == "mysql" else ()
    count = 0
    while count < len(words) - 1 and words[count] in known and words[count + 1] != "SET":
        count += 1
    return count


def replaces_rows(tokens: Sequence[Token]) -> bool:
    """Whether an UPDATE deletes the rows that are in its way, as SQLite's ``OR REPLACE`` does."""
    words = [token.text.upper() for token in tokens]
    triples = zip(words, words[1:], words[2:], strict=False)
    return ("UPDATE", "OR", "REPLACE") in triples

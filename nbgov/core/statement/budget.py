"""How much work a text makes for a parser, estimated from its tokens before it is parsed.

sqlglot reads some forms twice: a type's name before a bracket, first as a type and then as a
function, and a join, first with the joins after it as its own. Nested, the time doubles with every
level, and the compiled parser cannot be interrupted. PostgreSQL's parser recurses in C over a chain
of operators, where a long one ends the process.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import Parser
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.errors import RequestInvalid

# What a parser of sqlglot raises on a text that it does not like, its own slips included.
PARSER_ERRORS = (
    SqlglotError, RecursionError, ArithmeticError, AssertionError, AttributeError, LookupError,
    TypeError, ValueError,
)  # fmt: skip
# Tokens read, repeated reading counted: some two seconds.
TOKENS_READ_MAX = 400_000
# Tokens of one expression outside of brackets, and joins and set operations of one text.
CHAIN_TOKENS_MAX = 1_000
OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
JOINS = {TokenType.JOIN, TokenType.STRAIGHT_JOIN}
PLAIN_JOINS = {TokenType.CROSS, TokenType.NATURAL}
JOINED = {TokenType.ON, TokenType.USING}
SET_OPERATIONS = {TokenType.EXCEPT, TokenType.INTERSECT, TokenType.UNION}
AFTER_JOINS = SET_OPERATIONS | {
    TokenType.COMMA, TokenType.GROUP_BY, TokenType.HAVING, TokenType.LIMIT, TokenType.ORDER_BY,
    TokenType.SELECT, TokenType.SEMICOLON, TokenType.WHERE,
}  # fmt: skip
BETWEEN_CHAINS = AFTER_JOINS | JOINS | JOINED | {
    TokenType.AND, TokenType.ELSE, TokenType.OR, TokenType.THEN, TokenType.WHEN,
}  # fmt: skip


def check_work(tokens: Sequence[Token]) -> None:
    """Refuse a text that would keep a parser busy for too long, or end it.

    Raises:
        RequestInvalid: Types in brackets or joins without a condition are nested too deep, or a
            chain of operators, joins or set operations is too long.
    """
    if sum(t.token_type in JOINS | SET_OPERATIONS for t in tokens) > CHAIN_TOKENS_MAX:
        raise too_much("it joins or unites too many queries", "do it in several statements")
    # Each open bracket, innermost last: how often its tokens are read anew, as a power of two, for
    # the brackets around it and for the joins that wait for their condition; the chain's length.
    levels = [(0, 0, 0)]
    work = 0
    before = TokenType.SEMICOLON
    for token in tokens:
        kind = token.token_type
        around, joins, chain = levels[-1]
        levels[-1] = (around, joins_after(kind, before, joins), chain_after(kind, chain))
        if kind in OPENING:
            levels.append((around + joins + (before in Parser.TYPE_TOKENS), 0, 0))
        elif kind in CLOSING and len(levels) > 1:
            levels.pop()
        if chain > CHAIN_TOKENS_MAX:
            raise too_much(
                "a chain of operators is too long", "use fewer of them in one expression"
            )
        work += 2 ** (levels[-1][0] + levels[-1][1])
        if work > TOKENS_READ_MAX:
            raise too_much(
                "types in brackets, or joins without a condition, are nested too deep",
                "give each join its ON directly after it, or nest less",
            )
        before = kind


def joins_after(kind: TokenType, before: TokenType, joins: int) -> int:
    """How many joins wait for their condition after a token."""
    if kind in JOINS and before not in PLAIN_JOINS:
        return joins + 1
    if kind in JOINED:
        return max(joins - 1, 0)
    return 0 if kind in AFTER_JOINS else joins


def chain_after(kind: TokenType, chain: int) -> int:
    """How many tokens stand in a chain after a token."""
    return 0 if kind in BETWEEN_CHAINS else chain + 1


def too_much(why: str, next_step: str) -> RequestInvalid:
    """The error of a text that is too much for a parser."""
    return RequestInvalid(
        "The statement takes too long to parse.",
        code="statement-too-large",
        why=why,
        next_step=next_step,
    )

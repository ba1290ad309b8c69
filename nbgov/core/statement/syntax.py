"""The syntax tree of a statement, and the errors of a text that has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError
from sqlglot.parser import logger
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.statement.budget import PARSER_ERRORS
from nbgov.core.statement.names import not_understood
from nbgov.core.statement.text import placed, tokenize
from nbgov.core.statement.words import plain_insert
from nbgov.errors import RequestInvalid
from nbgov.model import BindMarker


def may_be_logged(_: Any) -> bool:
    """Whether a message of sqlglot's may be logged: none may, since it quotes statements."""
    return False


# Security: sqlglot logs what it does not know of a statement, values and all. A statement that it
# does not know is denied, so that nothing is missed.
logger.addFilter(may_be_logged)


def single(tokens: Sequence[Token]) -> list[Token]:
    """The tokens of the one statement that a text may hold, semicolons left out.

    Raises:
        RequestInvalid: The text holds more than one statement.
    """
    groups, is_open = 0, False
    for token in tokens:
        starts = token.token_type is not TokenType.SEMICOLON
        groups += starts and not is_open
        is_open = starts
    if groups != 1:
        raise RequestInvalid(
            f"The request holds {groups} statements.",
            code="not-one-statement",
            why="each statement is decided, recorded and approved by itself",
            next_step="run them one at a time",
        )
    return [token for token in tokens if token.token_type is not TokenType.SEMICOLON]


def read_tree(sql: str, dialect: str, markers: Sequence[BindMarker] = ()) -> exp.Expr:
    """The syntax tree of a text that holds one statement, with a placeholder for every marker."""
    tokens = plain_insert(placed(tokenize(sql, dialect), markers), dialect)
    try:
        parser = sqlglot.Dialect.get_or_raise(dialect).parser()
        trees = [t for t in parser.parse(tokens, sql) if t is not None]
    except PARSER_ERRORS as error:
        raise syntax_error(error) from None
    statements = [t for t in trees if not isinstance(t, exp.Semicolon)]
    if len(statements) != 1:
        raise not_understood("the parser does not see exactly one statement")
    return statements[0]


def syntax_error(error: Exception) -> RequestInvalid:
    """The error of a text that does not parse, with its position but without its words."""
    where = ""
    if isinstance(error, ParseError) and error.errors and error.errors[0].get("line"):
        first = error.errors[0]
        where = f" near line {first['line']}, column {first['col']}"
    return RequestInvalid(
        f"The statement does not parse{where}.",
        code="syntax",
        next_step="correct the SQL there and run it again",
    )

"""What can be told of a text for any database: how many statements it holds."""

from __future__ import annotations

from nbgov.backends.sqlalchemy.transaction import check_comments, count_statements
from nbgov.core.statement import tokenize
from nbgov.errors import RequestInvalid
from nbgov.model import EngineOpinion


def opinion(sql: str, dialect: str) -> EngineOpinion:
    """How many statements the text holds; a driver cannot tell more without running it.

    The parser is the one that nbgov itself reads with, so this is no second opinion on anything
    else.

    Raises:
        RequestInvalid: The text is not SQL of the dialect, or holds a comment that the server runs.
    """
    tokenize(sql, dialect)
    check_comments(sql, dialect)
    try:
        return EngineOpinion(count_statements(sql, dialect))
    except RecursionError:
        raise RequestInvalid(
            "The statement is nested too deeply.",
            code="statement-too-large",
            next_step="break it up with common table expressions",
        ) from None

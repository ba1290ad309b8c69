"""Recognises what our masks leave behind, so that nobody writes it back over real values."""

from __future__ import annotations

from typing import Any

from nbgov.core import pseudonym
from nbgov.core.statement.text import LITERALS, tokenize
from nbgov.model import Statement


def holds_token(value: Any) -> bool:
    """Whether a bound value, or an item of a list of them, holds a text that one of our masks made.

    Example:
        >>> holds_token("***6789"), holds_token(["a", "***"]), holds_token(7)
        (True, True, False)
    """
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(holds_token, value))
    if isinstance(value, bytes):
        return pseudonym.holds_token(value.decode("latin-1"))
    return isinstance(value, str) and pseudonym.holds_token(value)


def writes_token(statement: Statement) -> bool:
    """Whether the text of a write has such a value among its literals."""
    if statement.is_read:
        return False
    tokens = tokenize(statement.sql, statement.dialect)
    return any(t.token_type in LITERALS and holds_token(t.text) for t in tokens)

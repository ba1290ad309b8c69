"""Bound values as clients of Flight SQL send them: a row of Arrow, by name or by place.

nbgov's statements have ``:name`` markers. A client of ADBC writes ``?`` or ``$1``; each of them
becomes the marker ``:pN``, in place and by the one tokenizer that knows what a literal is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlglot.tokenizer_core import TokenType

from nbgov.core.statement import find_binds
from nbgov.core.statement.text import tokenize
from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "p"


def places(sql: str, dialect: str) -> list[tuple[int, int, int]]:
    """Where ``?`` and ``$N`` stand in a text: start, end, and the number of the value."""
    tokens = tokenize(sql, dialect)
    found, count = [], 0
    for index, token in enumerate(tokens):
        text = sql[token.start : token.end + 1]
        follower = tokens[index + 1] if index + 1 < len(tokens) else None
        if token.token_type is TokenType.PLACEHOLDER and text == "?":
            count += 1
            found.append((token.start, token.end + 1, count))
        elif text == "$" and follower is not None and follower.text.isdecimal():
            found.append((token.start, follower.end + 1, int(follower.text)))
    return found


def count_markers(sql: str, dialect: str) -> int:
    """How many values a text asks for."""
    named = {marker.name for marker in find_binds(sql, dialect)}
    return len(named) or max((number for *_, number in places(sql, dialect)), default=0)


def bound(
    sql: str, dialect: str, names: list[str], values: list[Any]
) -> tuple[str, dict[str, Any]]:
    """A text with named markers only, and its values.

    Args:
        sql: The text.
        dialect: sqlglot's name of its dialect.
        names: Names of the values, which count where the text has markers of these names.
        values: The values.

    Raises:
        RequestInvalid: There are more or fewer values than markers (``bind-missing``).
    """
    named = list(dict.fromkeys(marker.name for marker in find_binds(sql, dialect)))
    if named:
        if set(named) <= set(names):
            known = dict(zip(names, values, strict=True))
            return sql, {name: known[name] for name in named}
        require_count(len(named), values)
        return sql, dict(zip(named, values, strict=True))
    marks = places(sql, dialect)
    require_count(max((number for *_, number in marks), default=0), values)
    pieces, end = [], 0
    for start, stop, number in marks:
        pieces += [sql[end:start], f":{PREFIX}{number}"]
        end = stop
    text = "".join([*pieces, sql[end:]])
    return text, {f"{PREFIX}{number}": value for number, value in enumerate(values, 1)}


def require_count(wanted: int, values: list[Any]) -> None:
    """See that there is a value for every marker, and none beside.

    Raises:
        RequestInvalid: There is not (``bind-missing``).
    """
    if wanted != len(values):
        raise RequestInvalid(
            f"The statement has {wanted} markers, and {len(values)} values are bound.",
            code="bind-missing",
            next_step="bind one value for each marker",
        )


def rows_of(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[list[str], list[Any]]]:
    """The names and the values of each row of parameters."""
    for batch in batches:
        names = batch.schema.names
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield names, list(row)

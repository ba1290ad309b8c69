"""The names of a result's columns, kept as the engine gives them for the user's own text.

DuckDB, SQLite and MySQL name an expression without an alias after its text, and a rewrite changes
the text of a subquery. Such an expression gets the name that it had as its alias, wherever a name
can be seen: in the result, in a derived table, in a common table expression, in a new table. MySQL
names a column as the statement spells it, but a projection's column as the projection does.
PostgreSQL names an expression after the function or column in it, which no rewrite changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sqlglot import exp

from nbgov.core.rewrite.lists import expressions
from nbgov.core.rewrite.masks import quote
from nbgov.core.rewrite.pieces import Edit
from nbgov.core.rewrite.respelled import respelled
from nbgov.core.statement import tokenize
from nbgov.core.statement.syntax import read_tree
from nbgov.errors import NbgovError
from nbgov.model import BindMarker, Column, Span, Statement

NAMING_DIALECTS = {"duckdb", "mysql", "sqlite"}
# MariaDB and MySQL cut the name of an expression, and write ? for what is not in the first plane.
MYSQL_CHARACTERS_MAX = 255
BRACKETS = "() \t\r\n"
MYSQL_STRANGE = re.compile("[\U00010000-\U0010ffff]")
# What has a name of its own, or several.
NAMED = (exp.Alias, exp.Aliases, exp.Column, exp.Columns, exp.Explode, exp.Star, exp.Unnest)


@dataclass(frozen=True, slots=True)
class Heading:
    """An expression that the engine names after its text, which a rewrite would change.

    Attributes:
        span: Where it stands.
        text: Its own text.
        name: The name that it has without the rewrite, as far as nbgov knows.
        is_bound: Whether it holds a marker, so that the engine has no name for it.
    """

    span: Span
    text: str
    name: str
    is_bound: bool


def untitled(statement: Statement) -> tuple[str, ...]:
    """Expressions that only the engine can name, since it writes them in its own way."""
    if statement.dialect != "duckdb":
        return ()
    return tuple(one.text for one in headings(statement) if not one.is_bound)


def heading_edits(
    statement: Statement, titles: Mapping[str, str], projected: Iterable[Column]
) -> Iterator[Edit]:
    """An alias behind every expression whose name a rewrite would change.

    Args:
        statement: The statement.
        titles: The engine's names for expressions, by their text.
        projected: The columns of the tables that become projections.
    """
    for one in headings(statement, {column.name for column in projected}):
        name = quote(titles.get(one.text, one.name), statement.dialect)
        yield Span(one.span.end, one.span.end), [f" AS {name}"]


def headings(statement: Statement, projected: AbstractSet[str] = frozenset()) -> Iterator[Heading]:
    """The expressions that the engine names after a text which a rewrite would change."""
    if statement.dialect not in NAMING_DIALECTS or statement.plan:
        return
    sql, tokens = statement.sql, tokenize(statement.sql, statement.dialect)
    changed = [*(use.span for use in statement.tables), *statement.qualifiers]
    spelled = respelled(statement, projected)
    for start, end in expressions(tokens):
        span = Span(tokens[start].start, tokens[end - 1].end + 1)
        text = sql[span.start : span.end]
        behind = sql[span.end : tokens[end].start] if end < len(tokens) else sql[span.end :]
        name = name_of(text, behind, statement.dialect)
        binds = [marker for marker in statement.binds if is_in(marker.span, span)]
        is_cut = name != text and not any(token.text != ";" for token in tokens[end:])
        is_changed = is_cut or binds or any(is_in(one, span) for one in changed)
        if bare(span, text) in spelled:
            yield Heading(span, text, spelled[bare(span, text)], is_bound=False)
        elif is_changed and has_no_name(text, span.start, statement.dialect, binds):
            yield Heading(span, text, name, is_bound=bool(binds))


def name_of(text: str, behind: str, dialect: str) -> str:
    """What an engine calls an expression, as far as nbgov knows.

    Args:
        text: The expression.
        behind: Comments and white space behind it, which SQLite takes for a part of it.
        dialect: The engine's dialect.
    """
    if dialect == "sqlite":
        return (text + behind).rstrip()
    if dialect == "mysql":
        return MYSQL_STRANGE.sub("?", text)[:MYSQL_CHARACTERS_MAX].rstrip()
    return text


def bare(span: Span, text: str) -> Span:
    """Where an expression stands without the brackets around it."""
    start = span.start + len(text) - len(text.lstrip(BRACKETS))
    return Span(start, start + len(text.strip(BRACKETS)))


def is_in(inner: Span, outer: Span) -> bool:
    """Whether a span lies in another one."""
    return outer.start <= inner.start and inner.end <= outer.end


def has_no_name(text: str, start: int, dialect: str, markers: Sequence[BindMarker]) -> bool:
    """Whether an expression is certainly one value, without an alias, and no column."""
    head = "SELECT "
    shift = len(head) - start
    moved = [
        replace(one, span=Span(one.span.start + shift, one.span.end + shift)) for one in markers
    ]
    try:
        tree = read_tree(head + text, dialect, moved)
    except (NbgovError, RecursionError):
        return False
    found = tree.expressions
    # COLUMNS stands for several columns wherever it is.
    several = tree.find(exp.Columns) is not None
    return len(found) == 1 and not several and not isinstance(found[0].unnest(), NAMED)

"""One SQL statement, understood: what it does, to which tables, reading which columns.

The parser is sqlglot; what it does not know for certain is denied, never guessed. A statement that
nbgov will not run for anybody (``DROP TABLE``) still parses into a :class:`~nbgov.model.Statement`,
so that the guard can say why. The text is never regenerated from the tree: positions in the user's
own text travel on to :mod:`nbgov.core.rewrite`. Golden cases are in ``tests/cases/statement``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from nbgov.core.statement.changes import is_write
from nbgov.core.statement.effects import agree
from nbgov.core.statement.heads import explain_head, explained
from nbgov.core.statement.names import not_understood
from nbgov.core.statement.nodes import check_nodes
from nbgov.core.statement.reads import understand_read
from nbgov.core.statement.spelling import normalise
from nbgov.core.statement.structure import understand_structure
from nbgov.core.statement.syntax import read_tree, single
from nbgov.core.statement.system import is_introspection
from nbgov.core.statement.text import (
    bind_names,
    find_binds,
    neutralise,
    redact,
    splice,
    split,
    take_values,
    tokenize,
)
from nbgov.core.statement.writes import understand_write
from nbgov.model import Catalog, Effect, Statement

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

__all__ = [
    "agree",
    "bind_names",
    "find_binds",
    "neutralise",
    "normalise",
    "parse",
    "redact",
    "splice",
    "split",
    "take_values",
    "tokenize",
]

PARSED_VERBS = {
    "(", "DELETE", "FROM", "INSERT", "MERGE", "REPLACE", "SELECT", "UNPIVOT", "UPDATE", "VALUES",
    "WITH",
}  # fmt: skip
# The trait of a command that tells how the database is made.
METADATA = "metadata"


def parse(sql: str, catalog: Catalog) -> Statement:
    """Understand one statement.

    Args:
        sql: The user's text.
        catalog: What the connection holds; names resolve against it.

    Returns:
        The statement. Where columns cannot be resolved for certain, every column of every table
        that is named counts as read, and ``outputs`` is empty.

    Raises:
        RequestInvalid: The text is no single statement, does not parse, or names a table or column
            that is absent.
        Denied: The statement's meaning is not certain (code ``not-understood``).

    Example:
        >>> from nbgov.model import Column, Table, TableName
        >>> t = Table(TableName("main", "t"), (Column("a", "int"), Column("b", "text")))
        >>> s = parse("SELECT a FROM t WHERE b = :x", Catalog("duckdb", "main", {t.name: t}))
        >>> s.verb, [o.name for o in s.outputs], sorted(s.tables[0].columns)
        ('SELECT', ['a'], ['a', 'b'])
    """
    dialect = catalog.dialect
    sql = normalise(sql, dialect)
    tokens = single(tokenize(sql, dialect))
    asked = explain_head(tokens, dialect)
    if asked is None:
        return understand(sql, tokens, catalog)
    kind, index = asked
    start = tokens[index].start
    sql = sql[:start] + normalise(sql[start:], dialect)
    # The other statement is read at its own place, so that every position is one in the whole.
    other = " " * start + sql[start:]
    inner = understand(other, single(tokenize(other, dialect)), catalog)
    return explained(inner, sql, redact(sql, dialect), kind)


def understand(sql: str, tokens: Sequence[Token], catalog: Catalog) -> Statement:
    """The statement behind a plain text."""
    dialect = catalog.dialect
    head = Statement(
        sql=sql,
        dialect=dialect,
        verb=tokens[0].text.upper(),
        effects=frozenset({Effect.UNKNOWN}),
        binds=find_binds(sql, dialect),
        redacted=redact(sql, dialect),
    )
    if is_introspection([sql[t.start : t.end + 1] for t in tokens], dialect):
        metadata = frozenset({METADATA})
        return replace(head, effects=frozenset({Effect.READ}), traits=metadata)
    if head.verb not in PARSED_VERBS:
        return understand_structure(head, tokens, catalog)
    tree = read_tree(sql, dialect, head.binds)
    if is_write(tree):
        return understand_write(head, tree, catalog)
    if not isinstance(tree.unnest(), (exp.Query, exp.Values, exp.Pivot)):
        # Security: a word that the parser does not know as a statement is a column to it.
        raise not_understood("it is no query")
    check_nodes(tree, len(head.binds))
    return understand_read(replace(head, verb="SELECT"), tree, catalog)

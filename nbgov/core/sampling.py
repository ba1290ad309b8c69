"""The query that shows a few rows that a statement is about, before and after it.

It is spliced from the statement's own text, so that it reads the very rows that the statement would
change: its target, its WHERE, and what it assigns as further columns. Nothing here runs it; it goes
through every stage that any other read goes through. Cases: ``tests/core/test_sampling.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.rewrite.masks import quote
from nbgov.core.statement import tokenize
from nbgov.core.statement.changes import change
from nbgov.core.statement.syntax import read_tree
from nbgov.core.statement.text import CLOSING, OPENING
from nbgov.model import Catalog, Statement, Table

SAMPLE_ROWS_MAX = 5
COLUMNS_MAX = 12
LEADING = 3
AFTER = "nbgov_after_"
Placed: TypeAlias = tuple[Token, int]
VERBS = {"DELETE": TokenType.DELETE, "UPDATE": TokenType.UPDATE}
TAIL = {TokenType.WHERE, TokenType.ORDER_BY, TokenType.LIMIT}
QUERY = {TokenType.FROM, TokenType.SELECT, TokenType.WITH}
# The parts of a write that its sample knows how to follow.
UPDATE_PARTS = {"with_", "this", "expressions", "where", "order", "limit", "returning"}
DELETE_PARTS = {"with_", "this", "where", "order", "limit", "returning"}
INSERT_PARTS = {"with_", "this", "expression", "returning"}
MORE_TABLES = "it joins other tables, so that one of its rows may stand for several"
OTHER_ROWS = "it may also change rows that are in its way"
TUPLES = "it assigns several columns at once"
STRANGE = "its form is not one that nbgov takes apart"
IN_TURN = "the server assigns one column after the other, each from what the one before left"


@dataclass(frozen=True, slots=True)
class Sampling:
    """A query for the rows that a statement is about.

    Attributes:
        sql: The query.
        before: Names of its first columns: the rows as they are.
        after: The column, by its name, that each further column would become.
        lacks: Why it does not tell all that there is to tell, for people, or empty.
    """

    sql: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    lacks: str = ""


class Unfit(ValueError):
    """There is no such query; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A write cut at the words that stand at its top.

    Attributes:
        head: What stands before the write itself: its common table expressions.
        target: The mention of its table, alias and all.
        pairs: Each assignment of an UPDATE, as its tokens.
        tail: What chooses the rows: WHERE, ORDER BY, LIMIT.
    """

    head: str
    target: str
    pairs: tuple[tuple[Placed, ...], ...]
    tail: str


def samplings(statement: Statement, catalog: Catalog) -> tuple[Sampling, ...]:
    """The queries that show what a statement is about, the one that tells most first.

    Args:
        statement: The statement.
        catalog: What it was resolved against.

    Raises:
        Unfit: There is none.

    Example:
        >>> from nbgov.core.statement import parse
        >>> from nbgov.model import Column, TableName
        >>> t = Table(TableName("main", "t"), (Column("a", "int"), Column("b", "int")))
        >>> catalog = Catalog("duckdb", "main", {t.name: t})
        >>> samplings(parse("UPDATE t SET b = b + 1 WHERE a > 2", catalog), catalog)[0].sql
        'SELECT "a", "b", (b + 1) AS nbgov_after_1 FROM t WHERE a > 2 LIMIT 6'
    """
    if statement.is_read and not statement.plan:
        return (Sampling(statement.sql),)
    if statement.verb not in {"UPDATE", "DELETE", "INSERT"}:
        raise Unfit(f"{statement.verb} is about no rows that could be shown")
    tree = read_tree(statement.sql, statement.dialect, statement.binds)
    if isinstance(tree, exp.Insert):
        return (of_insert(statement, tree, catalog),)
    known = UPDATE_PARTS if isinstance(tree, exp.Update) else DELETE_PARTS
    if {name for name, value in tree.args.items() if value} - known:
        raise Unfit(MORE_TABLES)
    return tuple(of_change(statement, tree, catalog))


def of_insert(statement: Statement, tree: exp.Insert, catalog: Catalog) -> Sampling:
    """The query of an INSERT: its own."""
    if {name for name, value in tree.args.items() if value} - INSERT_PARTS:
        raise Unfit(OTHER_ROWS)
    if not isinstance(tree.expression, exp.Query) or isinstance(tree.expression, exp.Values):
        raise Unfit("its rows stand in its own text")
    sql, tokens = statement.sql, tuple(bare(statement))
    verb = place(tokens, {TokenType.INSERT})
    start = verb + place(tokens[verb:], QUERY)
    end = place(tokens, {TokenType.RETURNING}, otherwise=len(tokens))
    columns = change(tree, tree, catalog).assigned
    return Sampling(
        sql[: tokens[verb][0].start] + text(sql, tokens[start:end]),
        after=tuple(column.name for column in columns),
    )


def of_change(statement: Statement, tree: exp.Expr, catalog: Catalog) -> Iterator[Sampling]:
    """The queries of an UPDATE or a DELETE of one table."""
    parts, written = parts_of(statement), change(tree, tree, catalog)
    table, dialect = written.table, statement.dialect
    names = tuple(column.name for column in written.assigned)
    limit = "" if tree.args.get("limit") else f"LIMIT {SAMPLE_ROWS_MAX + 1}"

    def query(shown: Sequence[str], more: Sequence[str] = ()) -> str:
        columns = ", ".join([*(quote(name, dialect) for name in shown), *more])
        words = [f"{parts.head}SELECT", columns, "FROM", parts.target, parts.tail, limit]
        return " ".join(filter(None, words))

    few = telling(table, statement, names)
    if isinstance(tree, exp.Delete):
        wide = tuple(column.name for column in table.columns[:COLUMNS_MAX])
        yield Sampling(query(wide), wide)
        yield Sampling(query(few), few)
        return
    lacks = unforeseeable(statement, parts, names)
    if not lacks:
        news = [
            f"({text(statement.sql, assigned(pair))}) AS {AFTER}{number}"
            for number, pair in enumerate(parts.pairs, 1)
        ]
        yield Sampling(query(few, news), few, names)
    yield Sampling(query(few), few, lacks=lacks)


def telling(table: Table, statement: Statement, written: Sequence[str]) -> tuple[str, ...]:
    """The columns that tell a row from others, decide about it, and change; in table order."""
    known = getattr(table, "key", ()) or [column.name for column in table.columns[:LEADING]]
    chosen = {column.name for column in statement.predicate_columns if column.table == table.name}
    wanted = {*known, *chosen, *written}
    return tuple(column.name for column in table.columns if column.name in wanted)


def unforeseeable(statement: Statement, parts: Parts, written: Sequence[str]) -> str:
    """Why what an UPDATE assigns cannot be read as columns beside the old ones, or empty."""
    if len(parts.pairs) != len(written) or not all(map(assigned, parts.pairs)):
        return TUPLES
    sources = {source for flow in statement.flows for source in flow.sources}
    # MySQL and MariaDB let a later assignment see what an earlier one has written.
    is_in_turn = statement.dialect == "mysql" and len(written) > 1
    return IN_TURN if is_in_turn and sources & statement.written_columns else ""


def parts_of(statement: Statement) -> Parts:
    """A write cut at the words that stand at its top.

    Raises:
        Unfit: They stand in another order than nbgov knows.
    """
    sql, tokens = statement.sql, tuple(bare(statement))
    verb = place(tokens, {VERBS[statement.verb]})
    start = 1 + (place(tokens, {TokenType.FROM}) if statement.verb == "DELETE" else verb)
    end = place(tokens, {TokenType.RETURNING}, otherwise=len(tokens))
    tail = place(tokens, TAIL, otherwise=end)
    middle, pairs = tail, tuple[tuple[Placed, ...], ...]()
    if statement.verb == "UPDATE":
        middle = place(tokens, {TokenType.SET})
        pairs = tuple(split_pairs(tokens[middle + 1 : tail]))
    if not verb < start < middle <= tail <= end:
        raise Unfit(STRANGE)
    head = sql[: tokens[verb][0].start]
    return Parts(head, text(sql, tokens[start:middle]), pairs, text(sql, tokens[tail:end]))


def split_pairs(tokens: Sequence[Placed]) -> Iterator[tuple[Placed, ...]]:
    """The assignments of an UPDATE, each as its tokens."""
    start = 0
    for index, (token, depth) in enumerate(tokens):
        if token.token_type is TokenType.COMMA and not depth:
            yield tuple(tokens[start:index])
            start = index + 1
    yield tuple(tokens[start:])


def assigned(pair: Sequence[Placed]) -> Sequence[Placed]:
    """The tokens of the expression that an assignment assigns; none where it is no plain one."""
    if not pair or pair[0][0].token_type is TokenType.L_PAREN:
        return ()
    return pair[place(pair, {TokenType.EQ}) + 1 :]


def bare(statement: Statement) -> Iterator[Placed]:
    """The tokens of a statement without semicolons, each with how deep in brackets it stands."""
    depth = 0
    for token in tokenize(statement.sql, statement.dialect):
        depth -= token.token_type in CLOSING
        if token.token_type is not TokenType.SEMICOLON:
            yield token, depth
        depth += token.token_type in OPENING


def place(tokens: Sequence[Placed], kinds: Collection[TokenType], otherwise: int = -1) -> int:
    """The index of the first token of some kinds outside every bracket.

    Raises:
        Unfit: There is none, and nothing stands for it.
    """
    for index, (token, depth) in enumerate(tokens):
        if token.token_type in kinds and not depth:
            return index
    if otherwise < 0:
        raise Unfit(STRANGE)
    return otherwise


def text(sql: str, tokens: Sequence[Placed]) -> str:
    """The text from the first to the last of some tokens, comments around them left out."""
    return sql[tokens[0][0].start : tokens[-1][0].end + 1] if tokens else ""

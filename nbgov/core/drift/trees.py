"""Statements without literals as trees whose parts can be compared.

A literal is known by its number, through a stand-in that survives parsing and printing. Names are
put into one spelling, aliases of tables give way to the tables' names where that is clear.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.tokenizer_core import TokenType

from nbgov.core.statement.budget import PARSER_ERRORS
from nbgov.core.statement.text import find_binds, splice, tokenize
from nbgov.errors import NbgovError
from nbgov.model import Span

# What a literal and a bound name are written as, so that they are known again in whatever is
# printed. Where text does not parse, such as in a type, a number may.
TEXTS = ("'?{}?'", "'?:{}?'")
NUMBERS = ("77{:06d}", "'?:{}?'")
WRITTEN = re.compile(r"'\?(\d+)\?[^']*'|\b77(\d{6})\b|'\?:(\w+)\?'")
PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class StatementText:
    """A statement as a dataset version keeps it.

    Attributes:
        redacted, dialect: The text without literals.
        literals: A digest of each literal, in order; empty where they were not kept.
        mac: A digest of the exact text.
    """

    redacted: str
    dialect: str
    literals: tuple[str, ...] = ()
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a statement as it is compared.

    Attributes:
        text: Its text, with ``?`` for every literal.
        values: What is known of its literals, in the order of the text.
        binds: The bound names that it holds, in that order.
    """

    text: str
    values: tuple[str, ...]
    binds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """A statement's tree, with what is known of its literals.

    Attributes:
        root, dialect: The tree.
        literals: A digest of each literal; empty where that is not known.
        knows_literals: Whether there is a digest of each.
    """

    root: exp.Expr
    dialect: str
    literals: tuple[str, ...]
    knows_literals: bool

    def piece(self, node: exp.Expr) -> Piece:
        """A part of the tree as it is compared."""
        text = node.sql(self.dialect, comments=False)
        values, binds = [], []
        for match in WRITTEN.finditer(text):
            number = match[1] or match[2]
            if number is None:
                binds.append(match[3])
            else:
                values.append(self.literals[int(number)] if self.literals else "")
        return Piece(WRITTEN.sub(as_shown, text), tuple(values), tuple(binds))


def as_shown(match: re.Match[str]) -> str:
    """A stand-in as sentences show it."""
    return f":{match[3]}" if match[3] else "?"


def read_tree(text: StatementText) -> Tree | None:
    """The tree of a statement, or ``None`` if it does not parse without its literals."""
    try:
        tokens = tokenize(text.redacted, text.dialect)
        gaps = [
            Span(token.start, token.end + 1)
            for token in tokens
            if token.token_type is TokenType.PLACEHOLDER
        ]
        markers = find_binds(text.redacted, text.dialect)
    except (NbgovError, ValueError):
        return None
    literals = text.literals if len(text.literals) == len(gaps) else ()
    for literal, bind in (TEXTS, NUMBERS):
        edits = [(span, literal.format(number)) for number, span in enumerate(gaps)]
        edits += [(marker.span, bind.format(marker.name)) for marker in markers]
        root = parsed(splice(text.redacted, edits), text.dialect)
        if root is not None:
            return Tree(root, text.dialect, literals, len(literals) == len(gaps))
    return None


def parsed(sql: str, dialect: str) -> exp.Expr | None:
    """The tree of a text with all names in one spelling, or ``None``."""
    try:
        root = normalize_identifiers(sqlglot.parse_one(sql, dialect=dialect), dialect=dialect)
        for name in root.find_all(exp.Identifier):
            if PLAIN_NAME.fullmatch(name.this):
                name.args["quoted"] = False
        use_table_names(root)
    except PARSER_ERRORS:
        return None
    return root


def use_table_names(root: exp.Expr) -> None:
    """Put the names of tables in the place of their aliases where no two tables share one."""
    tables = list(root.find_all(exp.Table))
    names = Counter(table.name for table in tables)
    aliases = Counter(table.alias_or_name for table in tables)
    renamed = {
        table.alias: table.name
        for table in tables
        if table.alias and names[table.name] == aliases[table.alias] == 1
        and not (table.alias != table.name and aliases[table.name])
    }  # fmt: skip
    for table in tables:
        if table.alias in renamed:
            table.set("alias", None)
    for column in root.find_all(exp.Column):
        if column.table in renamed:
            column.set("table", exp.to_identifier(renamed[column.table]))


def drop_clear_owners(trees: Sequence[Tree]) -> None:
    """Leave out a table's name before its columns if one of the trees reads nothing but it."""
    clear = set()
    for tree in trees:
        tables = list(tree.root.find_all(exp.Table))
        if len(tables) == 1 and not list(tree.root.find_all(exp.Subquery, exp.CTE)):
            clear.add(tables[0].alias_or_name)
    for tree in trees:
        for column in tree.root.find_all(exp.Column):
            if column.table in clear:
                column.set("table", None)


def conjuncts(tree: Tree, node: exp.Expr | None) -> Iterator[tuple[Piece, exp.Expr]]:
    """The conditions that a clause joins with AND, each without brackets around it."""
    if node is None:
        return
    parts: Sequence[exp.Expr] = list(node.flatten()) if isinstance(node, exp.And) else [node]
    for part in parts:
        bare = part.unnest()
        yield tree.piece(bare), bare

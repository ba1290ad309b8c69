"""How the patterns of a policy match: ``connection.schema.table`` and one part more for columns.

A pattern is compiled once. Its table part is matched before its column part, because most patterns
speak of every column, and a table is matched once where its columns are many.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate

from nbgov.model import ColumnName, TableName

TABLE_PARTS, COLUMN_PARTS = 3, 4
GLOB = re.compile(r"[*?\[]")
EVERY = "*"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern.

    Attributes:
        table: Matches ``connection.schema.table``.
        column: Matches a column's name, or ``None`` for every column.
        is_exact: Whether the table's name is spelled out, without a glob.
    """

    table: re.Pattern[str]
    column: re.Pattern[str] | None
    is_exact: bool

    def covers(self, resource: str, column: str) -> bool:
        """Whether it matches a column of a table."""
        return self.table.fullmatch(resource) is not None and (
            self.column is None or self.column.fullmatch(column) is not None
        )


@functools.lru_cache(maxsize=4096)
def pattern(text: str) -> Pattern:
    """The compiled form of a ``connection.schema.table[.column]`` glob, in any case."""
    parts = text.lower().split(".")
    column = parts[TABLE_PARTS] if len(parts) == COLUMN_PARTS else EVERY
    return Pattern(
        table=re.compile(joined(parts[:TABLE_PARTS]), re.DOTALL),
        column=None if column == EVERY else glob(column),
        is_exact=GLOB.search(parts[TABLE_PARTS - 1]) is None,
    )


def joined(parts: Iterable[str]) -> str:
    """The expression of parts that are matched one by one.

    Security: each part is matched by itself, so that ``*`` cannot run across a dot into another
    table.
    """
    return r"\.".join(translate(part)[4:-3].replace(".*", "[^.]*") for part in parts)


@functools.lru_cache(maxsize=4096)
def glob(text: str) -> re.Pattern[str]:
    """The matcher of a single part, or of a tag such as ``pii.*``."""
    return re.compile(translate(text))


def covers(texts: tuple[str, ...], connection: str, column: ColumnName) -> bool:
    """Whether one of the patterns matches a column."""
    name = part_name(column.name)
    return any(
        one is None or one.fullmatch(name) for one in narrow(texts, connection, column.table)
    )


def covers_table(texts: tuple[str, ...], connection: str, table: TableName) -> bool:
    """Whether one of the patterns matches the table, or some column that it could have."""
    return bool(narrow(texts, connection, table))


@functools.lru_cache(maxsize=65_536)
def narrow(
    texts: tuple[str, ...], connection: str, table: TableName
) -> tuple[re.Pattern[str] | None, ...]:
    """The column parts of the patterns whose table part matches."""
    resource = resource_name(connection, table)
    compiled = map(pattern, texts)
    return tuple(one.column for one in compiled if one.table.fullmatch(resource))


def resource_name(connection: str, table: TableName) -> str:
    """A table's full name, lower case, as patterns are matched against it."""
    return ".".join(map(part_name, (connection, table.schema, table.name)))


def part_name(text: str) -> str:
    """One part of a full name: lower case, and without a dot of its own."""
    return text.replace(".", "_").lower()


def is_on(connection: str, text: str) -> bool:
    """Whether a pattern is about anything on a connection."""
    return glob(text.split(".", maxsplit=1)[0].lower()).match(part_name(connection)) is not None


class TableMatcher:
    """Many patterns at once: which tables some pattern matches, in one step for most of them.

    Args:
        texts: The patterns.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        compiled = [pattern(text) for text in dict.fromkeys(texts)]
        whole = "|".join(f"(?:{one.table.pattern})" for one in compiled if one.column is None)
        self.whole = re.compile(whole, re.DOTALL) if whole else None
        self.partial = [one for one in compiled if one.column is not None]

    def matches(self, resource: str, columns: Iterable[str]) -> bool:
        """Whether a pattern covers one of the columns of a table."""
        if self.whole is not None and self.whole.fullmatch(resource):
            return True
        held = [one for one in self.partial if one.table.fullmatch(resource)]
        return any(one.covers(resource, part_name(c)) for c in columns for one in held)

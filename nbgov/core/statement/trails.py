"""What an expression reads: base columns, how they bear on its value, and whether values show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from nbgov.model import ColumnName, Influence, Table

# Columns that one query may have, relations that one FROM clause may name, and queries that one
# statement may hold, those read anew among them. Beyond these every column counts.
FIELDS_MAX = 20_000
SOURCES_MAX = 200
QUERIES_MAX = 5_000

Sources = frozenset[ColumnName]
Pairs = frozenset[tuple[ColumnName, Influence]]


class Unresolved(Exception):
    """Resolution gave up; every column counts. Never leaves this package."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What an expression reads.

    Attributes:
        direct: The base columns that flow into the value, with how.
        indirect: The base columns that choose or place the value, with how.
        shown: The base columns of which more than whether they are NULL can show.
        is_plain: Whether the value is a stored one as it is, so that it is NULL where that is.
        has_bind, has_literal: Whether a bound value, or a literal, can show in the value.
    """

    direct: Pairs = frozenset()
    indirect: Pairs = frozenset()
    shown: Sources = frozenset()
    is_plain: bool = False
    has_bind: bool = False
    has_literal: bool = False

    @property
    def sources(self) -> Sources:
        """The base columns that flow into the value."""
        return frozenset(column for column, _ in self.direct)

    @property
    def columns(self) -> Sources:
        """Every base column that bears on the value."""
        return frozenset(column for pairs in (self.direct, self.indirect) for column, _ in pairs)

    def as_indirect(self, kind: Influence) -> Trail:
        """The same columns where the value only chooses or places another one."""
        pairs = frozenset((column, kind) for column, _ in self.direct)
        return Trail(indirect=pairs | self.indirect, shown=self.shown)

    def computed(self, kind: Influence = Influence.TRANSFORMATION) -> Trail:
        """The same columns behind a function; an aggregate stays one."""
        pairs = frozenset(
            (column, kind if was is Influence.IDENTITY or kind is Influence.AGGREGATION else was)
            for column, was in self.direct
        )
        return replace(self, direct=pairs, is_plain=False)

    def unseen(self) -> Trail:
        """The same columns where only whether the value is NULL shows."""
        return Trail(self.direct, self.indirect) if self.is_plain else self


NOTHING = Trail()
BIND = Trail(has_bind=True)
LITERAL = Trail(has_literal=True)


def joined(trails: Iterable[Trail]) -> Trail:
    """What several expressions read together; plain if each of them is."""
    held = [trail for trail in trails if trail is not NOTHING]
    if len(held) < 2:  # noqa: PLR2004  # There is nothing to join.
        return held[0] if held else NOTHING
    return Trail(
        frozenset().union(*(trail.direct for trail in held)),
        frozenset().union(*(trail.indirect for trail in held)),
        frozenset().union(*(trail.shown for trail in held)),
        all(trail.is_plain for trail in held if trail.columns),
        any(trail.has_bind for trail in held),
        any(trail.has_literal for trail in held),
    )


class Field(NamedTuple):
    """A column of a relation: its folded name, its name as written, and what it reads."""

    key: str
    name: str
    trail: Trail


@dataclass(slots=True)
class Source:
    """A relation that a FROM clause names.

    Attributes:
        key: Its folded name, or empty.
        schema: The folded schema that may stand before the name; ``None`` behind an alias.
        fields: Its columns, in order.
        rest: What a column reads that ``fields`` does not list, if there can be such a column.
        has_shape: Whether ``fields`` lists every column.
    """

    key: str
    schema: str | None
    fields: tuple[Field, ...]
    rest: Trail | None = None
    has_shape: bool = True
    by_key: Mapping[str, Trail] = field(init=False)

    def __post_init__(self) -> None:
        by_key: dict[str, Trail] = {}
        for key, _, trail in self.fields:
            by_key[key] = joined((by_key[key], trail)) if key in by_key else trail
        self.by_key = by_key

    @property
    def whole(self) -> Trail:
        """What a whole row reads."""
        return joined((*(one.trail for one in self.fields), self.rest or NOTHING))

    def find(self, key: str) -> Trail | None:
        """What a column reads, or ``None`` where there is no such column."""
        found = self.by_key.get(key)
        return self.rest if found is None else found


@dataclass(slots=True)
class Scope:
    """What names mean inside one query.

    Attributes:
        parent: The query around it.
        sources: The relations of its FROM clause, those read so far.
        star: What ``*`` stands for.
        has_shape: Whether ``star`` is complete.
        aliases: The names that its select list gives, with what they read.
        windows: What its named windows read.
        is_joining: Whether the condition of a join is being read, which sees some sources only.
        is_clause: Whether a clause is being read in which an alias may hide a column.
    """

    parent: Scope | None = None
    sources: list[Source] = field(default_factory=list)
    star: tuple[Field, ...] = ()
    has_shape: bool = True
    aliases: dict[str, Trail] = field(default_factory=dict)
    windows: Trail = NOTHING
    is_joining: bool = False
    is_clause: bool = False


def base_fields(table: Table, *, is_exact: bool) -> tuple[Field, ...]:
    """The columns of a base table."""
    fields = []
    for column in table.columns:
        name = ColumnName(table.name, column.name)
        key = column.name if is_exact else column.name.lower()
        pairs = frozenset({(name, Influence.IDENTITY)})
        fields.append(Field(key, column.name, Trail(pairs, shown=frozenset({name}), is_plain=True)))
    return tuple(fields)

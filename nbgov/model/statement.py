"""How a request was understood: the statement, the engine's opinion, the guard's findings."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from nbgov.model.catalog import ColumnName, Effect, TableName


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of characters ``[start, end)`` in the user's text."""

    start: int
    end: int


class Action(enum.StrEnum):
    """What a statement does to one table, in the words of the policy's rules."""

    READ = "read"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    CREATE = "create"
    ALTER = "alter"
    DROP = "drop"
    MAINTAIN = "maintain"


class Influence(enum.StrEnum):
    """How a base column bears on a result, in OpenLineage's terms (column lineage facet 1.2).

    The first three are direct: the value flows into an output. The others are indirect: the value
    decides which rows, in which order, or which branch.
    """

    IDENTITY = "identity"
    TRANSFORMATION = "transformation"
    AGGREGATION = "aggregation"
    JOIN = "join"
    FILTER = "filter"
    GROUP_BY = "group_by"
    SORT = "sort"
    WINDOW = "window"
    CONDITIONAL = "conditional"


@dataclass(frozen=True, slots=True)
class TableUse:
    """One mention of a base table in a statement.

    Attributes:
        table: The table it resolves to. One that is being created is in no catalog.
        action: What the statement does to it.
        span: Where the (qualified) name stands in the text.
        has_alias: Whether the text gives the mention an alias.
        columns: Columns of it that the statement reads; every column where resolution gave up.
        only: Where ``ONLY`` stands before the name, if it does.
        sample: Where the ``TABLESAMPLE`` clause stands, if there is one.
    """

    table: TableName
    action: Action
    span: Span
    has_alias: bool
    columns: frozenset[str]
    only: Span | None = None
    sample: Span | None = None


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of the result.

    Attributes:
        name: Its name.
        sources: The base columns its value flows from.
        influences: How each base column bears on the value: a direct kind for every source,
            ``CONDITIONAL`` and ``WINDOW`` for columns that choose or place it.
        is_written: Whether the statement wrote the value: a bound value can show in it, or it is
            made of literals and no column bears on it.
    """

    name: str
    sources: frozenset[ColumnName]
    influences: frozenset[tuple[ColumnName, Influence]] = frozenset()
    is_written: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """A column that a statement writes, and the base columns that its new values come from."""

    target: ColumnName
    sources: frozenset[ColumnName]


@dataclass(frozen=True, slots=True)
class BindMarker:
    """A ``:name`` in the text."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Statement:
    """One parsed SQL statement with its names resolved.

    Attributes:
        sql: The text that all spans refer to: the user's own, with the spellings that
            :func:`nbgov.core.statement.text.normalise` replaces written plainly.
        dialect: sqlglot's name of the dialect.
        verb: ``SELECT``, ``UPDATE``, ``DROP`` and so on, for people.
        effects: Everything that the whole statement does.
        tables: Every mention of a base table, in text order.
        outputs: The result's columns, in order; empty for a write without ``RETURNING``, and where
            resolution gave up.
        predicates: How base columns choose, join, group or order rows.
        presence_columns: Base columns of which the statement reads no more than whether they are
            NULL, such as ``x`` in ``count(x)``.
        raising_columns: Base columns whose values decide whether the statement fails, such as ``x``
            in ``CAST(x AS date)``.
        flows: What a write assigns, and from where.
        functions: The functions called, lower case, with what calling each one does.
        system_tables: The engine's own tables that it reads, such as
            ``information_schema.columns``.
        qualifiers: Spans of schema prefixes of column references, which a rewrite drops.
        binds: The ``:name`` markers, in text order.
        redacted: The text with literals as ``?`` and comments dropped.
        traits: Facts the guard looks at, such as ``no-where``; see :mod:`nbgov.core.guard`.
        plan: Empty, ``plan`` (``EXPLAIN``: nothing runs) or ``analyze`` (it runs and is measured).
        is_resolved: Whether outputs and predicates are complete. If not, every column of every
            table counts as read.
    """

    sql: str
    dialect: str
    verb: str
    effects: frozenset[Effect]
    tables: tuple[TableUse, ...] = ()
    outputs: tuple[OutputColumn, ...] = ()
    predicates: frozenset[tuple[ColumnName, Influence]] = frozenset()
    presence_columns: frozenset[ColumnName] = frozenset()
    raising_columns: frozenset[ColumnName] = frozenset()
    flows: tuple[Flow, ...] = ()
    functions: Mapping[str, Effect] = field(default_factory=dict)
    system_tables: frozenset[TableName] = frozenset()
    qualifiers: tuple[Span, ...] = ()
    binds: tuple[BindMarker, ...] = ()
    redacted: str = ""
    traits: frozenset[str] = frozenset()
    plan: str = ""
    is_resolved: bool = True

    @property
    def is_read(self) -> bool:
        """Whether it reads and does nothing else."""
        return self.effects == {Effect.READ}

    @property
    def predicate_columns(self) -> frozenset[ColumnName]:
        """Base columns that choose, join, group or order rows."""
        return frozenset(column for column, _ in self.predicates)

    @property
    def written_columns(self) -> frozenset[ColumnName]:
        """Base columns that a write assigns."""
        return frozenset(flow.target for flow in self.flows)


@dataclass(frozen=True, slots=True)
class EngineOpinion:
    """What the product itself makes of a text, as a value. ``None`` is where it cannot tell.

    Attributes:
        statements: How many statements the product counts.
        effects: Everything that the statement does.
        tables: The relations it names. An empty schema means that the text did not qualify the
            name.
        functions: Lower-case names of the functions it calls, with their schema where the text
            names one.
        columns: The base columns that it reads, those behind views left out.
        title: The name that it gives to the one expression of a query without a FROM clause.
    """

    statements: int
    effects: frozenset[Effect] | None = None
    tables: frozenset[TableName] | None = None
    functions: frozenset[str] | None = None
    columns: frozenset[ColumnName] | None = None
    title: str | None = None

    @property
    def is_read(self) -> bool | None:
        """Whether the product calls it a read and nothing else."""
        return None if self.effects is None else self.effects == {Effect.READ}


@dataclass(frozen=True, slots=True)
class Finding:
    """What the guard reports: a rule's code, what is wrong, and what to write instead."""

    code: str
    message: str
    next_step: str

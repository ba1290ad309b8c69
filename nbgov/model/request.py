"""What is asked, of what, and how it was understood: request, catalog, statement."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: The declared name, the same in policy, log and approvals.
        groups: Groups the name belongs to.
        roles: Roles the name holds.
        account: The OS account that the name was derived from.
    """

    name: str
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    account: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One ask, before anything is known about it.

    Attributes:
        connection: Name of the connection in ``nbgov.yaml``.
        sql: The user's text, byte for byte.
        binds: Values for ``:name`` markers; a list or tuple expands to an ``IN`` list.
        claim: The principal's declared name, or ``None`` for the one the OS account maps to.
        rows_max: Rows to deliver at most, or ``None``.
        dataset: The name the result is kept under in the dataset store, or empty.
        origin: Claims about where the request comes from, such as ``{"surface": "magic"}``.
    """

    connection: str
    sql: str
    binds: Mapping[str, Any] = field(default_factory=dict)
    claim: str | None = None
    rows_max: int | None = None
    dataset: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table or view within one connection."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True, order=True)
class ColumnName:
    """A column of a table within one connection."""

    table: TableName
    name: str

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the source declares it; ``type`` is the source's own spelling."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table (``kind`` is ``table``) or view (``view``) as the source declares it."""

    name: TableName
    columns: tuple[Column, ...]
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a connection holds.

    Attributes:
        dialect: sqlglot's name of the SQL dialect (``duckdb``, ``sqlite``, ``postgres``,
            ``mysql``).
        default_schema: The schema that an unqualified name means.
        tables: Every table and view that can be named, by name.
    """

    dialect: str
    default_schema: str
    tables: Mapping[TableName, Table]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of characters ``[start, end)`` in the user's text."""

    start: int
    end: int


class Effect(enum.StrEnum):
    """What a statement does to a source. Anything but ``READ`` changes something."""

    READ = "read"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    DDL = "ddl"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TableUse:
    """One mention of a base table in a statement.

    Attributes:
        table: The table it resolves to.
        effect: What the statement does to it.
        span: Where the (qualified) name stands in the text.
        has_alias: Whether the text gives the mention an alias.
        columns: Columns of it that the statement reads; every column where resolution gave up.
    """

    table: TableName
    effect: Effect
    span: Span
    has_alias: bool
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of the result and the base columns its value flows from."""

    name: str
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
        sql: The user's text, byte for byte.
        dialect: sqlglot's name of the dialect.
        verb: ``SELECT``, ``UPDATE``, ``DROP`` and so on, for people.
        effect: The worst effect of the whole statement.
        tables: Every mention of a base table, in text order.
        outputs: The result's columns, in order; empty for a write without ``RETURNING``.
        predicate_columns: Base columns that choose or order rows.
        written_columns: Base columns that a write assigns.
        functions: Names of the functions called, lower case.
        qualifiers: Spans of schema prefixes of column references, which a rewrite drops.
        binds: The ``:name`` markers, in text order.
        redacted: The text with literals as ``?`` and comments dropped.
        traits: Facts the guard looks at, such as ``no-where``; see :mod:`nbgov.core.guard`.
    """

    sql: str
    dialect: str
    verb: str
    effect: Effect
    tables: tuple[TableUse, ...] = ()
    outputs: tuple[OutputColumn, ...] = ()
    predicate_columns: frozenset[ColumnName] = frozenset()
    written_columns: frozenset[ColumnName] = frozenset()
    functions: frozenset[str] = frozenset()
    qualifiers: tuple[Span, ...] = ()
    binds: tuple[BindMarker, ...] = ()
    redacted: str = ""
    traits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EngineOpinion:
    """What the product itself makes of a text, as a value.

    Attributes:
        statements: How many statements the product counts.
        is_read: Whether the product calls it a read, or ``None`` where it cannot tell.
        tables: The relations it names, or ``None`` where it cannot tell. An empty schema means that
            the text did not qualify the name.
    """

    statements: int
    is_read: bool | None = None
    tables: frozenset[TableName] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the guard reports: a rule's code, what is wrong, and what to write instead."""

    code: str
    message: str
    next_step: str

"""What a connection holds: names, columns, tables, and what its functions do."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class Effect(enum.StrEnum):
    """A kind of thing that a statement does. A statement that only has ``READ`` changes nothing.

    ``READ`` returns rows. ``WRITE`` changes rows. ``DDL`` changes what the database holds, ``DCL``
    who may do what. ``SESSION`` changes settings, transactions, cursors or locks. ``MAINTENANCE``
    works on storage, statistics or the server. ``EXEC`` runs text that is not part of the
    statement. ``FILE`` reaches a file, a program or another server. ``UNKNOWN`` is all else.
    """

    READ = "read"
    WRITE = "write"
    DDL = "ddl"
    DCL = "dcl"
    SESSION = "session"
    MAINTENANCE = "maintenance"
    EXEC = "exec"
    FILE = "file"
    UNKNOWN = "unknown"


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
    """A column as the source declares it.

    Attributes:
        name: Its name, as the source spells it.
        type: The source's own spelling of its type.
        is_required: Whether the source promises that it is never NULL.
        is_generated: Whether the source makes its values and takes none.
    """

    name: str
    type: str
    is_required: bool = False
    is_generated: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A relation as the source declares it.

    Attributes:
        name: Its name.
        columns: Its columns, in order.
        kind: ``table``, ``view`` (materialised or not), or ``foreign`` (rows of another database).
        definition: The query behind a view, or empty where the source does not tell.
        parents: The tables that it is a partition or an heir of.
        grants: Who owns it and who may do what with it, where the source tells that at no cost,
            such as ``SELECT to ada``. Nothing is decided by them.
        origins: The base columns whose values each column shows, of a view, a partition or a
            parent; empty for a plain table. Filled by :func:`nbgov.core.statement.views.compose`.
        row_origins: The base columns that choose the rows of a view.
        sources: The tables whose rows it shows: those that a view reads, even where it shows none
            of their columns, and the kin of a partition, an heir or a parent.
        views: The views that a view reads, itself or through others.
        is_traced: Whether the four above are complete. A view that could not be traced shows
            nobody knows what.
        key: The columns of its primary key, in the order of the columns.
    """

    name: TableName
    columns: tuple[Column, ...]
    kind: str = "table"
    definition: str = ""
    parents: tuple[TableName, ...] = ()
    grants: tuple[str, ...] = ()
    origins: Mapping[str, frozenset[ColumnName]] = field(default_factory=dict)
    row_origins: frozenset[ColumnName] = frozenset()
    sources: frozenset[TableName] = frozenset()
    views: frozenset[TableName] = frozenset()
    is_traced: bool = False
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a connection holds.

    Attributes:
        dialect: sqlglot's name of the SQL dialect (``duckdb``, ``sqlite``, ``postgres``,
            ``mysql``).
        default_schema: The schema that an unqualified name means.
        tables: Every table and view that can be named, by name.
        functions: Functions that people have defined in the database, by lower-case
            ``schema.name``, with what calling one does. An engine says ``UNKNOWN`` of all of them;
            the policy registers those that are known to read.
        is_whole: Whether this is all that there is, and not the part that a principal may see.
        native_schema: Schema of the masked views that stand for the tables, where the connection
            reads those and no tables (``mode: native``); otherwise empty.
    """

    dialect: str
    default_schema: str
    tables: Mapping[TableName, Table]
    functions: Mapping[str, Effect] = field(default_factory=dict)
    is_whole: bool = True
    native_schema: str = ""


@dataclass(frozen=True, slots=True)
class Author:
    """A governed statement that may have changed what a connection holds.

    Attributes:
        record: Number of its attempt in the audit log.
        principal: Who asked for it.
        verb: Its first word.
        tables: The tables that it names.
        is_closed: Whether its end is in the log too.
    """

    record: int
    principal: str
    verb: str
    tables: tuple[str, ...] = ()
    is_closed: bool = True


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """What a connection was seen to hold, from one moment on.

    Attributes:
        connection: Name of the connection.
        number: 1 for what was seen first.
        digest: SHA-256 of the document.
        document: The catalog as :func:`nbgov.core.catalog_changes.document` makes it.
        seen_at: When it was seen first.
        principal: Whose request met it.
        record, receipt: Where that stands in the audit log.
        authors: What was seen done since the version before; nothing where it was done outside.
        is_searched: Whether the whole audit log since then was searched for them, or its end only.
    """

    connection: str
    number: int
    digest: bytes
    document: Mapping[str, Any]
    seen_at: datetime
    principal: str
    record: int
    receipt: str
    authors: tuple[Author, ...] = ()
    is_searched: bool = True

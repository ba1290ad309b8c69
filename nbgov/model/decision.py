"""What was decided: masks, filters, limits, approvals, and the clearance to run."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbgov.model.approval import ApprovalQuorum
from nbgov.model.catalog import Column, ColumnName, TableName
from nbgov.model.statement import BindMarker, Statement


class MaskKind(enum.StrEnum):
    """How a masked column reads. Strictest first: where two masks meet, the earlier one wins.

    ``TOKEN`` is a keyed pseudonym, equal for equal values on every engine
    (:mod:`nbgov.core.pseudonym`): joins survive, and equality and frequency show.
    """

    NULL = "null"
    REDACT = "redact"
    TOKEN = "token"  # noqa: S105  # The name of a mask, not a secret.
    YEAR = "year"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class ColumnMask:
    """A column that reads masked wherever it is scanned, and the tag that asked for it."""

    column: ColumnName
    kind: MaskKind
    tag: str


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A predicate of the policy that rows of a table must meet, in the connection's dialect."""

    table: TableName
    predicate: str


@dataclass(frozen=True, slots=True)
class RowLimit:
    """Rows that are delivered at most."""

    rows_max: int


@dataclass(frozen=True, slots=True)
class ByteLimit:
    """Bytes of Arrow data that are delivered at most; more is an error, not a shorter answer."""

    bytes_max: int


@dataclass(frozen=True, slots=True)
class WriteLimit:
    """Rows that a write may change; one that changes more is rolled back."""

    rows_max: int


@dataclass(frozen=True, slots=True)
class ContentMask:
    """Entities to replace in text that no tag classifies, found at or above a score.

    Attributes:
        entities: What to look for.
        score_min: The lowest score that counts.
        language: The language of the text, as an ISO 639-1 code.
        operators: Entity and operator, such as ``("PERSON", "surrogate")``; an entity without one
            is redacted, and reads as its name: ``<PERSON>``.
    """

    entities: tuple[str, ...]
    score_min: float
    language: str = "en"
    operators: tuple[tuple[str, str], ...] = ()


Obligation = (
    ColumnMask | RowFilter | RowLimit | ByteLimit | WriteLimit | ContentMask | ApprovalQuorum
)


@dataclass(frozen=True, slots=True)
class Decision:
    """Permit or deny, with everything the answer rests on.

    Attributes:
        is_permitted: The answer.
        obligations: Conditions on a permit; meeting none of them is a deny.
        rules: Ids of the rules that determined the answer, in policy order.
        reason: Why, for people.
        next_step: What the person can do about a deny.
        code: The error code of a deny.
        policy_digest: SHA-256 of the policy's text.
        unclassified: Columns read whose values no tag classifies.
    """

    is_permitted: bool
    obligations: tuple[Obligation, ...] = ()
    rules: tuple[str, ...] = ()
    reason: str = ""
    next_step: str = ""
    code: str = ""
    policy_digest: bytes = b""
    unclassified: frozenset[ColumnName] = frozenset()

    @property
    def masks(self) -> tuple[ColumnMask, ...]:
        """The column masks among the obligations."""
        return tuple(o for o in self.obligations if isinstance(o, ColumnMask))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request would come to: the statement, the decision, and the text that would run."""

    statement: Statement
    decision: Decision
    sql: str | None


@dataclass(frozen=True, slots=True)
class BeforeImage:
    """The query that reads the rows a write is about to change, in the write's own transaction.

    Attributes:
        sql: A SELECT over the base table, with bind markers still as ``:name``; it locks the rows
            where the product can.
        marker_spans: Where the markers stand in ``sql``; the values are those of the clearance.
        rows_max: With more rows than this the write is rolled back (``undo-unavailable``).
        dialect: sqlglot's name of the dialect.
        verb: ``UPDATE`` or ``DELETE``.
        table: The table.
        key: Its primary key; empty only for a DELETE.
        columns: What ``sql`` reads: the key and the columns that are assigned, or every column.
    """

    sql: str
    marker_spans: tuple[BindMarker, ...]
    rows_max: int
    dialect: str
    verb: str
    table: TableName
    key: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Clearance:
    """Proof that a statement may run. Only :mod:`nbgov.pipeline` makes one.

    Attributes:
        sql: The text that runs, with bind markers still as ``:name``.
        binds: Marker name to value; lists are already expanded.
        marker_spans: Where the markers stand in ``sql``, for engines with another marker style.
        is_read: Run in a read-only transaction; otherwise commit once.
        rows_max: Stop after so many rows, or ``None``.
        bytes_max: Fail after so many bytes of Arrow data, or ``None``.
        written_max: Roll a write back that changes more rows than this, or ``None``.
        masked: Base columns of which no value may arrive as it is stored. A backend whose server
            tells where a result column comes from refuses one of these before the first row.
        masked_types: For every output that shows a masked column as it is, the declared type of
            that column; an empty text for any other. Empty where the outputs are not known. A
            product that finds types in values needs it, as a mask may leave none.
        is_sensitive: Whether the statement comes near protected data, so that an error tells no
            more than its kind.
        tables: The tables and views that a read or a dry run names, and the base tables behind
            them; a backend whose product tells in which state they are says so of the stream.
        request: Id of the request, by which it can be cancelled; empty where nobody will.
        before: What to read before the write, in its transaction, so that it can be undone.
        is_dry_run: Whether the write is to be rolled back, whatever comes; a backend that cannot
            promise that does not run it (``dry-run-unavailable``).
        role: The database role to run as, for this one transaction; the account's own if empty.
        label: What a database that can is told of who asks, for its own log.
    """

    sql: str
    binds: Mapping[str, Any]
    marker_spans: tuple[BindMarker, ...]
    is_read: bool
    rows_max: int | None = None
    bytes_max: int | None = None
    written_max: int | None = None
    masked: frozenset[ColumnName] = frozenset()
    masked_types: tuple[str, ...] = ()
    is_sensitive: bool = False
    tables: frozenset[TableName] = frozenset()
    request: str = ""
    before: BeforeImage | None = None
    is_dry_run: bool = False
    role: str = ""
    label: str = ""

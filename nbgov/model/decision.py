"""What was decided: masks, filters, limits, approvals, and the clearance to run."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nbgov.model.catalog import ColumnName, TableName
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


@dataclass(frozen=True, slots=True)
class ApprovalQuorum:
    """Votes that must be given before the statement runs, and by whom.

    Attributes:
        rule: Id of the policy rule that asks.
        names, groups, roles: Who may vote; any one match is enough.
        votes_min: How many different principals must approve.
    """

    rule: str
    names: frozenset[str]
    groups: frozenset[str]
    roles: frozenset[str]
    votes_min: int = 1


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


class ApprovalState(enum.StrEnum):
    """States of an approval ticket; only ``REQUESTED`` and ``APPROVED`` can still change."""

    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"
    CONSUMED = "consumed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Vote:
    """One voice: who, whether they approve, why and when.

    Attributes:
        rules: Ids of the rules whose quorum the voice counts for, settled when the vote is cast.
    """

    voter: str
    is_approval: bool
    reason: str
    at: datetime
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to one exact statement, with its state.

    Attributes:
        ticket: Short identifier, the same in every surface.
        binding_digest: SHA-256 over statement bytes, typed binds, connection, principal and policy.
        connection, sql, binds: What would run. ``binds`` is a readable text of names, types and
            values.
        requester: The principal who asked.
        quorums: Every approval that the decision asked for.
        verb: What the statement does, such as ``UPDATE``.
        tables: The tables it touches, for the voter.
        requested_at, expires_at: When it was asked, and after which moment it clears nothing.
        votes: Votes so far.
        state: Where it stands.
    """

    ticket: str
    binding_digest: bytes
    connection: str
    sql: str
    binds: str
    requester: str
    quorums: tuple[ApprovalQuorum, ...]
    verb: str
    tables: tuple[str, ...]
    requested_at: datetime
    expires_at: datetime
    votes: tuple[Vote, ...] = ()
    state: ApprovalState = ApprovalState.REQUESTED


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
        tables: The tables and views that a read names, and the base tables behind them; a backend
            whose product tells in which state they are says so of the stream.
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

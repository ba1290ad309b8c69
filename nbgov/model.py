"""Frozen values that travel between the stages of a request.

Nothing here decides or does anything: a value is made by one stage and read by the next. Times are
aware UTC datetimes, digests are ``bytes`` named ``*_digest``, counts are plain integers. The one class
that is not a plain value is :class:`Result`, the open end of an Arrow stream.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa



# ---------------------------------------------------------------- who asks, and for what


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


# ---------------------------------------------------------------- what the source holds


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
        dialect: sqlglot's name of the SQL dialect (``duckdb``, ``sqlite``, ``postgres``, ``mysql``).
        default_schema: The schema that an unqualified name means.
        tables: Every table and view that can be named, by name.
    """

    dialect: str
    default_schema: str
    tables: Mapping[TableName, Table]


# ---------------------------------------------------------------- one statement, understood


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
    """What the guard reports: a rule code such as ``G103``, what is wrong, and what to write instead."""

    code: str
    message: str
    next_step: str


# ---------------------------------------------------------------- the decision


class MaskKind(enum.StrEnum):
    """How a masked column reads. Strictest first: where two masks meet, the earlier one wins."""

    NULL = "null"
    REDACT = "redact"
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
    """A predicate that rows of a table must meet; SQL of the connection's dialect, from the policy."""

    table: TableName
    predicate: str


@dataclass(frozen=True, slots=True)
class RowLimit:
    """Rows that are delivered at most."""

    rows_max: int


@dataclass(frozen=True, slots=True)
class ContentMask:
    """Entities to replace in text that no tag classifies, found by a detector at or above a score."""

    entities: tuple[str, ...]
    score_min: float
    language: str = "en"


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


Obligation = ColumnMask | RowFilter | RowLimit | ContentMask | ApprovalQuorum


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


# ---------------------------------------------------------------- approval


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
    """One voice: who, whether they approve, why and when."""

    voter: str
    is_approval: bool
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to one exact statement, with its state.

    Attributes:
        ticket: Short identifier, the same in every surface.
        binding_digest: SHA-256 over statement bytes, typed binds, connection, principal and policy.
        connection, sql, binds: What would run. ``binds`` is a readable text of names, types and values.
        requester: The principal who asked.
        quorums: Every approval that the decision asked for.
        effect: What the statement does.
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
    effect: Effect
    tables: tuple[str, ...]
    requested_at: datetime
    expires_at: datetime
    votes: tuple[Vote, ...] = ()
    state: ApprovalState = ApprovalState.REQUESTED


# ---------------------------------------------------------------- clearance and record


@dataclass(frozen=True, slots=True)
class Clearance:
    """Proof that a statement may run. Only :mod:`nbgov.pipeline` makes one.

    Attributes:
        sql: The text that runs, with bind markers still as ``:name``.
        binds: Marker name to value; lists are already expanded.
        marker_spans: Where the markers stand in ``sql``, for engines with another marker style.
        is_read: Run in a read-only transaction; otherwise commit once.
        rows_max: Stop after so many rows, or ``None``.
    """

    sql: str
    binds: Mapping[str, Any]
    marker_spans: tuple[BindMarker, ...]
    is_read: bool
    rows_max: int | None = None


class RecordKind(enum.StrEnum):
    """What an audit entry states."""

    ATTEMPT = "attempt"
    OUTCOME = "outcome"
    INTERRUPTED = "interrupted"
    VOTE = "vote"
    REPAIR = "repair"


def kept() -> Any:
    """A :class:`Record` field that the log keeps in clear, because it can hold no data value."""
    return field(default=None, metadata={"audit": "keep"})


def digested() -> Any:
    """A :class:`Record` field that the log keeps as a keyed digest only."""
    return field(default=None, metadata={"audit": "digest"})


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the audit log. ``None`` means that the field does not apply.

    Every field declares how the log keeps it; an inventory test fails on one that does not.
    ``statement_mac`` and ``binds_mac`` are keyed digests (hex), made with a key outside the log.
    """

    kind: RecordKind = field(metadata={"audit": "keep"})
    at: datetime = field(metadata={"audit": "keep"})
    request: str = field(metadata={"audit": "keep"})
    session: str = field(metadata={"audit": "keep"})
    mode: str = field(default="embedded", metadata={"audit": "keep"})
    assurance: str = field(default="advisory", metadata={"audit": "keep"})
    attempt: int | None = kept()
    principal: str | None = kept()
    account: str | None = kept()
    origin: Mapping[str, str] | None = kept()
    connection: str | None = kept()
    dialect: str | None = kept()
    verb: str | None = kept()
    effect: str | None = kept()
    statement: str | None = kept()
    statement_mac: str | None = digested()
    binds_mac: str | None = digested()
    tables: tuple[str, ...] | None = kept()
    columns: tuple[str, ...] | None = kept()
    decision: str | None = kept()
    status: str | None = kept()
    code: str | None = kept()
    rules: tuple[str, ...] | None = kept()
    obligations: tuple[str, ...] | None = kept()
    policy: str | None = kept()
    ticket: str | None = kept()
    voters: tuple[str, ...] | None = kept()
    rows_read: int | None = kept()
    rows_affected: int | None = kept()
    masked: tuple[str, ...] | None = kept()
    entities: Mapping[str, int] | None = kept()
    version: str | None = kept()
    content: str | None = kept()
    note: str | None = kept()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an audit entry for the caller: the log's origin, the entry's index and its hash."""

    origin: str
    index: int
    entry_digest: bytes

    def __str__(self) -> str:
        return f"{self.origin}/{self.index}#{self.entry_digest.hex()[:16]}"


# ---------------------------------------------------------------- datasets, runs, lineage


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """What a governed result was: content, schema and the circumstances that made it.

    ``version_id`` is a pure function of everything else here, so two equal versions are one row.

    Attributes:
        version_id: 32 hex digits.
        content_id: Fingerprint of the delivered, masked rows (``docs/spec/fingerprint.md``).
        schema_id: Digest (hex) of the ordered column names and logical types.
        name: The dataset's name, such as ``warehouse.main.flights``.
        connection, dialect: Where it was read.
        tables: Base tables read.
        statement: The redacted statement.
        statement_mac, binds_mac: Keyed digests (hex) of the exact text and the bound values.
        binds: Names and types of the bound values, such as ``month: int``.
        policy: SHA-256 of the policy, hex.
        rows: Rows delivered.
        columns: ``(name, logical type, column digest hex, non-null count)`` in result order.
        masked: Result column to mask, such as ``email: redact pii.email``.
        profile: The profile as JSON-ready mapping, see :mod:`nbgov.core.drift`.
    """

    version_id: str
    content_id: str
    schema_id: str
    name: str
    connection: str
    dialect: str
    tables: tuple[str, ...]
    statement: str
    statement_mac: str
    binds_mac: str
    binds: tuple[str, ...]
    policy: str
    rows: int
    columns: tuple[tuple[str, str, str, int], ...]
    masked: Mapping[str, str]
    profile: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One read of a dataset version: who got it, when, and where that is recorded."""

    read_id: str
    version_id: str
    name: str
    principal: str
    decision: str
    rules: tuple[str, ...]
    record: int
    receipt: str
    at: datetime


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """A column of a result and one base column that its value flows from."""

    source: ColumnName
    output: str


@dataclass(frozen=True, slots=True)
class RunInput:
    """A governed dataset version that a run read.

    Attributes:
        name: Name of the dataset.
        version_id: Its version.
        context: ``training``, ``validation``, ``read`` or ``session``.
        bound_via: ``explicit``, ``autolog``, ``in_run`` or ``session``: how sure the link is.
    """

    name: str
    version_id: str
    context: str
    bound_via: str


@dataclass(frozen=True, slots=True)
class Run:
    """A training run as a run store knows it.

    Attributes:
        run_id, name: As in the run store.
        inputs: Governed inputs; empty when nothing was bound.
        params, metrics: As logged, nbgov's own left out.
        code: What ran: ``commit``, ``dirty``, ``cells`` (digest) and so on.
        packages: Distribution name to version.
    """

    run_id: str
    name: str
    inputs: tuple[RunInput, ...]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    code: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- the result


@dataclass(slots=True)
class Summary:
    """What is known once a result has ended; see :attr:`Result.summary`."""

    rows_read: int = 0
    rows_affected: int | None = None
    is_truncated: bool = False
    entities: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, str] = field(default_factory=dict)
    version: DatasetVersion | None = None
    delivery: Delivery | None = None
    record: int | None = None
    receipt: Receipt | None = None


class Result:
    """An Arrow stream of governed rows that can be read once.

    Batches are masked before they are handed out. The outcome is durable in the audit log before the
    stream ends; a stream that is closed early is recorded as such.

    Attributes:
        schema: Arrow schema of the delivered batches.
        decision: The decision that let it through.
        statement: The statement it answers.
        record: Number of the attempt in the audit log.
        receipt: Receipt of the attempt.
        summary: Filled in while the stream is read; complete once it has ended.
    """

    def __init__(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        *,
        decision: Decision,
        statement: Statement,
        record: int,
        receipt: Receipt,
        summary: Summary,
        cancel: Callable[[], None],
    ) -> None:
        self.schema = schema
        self.decision = decision
        self.statement = statement
        self.record = record
        self.receipt = receipt
        self.summary = summary
        self.cancel = cancel
        self._batches = batches
        self._table: pa.Table | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The masked batches, in order. They can be taken once."""
        return self._batches

    def to_arrow(self) -> pa.Table:
        """Read to the end, as one Arrow table. Later calls return the same table."""
        import pyarrow as pa

        if self._table is None:
            self._table = pa.Table.from_batches(list(self._batches), self.schema)
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        """Read to the end, as a DataFrame whose ``attrs["nbgov"]`` names the dataset version.

        Integer and boolean columns with NULLs keep their values: they get pandas' nullable types.
        """
        import pandas as pd
        import pyarrow as pa

        nullable = {
            pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(),
            pa.int64(): pd.Int64Dtype(), pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(),
            pa.uint32(): pd.UInt32Dtype(), pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype(),
        }  # fmt: skip
        table = self.to_arrow()
        holes = {f.name for f, c in zip(table.schema, table.columns, strict=True) if c.null_count}
        plain = [f.type for f in table.schema if f.name not in holes]
        frame = table.to_pandas(
            types_mapper=lambda t: nullable.get(t) if t not in plain else None,
        )
        frame.attrs["nbgov"] = self.mark()
        return frame

    def to_polars(self) -> pl.DataFrame:
        """Read to the end, as a Polars frame."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def mark(self) -> dict[str, str]:
        """What a frame carries so that a training run can name it: read, version and dataset name."""
        delivery = self.summary.delivery
        if delivery is None:
            return {}
        return {"read": delivery.read_id, "version": delivery.version_id, "name": delivery.name}

    def close(self) -> None:
        """Stop reading. What was not read yet is recorded as not delivered."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export as an Arrow C stream (the Arrow PyCapsule interface)."""
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self.schema, self._batches)
        return reader.__arrow_c_stream__(requested_schema)

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

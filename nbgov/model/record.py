"""What is kept: audit records and receipts, dataset versions, deliveries and runs."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class RecordKind(enum.StrEnum):
    """What an audit entry states."""

    ATTEMPT = "attempt"
    OUTCOME = "outcome"
    INTERRUPTED = "interrupted"
    VOTE = "vote"
    REPAIR = "repair"
    ADMIN = "admin"


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
    effects: tuple[str, ...] | None = kept()
    statement: str | None = kept()
    statement_mac: str | None = digested()
    binds_mac: str | None = digested()
    tables: tuple[str, ...] | None = kept()
    columns: tuple[str, ...] | None = kept()
    functions: tuple[str, ...] | None = kept()
    plan: str | None = kept()
    decision: str | None = kept()
    status: str | None = kept()
    code: str | None = kept()
    rules: tuple[str, ...] | None = kept()
    obligations: tuple[str, ...] | None = kept()
    policy: str | None = kept()
    policy_revision: str | None = kept()
    decided_at: datetime | None = field(default=None, metadata={"audit": "keep"})
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

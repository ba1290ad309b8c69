"""What the audit log keeps: records, and the receipts for them."""

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

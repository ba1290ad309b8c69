"""What the audit log keeps: records, and the receipts for them."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbgov.errors import RequestInvalid

RECEIPT = re.compile(r"(?P<origin>.{1,256})/(?P<index>[0-9]{1,19})#(?P<digest>[0-9a-f]{64})")


class RecordKind(enum.StrEnum):
    """What an audit entry states."""

    ATTEMPT = "attempt"
    OUTCOME = "outcome"
    INTERRUPTED = "interrupted"
    VOTE = "vote"
    REPAIR = "repair"
    ADMIN = "admin"
    CATALOG = "catalog"
    HEADS = "heads"


def kept() -> Any:
    """A :class:`Record` field that the log keeps in clear, because it can hold no data value."""
    return field(default=None, metadata={"audit": "keep"})


def digested() -> Any:
    """A :class:`Record` field that the log keeps as a keyed digest only."""
    return field(default=None, metadata={"audit": "digest"})


def sealed() -> Any:
    """A :class:`Record` field that the log keeps encrypted, under a key that can be destroyed."""
    return field(default=None, metadata={"audit": "seal"})


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the audit log. ``None`` means that the field does not apply.

    Every field declares how the log keeps it; an inventory test fails on one that does not.
    ``statement_mac`` and ``binds_mac`` are keyed digests (hex), made with a key outside the log;
    ``literals`` is what a sealer made of the exact text and the bound values.
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
    via: str | None = kept()
    groups: tuple[str, ...] | None = kept()
    roles: tuple[str, ...] | None = kept()
    origin: Mapping[str, str] | None = kept()
    connection: str | None = kept()
    database_user: str | None = kept()
    dialect: str | None = kept()
    verb: str | None = kept()
    effects: tuple[str, ...] | None = kept()
    statement: str | None = kept()
    statement_mac: str | None = digested()
    binds_mac: str | None = digested()
    literals: str | None = sealed()
    tables: tuple[str, ...] | None = kept()
    columns: tuple[str, ...] | None = kept()
    functions: tuple[str, ...] | None = kept()
    plan: str | None = kept()
    decision: str | None = kept()
    reason: str | None = kept()
    status: str | None = kept()
    code: str | None = kept()
    sqlstate: str | None = kept()
    rules: tuple[str, ...] | None = kept()
    obligations: tuple[str, ...] | None = kept()
    policy: str | None = kept()
    policy_revision: str | None = kept()
    decided_at: datetime | None = field(default=None, metadata={"audit": "keep"})
    ticket: str | None = kept()
    voters: tuple[str, ...] | None = kept()
    rows_read: int | None = kept()
    rows_affected: int | None = kept()
    bytes_read: int | None = kept()
    batches: int | None = kept()
    masked: tuple[str, ...] | None = kept()
    entities: Mapping[str, int] | None = kept()
    version: str | None = kept()
    content: str | None = kept()
    schema: str | None = kept()
    run: str | None = kept()
    changes: tuple[str, ...] | None = kept()
    heads: Mapping[str, str] | None = kept()
    ticks: int | None = kept()
    note: str | None = kept()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an audit entry for the caller: the log's origin, the entry's index and its digest.

    Its text is ``ORIGIN/INDEX#DIGEST``, the digest as 64 hexadecimal digits.
    """

    origin: str
    index: int
    entry_digest: bytes

    def __str__(self) -> str:
        return f"{self.origin}/{self.index}#{self.entry_digest.hex()}"

    @property
    def short(self) -> str:
        """The text with the first 16 digits of the digest only, for people."""
        return f"{self.origin}/{self.index}#{self.entry_digest.hex()[:16]}"

    @classmethod
    def parse(cls, text: str) -> Receipt:
        """The receipt behind its text.

        Raises:
            RequestInvalid: The text is none (code ``receipt-invalid``).
        """
        found = RECEIPT.fullmatch(text.strip())
        if found is None:
            raise RequestInvalid(
                "The text is no receipt.",
                code="receipt-invalid",
                why="a receipt reads ORIGIN/INDEX#DIGEST, with 64 hexadecimal digits at the end",
                next_step="copy it whole from the notebook's output or the MLflow tag",
            )
        return cls(found["origin"], int(found["index"]), bytes.fromhex(found["digest"]))


def short_receipt(text: str) -> str:
    """A receipt's text as people see it; any other text as it is.

    Example:
        >>> short_receipt("log/12#" + 64 * "0"), short_receipt("none")
        ('log/12#0000000000000000', 'none')
    """
    try:
        return Receipt.parse(text).short
    except RequestInvalid:
        return text

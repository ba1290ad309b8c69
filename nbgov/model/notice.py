"""What people are told of tickets, and what is kept of a write so that it can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self, TypeAlias

from nbgov.model.approval import Approval

NoticeEvent: TypeAlias = Literal[
    "requested",
    "voted",
    "approved",
    "denied",
    "cancelled",
    "revoked",
    "consumed",
    "expired",
    "emergency",
    "reviewed",
]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to a ticket. It holds no text of the statement and no value.

    Attributes:
        event: ``requested``, ``voted``, ``approved``, ``denied``, ``cancelled``, ``revoked``,
            ``consumed``, ``expired``, ``emergency`` or ``reviewed``.
        ticket: Which ticket.
        at: When.
        by: Who did it.
        requester: Who asked for it.
        connection, verb, tables: What it is about.
        rules: The rules that ask for consent.
        rows: How many rows the dry run changed, or ``None``.
        mode: ``embedded`` or ``gateway``.
    """

    event: str
    ticket: str
    at: datetime
    by: str
    requester: str
    connection: str
    verb: str
    tables: tuple[str, ...]
    rules: tuple[str, ...]
    rows: int | None = None
    mode: str = "embedded"

    @classmethod
    def of(cls, approval: Approval, event: str, *, by: str, at: datetime) -> Self:
        """What people are told of a ticket: names and counts, never its text or a value."""
        return cls(
            event=event,
            ticket=approval.ticket,
            at=at,
            by=by,
            requester=approval.requester,
            connection=approval.connection,
            verb=approval.verb,
            tables=approval.tables,
            rules=tuple(quorum.rule for quorum in approval.quorums),
            rows=approval.evidence.rows_changed,
        )


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message to one receiver, on its way.

    Attributes:
        id: Its name, the same at every try, so that a receiver can tell a second copy.
        target: The receiver, by its name in ``nbgov.yaml``.
        ticket: The ticket that it tells of.
        body: What is sent, as JSON; empty in listings.
        made_at: When it was made.
        tries: How often it was tried.
        why: What the last try met, empty before the first one.
    """

    id: str
    target: str
    ticket: str
    body: str
    made_at: datetime
    tries: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one try to deliver a message.

    Attributes:
        state: ``arrived``; ``later`` where another try may do better; ``never`` where none will.
        said: What was answered, or what went wrong, in words of our own.
        wait_s: How long the receiver asks to be left alone.
    """

    state: Literal["arrived", "later", "never"]
    said: str
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class UndoImage:
    """What the rows of an approved write were before it.

    Attributes:
        request: Request id of the write.
        ticket: Its ticket.
        connection, table: Where the rows are.
        verb: ``UPDATE`` or ``DELETE``.
        principal: Who ran it.
        key: The columns that identify a row; empty for a DELETE of a table without a key.
        columns: The columns that are restored, in order.
        rows: How many rows.
        kept_at, expires_at: From when until when it can be used.
        sealed: The rows as an Arrow stream, sealed; empty in listings.
        facts: What else the statement that undoes it is made of, no values among it.
    """

    request: str
    ticket: str
    connection: str
    table: str
    verb: str
    principal: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int
    kept_at: datetime
    expires_at: datetime
    sealed: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

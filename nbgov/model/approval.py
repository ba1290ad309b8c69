"""What a person is asked to consent to, what they are told, and where it stands."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class ApprovalState(enum.StrEnum):
    """States of an approval ticket; only ``REQUESTED`` and ``APPROVED`` can still change."""

    REQUESTED = "requested"
    APPROVED = "approved"
    DENIED = "denied"
    CONSUMED = "consumed"
    CANCELLED = "cancelled"
    REVOKED = "revoked"
    EXPIRED = "expired"


class ApprovalMode(enum.StrEnum):
    """What a consent is good for: one execution, or every execution of the same until it ends."""

    ONCE = "once"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class ApprovalQuorum:
    """Votes that must be given before the statement runs, and by whom.

    Attributes:
        rule: Id of the policy rule that asks.
        names, groups, roles: Who may vote; any one match is enough.
        votes_min: How many different principals must approve.
        mode: What the consent is good for.
        wait_s: Seconds that a ticket waits for votes.
        valid_s: Seconds that a consent can be used for, from the vote that completed it.
    """

    rule: str
    names: frozenset[str]
    groups: frozenset[str]
    roles: frozenset[str]
    votes_min: int = 1
    mode: ApprovalMode = ApprovalMode.ONCE
    wait_s: int = 86_400
    valid_s: int = 28_800


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
class Ending:
    """How a ticket was taken back or revoked: by whom, when and why."""

    by: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Emergency:
    """A ticket that its requester used without votes (break-glass), and what came of it.

    Attributes:
        reason: Why it could not wait; never empty.
        at: When the glass was broken.
        reviewed_by, reviewed_at, finding: Who looked at it afterwards, when, and what they found.
            As long as nobody has, the requester cannot break the glass again.
    """

    reason: str
    at: datetime
    reviewed_by: str = ""
    reviewed_at: datetime | None = None
    finding: str = ""

    @property
    def is_reviewed(self) -> bool:
        """Whether somebody else has looked at it."""
        return self.reviewed_at is not None


@dataclass(frozen=True, slots=True)
class Highlight:
    """A half-open range of characters of the text, and what it is: ``changed`` or ``read``."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a ticket's statement beside its text, measured when it was asked for.

    It holds no data value: names, counts and reasons only.

    Attributes:
        dialect: sqlglot's name of the SQL dialect.
        effects: What the statement does, such as ``write``.
        highlights: Where the text names what is changed and read, in order.
        written, read: The columns that it writes and reads, as ``schema.table.column``.
        functions: The functions that it calls.
        obligations: What the policy puts on it, such as masks, a line each.
        groups, roles, account: What the requester belonged to, and their OS account.
        origin: Claims about where the request comes from, such as notebook and cell.
        rows_estimated: How many rows the database expects it to touch, or ``None``.
        rows_changed: How many rows it changed in a dry run that was rolled back, or ``None``.
        dry_run: Why there was no dry run, for people; empty where there was one.
        measured_s: How long the dry run took.
        undo: Why it cannot be undone, for people; empty where the rows are kept before it runs.
        undo_sql: The shape of the statement that would undo it, without values, or empty.
        policy: SHA-256 of the policy it was decided under, hex.
    """

    dialect: str = ""
    effects: tuple[str, ...] = ()
    highlights: tuple[Highlight, ...] = ()
    written: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    account: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    rows_estimated: int | None = None
    rows_changed: int | None = None
    dry_run: str = ""
    measured_s: float | None = None
    undo: str = ""
    undo_sql: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to one exact statement, with its state.

    Attributes:
        ticket: Short identifier, the same in every surface.
        binding_digest: SHA-256 over statement bytes, typed binds, connection, requester, the
            conditions that the policy puts on it and the version of the tables that it names.
        connection, sql: What would run, and where.
        binds: The typed bound values, as :func:`nbgov.core.approval.write_binds` writes them.
        requester: The principal who asked.
        quorums: Every approval that the decision asked for.
        verb: What the statement does, such as ``UPDATE``.
        tables: The tables it touches, for the voter.
        requested_at: When it was asked.
        decide_by: The moment after which it takes no votes.
        mode: What the consent is good for.
        valid_s: Seconds that it can be used for, from the vote that completed it.
        evidence: What the voter is told.
        undoes: Request id of the statement that this one undoes, or empty.
        votes: Votes so far.
        state: Where it stands.
        valid_until: After which moment it clears nothing; ``None`` before it is approved.
        uses: How often it cleared its statement.
        ending: Who took it back or revoked it.
        emergency: Why it was used without votes.
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
    decide_by: datetime
    mode: ApprovalMode = ApprovalMode.ONCE
    valid_s: int = 28_800
    evidence: Evidence = field(default_factory=Evidence)
    undoes: str = ""
    votes: tuple[Vote, ...] = ()
    state: ApprovalState = ApprovalState.REQUESTED
    valid_until: datetime | None = None
    uses: int = 0
    ending: Ending | None = None
    emergency: Emergency | None = None

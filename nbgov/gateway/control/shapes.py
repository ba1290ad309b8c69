"""What the control plane is sent and what it answers, as the OpenAPI document writes it down."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import JSONResponse
from pydantic import Field

from nbgov.config.places import STRICT
from nbgov.core.approval.transport import plain
from nbgov.model import Approval, Audience, Login, Node, Stop, Work

# PostgreSQL keeps no NUL, and half a surrogate pair has no bytes.
Words = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")]
VISIBLE = r"^[^\x00]*[^\x00-\x20\x7f-\xa0\s][^\x00]*$"
# A reason that is needed says something.
Said = Annotated[str, Field(min_length=1, max_length=2_000, pattern=VISIBLE)]
Named = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f/]+$")]
Ticket = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The ticket.")]
LoginId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Identifier of a login.")]
Connection = Annotated[str, Path(pattern=r"^[a-z_][a-z0-9_]{0,47}$", description="Its name.")]
Principal = Annotated[
    str, Path(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f/]+$", description="Their name.")
]
Number = Annotated[int, Path(ge=0, lt=2**53, description="Number of an entry of the audit log.")]


def answer(value: Any) -> JSONResponse:
    """A value of :mod:`nbgov.model`, or an object of such, as an answer."""
    return JSONResponse(plain(value))


# ---------------------------------------------------------------- what is sent


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote: whether to approve, and why."""

    __pydantic_config__ = STRICT
    is_approval: Annotated[bool, Field(strict=True)]
    reason: Words = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is done."""

    __pydantic_config__ = STRICT
    reason: Words = ""


@dataclass(frozen=True, slots=True)
class NeededReason:
    """Why something is done that takes a reason."""

    __pydantic_config__ = STRICT
    reason: Said


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a ticket that was used without votes."""

    __pydantic_config__ = STRICT
    finding: Said


@dataclass(frozen=True, slots=True)
class Question:
    """A statement that is to be decided and not run.

    Attributes:
        connection: Where it would run.
        sql: The text; several statements may stand in it.
        binds: Bound values by name.
    """

    __pydantic_config__ = STRICT
    connection: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,47}$")]
    sql: Annotated[str, Field(max_length=200_000)]
    binds: dict[str, str | int | float | bool | None] = field(default_factory=dict)


# ---------------------------------------------------------------- what is answered


@dataclass(frozen=True, slots=True)
class Approvals:
    """Approval tickets that the caller may see."""

    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class SampleRows:
    """A few rows that a ticket is about, as the caller may see them.

    Attributes:
        before, after: Arrow IPC streams, in base64; null where there are none.
        columns_changed: The columns that get new values.
        masked: What hides the values of a column, by its name.
        is_truncated: Whether there are more rows than these.
        why: Why something is missing, for people.
    """

    before: str | None
    after: str | None
    columns_changed: tuple[str, ...]
    masked: dict[str, str]
    is_truncated: bool
    why: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit log.

    Attributes:
        index: Its number.
        receipt: Its receipt.
        prev: Digest of the entry before, hex.
        record: What it states, as the log holds it.
        attempt: What the attempt states that it closes.
    """

    index: int
    receipt: str
    prev: str
    record: dict[str, Any]
    attempt: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AuditEntries:
    """Entries that were found; ``is_own`` says that those of others were left out."""

    entries: tuple[AuditEntry, ...]
    is_own: bool


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """A connection that the caller may see something of."""

    name: str
    is_default: bool
    is_stopped: bool


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections that the caller may see something of."""

    connections: tuple[ConnectionFacts, ...]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column as the source declares it."""

    name: str
    type: str
    is_required: bool
    is_generated: bool


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table or view that the caller may touch."""

    schema: str
    name: str
    kind: str
    key: tuple[str, ...]
    columns: tuple[ColumnFacts, ...]


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """What the caller may touch on a connection; the rest reads as absent."""

    connection: str
    dialect: str
    default_schema: str
    tables: tuple[TableFacts, ...]


@dataclass(frozen=True, slots=True)
class ChangeFacts:
    """One difference between two versions of a catalog."""

    kind: str
    subject: str
    part: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A version of what a connection holds, and what it changed."""

    version: int
    digest: str
    seen_at: datetime
    principal: str
    record: int
    receipt: str
    is_searched: bool
    authors: tuple[dict[str, Any], ...]
    changes: tuple[ChangeFacts, ...]


@dataclass(frozen=True, slots=True)
class History:
    """How a connection evolved, newest version first."""

    connection: str
    versions: tuple[VersionFacts, ...]


@dataclass(frozen=True, slots=True)
class PolicyText:
    """The policy in force: SHA-256 of its text, hex, and the text."""

    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a statement would come to, as ``nbgov check --json`` says it.

    ``decision`` is ``permit`` or ``deny``, ``rules`` those that decided, and ``sql`` the text that
    would run.
    """

    decision: str
    obligations: tuple[dict[str, Any], ...]
    effects: tuple[str, ...]
    codes: tuple[str, ...]
    tables: tuple[str, ...]
    columns: tuple[str, ...]
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    sql: str | None


@dataclass(frozen=True, slots=True)
class Whoami:
    """Who the caller is to the gateway."""

    name: str
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    account: str
    via: str
    login: str
    audience: Audience
    expires_at: datetime
    is_admin: bool
    is_auditor: bool


@dataclass(frozen=True, slots=True)
class Logins:
    """Logins that have neither ended nor expired, newest first."""

    sessions: tuple[Login, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The logins that were ended now."""

    ended: tuple[Login, ...]


@dataclass(frozen=True, slots=True)
class Works:
    """Statements that run now."""

    works: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class Nodes:
    """The processes of the gateway, as they last told of themselves."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Stops:
    """What is stopped, oldest first."""

    stops: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """How many there were."""

    count: int


@dataclass(frozen=True, slots=True)
class Health:
    """That the process answers."""

    status: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the gateway can do its part, and by check which part it cannot do, as a code."""

    is_ready: bool
    checks: dict[str, str]

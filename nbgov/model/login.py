"""Who stays at a gateway: proofs of identity, logins, and what an administrator has stopped."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from nbgov.model.request import Principal


class Audience(enum.StrEnum):
    """Which plane of a gateway a token is good for; never for both."""

    DATA = "nbgov-data"
    CONTROL = "nbgov-control"


@dataclass(frozen=True, slots=True)
class Proof:
    """What an issuer says of somebody, once its token was found to be genuine.

    Attributes:
        issuer: The issuer's name in ``nbgov.yaml``.
        subject: ``ISSUER|SUBJECT``: who it is, for good. Never an e-mail address.
        name: What people call them; it may change, and is no identity.
        groups: The groups that the issuer lists.
        roles: The roles that the issuer lists.
        method: How it was proven: ``oidc``, ``kubernetes``, ``github`` or ``jupyterhub``.
        expires_at: When the issuer's token ends.
    """

    issuer: str
    subject: str
    name: str
    groups: frozenset[str]
    roles: frozenset[str]
    method: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Login:
    """A principal's stay at a gateway: what one of its tokens stands for.

    Attributes:
        id: Identifier, in every record of the stay. It opens nothing.
        principal: Who it is; ``account`` is the proof's subject, ``via`` its method and issuer.
        audience: The plane that the token is good for.
        opened_at, expires_at: From when until when it is.
        address: Where it was opened from, as seen by the gateway.
        agent: What the client says it is.
        ended_at, ended_by, reason: When, by whom and why it was ended before its time.
    """

    id: str
    principal: Principal
    audience: Audience
    opened_at: datetime
    expires_at: datetime
    address: str = ""
    agent: str = ""
    ended_at: datetime | None = None
    ended_by: str = ""
    reason: str = ""


class StopKind(enum.StrEnum):
    """What an administrator can stop."""

    CONNECTION = "connection"
    PRINCIPAL = "principal"


@dataclass(frozen=True, slots=True)
class Stop:
    """A connection that serves nobody, or a principal who is served nothing, until it is lifted."""

    kind: StopKind
    name: str
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """A statement that a gateway runs now, as others may see it.

    Attributes:
        id: Identifier of the request; it can be cancelled by it.
        login: Id of the login that it belongs to.
        principal, connection: Who runs it, and where.
        statement: The text without its literals, once it was understood.
        surface: What it came through, such as ``flight-sql``.
        began_at: When it began.
        rows, bytes: What was delivered so far.
    """

    id: str
    login: str
    principal: str
    connection: str
    statement: str
    surface: str
    began_at: datetime
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A process of a gateway, as it last told of itself.

    Attributes:
        id: Identifier of the process; the session in its records.
        host, pid: Where it runs.
        policy: SHA-256 of the policy it serves, hex.
        seen_at: When it told this.
        works: What it runs.
    """

    id: str
    host: str
    pid: int
    policy: str
    seen_at: datetime
    works: tuple[Work, ...] = field(default=())

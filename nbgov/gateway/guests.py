"""Who is in at a gateway, what they run, and why somebody is not let in."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from nbgov.errors import BackendFailed, Denied, IdentityFailed, RequestInvalid
from nbgov.model import Audience, Login, Principal, Result, Stop, Work

if TYPE_CHECKING:
    from nbgov.session import Session

PREFIX_DIGITS = 10
PREFIXES = {Audience.DATA: "nbgov-data-", Audience.CONTROL: "nbgov-control-"}


@dataclass(frozen=True)
class Guest:
    """Somebody who is in: a login, and the session of its principal."""

    login: Login
    session: Session

    @property
    def principal(self) -> Principal:
        """Who it is."""
        return self.login.principal


@dataclass
class Running:
    """A statement that runs, and what stops it."""

    work: Work
    session: Session
    result: Result | None = None

    def now(self) -> Work:
        """What is known of it now."""
        if self.result is None:
            return self.work
        summary = self.result.summary
        return replace(
            self.work,
            statement=self.result.statement.redacted,
            rows=summary.rows_read,
            bytes=summary.bytes_read,
        )


class KnownPrincipal:
    """The identity of a session whose principal was proven before it was opened.

    Args:
        principal: Who it is.
    """

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    def identify(self, claim: str | None) -> Principal:
        """The principal, whatever is claimed.

        Raises:
            IdentityFailed: Somebody else is claimed.
        """
        if claim not in {None, self.principal.name}:
            raise IdentityFailed(
                "Nobody can act in the name of somebody else here.",
                why="the gateway knows who asks by their login",
                next_step="leave --as out, or log in as the other one",
            )
        return self.principal


def roles_of(groups: frozenset[str], given: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """The roles that come with groups, by patterns of groups."""
    return frozenset(
        role
        for pattern, roles in given.items()
        if any(fnmatchcase(group, pattern) for group in groups)
        for role in roles
    )


# ---------------------------------------------------------------- who is not let in


def require_valid(login: Login, audience: Audience, now: datetime) -> None:
    """Go no further with a login that has ended, or is for the other plane.

    Raises:
        IdentityFailed: It is (``token-audience``, ``token-expired``, ``token-revoked``).
    """
    if login.audience is not audience:
        raise IdentityFailed(
            "The token is for the other plane of the gateway.",
            code="token-audience",
            why=f"it is for {login.audience.value}, and this is {audience.value}",
            next_step="exchange your proof of identity again, for this audience",
        )
    if login.ended_at is not None:
        raise IdentityFailed(
            "The login was ended.",
            code="token-revoked",
            why=login.reason or f"{login.ended_by} ended it",
            next_step="log in again: nbgov login",
        )
    if now >= login.expires_at:
        raise IdentityFailed(
            "The login is over.",
            code="token-expired",
            why="a token of the gateway is good for a short time only",
            next_step="log in again: nbgov login",
        )


def unknown_token(token: str) -> IdentityFailed:
    """The error of a text that is no token of this gateway."""
    if not token:
        return IdentityFailed(
            "Nobody is logged in.",
            code="token-missing",
            why="the request carries no token of the gateway",
            next_step="log in: nbgov login",
        )
    return IdentityFailed(
        "The token is none of this gateway.",
        code="token-unknown",
        why="a token of an identity provider has to be exchanged first"
        if token.count(".") == 2  # noqa: PLR2004 - a JWS has three parts
        else "it was never issued here, or is forgotten",
        next_step="log in: nbgov login",
    )


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


# ---------------------------------------------------------------- what is not begun


def draining() -> BackendFailed:
    """The error of a request that comes too late."""
    return BackendFailed(
        "The gateway is about to end.",
        code="gateway-draining",
        why="it takes nothing new while what runs is brought to its end",
        next_step="try again in a moment; another process answers then",
    )


def busy(mine: int, everybody: int) -> BackendFailed:
    """The error of a request that comes when too many results are open."""
    return BackendFailed(
        "Too many results are open at the gateway.",
        code="gateway-busy",
        why=f"{mine} of them are yours, and {everybody} are anybody's",
        next_step="read or close the results that are open, then try again",
    )


def repeated() -> RequestInvalid:
    """The error of a request whose name another one has that runs."""
    return RequestInvalid(
        "A request of this name runs already.",
        code="usage",
        next_step="give each request a name of its own, or none",
    )


def was_stopped(stop: Stop) -> Denied:
    """The error of whoever comes to what was stopped."""
    return Denied(
        f"The {stop.kind.value} {stop.name} was stopped.",
        code=f"{stop.kind.value}-stopped",
        why=stop.reason,
        next_step=f"ask {stop.by}, who stopped it",
    )


def own_id(principal: Principal, id: str) -> str:  # noqa: A002 - the word of a request
    """The name of a request among those of everybody.

    Security: a client names its requests. Behind what stands for its principal it can stop no other
    one's, whatever it calls them.

    Example:
        >>> own_id(Principal("ada"), "r1"), own_id(Principal("eve"), "r1")
        ('fdee430d40-r1', '85262adf74-r1')
        >>> own_id(Principal("ada"), "fdee430d40-r1")
        'fdee430d40-r1'
    """
    prefix = hashlib.sha256(principal.name.encode()).hexdigest()[:PREFIX_DIGITS] + "-"
    return id if id.startswith(prefix) else prefix + (id or uuid.uuid4().hex)

"""Who asks the control plane, and what they may see of what belongs to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from nbgov.assurance.deeds import record_admin
from nbgov.core.approval.rules import is_own, is_voter
from nbgov.errors import Denied
from nbgov.gateway.guests import Guest
from nbgov.gateway.house import House
from nbgov.model import Audience, Principal

if TYPE_CHECKING:
    from nbgov.model import Approval

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token of the gateway for the audience nbgov-control; see POST /v1/session.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


def house_of(request: Request) -> House:
    """The house that a request came to."""
    house: House = request.app.state.house
    return house


def address(request: Request) -> str:
    """Where a request came from, as the gateway sees it; what headers claim does not count."""
    return request.client.host if request.client else ""


def token_of(request: Request) -> str:
    """The bearer token of a request; empty where it carries none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def guest_of(request: Request, _: Credentials) -> Guest:
    """Whoever sent a request, by the token that it carries.

    Raises:
        IdentityFailed: It carries none that counts here.
        Denied: The principal was stopped.
    """
    # Security: a token of the data plane, such as one stolen from a notebook, ends here.
    return house_of(request).enter(token_of(request), Audience.CONTROL)


Caller = Annotated[Guest, Depends(guest_of)]
Home = Annotated[House, Depends(house_of)]


# ---------------------------------------------------------------- what they may see


def is_admin(house: House, principal: Principal) -> bool:
    """Whether somebody may end logins and stop connections."""
    return house.terms.admins.holds(principal)


def is_auditor(house: House, principal: Principal) -> bool:
    """Whether somebody may read the whole audit log and the policy."""
    return house.terms.auditors.holds(principal)


def may_see_ticket(house: House, principal: Principal, approval: Approval) -> bool:
    """Whether a ticket is somebody's own, theirs to vote on, or theirs to audit."""
    return (
        is_own(principal, approval) or is_voter(principal, approval) or is_auditor(house, principal)
    )


def require_admin(house: House, guest: Guest, *, to: str = "") -> None:
    """Go no further without the rights of an administrator.

    Args:
        house: Everything that the planes share.
        guest: Who asks.
        to: What they want to do, in capitals, where the log is to say that it was refused.

    Raises:
        Denied: They have none (``admin-needed``).
    """
    if not is_admin(house, guest.principal):
        error = Denied(
            "This takes an administrator of the gateway.",
            code="admin-needed",
            why="it is about others",
            next_step="ask one of those named under gateway: admins: in nbgov.yaml",
        )
        if to:
            world, session = house.site.world, house.site.id
            facts = {"status": "denied", "code": error.code}
            receipt = record_admin(world, to, session=session, principal=guest.principal, **facts)
            error.record, error.receipt = receipt.index, str(receipt)
        raise error


def require_auditor(house: House, guest: Guest) -> None:
    """Go no further without the rights of an auditor.

    Raises:
        Denied: They have none (``auditor-needed``).
    """
    if not is_auditor(house, guest.principal):
        raise Denied(
            "This takes an auditor of the gateway.",
            code="auditor-needed",
            why="it is about others",
            next_step="ask one of those named under gateway: auditors: in nbgov.yaml",
        )

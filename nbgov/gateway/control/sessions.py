"""Who is logged in, what they run, and what administrators stop."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Response

from nbgov.errors import RequestInvalid
from nbgov.gateway.control.access import Caller, Home, is_admin, is_auditor, require_admin
from nbgov.gateway.control.problems import AUTH, documented
from nbgov.gateway.control.shapes import (
    Count,
    Ended,
    LoginId,
    Logins,
    Named,
    Nodes,
    Principal,
    Reason,
    Stops,
    Whoami,
    Works,
    answer,
)
from nbgov.model import Stop, StopKind

if TYPE_CHECKING:
    from nbgov.gateway.guests import Guest
    from nbgov.gateway.house import House
    from nbgov.model import Work

ONE = documented(*AUTH, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST)
# A process that has not told of itself for so long is over.
SILENCE_S = 10
All = Annotated[bool, Query(alias="all", description="Those of everybody, for administrators.")]
StopName = Annotated[Named, Path(description="Name of the connection or of the principal.")]
router = APIRouter(prefix="/v1", tags=["sessions"])


@router.get("/whoami", response_model=Whoami, responses=documented(*AUTH))
def whoami(guest: Caller, house: Home) -> Response:
    """Who the caller is to the gateway, and until when."""
    principal, login = guest.principal, guest.login
    return answer(
        Whoami(
            name=principal.name,
            groups=tuple(sorted(principal.groups)),
            roles=tuple(sorted(principal.roles)),
            account=principal.account,
            via=principal.via,
            login=login.id,
            audience=login.audience,
            expires_at=login.expires_at,
            is_admin=is_admin(house, principal),
            is_auditor=is_auditor(house, principal),
        )
    )


@router.get("/sessions", response_model=Logins, responses=documented(*AUTH))
def list_sessions(guest: Caller, house: Home, everybody: All = False) -> Response:  # noqa: FBT002
    """Logins that have neither ended nor expired, newest first."""
    if everybody:
        require_admin(house, guest)
    name = guest.principal.name
    found = house.store.logins(now=house.site.world.clock.now())
    return answer({"sessions": [o for o in found if everybody or o.principal.name == name]})


@router.delete("/sessions/{login}", response_model=Ended, responses=ONE)
def end_session(
    login: LoginId,
    guest: Caller,
    house: Home,
    reason: Annotated[str, Query(max_length=500, pattern=r"^[^\x00]*$")] = "",
) -> Response:
    """End a login, and cancel what it runs: one's own, or anybody's as an administrator."""
    require_login(house, guest, login, next_step="list them: GET /v1/sessions")
    return answer({"ended": house.end(login=login, by=guest.principal, reason=reason)})


@router.delete("/principals/{name}/sessions", response_model=Ended, responses=ONE)
def end_sessions(
    name: Principal,
    guest: Caller,
    house: Home,
    reason: Annotated[str, Query(max_length=500, pattern=r"^[^\x00]*$")] = "",
) -> Response:
    """End every login of a principal, and cancel what they run: one's own, or as an admin."""
    if name != guest.principal.name:
        require_admin(house, guest, to="LOGOUT")
    return answer({"ended": house.end(principal=name, by=guest.principal, reason=reason)})


# ---------------------------------------------------------------- what runs


@router.get("/works", response_model=Works, responses=documented(*AUTH))
def list_works(guest: Caller, house: Home, everybody: All = False) -> Response:  # noqa: FBT002
    """Statements that run now, in any process of the gateway."""
    if everybody:
        require_admin(house, guest)
    name = guest.principal.name
    found = [one for one in works(house) if everybody or one.principal == name]
    return answer({"works": found})


@router.delete("/works/{request}", response_model=Count, responses=ONE)
def cancel_work(
    request: Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="Its name.")],
    guest: Caller,
    house: Home,
) -> Response:
    """Cancel a statement that this process runs: one's own, or anybody's as an administrator.

    The count is 0 where nothing of that name runs here, or it belongs to somebody else.
    """
    return answer(Count(cancel_request(house, guest, request)))


@router.get("/nodes", response_model=Nodes, responses=documented(*AUTH))
def list_nodes(guest: Caller, house: Home) -> Response:
    """The processes of the gateway and what they do, for administrators."""
    require_admin(house, guest)
    since = house.site.world.clock.now() - timedelta(seconds=SILENCE_S)
    return answer({"nodes": house.store.nodes(since=since)})


# ---------------------------------------------------------------- what is stopped


@router.get("/stops", response_model=Stops, responses=documented(*AUTH))
def list_stops(guest: Caller, house: Home) -> Response:
    """What is stopped, oldest first, for administrators."""
    require_admin(house, guest)
    return answer({"stops": house.store.stops()})


@router.put("/stops/{kind}/{name}", response_model=Stops, responses=ONE)
def stop(kind: StopKind, name: StopName, said: Reason, guest: Caller, house: Home) -> Response:
    """Stop a connection or a principal, and cancel what runs. What is stopped now is answered."""
    require_admin(house, guest, to="STOP")
    at = house.site.world.clock.now()
    house.stop(Stop(kind, name, said.reason, guest.principal.name, at), by=guest.principal)
    return answer({"stops": house.store.stops()})


@router.delete("/stops/{kind}/{name}", response_model=Stops, responses=ONE)
def lift(kind: StopKind, name: StopName, guest: Caller, house: Home) -> Response:
    """Lift a stop. What is still stopped is answered."""
    require_admin(house, guest, to="LIFT")
    house.lift(kind, name, by=guest.principal)
    return answer({"stops": house.store.stops()})


# ---------------------------------------------------------------- how it is done


def require_login(house: House, guest: Guest, login: str, *, next_step: str) -> None:
    """Go no further with a login that somebody may not end: one's own, or anybody's as an admin.

    Raises:
        RequestInvalid: It is none that is open, or is not theirs (``unknown-login``).
    """
    open_now = house.store.logins(now=house.site.world.clock.now())
    found = next((one for one in open_now if one.id == login), None)
    is_mine = found is not None and found.principal.name == guest.principal.name
    if found is None or not (is_mine or is_admin(house, guest.principal)):
        raise RequestInvalid(
            "There is no such login.",
            code="unknown-login",
            why="it has ended, or is not yours",
            next_step=next_step,
        )


def cancel_request(house: House, guest: Guest, request: str) -> int:
    """Cancel a request here, one's own or anybody's as an admin; how many statements that was."""
    is_any, name = is_admin(house, guest.principal), guest.principal.name
    return house.cancel(lambda one: one.id == request and (is_any or one.principal == name))


def works(house: House) -> tuple[Work, ...]:
    """What runs in any process of the gateway, as far as the others have told."""
    since = house.site.world.clock.now() - timedelta(seconds=SILENCE_S)
    mine = house.works()
    nodes = house.store.nodes(since=since)
    return (*mine, *(one for node in nodes if node.id != house.site.id for one in node.works))

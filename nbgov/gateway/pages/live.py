"""Who is connected and what they do now, in every process of the gateway; and how it is ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Query, Response

from nbgov.core.markup import Markup, element, table
from nbgov.core.visible import visible
from nbgov.errors import RequestInvalid
from nbgov.gateway.control.access import is_admin, require_admin
from nbgov.gateway.control.sessions import SILENCE_S, cancel_request, require_login, works
from nbgov.gateway.pages.shell import (
    ROOT,
    Doer,
    Looker,
    PageRoute,
    Visit,
    back_to,
    button,
    choice,
    field,
    form,
    notice,
    page,
    void,
)
from nbgov.model import Stop, StopKind

if TYPE_CHECKING:
    from datetime import datetime

    from nbgov.model import Login, Work

PLACE = f"{ROOT}/live"
EVERY_S = 5
Words = Annotated[str, Form(max_length=500)]
Name = Annotated[str, Form(max_length=256)]
router = APIRouter(prefix=PLACE, include_in_schema=False, route_class=PageRoute)


@router.get("")
def show(visit: Looker, every: Annotated[int, Query(ge=0, le=3_600)] = 0) -> Response:
    """What runs now, who is logged in, and for administrators what is stopped and what serves."""
    house, name = visit.house, visit.guest.principal.name
    is_all = is_admin(house, visit.guest.principal)
    now = house.site.world.clock.now()
    running = [one for one in works(house) if is_all or one.principal == name]
    logins = [one for one in house.store.logins(now=now) if is_all or one.principal.name == name]
    parts = [
        refreshing(every),
        element("h2", "What runs"),
        running_table(running, visit, now) if running else notice("Nothing runs now."),
        element("h2", "Who is logged in"),
        login_table(logins, visit),
    ]
    if is_all:
        parts += [element("h2", "What is stopped"), *stops(visit)]
        parts += [element("h2", "Processes"), node_table(visit, now)]
    else:
        parts.append(element("p", "Administrators see what others do.", class_="soft"))
    return page("Live", *parts, visit=visit, refresh_s=EVERY_S if every else 0)


@router.post("/cancel")
def cancel(visit: Doer, request: Name = "") -> Response:
    """Cancel a statement that this process runs: one's own, or anybody's as an administrator."""
    cancel_request(visit.house, visit.guest, request)
    return back_to(PLACE)


@router.post("/end")
def end(visit: Doer, login: Name = "", reason: Words = "") -> Response:
    """End a login, and what it runs: one's own, or anybody's as an administrator."""
    house, me = visit.house, visit.guest.principal
    require_login(house, visit.guest, login, next_step="look at the live page again")
    house.end(login=login, by=me, reason=reason or "ended on the live page")
    return back_to(PLACE)


@router.post("/stop")
def stop(visit: Doer, kind: Name = "", name: Name = "", reason: Words = "") -> Response:
    """Stop a connection or a principal, and cancel what runs."""
    require_admin(visit.house, visit.guest, to="STOP")
    by, at = visit.guest.principal, visit.house.site.world.clock.now()
    named = name.strip()
    if not named or not reason.strip():
        raise RequestInvalid(
            "A stop takes a name and a reason.", code="usage", next_step="write both"
        )
    visit.house.stop(Stop(kind_of(kind), named, reason.strip(), by.name, at), by=by)
    return back_to(PLACE)


@router.post("/lift")
def lift(visit: Doer, kind: Name = "", name: Name = "") -> Response:
    """Lift a stop."""
    require_admin(visit.house, visit.guest, to="LIFT")
    visit.house.lift(kind_of(kind), name, by=visit.guest.principal)
    return back_to(PLACE)


def kind_of(text: str) -> StopKind:
    """What is stopped or lifted.

    Raises:
        RequestInvalid: Nothing that can be.
    """
    if text not in {one.value for one in StopKind}:
        raise RequestInvalid(
            "Only a connection or a principal can be stopped.",
            code="usage",
            next_step="choose one of them",
        )
    return StopKind(text)


# ---------------------------------------------------------------- how it looks


def refreshing(every: int) -> Markup:
    """A link that lets the page look again by itself, or stops that."""
    if every:
        told = f"The page looks again every {EVERY_S} seconds. "
        return element("p", told, element("a", "Stop that", href=PLACE), role="status")
    again = element("a", "Look again", href=PLACE)
    by_itself = element("a", f"every {EVERY_S} seconds by itself", href=f"{PLACE}?every={EVERY_S}")
    return element("p", again, ", or ", by_itself)


def running_table(found: list[Work], visit: Visit, now: datetime) -> Markup:
    """Statements that run."""
    here = {one.id for one in visit.house.works()}
    heads = ["Who", "Connection", "Statement", "Through", "#Seconds", "#Rows", "#Bytes", "Cancel"]
    rows = [
        [
            visible(one.principal),
            visible(one.connection),
            element("code", visible(one.statement or "(is being read)"), class_="long"),
            visible(one.surface),
            f"{max((now - one.began_at).total_seconds(), 0):,.0f}",
            f"{one.rows:,}",
            f"{one.bytes:,}",
            cancelling(one, visit) if one.id in here else "in another process: end the login",
        ]
        for one in found
    ]
    return table(heads, rows, label="Statements that run")


def cancelling(one: Work, visit: Visit) -> Markup:
    """What cancels a statement."""
    hidden = void("input", type="hidden", name_="request", value=one.id)
    told = button("Cancel", told=f"Cancel the statement of {visible(one.principal)}")
    return form(visit, f"{PLACE}/cancel", hidden, told)


def login_table(found: list[Login], visit: Visit) -> Markup:
    """Logins that are open."""
    heads = ["Who", "Proven by", "Plane", "From", "Client", "Since (UTC)", "Until", "End"]
    mine = visit.guest.login.id
    rows = [
        [
            visible(one.principal.name),
            visible(one.principal.via),
            "data" if one.audience.value.endswith("data") else "control",
            visible(one.address),
            visible(one.agent[:60]),
            f"{one.opened_at:%m-%d %H:%M:%S}",
            f"{one.expires_at:%H:%M:%S}",
            "this page" if one.id == mine else ending(one, visit),
        ]
        for one in found
    ]
    return table(heads, rows, label="Logins")


def ending(one: Login, visit: Visit) -> Markup:
    """What ends a login."""
    hidden = void("input", type="hidden", name_="login", value=one.id)
    told = f"End the login of {visible(one.principal.name)} since {one.opened_at:%H:%M:%S}"
    return form(visit, f"{PLACE}/end", hidden, button("End", told=told))


def stops(visit: Visit) -> list[Markup]:
    """What is stopped, and a form that stops more."""
    found = visit.house.store.stops()
    rows = [
        [
            one.kind.value,
            visible(one.name),
            visible(one.reason),
            visible(one.by),
            f"{one.at:%Y-%m-%d %H:%M}",
            form(
                visit,
                f"{PLACE}/lift",
                void("input", type="hidden", name_="kind", value=one.kind.value),
                void("input", type="hidden", name_="name", value=one.name),
                button("Lift", told=f"Lift the stop of {one.kind.value} {visible(one.name)}"),
            ),
        ]
        for one in found
    ]
    heads = ["What", "Name", "Why", "By", "Since (UTC)", "Lift"]
    known = table(heads, rows, label="What is stopped") if rows else notice("Nothing is stopped.")
    kinds = [one.value for one in StopKind]
    more = form(
        visit,
        f"{PLACE}/stop",
        choice("What", "kind", kinds, kinds[0]),
        field("Name", "name", required=True),
        field("Why", "reason", required=True),
        button("Stop it"),
        class_="asking",
    )
    return [known, more]


def node_table(visit: Visit, now: datetime) -> Markup:
    """The processes of the gateway; a policy that differs from ours is marked."""
    found = visit.house.store.nodes(since=now - timedelta(seconds=SILENCE_S))
    ours = visit.house.node()
    nodes = {one.id: one for one in (ours, *found)}
    rows = [
        [
            visible(f"{one.host} {one.pid}") + (" (this one)" if one.id == ours.id else ""),
            element("code", one.policy[:12]),
            "" if one.policy == ours.policy else element("strong", "another policy", class_="bad"),
            f"{len(one.works)}",
            f"{one.seen_at:%H:%M:%S}",
        ]
        for one in nodes.values()
    ]
    return table(["Process", "Policy", "", "#Runs", "Seen (UTC)"], rows, label="Processes")

"""The inbox, and a ticket with its evidence: what waits for consent, and the deciding itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Query, Response

from nbgov.core.approval import LIVE
from nbgov.core.approval.rules import is_own
from nbgov.core.markup import Markup, element, table
from nbgov.core.visible import visible
from nbgov.errors import RequestInvalid
from nbgov.gateway.control.access import may_see_ticket
from nbgov.gateway.control.approvals import visible_ticket
from nbgov.gateway.pages.shell import (
    ROOT,
    Doer,
    Looker,
    PageRoute,
    Visit,
    area,
    asking,
    back_to,
    button,
    field,
    form,
    notice,
    page,
    shown_html,
)
from nbgov.model import Approval, ApprovalState
from nbgov.shown.docket import (
    EMPTY,
    HEADS,
    VIEWS,
    cells,
    hint,
    needs_review,
    tickets_of,
    waiting_text,
    why_no_review,
    why_no_revoke,
    why_no_vote,
)
from nbgov.shown.tickets import ticket_html

if TYPE_CHECKING:
    from nbgov.session import Session
    from nbgov.session.samples import Sample

INBOX = f"{ROOT}/tickets"
Ticket = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Words = Annotated[str, Form(max_length=2_000)]
DEEDS: Mapping[str, Callable[[Session, str, str], Approval]] = {
    "approve": lambda session, ticket, said: session.vote(ticket, is_approval=True, reason=said),
    "deny": lambda session, ticket, said: session.vote(ticket, is_approval=False, reason=said),
    "cancel": lambda session, ticket, said: session.cancel_ticket(ticket, reason=said),
    "revoke": lambda session, ticket, said: session.revoke(ticket, reason=said),
    "break-glass": lambda session, ticket, said: session.break_glass(ticket, reason=said),
    "review": lambda session, ticket, said: session.review(ticket, finding=said),
}
router = APIRouter(prefix=INBOX, include_in_schema=False, route_class=PageRoute)


@router.get("")
def inbox(
    visit: Looker,
    view: Annotated[str, Query(max_length=20)] = "waiting",
    words: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """The tickets that the caller may see."""
    view = view if view in VIEWS.values() else "waiting"
    house, guest = visit.house, visit.guest
    found = [
        one
        for one in tickets_of(guest.session, view, words)
        if may_see_ticket(house, guest.principal, one)
    ]
    said = waiting_text(found, guest.principal) if found else EMPTY[view]
    return page(
        "Approvals",
        tabs(view),
        asking(
            INBOX,
            Markup(f'<input type="hidden" name="view" value="{view}">'),
            field("Find", "words", words, hint="requester, table, state …"),
            button("Find"),
        ),
        notice(said),
        *([listed(found, visit)] if found else []),
        visit=visit,
    )


@router.get("/{ticket}")
def look(ticket: Ticket, visit: Looker) -> Response:
    """A ticket with what a reviewer needs, in the order in which they need it."""
    return told(visible_ticket(visit.house, visit.guest, ticket), visit)


@router.post("/{ticket}/sample")
def look_at_rows(ticket: Ticket, visit: Doer) -> Response:
    """The ticket with rows that it is about, read as the one who looks: masked and recorded."""
    approval = visible_ticket(visit.house, visit.guest, ticket)
    return told(approval, visit, sample=visit.guest.session.sample(ticket))


@router.post("/{ticket}")
def decide(ticket: Ticket, visit: Doer, deed: Words = "", said: Words = "") -> Response:
    """Do something about a ticket; the store judges whether that may be."""
    step = DEEDS.get(deed)
    if step is None:
        raise RequestInvalid(
            "There is nothing of this name to do.", code="usage", next_step="open the page again"
        )
    # Security: what nobody may see they cannot probe by deciding on it.
    visible_ticket(visit.house, visit.guest, ticket)
    step(visit.guest.session, ticket, said.strip())
    return back_to(place_of(ticket))


# ---------------------------------------------------------------- how it looks


def place_of(ticket: str) -> str:
    """The page of a ticket."""
    return f"{INBOX}/{quote(ticket, safe='')}"


def link_to(ticket: str) -> Markup:
    """A ticket that leads to its page."""
    return element("a", visible(ticket), href=place_of(ticket))


def tabs(view: str) -> Markup:
    """The three lists."""
    links = (
        element("a", name, href=f"{INBOX}?view={one}", aria_current="page" if one == view else "")
        for name, one in VIEWS.items()
    )
    return element("nav", *links, class_="tabs", aria_label="Which tickets")


def listed(found: list[Approval], visit: Visit) -> Markup:
    """Tickets as a table."""
    rows = []
    for one in found:
        first, *others = cells(one, visit.guest.principal)
        rows.append([link_to(first), *map(visible, others)])
    return table([name.capitalize() for name in HEADS], rows, label="Tickets")


def told(approval: Approval, visit: Visit, *, sample: Sample | None = None) -> Response:
    """The page of a ticket."""
    principal = visit.guest.principal
    shown = ticket_html(approval, sample=sample, viewer=principal.name, is_kept=True)
    why_not = hint(principal, approval)
    return page(
        visible(f"{approval.requester} asks for {approval.verb}"),
        element("p", element("a", "All approvals", href=INBOX)),
        shown_html(shown),
        element("section", *deeds(approval, visit), aria_label="What you can do"),
        *([element("p", visible(why_not), class_="soft")] if why_not else []),
        visit=visit,
    )


def deeds(approval: Approval, visit: Visit) -> Iterator[Markup]:
    """A form for everything that the viewer can do about a ticket."""
    me, place = visit.guest.principal, place_of(approval.ticket)
    if approval.state in LIVE:
        rows = button("Show rows that it is about", is_quiet=True)
        yield form(visit, f"{place}/sample", rows)
    if not why_no_vote(me, approval):
        both = (
            button("Approve", name="deed", value="approve"),
            button("Deny", name="deed", value="deny"),
        )
        why = area("Why (everybody who sees the ticket reads it)", "said")
        yield form(visit, place, why, element("p", *both), class_="deed")
    if needs_review(approval) and not why_no_review(me, approval):
        found = area("What came of it", "said", required=True)
        yield form(visit, place, found, deed("Close the review", "review"), class_="deed")
    if not why_no_revoke(me, approval):
        why = area("Why it is taken back", "said", required=True)
        yield form(visit, place, why, deed("Revoke the consent", "revoke"), class_="deed")
    if is_own(me, approval) and approval.state in LIVE:
        why = area("Why you take it back", "said")
        yield form(visit, place, why, deed("Cancel the request", "cancel"), class_="deed")
    if is_own(me, approval) and approval.state is ApprovalState.REQUESTED:
        why = area("The emergency", "said", required=True)
        about = "Goes ahead once without votes, if the policy lets you. Somebody reviews it after."
        inner = form(visit, place, why, deed("Break the glass", "break-glass"), class_="deed")
        summary = element("summary", "In an emergency")
        yield element("details", summary, element("p", about, class_="soft"), inner)


def deed(text: str, name: str) -> Markup:
    """The button of a deed."""
    return button(text, name="deed", value=name)

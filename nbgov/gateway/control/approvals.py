"""Approval tickets over HTTP: what there is to decide, and the deciding itself."""

from __future__ import annotations

import base64
import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Response

from nbgov.errors import RequestInvalid
from nbgov.gateway.control.access import Caller, Home, may_see_ticket
from nbgov.gateway.control.problems import AUTH, documented
from nbgov.gateway.control.shapes import (
    Approvals,
    Ballot,
    Finding,
    NeededReason,
    Reason,
    SampleRows,
    Ticket,
    answer,
)
from nbgov.model import Approval

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.gateway.guests import Guest
    from nbgov.gateway.house import House

STEP = documented(*AUTH, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST)
router = APIRouter(prefix="/v1/approvals", tags=["approvals"])


@router.get("", response_model=Approvals, responses=documented(*AUTH))
def list_tickets(
    guest: Caller,
    house: Home,
    state: Annotated[Literal["open", "all"], Query(description="Which tickets.")] = "open",
    limit: Annotated[int, Query(ge=1, le=1_000, description="Tickets at most.")] = 50,
) -> Response:
    """The tickets that are the caller's own, theirs to vote on, or theirs to audit.

    Open ones come oldest first, and all of them newest first.
    """
    session = guest.session
    found = session.pending() if state == "open" else session.tickets(limit)
    seen = [one for one in found if may_see_ticket(house, guest.principal, one)]
    return answer({"approvals": seen[:limit]})


@router.get("/{ticket}", response_model=Approval, responses=STEP)
def show_ticket(ticket: Ticket, guest: Caller, house: Home) -> Response:
    """One ticket with its evidence and its votes."""
    return answer(visible_ticket(house, guest, ticket))


@router.get("/{ticket}/sample", response_model=SampleRows, responses=STEP)
def show_sample(ticket: Ticket, guest: Caller, house: Home) -> Response:
    """A few rows that a ticket is about, read as the caller: decided, masked and recorded."""
    visible_ticket(house, guest, ticket)
    sample = guest.session.sample(ticket)
    return answer(
        SampleRows(
            before=stream_of(sample.before),
            after=stream_of(sample.after),
            columns_changed=sample.columns_changed,
            masked=dict(sample.masked),
            is_truncated=sample.is_truncated,
            why=sample.why,
        )
    )


@router.post("/{ticket}/votes", response_model=Approval, responses=STEP)
def vote(ticket: Ticket, ballot: Ballot, guest: Caller) -> Response:
    """Approve or deny a ticket. One denial ends it; every quorum needs its votes."""
    return answer(guest.session.vote(ticket, is_approval=ballot.is_approval, reason=ballot.reason))


@router.post("/{ticket}/cancel", response_model=Approval, responses=STEP)
def cancel(ticket: Ticket, said: Reason, guest: Caller) -> Response:
    """Take back a ticket of one's own."""
    return answer(guest.session.cancel_ticket(ticket, reason=said.reason))


@router.post("/{ticket}/revoke", response_model=Approval, responses=STEP)
def revoke(ticket: Ticket, said: NeededReason, guest: Caller) -> Response:
    """Take a consent back that was not used up, as somebody who may vote on the ticket."""
    return answer(guest.session.revoke(ticket, reason=said.reason))


@router.post("/{ticket}/break-glass", response_model=Approval, responses=STEP)
def break_glass(ticket: Ticket, said: NeededReason, guest: Caller) -> Response:
    """Go ahead without votes on a ticket of one's own, where the policy permits it."""
    return answer(guest.session.break_glass(ticket, reason=said.reason))


@router.post("/{ticket}/review", response_model=Approval, responses=STEP)
def review(ticket: Ticket, said: Finding, guest: Caller) -> Response:
    """Say what came of a ticket that was used without votes."""
    return answer(guest.session.review(ticket, finding=said.finding))


# ---------------------------------------------------------------- how it is done


def visible_ticket(house: House, guest: Guest, ticket: str) -> Approval:
    """A ticket that somebody may see.

    Raises:
        RequestInvalid: There is none that they may see (``unknown-ticket``).
    """
    found = guest.session.approval(ticket)
    if not may_see_ticket(house, guest.principal, found):
        # Security: a ticket of others reads as absent; its text may name what is hidden.
        raise RequestInvalid(
            f"There is no ticket {ticket!r}.",
            code="unknown-ticket",
            next_step="list the open ones: nbgov approvals list",
        )
    return found


def stream_of(table: pa.Table | None) -> str | None:
    """A table as an Arrow IPC stream in base64."""
    if table is None:
        return None
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()

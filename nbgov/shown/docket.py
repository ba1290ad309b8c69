"""Which tickets a reviewer sees in a list, in which words, and what they can do about each.

It knows no widget and takes no decision: what it says of a button is what the store would say to a
click, so that nobody clicks in vain. Cases are in ``tests/surfaces/test_inbox.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nbgov.core.approval import LIVE, folded
from nbgov.core.approval.rules import is_voter
from nbgov.core.checks import counted
from nbgov.core.visible import cut, safe, visible
from nbgov.model import Approval, ApprovalState, Principal
from nbgov.shown.grids import grid_html, grid_text, wrapped_html
from nbgov.shown.tickets import ticket_html, ticket_text

if TYPE_CHECKING:
    from nbgov.session import Session

VIEWS = {"Waiting": "waiting", "Mine": "mine", "History": "history"}
NO_VOTER = "no rule that asks for it names you, your groups or your roles"
HEADS = ("ticket", "state", "asked by", "statement", "votes")
HISTORY_MAX = 200
ROW_CHARS_MAX = 140
EMPTY = {
    "waiting": "No ticket waits.",
    "mine": "You have asked for nothing, and voted on nothing.",
    "history": "There are no tickets yet.",
}


def tickets_of(session: Session, view: str, words: str = "") -> tuple[Approval, ...]:
    """The tickets of one view that hold every word.

    Args:
        session: Whose tickets.
        view: ``waiting`` for tickets that wait for votes, for use or for a review, oldest first;
            ``mine`` for those that the viewer asked for or voted on, and ``history`` for the last
            ones in whatever state, newest first.
        words: What to look for in requester, connection, tables, verb, ticket and state.
    """
    principal = session.principal
    known = session.tickets(HISTORY_MAX)
    if view == "waiting":
        live = session.pending()
        names = {one.ticket for one in live}
        unseen = (one for one in reversed(known) if needs_review(one) and one.ticket not in names)
        found: Iterable[Approval] = (*live, *unseen)
    else:
        found = (one for one in known if view == "history" or has_part(principal, one))
    return tuple(one for one in found if matches(one, words))


def matches(approval: Approval, words: str) -> bool:
    """Whether a ticket holds every word, whatever the case."""
    held = (approval.ticket, approval.requester, approval.connection, approval.verb)
    text = " ".join((*held, *approval.tables, approval.state)).casefold()
    return all(word in text for word in words.casefold().split())


def has_part(principal: Principal, approval: Approval) -> bool:
    """Whether somebody asked for a ticket or voted on it."""
    names = {folded(approval.requester), *(folded(vote.voter) for vote in approval.votes)}
    return folded(principal.name) in names


def needs_review(approval: Approval) -> bool:
    """Whether a ticket was cleared without votes, and nobody looked at that yet."""
    return approval.emergency is not None and not approval.emergency.is_reviewed


def row(approval: Approval, principal: Principal) -> str:
    """A ticket as a line of the list."""
    parts = cells(approval, principal)[:4]
    return cut(visible(" · ".join(parts)), ROW_CHARS_MAX)


def cells(approval: Approval, principal: Principal) -> tuple[str, str, str, str, str]:
    """A ticket as cells of a table, in the order of its heads."""
    tables = ", ".join(approval.tables) or "no table"
    votes = ", ".join(
        f"{vote.voter} {'approved' if vote.is_approval else 'denied'}" for vote in approval.votes
    )
    what = f"{approval.verb} {tables} on {approval.connection}"
    return approval.ticket, standing(approval, principal), approval.requester, what, votes


def standing(approval: Approval, principal: Principal) -> str:
    """Where a ticket stands, as its viewer puts it."""
    if waits_for(principal, approval):
        return "review it" if needs_review(approval) else "waits for you"
    if needs_review(approval):
        return f"{approval.state} without votes"
    if approval.state is ApprovalState.REQUESTED:
        return "waits for others"
    return str(approval.state)


def waits_for(principal: Principal, approval: Approval) -> bool:
    """Whether a ticket waits for this very person, to vote or to review."""
    return not why_no_vote(principal, approval) or not why_no_review(principal, approval)


def waiting_text(approvals: Sequence[Approval], principal: Principal) -> str:
    """How many tickets there are, and how many of them wait for the viewer."""
    mine = sum(waits_for(principal, one) for one in approvals)
    verb = "waits" if mine == 1 else "wait"
    return f"{mine} {verb} for you, {counted(len(approvals), 'ticket')} shown."


def told_html(text: str, role: str) -> str:
    """A line below or above the widgets; a role makes a screen reader speak it."""
    spoken = f' role="{role}" aria-live="polite"' if role == "status" else f' role="{role}"'
    style = "color:var(--jp-content-font-color1,inherit);line-height:1.5;white-space:pre-wrap"
    return f'<div{spoken if role else ""} style="{style}">{safe(text, keep=chr(10))}</div>'


# ---------------------------------------------------------------- why not


def hint(principal: Principal, approval: Approval) -> str:
    """Why buttons that a reviewer would look for are off, in a sentence; nothing if none is."""
    if waits_for(principal, approval):
        return ""
    if approval.state is ApprovalState.APPROVED and not why_no_revoke(principal, approval):
        return "It is approved. You can take the consent back as long as it was not used up."
    if needs_review(approval):
        return f"You cannot review it: {why_no_review(principal, approval)}."
    return f"You cannot vote on it: {why_no_vote(principal, approval)}."


def why_no_vote(principal: Principal, approval: Approval) -> str:
    """Why somebody cannot vote on a ticket, or nothing."""
    if approval.state is not ApprovalState.REQUESTED:
        return f"it is {approval.state}"
    if reason := why_no_say(principal, approval):
        return reason
    if folded(principal.name) in {folded(vote.voter) for vote in approval.votes}:
        return "you have voted on it"
    return ""


def why_no_revoke(principal: Principal, approval: Approval) -> str:
    """Why somebody cannot take a consent back, or nothing."""
    if approval.state is not ApprovalState.APPROVED:
        return f"it is {approval.state}"
    return "" if is_voter(principal, approval) else NO_VOTER


def why_no_review(principal: Principal, approval: Approval) -> str:
    """Why somebody cannot review a ticket, or nothing."""
    if approval.emergency is None:
        return "nobody broke the glass"
    if approval.emergency.is_reviewed:
        return "somebody has looked at it"
    return why_no_say(principal, approval)


def why_no_say(principal: Principal, approval: Approval) -> str:
    """Why somebody has no say about a ticket, or nothing."""
    if folded(principal.name) == folded(approval.requester):
        return "you asked for it yourself"
    return "" if is_voter(principal, approval) else NO_VOTER


# ---------------------------------------------------------------- without a front end


def list_bundle(session: Session, view: str) -> dict[str, str]:
    """The tickets of a view as a static list."""
    found = tickets_of(session, view)
    said = waiting_text(found, session.principal) if found else EMPTY[view]
    rows = [cells(one, session.principal) for one in found]
    text = [said, *([grid_text(HEADS, rows)] if rows else [])]
    html = grid_html("", HEADS, rows) if rows else ""
    return {
        "text/plain": "\n".join(text),
        "text/html": wrapped_html(f"Approvals: {said}", html),
    }


def ticket_bundle(session: Session, ticket: str) -> dict[str, str]:
    """One ticket with its sample."""
    approval, viewer = session.approval(ticket), session.principal.name
    sample = session.sample(ticket) if approval.state in LIVE else None
    return {
        "text/plain": ticket_text(approval, sample=sample, viewer=viewer),
        "text/html": ticket_html(approval, sample=sample, viewer=viewer),
    }

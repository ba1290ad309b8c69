"""``nbgov approvals``: list tickets, vote on them, and take them back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.commands import F, main, with_session
from nbgov.core.approval import LIVE, deadline
from nbgov.core.checks import counted
from nbgov.core.visible import visible
from nbgov.model import Approval, ApprovalState, Vote

if TYPE_CHECKING:
    from nbgov.session import Session

HEADINGS = ("TICKET", "STATE", "REQUESTER", "STATEMENT", "AGE")
TICKET = click.argument("ticket")
JSON = click.option("--json", "is_json", is_flag=True, help="JSON instead of text.")
NO_SAMPLE = click.option(
    "--no-sample", "is_bare", is_flag=True, help="Read no rows that the ticket is about."
)
UNITS = {"d": 86_400, "h": 3_600, "min": 60}
WHY = click.option("--reason", required=True, help="Why, for people and the record.")


@main.group()
def approvals() -> None:
    """List approval tickets, vote on them, and take them back."""


# ---------------------------------------------------------------- what there is


def with_filters(command: F) -> F:
    """Give a command the options that choose tickets."""
    states = click.Choice([state.value for state in ApprovalState])
    for option in (
        JSON,
        click.option("--mine", "is_mine", is_flag=True, help="Only those that I asked for."),
        click.option("--requester", metavar="NAME", help="Only those of this principal."),
        click.option("-c", "--connection", metavar="NAME", help="Only those on this connection."),
        click.option("--state", "states", type=states, multiple=True, help="Only in this state."),
    ):
        command = option(command)
    return command


@approvals.command("list")
@with_filters
@with_session
def list_tickets(session: Session, *, is_json: bool, **wanted: Any) -> None:
    """List tickets that wait for votes or for use."""
    found = chosen(session, session.pending(), **wanted)
    tell_all(session, found, is_json=is_json, none="No ticket waits.")


@approvals.command()
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Look at so many."
)
@with_filters
@with_session
def history(session: Session, limit: int, *, is_json: bool, **wanted: Any) -> None:
    """List the tickets that were opened last, in whatever state."""
    found = chosen(session, session.tickets(limit), **wanted)
    tell_all(session, found, is_json=is_json, none="There is no such ticket.")


def chosen(
    session: Session,
    tickets: Iterable[Approval],
    *,
    states: tuple[str, ...],
    connection: str | None,
    requester: str | None,
    is_mine: bool,
) -> list[Approval]:
    """The tickets that the options ask for."""
    me = session.principal.name
    return [
        one
        for one in tickets
        if (not states or one.state in states)
        and connection in {None, one.connection}
        and requester in {None, one.requester}
        and (not is_mine or one.requester == me)
    ]


def tell_all(session: Session, tickets: list[Approval], *, is_json: bool, none: str) -> None:
    """Print tickets, a line each."""
    if is_json:
        click.echo(json.dumps([facts(one) for one in tickets], indent=1))
        return
    if not tickets:
        click.echo(none)
        return
    now = session.voting.now()
    rows = [HEADINGS, *(row(one, now) for one in tickets)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        click.echo("  ".join(map(str.ljust, cells, widths)).rstrip())


def row(approval: Approval, now: datetime) -> tuple[str, ...]:
    """A ticket as the cells of a line."""
    statement = f"{approval.verb} {approval.connection} {', '.join(approval.tables)}"
    state = f"{approval.state}{' (emergency)' if approval.emergency else ''}"
    cells = (approval.ticket, state, approval.requester, statement, standing(approval, now))
    return tuple(map(visible, cells))


def standing(approval: Approval, now: datetime) -> str:
    """How long a ticket waits, and when it ends, or that it has ended."""
    left = span(deadline(approval) - now)
    if approval.state is ApprovalState.REQUESTED:
        return f"waits {span(now - approval.requested_at)}, expires in {left}"
    if approval.state is ApprovalState.APPROVED:
        return f"can be used for {left}"
    if (emergency := approval.emergency) and not emergency.is_reviewed:
        return f"cleared without votes {span(now - emergency.at)} ago, to be reviewed"
    return f"asked {span(now - approval.requested_at)} ago"


def span(length: timedelta) -> str:
    """A length of time in its largest unit.

    >>> [span(timedelta(seconds=n)) for n in (-5, 59, 60, 7_199, 7_200, 172_800)]
    ['0 s', '59 s', '1 min', '119 min', '2 h', '2 d']
    """
    seconds = max(int(length.total_seconds()), 0)
    for unit, size in UNITS.items():
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@approvals.command()
@TICKET
@NO_SAMPLE
@JSON
@with_session
def show(session: Session, ticket: str, *, is_bare: bool, is_json: bool) -> None:
    """Show a ticket: what would run, what is known of it, and a few rows of it."""
    approval = session.approval(ticket)
    if is_json:
        click.echo(json.dumps({**facts(approval), **exact_facts(approval)}, indent=1, default=str))
        return
    tell(session, approval, is_bare=is_bare)


def tell(session: Session, approval: Approval, *, is_bare: bool) -> None:
    """Print a ticket as who votes has to see it."""
    from nbgov.shown.tickets import ticket_text

    is_open = approval.state in LIVE
    sample = session.sample(approval.ticket) if is_open and not is_bare else None
    click.echo(ticket_text(approval, sample=sample, viewer=session.principal.name))


# ---------------------------------------------------------------- what people do


@approvals.command()
@TICKET
@click.option("--reason", default="", help="Why, for the requester and the record.")
@click.option(
    "--yes", "is_sure", is_flag=True, help="Approve at once: neither show the ticket nor ask."
)
@NO_SAMPLE
@with_session
def approve(session: Session, ticket: str, reason: str, *, is_sure: bool, is_bare: bool) -> None:
    """Approve a ticket of somebody else. On a terminal it is shown first."""
    if not is_sure and sys.stdin.isatty():
        tell(session, session.approval(ticket), is_bare=is_bare)
        click.confirm("\nApprove exactly this?", abort=True, err=True)
    tell_outcome(session.vote(ticket, is_approval=True, reason=reason))


@approvals.command()
@TICKET
@WHY
@with_session
def deny(session: Session, ticket: str, reason: str) -> None:
    """Deny a ticket of somebody else; one denial ends it."""
    tell_outcome(session.vote(ticket, is_approval=False, reason=reason))


@approvals.command()
@TICKET
@click.option("--reason", default="", help="Why, for the record.")
@with_session
def cancel(session: Session, ticket: str, reason: str) -> None:
    """Take back a ticket that you asked for."""
    tell_outcome(session.cancel_ticket(ticket, reason=reason))


@approvals.command()
@TICKET
@WHY
@with_session
def revoke(session: Session, ticket: str, reason: str) -> None:
    """Take back a consent that was not used up, as somebody who may vote on it."""
    tell_outcome(session.revoke(ticket, reason=reason))


@approvals.command("break-glass")
@TICKET
@WHY
@with_session
def break_glass(session: Session, ticket: str, reason: str) -> None:
    """Go ahead without votes on a ticket of yours, where the policy permits it.

    The statement can be run once, for a short time; masks and limits stay. Somebody who may vote on
    the ticket has to review it before you can do this again.
    """
    tell_outcome(session.break_glass(ticket, reason=reason))


@approvals.command()
@TICKET
@click.option("--reason", required=True, help="What you found, for people and the record.")
@with_session
def review(session: Session, ticket: str, reason: str) -> None:
    """Say what came of a ticket that was used without votes."""
    tell_outcome(session.review(ticket, finding=reason))


def tell_outcome(approval: Approval) -> None:
    """Print where a ticket stands now."""
    tables = ", ".join(approval.tables) or "no table"
    about = f"{approval.verb} on {approval.connection}: {tables}, asked by {approval.requester}"
    click.echo(f"Ticket {approval.ticket} is {approval.state}.")
    for line in (about, *outcome(approval)):
        click.echo(f"  {visible(line)}")


def outcome(approval: Approval) -> Iterator[str]:
    """What a ticket's state means for people."""
    if approval.state is ApprovalState.REQUESTED:
        yield from (missing(approval, q.rule, q.votes_min) for q in approval.quorums)
    if approval.state is ApprovalState.APPROVED and approval.valid_until:
        uses = "once" if approval.emergency or approval.mode == "once" else "any number of times"
        yield f"the requester can run it {uses} until {moment(approval.valid_until)}"
    if approval.emergency:
        who = approval.emergency.reviewed_by
        yield f"reviewed by {who}" if who else "cleared without votes: somebody has to review it"


def missing(approval: Approval, rule: str, votes_min: int) -> str:
    """How many votes a rule has of those that it asks for."""
    given = sum(one.is_approval and rule in one.rules for one in approval.votes)
    return f"{given} of {counted(votes_min, 'vote')} for {rule}"


def moment(at: datetime) -> str:
    """A moment for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


# ---------------------------------------------------------------- as JSON


def facts(approval: Approval) -> dict[str, Any]:
    """A ticket without its text and its values, as values that JSON holds."""
    ending, emergency = approval.ending, approval.emergency
    return {
        "ticket": approval.ticket,
        "state": approval.state.value,
        "requester": approval.requester,
        "connection": approval.connection,
        "verb": approval.verb,
        "tables": list(approval.tables),
        "mode": approval.mode.value,
        "requested_at": approval.requested_at.isoformat(),
        "decide_by": approval.decide_by.isoformat(),
        "valid_until": approval.valid_until.isoformat() if approval.valid_until else None,
        "uses": approval.uses,
        "rules": [{"rule": q.rule, "votes_min": q.votes_min} for q in approval.quorums],
        "votes": [vote_facts(one) for one in approval.votes],
        "ending": {"by": ending.by, "at": ending.at.isoformat(), "reason": ending.reason}
        if ending
        else None,
        "emergency": {
            "reason": emergency.reason,
            "at": emergency.at.isoformat(),
            "reviewed_by": emergency.reviewed_by or None,
            "finding": emergency.finding or None,
        }
        if emergency
        else None,
    }


def vote_facts(vote: Vote) -> dict[str, Any]:
    """One voice, as values that JSON holds."""
    return {
        "voter": vote.voter,
        "is_approval": vote.is_approval,
        "reason": vote.reason,
        "at": vote.at.isoformat(),
        "rules": list(vote.rules),
    }


def exact_facts(approval: Approval) -> dict[str, Any]:
    """What only its voters and its requester are to read: the text, the values, the evidence."""
    from dataclasses import asdict

    return {
        "sql": approval.sql,
        "binds": json.loads(approval.binds or "{}"),
        "binding": approval.binding_digest.hex(),
        "undoes": approval.undoes or None,
        "evidence": asdict(approval.evidence),
    }

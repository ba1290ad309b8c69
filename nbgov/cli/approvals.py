"""``nbgov approvals``: list and vote on tickets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session

if TYPE_CHECKING:
    from nbgov.model import Approval
    from nbgov.session import Session


@main.group()
def approvals() -> None:
    """List and vote on approval tickets."""


@approvals.command("list")
@with_session
def list_tickets(session: Session) -> None:
    """List tickets that wait for votes or for use."""
    tickets = session.pending()
    for ticket in tickets:
        tables = ", ".join(ticket.tables)
        click.echo(
            f"{ticket.ticket:<12} {ticket.state.value:<10} {ticket.requester:<24} "
            f"{ticket.verb} {ticket.connection} {tables}"
        )
    if not tickets:
        click.echo("No ticket waits.")


@approvals.command()
@click.argument("ticket")
@with_session
def show(session: Session, ticket: str) -> None:
    """Show a ticket with the exact statement that would run."""
    show_ticket(session.approval(ticket))


@approvals.command()
@click.argument("ticket")
@click.option("--reason", default="", help="Why, for the requester and the record.")
@with_session
def approve(session: Session, ticket: str, reason: str) -> None:
    """Approve a ticket."""
    show_ticket(session.vote(ticket, is_approval=True, reason=reason))


@approvals.command()
@click.argument("ticket")
@click.option("--reason", required=True, help="Why, for the requester and the record.")
@with_session
def refuse(session: Session, ticket: str, reason: str) -> None:
    """Refuse a ticket."""
    show_ticket(session.vote(ticket, is_approval=False, reason=reason))


@approvals.command()
@click.argument("ticket")
@with_session
def cancel(session: Session, ticket: str) -> None:
    """Take back a ticket that you asked for."""
    show_ticket(session.cancel_ticket(ticket))


def show_ticket(approval: Approval) -> None:
    """Print a ticket."""
    from nbgov.notebook.render import approval_text

    click.echo(approval_text(approval))

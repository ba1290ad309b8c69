"""Waiting for an approval on a terminal: ``nbgov sql --wait``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from nbgov.cli.approvals import standing
from nbgov.model import ApprovalState

if TYPE_CHECKING:
    from nbgov.errors import ApprovalNeeded
    from nbgov.model import Result
    from nbgov.session import Session

POLL_S = 1.0
CLEAR = "\r\x1b[K"


def wait(session: Session, needed: ApprovalNeeded, run: Callable[..., Result]) -> Result:
    """Wait until a ticket takes no more votes, then run its statement under it and no other.

    Args:
        session: Whose ticket it is.
        needed: What says which ticket.
        run: Runs the statement; takes the ticket as ``ticket``.

    Raises:
        Denied: A voter denied it.
        IntegrityFailed: It ended some other way (``ticket-conflict``).
        KeyboardInterrupt: The person does not wait any longer; the ticket stays open.
    """
    click.echo(needed.render(), err=True)
    is_terminal = sys.stderr.isatty()
    try:
        while (approval := session.approval(needed.ticket)).state is ApprovalState.REQUESTED:
            if is_terminal:
                line = f"{CLEAR}{approval.ticket} {standing(approval, session.voting.now())}"
                click.echo(line, nl=False, err=True)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        click.echo(
            f"\nTicket {needed.ticket} stays open. Run the same statement again once it is "
            f"approved, or take it back: nbgov approvals cancel {needed.ticket}",
            err=True,
        )
        raise
    if is_terminal:
        click.echo(CLEAR, nl=False, err=True)
    return run(ticket=needed.ticket)

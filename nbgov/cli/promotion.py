"""``nbgov promotion``: what holds a model version, and people's consent to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session
from nbgov.core.approval import deadline
from nbgov.core.visible import visible

if TYPE_CHECKING:
    from nbgov.core.promotion import Promotion
    from nbgov.session import Session

EXIT_HELD = 4
JSON = click.option("--json", "is_json", is_flag=True, help="One JSON object instead of text.")
REFERENCE = click.argument("model", metavar="MODEL_REFERENCE")


@main.group()
def promotion() -> None:
    """Say what holds a model version, and consent to its promotion."""


@promotion.command("list")
@click.option("--model", default="", help="Of this registered model only.")
@JSON
@with_session
def list_tickets(session: Session, model: str, *, is_json: bool) -> None:
    """List consents that are asked for or given."""
    from nbgov.promotion import of_session

    rows = [
        {
            "ticket": one.ticket,
            "state": one.state.value,
            "requester": one.requester,
            "model": one.tables[0],
            "expires_at": deadline(one).isoformat(),
        }
        for one in of_session(session).tickets(model)
    ]
    if is_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(
            f"{row['ticket']:<12} {row['state']:<10} {row['requester']:<24} {visible(row['model'])}"
        )
    if not rows:
        click.echo("No consent is asked for.")


@promotion.command()
@REFERENCE
@JSON
@click.option("--exit-code", "is_strict", is_flag=True, help="Exit with 4 if it is held.")
@with_session
@click.pass_context
def show(
    ctx: click.Context, session: Session, model: str, *, is_json: bool, is_strict: bool
) -> None:
    """Show whether a model version may be promoted, and why not."""
    from nbgov.promotion import judge

    found = judge(session, model)
    tell(found, is_json=is_json)
    if is_strict and found.status == "held":
        ctx.exit(EXIT_HELD)


@promotion.command()
@REFERENCE
@JSON
@with_session
def request(session: Session, model: str, *, is_json: bool) -> None:
    """Ask for consent to a promotion that is held."""
    from nbgov.promotion import of_session

    asked = of_session(session)
    asked.request(model, claim=session.claim)
    tell(asked.judge(model), is_json=is_json)


@promotion.command()
@REFERENCE
@click.option("--reason", default="", help="Why, for the requester and the record.")
@JSON
@with_session
def approve(session: Session, model: str, reason: str, *, is_json: bool) -> None:
    """Consent to a promotion that somebody else asked for."""
    vote(session, model, reason, is_approval=True, is_json=is_json)


@promotion.command()
@REFERENCE
@click.option("--reason", required=True, help="Why, for the requester and the record.")
@JSON
@with_session
def deny(session: Session, model: str, reason: str, *, is_json: bool) -> None:
    """Deny a promotion that somebody else asked for."""
    vote(session, model, reason, is_approval=False, is_json=is_json)


def vote(session: Session, model: str, reason: str, *, is_approval: bool, is_json: bool) -> None:
    """Vote as the session's principal, and show what came of it."""
    from nbgov.promotion import of_session

    cast = of_session(session).vote
    found = cast(model, is_approval=is_approval, reason=reason, claim=session.claim)
    tell(found, is_json=is_json)


def tell(found: Promotion, *, is_json: bool) -> None:
    """Print a promotion."""
    if is_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
        return
    for line in lines(found):
        click.echo(visible(line))


def lines(found: Promotion) -> Iterator[str]:
    """A promotion for people."""
    yield f"{found.reference}: {found.status}"
    yield from (f"  held      {why}" for why in found.holds)
    yield f"  data      {found.verdict}"
    yield f"  run       {found.run_id or 'none'}, compared with {found.baseline or 'none'}"
    yield f"  model     {found.model_digest or 'not known'}"
    yield f"  lineage   {found.lineage_digest or 'not known'}"
    ticket = found.approval
    if ticket is not None:
        yield f"  consent   {ticket.ticket}: {ticket.state}, asked for by {ticket.requester}"
        for one in ticket.votes:
            verb = "approved" if one.is_approval else "denied"
            yield f"  vote      {one.voter} {verb} at {one.at:%Y-%m-%d %H:%M} UTC"
    if found.status == "held":
        if found.excluded:
            yield f"  not by    {', '.join(found.excluded)}: the training data was theirs"
        wanted = "approve" if ticket is not None and ticket.state == "requested" else "request"
        yield f"  next      nbgov promotion {wanted} {found.reference}"

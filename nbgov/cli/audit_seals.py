"""``nbgov audit erase|unseal``: destroy the keys of sealed literals, and read the literals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from nbgov.cli.audit import audit
from nbgov.cli.commands import with_session

if TYPE_CHECKING:
    from nbgov.session import Session


@audit.command()
@click.option("--principal", "whose", metavar="NAME", help="Erase the literals of this principal.")
@click.option(
    "--before",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Erase the literals of days before this one, in UTC.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def erase(session: Session, whose: str | None, before: datetime | None, *, yes: bool) -> None:
    """Destroy keys, so that nobody can read what was sealed under them. The log still verifies.

    With --principal and --before, a key has to be of both. Principals stay named in the log; copies
    of the key files that were made elsewhere are out of reach.
    """
    from nbgov.evidence.seals import erasable
    from nbgov.evidence.seals import erase as destroy

    day = before.replace(tzinfo=UTC).date() if before is not None else None
    keys = erasable(session, principal=whose, before=day)
    if not keys:
        click.echo("No key is there to be destroyed.")
        return
    if not yes:
        click.confirm(f"Destroy {len(keys)} keys? This cannot be undone.", abort=True, err=True)
    done = destroy(session, principal=whose, before=day)
    for key in done:
        click.echo(f"destroyed  {key}")
    click.echo(f"{len(done)} keys were destroyed. What they sealed can be read by nobody any more.")


@audit.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is recorded.")
@with_session
def unseal(session: Session, index: int, reason: str) -> None:
    """Show the literals that an entry keeps sealed, to whom the policy lets.

    The policy names them under evidence: unseal:. That somebody looks is recorded first.
    """
    from nbgov.evidence.seals import unseal as read

    found = read(session, index, reason=reason)
    if found.statement is None:
        click.echo("The statement was too long to be sealed.")
    else:
        click.echo(found.statement)
    for name, (kind, value) in sorted(found.binds.items()):
        click.echo(f":{name} {kind} = {value}")

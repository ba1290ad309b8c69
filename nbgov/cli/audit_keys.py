"""``nbgov audit key|rotate``: the key that checkpoints are signed under."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbgov.cli.audit import audit
from nbgov.cli.commands import with_session

if TYPE_CHECKING:
    from nbgov.session import Session


@audit.command()
@click.option("--pem", is_flag=True, help="Print it as PEM, as nbgov custody key does.")
@click.option(
    "--next", "is_next", is_flag=True, help="The key that the next rotation will put in its place."
)
@with_session
def key(session: Session, *, pem: bool, is_next: bool) -> None:
    """Print the key that others check the log by. Give it to them on another way than the log.

    Witnesses need the next key before it is used: give them the line of --next, then rotate.
    """
    from nbgov.evidence.keys import log_key

    found = log_key(session, is_next=is_next)
    if pem:
        from nbgov.lineage.envelope import key_text

        click.echo(key_text(found.public), nl=False)
    else:
        click.echo(str(found))


@audit.command()
@with_session
def rotate(session: Session) -> None:
    """Replace the key and destroy the old one; or finish a rotation that died on its way.

    The log records it under the old key, so whoever has that key can follow. Custody bundles are
    signed under the same key.
    """
    from nbgov.evidence.keys import rotate_key

    done = rotate_key(session)
    click.echo(f"old  {done.old}")
    click.echo(f"new  {done.new}")
    click.echo(f"Entry {done.index} names the new key. The old one can sign nothing any more.")
    if session.world.witnesses:
        click.echo("Witnesses refuse the log until they know the new key.", err=True)

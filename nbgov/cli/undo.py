"""``nbgov undo``: propose, and once it is approved run, what undoes a write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session
from nbgov.core.checks import counted

if TYPE_CHECKING:
    from nbgov.session import Session


class ByRecord(click.Group):
    """A group that takes a record in the place of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` before what is no command."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@main.group(cls=ByRecord)
def undo() -> None:
    """Undo a write that was approved: nbgov undo RECORD."""


@undo.command(hidden=True)
@click.argument("record")
@with_session
def run(session: Session, record: str) -> None:
    """Propose what undoes a write, or run it once it is approved."""
    from nbgov.notebook.undo import proposal_text

    click.echo(proposal_text(session.undo_proposal(record)))
    summary = session.undo(record, origin={"surface": "cli"}).summary
    changed = counted(summary.rows_affected or 0, "row")
    click.echo(f"Undone: {changed} · record {summary.record}", err=True)


@undo.command("list")
@with_session
def list_undoable(session: Session) -> None:
    """List the writes that can be undone."""
    from nbgov.notebook.undo import listing

    click.echo(listing(session.undoable()))


@undo.command()
@click.argument("record")
@with_session
def show(session: Session, record: str) -> None:
    """Show the statement that undoes a write, without asking for anything."""
    from nbgov.notebook.undo import proposal_text

    click.echo(proposal_text(session.undo_proposal(record)))

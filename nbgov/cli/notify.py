"""``nbgov notify test|status``: whether those who are told of tickets can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session
from nbgov.errors import BackendFailed, ConfigInvalid

if TYPE_CHECKING:
    from nbgov.notifying import Notifying
    from nbgov.session import Session


@main.group()
def notify() -> None:
    """Try and watch the messages that tell people of tickets."""


@notify.command()
@click.argument("target")
@with_session
def test(session: Session, target: str) -> None:
    """Send TARGET a test message now, and print what was answered. Exit 1 if it did not arrive."""
    notifying = notifying_of(session)
    names = [receiver.name for receiver in notifying.receivers]
    if target not in names:
        raise ConfigInvalid(
            f"Nobody of the name {target!r} is told of tickets.",
            why=f"nbgov.yaml names {', '.join(names)}",
            next_step="use one of these, or add it under notify: targets:",
        )
    answer = notifying.test(target)
    if answer.state != "arrived":
        raise BackendFailed(
            f"The message to {target} did not arrive.",
            code="notice-undelivered",
            why=answer.said,
            next_step="correct its entry under notify: targets: in nbgov.yaml",
        )
    click.echo(f"arrived  {target}: {answer.said}")


@notify.command()
@with_session
def status(session: Session) -> None:
    """Say which messages still wait, how often they were tried, and what the last try met."""
    notifying = notifying_of(session)
    # What is due is tried once more, which takes a few seconds at most.
    notifying.close()
    waiting = notifying.outbox.waiting()
    names = [receiver.name for receiver in notifying.receivers]
    for name in dict.fromkeys([*names, *(one.target for one in waiting)]):
        stuck = [one for one in waiting if one.target == name]
        click.echo(f"{name:<24} {len(stuck):,} waiting")
        if name not in names:
            click.echo("  nbgov.yaml does not name it any more")
        for one in stuck:
            why = f", last: {one.why}" if one.why else ""
            click.echo(
                f"  {one.ticket:<12} {one.made_at:%Y-%m-%d %H:%M} UTC, {one.tries} tries{why}"
            )


def notifying_of(session: Session) -> Notifying:
    """What tells people of tickets in a session.

    Raises:
        ConfigInvalid: Nobody is told.
    """
    from nbgov.notifying import Notifying

    found = session.world.notifier
    if not isinstance(found, Notifying):
        raise ConfigInvalid(
            "Nobody is told of tickets.",
            why="nbgov.yaml names nobody under notify: targets:",
            next_step="docs/howto/notify.md shows how",
        )
    return found

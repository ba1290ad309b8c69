"""``nbgov audit sync``: bring the copies of the audit log up to date."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from nbgov.cli.audit import audit
from nbgov.cli.commands import with_session

if TYPE_CHECKING:
    from nbgov.session import Session


@audit.command()
@with_session
def sync(session: Session) -> None:
    """Bring the copies of the log, its further sinks, up to date. Exit 1 where one is not."""
    from tqdm import tqdm

    from nbgov.mirroring import Mirroring

    mirroring = session.world.mirroring
    if not isinstance(mirroring, Mirroring):
        click.echo("nbgov.yaml names no copy of the audit log.")
        return
    found = []
    for mirror in mirroring.mirrors:
        with tqdm(
            desc=mirror.name, unit=" entries", leave=False, delay=0.5,
            disable=not sys.stderr.isatty(),
        ) as bar:  # fmt: skip
            found.append(mirror.follow(watch=bar.update, is_thorough=True))
    for one in found:
        click.echo(str(one))
    if any(one.state != "level" for one in found):
        raise click.exceptions.Exit(1)

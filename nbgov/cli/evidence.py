"""``nbgov audit``, ``nbgov schema`` and ``nbgov demo``: what a person checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session

if TYPE_CHECKING:
    from nbgov.session import Session


@main.command()
@click.option("--folder", default="demo", show_default=True, help="Where to build it.")
def demo(folder: str) -> None:
    """Tell the whole story on real data, in under two minutes."""
    from nbgov.demo import tell

    tell(Path(folder))


@main.group()
def audit() -> None:
    """Check the audit log."""


@audit.command()
@with_session
def verify(session: Session) -> None:
    """Check the log from its first entry to its last. Exit 1 when it does not hold."""
    from nbgov.notebook.render import audit_facts, facts_text

    click.echo(facts_text("The audit log verifies.", audit_facts(session.verify_audit())))


@main.command()
@click.argument("document", type=click.Choice(["catalog", "config", "policy"]))
def schema(document: str) -> None:
    """Print the JSON Schema of nbgov.yaml, policy.yaml or a catalog file, for editors."""
    from nbgov import config
    from nbgov.core import catalog, policy

    room = {"catalog": catalog, "config": config, "policy": policy}[document]
    click.echo(json.dumps(room.schema(), indent=2, sort_keys=True))

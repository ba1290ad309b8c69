"""``nbgov demo`` and ``nbgov schema``: what a newcomer runs first, and what an editor reads."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nbgov.cli.commands import main


@main.command()
@click.option("--folder", default="demo", show_default=True, help="Where to build it.")
def demo(folder: str) -> None:
    """Tell the whole story on real data, in under two minutes."""
    from nbgov.demo import tell

    tell(Path(folder))


@main.command()
@click.argument("document", type=click.Choice(["catalog", "config", "policy"]))
def schema(document: str) -> None:
    """Print the JSON Schema of nbgov.yaml, policy.yaml or a catalog file, for editors."""
    from nbgov import config
    from nbgov.core import catalog, policy

    room = {"catalog": catalog, "config": config, "policy": policy}[document]
    click.echo(json.dumps(room.schema(), indent=2, sort_keys=True))

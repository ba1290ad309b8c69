"""``nbgov lineage``: where a model version, a run or a dataset version comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session, write_file

if TYPE_CHECKING:
    from nbgov.session import Session


@main.group()
def lineage() -> None:
    """Show where a model, a run or a dataset comes from, and export it."""


@lineage.command()
@click.argument("reference", metavar="REF")
@click.option("--html", "html", metavar="FILE", help="Write the lineage page to this file.")
@click.option("--json", "as_json", is_flag=True, help="The record nbgov/lineage/2 instead of text.")
@with_session
def show(session: Session, reference: str, *, html: str | None, as_json: bool) -> None:
    """Answer which data it is, what changed, who approved, and whether it may ship.

    REF is models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID or a run's id, a dataset version, or
    a dataset's name for its newest version.
    """
    from nbgov.lineage.page import lineage_page
    from nbgov.lineage.telling import lineage_text
    from nbgov.lineage.tracing import trace

    found = trace(session, reference)
    if html is not None:
        write_file(html, lineage_page(found).encode("utf-8", "replace"))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    elif html is None:
        click.echo(lineage_text(found))


@lineage.command()
@click.argument("reference", metavar="REF")
@click.option(
    "--format",
    "form",
    type=click.Choice(["openlineage"]),
    default="openlineage",
    show_default=True,
    help="What to write.",
)
@click.option("-o", "--out", metavar="FILE", help="Write to this file. Default: standard output.")
@with_session
def export(session: Session, reference: str, *, form: str, out: str | None) -> None:
    """Write OpenLineage run events, one JSON object a line."""
    from nbgov.lineage.openlineage import events
    from nbgov.lineage.tracing import trace

    assert form == "openlineage"
    found = trace(session, reference)
    text = "".join(json.dumps(event) + "\n" for event in events(found, session.world.clock.now()))
    if out is None:
        click.echo(text, nl=False)
    else:
        write_file(out, text.encode())

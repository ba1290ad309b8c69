"""``nbgov catalog``: what a connection holds, and how that evolved."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session
from nbgov.cli.datasets import AS_JSON
from nbgov.cli.drift import painted

if TYPE_CHECKING:
    from nbgov.notebook.catalogs import Story
    from nbgov.session import Session


@main.group(invoke_without_command=True)
@click.option("-c", "--connection", metavar="NAME", help="Default: the configured one.")
@click.option("--export", is_flag=True, help="Print them as a catalog file, for nbgov check.")
@click.option("--as", "principal", metavar="NAME", help="Act as this declared principal.")
@click.pass_context
def catalog(
    ctx: click.Context, connection: str | None, principal: str | None, *, export: bool
) -> None:
    """List the tables and columns that you may touch; or see how a connection evolved."""
    if principal is not None:
        ctx.obj["principal"] = principal
    if ctx.invoked_subcommand is None:
        ctx.invoke(held, connection=connection, export=export, principal=None)


@click.command()
@with_session
def held(session: Session, connection: str | None, *, export: bool) -> None:
    """Print the tables and columns that the principal may touch."""
    found = session.catalog(connection)
    if export:
        from nbgov.core.catalog import dump

        click.echo(dump(found), nl=False)
        return
    for table in found.tables.values():
        click.echo(f"{table.name}" + (f" ({table.kind})" if table.kind != "table" else ""))
        for column in table.columns:
            click.echo(f"  {column.name:<28} {column.type}")


@catalog.command()
@click.argument("connection")
@click.argument("table", required=False, default="")
@click.option("--since", type=click.DateTime(), help="Only what was seen from then on (UTC).")
@AS_JSON
@with_session
def log(
    session: Session, connection: str, table: str, since: datetime | None, *, as_json: bool
) -> None:
    """Tell how a connection evolved, and who was seen doing it.

    With TABLE, of one table only, with the datasets that read it and have other columns since.
    """
    from nbgov.notebook.catalogs import log as history_of

    at = since.replace(tzinfo=UTC) if since else None
    tell(history_of(session, connection, table, since=at), as_json=as_json)


@catalog.command()
@click.argument("connection")
@click.argument("first", metavar="[V1]", type=int, required=False)
@click.argument("second", metavar="[V2]", type=int, required=False)
@AS_JSON
@with_session
def diff(
    session: Session, connection: str, first: int | None, second: int | None, *, as_json: bool
) -> None:
    """Say what differs between two versions of a connection.

    Without V2 the newest version is meant, and without V1 the one before it.
    """
    from nbgov.notebook.catalogs import diff as difference

    tell(difference(session, connection, first, second), as_json=as_json)


@catalog.command()
@click.argument("connection")
@click.argument("version", type=int, required=False)
@AS_JSON
@with_session
def show(session: Session, connection: str, version: int | None, *, as_json: bool) -> None:
    """Show what a connection was seen to hold, as of its newest version or another one."""
    from nbgov.notebook.catalogs import shown

    tell(shown(session, connection, version), as_json=as_json)


def tell(story: Story, *, as_json: bool) -> None:
    """Print a story."""
    click.echo(json.dumps(story.data) if as_json else story.text(painted()))

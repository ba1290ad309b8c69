"""``nbgov datasets``: which data was delivered under which name, and how it changed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session

if TYPE_CHECKING:
    from nbgov.notebook.datasets import Sheet
    from nbgov.session import Session

AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@main.group()
def datasets() -> None:
    """Look at the dataset versions that were delivered.

    REF is a version id or a start of it, NAME@vSTART, or a dataset's name for its newest version.
    """


@datasets.command("list")
@AS_JSON
@with_session
def list_datasets(session: Session, *, as_json: bool) -> None:
    """List the datasets, each with the version that was delivered last."""
    from nbgov.notebook.datasets import listing

    tell(listing(session), as_json=as_json)


@datasets.command()
@click.argument("reference", metavar="REF")
@AS_JSON
@with_session
def show(session: Session, reference: str, *, as_json: bool) -> None:
    """Show a version: columns, what it was read from, and who got it."""
    from nbgov.notebook.datasets import shown

    tell(shown(session, reference), as_json=as_json)


@datasets.command()
@click.argument("baseline", metavar="REF")
@click.argument("current", metavar="REF")
@AS_JSON
@with_session
def diff(session: Session, baseline: str, current: str, *, as_json: bool) -> None:
    """Say what is different in the second version, ranked."""
    from nbgov.retraining import compare
    from nbgov.retraining.telling import report_text

    report = compare(session.dataset(baseline), session.dataset(current), config=session)
    width = shutil.get_terminal_size().columns
    click.echo(json.dumps(report.to_dict()) if as_json else report_text(report, width=width))


@datasets.command()
@click.argument("name", metavar="NAME")
@AS_JSON
@with_session
def log(session: Session, name: str, *, as_json: bool) -> None:
    """Tell the history of a dataset: its versions, and what each one changed."""
    from nbgov.notebook.datasets import log as history_of

    tell(history_of(session, name), as_json=as_json)


def tell(sheet: Sheet, *, as_json: bool) -> None:
    """Print a sheet."""
    if as_json:
        click.echo(json.dumps(sheet.data))
    else:
        click.echo(sheet.text(shutil.get_terminal_size().columns))

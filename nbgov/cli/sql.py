"""``nbgov sql``: run a statement."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.commands import main, with_session
from nbgov.cli.waiting import wait
from nbgov.core.checks import counted
from nbgov.errors import ApprovalNeeded, RequestInvalid

if TYPE_CHECKING:
    from nbgov.model import Result
    from nbgov.session import Session


@main.command()
@click.argument("statement", required=False)
@click.option("-c", "--connection", metavar="NAME", help="Default: the configured one.")
@click.option(
    "-f", "--file", "path", type=click.Path(exists=True, dir_okay=False), help="Read SQL."
)
@click.option("-b", "--bind", "binds", metavar="NAME=VALUE", multiple=True, help="A :NAME value.")
@click.option("--rows-max", type=click.IntRange(min=1), help="Rows to deliver at most.")
@click.option("--dataset", default="", metavar="NAME", help="Keep the result's version under NAME.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "arrow"]),
    default="table",
    show_default=True,
    help="table previews; the others write every row to standard output.",
)
@click.option("--wait", "is_patient", is_flag=True, help="Wait for an approval, then run it.")
@with_session
def sql(
    session: Session,
    statement: str | None,
    path: str | None,
    binds: tuple[str, ...],
    form: str,
    *,
    is_patient: bool,
    **how: Any,
) -> None:
    """Run one statement. Without STATEMENT or --file it is read from standard input.

    One that needs an approval ends with exit code 3 and names its ticket; with --wait it runs as
    soon as the votes are there.
    """
    text, values = read_statement(statement, path), read_binds(binds)
    run = partial(session.sql, text, binds=values, origin={"surface": "cli"}, **how)
    try:
        result = run()
    except ApprovalNeeded as error:
        if not is_patient:
            raise
        result = wait(session, error, run)
    with result:
        WRITERS[form](result)
    click.echo(describe(result), err=True)


def read_statement(statement: str | None, path: str | None) -> str:
    """The SQL to run: from the argument, a file, or standard input."""
    if statement is not None and path is not None:
        raise RequestInvalid(
            "Two statements were given.", code="usage", next_step="use STATEMENT or --file"
        )
    if path is not None:
        return Path(path).read_text(encoding="utf-8")
    return statement if statement is not None else sys.stdin.read()


def read_binds(pairs: tuple[str, ...]) -> Mapping[str, Any]:
    """Values of ``--bind NAME=VALUE``: JSON where it parses as such, else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, mark, text = pair.partition("=")
        if not mark or not name.isidentifier():
            raise RequestInvalid(
                "A --bind is not NAME=VALUE.", code="usage", next_step="write --bind month=7"
            )
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    return values


def write_table(result: Result) -> None:
    """Print a preview of the rows."""
    from nbgov.shown.render import preview_text

    table, summary = result.to_arrow(), result.summary
    if table.num_columns:
        shown = preview_text(
            table,
            summary.masked,
            rows_read=summary.rows_read,
            is_truncated=summary.is_truncated,
            entities=summary.entities,
        )
        click.echo(shown)


def write_csv(result: Result) -> None:
    """Write every row as CSV with a header."""
    from pyarrow import csv

    with csv.CSVWriter(sys.stdout.buffer, result.schema) as sink:
        for batch in result.batches():
            sink.write_batch(batch)


def write_json(result: Result) -> None:
    """Write every row as one line of JSON."""
    for batch in result.batches():
        for row in batch.to_pylist():
            click.echo(json.dumps(row, default=str))


def write_arrow(result: Result) -> None:
    """Write every row as an Arrow IPC stream."""
    import pyarrow as pa

    with pa.ipc.new_stream(sys.stdout.buffer, result.schema) as sink:
        for batch in result.batches():
            sink.write_batch(batch)


WRITERS: Mapping[str, Callable[[Any], None]] = {
    "table": write_table,
    "csv": write_csv,
    "json": write_json,
    "arrow": write_arrow,
}


def describe(result: Result) -> str:
    """One line about a result that has been read."""
    summary = result.summary
    parts = [counted(summary.rows_read, "row")]
    if summary.rows_affected is not None:
        parts = [counted(summary.rows_affected, "row") + " changed"]
    if summary.is_truncated:
        parts.append("cut by the row limit")
    if summary.masked:
        parts.append(f"{len(summary.masked)} columns masked")
    line = " · ".join([*parts, f"record {summary.record}"])
    return "\n".join([line, *summary.remarks])

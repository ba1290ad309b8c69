"""The ``nbgov`` command: the session's verbs in a terminal.

A surface that translates and decides nothing. Errors go to standard error as people see them in a
cell, with exit code 1; 2 is wrong usage, 3 a statement that waits for approval, 130 an interrupt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nbgov.errors import ApprovalNeeded, NbgovError, RequestInvalid

if TYPE_CHECKING:
    from nbgov.model import Approval, Result
    from nbgov.session import Session

F = TypeVar("F", bound=Callable[..., Any])
EXIT_PENDING = 3
EXIT_INTERRUPTED = 130


class Commands(click.Group):
    """A group that shows nbgov's errors without a stack."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends the process with its own text and exit code."""
        try:
            return super().invoke(ctx)
        except ApprovalNeeded as error:
            click.echo(error.render(), err=True)
            ctx.exit(EXIT_PENDING)
        except NbgovError as error:
            click.echo(error.render(), err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted. The statement was cancelled.", err=True)
            ctx.exit(EXIT_INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nbgov")
@click.option(
    "--config",
    metavar="PATH",
    help="The nbgov.yaml, or its folder. Default: $NBGOV_CONFIG, else the nearest one above.",
)
@click.option("--as", "principal", metavar="NAME", help="Act as this declared principal.")
@click.pass_context
def main(ctx: click.Context, config: str | None, principal: str | None) -> None:
    """Governed SQL: policy, masking, approvals, audit, and the data behind each model."""
    ctx.obj = {"config": config, "principal": principal}


def with_session(command: F) -> F:
    """Give a command the session that the group's options and its own ``--as`` ask for."""

    @click.option("--as", "principal", metavar="NAME", help="Act as this declared principal.")
    @click.pass_context
    def run(ctx: click.Context, /, principal: str | None, **options: Any) -> Any:
        from nbgov.session import connect

        wanted = principal or ctx.obj["principal"]
        with connect(ctx.obj["config"], as_=wanted) as session:
            return command(session, **options)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run  # type: ignore[return-value]  # the decorators return a function of another shape


@main.command()
@click.option("--folder", default="demo", show_default=True, help="Where to build it.")
def demo(folder: str) -> None:
    """Tell the whole story on real data, in under two minutes."""
    from nbgov.demo import tell

    tell(Path(folder))


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
@with_session
def sql(
    session: Session,
    statement: str | None,
    connection: str | None,
    path: str | None,
    binds: tuple[str, ...],
    rows_max: int | None,
    dataset: str,
    form: str,
) -> None:
    """Run one statement. Without STATEMENT or --file it is read from standard input."""
    result = session.sql(
        read_statement(statement, path),
        connection,
        binds=read_binds(binds),
        rows_max=rows_max,
        dataset=dataset,
        origin={"surface": "cli"},
    )
    with result:
        WRITERS[form](result)
    click.echo(describe(result), err=True)


@main.command()
@click.argument("statement", required=False)
@click.option("-c", "--connection", metavar="NAME", help="Default: the configured one.")
@click.option(
    "-f", "--file", "path", type=click.Path(exists=True, dir_okay=False), help="Read SQL."
)
@click.option("-b", "--bind", "binds", metavar="NAME=VALUE", multiple=True, help="A :NAME value.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@with_session
def check(
    session: Session,
    statement: str | None,
    connection: str | None,
    path: str | None,
    binds: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Decide a statement and show what would run, without running it. Exit 1 on a deny."""
    from nbgov.core.case import describe as describe_obligation

    verdict = session.check(read_statement(statement, path), connection, binds=read_binds(binds))
    decision = verdict.decision
    answer = {
        "decision": "permit" if decision.is_permitted else "deny",
        "effect": verdict.statement.effect.value,
        "tables": [str(use.table) for use in verdict.statement.tables],
        "rules": list(decision.rules),
        "reason": decision.reason,
        "obligations": [describe_obligation(o) for o in decision.obligations],
        "sql": verdict.sql,
    }
    if as_json:
        click.echo(json.dumps(answer))
    else:
        for key, value in answer.items():
            lines = value if isinstance(value, list) else [value]
            for place, line in enumerate(line for line in lines if line):
                click.echo(f"{key if not place else '':<12} {line}")
    if not decision.is_permitted:
        sys.exit(1)


@main.command()
@click.option("-c", "--connection", metavar="NAME", help="Default: the configured one.")
@with_session
def catalog(session: Session, connection: str | None) -> None:
    """List the tables and columns that you may touch."""
    for table in session.catalog(connection).tables.values():
        click.echo(f"{table.name}" + (f" ({table.kind})" if table.kind != "table" else ""))
        for column in table.columns:
            click.echo(f"  {column.name:<28} {column.type}")


@main.group()
def approvals() -> None:
    """List and vote on approval tickets."""


@approvals.command("list")
@with_session
def list_tickets(session: Session) -> None:
    """List tickets that wait for votes or for use."""
    tickets = session.pending()
    for ticket in tickets:
        tables = ", ".join(ticket.tables)
        click.echo(
            f"{ticket.ticket:<12} {ticket.state.value:<10} {ticket.requester:<24} "
            f"{ticket.effect.value} {ticket.connection} {tables}"
        )
    if not tickets:
        click.echo("No ticket waits.")


@approvals.command()
@click.argument("ticket")
@with_session
def show(session: Session, ticket: str) -> None:
    """Show a ticket with the exact statement that would run."""
    show_ticket(session.approval(ticket))


@approvals.command()
@click.argument("ticket")
@click.option("--reason", default="", help="Why, for the requester and the record.")
@with_session
def approve(session: Session, ticket: str, reason: str) -> None:
    """Approve a ticket."""
    show_ticket(session.vote(ticket, is_approval=True, reason=reason))


@approvals.command()
@click.argument("ticket")
@click.option("--reason", required=True, help="Why, for the requester and the record.")
@with_session
def refuse(session: Session, ticket: str, reason: str) -> None:
    """Refuse a ticket."""
    show_ticket(session.vote(ticket, is_approval=False, reason=reason))


@approvals.command()
@click.argument("ticket")
@with_session
def cancel(session: Session, ticket: str) -> None:
    """Take back a ticket that you asked for."""
    show_ticket(session.cancel_ticket(ticket))


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
@click.argument("baseline", metavar="RUN_A")
@click.argument("current", metavar="RUN_B")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@with_session
def drift(session: Session, baseline: str, current: str, *, as_json: bool) -> None:
    """Say whether two MLflow runs had the same data, and what changed, ranked."""
    from nbgov.notebook.render import report_text

    report = session.drift(baseline, current)
    click.echo(json.dumps(report.to_dict()) if as_json else report_text(report))


@main.command()
@click.argument("document", type=click.Choice(["config", "policy"]))
def schema(document: str) -> None:
    """Print the JSON Schema of nbgov.yaml or policy.yaml, for editors."""
    from nbgov import config
    from nbgov.core import policy

    found = config.schema() if document == "config" else policy.schema()
    click.echo(json.dumps(found, indent=2, sort_keys=True))


# ---------------------------------------------------------------- reading and writing


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
    from nbgov.notebook.render import preview_text

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
    parts = [f"{summary.rows_read:,} rows"]
    if summary.rows_affected is not None:
        parts = [f"{summary.rows_affected:,} rows changed"]
    if summary.is_truncated:
        parts.append("cut by the row limit")
    if summary.masked:
        parts.append(f"{len(summary.masked)} columns masked")
    return " · ".join([*parts, f"record {summary.record}"])


def show_ticket(approval: Approval) -> None:
    """Print a ticket."""
    from nbgov.notebook.render import approval_text

    click.echo(approval_text(approval))

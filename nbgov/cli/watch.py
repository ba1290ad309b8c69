"""``nbgov drift watch``: look after the data of the model in production, once or every so often."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import EXIT_INTERRUPTED, with_session
from nbgov.cli.drift import EXIT_DRIFTED, EXIT_UNKNOWN, drift
from nbgov.cli.sql import read_binds, read_statement

if TYPE_CHECKING:
    from nbgov.session import Session

INTERVAL = re.compile(r"(\d{1,5})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Interval(click.ParamType[int]):
    """A time such as ``30s``, ``15m``, ``1h`` or ``1d``, in seconds."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The seconds."""
        found = INTERVAL.fullmatch(str(value))
        if found is None or not int(found[1]):
            self.fail("Write 30s, 15m, 1h or 1d.", param, ctx)
        return int(found[1]) * SECONDS[found[2]]


@drift.command()
@click.argument("connection")
@click.option("--dataset", required=True, metavar="NAME", help="The dataset's name.")
@click.option("--sql", "statement", metavar="SQL", help="The statement it comes from.")
@click.option(
    "-f", "--file", "path", type=click.Path(exists=True, dir_okay=False), help="Read SQL."
)
@click.option("-b", "--bind", "binds", metavar="NAME=VALUE", multiple=True, help="A :NAME value.")
@click.option("--model", metavar="NAME", help="Compare with what its champion was trained on.")
@click.option("--baseline", metavar="REF", help="Compare with this run, model or dataset version.")
@click.option("--every", type=Interval(), metavar="TIME", help="Look again after 30s, 15m, 1h, 1d.")
@click.option("--once", is_flag=True, help="Look once, also with --every. The default without it.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a round instead of a line.")
@with_session
def watch(  # noqa: PLR0913 - one argument an option
    session: Session,
    connection: str,
    *,
    dataset: str,
    statement: str | None,
    path: str | None,
    binds: tuple[str, ...],
    model: str | None,
    baseline: str | None,
    every: int | None,
    once: bool,
    as_json: bool,
) -> None:
    """Read a dataset again, and compare it with what the model in production was trained on.

    Only the redacted text of a statement is kept, so give it again, as text or as a file. Exit 0
    if the last round was stable, 4 if data drifted or grew stale, or the statement, its masks or
    the policy changed, 5 if that could not be told. Control-C ends it with 130.
    """
    from nbgov.retraining.watch import Watched, rounds

    if (model is None) == (baseline is None):
        raise click.UsageError("Give one of --model and --baseline.")
    watched = Watched(
        connection=connection,
        sql=read_statement(statement, path),
        binds=read_binds(binds),
        dataset=dataset,
        baseline=baseline or f"models:/{model}@champion",
    )
    pause: Callable[[], None] | None = None
    if every is not None and not once:
        pause = lambda: time.sleep(every)  # noqa: E731 - a name for the wait between two rounds
    seen: Counter[str] = Counter()
    last = ""
    try:
        for found in rounds(session, watched, pause=pause):
            click.echo(json.dumps(found.to_dict()) if as_json else found.line())
            last = found.status
            seen[last] += 1
    except KeyboardInterrupt:
        told = ", ".join(f"{count:,} {status}" for status, count in seen.items())
        click.echo(f"Stopped after {seen.total():,} rounds{': ' * bool(told)}{told}.", err=True)
        click.get_current_context().exit(EXIT_INTERRUPTED)
    click.get_current_context().exit(exit_code(last))


def exit_code(status: str) -> int:
    """The exit code of a round's status."""
    from nbgov.retraining.watch import CALM, DOUBTFUL

    if status in CALM:
        return 0
    return EXIT_UNKNOWN if status in DOUBTFUL else EXIT_DRIFTED

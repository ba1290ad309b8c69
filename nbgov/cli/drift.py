"""``nbgov drift``: why a retrained model is different, in a terminal and for machines.

``nbgov drift A B`` is short for ``nbgov drift compare A B``. Where a caller asked for it, drift has
an exit code of its own: 4 for drift or a hold, 5 for what could not be told.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.commands import EXIT_INTERRUPTED, main, with_session, write_file
from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.core.drift import DriftReport
    from nbgov.model import Run
    from nbgov.retraining.replay import Replay
    from nbgov.session import Session

EXIT_DRIFTED = 4
EXIT_UNKNOWN = 5
EXITS = {"drifted": EXIT_DRIFTED, "unknown": EXIT_UNKNOWN}
COLOURS: dict[str, dict[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "open": {"fg": "yellow"},
    "quiet": {"dim": True},
    "strong": {"bold": True},
}
DEFAULT = "compare"


class WithDefault(click.Group):
    """A group with a default command: what is no command is an argument of that one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant, and its words."""
        if args[0] not in self.commands:
            args = [DEFAULT, *args]
        return super().resolve_command(ctx, args)


@main.group(cls=WithDefault, context_settings={"ignore_unknown_options": True})
def drift() -> None:
    """Say why a retrained model is different: nbgov drift A B.

    A and B are runs, model versions, dataset versions or data files; see nbgov drift compare.
    """


@drift.command(DEFAULT)
@click.argument("first", metavar="[A]")
@click.argument("second", metavar="B", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option("--html", "page", type=click.Path(dir_okay=False), help="Write the report as a page.")
@click.option("--attach", is_flag=True, help="Put the report on the MLflow page of run B.")
@click.option(
    "--fail-on",
    type=click.Choice(["drifted", "held"]),
    help="Exit 4 if B drifted, or its promotion would be held; 5 if that is not known.",
)
@click.option(
    "--replay",
    "function",
    metavar="PLACE:FUNCTION",
    help="Train again with one thing put back at a time; PLACE is a module or a .py file.",
)
@click.option("--metric", metavar="NAME", help="The metric that --replay explains.")
@click.option("--shapley", is_flag=True, help="Replay every mix of up to 5 factors: values add up.")
@click.option(
    "--seeds",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Other seeds that --replay tries, to tell the noise.",
)
@with_session
def compare(  # noqa: PLR0913 - one argument an option
    session: Session,
    first: str,
    second: str | None,
    *,
    as_json: bool,
    page: str | None,
    attach: bool,
    fail_on: str | None,
    function: str | None,
    metric: str | None,
    shapley: bool,
    seeds: int,
) -> None:
    """Compare B with A, or with its own baseline: what changed, ranked.

    A and B are run ids, runs:/ID, models:/NAME/VERSION, models:/NAME@ALIAS, dataset versions,
    NAME@vSTART, names of datasets, or data files. The baseline of a run is the one that a person
    named, the champion's, or the last run like it; that of a dataset version is the one before.
    """
    from nbgov.retraining.baseline import faced
    from nbgov.retraining.page import report_page

    if function is not None and metric is None:
        raise click.UsageError("--replay needs --metric.")
    comparison = faced(session, first, second)
    if not comparison.is_of_runs:
        check_data_only(attach=attach, function=function)
    report, replayed = comparison.report, None
    if function is not None and metric is not None:
        if not as_json:
            tell(report)
        replayed = replay(session, comparison.runs, function, metric, seeds=seeds, shapley=shapley)
    write_out(report, replayed, as_json=as_json)
    if page is not None:
        write_file(page, report_page(report, replayed).encode())
    if attach:
        comparison.attach(replayed)
        click.echo(f"Attached to run {comparison.runs[1].run_id}.", err=True)
    leave(report, fail_on)


def write_out(report: DriftReport, replayed: Replay | None, *, as_json: bool) -> None:
    """Print a report; after a replay for people, what the replay adds."""
    if as_json:
        more = {} if replayed is None else {"replay": replayed.to_dict()}
        click.echo(json.dumps(report.to_dict() | more))
    elif replayed is None:
        tell(report)
    else:
        from nbgov.retraining.telling import replay_lines

        click.echo("\n" + "\n".join(replay_lines(replayed, columns(), painted())))


def tell(report: DriftReport) -> None:
    """Print a report for people."""
    from nbgov.retraining.telling import report_text

    click.echo(report_text(report, width=columns(), paint=painted()))


def columns() -> int:
    """Cells of a line on this terminal; a hundred where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def painted() -> Callable[[str, str], str]:
    """What colours a text; click takes the colour away where nobody sees it."""
    is_plain = bool(os.environ.get("NO_COLOR"))
    return lambda text, mood: text if is_plain or not text else click.style(text, **COLOURS[mood])


def check_data_only(*, attach: bool, function: str | None) -> None:
    """Check what was asked of a report that is not on two runs.

    Raises:
        RequestInvalid: It is what only runs have.
    """
    if attach:
        raise RequestInvalid(
            "Only a report on two runs can be attached.",
            code="usage",
            # Security: a report on a file tells values that its reader holds; a server's may not.
            why="a report on files or dataset versions belongs to no run, and may tell more",
            next_step="name two runs or model versions, or write the report with --html",
        )
    if function is not None:
        raise RequestInvalid(
            "Only two runs can be replayed.",
            code="usage",
            why="a file or a dataset version was not trained",
            next_step="name two runs or model versions",
        )


def leave(report: DriftReport, fail_on: str | None) -> None:
    """End with the exit code that the caller asked for."""
    code = EXITS.get(report.status, 0) if fail_on == "drifted" else 0
    if fail_on == "held" and report.holds:
        code = EXIT_DRIFTED
    click.get_current_context().exit(code)


def replay(
    session: Session,
    runs: tuple[Run, Run],
    function: str,
    metric: str,
    *,
    seeds: int,
    shapley: bool,
) -> Replay:
    """Train again, with a bar on standard error."""
    from tqdm import tqdm

    from nbgov.retraining.training import load_function
    from nbgov.retraining.training import replay as train_again

    with tqdm(desc="trainings", unit="", file=sys.stderr, disable=None, leave=False) as bar:

        def watched(total: int) -> Callable[[], None]:
            bar.reset(total)
            return lambda: step(bar)

        try:
            return train_again(
                session,
                runs[0],
                runs[1],
                load_function(function),
                metric=metric,
                seeds=seeds,
                is_shapley=shapley,
                watched=watched,
            )
        except KeyboardInterrupt:
            bar.close()
            click.echo(f"Interrupted after {bar.n} trainings. Nothing was recorded.", err=True)
            click.get_current_context().exit(EXIT_INTERRUPTED)


def step(bar: Any) -> None:
    """One more training is done; there may be more of them than was sure."""
    bar.total = max(bar.total or 0, bar.n + 1)
    bar.update()

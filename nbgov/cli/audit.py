"""``nbgov audit``: look into the audit log.

The group stands here, with the commands that find and show entries. Those that prove something are
in :mod:`nbgov.cli.audit_proofs`, those that write it out in :mod:`nbgov.cli.audit_exports`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.commands import EXIT_INTERRUPTED, F, main, with_session
from nbgov.core.audit.query import LIMIT, OPTIONS, TIMES, Option, read_query

if TYPE_CHECKING:
    from nbgov.core.audit.query import Query
    from nbgov.evidence.search import Found
    from nbgov.session import Session
    from nbgov.shown.entries import Layout

POLL_S = 0.25
TAIL = 20
COLOURS = {"bad": "red", "open": "yellow"}
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object for each entry.")


@main.group()
def audit() -> None:
    """Look into the audit log, prove what it holds, and write it out.

    In embedded mode the log belongs to whoever owns the state folder, and so do these commands: no
    policy is asked who may read it.
    """


def with_query(command: F) -> F:
    """Give a command a session, and the options that say which entries are meant: its ``query``."""

    def run(session: Session, **options: Any) -> Any:
        names = [option.name for option in (*OPTIONS, *TIMES)]
        asked = {name: options.pop(f"asked_{name}") for name in (*names, "text")}
        query = read_query(asked, now=session.world.clock.now())
        return command(session, query=query, **options)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    made = with_session(run)
    text = Option("text", "PART", "A part of the redacted statement.")
    for name, metavar, told in reversed((*OPTIONS, *TIMES, text)):
        is_many = name in {option.name for option in OPTIONS}
        # One of them is called session, as the session itself is.
        made = click.option(
            f"--{name}", f"asked_{name}", metavar=metavar, help=told, multiple=is_many
        )(made)
    return made  # type: ignore[return-value]  # the decorators return a function of another shape


@audit.command()
@click.argument("words", nargs=-1, metavar="[TEXT]")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Entries at most: {LIMIT} unless given, and as many as there are with --json.",
)
@click.option("--oldest", is_flag=True, help="Begin with the oldest.")
@click.option("--count", "is_count", is_flag=True, help="Only say how many entries there are.")
@click.option("--rebuild", is_flag=True, help="Make the index of the log anew first.")
@AS_JSON
@with_query
def search(
    session: Session,
    *,
    words: tuple[str, ...],
    query: Query,
    limit: int | None,
    oldest: bool,
    is_count: bool,
    rebuild: bool,
    as_json: bool,
) -> None:
    r"""Find entries: all conditions must hold; of one that is given twice, either.

    TEXT is a part of the redacted statement. Patterns may hold * and ?, and case does not count.
    An attempt is not listed beside the entry that tells how it ended.

    \b
      nbgov audit search --principal 'ada*' --since 7d
      nbgov audit search --column '*.email' --decision permit
      nbgov audit search --status error --table main.people 'group by'
    """
    from nbgov.evidence import search as finding
    from nbgov.shown.entries import data_of, folded, list_foot

    query = replace(query, text=" ".join(words) or query.text, oldest_first=oldest)
    if rebuild:
        session.world.index.forget()
    with indexing() as told:
        finding.refresh(session, told=told, remark=remark)
    if is_count:
        click.echo(finding.count(session, query))
    elif as_json:
        for one in finding.find(session, replace(query, limit=limit)):
            click.echo(json.dumps(data_of(one)))
    else:
        limit = limit or LIMIT
        found = folded(finding.find(session, query), limit)
        tell(found, list_foot(session, query, found, limit))


@audit.command()
@click.option("-n", "number", type=click.IntRange(min=1), default=TAIL, metavar="N",
              show_default=True, help="Entries to begin with.")  # fmt: skip
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Wait for more, until Ctrl-C.")
@AS_JSON
@with_query
def tail(session: Session, *, query: Query, number: int, is_followed: bool, as_json: bool) -> None:
    """Show the newest entries, whichever process wrote them; with -f also those that come."""
    from nbgov.evidence.search import find
    from nbgov.evidence.tailing import follow, newest
    from nbgov.shown.entries import Layout, folded, lines_of, list_foot

    end = newest(session, 1)
    if str(query):
        with indexing() as told:
            found = list(find(session, replace(query, limit=number), told=told, remark=remark))[
                ::-1
            ]
    else:
        found = newest(session, number)
    if as_json:
        write_json(found)
    elif found or not is_followed:
        found = folded(found, None)
        tell(found, "" if found else list_foot(session, query, found, number))
    if not is_followed:
        return
    layout = Layout(lines_of(found), columns(), is_open=True)
    shown = max((one.entry.index for one in found), default=-1)
    # Whoever follows a log ends that with Ctrl-C, and that is no failure.
    with suppress(KeyboardInterrupt):
        last = end[0].entry if end else None
        for one in follow(session, last, query, wait=lambda: time.sleep(POLL_S)):
            if one.entry.index <= shown:
                continue
            if as_json:
                write_json([one])
            else:
                tell_line(one, layout)


@audit.command()
@click.argument("reference", metavar="N|RECEIPT")
@AS_JSON
@with_session
def show(session: Session, *, reference: str, as_json: bool) -> None:
    """Show everything about one entry, by its number or by a receipt of it."""
    from nbgov.evidence.search import look_up
    from nbgov.shown.entries import card_of, data_of

    found = look_up(session, reference)
    if as_json:
        click.echo(json.dumps(data_of(found)))
        return
    with indexing() as told:
        card = card_of(session, found, told=told, remark=remark)
    first, *rest = card.text().split("\n")
    click.secho(first, bold=True)
    for line in rest:
        click.secho(line, bold=not line.startswith(" "))


# ---------------------------------------------------------------- telling


def tell(found: Sequence[Found], foot: str) -> None:
    """Print a list of entries, as wide as the terminal is."""
    from nbgov.shown.entries import Layout, lines_of

    if found:
        layout = Layout(lines_of(found), columns())
        click.echo("\n".join(layout.heading()))
        for one in found:
            tell_line(one, layout)
    if foot:
        click.echo(foot)


def tell_line(one: Found, layout: Layout) -> None:
    """Print an entry; what went wrong is coloured where somebody looks."""
    from nbgov.core.audit.lines import mood
    from nbgov.shown.entries import lines_of

    record = one.record
    [line] = lines_of([one])
    click.secho(layout.text(line), fg=COLOURS.get(mood(record)))


def write_json(found: Sequence[Found]) -> None:
    """Print entries for programs, one a line."""
    from nbgov.shown.entries import data_of

    for one in found:
        click.echo(json.dumps(data_of(one)))


def columns() -> int:
    """How many characters a line of the terminal has."""
    return shutil.get_terminal_size().columns


def remark(text: str) -> None:
    """Tell a person something beside the answer."""
    click.echo(text, err=True)


@contextmanager
def indexing() -> Iterator[Callable[[int], None]]:
    """Shows how far the index is, where somebody looks; what was indexed survives Ctrl-C."""
    from tqdm import tqdm

    with tqdm(
        desc="indexing the audit log",
        unit=" entries",
        leave=False,
        delay=0.5,
        disable=not sys.stderr.isatty(),
    ) as bar:
        try:
            yield lambda number: bar.update(number - bar.n)
        except KeyboardInterrupt:
            bar.close()
            click.echo("Interrupted. What was indexed is kept, and is not read again.", err=True)
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None

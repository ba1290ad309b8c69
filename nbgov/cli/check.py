"""``nbgov check``: decide statements, one or a whole file of them, and run nothing.

Against a connection, or against a catalog file and a policy alone. What a report says is the
business of :mod:`nbgov.core.report`; how to score a corpus is told in
``docs/howto/score-a-corpus.md``.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import click

from nbgov.cli.commands import main
from nbgov.cli.sql import read_binds, read_statement
from nbgov.core import report as reports
from nbgov.core.catalog import parse as parse_catalog
from nbgov.errors import ConfigInvalid, IdentityFailed, NbgovError, RequestInvalid
from nbgov.model import Catalog, Effect, Principal, Request
from nbgov.remote.pipeline import RemotePipeline
from nbgov.wiring import load_config, named_connection, offline, read_text, suppose

if TYPE_CHECKING:
    from nbgov.core.report import Report
    from nbgov.pipeline import Pipeline

DIALECTS = ("duckdb", "mysql", "postgres", "sqlite")
LINE_BYTES_MAX = 1_000_000

Decide: TypeAlias = "Callable[[str, Mapping[str, Any]], Report]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The options of the command, as they were given."""

    statement: str | None
    path: str | None
    connection: str | None
    dialect: str | None
    catalog: str | None
    policy: str | None
    principal: str | None
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    binds: tuple[str, ...]
    lines: str | None
    is_effects_only: bool
    is_json: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a corpus."""

    id: Any
    sql: str
    bytes: int


@main.command()
@click.argument("statement", required=False)
@click.option("-c", "--connection", metavar="NAME", help="Default: the configured one.")
@click.option(
    "-f", "--file", "path", type=click.Path(exists=True, dir_okay=False), help="Read SQL."
)
@click.option("-b", "--bind", "binds", metavar="NAME=VALUE", multiple=True, help="A :NAME value.")
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="Decide without a database, for the tables of --catalog.",
)
@click.option(
    "--catalog",
    type=click.Path(exists=True, dir_okay=False),
    help="What the database holds, as nbgov catalog --export prints it.",
)
@click.option(
    "--policy", type=click.Path(exists=True, dir_okay=False), help="Decide by this policy.yaml."
)
@click.option("--as", "principal", metavar="NAME", help="Decide for this principal.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="A group of the principal.")
@click.option("--role", "roles", metavar="NAME", multiple=True, help="A role of the principal.")
@click.option(
    "--jsonl",
    "lines",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help='Decide {"id", "sql"} line by line, from a file or - for standard input.',
)
@click.option(
    "--effects-only",
    "is_effects_only",
    is_flag=True,
    help="Say what the statements do, as far as --dialect tells; no policy is asked.",
)
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of text.")
@click.pass_context
def check(ctx: click.Context, /, **options: Any) -> None:
    """Decide a statement and show what would run, without running it. Exit 1 on a deny.

    With --jsonl a deny is an answer like any other, and the exit is 0 when every line has one.
    Without a database, -c is the name that the policy's patterns are held against; it defaults to
    the first that they spell out.
    """
    options["principal"] = options["principal"] or ctx.obj["principal"]
    ask = Ask(**options)
    with contextlib.ExitStack() as held:
        decide = effects_of(ask, held) if ask.is_effects_only else decisions_of(ask, ctx, held)
        if ask.lines is not None:
            answer_lines(ask.lines, decide, read_binds(ask.binds))
        else:
            answer_one(ask, decide)


# ---------------------------------------------------------------- how a text is decided


def effects_of(ask: Ask, held: contextlib.ExitStack) -> Decide:
    """What a text does, by its dialect alone."""
    from nbgov import backends
    from nbgov.core.statement.effects import classify

    catalog = catalog_of(ask)
    dialect = catalog.dialect
    engine = held.enter_context(contextlib.closing(backends.load_offline(dialect)(catalog)))

    def look(sql: str) -> Report:
        try:
            opinion = engine.inspect(sql)
        except RequestInvalid as error:
            return reports.of_effects(classify(sql, dialect, None), [error.code])
        return reports.of_effects(classify(sql, dialect, opinion))

    def decide(sql: str, _: Mapping[str, Any]) -> Report:
        try:
            parts = statements(sql, dialect)
        except NbgovError as error:
            return reports.of_effects([Effect.UNKNOWN], [error.code])
        return reports.join([look(part) for part in parts])

    return decide


def decisions_of(ask: Ask, ctx: click.Context, held: contextlib.ExitStack) -> Decide:
    """What policy and guard say of a text, on a connection or on paper."""
    if ask.dialect is None and ask.catalog is None:
        return on_connection(ask, ctx, held)
    missing = [
        name for name, given in (("--policy", ask.policy), ("--as", ask.principal)) if given is None
    ]
    if missing:
        raise click.UsageError(f"Without a database, {' and '.join(missing)} must be given.")
    assert ask.policy is not None
    assert ask.principal is not None
    policy = read_text(Path(ask.policy), code="policy-missing")
    connection = ask.connection or named_connection(policy)
    catalog = catalog_of(ask)
    principal = Principal(ask.principal, frozenset(ask.groups), frozenset(ask.roles))
    pipeline = offline(catalog, connection=connection, policy=policy, principal=principal)
    held.callback(pipeline.world.engine(connection).close)
    return decider(pipeline, connection, ask.principal)


def on_connection(ask: Ask, ctx: click.Context, held: contextlib.ExitStack) -> Decide:
    """What would come of a text on a live connection, for a principal of ``nbgov.yaml``."""
    from nbgov.session import connect

    if ask.groups or ask.roles:
        return as_somebody(ask, ctx, held)
    session = held.enter_context(connect(ctx.obj["config"], as_=ask.principal))
    connection = ask.connection or session.default_connection
    if ask.policy is None:
        return decider(session.at(connection), connection, session.claim)
    policy = read_text(Path(ask.policy), code="policy-missing")
    pipeline = suppose(session.path, policy=policy, principal=session.principal)
    held.callback(pipeline.world.engine(connection).close)
    return decider(pipeline, connection, session.principal.name)


def as_somebody(ask: Ask, ctx: click.Context, held: contextlib.ExitStack) -> Decide:
    """What would come of a text on a live connection, if the principal were as the options say."""
    if ask.principal is None:
        raise click.UsageError("--group and --role need --as.")
    path, config = load_config(ctx.obj["config"])
    connection = ask.connection or config.default_connection or next(iter(config.connections))
    policy = read_text(Path(ask.policy), code="policy-missing") if ask.policy else None
    principal = Principal(ask.principal, frozenset(ask.groups), frozenset(ask.roles))
    pipeline = suppose(path, policy=policy, principal=principal)
    held.callback(pipeline.world.engine(connection).close)
    return decider(pipeline, connection, principal.name)


def catalog_of(ask: Ask) -> Catalog:
    """The catalog that the options name; an empty one when they name a dialect alone."""
    if ask.catalog is None:
        if ask.dialect is None or not ask.is_effects_only:
            raise click.UsageError(
                "Give --dialect." if ask.is_effects_only else "Without a database, give --catalog."
            )
        return Catalog(ask.dialect, "", {})
    catalog = parse_catalog(read_text(Path(ask.catalog), code="catalog-invalid"))
    if ask.dialect not in {None, catalog.dialect}:
        raise click.UsageError(f"The catalog is of the dialect {catalog.dialect}.")
    return catalog


def decider(pipeline: Pipeline | RemotePipeline, connection: str, claim: str | None) -> Decide:
    """Decide each statement of a text by itself; the worst decision is the text's."""
    from nbgov.core.statement.effects import classify

    if isinstance(pipeline, RemotePipeline):
        dialect = pipeline.dialect
    else:
        dialect = pipeline.world.engine(connection).dialect

    def decide_one(sql: str, binds: Mapping[str, Any]) -> Report:
        request = Request(connection, sql, binds, claim, origin={"surface": "cli"})
        try:
            return reports.of_verdict(pipeline.check(request))
        except (ConfigInvalid, IdentityFailed):
            raise  # It is about every statement, and none has been decided.
        except NbgovError as error:
            return reports.of_error(error, classify(sql, dialect, None))

    def decide(sql: str, binds: Mapping[str, Any]) -> Report:
        try:
            parts = statements(sql, dialect)
        except NbgovError as error:
            return reports.of_error(error)
        return reports.join([decide_one(part, binds) for part in parts])

    return decide


def statements(sql: str, dialect: str) -> tuple[str, ...]:
    """The statements of a text. Where it is one, it is the text itself."""
    from nbgov.core.statement import normalise
    from nbgov.core.statement.text import split

    # Security: a comment that the server executes may hold a semicolon.
    parts = split(normalise(sql, dialect), dialect)
    return parts if len(parts) > 1 else (sql,)


# ---------------------------------------------------------------- a corpus


def answer_lines(path: str, decide: Decide, binds: Mapping[str, Any]) -> None:
    """Print one line for each line, in order.

    A statement on which nbgov itself breaks is denied with the code ``internal``, so that it costs
    no other statement its answer. The first such error is raised after the last line.
    """
    broken: Exception | None = None
    with contextlib.ExitStack() as held:
        source: BinaryIO = (
            sys.stdin.buffer if path == "-" else held.enter_context(Path(path).open("rb"))
        )
        size = None if path == "-" else Path(path).stat().st_size
        bar: Any = held.enter_context(
            click.progressbar(
                length=size or 1,
                label="Checking",
                file=sys.stderr,
                hidden=size is None or sys.stdout.isatty() or not sys.stderr.isatty(),
            )
        )
        for row in read_rows(source):
            started = time.perf_counter()
            try:
                answer = decide(row.sql, binds)
            except NbgovError:
                raise
            except Exception as error:  # noqa: BLE001  # It is raised again below.
                broken = broken or error
                answer = reports.of_bug(error)
            ms = round((time.perf_counter() - started) * 1000, 3)
            click.echo(json.dumps({"id": row.id, **answer, "ms": ms}))
            bar.update(row.bytes)
    if broken is not None:
        raise broken


def read_rows(source: BinaryIO) -> Iterator[Row]:
    """The lines of a corpus. A line without an id goes by its number; an empty one is passed over.

    Raises:
        RequestInvalid: A line is no JSON object with a text under ``sql``.
    """
    number = 0
    while line := source.readline(LINE_BYTES_MAX + 1):
        number += 1
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        match entry:
            case {"sql": str(sql)} if len(line) <= LINE_BYTES_MAX:
                yield Row(entry.get("id", number), sql, len(line))
            case _:
                raise RequestInvalid(
                    f"Line {number} is not what --jsonl reads.",
                    code="usage",
                    why=f"a line is a JSON object with sql, {LINE_BYTES_MAX:,} bytes at most",
                    next_step='write {"id": "a", "sql": "SELECT 1"}, one to a line',
                )


# ---------------------------------------------------------------- one statement


def answer_one(ask: Ask, decide: Decide) -> None:
    """Print what was decided of one text; exit 1 on a deny."""
    answer = decide(read_statement(ask.statement, ask.path), read_binds(ask.binds))
    if ask.is_json:
        click.echo(json.dumps(answer))
    else:
        for key, value in reports.lines(answer):
            click.echo(f"{key:<12} {value}")
    if answer.get("decision") == reports.DENY:
        sys.exit(1)

"""``nbgov policy``: check, test, explain and compare policies without running anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from nbgov.cli.commands import main
from nbgov.cli.ground import Ground, grounded, stand
from nbgov.cli.sql import read_statement
from nbgov.cli.telling import backtest_lines, change_lines, explain_lines, lint_lines, plain
from nbgov.core import guard
from nbgov.core.policy import Context, parse
from nbgov.core.policy import cases as policy_cases
from nbgov.core.policy.backtest import backtest
from nbgov.core.policy.cases import Asked
from nbgov.core.policy.diff import diff
from nbgov.core.policy.explain import Explanation, explain
from nbgov.core.policy.lint import Surroundings, lint
from nbgov.errors import ConfigInvalid, RequestInvalid
from nbgov.model import Record

LINE_CHARS_MAX = 1_000_000
MARKS = {True: "ok", False: "FAIL"}


@main.group()
def policy() -> None:
    """Check, test, explain and compare policies. Nothing runs."""


@policy.command("lint")
@grounded
@click.pass_context
def lint_command(ctx: click.Context, /, *, is_json: bool, **where: Any) -> None:
    """Find rules that never match and names that mean nothing. Exit 1 on an error."""
    with stand(ctx, **where) as ground:
        catalogs, away = ground.catalogs()
        around = Surroundings(
            connections=ground.connections,
            catalogs=catalogs,
            principals=tuple(ground.principals.values()),
        )
        problems = lint(parse(ground.policy_text), around)
    for name, error in away.items():
        click.echo(
            f"{name} was not asked, so that its names are not checked: {error.what}", err=True
        )
    if is_json:
        click.echo(json.dumps({"problems": plain(problems), "unasked": sorted(away)}))
    else:
        click.echo("\n".join(lint_lines(problems)))
    if any(problem.is_error for problem in problems):
        sys.exit(1)


@policy.command("test")
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(dir_okay=False))
@grounded
@click.pass_context
def test_command(ctx: click.Context, /, path: str | None, *, is_json: bool, **where: Any) -> None:
    """Decide the cases of policy.test.yaml beside the policy. Exit 1 when one fails."""
    with stand(ctx, **where) as ground:
        cases = policy_cases.parse(case_text(ground, path))
        decide = ground.decider(ground.policy_text)
        results = list(policy_cases.run(cases, decide, connection=ground.connection))
    failed = [result for result in results if not result.is_passed]
    if is_json:
        told = [
            {
                "id": r.case.id,
                "passed": r.is_passed,
                "differences": list(r.differences),
                "answer": plain(r.answer),
            }
            for r in results
        ]
        click.echo(json.dumps({"cases": told, "failed": len(failed)}))
    else:
        for result in results:
            click.echo(f"{MARKS[result.is_passed]:<5} {result.case.id}")
            for difference in result.differences:
                click.echo(f"      {difference}")
        click.echo(f"{len(results)} cases, {len(failed)} failed.")
    if failed:
        sys.exit(1)


@policy.command("explain")
@click.argument("statement", required=False)
@click.option(
    "-f", "--file", "path", type=click.Path(exists=True, dir_okay=False), help="Read SQL."
)
@click.option("--as", "principal", metavar="NAME", help="Who asks.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="A group of the principal.")
@click.option("--role", "roles", metavar="NAME", multiple=True, help="A role of the principal.")
@click.option("--at", metavar="TIME", help="The moment, in ISO 8601. Default: now.")
@click.option("--origin", "origins", metavar="KEY=VALUE", multiple=True, help="A claim of origin.")
@grounded
@click.pass_context
def explain_command(
    ctx: click.Context,
    /,
    statement: str | None,
    path: str | None,
    principal: str | None,
    groups: tuple[str, ...],
    roles: tuple[str, ...],
    **more: Any,
) -> None:
    """Say what became of each rule for a statement, and where the tags come from."""
    from nbgov.backends.files import SystemClock

    at, origins, is_json = (more.pop(name) for name in ("at", "origins", "is_json"))
    name = principal or ctx.obj["principal"]
    if name is None:
        raise click.UsageError("Say who asks, with --as.")
    with stand(ctx, **more) as ground:
        asked = Asked(
            id="",
            principal=ground.principal(name, groups, roles),
            connection=ground.connection,
            sql=read_statement(statement, path),
            context=Context(
                read_time(at) if at else SystemClock().now(),
                dict(origin.partition("=")[::2] for origin in origins),
            ),
        )
        found = explain_asked(ground, asked)
    click.echo(json.dumps(plain(found)) if is_json else "\n".join(explain_lines(found)))


@policy.command("diff")
@click.argument("before")
@click.argument("after", required=False)
@click.option(
    "--corpus",
    type=click.Path(exists=True, dir_okay=False),
    help='Lines of {"sql", "principal", "groups", "roles", "connection"}. '
    "Default: the cases beside the policy.",
)
@click.option("--exit-code", "is_strict", is_flag=True, help="Exit 1 when a decision changes.")
@grounded
@click.pass_context
def diff_command(
    ctx: click.Context,
    /,
    before: str,
    after: str | None,
    corpus: str | None,
    *,
    is_strict: bool,
    is_json: bool,
    **where: Any,
) -> None:
    """List the decisions that change from BEFORE to AFTER.

    Each is a file, or a git revision of the policy; AFTER defaults to the policy as it stands.
    """
    with stand(ctx, **where) as ground:
        old = policy_text(ground, before)
        new = ground.policy_text if after is None else policy_text(ground, after)
        asked = list(read_corpus(ground, corpus))
        changes = list(diff(asked, ground.decider(old), ground.decider(new)))
    if is_json:
        click.echo(json.dumps({"statements": len(asked), "changes": plain(changes)}))
    else:
        for change in changes:
            click.echo("\n".join(change_lines(change)))
        click.echo(f"{len(changes)} of {len(asked)} decisions change.")
    if is_strict and changes:
        sys.exit(1)


@policy.command("backtest")
@click.option("--since", metavar="TIME", help="Look at requests from this moment on, in ISO 8601.")
@grounded
@click.pass_context
def backtest_command(
    ctx: click.Context, /, since: str | None, *, is_json: bool, **where: Any
) -> None:
    """Decide the recorded requests once more: what would the policy have changed, and for whom?"""
    with stand(ctx, **where) as ground:
        records = list(read_log(ground, read_time(since) if since else None))
        decide = ground.decider(ground.policy_text, is_whole=True)
        report = backtest(records, ground.principals, decide)
    click.echo(json.dumps(plain(report)) if is_json else "\n".join(backtest_lines(report)))


# ---------------------------------------------------------------- what is read


def case_text(ground: Ground, path: str | None) -> str:
    """The cases, from a file that is named or from the one beside the policy."""
    found = Path(path) if path is not None else ground.policy_path.with_suffix(".test.yaml")
    try:
        return found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(
            f"{found.name} cannot be read.",
            code="policy-missing",
            why=type(error).__name__,
            next_step="write cases beside the policy: docs/reference/policy.md shows how",
        ) from error


def policy_text(ground: Ground, name: str) -> str:
    """A policy by the name of its file, or by a git revision of the policy in question."""
    from nbgov.backends.files.revision import Revisions
    from nbgov.wiring import read_text

    if Path(name).is_file():
        return read_text(Path(name), code="policy-missing")
    return Revisions(ground.policy_path).text_at(name)


def read_corpus(ground: Ground, path: str | None) -> Iterator[Asked]:
    """The statements of a corpus, or of the cases beside the policy.

    Raises:
        RequestInvalid: A line is no JSON object with a statement and a principal.
    """
    if path is None:
        cases = policy_cases.parse(case_text(ground, None))
        yield from (case.asked(ground.connection) for case in cases)
        return
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield read_asked(ground, line, number)


def read_asked(ground: Ground, line: str, number: int) -> Asked:
    """One line of a corpus."""
    try:
        entry: dict[str, Any] = json.loads(line[: LINE_CHARS_MAX + 1])
        groups, roles = tuple(entry.get("groups", ())), tuple(entry.get("roles", ()))
        at = entry.get("at")
        return Asked(
            id=str(entry.get("id", number)),
            principal=ground.principal(str(entry["principal"]), groups, roles),
            connection=str(entry.get("connection") or ground.connection),
            sql=str(entry["sql"]),
            context=Context(read_time(at) if at else None, dict(entry.get("origin", {}))),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RequestInvalid(
            f"Line {number} is not what --corpus reads.",
            code="usage",
            next_step='write {"sql": "SELECT 1", "principal": "ada"}, one to a line',
        ) from None


def read_time(text: str) -> datetime:
    """A moment; one without an offset is in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RequestInvalid(
            "A moment is not in ISO 8601.", code="usage", next_step="write 2026-01-31T09:00:00Z"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def read_log(ground: Ground, since: datetime | None) -> Iterator[Record]:
    """The records of the audit log, oldest first.

    Raises:
        RequestInvalid: There is no log on paper.
    """
    from nbgov.backends.files import FileEvidence
    from nbgov.core.audit import decode

    if ground.state is None:
        raise RequestInvalid(
            "A catalog file has no audit log.", code="usage", next_step="leave --catalog out"
        )
    for line in FileEvidence(ground.state).entries():
        record = decode(line).record
        if since is None or record.at >= since:
            yield record


def explain_asked(ground: Ground, asked: Asked) -> Explanation:
    """Understand a statement as a request would be, and explain the decision."""
    verdict = ground.check(ground.policy_text, asked)
    pipeline = ground.pipeline(ground.policy_text, asked)
    return explain(
        parse(ground.policy_text),
        asked.principal,
        asked.connection,
        verdict.statement,
        catalog=pipeline.catalog(asked.connection, claim=asked.principal.name),
        findings=guard.check(verdict.statement),
        context=asked.context,
    )

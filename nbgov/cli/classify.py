"""``nbgov classify``: tags for the columns of a database that nobody has classified yet.

It reads, tells and proposes; ``policy.yaml`` is changed by whoever reviews the patch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.commands import main, with_session
from nbgov.core.policy.amend import diff, pattern_of, tagged
from nbgov.core.policy.suggest import is_masked, listed

if TYPE_CHECKING:
    from nbgov.core.policy import Policy
    from nbgov.pii.classify import Reader, Seen, TableReport
    from nbgov.session import Session

ROWS_MAX = 10_000
CAUTION = "A sample can never prove that a column is clean."
HEAD = ("column", "values", "found", "name says", "proposed")


@main.command()
@click.argument("connection", required=False)
@click.option(
    "--rows",
    "rows_max",
    type=click.IntRange(min=0),
    default=ROWS_MAX,
    show_default=True,
    help="Rows to read of each table at most; 0 reads all.",
)
@click.option(
    "--patch", "is_patch", is_flag=True, help="Print a patch for policy.yaml, to be reviewed."
)
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of text.")
@with_session
def classify(
    session: Session, connection: str | None, rows_max: int, *, is_patch: bool, is_json: bool
) -> None:
    """Propose tags for the columns of CONNECTION that carry none. Nothing is changed.

    Each table is read once, as you and under the policy, and stands in the audit log.
    Exit 1 when no table could be read.
    """
    from nbgov.pii.classify import Reader

    if is_patch and is_json:
        raise click.UsageError("Give --patch or --json, not both.")
    name = connection or session.default_connection
    reader = Reader(session, name, rows_max)
    reports = read_all(reader)
    proposals = Proposals(reader.policy, name, reports)
    if is_json:
        click.echo(json.dumps(as_json(proposals)))
    elif is_patch:
        click.echo(patch_of(session, proposals), nl=False)
        for line in proposals.remarks():
            click.echo(line, err=True)
    else:
        click.echo("\n".join(lines_of(proposals, rows_max)))
    if reports and not any(report.columns for report in reports):
        sys.exit(1)


def read_all(reader: Reader) -> list[TableReport]:
    """Read each table, with a bar on standard error where somebody watches."""
    from tqdm import tqdm

    tables = reader.tables()
    reports = []
    with tqdm(
        total=len(tables), unit=" tables", file=sys.stderr, leave=False, disable=None
    ) as progress:
        for table, columns in tables.items():
            progress.set_postfix_str(str(table))
            reports.append(reader.read(table, columns))
            progress.update()
    return reports


class Proposals:
    """The proposals of a run, and which of them a patch may hold.

    Args:
        policy: The policy as it is.
        connection: Name of the connection.
        reports: What was found.
    """

    def __init__(self, policy: Policy, connection: str, reports: Sequence[TableReport]) -> None:
        self.policy = policy
        self.connection = connection
        self.reports = reports

    def seen(self) -> Iterator[Seen]:
        """All columns that were read."""
        return (seen for report in self.reports for seen in report.columns)

    def is_safe(self, seen: Seen) -> bool:
        """Whether a rule masks the column under the proposed tag.

        Security: a tag ends the scan of a column's text. One that no rule masks would show what is
        replaced today, so it stays out of the patch.
        """
        column = seen.evidence.column
        return is_masked(self.policy, self.connection, column, seen.suggestion.tag)

    def additions(self) -> dict[str, list[str]]:
        """The patterns to add, by tag."""
        found: dict[str, list[str]] = {}
        for seen in self.seen():
            if seen.suggestion.tag and self.is_safe(seen):
                pattern = pattern_of(self.connection, seen.evidence.column)
                found.setdefault(seen.suggestion.tag, []).append(pattern)
        return dict(sorted(found.items()))

    def unmasked(self) -> dict[str, list[str]]:
        """The columns whose proposed tag no rule masks, by tag."""
        found: dict[str, list[str]] = {}
        for seen in self.seen():
            if seen.suggestion.tag and not self.is_safe(seen):
                found.setdefault(seen.suggestion.tag, []).append(str(seen.evidence.column))
        return found

    def remarks(self) -> Iterator[str]:
        """What the reviewer has to know."""
        for tag, columns in self.unmasked().items():
            yield (
                f"No rule masks {tag}, so that with this tag alone {', '.join(columns)} would read "
                "in clear. Give a rule a mask for it first; the patch leaves it out."
            )
        for report in self.reports:
            for unread in report.unread:
                code = f" ({unread.code})" if unread.code else ""
                yield f"Not read: {report.table} {', '.join(unread.columns)}: {unread.why}{code}"
        silent = [seen for seen in self.seen() if not seen.suggestion.tag]
        if silent:
            values = sum(seen.evidence.values for seen in silent)
            count = many(len(silent), "column")
            yield f"Nothing is proposed for {count}, by {many(values, 'value')}. {CAUTION}"
        read = [report for report in self.reports if report.columns]
        if read and not any(report.entities for report in read):
            yield "The policy looks for no entities (content:), so that only names were judged."


def patch_of(session: Session, proposals: Proposals) -> str:
    """The proposals as a unified diff of the policy file."""
    text = session.world.policy.text()
    return diff(text, tagged(text, proposals.additions()), session.config.policy)


def lines_of(proposals: Proposals, rows_max: int) -> Iterator[str]:
    """The report for people."""
    count = sum(bool(seen.suggestion.tag) for seen in proposals.seen())
    columns = many(sum(1 for _ in proposals.seen()), "column")
    tables = many(sum(bool(report.columns) for report in proposals.reports), "table")
    extent = f"at most {many(rows_max, 'row')} of each" if rows_max else "all rows of each"
    yield (
        f"{proposals.connection}: {columns} without a tag in {tables} read, {extent}; "
        f"a tag is proposed for {count}."
    )
    for report in proposals.reports:
        if report.columns:
            yield ""
            yield from table_lines(report)
    remarks = list(proposals.remarks())
    if remarks:
        yield ""
        yield from remarks
    if proposals.additions():
        yield ""
        yield "Review them as a patch: nbgov classify --patch > tags.patch; patch -p1 < tags.patch"


def table_lines(report: TableReport) -> Iterator[str]:
    """One table: its columns with what was found."""
    extent = "all" if report.is_whole else "there may be more"
    yield f"{report.table}  ({many(report.rows, 'row')}, {extent}; record {report.record})"
    rows = [HEAD, *map(cells, report.columns)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    for row in rows:
        name, values, *others = row
        padded = (text.ljust(width) for text, width in zip(others, widths[2:], strict=True))
        line = f"  {name:<{widths[0]}}  {values:>{widths[1]}}  {'  '.join(padded)}"
        yield line.rstrip()


def many(count: int, thing: str) -> str:
    """So many things, in words."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def cells(seen: Seen) -> tuple[str, ...]:
    """One column, as the cells of a row."""
    evidence, suggestion = seen.evidence, seen.suggestion
    return (
        evidence.column.name,
        f"{evidence.values:,}",
        listed(evidence.found) or "nothing",
        suggestion.hint or "-",
        suggestion.tag or "-",
    )


def as_json(proposals: Proposals) -> dict[str, Any]:
    """The report for programs."""
    return {
        "connection": proposals.connection,
        "tables": [
            {
                "table": str(report.table),
                "rows": report.rows,
                "is_whole": report.is_whole,
                "record": report.record,
                "entities": list(report.entities),
                "columns": [
                    {
                        "column": seen.evidence.column.name,
                        "values": seen.evidence.values,
                        "found": dict(seen.evidence.found),
                        "hint": seen.suggestion.hint,
                        "tag": seen.suggestion.tag,
                        "why": seen.suggestion.why,
                    }
                    for seen in report.columns
                ],
                "unread": [
                    {"columns": list(one.columns), "why": one.why, "code": one.code}
                    for one in report.unread
                ],
            }
            for report in proposals.reports
        ],
        "unmasked": proposals.unmasked(),
        "tags": proposals.additions(),
    }

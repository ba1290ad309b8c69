"""``nbgov audit export|report``: the audit log for other tools and other people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbgov.cli.audit import audit, with_query
from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.core.audit.query import Query
    from nbgov.session import Session

FORMATS = ("jsonl", "ocsf", "csv", "parquet")
STDOUT = "-"


@audit.command()
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="jsonl: the stored bytes. ocsf: events of OCSF 1.8.0. csv, parquet: tables.",
)
@click.option("-o", "--out", metavar="FILE", help="Write to this file; - is standard output.")
@click.option(
    "--bundle", metavar="FILE", help="Write one file that verifies elsewhere, without the log."
)
@click.option(
    "--catalog",
    metavar="CONNECTION",
    help="Instead of entries, how the tables of a connection evolved: a row for each column.",
)
@with_query
def export(
    session: Session,
    *,
    query: Query,
    format_: str | None,
    out: str | None,
    bundle: str | None,
    catalog: str | None,
) -> None:
    """Write the audit log, or the entries that the filters mean, in the format of another tool.

    Of several filters all must hold; of one that is given several times, any. The export is an
    entry of the log itself.
    """
    if (format_ is None) == (bundle is None) or (catalog and (bundle or str(query))):
        raise RequestInvalid(
            "An export is entries in a format, a bundle of them, or a catalog in a format.",
            code="usage",
            next_step="give --format FORMAT or --bundle FILE; filters are of entries only",
        )
    if bundle is not None:
        bundle_to(session, bundle, query)
    elif catalog is not None:
        catalog_to(session, format_ or "", catalog, out)
    elif out is None or out == STDOUT:
        to_stdout(session, format_ or "", query, is_meant=out == STDOUT)
    else:
        to_file(session, format_ or "", query, Path(out))


@audit.command()
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    default="audit-report.html",
    show_default=True,
    help="Write to this file; - is standard output.",
)
@with_query
def report(session: Session, *, query: Query, out: str) -> None:
    """Write one page for an auditor: who reached what, masked how, denied why, approved by whom.

    The page stands alone, runs nothing, and prints well on A4. Exit 1 when the log does not verify;
    the page is written all the same and says so.
    """
    from nbgov.evidence.drafts import draft
    from nbgov.evidence.report import make_report

    with progress("Reading") as told:
        page = make_report(session, query, told=told)
    if out == STDOUT:
        click.echo(page.html, nl=False)
    else:
        with draft(Path(out)) as file:
            file.write(page.html.encode())
        click.echo(f"{out}: {page.told}")
    if not page.is_sound:
        click.get_current_context().exit(1)


def bundle_to(session: Session, path: str, query: Query) -> None:
    """Write a bundle, and say how to check it."""
    from nbgov.evidence.bundling import write_bundle

    with progress("Reading") as told:
        done = write_bundle(session, Path(path), query if str(query) else None, told=told)
    point = done.checkpoint
    what = "the whole log" if done.is_whole else "not the whole log"
    click.echo(f"{path}: {done.entries:,} entries, {what}, against a checkpoint at {point.size:,}")
    click.echo(f"Elsewhere: nbgov audit verify --from {Path(path).name} --key KEY")
    click.echo("KEY is what nbgov audit key prints here; give it to them on another way.")


def to_file(session: Session, format_: str, query: Query, path: Path) -> None:
    """Write an export to a file that appears whole, or not at all."""
    from nbgov.evidence.drafts import draft
    from nbgov.evidence.exports import export_log

    with progress("Exporting") as told, draft(path) as file:
        done = export_log(session, file, format_, query, told=told)  # type: ignore[arg-type]
    remark = f"; {done.remark}" if done.remark else ""
    click.echo(f"{path}: {done.items:,} of {format_} from {done.entries:,} entries{remark}")


def to_stdout(session: Session, format_: str, query: Query, *, is_meant: bool) -> None:
    """Write an export to standard output, which a table in bytes only goes to when told so."""
    from nbgov.evidence.exports import export_log

    check_is_text(format_, is_meant=is_meant)
    file = sys.stdout.buffer
    done = export_log(session, file, format_, query)  # type: ignore[arg-type]
    file.flush()
    if done.remark:
        click.echo(done.remark, err=True)


def check_is_text(format_: str, *, is_meant: bool) -> None:
    """Pass unless bytes would go to a terminal that nobody named."""
    from nbgov.evidence.exports import TEXT_FORMATS

    if format_ not in TEXT_FORMATS and not is_meant:
        raise RequestInvalid(
            f"{format_} is no text.",
            code="usage",
            next_step="name a file: -o FILE",
        )


def catalog_to(session: Session, format_: str, connection: str, out: str | None) -> None:
    """Write how a connection evolved."""
    from nbgov.evidence.catalog_exports import export_catalog
    from nbgov.evidence.drafts import draft

    if out is None or out == STDOUT:
        check_is_text(format_, is_meant=out == STDOUT)
        export_catalog(session, sys.stdout.buffer, format_, connection)  # type: ignore[arg-type]
        sys.stdout.buffer.flush()
        return
    with draft(Path(out)) as file:
        count = export_catalog(session, file, format_, connection)  # type: ignore[arg-type]
    click.echo(f"{out}: {count:,} rows of {format_}, the catalog of {connection}")


@contextmanager
def progress(label: str) -> Iterator[Callable[[int], None]]:
    """A count of the entries that were read, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=" entries", leave=False) as bar:

        def told(number: int) -> None:
            bar.update(number - bar.n)

        yield told

"""``nbgov scan`` and ``nbgov mask``: what is in files, and copies without it.

What they print is the business of :mod:`nbgov.cli.pii_telling`; no value of a file is ever in it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from nbgov.cli.commands import EXIT_INTERRUPTED, main
from nbgov.core.presets import NAMES
from nbgov.errors import NbgovError, RequestInvalid

if TYPE_CHECKING:
    from nbgov.pii.files import Source
    from nbgov.pii.scanning import Scanner
    from nbgov.pii.tally import FileReport, Question

EXIT_FOUND = 1
EXIT_UNREAD = 2
FORMATS = ("csv", "html", "json", "jsonl", "notebook", "parquet", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The options of ``nbgov scan``, as they were given."""

    files: tuple[str, ...]
    entities: tuple[str, ...]
    preset: str
    threshold: float | None
    language: str
    form: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    encoding: str
    delimiter: str
    has_header: bool
    is_json: bool
    is_quiet: bool

    def spelled(self, source: Source | None) -> Source | None:
        """A file as the options say that it is written."""
        if source is None:
            return None
        return replace(
            source, encoding=self.encoding, delimiter=self.delimiter, has_header=self.has_header
        )


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how files are written."""
    for option in (
        click.option("-q", "--quiet", "is_quiet", is_flag=True, help="No progress bar."),
        click.option(
            "--header/--no-header",
            "has_header",
            default=True,
            help="Whether the first row of a CSV file names the columns. Default: it does.",
        ),
        click.option(
            "--delimiter",
            default="",
            metavar="CHARACTER",
            help="What stands between the cells of a CSV file. Default: found out.",
        ),
        click.option(
            "--encoding",
            default="",
            metavar="NAME",
            help="How text is encoded, such as cp1252. Default: the byte order mark, else UTF-8.",
        ),
        click.option(
            "--language", default="en", show_default=True, help="The language of the text."
        ),
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1),
            help="The lowest score that counts. Default: the preset's.",
        ),
        click.option(
            "--entities",
            multiple=True,
            metavar="NAME,...",
            help="What to look for, such as EMAIL_ADDRESS,PERSON. Default: the preset's.",
        ),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--preset",
    type=click.Choice(NAMES),
    default="default",
    show_default=True,
    help="What to look for, and from which score on.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="What FILE is. Default: as it is named."
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="In folders, read only such files; those of no known kind are read as text.",
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="In folders, leave such files out.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of text.")
@reading
def scan(**options: Any) -> None:
    """Say what personal data and which secrets are in files, without showing any.

    FILE is CSV, Parquet, JSON or JSON lines, a notebook, HTML or plain text; a folder; an MLflow
    run as runs:/RUN_ID; or - for standard input. The exit is 1 when something was found, 0 when
    nothing was, and 2 when a file could not be read to its end.
    """
    with interruptible("Interrupted. What is shown is not the whole."), refusing():
        ask = Ask(**options)
        question, scanner = prepare(ask)
        from nbgov.cli.pii_telling import file_lines, summary_lines, to_json
        from nbgov.pii.targets import Target, find_targets, read_target

        passed: Counter[str] = Counter()
        targets = [
            Target(target.name, ask.spelled(target.source), target.error)
            for name in ask.files
            for target in find_targets(
                name, passed, form=ask.form or "", include=ask.include, exclude=ask.exclude
            )
        ]
        bar = Bar(sum(t.size for t in targets), label="Scanning", is_quiet=ask.is_quiet)
        reports: list[FileReport] = []
        with contextlib.closing(bar.bar):
            for target in targets:
                for report in read_target(target, question, bar.watch(scanner), passed, bar.over):
                    reports.append(report)
                    if not ask.is_json:
                        bar.tell(file_lines(report))
        if ask.is_json:
            click.echo(json.dumps(to_json(reports, passed, question)))
        else:
            click.echo("\n".join(summary_lines(reports, passed)))
        sys.exit(exit_code(reports))


def exit_code(reports: list[FileReport]) -> int:
    """What the reports come to."""
    # Security: where a file was not read to its end, or none was there, nothing is clean.
    if not reports or any(report.error is not None for report in reports):
        return EXIT_UNREAD
    return EXIT_FOUND if any(report.found for report in reports) else 0


def prepare(ask: Ask) -> tuple[Question, Scanner]:
    """What is looked for, and what finds it.

    Raises:
        RequestInvalid: Nothing finds an entity.
    """
    from nbgov.core.presets import load
    from nbgov.pii.scanning import Scanner
    from nbgov.pii.tally import Question

    preset = load(ask.preset)
    entities = tuple(split(ask.entities) or preset.operators)
    score_min = preset.score_min if ask.threshold is None else ask.threshold
    scanner = Scanner(None, reads="text", progress=False)
    scanner.refuse_unknown(entities, ask.language)
    return Question(entities, score_min, ask.language), scanner


def split(entities: tuple[str, ...]) -> list[str]:
    """The names in ``--entities``, which may be given more than once."""
    return [name.strip() for text in entities for name in text.split(",") if name.strip()]


# ---------------------------------------------------------------- what is read


class Bar:
    """A bar over bytes on standard error; only a terminal shows it."""

    def __init__(self, total: int, *, label: str, is_quiet: bool) -> None:
        from tqdm import tqdm

        self.total = total
        self.bar = tqdm(
            total=total or None,
            desc=label,
            unit="B",
            unit_scale=True,
            delay=1,
            miniters=0,
            leave=False,
            file=sys.stderr,
            disable=True if is_quiet else None,
        )

    def over(self, stream: BinaryIO) -> Callable[[], None]:
        """What to call after each part that was read from a stream."""
        last = 0

        def seen() -> None:
            nonlocal last
            # A pipe cannot tell how far it was read.
            with contextlib.suppress(OSError):
                at = stream.tell()
                self.bar.update(max(0, at - last))
                last = at

        return seen

    def anew(self, stream: BinaryIO) -> Callable[[], None]:
        """The same for a file that is read from its start once more."""
        if self.bar.n:
            self.bar.reset()
        return self.over(stream)

    def watch(self, scanner: Scanner) -> Scanner:
        """A scanner that shows here how far it is in a part; the same where nobody watches."""
        from nbgov.pii.watching import Watched

        return scanner if self.bar.disable else Watched(scanner, self.show)

    def show(self, done: int, total: int) -> None:
        """Say how many values of a part have been read."""
        postfix = "" if done == total else f"{done:,} of {total:,} values"
        self.bar.set_postfix_str(postfix, refresh=False)
        self.bar.update(0)

    def tell(self, lines: Iterator[str]) -> None:
        """Print lines where the bar was; the next part draws it anew below them."""
        self.bar.clear()
        click.echo("\n".join(lines))


# ---------------------------------------------------------------- copies


@main.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option(
    "--policy",
    metavar="FILE|PRESET",
    help="A policy.yaml, whose tags mask columns, or a preset. Default: the preset default.",
)
@click.option(
    "--table",
    default="",
    metavar="NAME",
    help="CONNECTION.SCHEMA.TABLE that the tags of the policy are held against.",
)
@click.option(
    "--operator",
    "operators",
    multiple=True,
    metavar="NAME=OPERATOR",
    help="How a column or an entity is masked, such as email=token or PERSON=surrogate.",
)
@click.option("--key", metavar="REF", help="The key of tokens and surrogates: env:NAME, file:PATH.")
@click.option("--subject", metavar="COLUMN", help="Whose dates are shifted alike.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="What IN is. Default: as it is named.",
)
@click.option("--force", "is_forced", is_flag=True, help="Overwrite OUT.")
@click.option(
    "--keep-names", "keeps_names", is_flag=True, help="Keep names that hold what is masked."
)
@reading
def mask(**options: Any) -> None:
    """Write a copy of a file in which personal data is masked.

    IN is CSV, Parquet or JSON lines, and OUT has the same format; - is standard input or output.
    Columns that --operator or the policy names are masked whole, unread; all others are looked
    through. OUT appears when it is complete, or not at all.
    """
    with interruptible("Interrupted. Nothing was written."):
        copy_file(**options)


def copy_file(source: str, out: str, **options: Any) -> None:
    """Write the copy and tell on standard error what was done."""
    from nbgov.cli.pii_telling import copy_lines
    from nbgov.pii.copying import copy, destination
    from nbgov.pii.files import find

    if source != "-" and Path(source).is_dir():
        raise click.UsageError("IN is a folder; nbgov mask copies one file.")
    [found], _ = find([source], form=options["form"] or form_of(source, out))
    found = replace(
        found,
        encoding=options["encoding"],
        delimiter=options["delimiter"],
        has_header=options["has_header"],
    )
    path = destination(found, out, is_forced=options["is_forced"])
    bar = Bar(found.size, label="Masking", is_quiet=options["is_quiet"])
    with contextlib.closing(bar.bar), warnings.catch_warnings():
        # The report says the same of every column that could not be scanned.
        warnings.simplefilter("ignore", UserWarning)
        done = copy(
            found,
            path,
            {
                "policy": options["policy"],
                "operators": read_operators(options["operators"]),
                "table": options["table"],
                "entities": split(options["entities"]) or None,
                "threshold": options["threshold"],
                "language": options["language"],
                "subject": options["subject"],
                "key": options["key"],
                "progress": False,
            },
            keeps_names=options["keeps_names"],
            progress=bar.anew,
            watch=bar.watch,
        )
    click.echo("\n".join(copy_lines(found, out, done)), err=True)


def form_of(source: str, out: str) -> str:
    """The format of standard input where OUT says it."""
    from nbgov.pii.files import FORMATS as KNOWN

    return KNOWN.get(Path(out).suffix.lower(), "") if source == "-" else ""


def read_operators(pairs: tuple[str, ...]) -> dict[str, str]:
    """Operators by column or entity.

    Raises:
        RequestInvalid: One is not ``NAME=OPERATOR``, or a name has two.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, mark, operator = pair.rpartition("=")
        if not mark or not name or not operator or name in found:
            raise RequestInvalid(
                "An --operator is not NAME=OPERATOR, or names something twice.",
                code="usage",
                next_step="write --operator email=token --operator PERSON=redact",
            )
        found[name.removeprefix("$.")] = operator
    return found


# ---------------------------------------------------------------- ends


@contextlib.contextmanager
def interruptible(message: str) -> Iterator[None]:
    """End with our own words where a person interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\n{message}", err=True)
        sys.exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """End with 2 where ``scan`` cannot even begin: 1 says that something was found."""
    try:
        yield
    except NbgovError as error:
        click.echo(error.render(), err=True)
        sys.exit(EXIT_UNREAD)

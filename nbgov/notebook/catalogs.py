"""What a person is shown of how a connection evolved: its versions, what differs, what it held.

Text for terminals, HTML for notebooks, and values for JSON are made of the same chapters, so that
all three say the same. They hold what :mod:`nbgov.core.catalog_changes` lets out, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

from nbgov.core.catalog_changes import Change, Document, changes, signature, spelled, told_by
from nbgov.core.checks import counted
from nbgov.core.dataset_log import Step, schema_changes
from nbgov.core.visible import visible
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import CatalogVersion
from nbgov.notebook.datasets import SHORT, moment, steps_of
from nbgov.session import Session
from nbgov.shown.grids import grid_html, wrapped_html

HEADS = ("", "of", "what")
MOODS = {"+": "good", "-": "bad", "~": "open", ">": "quiet"}
Paint = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is told: ``+ - ~`` for changes, ``>`` for a dataset, of what, and in words."""

    mark: str
    subject: str
    words: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """Lines under a title."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """What is shown of a connection.

    Attributes:
        title: What it is of.
        chapters: What there is to tell, in order.
        data: The same as values for JSON.
    """

    title: str
    chapters: Sequence[Chapter]
    data: Any

    def text(self, paint: Paint = lambda text, _: text) -> str:
        """The story as a tree; ``paint`` colours a text by a mood."""
        lines = [paint(visible(self.title), "strong")]
        for chapter in self.chapters:
            lines += ["", paint(visible(chapter.title), "strong")]
            for subject, told in groupby(chapter.lines, key=lambda line: line.subject):
                lines += [f"  {visible(subject)}"] * bool(subject)
                lines += (
                    f"    {paint(line.mark, MOODS.get(line.mark, 'quiet'))} {visible(line.words)}"
                    for line in told
                )
        return "\n".join(lines)

    def html(self) -> str:
        """The story as HTML, one table for each chapter."""
        parts = [
            grid_html(
                chapter.title,
                HEADS,
                [(line.mark, line.subject, line.words) for line in chapter.lines]
                or [("", "", "nothing")],
                is_wrapped=True,
            )
            for chapter in self.chapters
        ]
        return wrapped_html(self.title, "".join(parts))


def told(session: Session, words: Sequence[str]) -> Story:
    """What ``%nbgov catalog`` shows, by the words behind it.

    Raises:
        RequestInvalid: The words are none that it takes, or name something unknown.
    """
    match words:
        case ["log", connection]:
            return log(session, connection)
        case ["log", connection, table]:
            return log(session, connection, table)
        case ["diff" | "show" as verb, connection, *numbers] if all(map(str.isdecimal, numbers)):
            places = [int(number) for number in numbers]
            if verb == "diff" and len(places) <= 2:  # noqa: PLR2004  # From one to another.
                return diff(session, connection, *places)
            if verb == "show" and len(places) <= 1:
                return shown(session, connection, *places)
        case _:
            pass
    raise RequestInvalid(
        "%nbgov catalog does not take these words.",
        code="usage",
        next_step="write catalog log CONNECTION [TABLE], diff CONNECTION [V1 [V2]] or show",
    )


def log(
    session: Session, connection: str, table: str = "", *, since: datetime | None = None
) -> Story:
    """How a connection evolved, newest version first; of one table, with the datasets that read it.

    Raises:
        RequestInvalid: The connection or table is unknown.
    """
    versions, remark = seen(session, connection)
    name = find_table(versions, table) if table else ""
    steps = sorted(readers(session, connection, name)) if name else []
    chapters, data = [], []
    for version, before in pairwise((*versions, None)):
        assert version is not None
        if since is not None and version.seen_at < since:
            continue
        found = [*version_changes(version, before)]
        datasets = [told for record, told in steps if is_under(record, version, versions)]
        told = [one for one in found if name in {"", one.subject}]
        lines = (*map(line_of, told), *(Line(">", "", words) for words in datasets))
        if before is None:
            lines = (*first_lines(version, name), *lines)
        data.append(version_data(version, told) | {"datasets": datasets})
        if lines or not name:
            chapters.append(Chapter(heading(version, before), lines))
    subject = f"{connection}: {name}" if name else connection
    title = f"{subject}, {counted(len(versions), 'version')} of what it holds{remark}"
    return Story(title, chapters, data)


def diff(
    session: Session, connection: str, first: int | None = None, second: int | None = None
) -> Story:
    """How two versions of a connection differ; the newest and the one before when left out.

    Raises:
        RequestInvalid: The connection or a version is unknown.
    """
    versions, remark = seen(session, connection)
    new = find_version(versions, second)
    old = find_version(versions, max(new.number - 1, 1) if first is None else first)
    found = changes(old.document, new.document)
    words = f"{connection}: version {old.number} to version {new.number}{remark}"
    title = f"{counted(len(found), 'difference')}" if found else "Nothing differs."
    data = {
        "connection": connection,
        "before": old.number,
        "after": new.number,
        "changes": [asdict(one) for one in found],
    }
    return Story(words, [Chapter(title, tuple(map(line_of, found)))], data)


def shown(session: Session, connection: str, number: int | None = None) -> Story:
    """What a connection was seen to hold; as of the newest version when left out.

    Raises:
        RequestInvalid: The connection or version is unknown.
    """
    versions, remark = seen(session, connection)
    version = find_version(versions, number)
    lines = tuple(held_lines(version.document))
    title = f"{connection}: version {version.number}{remark}"
    before = next((one for one in versions if one.number == version.number - 1), None)
    found = [*version_changes(version, before)]
    data = version_data(version, found) | {"document": version.document}
    return Story(title, [Chapter(heading(version, before), lines)], data)


def seen(session: Session, connection: str) -> tuple[tuple[CatalogVersion, ...], str]:
    """The versions of a connection, looked at now, and a remark where that is not possible.

    Raises:
        RequestInvalid: No connection has the name, or it was never seen.
    """
    remark, store = "", session.world.catalogs
    assert store is not None
    try:
        session.pipeline.sight(connection, claim=session.claim)
    except BackendFailed as error:
        if error.code in {"audit-unavailable", "state-unavailable"}:
            raise
        remark = "; it does not answer now"
    versions = store.versions(connection)
    if not versions:
        raise RequestInvalid(
            f"Nothing is known of the connection {connection}.",
            code="unknown-reference",
            why="it was never seen, and it does not answer now",
            next_step="try again when the database answers",
        )
    return versions, remark


# ---------------------------------------------------------------- versions and tables


def find_version(versions: Sequence[CatalogVersion], number: int | None) -> CatalogVersion:
    """The version with a number, or the newest one."""
    if number is None:
        return versions[0]
    for version in versions:
        if version.number == number:
            return version
    raise RequestInvalid(
        f"There is no version {number}.",
        code="unknown-reference",
        why=f"the newest one is {versions[0].number}",
        next_step=f"see nbgov catalog log {versions[0].connection}",
    )


def find_table(versions: Sequence[CatalogVersion], wanted: str) -> str:
    """The table that is meant, in whatever version it was.

    Raises:
        RequestInvalid: No version has it, or more than one is meant.
    """
    known: dict[str, None] = {}
    for version in versions:
        known |= dict.fromkeys(version.document["tables"])
    if wanted in known:
        return wanted
    found = [name for name in known if name.rpartition(".")[2] == wanted]
    if len(found) == 1:
        return found[0]
    raise RequestInvalid(
        f"There {'are several tables' if found else 'is no table'} {wanted}.",
        code="unknown-table",
        why="no version of what the connection holds has it" if not found else ", ".join(found),
        next_step="name it with its schema, as nbgov catalog show does",
    )


def version_changes(version: CatalogVersion, before: CatalogVersion | None) -> Iterator[Change]:
    """What a version changed."""
    if before is not None:
        yield from changes(before.document, version.document)


def heading(version: CatalogVersion, before: CatalogVersion | None) -> str:
    """A version in one line: its number, when, by whom, and where that is recorded."""
    who = f"first seen by {version.principal}"
    if before is not None:
        who = told_by(version.authors, version.principal, is_searched=version.is_searched)
    at = moment(version.seen_at)
    return f"version {version.number}  {at}  {who}  record {version.record}"


def first_lines(version: CatalogVersion, name: str) -> Iterator[Line]:
    """What was there when a connection was first seen: one table, or how many."""
    tables = version.document["tables"]
    if name in tables:
        yield Line("=", name, f"was there: {signature(tables[name])}")
    elif not name:
        yield Line("=", "", f"held {len(tables):,} tables and views")


def line_of(change: Change) -> Line:
    """A change as a line."""
    return Line(change.mark, change.subject, change.words())


def held_lines(document: Document) -> Iterator[Line]:
    """Every table of a document, with its columns and grants."""
    for name, entry in document["tables"].items():
        subject = f"{name} ({entry['kind']})"
        for column, kind, is_required, _ in entry["columns"]:
            yield Line(" ", subject, f"{column:<28} {spelled(kind, is_required)}".rstrip())
        if entry.get("reads"):
            yield Line(" ", subject, f"reads {', '.join(entry['reads'])}")
        yield from (Line(" ", subject, f"granted: {one}") for one in entry.get("grants", ()))
    for name in document["functions"]:
        yield Line(" ", "functions", name)


def version_data(version: CatalogVersion, found: Sequence[Change]) -> dict[str, Any]:
    """A version as values for JSON."""
    return {
        "connection": version.connection,
        "version": version.number,
        "digest": version.digest.hex(),
        "seen_at": version.seen_at.isoformat(),
        "principal": version.principal,
        "record": version.record,
        "receipt": version.receipt,
        "authors": [asdict(author) for author in version.authors],
        "is_searched": version.is_searched,
        "changes": [asdict(change) for change in found],
    }


# ---------------------------------------------------------------- datasets


def readers(session: Session, connection: str, table: str) -> Iterator[tuple[int, str]]:
    """The versions of datasets that read a table and have other columns than the one before.

    Yields:
        The record of the first delivery, and words.
    """
    names = dict.fromkeys(delivery.name for delivery in session.deliveries())
    for name in names:
        for step, before in pairwise(steps_of(session, name)):
            old, new = before.version, step.version
            if new.connection != connection or not is_reader(step, table):
                continue
            told = "; ".join(schema_changes(old, new))
            if told:
                words = f"{name}@v{new.version_id[:SHORT]} has other columns from here on: {told}"
                yield step.deliveries[-1].record, words


def is_reader(step: Step, table: str) -> bool:
    """Whether a dataset version shows rows or columns of a table."""
    version = step.version
    shows = {origin.rpartition(".")[0] for found in version.origins.values() for origin in found}
    read = {source.table for delivery in step.deliveries for source in delivery.sources}
    return table in {*version.tables, *read} or f"{version.connection}.{table}" in shows


def is_under(record: int, version: CatalogVersion, versions: Sequence[CatalogVersion]) -> bool:
    """Whether a version was the newest one when an entry was written."""
    known = [one.number for one in versions if one.record < record]
    return bool(known) and known[0] == version.number

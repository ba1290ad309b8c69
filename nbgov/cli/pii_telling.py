"""What ``nbgov scan`` and ``nbgov mask`` tell: places, entities and numbers, and never a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbgov.core.checks import counted
from nbgov.errors import NbgovError

if TYPE_CHECKING:
    from nbgov.pii.copying import Copy
    from nbgov.pii.files import Source
    from nbgov.pii.tally import FileReport, Question, Tally

PLACE_CHARS_MAX = 48
LINED = frozenset({"html", "jsonl", "notebook", "run", "text"})
SHARED = frozenset({"csv", "json", "jsonl", "parquet"})
COPIED = frozenset({"csv", "jsonl", "parquet"})


def file_lines(report: FileReport) -> Iterator[str]:
    """The report of one file, with a blank line after it."""
    yield f"{shown(report.source.name)}  {size(report)}".rstrip()
    if report.found:
        rows = [["place", "entity", "values", "share", "score", f"first {unit_of(report)}s"]]
        for (place, entity), tally in ordered(report):
            share = f"{100 * tally.values / max(1, report.places[place]):.1f} %"
            numbers = ", ".join(f"{number:,}" for number in tally.numbers)
            score = f"{tally.score_max:.2f}"
            rows.append([fitted(shown(place)), entity, f"{tally.values:,}", share, score, numbers])
        if report.source.format not in SHARED:
            rows = [row[:3] + row[4:] for row in rows]
        yield from (f"  {line}" for line in table(rows, right={2, 3, len(rows[0]) - 2}))
    elif report.error is None:
        yield "  nothing found"
    for kind, count in sorted(report.skipped.items()):
        yield f"  not scanned: {shown(kind)} ({count:,})"
    if report.error is not None:
        yield "  NOT READ TO ITS END" if report.rows else "  NOT READ"
        yield from (f"  {line}" for line in report.error.lines()[1:])
    yield ""


def ordered(report: FileReport) -> list[tuple[tuple[str, str], Tally]]:
    """What was found, in the order of the places in the file."""
    places = {place: position for position, place in enumerate(report.places)}
    return sorted(report.found.items(), key=lambda each: (places[each[0][0]], each[0][1]))


def size(report: FileReport) -> str:
    """How much was read."""
    if not report.rows:
        return "(empty)" if report.is_clean else ""
    if report.source.format in {"json", "notebook", "run"}:
        return ""
    return f"({counted(report.rows, unit_of(report))})"


def unit_of(report: FileReport) -> str:
    """What the numbers of a report count."""
    return "line" if report.source.format in LINED else "row"


def summary_lines(reports: Sequence[FileReport], passed: Counter[str]) -> Iterator[str]:
    """What all files come to, and what to do next."""
    found = [report for report in reports if report.found]
    unread = [report for report in reports if report.error is not None]
    if passed:
        kinds = ", ".join(f"{shown(kind)} ({count:,})" for kind, count in sorted(passed.items()))
        yield f"Not read, as they are of no known kind: {kinds}."
    totals: Counter[str] = Counter()
    for report in found:
        for (_, entity), tally in report.found.items():
            totals[entity] += tally.values
    files = counted(len(reports), "file")
    if found:
        counts = ", ".join(f"{entity} {count:,}" for entity, count in totals.most_common())
        yield f"Found in {len(found):,} of {files}: {counts}."
    elif not unread:
        yield f"Nothing was found in {files}."
    if unread:
        yield f"{len(unread):,} of {files} could not be read to the end, and may hold anything."
    yield from next_lines(found)


def next_lines(found: Sequence[FileReport]) -> Iterator[str]:
    """What to do about what was found."""
    copied = [r for r in found if r.source.format in COPIED and r.source.path is not None]
    if copied:
        name = copied[0].source.name
        stem, dot, suffix = name.rpartition(".")
        yield f"next  nbgov mask {shown(name)} {shown(stem)}.masked{dot}{shown(suffix)}"
    elif found:
        yield "next  clear it where it comes from: the outputs of cells, or the table behind them"


def to_json(
    reports: Sequence[FileReport], passed: Counter[str], question: Question
) -> dict[str, Any]:
    """Everything that the text says, as JSON holds it."""
    return {
        "entities": list(question.entities),
        "score_min": question.score_min,
        "files": [file_json(report) for report in reports],
        "not_read": dict(sorted(passed.items())),
        "found": any(report.found for report in reports),
        "complete": bool(reports) and all(report.error is None for report in reports),
    }


def file_json(report: FileReport) -> dict[str, Any]:
    """The report of one file as JSON holds it."""
    unit = f"{unit_of(report)}s"
    return {
        "file": report.source.name,
        "format": report.source.format,
        "rows": report.rows,
        "places": [
            {
                "place": place,
                "entity": entity,
                "values": tally.values,
                "values_read": report.places[place],
                "score_max": round(tally.score_max, 4),
                unit: tally.numbers,
            }
            for (place, entity), tally in ordered(report)
        ],
        "not_scanned": dict(sorted(report.skipped.items())),
        "error": None if report.error is None else error_json(report.error),
    }


def error_json(error: NbgovError) -> dict[str, str]:
    """An error as JSON holds it."""
    return {"code": error.code, "what": error.what, "why": error.why, "next": error.next_step}


def copy_lines(source: Source, out: str, copy: Copy) -> Iterator[str]:
    """What was masked, by column and entity."""
    name = "standard output" if out == "-" else out
    yield f"{shown(source.name)} -> {shown(name)}  ({counted(copy.rows, 'row')})"
    rows = [["column", "", "values masked"]]
    for entry in copy.columns:
        counts = ", ".join(f"{entity} {count:,}" for entity, count in entry["entities"].items())
        rows.append([fitted(shown(entry["column"])), treated(entry), counts])
    yield from (f"  {line}" for line in table(rows, right=set()))


def treated(entry: Mapping[str, Any]) -> str:
    """What happened to a column, in a few words."""
    why = f" ({entry['why']})" if entry["why"] else ""
    match entry["how"]:
        case "masked":
            return f"masked whole: {entry['operator']}{why}"
        case "redacted":
            return f"REDACTED, as it could not be scanned{why}"
        case how:
            return f"{how}{why}"


def table(rows: Sequence[Sequence[str]], *, right: set[int]) -> Iterator[str]:
    """Rows in columns; those that are named stand at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def fitted(text: str) -> str:
    """A text that fits its column."""
    return text if len(text) <= PLACE_CHARS_MAX else f"{text[: PLACE_CHARS_MAX - 1]}…"


def shown(text: str) -> str:
    """A name that a terminal can show."""
    # Security: names come out of files, and may hold what moves the cursor or changes the screen.
    return "".join(c if c.isprintable() else "�" for c in text)

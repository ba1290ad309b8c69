"""Entries of the audit log, as text for terminals and as HTML for notebooks.

Both are made of the same lines and facts, so that both say the same. Texts of an entry come from
whoever asked, so all of them are shown safely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from nbgov.core.audit.entry import write_record
from nbgov.core.audit.lines import HEADS, groups, line_of, mood, receipt_of
from nbgov.core.audit.query import Query
from nbgov.core.checks import counted_entries
from nbgov.core.visible import cells_wide, cut, safe, visible
from nbgov.evidence.search import Found, cover, quiet, related
from nbgov.evidence.tailing import beginning
from nbgov.shown.grids import grid_cell, wrapped_html
from nbgov.shown.render import pad, title_html

if TYPE_CHECKING:
    from nbgov.session import Session

WIDTH = 100
CELL_CHARS_MAX = 30
ABOUT_CHARS_MIN = 24
TIME, ON, HOW, ABOUT = (HEADS.index(name) for name in ("time (UTC)", "on", "how", "about"))
DAY_AND_MINUTE = slice(5, 16)
NARROW = 14
# What columns are wide at least where entries are still to come.
ROOM = (6, 19, 14, 8, 10, 16, 0)
MARKS = {"good": "nbgov-good", "bad": "nbgov-bad", "open": "nbgov-open", "": "nbgov-quiet"}


class Layout:
    """The columns of a list of entries, made to fit a width.

    What the terminal is too narrow for goes in this order: the date, the connection, the ends of
    long names. The last column gets the space that is left.

    Args:
        lines: The entries, as :func:`~nbgov.core.audit.lines.line_of` tells of them.
        width: Terminal cells in a line.
        is_open: Whether more entries will come.
    """

    def __init__(
        self, lines: Sequence[Sequence[str]], width: int = WIDTH, *, is_open: bool = False
    ) -> None:
        self.width = width
        self.columns = list(range(len(HEADS)))
        self.cell_chars_max = CELL_CHARS_MAX
        self.has_date = True
        self.fit(lines, is_open=is_open)
        if self.left < ABOUT_CHARS_MIN:
            self.has_date = False
            self.fit(lines, is_open=is_open)
        if self.left < ABOUT_CHARS_MIN:
            self.columns.remove(ON)
            self.fit(lines, is_open=is_open)
        if self.left < ABOUT_CHARS_MIN:
            self.cell_chars_max = NARROW
            self.fit(lines, is_open=is_open)

    def fit(self, lines: Sequence[Sequence[str]], *, is_open: bool) -> None:
        """Make each column as wide as what is in it, and see what is left for the last one."""
        rows = [self.cells(line) for line in (HEADS, *lines)]
        room = [min(ROOM[n], self.cell_chars_max) if is_open else 0 for n in self.columns]
        if not self.has_date:
            room[TIME] = 0
        self.wide = [
            max(least, *map(cells_wide, column))
            for least, column in zip(room, zip(*rows, strict=True), strict=True)
        ]
        self.left = self.width - sum(self.wide[:-1]) - 2 * len(self.wide[:-1])

    def cells(self, line: Sequence[str]) -> list[str]:
        """The cells that are shown of a line; the last one is whole."""
        cells = [cut(visible(line[n]), self.cell_chars_max) for n in self.columns[:-1]]
        if not self.has_date and line[TIME][:1].isdigit():
            cells[TIME] = line[TIME][DAY_AND_MINUTE]
        return [*cells, visible(line[ABOUT])]

    def text(self, line: Sequence[str]) -> str:
        """One line of the list."""
        *cells, last = self.cells(line)
        room = max(self.left, 8)
        padded = [
            pad(c, max(w, cells_wide(c)), to_right=False)
            for c, w in zip(cells, self.wide, strict=False)
        ]
        return "  ".join([*padded, cut(last, room)]).rstrip()

    def heading(self) -> list[str]:
        """The names of the columns, and the rule below them."""
        rule = [
            *("-" * wide for wide in self.wide[:-1]),
            "-" * min(self.wide[-1], max(self.left, 8)),
        ]
        return [self.text(HEADS), "  ".join(rule)]


def lines_of(found: Iterable[Found]) -> list[tuple[str, ...]]:
    """Entries as lines."""
    return [line_of(one.entry, one.record) for one in found]


def folded(found: Iterable[Found], limit: int | None) -> list[Found]:
    """Entries for people: an attempt is left out where the entry that closes it is shown."""
    kept: dict[int, Found] = {}
    closed: set[int] = set()
    for one in found:
        attempt = one.entry.record.attempt
        if one.entry.index in closed:
            continue
        if attempt is not None:
            closed.add(attempt)
            kept.pop(attempt, None)
        kept[one.entry.index] = one
        if limit is not None and len(kept) >= limit:
            break
    return list(kept.values())


def list_text(found: Sequence[Found], foot: str, *, width: int = WIDTH) -> str:
    """A list of entries as text."""
    lines = lines_of(found)
    layout = Layout(lines, width)
    return "\n".join([*layout.heading(), *map(layout.text, lines), foot])


def list_html(found: Sequence[Found], foot: str) -> str:
    """A list of entries as HTML."""
    rows = []
    for one in found:
        cells = [grid_cell(text) for text in line_of(one.entry, one.record)]
        cells[HOW] = f"<td>{mark(line_of(one.entry, one.record)[HOW], one)}</td>"
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{safe(name)}</th>" for name in HEADS)
    body = "\n".join(rows)
    return wrapped_html(
        "",
        f'<div class="nbgov-scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
        f'<div class="nbgov-foot"><small>{safe(foot)}</small></div>',
    )


def mark(text: str, found: Found) -> str:
    """How an entry went, as a badge."""
    return f'<mark class="{MARKS[mood(found.record)]}">{safe(cut(text))}</mark>' if text else ""


# ---------------------------------------------------------------- one entry


class Card:
    """Everything about one entry.

    Args:
        found: The entry.
        others: The other entries about its request.
        standing: Labelled facts about what covers it.
    """

    def __init__(
        self, found: Found, others: Sequence[Found], standing: Sequence[tuple[str, str]]
    ) -> None:
        entry, record = found.entry, found.record
        self.found = found
        self.title = f"Entry {entry.index} of {entry.origin}"
        line = dict(zip(HEADS, line_of(entry, record), strict=True))
        self.how = line["how"]
        chain = [
            ("receipt", str(receipt_of(entry))),
            ("digest", entry.digest.hex()),
            ("before it", entry.prev_digest.hex()),
            *standing,
        ]
        self.groups: dict[str, list[tuple[str, str]]] = {
            "": [("time", f"{line['time (UTC)']} UTC"), *links(found, others)],
            **groups(record),
            "chain": chain,
        }

    def text(self) -> str:
        """The card as text."""
        labels = [label for facts in self.groups.values() for label, _ in facts]
        wide = max(map(len, labels))
        parts = [visible(f"{self.title}: {self.how}" if self.how else self.title)]
        for group, facts in self.groups.items():
            parts += [group] if group else []
            parts += [f"  {label:{wide}}  {visible(fact)}" for label, fact in facts]
        return "\n".join(parts)

    def html(self) -> str:
        """The card as HTML."""
        badge = f" {mark(self.how, self.found)}"
        rows = []
        for group, facts in self.groups.items():
            if group:
                rows.append(f'<tr><td colspan="2"><strong>{safe(group)}</strong></td></tr>')
            rows += [
                f"<tr><th>{safe(label)}</th><td>{safe(fact)}</td></tr>" for label, fact in facts
            ]
        body = "\n".join(rows)
        table = f'<table class="nbgov-facts"><tbody>\n{body}\n</tbody></table>\n'
        return wrapped_html("", title_html(self.title, badge) + table)


def links(found: Found, others: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """The entries that belong to an entry, by their numbers."""
    own = found.entry
    for other in (one.entry for one in others):
        kind = other.record.kind.value
        is_close = other.record.attempt == own.index or own.record.attempt == other.index
        told = [str(other.index), "" if is_close else kind, other.record.status or ""]
        yield kind if is_close else "same request", ", ".join(filter(None, told))


def data_of(found: Found) -> Mapping[str, Any]:
    """An entry as values for JSON: its record as the log holds it, and that of its attempt."""
    entry = found.entry
    data: dict[str, Any] = {
        "index": entry.index,
        "receipt": str(receipt_of(entry)),
        "prev": entry.prev_digest.hex(),
        "record": write_record(entry.record),
    }
    if found.attempt is not None:
        data["attempt"] = write_record(found.attempt)
    return data


# ---------------------------------------------------------------- of a session's log


def card_of(
    session: Session,
    found: Found,
    *,
    told: Callable[[int], None] = quiet,
    remark: Callable[[str], None] = quiet,
) -> Card:
    """The card of an entry, with what belongs to it and what covers it."""
    others = related(session, found, told=told, remark=remark)
    return Card(found, others, cover(session, found.entry))


def list_foot(session: Session, query: Query, found: Sequence[Found], limit: int) -> str:
    """What stands below a list: how much of it is shown, or what was looked for in vain."""
    asked = str(query)
    if found:
        order = "oldest" if query.oldest_first else "newest"
        more = f"; the {order} of them, more with --limit" if len(found) >= limit else ""
        return f"{counted_entries(len(found))}{': ' if asked else ''}{asked}{more}"
    first = beginning(session)
    if first is None:
        return "The audit log has no entry yet."
    begun = f"{first.record.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    size = session.world.index.count(Query())
    return f"No entry has {asked}. The log has {size:,} entries and begins at {begun}."

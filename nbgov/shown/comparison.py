"""A few rows that a statement is about, before and after it, in one table.

A cell that would change shows both values with an arrow between them, so that the change is read
and not only seen. Values are what the policy lets the reader see. Cases are in
``tests/surfaces/test_tickets.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbgov.core.checks import counted
from nbgov.core.visible import cells_wide, cut, safe, visible
from nbgov.shown.cells import is_number, texts
from nbgov.shown.render import TEXT_CELL_CHARS_MAX, mask_text, pad

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.session.samples import Sample

ARROW = "→"
NULL = "NULL"
COLUMNS_MAX = 24
ROWS_MAX = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell holds, and what it would hold; ``None`` is a missing value."""

    before: str | None
    after: str | None
    is_changed: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: its name, whether it is changed, its mask, and its cells."""

    name: str
    is_changed: bool
    mask: str
    is_number: bool
    cells: tuple[Cell, ...]


def columns(sample: Sample) -> tuple[Column, ...]:
    """The columns of a sample; where there is no row before or after, nothing has changed."""
    shown = sample.before if sample.before is not None else sample.after
    if shown is None:
        return ()
    other = sample.after if sample.before is not None else None
    is_paired = (
        other is not None
        and other.num_rows == shown.num_rows
        and other.column_names == shown.column_names
    )
    shown = shown.slice(0, ROWS_MAX)
    found = []
    for place, field in enumerate(list(shown.schema)[:COLUMNS_MAX]):
        before = shown.column(place)
        after = before if other is None or not is_paired else other.slice(0, ROWS_MAX).column(place)
        found.append(
            Column(
                field.name,
                is_paired and field.name in sample.columns_changed,
                sample.masked.get(field.name, ""),
                is_number(field.type),
                cells(before, after),
            )
        )
    return tuple(found)


def cells(before: pa.ChunkedArray, after: pa.ChunkedArray) -> tuple[Cell, ...]:
    """The cells of one column."""
    pairs = zip(texts(before), texts(after), before, after, strict=True)
    # A long text may differ behind what is shown of it; what reads alike in full is the same.
    return tuple(
        Cell(old, new, old != new or (is_long(old) and not first.equals(second)))
        for old, new, first, second in pairs
    )


def is_long(text: str | None) -> bool:
    """Whether a text goes on behind what a cell shows."""
    return text is not None and cut(text) != text


def title(sample: Sample, verb: str) -> str:
    """What the rows are."""
    if sample.before is None:
        return "Rows that it would add"
    if sample.after is not None:
        return "Rows before and after"
    return "Rows that it would delete" if verb == "DELETE" else "Rows that it would read"


def remarks(sample: Sample) -> list[str]:
    """What has to be said about the rows."""
    shown = sample.before if sample.before is not None else sample.after
    said = []
    if shown is None:
        return [f"No sample: {sample.why or 'the statement is about no rows'}."]
    if sample.is_truncated:
        said.append(f"The first {counted(min(shown.num_rows, ROWS_MAX), 'row')}; there are more.")
    elif not shown.num_rows:
        said.append("There are no such rows now.")
    if shown.num_columns > COLUMNS_MAX:
        said.append(f"{counted(shown.num_columns - COLUMNS_MAX, 'more column')}.")
    if sample.masked:
        masks = ", ".join(f"{name}: {mask_text(mask)}" for name, mask in sample.masked.items())
        said.append(f"Masked for you: {masks}. Masked values may look alike and differ.")
    if sample.why:
        said.append(f"Not everything is shown: {sample.why}.")
    said.append("Read just now, in your own session; nothing of it is kept.")
    return said


def sample_html(sample: Sample, verb: str) -> str:
    """The rows as HTML, with a title."""
    said = f'<div class="nbgov-foot"><small>{safe(" ".join(remarks(sample)))}</small></div>\n'
    table = columns(sample)
    if not table:
        return said
    head = "".join(head_html(column) for column in table)
    rows = "\n".join(
        f"<tr>{''.join(map(cell_html, table, row))}</tr>"
        for row in zip(*(column.cells for column in table), strict=True)
    )
    return (
        f'<div class="nbgov-scroll"><table class="nbgov-sample">\n'
        f"<caption>{title(sample, verb)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n{said}"
    )


def head_html(column: Column) -> str:
    """The head of a column, with badges."""
    badges = [badge for badge in ("changed" if column.is_changed else "", column.mask) if badge]
    shown = "".join(f" <mark>{safe(badge.partition(' ')[0])}</mark>" for badge in badges)
    kind = ' class="nbgov-number"' if column.is_number else ""
    return f'<th scope="col"{kind}>{safe(cut(column.name))}{shown}</th>'


def cell_html(column: Column, cell: Cell) -> str:
    """One cell; both values and an arrow where it changes."""
    kind = ' class="nbgov-number"' if column.is_number else ""
    if not cell.is_changed:
        return f"<td{kind}>{value_html(cell.before)}</td>"
    return (
        f"<td{kind}><del>{value_html(cell.before)}</del> {ARROW} "
        f"<ins>{value_html(cell.after)}</ins></td>"
    )


def value_html(text: str | None) -> str:
    """A value; a missing one is set apart from a text that reads the same."""
    return f'<em class="nbgov-null">{NULL}</em>' if text is None else safe(cut(text))


def sample_lines(sample: Sample, verb: str) -> list[str]:
    """The rows as lines of an aligned table, with a title and what has to be said."""
    table = columns(sample)
    said = [f"  {visible(remark)}" for remark in remarks(sample)]
    if not table:
        return said
    blocks = [text_block(column) for column in table]
    rows = ("  ".join(parts).rstrip() for parts in zip(*blocks, strict=True))
    return [title(sample, verb), *(f"  {row}" for row in rows), *said]


def text_block(column: Column) -> list[str]:
    """One column of the text form, padded to one width."""
    badges = [badge for badge in ("changed" if column.is_changed else "", column.mask) if badge]
    shown = "".join(f" [{badge.partition(' ')[0]}]" for badge in badges)
    head = visible(cut(column.name, TEXT_CELL_CHARS_MAX)) + visible(shown)
    body = [cell_text(cell) for cell in column.cells]
    width = max(map(cells_wide, (head, *body)))
    padded = [pad(text, width, to_right=column.is_number) for text in (head, *body)]
    return [padded[0], "-" * width, *padded[1:]]


def cell_text(cell: Cell) -> str:
    """One cell as text."""
    values: Sequence[str | None] = (cell.before, cell.after) if cell.is_changed else (cell.before,)
    return f" {ARROW} ".join(
        NULL if text is None else visible(cut(text, TEXT_CELL_CHARS_MAX)) for text in values
    )

"""Tables of texts and numbers, as text for terminals and as HTML for notebooks.

Texts may come from strangers: names, statements, policies. All of them are shown safely.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from nbgov.core.visible import cells_wide, cut, safe, visible
from nbgov.shown.render import STYLE, TEXT_CELL_CHARS_MAX, TEXT_WIDTH_MAX, pad, title_html


def wrapped_html(title: str, body: str) -> str:
    """A title over HTML that is safe already."""
    head = title_html(title) if title else ""
    return f'<div class="nbgov">{STYLE}\n{head}{body}</div>'


def grid_html(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str | int]],
    *,
    is_wrapped: bool = False,
) -> str:
    """A table of texts as HTML; arguments as :func:`grid_text`, with a title of its own."""
    columns = filled_columns(heads, rows)
    head = "".join(f"<th>{safe(name)}</th>" for name, _ in columns)
    cells = [[grid_cell(value) for value in values] for _, values in columns]
    if is_wrapped:
        cells[-1] = [f'<td class="nbgov-long">{safe(str(value))}</td>' for value in columns[-1][1]]
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True))
    caption = title_html(title) if title else ""
    return (
        f'<div class="nbgov-foot">{caption}<div class="nbgov-scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></div>\n"
    )


def grid_cell(value: str | int) -> str:
    """One cell of a table of texts."""
    if isinstance(value, int):
        return f'<td class="nbgov-number">{value:,}</td>'
    return f'<td title="{safe(value)}">{safe(cut(value))}</td>'


def filled_columns(
    heads: Sequence[str], rows: Sequence[Sequence[str | int]]
) -> list[tuple[str, tuple[str | int, ...]]]:
    """The columns of a table, head and cells, without those that hold nothing."""
    columns = zip(heads, zip(*rows, strict=True), strict=True)
    return [(head, values) for head, values in columns if any(value != "" for value in values)]


def grid_text(
    heads: Sequence[str],
    rows: Sequence[Sequence[str | int]],
    *,
    width: int = TEXT_WIDTH_MAX,
    is_wrapped: bool = False,
) -> str:
    """A table of texts, aligned; empty columns go, and the last one gets the space that is left.

    With ``is_wrapped`` the texts of the last column go on in the next line; otherwise they are cut.

    Example:
        >>> print(grid_text(("name", "rows", "by"), [("train", 1200, "ada"), ("test", 9, "bo")]))
        name    rows  by
        -----  -----  ---
        train  1,200  ada
        test       9  bo
    """
    columns = filled_columns(heads, rows)
    lines: list[list[str]] = [[] for _ in rows]
    used, heading, rule = 0, [], []
    for place, (head, values) in enumerate(columns):
        is_last = place == len(columns) - 1
        room = max(width - used if is_last else 0, TEXT_CELL_CHARS_MAX)
        whole = [f"{value:,}" if isinstance(value, int) else visible(value) for value in values]
        cells = [
            wrap(text, room) or [""] if is_last and is_wrapped else [cut(text, room)]
            for text in whole
        ]
        wide = max(cells_wide(text) for text in (head, *(line for cell in cells for line in cell)))
        is_right = all(isinstance(value, int) for value in values)
        heading.append(pad(head, wide, to_right=is_right))
        rule.append("-" * wide)
        for line, cell in zip(lines, cells, strict=True):
            joint = f"\n{' ' * used}"
            line.append(joint.join(pad(text, wide, to_right=is_right) for text in cell))
        used += wide + 2
    text = "\n".join("  ".join(cells) for cells in (heading, rule, *lines))
    return "\n".join(line.rstrip() for line in text.split("\n"))

"""HTML and text of what a person is shown: first rows of a result, and facts.

Everything shown here may come from an attacker: cell values, column names, SQL. So every string
passes through ``safe`` or ``visible`` of :mod:`nbgov.core.visible`, and no output has a link, a
script, an event handler or anything loaded from elsewhere. Equal values give equal bytes: no
counters of this process and no durations, so that notebooks compare equal from run to run.

The module knows neither IPython nor widgets; the command line uses the text forms too. Cases are in
``tests/surfaces/test_render.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from nbgov.core.checks import counted
from nbgov.core.visible import cells_wide, cut, safe, visible
from nbgov.shown.cells import is_number, texts

if TYPE_CHECKING:
    import pyarrow as pa


ROWS_SHOWN_MAX = 20
COLUMNS_SHOWN_MAX = 100
TEXT_CELL_CHARS_MAX = 32
TEXT_WIDTH_MAX = 100

# A front end that does not trust a notebook drops this; the tags below it carry the meaning then.
# The doubled class outweighs JupyterLab's own rules for tables in outputs.
RULES = """.nbgov { color: var(--jp-content-font-color1, inherit);
  font-family: var(--jp-ui-font-family, inherit);
  font-size: var(--jp-ui-font-size1, 13px); line-height: 1.45; }
.nbgov .nbgov-scroll { overflow-x: auto; }
.nbgov.nbgov table { border-collapse: collapse; font-size: inherit; margin: 0; table-layout: auto; }
.nbgov.nbgov tbody tr { background: none; }
.nbgov.nbgov th, .nbgov.nbgov td { max-width: 32em; overflow: hidden; padding: 0.3em 0.7em;
  text-align: left; text-overflow: ellipsis; vertical-align: top; white-space: pre; }
.nbgov.nbgov thead th { border-bottom: 1px solid var(--jp-border-color1, #8888);
  vertical-align: bottom; }
.nbgov.nbgov .nbgov-number { font-variant-numeric: tabular-nums; text-align: right; }
.nbgov small { font-size: var(--jp-ui-font-size0, 11px); }
.nbgov small, .nbgov .nbgov-null, .nbgov.nbgov .nbgov-facts th {
  color: var(--jp-content-font-color2, inherit); font-weight: normal; }
.nbgov .nbgov-foot, .nbgov .nbgov-part { margin-top: 0.5em; }
.nbgov mark { background: none; border: 1px solid var(--jp-warn-color1, #b26a00);
  border-radius: 0.7em; color: var(--jp-content-font-color1, inherit);
  font-size: var(--jp-ui-font-size0, 11px);
  font-weight: normal; padding: 0 0.5em; white-space: nowrap; }
.nbgov mark.nbgov-good { border-color: var(--jp-success-color1, #2e7d32); }
.nbgov mark.nbgov-bad { border-color: var(--jp-error-color1, #c62828); }
.nbgov mark.nbgov-quiet { border-color: var(--jp-border-color1, #8888); }
.nbgov .nbgov-title { margin-bottom: 0.4em; }
.nbgov.nbgov p { margin: 0 0 0.4em; }
.nbgov.nbgov .nbgov-facts th, .nbgov.nbgov .nbgov-facts td {
  padding-bottom: 0.1em; padding-top: 0.1em; }
.nbgov.nbgov .nbgov-facts th { padding-left: 0; }
.nbgov.nbgov .nbgov-facts td { max-width: none; overflow-wrap: anywhere; white-space: pre-wrap; }
.nbgov.nbgov td.nbgov-long { max-width: 48em; overflow-wrap: anywhere; white-space: pre-wrap; }
.nbgov.nbgov pre.nbgov-sql { background: var(--jp-layout-color1, #8881);
  border: 1px solid var(--jp-border-color2, #8884); color: inherit;
  font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px);
  line-height: 1.5; margin: 0.4em 0; overflow-wrap: anywhere; padding: 0.6em;
  white-space: break-spaces; }
.nbgov pre.nbgov-sql mark, .nbgov .nbgov-legend mark { border: 0; border-radius: 0;
  font-size: inherit; padding: 0; white-space: inherit; }
.nbgov.nbgov mark.nbgov-read { text-decoration: underline dotted; text-underline-offset: 0.25em; }
.nbgov.nbgov mark.nbgov-changed { background: #e8940033; font-weight: bold;
  text-decoration: underline; text-underline-offset: 0.25em; }
.nbgov.nbgov mark.nbgov-odd { border: 2px solid var(--jp-error-color1, #c62828); }
.nbgov .nbgov-warning { border: 1px solid var(--jp-error-color1, #c62828); border-left-width: 5px;
  margin: 0.4em 0; padding: 0.4em 0.8em; }
.nbgov.nbgov .nbgov-warning ul { margin: 0; padding-left: 1.4em; }
.nbgov.nbgov .nbgov-sample td { overflow-wrap: anywhere; white-space: pre-wrap; }
.nbgov.nbgov caption { caption-side: top; font-weight: bold; padding: 0.5em 0 0.2em;
  text-align: left; white-space: nowrap; }
.nbgov.nbgov td del, .nbgov.nbgov td ins { background: #e8940033; padding: 0 0.2em; }
.nbgov.nbgov del *, .nbgov.nbgov ins * { color: inherit; }
.nbgov.nbgov td ins { font-weight: bold; text-decoration: underline; }
"""
STYLE = f"<style>\n{RULES}</style>"


# ---------------------------------------------------------------- a result's first rows


def preview_html(
    table: pa.Table,
    masked: Mapping[str, str],
    *,
    rows_read: int,
    is_truncated: bool,
    entities: Mapping[str, int] | None = None,
) -> str:
    """The first rows of a result as an HTML table with types and mask badges.

    Args:
        table: The delivered rows, or at least the first :data:`ROWS_SHOWN_MAX` of them.
        masked: Result column to mask, such as ``{"email": "redact pii.email"}``.
        rows_read: Rows of the whole result.
        is_truncated: Whether a row limit ended the result.
        entities: How many texts each kind of entity was replaced in, in columns without a badge.
    """
    shown = table.slice(0, ROWS_SHOWN_MAX)
    fields = list(shown.schema)[:COLUMNS_SHOWN_MAX]
    columns = [
        cells_html(texts(column), is_number=is_number(column.type))
        for column in shown.columns[: len(fields)]
    ]
    head = "".join(header_html(f.name, f.type, masked.get(f.name, "")) for f in fields)
    if len(fields) < table.num_columns:
        head += f"<th>… {counted(table.num_columns - len(fields), 'more column')}</th>"
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in zip(*columns, strict=True))
    foot = footer(shown.num_rows, rows_read, table.num_columns, is_truncated=is_truncated)
    found = f"<br>{safe(entities_text(entities))}" if entities else ""
    return (
        f'<div class="nbgov">{STYLE}\n<div class="nbgov-scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
        f'<div class="nbgov-foot"><small>{safe(foot)}{found}</small></div></div>'
    )


def header_html(name: str, kind: pa.DataType, mask: str) -> str:
    """One column's head: its name, a badge if it is masked, its type."""
    badge = ""
    if mask:
        short, _, tag = mask.partition(" ")
        tip = f"Masked before delivery: {short}" + (f" (tag {tag})" if tag else "")
        badge = f' <mark title="{safe(tip)}">{safe(short)}</mark>'
    number = ' class="nbgov-number"' if is_number(kind) else ""
    label = safe(cut(name))
    type_name = f"<br><small>{safe(cut(str(kind)))}</small>"
    return f"<th{number}>{label}{badge}{type_name}</th>"


def cells_html(values: Iterable[str | None], *, is_number: bool) -> list[str]:
    """One column's cells."""
    opening = '<td class="nbgov-number">' if is_number else "<td>"
    null = '<em class="nbgov-null">NULL</em>'
    return [f"{opening}{null if text is None else safe(cut(text))}</td>" for text in values]


def preview_text(
    table: pa.Table,
    masked: Mapping[str, str],
    *,
    rows_read: int,
    is_truncated: bool,
    entities: Mapping[str, int] | None = None,
) -> str:
    """The first rows of a result as an aligned text table; arguments as :func:`preview_html`.

    Example:
        >>> import pyarrow as pa
        >>> table = pa.table({"carrier": ["UA", None], "email": ["[EMAIL]", "[EMAIL]"]})
        >>> masked = {"email": "redact pii.email"}
        >>> print(preview_text(table, masked, rows_read=2, is_truncated=False))
        carrier  email
        string   string [redact]
        -------  ---------------
        UA       [EMAIL]
        NULL     [EMAIL]
        2 rows, 2 columns
        masked  email: redact (pii.email)
    """
    shown = table.slice(0, ROWS_SHOWN_MAX)
    blocks: list[list[str]] = []
    width = 0
    for field, column in zip(shown.schema, shown.columns, strict=True):
        block = text_block(field, column, masked.get(field.name, ""))
        width += cells_wide(block[0]) + 2
        if blocks and width > TEXT_WIDTH_MAX:
            blocks.append(["…", *[""] * (len(block) - 1)])
            break
        blocks.append(block)
    lines = ["  ".join(cells).rstrip() for cells in zip(*blocks, strict=True)]
    lines.append(footer(shown.num_rows, rows_read, table.num_columns, is_truncated=is_truncated))
    if masks := [f"{name}: {mask_text(mask)}" for name, mask in masked.items()]:
        lines.append(f"masked  {', '.join(visible(mask) for mask in masks)}")
    if entities:
        lines.append(entities_text(entities))
    return "\n".join(lines)


def text_block(field: pa.Field, column: pa.ChunkedArray, mask: str) -> list[str]:
    """One column of the text table: name, type, rule and cells, padded to one width."""
    badge = f" [{mask.partition(' ')[0]}]" if mask else ""
    kind = cut(str(field.type), TEXT_CELL_CHARS_MAX - len(badge)) + badge
    values = ["NULL" if text is None else text for text in texts(column)]
    cells = [visible(cut(text, TEXT_CELL_CHARS_MAX)) for text in (field.name, kind, *values)]
    width = max(map(cells_wide, cells))
    padded = [pad(cell, width, to_right=is_number(field.type)) for cell in cells]
    return [*padded[:2], "-" * width, *padded[2:]]


def pad(text: str, width: int, *, to_right: bool) -> str:
    """The text filled with spaces to a width in terminal cells."""
    space = " " * (width - cells_wide(text))
    return space + text if to_right else text + space


def mask_text(mask: str) -> str:
    """A mask such as ``redact pii.email`` as a person reads it."""
    short, _, tag = mask.partition(" ")
    return f"{short} ({tag})" if tag else short


def footer(rows_shown: int, rows_read: int, columns: int, *, is_truncated: bool) -> str:
    """How much of the result is shown, and whether a row limit ended it."""
    rows = counted(rows_read, "row")
    part = f"{rows_shown} of {rows}" if rows_shown < rows_read else rows
    limit = "; truncated by row limit" if is_truncated else ""
    return f"{part}, {counted(columns, 'column')}{limit}"


def entities_text(entities: Mapping[str, int]) -> str:
    """What was found in text and replaced."""
    return f"replaced in text: {', '.join(f'{name} {n:,}' for name, n in sorted(entities.items()))}"


# ---------------------------------------------------------------- facts


def facts_html(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """A title and labelled facts as HTML."""
    return f'<div class="nbgov">{STYLE}\n{title_html(title)}{rows_html(facts)}</div>'


def facts_text(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """A title and labelled facts as text.

    >>> print(facts_text("Session", [("principal", "ada@acme.test"), ("mode", "advisory")]))
    Session
      principal  ada@acme.test
      mode       advisory
    """
    width = max((len(label) for label, _ in facts), default=0)
    rows = [f"  {visible(label):{width}}  {visible(fact)}" for label, fact in facts]
    return "\n".join([visible(title), *rows])


def title_html(title: str, badge: str = "") -> str:
    """A heading line; ``badge`` is HTML."""
    return f'<div class="nbgov-title"><strong>{safe(title)}</strong>{badge}</div>\n'


def rows_html(facts: Sequence[tuple[str, str]]) -> str:
    """Labelled facts as a table."""
    rows = "\n".join(
        f'<tr><th scope="row">{safe(label)}</th><td>{safe(fact)}</td></tr>' for label, fact in facts
    )
    return f'<table class="nbgov-facts"><tbody>\n{rows}\n</tbody></table>\n'

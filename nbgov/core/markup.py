"""HTML and SVG as values: text that was escaped cannot be mistaken for text that was not."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

# Control characters stand for nothing in HTML, and some would end the text for a reader.
UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# Security: these turn the reading order of what follows, so that a name can pose as another one.
TURNING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
BREAKS = re.compile(r"(?<=[.+@/])(?=[^\W\d])")


class Markup(str):
    """Text that is already HTML. Only this module makes it."""

    __slots__ = ()


WBR = Markup("<wbr>")


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """One element. Children that are not :class:`Markup`, and all attributes, are escaped.

    Args:
        name: The element's name.
        children: Text or elements.
        attributes: ``class_`` reads as ``class``; other underscores as dashes. Empty ones are left
            out.

    Example:
        >>> element("td", "<b>", class_="name", scope="")
        '<td class="name">&lt;b&gt;</td>'
    """
    stated = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value != ""
    )
    return Markup(f"<{name}{stated}>{joined(*children)}</{name}>")


def joined(*parts: str) -> Markup:
    """Parts one after the other, each escaped unless it is :class:`Markup`."""
    # Security: names of tables, runs and columns are other people's text.
    return Markup("".join(p if isinstance(p, Markup) else escaped(str(p)) for p in parts))


def escaped(text: str) -> str:
    r"""Text that a browser shows as it is, and in the order in which it is written.

    >>> escaped('<script>\x00"\u202e')
    '&lt;script&gt;�&quot;�'
    """
    return html.escape(TURNING.sub("\ufffd", UNSHOWABLE.sub("\ufffd", text)))


def breakable(text: str) -> Markup:
    """Text whose names may go on in a new line after a dot or the like; it copies unchanged.

    >>> breakable("main.a<b 1.5")
    'main.<wbr>a&lt;b 1.5'
    """
    if isinstance(text, Markup):
        return text
    first, *rest = BREAKS.split(text)
    return joined(first, *(part for one in rest for part in (WBR, one)))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, label: str) -> Markup:
    """A table that scrolls by itself where it is too wide; heads in ``#`` stand over numbers.

    Args:
        head: Titles of the columns; ``#Rows`` reads as ``Rows`` and its column is set to the right.
        rows: Cells, as text or elements.
        label: What a screen reader calls the table.
    """
    kinds = ["number" if name.startswith("#") else "" for name in head]
    titles = [
        element("th", name.removeprefix("#"), class_=kind, scope="col")
        for name, kind in zip(head, kinds, strict=True)
    ]
    body = [
        element(
            "tr", *(element("td", breakable(c), class_=k) for c, k in zip(row, kinds, strict=True))
        )
        for row in rows
    ]
    whole = element(
        "table",
        element("caption", label),
        element("thead", element("tr", *titles)),
        element("tbody", *body),
    )
    return element("div", whole, class_="wide", role="region", aria_label=label, tabindex=0)


def folded(title: str, *children: str, is_open: bool = False) -> Markup:
    """Something that a reader opens when they want it."""
    summary = element("summary", title)
    return element("details", summary, *children, open="open" if is_open else "")


def fitted(text: str, characters_max: int) -> str:
    """A text of at most so many characters, with an ellipsis where it was cut.

    >>> fitted("warehouse.main.flights", 10)
    'warehouse…'
    """
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"

"""Text for run pages: cut to a length, and HTML that cannot be injected into.

Like every module here that does not need MLflow, this one does not import it: MLflow, imported from
half-way inside one of its own plugins, would find the plugin half imported and go on without it.
"""

from __future__ import annotations

import html


class Markup(str):
    """Text that is already HTML. Only :func:`element` and :func:`joined` make it."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """One element. Children that are not :class:`Markup`, and all attributes, are escaped.

    Args:
        name: The element's name.
        children: Text or elements.
        attributes: ``class_`` reads as ``class``; other underscores as dashes.

    Example:
        >>> element("td", "<b>", class_="name")
        '<td class="name">&lt;b&gt;</td>'
    """
    stated = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{stated}>{joined(*children)}</{name}>")


def joined(*parts: str) -> Markup:
    """Parts one after the other, each escaped unless it is :class:`Markup`."""
    # Security: names of tables, runs and columns are other people's text.
    return Markup("".join(p if isinstance(p, Markup) else html.escape(str(p)) for p in parts))


def fitted(text: str, characters_max: int) -> str:
    """A text of at most so many characters, with an ellipsis where it was cut.

    >>> fitted("warehouse.main.flights", 10)
    'warehouse…'
    """
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"

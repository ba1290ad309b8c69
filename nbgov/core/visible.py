"""Text of other people as a person may safely see it: every sign shown, cut to a length, escaped.

Names of tables, runs and columns, statements and values come from strangers. :func:`visible` gives
a sign to every character that a person would not see, and :func:`safe` makes HTML of it. Cases are
in ``tests/core/test_visible.py``.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape

CHARS_MAX = 80

# Characters that print as nothing although Unicode calls them printable: fillers, joiners and
# variation selectors. They can make two different texts look the same.
INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\U000e0100-\U000e01ef]"
)


def visible(text: str, *, keep: str = "") -> str:
    r"""Show control, direction, filler and odd space characters as signs; leave all others.

    Args:
        text: Any text, from anyone.
        keep: Characters to leave as they are, such as a newline.

    Example:
        >>> visible("to:\u202egrace\n\x00")
        'to:⟨U+202E⟩grace↵⟨U+0000⟩'
    """
    if text.isprintable() and not INVISIBLE.search(text):
        return text
    # Security: a direction override or an invisible character makes one statement read as another.
    return "".join(c if c in keep or is_plain(c) else sign(c) for c in text)


def is_plain(character: str) -> bool:
    """Whether a person sees the character for what it is."""
    return character.isprintable() and not INVISIBLE.match(character)


def sign(character: str) -> str:
    """The visible stand-in of a character that is not plain."""
    return "↵" if character == "\n" else f"⟨U+{ord(character):04X}⟩"


def cut(text: str, chars_max: int = CHARS_MAX) -> str:
    """The text, or its beginning and an ellipsis, in at most ``chars_max`` characters."""
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def safe(text: str, *, keep: str = "") -> str:
    """The text as HTML, for element content and for attributes in double quotes.

    >>> safe('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return escape(visible(text, keep=keep), quote=True)


def cells_wide(text: str) -> int:
    """How many terminal cells the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )

"""A statement with its marked passages: what it changes, what it reads, what to look at twice.

Security: all of the text is there, in HTML and as text, whatever is in it: nothing is cut, folded
away or scrolled out of sight, every character that cannot be seen has a sign, and no line of it can
pass for anything else than a line of the statement. No mark speaks through its colour alone. Cases
are in ``tests/surfaces/test_tickets.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from operator import itemgetter, or_

from nbgov.core.suspicious import suspicions
from nbgov.core.visible import cells_wide, safe, visible
from nbgov.model import Highlight

KEPT = "\n\t"


@dataclass(frozen=True, slots=True)
class Mark:
    """One kind of passage.

    Attributes:
        kind: What it is.
        sign: What stands below it in the text form.
        meaning: What it means, for the legend.
        look: How it looks in HTML, for the legend.
    """

    kind: str
    sign: str
    meaning: str
    look: str


MARKS = (
    Mark("changed", "^", "changed", "bold and underlined"),
    Mark("read", "-", "read", "dotted underline"),
    Mark("odd", "!", "look twice, see the warnings", "boxed"),
)


def kinds_at(text: str, highlights: Sequence[Highlight]) -> list[int]:
    """The marks of every character of a text, one bit for each of :data:`MARKS`.

    Args:
        text: The statement.
        highlights: What is known of its names; what lies outside the text counts for nothing.
    """
    bits = {mark.kind: 1 << place for place, mark in enumerate(MARKS)}
    found = [0] * len(text)
    odd = (Highlight(one.start, one.end, "odd") for one in suspicions(text))
    for one in (*highlights, *odd):
        for at in range(max(one.start, 0), min(one.end, len(text))):
            found[at] |= bits.get(one.kind, 0)
    return found


def marks_of(kinds: int) -> list[Mark]:
    """The marks behind bits."""
    return [mark for place, mark in enumerate(MARKS) if kinds >> place & 1]


def statement_html(
    text: str, highlights: Sequence[Highlight], *, label: str = "The statement"
) -> str:
    """The statement as HTML with its legend; a screen reader calls it by its label."""
    kinds = kinds_at(text, highlights)
    body = "".join(
        passage_html("".join(c for c, _ in passage), kind)
        for kind, passage in groupby(zip(text, kinds, strict=True), key=itemgetter(1))
    )
    pre = f'<pre class="nbgov-sql" role="group" aria-label="{label}">{body}</pre>\n'
    known = ", ".join(
        f'<mark class="nbgov-{mark.kind}">{mark.meaning}</mark> ({mark.look})'
        for mark in legend(kinds)
    )
    return f'{pre}<div class="nbgov-legend"><small>Marks: {known}</small></div>\n' if known else pre


def passage_html(text: str, kinds: int) -> str:
    """One stretch of the statement that is marked alike."""
    classes = " ".join(f"nbgov-{mark.kind}" for mark in marks_of(kinds))
    shown = safe(text, keep=KEPT)
    return f'<mark class="{classes}">{shown}</mark>' if classes else shown


def statement_lines(text: str, highlights: Sequence[Highlight]) -> Iterator[str]:
    r"""The statement as lines behind a bar, with its marks in lines behind a colon.

    Example:
        >>> sql = "UPDATE seats\nSET taken = 1"
        >>> found = [Highlight(7, 12, "changed"), Highlight(17, 22, "changed")]
        >>> print("\n".join(statement_lines(sql, found)))
          | UPDATE seats
          :        ^^^^^
          | SET taken = 1
          :     ^^^^^
          ^ changed
    """
    kinds = kinds_at(text, highlights)
    at = 0
    for line in text.split("\n"):
        # Security: the bar marks what the requester wrote, so that no line of it passes for a fact.
        yield f"  | {visible(line, keep=chr(9))}"
        below = "".join(map(sign_below, line, kinds[at : at + len(line)])).rstrip()
        if below:
            yield f"  : {below}"
        at += len(line) + 1
    if known := legend(kinds):
        yield f"  {', '.join(f'{mark.sign} {mark.meaning}' for mark in known)}"


def sign_below(character: str, kinds: int) -> str:
    """What stands below one character; the last of its marks has the say."""
    if character == "\t":
        return character
    marks = marks_of(kinds)
    return (marks[-1].sign if marks else " ") * cells_wide(visible(character))


def legend(kinds: Sequence[int]) -> list[Mark]:
    """The marks that a statement has."""
    return marks_of(reduce(or_, set(kinds), 0))

"""A lineage as text for the terminal and as HTML for a notebook's output cell."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nbgov.core.lineage import Lineage
from nbgov.core.markup import element
from nbgov.lineage.answers import answers, origins_of, subject
from nbgov.lineage.page import lineage_page
from nbgov.lineage.tracing import trace
from nbgov.model import short_receipt

if TYPE_CHECKING:
    from nbgov.model import DatasetVersion
    from nbgov.session import Session

WIDTH = 100
LABEL_WIDTH = 22
COLUMNS_MAX = 40
FRAME_HEIGHT = 640


def lineage_text(lineage: Lineage) -> str:
    """The answers, then tables, columns, people and receipts."""
    return "\n".join(lines(lineage))


def shown(session: Session, reference: str) -> tuple[str, str]:
    """The lineage of what a reference means, as text and as HTML for an output cell.

    The page is shown in a frame of its own that may run nothing, so that neither its style nor a
    name in it reaches the notebook.
    """
    lineage = trace(session, reference)
    frame = element(
        "iframe",
        srcdoc=lineage_page(lineage),
        title=f"Lineage of {subject(lineage)}",
        style=f"width:100%;height:{FRAME_HEIGHT}px;border:1px solid #8888;border-radius:6px",
    )
    # Security: an empty sandbox forbids all; `element` leaves empty attributes out.
    return lineage_text(lineage), frame.replace("<iframe ", '<iframe sandbox="" ', 1)


def lines(lineage: Lineage) -> Iterator[str]:
    """The text, line by line."""
    yield printable(subject(lineage))
    for one in answers(lineage):
        told = f"{one.word}: {one.told}" if one.word else one.told
        yield from labelled(one.question, told)
    for version in lineage.current:
        tables = ", ".join(f"{version.connection}.{name}" for name in version.tables)
        yield from labelled("dataset", f"{version.name} {version.version_id} of {tables or 'none'}")
        yield from labelled("statement", " ".join(version.statement.split()))
        yield from column_lines(version)
    for delivery in lineage.deliveries:
        rules, receipt = ", ".join(delivery.rules) or "no rule", short_receipt(delivery.receipt)
        yield from labelled(
            "read",
            f"{delivery.name} by {delivery.principal}, {delivery.decision} by {rules}, "
            f"policy revision {delivery.policy_revision or 'none'}, receipt {receipt}",
        )


def column_lines(version: DatasetVersion) -> Iterator[str]:
    """The columns of a version, with what they show; the first of many."""
    for name, *_ in version.columns[:COLUMNS_MAX]:
        mask = f" ({version.masked[name]})" if name in version.masked else ""
        yield from labelled("column", f"{name} <- {origins_of(version, name)}{mask}")
    more = len(version.columns) - COLUMNS_MAX
    if more > 0:
        yield from labelled("column", f"and {more} more: --json or --html FILE shows them")


def labelled(label: str, text: str) -> list[str]:
    """A label and a text that goes on below itself."""
    wrapped = textwrap.wrap(printable(text), WIDTH - LABEL_WIDTH) or [""]
    first = f"  {label:<{LABEL_WIDTH - 2}}{wrapped[0]}"
    return [first, *(" " * LABEL_WIDTH + line for line in wrapped[1:])]


def printable(text: str) -> str:
    """The text with a mark for each character that is not printed."""
    # Security: a name with an escape sequence would move the cursor, or change the terminal.
    return "".join(one if one.isprintable() else "\ufffd" for one in text)

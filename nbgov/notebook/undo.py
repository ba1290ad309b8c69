"""``nbgov undo`` and ``%nbgov undo``: what is shown of writes that can be undone, and of an undo.

No value is ever shown: a statement that undoes a write has markers in the place of its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbgov.core.visible import visible
from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.model import Result, UndoImage
    from nbgov.session import Session
    from nbgov.session.undoing import Proposal

SQL_CHARS_MAX = 1_200


def undo(session: Session, words: Sequence[str]) -> Result | None:
    """What ``%nbgov undo`` does: ``RECORD`` undoes, ``list`` and ``show RECORD`` print.

    Raises:
        RequestInvalid: The words are others (``usage``).
        NbgovError: What :meth:`nbgov.Session.undo` raises.
    """
    match list(words):
        case [] | ["list"]:
            write(listing(session.undoable()))
        case ["show", record]:
            write(proposal_text(session.undo_proposal(record)))
        case [record]:
            return session.undo(record, origin={"surface": "magic"})
        case _:
            raise RequestInvalid(
                "%nbgov undo takes a record.",
                code="usage",
                next_step="write %nbgov undo RECORD, %nbgov undo list or %nbgov undo show RECORD",
            )
    return None


def write(text: str) -> None:
    """Display a text in the cell."""
    from nbgov.notebook.front import put

    put({"text/plain": text})


def listing(images: Sequence[UndoImage]) -> str:
    """The writes that can be undone, one a line, by the number of their record."""
    if not images:
        return "No write can be undone."
    return "\n".join(
        f"{image.facts['record']}  {image.kept_at:%Y-%m-%d %H:%M}  {image.verb} "
        f"{visible(image.connection)} {visible(image.table)}, {rows_told(image)}, "
        f"ticket {image.ticket}, by {visible(image.principal)}, "
        f"until {image.expires_at:%Y-%m-%d}"
        for image in images
    )


def proposal_text(proposal: Proposal) -> str:
    """What undoes a write, for people."""
    image, sql = proposal.image, proposal.sql
    cut = f" … {len(sql):,} characters in all" if len(sql) > SQL_CHARS_MAX else ""
    return (
        f"Undoes the {image.verb} of {image.kept_at:%Y-%m-%d %H:%M} on "
        f"{visible(image.connection)} {visible(image.table)}: {rows_told(image)}.\n"
        f"{visible(sql[:SQL_CHARS_MAX])}{cut}\n"
        "Rows that triggers and cascades changed stay as they are."
    )


def rows_told(image: UndoImage) -> str:
    """How many rows were kept."""
    return "1 row" if image.rows == 1 else f"{image.rows:,} rows"

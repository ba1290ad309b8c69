"""The static record of a ticket in a cell, which outlives every widget.

It is one display, updated in place when the ticket or the run moves, and never in between: a saved
notebook holds where things stood, and no clock. Cases are in ``tests/surfaces/test_card.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from IPython.display import DisplayHandle

from nbgov.core.visible import safe
from nbgov.model import Approval, ApprovalState, Result
from nbgov.notebook.preview import delivered_text, metadata
from nbgov.notebook.worker import LIVE, PARKED_BYTES_MAX, Errand, Stage
from nbgov.shown.render import ROWS_SHOWN_MAX, preview_html, preview_text
from nbgov.shown.tickets import ticket_html, ticket_text

AGAIN = "Run this cell again to ask anew."
ELSEWHERE = "Used elsewhere. The statement ran once, in another cell or notebook, and not here."


class Slip:
    """The record of one errand on the screen."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.lock = threading.Lock()
        self.handle: Any = DisplayHandle()
        self.shown: tuple[Any, ...] = ()

    def show(self) -> None:
        """Display the record as it stands."""
        with self.lock:
            self.shown = self.state()
            data, details = self.bundle()
            self.handle.display(data, raw=True, metadata=details)

    def paint(self) -> None:
        """Update the record in place, if it moved. For any thread."""
        with self.lock:
            state = self.state()
            # What was handed over is shown by its cell; the record of it stays as it is.
            is_taken = self.errand.stage is Stage.HANDED_OVER and state[0] == self.shown[0]
            if state != self.shown and not is_taken:
                self.shown = state
                data, details = self.bundle()
                self.handle.update(data, raw=True, metadata=details)

    def state(self) -> tuple[Any, ...]:
        """What the record depends on."""
        return self.errand.approval, self.errand.stage, self.errand.is_awaited

    def bundle(self) -> tuple[dict[str, str], dict[str, Any]]:
        """What came of the run, and below it the ticket."""
        errand, approval = self.errand, self.errand.approval
        text, html = [], []
        result, error = errand.result, errand.error
        if errand.stage is Stage.FAILED and error is not None:
            text.append(str(error))
            html.append(note_html("pre", str(error)))
        elif errand.stage is Stage.DONE and result is not None and not errand.is_awaited:
            rows_text, rows_html = preview(result)
            text.append(rows_text)
            html.append(rows_html)
        text.append(ticket_text(approval))
        html.append(ticket_html(approval, is_folded=True))
        details = metadata(result) if result is not None else {}
        return {"text/plain": "\n".join(text), "text/html": "\n".join(html)}, details


def preview(result: Result) -> tuple[str, str]:
    """The first rows of a parked result as text and HTML; one line for what has no columns."""
    if not result.schema.names:
        line = delivered_text("", result)
        return line, note_html("p", line)
    summary, table = result.summary, result.to_arrow()
    text, html = (
        render(
            table.slice(0, ROWS_SHOWN_MAX),
            dict(summary.masked),
            rows_read=table.num_rows,
            is_truncated=summary.is_truncated,
            entities=dict(summary.entities),
        )
        for render in (preview_text, preview_html)
    )
    return text, html


def note_html(tag: str, text: str) -> str:
    """A text below the ticket."""
    return f'<div class="nbgov"><{tag} class="nbgov-note">{safe(text, keep=chr(10))}</{tag}></div>'


def headline(errand: Errand) -> str:
    """Where an errand stands, in a sentence or two; equal from run to run."""
    return TOLD[errand.stage](errand)


def done(errand: Errand) -> str:
    """What a run gave, and how to take it."""
    if errand.is_awaited or errand.result is None:
        return "Approved and done."
    line = delivered_text("result", errand.result).removeprefix("result: ")
    return f"Done. {line}. Run this cell again to take the result."


def ended(errand: Errand) -> str:
    """Why an errand is over although nothing ran here."""
    approval = errand.approval
    if approval.uses:
        return ELSEWHERE
    if approval.state in LIVE:
        return "It is not enough any more for what the policy asks. Run this cell again."
    told = f"{approval.state.value.capitalize()}{ended_by(approval)}"
    return told if approval.state is ApprovalState.DENIED else f"{told} {AGAIN}"


def ended_by(approval: Approval) -> str:
    """Who ended a ticket and why, as the end of a sentence or two."""
    by, reason = "", ""
    if approval.ending is not None:
        by, reason = approval.ending.by, approval.ending.reason
    for vote in approval.votes:
        if not vote.is_approval:
            by, reason = vote.voter, vote.reason
    told = f" by {by}." if by else "."
    return f"{told} Reason: {' '.join(reason.split())}." if reason else told


TOLD: Mapping[Stage, Callable[[Errand], str]] = {
    Stage.WAITING: lambda errand: errand.problem or "Waiting for approval.",
    Stage.RUNNING: lambda errand: "Cancelling." if errand.is_cancelled else "Approved. Running.",
    Stage.DONE: done,
    Stage.FAILED: lambda errand: f"Approved, but it failed. {errand.error}",
    Stage.HANDED_OVER: lambda _: "Done. The cell has taken what came of it.",
    Stage.DROPPED: lambda _: (
        f"Dropped. More than {PARKED_BYTES_MAX // 2**20} MB of results waited. {AGAIN}"
    ),
    Stage.OVER: ended,
    Stage.CLOSED: lambda _: (
        "Closed. Nothing is watched or kept here any more; the ticket stays as it is."
    ),
}

"""The requester's card: where a ticket stands, what runs, and two ways to stop it.

It is made of stock ipywidgets. Nothing here decides or waits: a click calls the errand and the
errand calls back, either on any thread and maybe twice. A card paints through widget traits and one
display handle alone, since printed text gets lost or lands under another cell. What changes by the
second stands in traits only, so that a saved notebook holds no clock; the record below the buttons
is the part that is kept (:mod:`nbgov.notebook.slip`). Cases are in ``tests/surfaces/test_card.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import ipywidgets
from IPython.display import display

from nbgov.core.approval import deadline
from nbgov.core.checks import counted
from nbgov.core.visible import safe
from nbgov.model import Approval, ApprovalState
from nbgov.notebook.slip import Slip, headline
from nbgov.notebook.worker import Errand, Stage

VIEW_TEXT = "nbgov approval card"
ADVISORY = "Embedded mode advises: whoever owns this computer can go round it."
# Colours come from the front end's theme; every state is told in words as well.
STYLE = (
    "color:var(--jp-content-font-color1,inherit);font-size:var(--jp-ui-font-size1,13px);"
    "line-height:1.5;white-space:pre-wrap;overflow-wrap:anywhere"
)
QUIET = f"{STYLE};color:var(--jp-content-font-color2,inherit)"
BADGE = "border:1px solid currentColor;border-radius:0.7em;padding:0 0.5em;font-size:0.85em"


class Card:
    """One ticket on its requester's screen.

    Args:
        errand: What is watched and run.

    Attributes:
        status: Where the ticket stands, announced to screen readers when it moves.
        facts: Votes and deadline, as of the last look.
        progress: What the run has done so far.
    """

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.slip = Slip(errand)
        self.lock = threading.Lock()
        self.status = ipywidgets.HTML()
        self.facts = ipywidgets.HTML()
        self.progress = ipywidgets.HTML()
        self.cancel_request = button(
            "Cancel request", "Take this request for approval back", errand.withdraw
        )
        self.cancel_query = button(
            "Cancel query", "Stop the statement while it runs", errand.cancel, style="warning"
        )
        self.row = ipywidgets.HBox([self.cancel_request, self.cancel_query])
        self.box = ipywidgets.VBox([self.status, self.facts, self.progress, self.row])

    def show(self) -> None:
        """Display the controls and the record below them, and follow the errand from now on."""
        self.paint_controls()
        # The text of a widget would differ from run to run, and notebooks are compared by it.
        view = self.box._repr_mimebundle_()
        display(view | {"text/plain": VIEW_TEXT}, raw=True)
        self.slip.show()
        self.errand.listeners.append(self.paint)

    def paint(self) -> None:
        """Paint how things stand. For any thread."""
        self.slip.paint()
        self.paint_controls()

    def paint_controls(self) -> None:
        """Show how things stand in the traits; one that stays equal sends nothing."""
        with self.lock:
            errand = self.errand
            stage = errand.stage
            self.status.value = status_html(errand)
            self.facts.value = block(facts_text(errand)) if stage is Stage.WAITING else ""
            self.progress.value = block(progress_text(errand)) if stage is Stage.RUNNING else ""
            self.cancel_request.disabled = stage is not Stage.WAITING
            self.cancel_query.disabled = stage is not Stage.RUNNING or errand.is_cancelled
            is_live = stage in {Stage.WAITING, Stage.RUNNING}
            self.row.layout.display = None if is_live else "none"


def button(
    label: str, tip: str, action: Callable[[], None], *, style: str = ""
) -> ipywidgets.Button:
    """A button that calls an action."""
    made = ipywidgets.Button(description=label, tooltip=tip, button_style=style)
    made.on_click(lambda _: action())
    return made


def status_html(errand: Errand) -> str:
    """The line that a screen reader speaks when it changes; it holds nothing that ticks."""
    badge = f'<span style="{BADGE}" title="{ADVISORY}">advisory</span>'
    title = f"<strong>Ticket {safe(errand.approval.ticket)}</strong> {badge}"
    text = safe(headline(errand), keep="\n")
    return f'<div role="status" aria-live="polite" style="{STYLE}">{title} {text}</div>'


def block(text: str) -> str:
    """Text in the second colour."""
    return f'<div style="{QUIET}">{safe(text, keep=chr(10))}</div>'


def facts_text(errand: Errand) -> str:
    """Votes so far, since when they are awaited, and until when."""
    approval, now = errand.approval, errand.session.world.clock.now()
    asked = age(now - approval.requested_at)
    left = age(deadline(approval) - now)
    parts = [*votes_texts(approval), f"asked {asked} ago", f"takes votes for {left}"]
    return " · ".join(parts)


def votes_texts(approval: Approval) -> list[str]:
    """How many votes each rule has, of how many it asks for."""
    if approval.state is not ApprovalState.REQUESTED:
        return []
    given = [
        sum(vote.is_approval and quorum.rule in vote.rules for vote in approval.votes)
        for quorum in approval.quorums
    ]
    return [
        f"{have} of {counted(quorum.votes_min, 'vote')} for {quorum.rule}"
        for have, quorum in zip(given, approval.quorums, strict=True)
    ]


def progress_text(errand: Errand) -> str:
    """What a run has done so far."""
    seconds, rows, size = errand.progress
    return f"{seconds:.0f} s · {counted(rows, 'row')} · {size / 2**20:.1f} MB"


def age(span: timedelta) -> str:
    """A span of time in its two largest units.

    >>> [age(timedelta(seconds=n)) for n in (-1, 59, 61, 3_600, 90_061)]
    ['less than a minute', 'less than a minute', '1 min', '1 h 0 min', '1 d 1 h']
    """
    minutes = int(span.total_seconds()) // 60
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"

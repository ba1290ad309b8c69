"""The approval card: a person's yes or no, beside the cell that waits for it.

A kernel that runs a cell does not hear clicks, so nothing here ever waits: the cell shows the card
and ends, a click calls the session, and the cell is run again. A click may arrive on any thread,
and twice. A card paints through widget traits and a display handle alone, since printed text gets
lost or lands under another cell.

The card takes no decision. It sends a vote or a cancellation to the session and shows the answer, a
refusal such as self-approval included. Widgets are not kept in a saved notebook; the static record
above the buttons is. Cases are in ``tests/surfaces/test_widget.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ipywidgets
from IPython.display import DisplayHandle, display

from nbgov.core.visible import safe
from nbgov.errors import NbgovError
from nbgov.model import Approval, ApprovalState
from nbgov.notebook.render import approval_html, approval_text
from nbgov.session import Session

POLL_S = 1.0
POLLS_MAX = 3_600
CLOSE_TIMEOUT_S = 5.0

ADVICE = {
    ApprovalState.REQUESTED: "Waiting for votes.",
    ApprovalState.APPROVED: "Approved. Running the cell again runs the statement once.",
    ApprovalState.REFUSED: "Refused. The statement did not run.",
    ApprovalState.CONSUMED: "Used. The statement ran once; running the cell again asks again.",
    ApprovalState.CANCELLED: "Cancelled. The statement did not run.",
    ApprovalState.EXPIRED: "Expired. Running the cell again asks again.",
}
LIVE = (ApprovalState.REQUESTED, ApprovalState.APPROVED)


class Card:
    """One ticket on the screen.

    Args:
        session: The session of the person who sees the card; votes and cancellations are theirs.
        approval: The ticket as it stands.
        is_inbox: Whether the card offers to vote, instead of to check again or cancel.
        poll_s: Seconds between two looks at the store, for votes that come from elsewhere.
        polls_max: Looks at most, so that a forgotten card does not look for ever.
    """

    def __init__(
        self,
        session: Session,
        approval: Approval,
        *,
        is_inbox: bool,
        poll_s: float = POLL_S,
        polls_max: int = POLLS_MAX,
    ) -> None:
        self.session = session
        self.approval = approval
        self.is_inbox = is_inbox
        self.poll_s = poll_s
        self.polls_max = polls_max
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.watcher = threading.Thread(target=self.watch, name="nbgov-card", daemon=True)
        self.record: Any = DisplayHandle()
        self.reason = ipywidgets.Text(placeholder="reason", layout={"width": "24em"})
        self.message = ipywidgets.HTML()
        self.buttons = self.voting() if is_inbox else self.asking()
        row = ipywidgets.HBox([self.reason, *self.buttons] if is_inbox else self.buttons)
        self.box = ipywidgets.VBox([row, self.message])

    def voting(self) -> list[ipywidgets.Button]:
        """The buttons of a voter."""
        return [
            button("Approve", lambda: self.vote(is_approval=True), style="success"),
            button("Refuse", lambda: self.vote(is_approval=False), style="danger"),
        ]

    def asking(self) -> list[ipywidgets.Button]:
        """The buttons of the requester."""
        return [button("Check again", self.look), button("Cancel request", self.cancel)]

    @property
    def is_open(self) -> bool:
        """Whether the viewer can still do something about the ticket."""
        if not self.is_inbox:
            return self.approval.state in LIVE
        has_voted = any(v.voter == self.session.principal.name for v in self.approval.votes)
        return self.approval.state is ApprovalState.REQUESTED and not has_voted

    def show(self) -> None:
        """Display the static record and the buttons below it, and start to watch the store."""
        with self.lock:
            self.record.display(bundle(self.approval), raw=True)
            self.paint_controls()
            display(self.box)
        self.watcher.start()

    def close(self) -> None:
        """Stop watching the store. What is displayed stays."""
        self.stopped.set()
        if self.watcher.is_alive():
            self.watcher.join(CLOSE_TIMEOUT_S)

    def vote(self, *, is_approval: bool) -> None:
        """Send the viewer's vote."""
        ticket, reason = self.approval.ticket, self.reason.value
        self.act(lambda: self.session.vote(ticket, is_approval=is_approval, reason=reason))

    def cancel(self) -> None:
        """Take the request back."""
        self.act(lambda: self.session.cancel_ticket(self.approval.ticket))

    def look(self) -> None:
        """Read the ticket again."""
        self.act(lambda: self.session.approval(self.approval.ticket))

    def act(self, step: Callable[[], Approval]) -> None:
        """Take one step and paint the answer, unless the ticket is settled for the viewer."""
        # Two clicks are two turns at the lock, and the first one's answer voids the second.
        with self.lock:
            if self.is_open:
                self.take(step)

    def watch(self) -> None:
        """Look at the store until the ticket has ended, the card closes, or looks run out."""
        for _ in range(self.polls_max):
            if self.stopped.wait(self.poll_s):
                return
            with self.lock:
                self.take(lambda: self.session.approval(self.approval.ticket), is_quiet=True)
                if self.approval.state not in LIVE:
                    return

    def take(self, step: Callable[[], Approval], *, is_quiet: bool = False) -> None:
        """Take one step, with the lock held, and paint the ticket or the error that comes back."""
        try:
            approval = step()
        except NbgovError as error:
            self.paint_message(str(error))
            return
        if approval != self.approval or not is_quiet:
            self.approval = approval
            self.record.update(bundle(approval), raw=True)
            self.paint_controls()

    def paint_controls(self) -> None:
        """Show where the ticket stands in the buttons and the line below them."""
        self.paint_message(ADVICE[self.approval.state])
        for each in self.buttons:
            each.disabled = not self.is_open

    def paint_message(self, text: str) -> None:
        """Show a message below the buttons."""
        self.message.value = (
            f'<div style="line-height:1.4;white-space:pre-wrap">{safe(text, keep=chr(10))}</div>'
        )


def button(label: str, action: Callable[[], None], *, style: str = "") -> ipywidgets.Button:
    """A button that calls an action."""
    made = ipywidgets.Button(description=label, button_style=style)
    made.on_click(lambda _: action())
    return made


def bundle(approval: Approval) -> dict[str, str]:
    """The static record of a ticket, which outlives the widget."""
    return {"text/plain": approval_text(approval), "text/html": approval_html(approval)}

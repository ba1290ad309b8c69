"""The reviewer's inbox: tickets as they come, their evidence, and a vote.

It stands in the reviewer's own notebook and speaks to the reviewer's own session. It is made of
stock ipywidgets and takes no decision: every button calls a method of the session and shows what
comes of it. Calls may come on any thread, and twice; painting goes through widget traits alone.

A vote goes to the ticket whose evidence is shown, never to one that a list moved there meanwhile.
The widget in use is never made anew: a list changes its lines and keeps its selection, so that the
focus stays where it is. Cases are in ``tests/surfaces/test_inbox.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.display import display

from nbgov.core.approval import LIVE
from nbgov.errors import NbgovError
from nbgov.model import Approval, ApprovalState
from nbgov.notebook.command import wrong
from nbgov.notebook.front import put
from nbgov.shown import docket
from nbgov.shown.docket import VIEWS, told_html
from nbgov.shown.tickets import ticket_html

if TYPE_CHECKING:
    from nbgov.session import Session
    from nbgov.session.samples import Sample

POLL_S = 1.0
POLLS_MAX = 28_800
CLOSE_TIMEOUT_S = 5.0
ROWS_SHOWN = 7
VIEW_TEXT = "nbgov approvals inbox"
# White on these has a contrast of more than 5 to 1 in every theme; JupyterLab's own has not.
GREEN, RED = "#1b7a3d", "#b3261e"
WIDE = {"width": "auto", "max_width": "64em"}
LABEL = {"description_width": "5em"}


def inbox(session: Session, words: Sequence[str], *, can_click: bool) -> Inbox | None:
    """Show the tickets that wait, with buttons where somebody can click.

    Args:
        session: The session of the person who looks; every vote is theirs.
        words: Nothing, a view such as ``history``, or a ticket.
        can_click: Whether there is a front end; without one a list is shown, and nothing is live.

    Raises:
        RequestInvalid: The words name no view and no ticket.
    """
    view, ticket = "waiting", ""
    match words:
        case []:
            pass
        case [name] if name in VIEWS.values():
            view = name
        case [name] if not name.startswith("-"):
            ticket = session.approval(name).ticket
            view = "history"
        case _:
            raise wrong(
                "%nbgov approvals does not take these words.",
                f"write approvals, approvals TICKET, or one of: {', '.join(VIEWS.values())}",
            )
    if can_click:
        shown = Inbox(session, view=view, ticket=ticket)
        shown.show()
        return shown
    put(docket.ticket_bundle(session, ticket) if ticket else docket.list_bundle(session, view))
    return None


class Inbox:
    """The tickets of a session on its reviewer's screen.

    Args:
        session: The session of the person who looks.
        view: Which tickets are listed first; see :func:`nbgov.shown.docket.tickets_of`.
        ticket: The ticket that is open first; else it is the first of the list.
        poll_s: Seconds between two looks at the store.
        polls_max: Looks at most, so that a forgotten inbox does not look for ever.
    """

    def __init__(
        self,
        session: Session,
        *,
        view: str = "waiting",
        ticket: str = "",
        poll_s: float = POLL_S,
        polls_max: int = POLLS_MAX,
    ) -> None:
        self.session = session
        self.poll_s, self.polls_max = poll_s, polls_max
        self.lock = threading.RLock()
        self.measuring = threading.Lock()
        self.stopped = threading.Event()
        self.is_refreshing = self.is_failing = False
        self.shown: Approval | None = None
        self.sample: Sample | None = None
        self.watcher = threading.Thread(target=self.watch, name="nbgov-inbox", daemon=True)
        self.make_widgets(view)
        if ticket:
            self.open(ticket)
        self.refresh()

    def make_widgets(self, view: str) -> None:
        """The widgets, top to bottom as they are read: what there is, the evidence, the vote."""
        self.count = ipywidgets.HTML()
        self.view = ipywidgets.ToggleButtons(
            options=list(VIEWS.items()), value=view, description="Show", style=LABEL
        )
        self.filter = ipywidgets.Text(
            description="Filter",
            placeholder="requester, connection, table, verb or ticket",
            continuous_update=True,
            layout=WIDE,
            style=LABEL,
        )
        self.tickets = ipywidgets.Select(
            options=[], description="Tickets", rows=ROWS_SHOWN, layout=WIDE, style=LABEL
        )
        # JupyterLab keeps the arrow keys for its cells, so that a list needs buttons beside it.
        self.earlier = button("Previous", "Open the ticket above", lambda: self.on_step(-1))
        self.later = button("Next", "Open the ticket below", lambda: self.on_step(1))
        self.evidence = ipywidgets.HTML()
        self.reason = ipywidgets.Text(
            description="Reason", placeholder="needed to deny", layout=WIDE, style=LABEL
        )
        self.approve = button("Approve", "Say yes to this statement", self.on_approve, GREEN)
        self.deny = button("Deny", "Say no, with a reason; this ends the ticket", self.on_deny, RED)
        self.revoke = button("Revoke", "Take the consent back, with a reason", self.on_revoke, RED)
        self.review = button(
            "Review", "Say what you found out about this emergency", self.on_review
        )
        self.measure = button("Measure sample again", "Read the rows once more", self.on_measure)
        self.hint, self.status = ipywidgets.HTML(), ipywidgets.HTML()
        buttons = [self.approve, self.deny, self.revoke, self.review, self.measure]
        self.controls = ipywidgets.VBox(
            [self.reason, ipywidgets.HBox(buttons, layout={"flex_flow": "row wrap"}), self.hint]
        )
        self.box = ipywidgets.VBox(
            [
                *(self.count, self.view, self.filter, self.tickets),
                ipywidgets.HBox([self.earlier, self.later], layout={"margin": "0 0 0 5em"}),
                *(self.evidence, self.controls, self.status),
            ]
        )
        self.view.observe(self.on_list, "value")
        self.filter.observe(self.on_list, "value")
        self.tickets.observe(self.on_pick, "value")

    def show(self) -> None:
        """Display the widgets, and look at the store from now on."""
        # The text of a widget would differ from run to run, and notebooks are compared by it.
        display(self.box._repr_mimebundle_() | {"text/plain": VIEW_TEXT}, raw=True)
        self.watcher.start()

    def close(self) -> None:
        """Stop looking at the store. What is displayed stays."""
        self.stopped.set()
        if self.watcher.is_alive():
            self.watcher.join(CLOSE_TIMEOUT_S)
        # A sample that is being read needs the session, which is closed next.
        if self.measuring.acquire(timeout=CLOSE_TIMEOUT_S):
            self.measuring.release()

    # ------------------------------------------------------------ what a person does

    def on_list(self, _: Any = None) -> None:
        """Another view, or other words to look for."""
        self.refresh()

    def on_pick(self, change: Any) -> None:
        """Another ticket of the list."""
        with self.lock:
            if not self.is_refreshing and change["new"]:
                self.open(change["new"])

    def on_step(self, by: int) -> None:
        """The ticket above or below the one that is shown, round the list."""
        with self.lock:
            names = [name for _, name in self.tickets.options]
            if names:
                at = names.index(self.tickets.value) if self.tickets.value in names else -max(by, 0)
                self.open(names[(at + by) % len(names)])

    def on_approve(self) -> None:
        """A yes to the ticket that is shown."""
        self.act(
            docket.why_no_vote,
            lambda ticket, why: self.session.vote(ticket, is_approval=True, reason=why),
            "Your approval is counted.",
        )

    def on_deny(self) -> None:
        """A no to the ticket that is shown."""
        self.act(
            docket.why_no_vote,
            lambda ticket, why: self.session.vote(ticket, is_approval=False, reason=why),
            "Denied.",
            missing="Say why: a denial takes a reason.",
        )

    def on_revoke(self) -> None:
        """The consent taken back."""
        self.act(
            docket.why_no_revoke,
            lambda ticket, why: self.session.revoke(ticket, reason=why),
            "Revoked.",
            missing="Say why: to revoke takes a reason.",
        )

    def on_review(self) -> None:
        """What was found out about an emergency."""
        self.act(
            docket.why_no_review,
            lambda ticket, why: self.session.review(ticket, finding=why),
            "Your finding is kept.",
            missing="Say what you found out.",
        )

    def on_measure(self) -> None:
        """The sample once more."""
        if self.shown is not None:
            self.take_sample(self.shown.ticket)

    def act(
        self,
        why_not: Callable[[Any, Approval], str],
        step: Callable[[str, str], Approval],
        done: str,
        *,
        missing: str = "",
    ) -> None:
        """Take one step on the ticket that is shown, and paint what comes of it."""
        # Two clicks are two turns at the lock, and the first one's answer voids the second.
        with self.lock:
            reason = self.reason.value.strip()
            if self.shown is None or why_not(self.session.principal, self.shown):
                return
            if missing and not reason:
                self.say(missing, is_urgent=True)
                self.reason.focus()
                return
            try:
                self.shown = step(self.shown.ticket, reason)
            except NbgovError as error:
                self.say(str(error), is_urgent=True)
                return
            self.reason.value = ""
            self.say(f"{done} Ticket {self.shown.ticket} is {self.shown.state}.")
            self.paint()
            self.refresh()
            self.tickets.focus()

    # ------------------------------------------------------------ what happens elsewhere

    def watch(self) -> None:
        """Look at the store until the inbox closes, or looks run out."""
        for _ in range(self.polls_max):
            if self.stopped.wait(self.poll_s):
                return
            self.refresh()
        self.say("This inbox is not live any more. Run the cell again.")

    def refresh(self) -> None:
        """Read the tickets again; lines and evidence change only where something moved."""
        with self.lock:
            try:
                found = docket.tickets_of(self.session, self.view.value, self.filter.value)
                if self.shown is not None:
                    self.repaint(self.session.approval(self.shown.ticket))
            except NbgovError as error:
                self.is_failing = True
                self.say(str(error), is_urgent=True)
                return
            if self.is_failing:
                self.is_failing = False
                self.say("")
            principal = self.session.principal
            self.relist([(docket.row(one, principal), one.ticket) for one in found])
            count = docket.waiting_text(found, principal)
            self.count.value = told_html(count if found else self.nothing(), "status")
            if self.shown is None and found:
                self.open(found[0].ticket)

    def nothing(self) -> str:
        """Why the list is empty."""
        return "No ticket matches." if self.filter.value.strip() else docket.EMPTY[self.view.value]

    def relist(self, options: list[tuple[str, str]]) -> None:
        """Show these lines, with the same ticket selected as before."""
        if options == list(self.tickets.options):
            return
        ticket = self.shown.ticket if self.shown is not None else None
        self.is_refreshing = True
        try:
            # One message with lines and selection, so that no other ticket is ever selected.
            with self.tickets.hold_sync():
                self.tickets.index = None
                self.tickets.options = options
                self.earlier.disabled = self.later.disabled = not options
                if ticket in {value for _, value in options}:
                    self.tickets.value = ticket
        finally:
            self.is_refreshing = False

    def open(self, ticket: str) -> None:
        """Show the evidence of a ticket, and read its sample where it still matters."""
        with self.lock:
            try:
                self.shown = self.session.approval(ticket)
            except NbgovError as error:
                self.say(str(error), is_urgent=True)
                return
            self.sample = None
            self.relist_selection(ticket)
            self.say("")
            self.paint()
        if self.shown.state is ApprovalState.REQUESTED:
            self.take_sample(ticket)

    def relist_selection(self, ticket: str) -> None:
        """Select the ticket in the list, if it is there."""
        if self.tickets.value != ticket and ticket in {one for _, one in self.tickets.options}:
            self.is_refreshing = True
            self.tickets.value = ticket
            self.is_refreshing = False

    def take_sample(self, ticket: str) -> None:
        """Read a ticket's sample in a thread of its own, as a query may take its time."""
        self.measure.disabled = True
        threading.Thread(
            target=self.sampled, args=(ticket,), name="nbgov-sample", daemon=True
        ).start()

    def sampled(self, ticket: str) -> None:
        """Read a sample and show it, unless another ticket is shown by then."""
        with self.measuring:
            if self.stopped.is_set() or self.shown is None or self.shown.ticket != ticket:
                return
            try:
                sample = self.session.sample(ticket)
            except NbgovError as error:
                self.say(str(error), is_urgent=True)
                sample = None
        with self.lock:
            if self.shown is not None and self.shown.ticket == ticket:
                self.sample = sample
                self.paint()

    # ------------------------------------------------------------ painting

    def repaint(self, approval: Approval) -> None:
        """Paint the ticket again if it has moved."""
        if approval != self.shown:
            self.shown = approval
            self.paint()

    def paint(self) -> None:
        """Paint the ticket that is shown, and what can be done about it."""
        approval, principal = self.shown, self.session.principal
        if approval is None:
            return
        self.evidence.value = ticket_html(approval, sample=self.sample, viewer=principal.name)
        no_vote = docket.why_no_vote(principal, approval)
        no_revoke = docket.why_no_revoke(principal, approval)
        no_review = docket.why_no_review(principal, approval)
        for each, why in (
            (self.approve, no_vote),
            (self.deny, no_vote),
            (self.revoke, no_revoke),
            (self.review, no_review),
        ):
            each.disabled = bool(why)
        self.measure.disabled = approval.state not in LIVE
        self.reason.disabled = bool(no_vote and no_revoke and no_review)
        self.hint.value = told_html(docket.hint(principal, approval), "")

    def say(self, text: str, *, is_urgent: bool = False) -> None:
        """Say what came of something; a screen reader speaks it."""
        self.status.value = told_html(text, "alert" if is_urgent else "status")


def button(label: str, tip: str, action: Callable[[], None], colour: str = "") -> ipywidgets.Button:
    """A button that calls an action, once a ticket is there to take it on."""
    style = {"button_color": colour, "text_color": "white"} if colour else {}
    made = ipywidgets.Button(
        description=label, tooltip=tip, style=style, disabled=True, layout={"width": "auto"}
    )
    made.on_click(lambda _: action())
    return made

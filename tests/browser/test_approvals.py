"""Two people, two browsers, one statement: asked for, looked at, voted on, and run once.

The requester and the reviewer have a Chromium context and a kernel each; they share the folder of
``nbgov.yaml`` and nothing else. Pictures of every step are kept, for people to look at.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator, expect

from tests.browser import scene
from tests.browser.lab import KERNEL_MS, Desk, complaints, serving
from tests.mlflow.browser import Window

pytestmark = pytest.mark.slow

CONNECT = "%load_ext nbgov\n%nbgov connect --as {}"
GOLD = ["gold"] * 3 + ["basic"] * 9
BASIC = ["basic"] * 12


@dataclass
class Meeting:
    """Both people at their notebooks.

    Attributes:
        folder: The shop.
        ada, grace: The requester's and the reviewer's desk.
        windows: Their windows, in the same order.
        scheme: ``light`` or ``dark``.
    """

    folder: object
    ada: Desk
    grace: Desk
    windows: tuple[Window, Window]
    scheme: str

    def shot(self, name: str) -> None:
        """Keep a picture of both windows."""
        for who, window in zip(("ada", "grace"), self.windows, strict=True):
            window.shot(f"{self.scheme}-{name}-{who}")

    def inbox(self) -> Locator:
        """Open the reviewer's inbox in the second cell, and return it."""
        self.grace.run(1)
        inbox = self.grace.output(1)
        expect(inbox.get_by_role("button", name="Approve")).to_be_enabled()
        return inbox


@pytest.fixture
def meet(tmp_path, browser):
    """Opens both desks with the requester's statement in a notebook."""
    with ExitStack() as stack:

        def open_desks(statement, scheme="light"):
            scene.build(tmp_path)
            scene.write_notebook(
                tmp_path / "ada.ipynb",
                [CONNECT.format(scene.ADA), statement, "'the next cell ran'"],
            )
            scene.write_notebook(
                tmp_path / "grace.ipynb", [CONNECT.format(scene.GRACE), "%nbgov approvals"]
            )
            lab = stack.enter_context(serving(tmp_path, scheme=scheme))
            windows = tuple(stack.enter_context(browser.window(scheme)) for _ in range(2))
            ada, grace = (
                Desk(window.page, lab, f"{name}.ipynb")
                for name, window in zip(("ada", "grace"), windows, strict=True)
            )
            for desk in (ada, grace):
                desk.open()
                desk.run(0)
            return Meeting(tmp_path, ada, grace, windows, scheme)

        yield open_desks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_change_is_looked_at_approved_and_run_in_the_same_cell(meet, scheme):
    """The reviewer sees what would change, approves, and the requester's cell shows that it ran."""
    meeting = meet(f"%%govsql\n{scene.UPDATE}", scheme)
    meeting.ada.run(1)
    asked = meeting.ada.output(1)
    expect(asked).to_contain_text("waits for approval")
    expect(asked.get_by_role("button", name="Cancel request")).to_be_visible()
    expect(asked.get_by_role("button", name="Approve")).to_have_count(0)
    meeting.shot("1-asked")
    inbox = meeting.inbox()
    expect(inbox).to_contain_text("customers.tier")
    expect(inbox).to_contain_text("3 rows")
    expect(inbox).to_contain_text(scene.ADA)
    expect(inbox).to_contain_text("advisory")
    expect(inbox.get_by_role("button", name="Measure sample again")).to_be_enabled()
    expect(inbox).to_contain_text("basic")
    meeting.shot("2-looked-at")
    assert scene.tiers(meeting.folder) == BASIC
    inbox.get_by_role("button", name="Approve").click()
    expect(asked).to_contain_text("3 rows affected", timeout=KERNEL_MS)
    expect(asked).to_contain_text("consumed", timeout=KERNEL_MS)
    meeting.shot("3-ran")
    assert scene.tiers(meeting.folder) == GOLD
    for desk in (meeting.ada, meeting.grace):
        assert complaints(desk.page, ".jp-Notebook .jp-OutputArea") == []
    for window in meeting.windows:
        assert window.left == []


def test_a_denial_tells_the_requester_why(meet):
    """The reason of a denial stands in the requester's cell, and nothing ran."""
    meeting = meet(f"%%govsql\n{scene.UPDATE}")
    meeting.ada.run(1)
    inbox = meeting.inbox()
    inbox.get_by_label("Reason").fill("not before the audit")
    inbox.get_by_role("button", name="Deny").click()
    asked = meeting.ada.output(1)
    expect(asked).to_contain_text("not before the audit", timeout=KERNEL_MS)
    meeting.shot("denied")
    meeting.ada.run(1)
    expect(meeting.ada.output(1)).to_contain_text("not before the audit")
    assert scene.tiers(meeting.folder) == BASIC


def test_the_result_of_a_read_lands_in_the_cell_that_asked(meet):
    """A read that needs consent shows its rows where it was asked for, after the vote."""
    meeting = meet(f"%%govsql\n{scene.READ}")
    meeting.ada.run(1)
    expect(meeting.ada.output(1)).not_to_contain_text("20.25")
    meeting.inbox().get_by_role("button", name="Approve").click()
    expect(meeting.ada.output(1)).to_contain_text("20.25", timeout=KERNEL_MS)
    meeting.shot("read")
    meeting.ada.run(1)
    expect(meeting.ada.output(1)).to_contain_text("20.25")


def test_reloading_both_pages_loses_nothing(meet):
    """After a reload in between, the ticket is the same, can be approved, and runs once."""
    meeting = meet(f"%%govsql\n{scene.UPDATE}")
    meeting.ada.run(1)
    meeting.inbox()
    for desk in (meeting.ada, meeting.grace):
        desk.save()
        desk.open()
    expect(meeting.ada.output(1)).to_contain_text("requested")
    meeting.shot("reloaded")
    meeting.inbox().get_by_role("button", name="Approve").click()
    expect(meeting.grace.output(1)).to_contain_text("approved", timeout=KERNEL_MS)
    meeting.ada.run(1)
    expect(meeting.ada.output(1)).to_contain_text("3 rows affected", timeout=KERNEL_MS)
    assert scene.tiers(meeting.folder) == GOLD


def test_a_consent_outlives_the_kernel_that_asked(meet):
    """After a restart of the requester's kernel the same cell finds its ticket, and runs once."""
    meeting = meet(f"%%govsql\n{scene.UPDATE}")
    meeting.ada.run(1)
    meeting.ada.restart()
    meeting.inbox().get_by_role("button", name="Approve").click()
    expect(meeting.grace.output(1)).to_contain_text("approved", timeout=KERNEL_MS)
    assert scene.tiers(meeting.folder) == BASIC
    meeting.ada.run(0)
    meeting.ada.run(1)
    expect(meeting.ada.output(1)).to_contain_text("3 rows affected", timeout=KERNEL_MS)
    assert scene.tiers(meeting.folder) == GOLD


def test_a_vote_needs_no_mouse(meet):
    """From the inbox's list a reviewer reaches reason and buttons by Tab, and votes with Space."""
    meeting = meet(f"%%govsql\n{scene.DELETE}")
    meeting.ada.run(1)
    inbox = meeting.inbox()
    page = meeting.grace.page
    inbox.get_by_role("listbox").focus()
    expect(inbox.get_by_role("button", name="Measure sample again")).to_be_enabled()
    expect(inbox.get_by_role("listbox")).to_be_focused()
    buttons = (inbox.get_by_role("button", name=name) for name in ("Previous", "Next"))
    approve = inbox.get_by_role("button", name="Approve")
    for place in (*buttons, inbox.get_by_label("Reason"), approve):
        page.keyboard.press("Tab")
        expect(place).to_be_focused()
    page.keyboard.press("Space")
    expect(meeting.ada.output(1)).to_contain_text("consumed", timeout=KERNEL_MS)
    assert len(scene.tiers(meeting.folder)) == 11


def test_a_cell_that_waits_goes_on_when_the_vote_comes(meet):
    """With --wait the cell itself returns the result, and the cells below it run after it."""
    meeting = meet(f"%%govsql --wait\n{scene.READ}")
    meeting.ada.start(1)
    expect(meeting.ada.output(1)).to_contain_text("requested", timeout=KERNEL_MS)
    meeting.inbox().get_by_role("button", name="Approve").click()
    expect(meeting.ada.output(1)).to_contain_text("20.25", timeout=KERNEL_MS)


def test_the_saved_notebook_says_what_became_of_the_ticket(meet):
    """Read without a kernel, the file names the ticket, who voted and how it ended."""
    meeting = meet(f"%%govsql\n{scene.UPDATE}")
    meeting.ada.run(1)
    meeting.inbox().get_by_role("button", name="Approve").click()
    expect(meeting.ada.output(1)).to_contain_text("consumed", timeout=KERNEL_MS)
    saved = meeting.ada.save()
    told = "".join(
        text
        for output in saved.cells[1].outputs
        for kind, text in output.get("data", {}).items()
        if kind == "text/plain"
    )
    assert scene.GRACE in told
    assert "consumed" in told

"""The requester's card and ``--wait`` on every kernel, in every kind of front end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nbgov
from nbgov.errors import ApprovalNeeded
from nbgov.model import ApprovalState
from tests.browser.scene import ADA, GRACE, READ, UPDATE, build, tiers
from tests.kernels.conftest import start
from tests.kernels.frontend import VIEW

pytestmark = pytest.mark.slow

# Three rows to the power of twenty.
ENDLESS = "SELECT count(*) AS n FROM " + ", ".join(f"orders o{n}" for n in range(20))
NBGOV = Path(sys.executable).with_name("nbgov")
CHANGE = f"%%govsql\n{UPDATE}"
WAITING = f"%%govsql --wait\n{UPDATE}"
# Where a cell that awaits hears a click; elsewhere it hears nothing but the store, and Stop.
HEARS_CLICKS = {
    ("7.1", "subshell"),
    ("7.3", "subshell"),
    ("7.4", "subshell"),
    ("7.4", "no-subshell"),
}


@pytest.fixture
def shop(tmp_path):
    """The folder of a shop in which every change, and every look at orders, needs a vote."""
    return build(tmp_path)


@pytest.fixture
def ada(front, shop):
    """A notebook in which Ada is connected to the shop."""
    return enter(front, shop, ADA)


@pytest.fixture
def grace(shop):
    """The reviewer's own session, in a process of her own."""
    with nbgov.connect(shop, as_=GRACE) as session:
        yield session


def enter(front, shop, name):
    """Connect a notebook as somebody."""
    cell = front.run(f"%cd -q {shop}\n%load_ext nbgov\n%nbgov connect --as {name}")
    assert cell.error is None, cell.error
    return front


def ticket_of(session):
    """The one ticket that waits."""
    (approval,) = session.pending()
    return approval.ticket


def told(front, text):
    """Wait until a widget says something."""
    front.until(
        lambda: any(text in str(state.get("value")) for state in front.widgets.values()), text
    )


def ask(front, code=CHANGE):
    """Run a cell that needs a vote, and give it."""
    cell = front.run(code)
    assert cell.status == "error"
    assert cell.error[0] == "ApprovalNeeded"
    return cell


def test_an_approved_statement_runs_by_itself_and_its_cell_takes_the_result_once(ada, grace, shop):
    """A vote makes the card run the statement; the cell's next run takes what came, the one after asks."""
    cell = ask(ada)
    assert any(VIEW in output for output in cell.outputs)
    assert set(tiers(shop)) == {"basic"}
    grace.vote(ticket_of(grace), is_approval=True)
    told(ada, "Done.")
    ada.until(lambda: "consumed" in cell.shown(), "the record of the run")
    assert tiers(shop)[:4] == ["gold", "gold", "gold", "basic"]
    again = ada.run(CHANGE)
    assert again.error is None, again.error
    assert "3 rows" in again.shown()
    assert not grace.pending()
    ask(ada)
    assert ticket_of(grace)


def test_what_was_read_lands_in_the_cell_that_asked(ada, grace):
    """The rows of an approved read are shown in the cell that asked, and handed over as a frame."""
    cell = ask(ada, f"%%govsql\n{READ}")
    assert "20.25" not in cell.shown()
    grace.vote(ticket_of(grace), is_approval=True)
    ada.until(lambda: "20.25" in cell.shown(), "the rows in the cell")
    again = ada.run(f"%%govsql\n{READ}")
    assert again.error is None
    assert "20.25" in again.shown()
    assert ada.run("print(len(_))").printed == "3\n"


def test_run_all_stops_at_a_cell_that_waits_for_a_vote(ada):
    """The cells behind a cell that waits do not run, and the error is one line."""
    first, second = ada.send(CHANGE), ada.send("print('stale')")
    ada.until(lambda: first.is_done and second.is_done, "both cells")
    assert first.error[0] == "ApprovalNeeded"
    assert not any("Traceback" in line for line in first.error[2])
    assert (second.status, second.printed) == ("aborted", "")


def test_cancel_query_stops_a_statement_that_runs(ada, grace):
    """The card's button stops what the worker runs, and the kernel is usable all the while."""
    ask(ada, f"%%govsql\n{ENDLESS}")
    grace.vote(ticket_of(grace), is_approval=True)
    told(ada, "Running")
    assert ada.run("print(6 * 7)").printed == "42\n"
    ada.click("Cancel query")
    told(ada, "it failed")


def test_stop_stops_a_cell_that_takes_what_runs(ada, grace):
    """Stop ends the statement where the cell was run again while its statement runs."""
    ask(ada, f"%%govsql\n{ENDLESS}")
    grace.vote(ticket_of(grace), is_approval=True)
    told(ada, "Running")
    again = ada.send(f"print('waits')\nget_ipython().run_cell_magic('govsql', '', {ENDLESS!r})")
    ada.until(lambda: again.printed, "the cell")
    ada.interrupt()
    ada.until(lambda: again.is_done, "the end of the cell")
    assert again.error is not None
    assert ada.run("print(6 * 7)").printed == "42\n"


def test_cancel_request_ends_the_ticket(ada, grace):
    """The card's button takes the request back."""
    ask(ada)
    ticket = ticket_of(grace)
    ada.click("Cancel request")
    told(ada, "Cancelled by")
    assert grace.approval(ticket).state is ApprovalState.CANCELLED


def test_a_vote_after_a_restart_is_used_by_the_cell_that_asked(ada, grace, shop):
    """A ticket outlives its kernel: after a restart and a vote, the cell runs its statement."""
    ask(ada)
    ada.restart()
    grace.vote(ticket_of(grace), is_approval=True)
    again = enter(ada, shop, ADA).run(CHANGE)
    assert again.error is None, again.error
    assert tiers(shop)[:4] == ["gold", "gold", "gold", "basic"]
    assert not grace.pending()


# ---------------------------------------------------------------- --wait


def begin(front, session, code=WAITING):
    """Send a cell that waits, and give it and its ticket once it does."""
    cell = front.send(code)
    told(front, "Waiting")
    assert not cell.is_done, cell.error
    return cell, ticket_of(session)


def test_a_waiting_cell_goes_on_with_a_vote_from_the_command_line(ada, grace, shop):
    """A vote of another process releases a cell that waits, on every kernel, and cells go on."""
    cell, ticket = begin(ada, grace)
    after = ada.send("print('after')")
    command = [NBGOV, "approvals", "approve", ticket, "--as", GRACE, "--yes"]
    subprocess.run(command, cwd=shop, check=True, capture_output=True)
    ada.until(lambda: after.is_done, "both cells")
    assert cell.status == "ok", cell.error
    assert "3 rows" in cell.shown()
    assert tiers(shop)[:4] == ["gold", "gold", "gold", "basic"]
    assert after.printed == "after\n"


def test_a_denial_is_raised_in_a_waiting_cell(ada, grace, shop):
    """A denial ends the wait with an error that says who and why, and stops the cells behind."""
    cell, ticket = begin(ada, grace)
    after = ada.send("print('after')")
    grace.vote(ticket, is_approval=False, reason="not on a Monday")
    ada.until(lambda: after.is_done, "both cells")
    assert cell.error[0] == "Denied"
    assert "not on a Monday" in "".join(cell.error[2])
    assert after.status == "aborted"
    assert set(tiers(shop)) == {"basic"}


def test_stop_ends_the_wait_and_not_the_ticket(ada, grace):
    """Stop ends a cell that waits on every kernel, and the ticket stays open."""
    cell, ticket = begin(ada, grace)
    ada.interrupt()
    ada.until(lambda: cell.is_done, "the end of the cell")
    assert cell.error[0] == "ApprovalNeeded"
    assert ticket_of(grace) == ticket
    assert ada.run("print(6 * 7)").printed == "42\n"


def test_a_click_reaches_a_waiting_cell_where_the_kernel_lets_it(ada, grace, place):
    """Cancel request ends the wait at once where clicks are heard, and else when the cell ended."""
    cell, ticket = begin(ada, grace)
    ada.click("Cancel request")
    if place not in HEARS_CLICKS:
        ada.interrupt()
    ada.until(lambda: cell.is_done, "the end of the cell")
    assert cell.status == "error"
    told(ada, "Cancelled by")
    assert grace.approval(ticket).state is ApprovalState.CANCELLED


# ---------------------------------------------------------------- the reviewer, and no front end


@pytest.fixture
def asked(shop):
    """Ada's session and the ticket of a statement that she asked for."""
    with nbgov.connect(shop, as_=ADA) as session:
        with pytest.raises(ApprovalNeeded) as need:
            session.sql(UPDATE)
        yield session, need.value.ticket


def test_the_reviewer_approves_in_the_inbox(front, shop, asked):
    """A click in the reviewer's own notebook is their vote, on every kernel."""
    session, ticket = asked
    reviewer = enter(front, shop, GRACE)
    assert reviewer.run("%nbgov approvals").error is None
    reviewer.click("Approve")
    reviewer.until(lambda: session.approval(ticket).state is ApprovalState.APPROVED, "the vote")
    (vote,) = session.approval(ticket).votes
    assert vote.voter == GRACE


def test_the_reviewer_denies_in_the_inbox_with_a_reason(front, shop, asked):
    """What the reviewer types into the inbox is the reason that the requester reads."""
    session, ticket = asked
    reviewer = enter(front, shop, GRACE)
    assert reviewer.run("%nbgov approvals").error is None
    reviewer.write("Reason", "not on a Monday")
    reviewer.click("Deny")
    reviewer.until(lambda: session.approval(ticket).state is ApprovalState.DENIED, "the vote")
    (vote,) = session.approval(ticket).votes
    assert vote.reason == "not on a Monday"


@pytest.fixture
def headless(place, tmp_path_factory):
    """A kernel whose client takes no input, as nbclient and papermill start it."""
    if place[1] == "subshell":
        pytest.skip("who shows no widgets has no subshell")
    front = start(place, tmp_path_factory.mktemp("kernel"), can_ask=False)
    yield front
    front.close()


def test_where_nobody_can_click_there_is_no_widget(headless, shop):
    """Without a front end no comm is opened, with --wait neither, and the error says what to type."""
    enter(headless, shop, ADA)
    cells = [headless.run(CHANGE), headless.run(f"%%govsql --wait --wait-s 1\n{UPDATE}")]
    assert not headless.widgets
    for cell in cells:
        assert cell.error[0] == "ApprovalNeeded"
        assert not any(VIEW in output for output in cell.outputs)
    assert "nbgov approvals approve" in "".join(cells[0].error[2])

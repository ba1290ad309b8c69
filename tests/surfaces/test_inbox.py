"""The reviewer's inbox: real sessions of several people on one folder, and clicks on any thread."""

from __future__ import annotations

import getpass
import sqlite3
import threading
from contextlib import closing

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import nbgov
from nbgov.errors import ApprovalNeeded, RequestInvalid
from nbgov.model import ApprovalState
from nbgov.notebook.inbox import Inbox, inbox
from nbgov.shown import docket

CONFIG = """
version: 1
policy: policy.yaml
connections:
  ops: {{kind: sqlite, path: ops.db}}
principals:
  ada@acme.test: {{accounts: ["{account}"], groups: [analysts], roles: [approver]}}
  bob@acme.test: {{groups: [analysts]}}
  grace@acme.test: {{groups: [stewards], roles: [approver]}}
  eve@acme.test: {{roles: [approver]}}
"""
POLICY = """
version: 1
tags:
  pii.name: ["*.*.seats.guest"]
  public: ["*.*.*.*"]
break_glass:
  by: {groups: [analysts]}
rules:
  - id: read
    effect: permit
    to: {groups: [analysts, stewards]}
    actions: [read]
    "on": ["ops.*.seats"]
    obligations: {masks: {"pii.*": redact}}
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    "on": ["ops.*.seats"]
    obligations:
      approval: {by: {roles: [approver]}, votes: 2}
"""
UPDATE = "UPDATE seats SET place = '2A' WHERE id = 1"
OTHER = "UPDATE seats SET place = '9<b>' WHERE id = 2"
TIMEOUT_S = 60


@pytest.fixture(scope="module", autouse=True)
def shell(tmp_path_factory):
    config = Config()
    config.HistoryManager.enabled = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        yield InteractiveShell.instance(config=config, colors="nocolor")
        InteractiveShell.clear_instance()


@pytest.fixture
def folder(tmp_path):
    with closing(sqlite3.connect(tmp_path / "ops.db")) as ops:
        ops.execute("CREATE TABLE seats (id INTEGER PRIMARY KEY, place TEXT, guest TEXT)")
        ops.executemany("INSERT INTO seats VALUES (?, '1A', 'Mrs. Hopper')", [(1,), (2,)])
        ops.commit()
    config = CONFIG.format(account=getpass.getuser())
    (tmp_path / "nbgov.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def people(folder):
    """A session for each of them, opened as they are asked for."""
    opened = {}

    def session(name):
        if name not in opened:
            opened[name] = nbgov.connect(folder, as_=f"{name}@acme.test")
        return opened[name]

    yield session
    for one in opened.values():
        one.close()


@pytest.fixture
def ada(people):
    return people("ada")


@pytest.fixture
def grace(people):
    return people("grace")


@pytest.fixture
def see(grace):
    """Opens inboxes that look at the store when a test says so, and closes them afterwards."""
    opened = []

    def shown(session=grace, **settings):
        box = Inbox(session, **({"poll_s": TIMEOUT_S} | settings))
        opened.append(box)
        with capture_output():
            box.show()
        return box

    yield shown
    for box in opened:
        box.close()
        assert not box.watcher.is_alive()


def ask(session, sql=UPDATE):
    with pytest.raises(ApprovalNeeded) as caught:
        session.sql(sql)
    return caught.value.ticket


def until(widget, word):
    """Wait until the value of a widget holds a word, whichever thread paints it."""
    seen = threading.Event()

    def look(_=None):
        if word in str(widget.value):
            seen.set()

    widget.observe(look, "value")
    look()
    assert seen.wait(TIMEOUT_S)


def listed(box):
    return [ticket for _, ticket in box.tickets.options]


def off(box):
    """The buttons that cannot be clicked."""
    buttons = (box.approve, box.deny, box.revoke, box.review)
    return [one.description for one in buttons if one.disabled]


# ---------------------------------------------------------------- what is listed


def test_an_inbox_opens_the_ticket_that_waits_longest(ada, see):
    """The list has a readable line for each ticket, and the evidence of the first is shown."""
    first, second = ask(ada), ask(ada, OTHER)
    box = see()
    assert listed(box) == [first, second]
    assert (
        box.tickets.label == f"{first} · waits for you · ada@acme.test · UPDATE main.seats on ops"
    )
    assert "2 wait for you, 2 tickets shown." in box.count.value
    assert "SET" in box.evidence.value
    until(box.evidence, "<del>1A</del>")
    assert "2A" in box.evidence.value
    assert "Hopper" not in box.evidence.value


def test_buttons_go_through_the_list(ada, see):
    """Next and Previous open one ticket after the other, for who cannot use the arrow keys."""
    first, second = ask(ada), ask(ada, OTHER)
    box = see()
    found = []
    for one in (box.later, box.later, box.earlier):
        one.click()
        found.append((box.tickets.value, box.shown.ticket))
    assert found == [(second, second), (first, first), (second, second)]


def test_every_input_has_a_label(ada, see):
    """Nothing that takes input is without a name for a screen reader, and buttons say what for."""
    ask(ada)
    box = see()
    named = (box.view, box.filter, box.tickets, box.reason)
    assert [one.description for one in named] == ["Show", "Filter", "Tickets", "Reason"]
    buttons = (box.approve, box.deny, box.revoke, box.review, box.measure)
    assert all(one.description and one.tooltip for one in buttons)
    assert 'role="status"' in box.count.value


def test_words_filter_the_list(ada, people, see):
    """A ticket is found by requester, table, verb, connection or name; all words have to be there."""
    first, second = ask(ada), ask(people("bob"), OTHER)
    box = see()
    for words, found in {
        "": [first, second], "ADA seats": [first], "bob": [second], second: [second],
        "update ops": [first, second], "ada bob": [],
    }.items():  # fmt: skip
        box.filter.value = words
        assert listed(box) == found
    assert "No ticket matches." in box.count.value


def test_views_are_waiting_mine_and_history(ada, grace, see):
    """Tickets that ended leave the first view, and stay in the viewer's own and in the history."""
    first, second = ask(ada), ask(ada, OTHER)
    grace.vote(first, is_approval=False, reason="no")
    box = see()
    assert listed(box) == [second]
    box.view.value = "mine"
    assert listed(box) == [first]
    box.view.value = "history"
    assert listed(box) == [second, first]
    box.tickets.value = first
    assert "grace@acme.test denied" in box.evidence.value
    assert "You cannot vote on it: it is denied." in box.hint.value


@pytest.mark.parametrize("view", docket.EMPTY)
def test_an_empty_list_says_so(see, view):
    """An inbox without a ticket says that there is none, and offers nothing to click."""
    box = see(view=view)
    assert docket.EMPTY[view] in box.count.value
    assert off(box) == ["Approve", "Deny", "Revoke", "Review"]


# ---------------------------------------------------------------- what is clicked


def test_approve_asks_nothing_more(ada, people, see):
    """A click approves as the viewer; the second voter's click clears the statement."""
    ticket = ask(ada)
    box, other = see(), see(people("eve"))
    box.reason.value = "as <agreed>"
    box.approve.click()
    [vote] = ada.approval(ticket).votes
    assert (vote.voter, vote.is_approval, vote.reason) == ("grace@acme.test", True, "as <agreed>")
    assert "Your approval is counted." in box.status.value
    assert "as &lt;agreed&gt;" in box.evidence.value
    assert "you have voted on it" in box.hint.value
    assert box.reason.value == ""
    other.approve.click()
    assert ada.approval(ticket).state is ApprovalState.APPROVED
    with ada.sql(UPDATE) as result:
        assert result.summary.rows_affected == 1


def test_deny_takes_a_reason(ada, see):
    """Without a reason nothing happens but a word about it; with one the ticket ends."""
    ticket = ask(ada)
    box = see()
    box.reason.value = "  "
    box.deny.click()
    assert "a denial takes a reason" in box.status.value
    assert 'role="alert"' in box.status.value
    assert ada.approval(ticket).votes == ()
    box.reason.value = "wrong row"
    box.deny.click()
    assert ada.approval(ticket).state is ApprovalState.DENIED
    assert listed(box) == []
    assert "wrong row" in box.evidence.value
    with pytest.raises(nbgov.Denied, match="wrong row"):
        ada.sql(UPDATE)


def test_a_consent_is_taken_back_with_a_reason(ada, grace, people, see):
    """Revoke is there once a ticket is approved, and clears nothing afterwards."""
    ticket = ask(ada)
    grace.vote(ticket, is_approval=True)
    people("eve").vote(ticket, is_approval=True)
    box = see()
    assert off(box) == ["Approve", "Deny", "Review"]
    assert "You can take the consent back" in box.hint.value
    box.revoke.click()
    assert ada.approval(ticket).state is ApprovalState.APPROVED
    box.reason.value = "changed my mind"
    box.revoke.click()
    assert ada.approval(ticket).state is ApprovalState.REVOKED
    assert "Revoked." in box.status.value


def test_an_emergency_waits_for_a_review(ada, see):
    """A ticket that was used without votes is in the list until somebody says what came of it."""
    ticket = ask(ada)
    ada.break_glass(ticket, reason="the site is down")
    ada.sql(UPDATE).close()
    box = see()
    assert "review it" in box.tickets.label
    assert "the site is down" in box.evidence.value
    assert off(box) == ["Approve", "Deny", "Revoke"]
    box.review.click()
    assert "Say what you found out." in box.status.value
    box.reason.value = "it was needed"
    box.review.click()
    assert ada.approval(ticket).emergency.finding == "it was needed"
    assert listed(box) == []
    own = see(ada, ticket=ticket)
    assert "somebody has looked at it" in docket.why_no_review(ada.principal, own.shown)


def test_a_button_that_is_off_says_why(ada, people, see):
    """A requester, and somebody whom no rule names, read why they cannot vote; nothing is sent."""
    ticket = ask(ada)
    own, stranger = see(ada), see(people("bob"))
    assert "you asked for it yourself" in own.hint.value
    assert "no rule that asks for it names you" in stranger.hint.value
    for box in (own, stranger):
        assert off(box) == ["Approve", "Deny", "Revoke", "Review"]
        assert box.reason.disabled
        assert "0 wait for you" in box.count.value
        box.on_approve()
    assert ada.approval(ticket).votes == ()
    assert "waits for others" in own.tickets.label


def test_what_the_store_refuses_is_told(ada, grace, see):
    """A ticket that ended meanwhile takes no vote, and the inbox says so and raises nothing."""
    ticket = ask(ada)
    box = see()
    ada.cancel_ticket(ticket)
    box.approve.click()
    assert "ticket-conflict" in box.status.value
    box.refresh()
    assert "cancelled" in box.evidence.value


def test_clicks_at_once_are_one_vote(ada, see):
    """Clicks that arrive together on several threads vote once."""
    ticket = ask(ada)
    box, start = see(), threading.Barrier(4)

    def press():
        start.wait()
        box.on_approve()

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ada.approval(ticket).votes) == 1
    assert "Your approval is counted." in box.status.value


def test_the_sample_is_measured_again(ada, folder, see):
    """The rows are read anew when somebody asks, and shown with the ticket."""
    ask(ada)
    box = see()
    until(box.evidence, "<del>1A</del>")
    with closing(sqlite3.connect(folder / "ops.db")) as ops:
        ops.execute("UPDATE seats SET place = '7F'")
        ops.commit()
    box.measure.click()
    until(box.evidence, "<del>7F</del>")


def test_a_sample_that_is_not_to_be_had_says_why(ada, people, see):
    """Who may not read the rows reads why, and can vote all the same."""
    ask(ada)
    box = see(people("eve"))
    until(box.evidence, "No sample: ")
    assert not box.approve.disabled


# ---------------------------------------------------------------- what happens elsewhere


def test_tickets_come_and_go_while_somebody_looks(ada, see):
    """New tickets appear and ended ones leave, and the one that is open stays selected."""
    first = ask(ada)
    box = see(poll_s=0.01)
    second = ask(ada, OTHER)
    until(box.count, "2 wait for you")
    assert listed(box) == [first, second]
    assert box.tickets.value == first
    box.tickets.value = second
    ada.cancel_ticket(first)
    until(box.count, "1 waits for you")
    assert listed(box) == [second]
    assert box.tickets.value == second
    assert "9&lt;b&gt;" in box.evidence.value
    ada.cancel_ticket(second)
    until(box.count, "No ticket waits.")
    until(box.evidence, "cancelled")
    assert box.tickets.value is None


def test_a_ticket_that_comes_into_an_empty_inbox_is_opened(ada, see):
    """Who waits for a ticket sees its evidence when it comes."""
    box = see(poll_s=0.01)
    ticket = ask(ada)
    until(box.evidence, ticket)


def test_a_list_that_has_not_changed_is_left_alone(ada, see):
    """A look at the store that finds nothing new sends nothing to the front end."""
    ask(ada)
    box = see()
    until(box.evidence, "<del>1A</del>")
    sent = []
    for one in (box.tickets, box.evidence, box.count, box.hint, box.status, box.approve):
        one.observe(sent.append)
    box.refresh()
    assert sent == []


def test_a_watch_ends_by_itself(ada, see):
    """A forgotten inbox stops looking after a stated number of looks, and says so."""
    box = see(poll_s=0.001, polls_max=3)
    box.watcher.join(TIMEOUT_S)
    assert not box.watcher.is_alive()
    assert "not live any more" in box.status.value


def test_an_error_is_shown_until_it_is_over(ada, folder, see):
    """A store that cannot be read is told in the inbox, and raises nothing into the kernel."""
    ask(ada)
    box = see()
    moved = folder / "moved"
    moved.mkdir()
    files = list((folder / ".nbgov").glob("state.sqlite*"))
    for file in files:
        file.rename(moved / file.name)
    box.refresh()
    assert "  code    " in box.status.value
    for file in files:
        (moved / file.name).rename(file)
    box.refresh()
    assert "code" not in box.status.value


# ---------------------------------------------------------------- without a front end


def told(session, *words):
    """What the magic displays where nobody can click."""
    with capture_output() as captured:
        assert inbox(session, words, can_click=False) is None
    [output] = captured.outputs
    return output.data["text/plain"], output.data["text/html"]


def test_without_a_front_end_there_is_a_static_list(ada, grace):
    """A list with a line for each ticket stands in both forms, and no widget."""
    first, second = ask(ada), ask(ada, OTHER)
    for form in told(grace):
        assert "2 wait for you, 2 tickets shown." in form
        assert first in form
        assert second in form
    grace.vote(first, is_approval=True)
    text, html = told(grace, "mine")
    assert second not in text
    assert "grace@acme.test approved" in html


def test_without_a_front_end_a_ticket_shows_its_evidence(ada, grace):
    """A ticket that is named is shown whole, with its sample."""
    ticket = ask(ada)
    text, html = told(grace, ticket)
    assert "1A → 2A" in text
    assert "<ins>2A</ins>" in html


def test_an_empty_static_list_says_so(grace):
    """No ticket is said to be none."""
    assert told(grace) == told(grace, "waiting")
    assert told(grace)[0] == "No ticket waits."


def test_words_that_name_nothing_are_refused(grace):
    """Another option, or a ticket that is not there, is an error and no empty list."""
    with pytest.raises(RequestInvalid, match="does not take these words"):
        inbox(grace, ["--all"], can_click=False)
    with pytest.raises(RequestInvalid, match="no ticket"):
        inbox(grace, ["0000"], can_click=False)


def test_with_a_front_end_the_magic_opens_an_inbox(ada, grace):
    """The display is one widget whose text does not differ from run to run."""
    ticket = ask(ada)
    texts = []
    for _ in range(2):
        with capture_output() as captured:
            box = inbox(grace, ["history"], can_click=True)
        [output] = captured.outputs
        assert "application/vnd.jupyter.widget-view+json" in output.data
        texts.append(output.data["text/plain"])
        assert box.view.value == "history"
        box.close()
    assert texts == ["nbgov approvals inbox"] * 2
    with capture_output():
        box = inbox(grace, [ticket], can_click=True)
    assert box.shown.ticket == ticket
    box.close()

"""The approval card: clicks on any thread, votes from elsewhere, and a real kernel."""

from __future__ import annotations

import getpass
import os
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from traitlets.config import Config

import nbgov
from nbgov.model import ApprovalState
from nbgov.notebook.widget import Card

CONFIG = """
version: 1
policy: policy.yaml
connections:
  ops: {{kind: sqlite, path: ops.db}}
principals:
  ada@acme.test: {{accounts: ["{account}"], groups: [analysts], roles: [approver]}}
  grace@acme.test: {{roles: [approver]}}
  eve@acme.test: {{roles: [approver]}}
"""
POLICY = """
version: 1
tags:
  public: ["*.*.*.*"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    "on": ["*.*.*"]
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    "on": ["ops.*.seats"]
    obligations:
      approval: {by: {roles: [approver]}, votes: 2}
"""
UPDATE = "UPDATE seats SET place = '2A' WHERE id = 1"
ENDLESS = "SELECT count(*) AS n FROM " + ", ".join(f"seats s{i}" for i in range(9))
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
        ops.execute("CREATE TABLE seats (id INTEGER, place TEXT)")
        ops.executemany("INSERT INTO seats VALUES (?, '1A')", [(n,) for n in range(100)])
        ops.commit()
    config = CONFIG.format(account=getpass.getuser())
    (tmp_path / "nbgov.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def ada(folder):
    with nbgov.connect(folder) as session:
        yield session


@pytest.fixture
def grace(folder):
    with nbgov.connect(folder, as_="grace@acme.test") as session:
        yield session


@pytest.fixture
def eve(folder):
    with nbgov.connect(folder, as_="eve@acme.test") as session:
        yield session


@pytest.fixture
def ticket(ada):
    with pytest.raises(nbgov.ApprovalNeeded) as caught:
        ada.sql(UPDATE)
    return caught.value.ticket


@pytest.fixture
def show():
    """Shows cards, says what was displayed, and closes them afterwards."""
    cards = []

    def shown(session, ticket, **settings):
        card = Card(session, session.approval(ticket), **({"poll_s": TIMEOUT_S} | settings))
        cards.append(card)
        with capture_output() as captured:
            card.show()
        return card, captured.outputs

    yield shown
    for card in cards:
        card.close()
        assert not card.watcher.is_alive()


def click(card, label):
    """Click a button as a front end does, and give what was displayed meanwhile."""
    [button] = [button for button in card.buttons if button.description == label]
    with capture_output() as captured:
        button.click()
    return captured.outputs


def until(card, word):
    """Wait until the message of a card holds a word, whichever thread paints it."""
    seen = threading.Event()

    def look(_=None):
        if word in card.message.value:
            seen.set()

    card.message.observe(look, "value")
    look()
    assert seen.wait(TIMEOUT_S)


# ---------------------------------------------------------------- the requester


def test_a_card_is_a_record_and_buttons(ada, ticket, show):
    """The record is static and says everything; the widget below it says nothing that varies."""
    card, (record, box) = show(ada, ticket, is_inbox=False)
    assert UPDATE in record.data["text/plain"]
    assert ticket in record.data["text/html"]
    assert [button.description for button in card.buttons] == ["Check again", "Cancel request"]
    again = show(ada, ticket, is_inbox=False)[1][1]
    assert box.data["text/plain"] == again.data["text/plain"]


def test_check_again_shows_where_the_ticket_stands(ada, grace, eve, ticket, show):
    """A requester sees consent that was given elsewhere, and is told to run the cell again."""
    card, _ = show(ada, ticket, is_inbox=False)
    grace.vote(ticket, is_approval=True)
    eve.vote(ticket, is_approval=True)
    [record] = click(card, "Check again")
    assert "approved (advisory)" in record.data["text/plain"]
    assert "grace@acme.test approved" in record.data["text/plain"]
    assert "Running the cell again runs the statement once" in card.message.value
    assert not card.buttons[1].disabled


def test_a_requester_can_take_the_request_back(ada, ticket, show):
    """A cancelled ticket clears nothing, and its card can do no more."""
    card, _ = show(ada, ticket, is_inbox=False)
    click(card, "Cancel request")
    assert ada.approval(ticket).state is ApprovalState.CANCELLED
    assert all(button.disabled for button in card.buttons)


# ---------------------------------------------------------------- the voter


def test_a_vote_carries_the_viewers_name_and_reason(grace, ticket, show):
    """Approve sends one vote of the viewer's own session, and the record shows it."""
    card, _ = show(grace, ticket, is_inbox=True)
    card.reason.value = "ticket <4711>"
    [record] = click(card, "Approve")
    [vote] = grace.approval(ticket).votes
    assert (vote.voter, vote.is_approval, vote.reason) == ("grace@acme.test", True, "ticket <4711>")
    assert "grace@acme.test approved" in record.data["text/plain"]
    assert "ticket &lt;4711&gt;" in record.data["text/html"]
    assert all(button.disabled for button in card.buttons)


def test_a_refusal_ends_the_ticket(ada, grace, ticket, show):
    """Refuse stops the statement, and the requester is told why."""
    card, _ = show(grace, ticket, is_inbox=True)
    card.reason.value = "wrong row"
    click(card, "Refuse")
    assert "Refused" in card.message.value
    with pytest.raises(nbgov.Denied, match="wrong row"):
        ada.sql(UPDATE)


def test_clicks_at_once_are_one_vote(grace, ticket, show):
    """Clicks that arrive together on several threads vote once."""
    card, _ = show(grace, ticket, is_inbox=True)
    start = threading.Barrier(4)

    def press():
        start.wait()
        card.vote(is_approval=True)

    threads = [threading.Thread(target=press) for _ in range(4)]
    with capture_output():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(grace.approval(ticket).votes) == 1
    assert "Waiting" in card.message.value


def test_nobody_approves_their_own_ticket(ada, ticket, show):
    """The store refuses self-approval, whatever the role, and the card says so and stays open."""
    card, _ = show(ada, ticket, is_inbox=True)
    assert click(card, "Approve") == []
    assert "self-approval" in card.message.value
    assert ada.approval(ticket).votes == ()
    assert not card.buttons[0].disabled


def test_an_error_is_shown_in_the_card(grace, folder, ticket, show):
    """A click that fails says why in the card, and raises nothing into the kernel."""
    card, _ = show(grace, ticket, is_inbox=True)
    for file in (folder / ".nbgov").glob("state.sqlite*"):
        file.unlink()
    click(card, "Approve")
    assert "  code    " in card.message.value


# ---------------------------------------------------------------- votes from elsewhere


def test_a_vote_from_elsewhere_changes_the_card(ada, grace, eve, ticket, show):
    """A card notices votes given in another session, and ends its watch with the ticket."""
    card, _ = show(ada, ticket, is_inbox=False, poll_s=0.01)
    grace.vote(ticket, is_approval=True)
    eve.vote(ticket, is_approval=True)
    until(card, "Approved")
    ada.sql(UPDATE)
    until(card, "Used")
    card.watcher.join(TIMEOUT_S)
    assert not card.watcher.is_alive()


def test_a_watch_ends_by_itself(ada, ticket, show):
    """A forgotten card stops looking after a stated number of looks."""
    card, _ = show(ada, ticket, is_inbox=False, poll_s=0.001, polls_max=3)
    card.watcher.join(TIMEOUT_S)
    assert not card.watcher.is_alive()
    assert not card.stopped.is_set()


# ---------------------------------------------------------------- a real kernel


class Kernel:
    """A kernel of its own process, and a front end that can click."""

    def __init__(self, folder):
        self.manager = KernelManager(transport="ipc", ip=str(folder / "k"))
        command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher"]
        self.manager._kernel_spec = KernelSpec(argv=[*command, "-f", "{connection_file}"])
        source = str(Path(nbgov.__file__).parents[1])
        self.manager.start_kernel(cwd=str(folder), env=os.environ | {"PYTHONPATH": source})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def messages(self, request):
        """What the kernel publishes until it has dealt with a request."""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message

    def run(self, code, *, can_click=True):
        request = self.client.execute(code, allow_stdin=can_click)
        return list(self.messages(request))

    def interrupt(self, code):
        """Press Stop once a cell runs, which it says itself."""
        request = self.client.execute(f"print('running', flush=True)\n{code}")
        for message in self.messages(request):
            if message["msg_type"] == "stream":
                self.manager.interrupt_kernel()
            yield message

    def click(self, model):
        """Click a button, as the widget manager of a front end does."""
        data = {"method": "custom", "content": {"event": "click"}}
        content = {"comm_id": model, "data": data}
        message = self.client.session.msg("comm_msg", content)
        self.client.shell_channel.send(message)
        return list(self.messages(message["header"]["msg_id"]))


@pytest.fixture
def kernel(folder):
    kernel = Kernel(folder)
    yield kernel
    kernel.close()


def of_type(messages, kind):
    return [message["content"] for message in messages if message["msg_type"] == kind]


def test_a_click_in_a_real_kernel_votes(ada, kernel, ticket):
    """In a kernel, the inbox shows a card, a click votes, and the record changes in place."""
    kernel.run("%load_ext nbgov\n%nbgov connect --as grace@acme.test")
    messages = kernel.run("%nbgov approvals")
    record, box = of_type(messages, "display_data")
    assert UPDATE in record["data"]["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in box["data"]
    [approve] = [
        opened["comm_id"]
        for opened in of_type(messages, "comm_open")
        if opened["data"]["state"].get("description") == "Approve"
    ]
    [update] = of_type(kernel.click(approve), "update_display_data")
    assert "grace@acme.test approved" in update["data"]["text/plain"]
    assert update["transient"] == record["transient"]
    assert [vote.voter for vote in ada.approval(ticket).votes] == ["grace@acme.test"]


def test_a_card_in_an_idle_kernel_hears_of_votes(grace, eve, kernel, ticket):
    """A kernel that does nothing shows consent that was given in another process."""
    kernel.run("%load_ext nbgov")
    [record, _] = of_type(kernel.run(f"%govsql {UPDATE}"), "display_data")
    assert ticket in record["data"]["text/plain"]
    grace.vote(ticket, is_approval=True)
    eve.vote(ticket, is_approval=True)
    while True:
        message = kernel.client.get_iopub_msg(timeout=TIMEOUT_S)
        if message["msg_type"] == "update_display_data":
            text = message["content"]["data"]["text/plain"]
            if "approved (advisory)" in text:
                break
    assert message["content"]["transient"] == record["transient"]
    [done] = of_type(kernel.run(f"%govsql {UPDATE}"), "display_data")
    assert done["data"]["text/plain"] == "UPDATE: 1 row affected"


def test_stop_leaves_no_half_state(kernel):
    """Stop ends a running query; the variable keeps its value and the kernel takes the next one."""
    kernel.run("%load_ext nbgov\nx = 'old'")
    messages = list(kernel.interrupt(f"%govsql x << {ENDLESS}"))
    [error] = of_type(messages, "error")
    assert error["ename"] in {"KeyboardInterrupt", "BackendFailed"}
    [kept] = of_type(kernel.run("x"), "execute_result")
    assert kept["data"]["text/plain"] == "'old'"
    [shown] = of_type(kernel.run("%govsql x << SELECT id FROM seats"), "display_data")
    assert shown["data"]["text/plain"] == "x: 100 rows, 1 column"


def test_run_all_stops_at_a_card(kernel):
    """A cell that waits for approval fails after its card; without a front end there is no card."""
    kernel.run("%load_ext nbgov")
    messages = kernel.run(f"%govsql {UPDATE}")
    assert len(of_type(messages, "display_data")) == 2
    [error] = of_type(messages, "error")
    assert error["ename"] == "ApprovalNeeded"
    assert len(error["traceback"]) <= 6
    messages = kernel.run(f"%govsql {UPDATE}", can_click=False)
    assert of_type(messages, "display_data") == []
    assert of_type(messages, "comm_open") == []
    [error] = of_type(messages, "error")
    assert "nbgov approvals approve" in error["evalue"]

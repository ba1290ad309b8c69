"""What a requester sees of a ticket: card, record, --wait, and what came of it, once."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from traitlets.config import Config

import nbgov
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied, IntegrityFailed
from nbgov.model import ApprovalState
from nbgov.notebook import worker
from nbgov.notebook.card import Card
from nbgov.notebook.waiting import await_waiting
from nbgov.notebook.worker import Errand, Order, Stage

CONFIG = """
version: 1
policy: policy.yaml
default_connection: ops
connections:
  ops: {{kind: sqlite, path: ops.db}}
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
principals:
  ada@acme.test: {{accounts: ["{account}"], groups: [analysts], roles: [approver]}}
  grace@acme.test: {{roles: [approver]}}
  eve@acme.test: {{roles: [approver]}}
"""
POLICY = """
version: 1
tags:
  pii.email: ["*.*.staff.email"]
  public: ["*.*.*.*"]
break_glass:
  by: {groups: [analysts]}
rules:
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    "on": ["ops.*.seats"]
    obligations:
      approval: {by: {roles: [approver]}, votes: 2}
  - id: look
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    "on": ["warehouse.*.*", "ops.*.crew"]
    obligations:
      masks: {"pii.*": redact}
      approval: {by: {roles: [approver]}, votes: 1}
  - id: free
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    "on": ["ops.*.seats"]
"""
UPDATE = "UPDATE seats SET sold = sold + 1 WHERE id = 1"
STAFF = "SELECT id, email FROM staff ORDER BY id"
ENDLESS = "SELECT count(*) AS n FROM " + ", ".join(f"crew c{i}" for i in range(9))
TIMEOUT_S = 60


@pytest.fixture(scope="module", autouse=True)
def shell(tmp_path_factory):
    config = Config()
    config.HistoryManager.enabled = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        yield InteractiveShell.instance(config=config, colors="nocolor")
        InteractiveShell.clear_instance()


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    with closing(sqlite3.connect(folder / "ops.db")) as ops:
        ops.execute("CREATE TABLE seats (id INTEGER PRIMARY KEY, sold INTEGER)")
        ops.execute("CREATE TABLE crew (id INTEGER)")
        ops.executemany("INSERT INTO crew VALUES (?)", [(n,) for n in range(100)])
        ops.executemany("INSERT INTO seats VALUES (?, 0)", [(n,) for n in range(100)])
        ops.commit()
    with duckdb.connect(folder / "warehouse.duckdb") as warehouse:
        warehouse.execute("CREATE TABLE staff AS SELECT 1 AS id, '<ada@acme.test>' AS email")
    return folder


@pytest.fixture
def folder(databases, tmp_path, monkeypatch):
    shutil.copytree(databases, tmp_path, dirs_exist_ok=True)
    config = CONFIG.format(account=getpass.getuser())
    (tmp_path / "nbgov.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "BRISK_S", 0.02)
    return tmp_path


@pytest.fixture
def voters(folder):
    """Two people who may vote, each with a session of their own."""
    sessions = [nbgov.connect(folder, as_=f"{name}@acme.test") for name in ("grace", "eve")]
    yield sessions
    for session in sessions:
        session.close()


@pytest.fixture
def approve(voters):
    """Gives a ticket all its votes."""

    def give(ticket):
        for voter in voters:
            if voter.approval(ticket).state is ApprovalState.REQUESTED:
                voter.vote(ticket, is_approval=True, reason="as agreed")

    return give


def sold(folder):
    with closing(sqlite3.connect(folder / "ops.db")) as ops:
        return ops.execute("SELECT sold FROM seats WHERE id = 1").fetchone()[0]


# ---------------------------------------------------------------- a shell with a front end


class Notebook:
    """Runs cells; an error in a cell is raised, and what was displayed is kept."""

    def __init__(self, shell):
        self.shell = shell
        self.outputs, self.stdout = [], ""

    def __call__(self, cell):
        with capture_output() as captured:
            outcome = self.shell.run_cell(cell)
        self.outputs, self.stdout = captured.outputs, captured.stdout + captured.stderr
        outcome.raise_error()
        return outcome.result

    def ask(self, cell):
        """Run a cell that has to wait, and give its ticket."""
        with pytest.raises(ApprovalNeeded) as caught:
            self(cell)
        return caught.value.ticket

    @property
    def magics(self):
        return self.shell.magics_manager.registry["GovernedMagics"]

    @property
    def errand(self):
        """The errand that was opened last."""
        return list(self.magics.desk.errands.values())[-1]

    @property
    def card(self):
        """The card of that errand."""
        [paint] = [one for one in self.errand.listeners if one.__name__ == "paint"]
        return paint.__self__

    def settle(self):
        """Wait until the errand has come to an end, and the card has been told."""
        errand = self.errand
        assert errand.settled.wait(TIMEOUT_S)
        errand.watcher.join(TIMEOUT_S)
        if errand.worker is not None:
            errand.worker.join(TIMEOUT_S)
        return errand


@pytest.fixture
def notebook(shell, folder):
    shell.extension_manager.load_extension("nbgov")
    shell.kernel = SimpleNamespace(_allow_stdin=True)
    yield Notebook(shell)
    del shell.kernel
    shell.extension_manager.unload_extension("nbgov")
    shell.user_ns.pop("x", None)


def click(button):
    with capture_output() as captured:
        button.click()
    return captured.outputs


def until(card, word):
    """Wait until the status of a card holds a word, whichever thread paints it."""
    seen = threading.Event()

    def look(_=None):
        if word in card.status.value:
            seen.set()

    card.status.observe(look, "value")
    look()
    assert seen.wait(TIMEOUT_S), card.status.value


def test_a_cell_that_waits_shows_a_record_and_a_card(notebook):
    """Both say the ticket; the error is one line; text that is compared has nothing that varies."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    box, record = notebook.outputs
    assert UPDATE in record.data["text/plain"]
    assert ticket in record.data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in box.data
    assert box.data["text/plain"] == "nbgov approval card"
    [line] = notebook.stdout.strip().split("\n")
    assert ticket in line
    assert "run this cell again" in line


def test_the_error_is_the_same_in_another_folder(notebook, folder, tmp_path_factory):
    """Notebooks are compared by the text of their errors, so a ticket is named by what it is about."""
    with pytest.raises(ApprovalNeeded) as first:
        notebook(f"%govsql {UPDATE}")
    other = tmp_path_factory.mktemp("other")
    for name in ("nbgov.yaml", "policy.yaml", "ops.db", "warehouse.duckdb"):
        shutil.copy(folder / name, other)
    notebook(f"%nbgov connect {other}")
    with pytest.raises(ApprovalNeeded) as second:
        notebook(f"%govsql {UPDATE}")
    assert str(first.value) == str(second.value)


def test_a_card_speaks_to_everybody(notebook):
    """The status is announced, buttons are labelled and explained, and nothing is told by colour."""
    notebook.ask(f"%govsql {UPDATE}")
    card = notebook.card
    assert 'role="status" aria-live="polite"' in card.status.value
    assert "advisory" in card.status.value
    assert "Waiting for approval." in card.status.value
    assert "0 of 2 votes for change" in card.facts.value
    assert "takes votes for" in card.facts.value
    buttons = [card.cancel_request, card.cancel_query]
    assert [one.description for one in buttons] == ["Cancel request", "Cancel query"]
    assert all(one.tooltip for one in buttons)
    assert [one.disabled for one in buttons] == [False, True]


def test_a_vote_from_elsewhere_changes_the_card(notebook, voters):
    """The card counts the votes that other sessions gave."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    card, seen = notebook.card, threading.Event()
    card.facts.observe(lambda change: "1 of 2 votes" in change.new and seen.set(), "value")
    voters[0].vote(ticket, is_approval=True)
    assert seen.wait(TIMEOUT_S)


# ---------------------------------------------------------------- what came of it


def test_an_approved_write_runs_by_itself_and_once(notebook, approve, folder):
    """After the last vote it runs; the cell is told once, and asks anew the next time."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    card = notebook.card
    with capture_output() as captured:
        approve(ticket)
        errand = notebook.settle()
    assert errand.stage is Stage.DONE, errand.error
    assert sold(folder) == 1
    assert "UPDATE: 1 row affected" in card.status.value
    assert "UPDATE: 1 row affected" in captured.outputs[-1].data["text/plain"]
    assert notebook(f"%govsql {UPDATE}") is None
    [shown] = notebook.outputs
    assert shown.data["text/plain"] == "UPDATE: 1 row affected"
    assert shown.metadata["nbgov"]["record"] is not None
    assert sold(folder) == 1
    assert notebook.ask(f"%govsql {UPDATE}") != ticket
    assert sold(folder) == 1


@pytest.mark.parametrize(
    ("form", "kind"), [("pandas", pd.DataFrame), ("arrow", pa.Table), ("polars", pl.DataFrame)]
)
def test_an_approved_read_is_shown_and_taken_in_the_form_of_the_cell(notebook, approve, form, kind):
    """The record shows escaped, masked rows; the cell takes them as its first line says by then."""
    ticket = notebook.ask(f"%%govsql warehouse\n{STAFF}")
    with capture_output() as captured:
        approve(ticket)
        assert notebook.settle().stage is Stage.DONE
    html = captured.outputs[-1].data["text/html"]
    assert "1 row, 2 columns" in html
    assert "ada@acme.test&gt;" not in html
    frame = notebook(f"%%govsql warehouse --as {form}\n{STAFF}")
    assert isinstance(frame, kind)
    assert len(frame) == 1
    assert "ada@acme.test" not in str(frame["email"])
    assert "***" in str(frame["email"])
    assert notebook.ask(f"%%govsql warehouse\n{STAFF}") != ticket


def test_a_parked_result_can_be_assigned(notebook, approve, shell):
    """``x <<`` assigns what was parked, and shows one line."""
    cell = f"%%govsql warehouse\nx <<\n{STAFF}"
    ticket = notebook.ask(cell)
    approve(ticket)
    notebook.settle()
    assert notebook(cell) is None
    assert len(shell.user_ns["x"]) == 1
    assert notebook.outputs[0].data["text/plain"].startswith("x: 1 row, 2 columns; masked email")


def test_a_list_that_changes_later_does_not_change_what_was_asked(notebook, approve, shell):
    """What was bound is what runs; the cell asks anew for what the variable holds by now."""
    shell.user_ns["x"] = [1, 2]
    cell = "%govsql warehouse SELECT id FROM staff WHERE id IN :x"
    ticket = notebook.ask(cell)
    shell.user_ns["x"].append(3)
    approve(ticket)
    assert notebook.settle().stage is Stage.DONE
    assert notebook.ask(cell) != ticket


def test_a_run_that_fails_says_so_and_raises_once(notebook, approve, folder):
    """The error stands in card and record, the next run of the cell raises it, and the one after asks."""
    ticket = notebook.ask(f"%%govsql warehouse\n{STAFF}")
    card = notebook.card
    for file in folder.glob("warehouse.duckdb*"):
        file.unlink()
    notebook.magics.session.engine("warehouse").close()
    with capture_output() as captured:
        approve(ticket)
        errand = notebook.settle()
    assert errand.stage is Stage.FAILED
    assert errand.error.code in card.status.value
    assert errand.error.code in captured.outputs[-1].data["text/plain"]
    with pytest.raises(BackendFailed):
        notebook(f"%%govsql warehouse\n{STAFF}")
    assert errand.stage is Stage.HANDED_OVER


def test_parked_results_make_room_and_say_so(notebook, approve, monkeypatch):
    """Beyond the limit the older result is dropped, its card says it, and its cell asks anew."""
    monkeypatch.setattr(worker, "PARKED_BYTES_MAX", 1)
    cells = [f"%govsql warehouse SELECT id + {n} AS a FROM staff" for n in (1, 2)]
    tickets, cards = [], []
    for cell in cells:
        tickets.append(notebook.ask(cell))
        cards.append(notebook.card)
        approve(tickets[-1])
        notebook.settle()
    until(cards[0], "Dropped.")
    assert notebook.ask(cells[0]) != tickets[0]
    assert len(notebook(cells[1])) == 1


def test_connecting_anew_drops_what_is_parked(notebook, approve):
    """Another session takes no result of the one before; the ticket is used, so the cell asks."""
    cell = f"%govsql warehouse {STAFF}"
    ticket = notebook.ask(cell)
    approve(ticket)
    notebook.settle()
    notebook("%nbgov connect")
    assert notebook.ask(cell) != ticket


# ---------------------------------------------------------------- no, and never mind


def test_a_denial_is_told_with_its_reason(notebook, voters, folder):
    """The card says who denied it and why, the cell raises that once, and then asks anew."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    card = notebook.card
    voters[0].vote(ticket, is_approval=False, reason="wrong <row>")
    until(card, "Denied by grace@acme.test. Reason: wrong &lt;row&gt;")
    assert card.cancel_request.disabled
    with pytest.raises(Denied, match="wrong <row>"):
        notebook(f"%govsql {UPDATE}")
    assert notebook.ask(f"%govsql {UPDATE}") != ticket
    assert sold(folder) == 0


def test_a_request_can_be_taken_back(notebook, voters):
    """Cancel request ends the ticket, however many clicks come at once, and the card with it."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    card, start = notebook.card, threading.Barrier(4)

    def press():
        start.wait()
        card.cancel_request.click()

    threads = [threading.Thread(target=press) for _ in range(4)]
    with capture_output():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert voters[0].approval(ticket).state is ApprovalState.CANCELLED
    until(card, "Cancelled by ada@acme.test.")
    assert card.cancel_request.disabled
    assert notebook.settle().stage is Stage.OVER


def test_a_query_can_be_cancelled_while_it_runs(notebook, approve):
    """Cancel query ends the statement, not the kernel; the cell raises that once."""
    ticket = notebook.ask(f"%govsql {ENDLESS}")
    card = notebook.card
    approve(ticket)
    until(card, "Running.")
    assert not card.cancel_query.disabled
    click(card.cancel_query)
    errand = notebook.settle()
    assert (errand.stage, errand.error.code) == (Stage.FAILED, "cancelled")
    assert "cancelled" in card.status.value
    with pytest.raises(BackendFailed) as caught:
        notebook(f"%govsql {ENDLESS}")
    assert caught.value.code == "cancelled"


def test_progress_stands_in_the_card_alone(notebook, approve):
    """Seconds and rows tick in a trait; the record does not move while the statement runs."""
    ticket = notebook.ask(f"%govsql {ENDLESS}")
    card, ticks = notebook.card, []
    seen = threading.Event()
    card.progress.observe(lambda change: ticks.append(change.new) or seen.set(), "value")
    approve(ticket)
    until(card, "Running.")
    assert seen.wait(TIMEOUT_S)
    with capture_output() as captured:
        card.paint()
        card.paint()
    assert captured.outputs == []
    assert " rows · " in ticks[0]
    click(card.cancel_query)
    notebook.settle()
    assert card.progress.value == ""


def test_a_policy_that_asks_for_more_ends_the_ticket(notebook, voters, folder):
    """What was approved under an older policy does not run; the card says so, and the cell asks anew."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    card = notebook.card
    voters[0].vote(ticket, is_approval=True)
    (folder / "policy.yaml").write_text(POLICY.replace("votes: 2", "votes: 3"), encoding="utf-8")
    voters[1].vote(ticket, is_approval=True)
    assert notebook.settle().stage is Stage.OVER
    assert sold(folder) == 0
    assert "Run this cell again" in card.status.value
    assert "Used elsewhere" not in card.status.value
    assert notebook.ask(f"%govsql {UPDATE}") != ticket


def test_glass_that_is_broken_lets_the_card_run(notebook, folder):
    """``%nbgov break-glass`` shows the ticket, and the statement runs in its own cell's card."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    errand = notebook.errand
    notebook(f"%nbgov break-glass {ticket} --reason 'the plane leaves'")
    assert "the plane leaves" in notebook.outputs[0].data["text/plain"]
    assert errand.settled.wait(TIMEOUT_S)
    assert errand.stage is Stage.DONE
    assert sold(folder) == 1


def test_an_undo_is_asked_for_like_any_statement(notebook, approve, folder):
    """``%nbgov undo`` shows a card, runs once it is approved, and says what it did once."""
    approve(notebook.ask(f"%govsql {UPDATE}"))
    notebook.settle()
    notebook(f"%govsql {UPDATE}")
    record = notebook.outputs[0].metadata["nbgov"]["record"]
    assert "UPDATE ops" in shown(notebook, "%nbgov undo list")
    ticket = notebook.ask(f"%nbgov undo {record}")
    approve(ticket)
    assert notebook.settle().stage is Stage.DONE, notebook.errand.error
    assert sold(folder) == 0
    assert shown(notebook, f"%nbgov undo {record}") == "UPDATE: 1 row affected"


def shown(notebook, cell):
    notebook(cell)
    return notebook.outputs[0].data["text/plain"]


# ---------------------------------------------------------------- exactly once


def test_of_many_cards_one_runs_the_statement(folder, approve):
    """Cards of several sessions that see the vote at once run it once; the others say who was first."""
    sessions = [nbgov.connect(folder) for _ in range(4)]
    with pytest.raises(ApprovalNeeded) as caught:
        sessions[0].sql(UPDATE)
    ticket = caught.value.ticket
    errands = [errand_of(session, ticket) for session in sessions for _ in "ab"]
    cards = [Card(errand) for errand in errands]
    approve(ticket)
    start = threading.Barrier(len(errands))

    def look(errand):
        start.wait()
        errand.look()

    threads = [threading.Thread(target=look, args=[errand]) for errand in errands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for errand in errands:
        assert errand.settled.wait(TIMEOUT_S)
    stages = [errand.stage for errand in errands]
    assert sorted(stage.name for stage in stages) == ["DONE", *["OVER"] * 7]
    assert sold(folder) == 1
    for card, stage in zip(cards, stages, strict=True):
        card.paint_controls()
        assert ("Used elsewhere." in card.status.value) is (stage is Stage.OVER)
    assert [one.ticket for one in sessions[0].pending()] == []
    for session in sessions:
        session.close()


def errand_of(session, ticket):
    """An errand that nothing watches."""

    def run(request, ticket):
        return session.sql(UPDATE, request=request, ticket=ticket)

    return Errand(session, Order(lambda: (UPDATE,), run), session.approval(ticket))


def test_a_cell_that_is_run_again_before_the_card_noticed_runs_once(
    notebook, approve, folder, monkeypatch
):
    """The cell looks at the store itself, so that cell and card share one run."""
    monkeypatch.setattr(worker, "BRISK_S", TIMEOUT_S)
    ticket = notebook.ask(f"%govsql {UPDATE}")
    approve(ticket)
    notebook(f"%govsql {UPDATE}")
    assert notebook.outputs[-1].data["text/plain"] == "UPDATE: 1 row affected"
    assert sold(folder) == 1


def test_a_card_that_is_replaced_watches_no_more(notebook, monkeypatch):
    """The same cell, run again before the vote, shows the same ticket on a new card."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    first = notebook.errand
    assert notebook.ask(f"%govsql {UPDATE}") == ticket
    assert first.stage is Stage.CLOSED
    assert not first.watcher.is_alive()
    assert notebook.errand is not first


def test_a_store_that_is_away_is_told_and_asked_again(notebook, folder, approve):
    """A look that fails says why in the card, and the watch goes on."""
    ticket = notebook.ask(f"%govsql {UPDATE}")
    card = notebook.card
    state = folder / ".nbgov"
    state.rename(folder / "away")
    try:
        card.errand.take(lambda: (_ for _ in ()).throw(BackendFailed("The store is away.")))
        card.paint_controls()
        assert "The store is away." in card.status.value
    finally:
        (folder / "away").rename(state)
    until(card, "Waiting for approval.")
    approve(ticket)
    assert notebook.settle().stage is Stage.DONE


# ---------------------------------------------------------------- --wait


@pytest.mark.parametrize(
    "options",
    ["--wait", "ops --wait", "--wait ops", "--rows-max 9 --wait", "--wait-s 9", "--wait-s=9 ops"],
)
def test_a_waiting_cell_becomes_an_awaited_call(shell, options):
    """Wherever --wait stands among the options, the cell is awaited."""
    code = shell.transform_cell(f"%%govsql {options}\nSELECT 1")
    [line] = await_waiting(code.splitlines(keepends=True))
    assert line.startswith("await ")
    assert repr(options) in line


@pytest.mark.parametrize(
    "cell",
    ["%%govsql ops\nSELECT 1 --wait", "%govsql --wait SELECT 1", "x = '--wait'", "%%time\n--wait"],
)
def test_no_other_cell_is_awaited(shell, cell):
    """Text of a statement, line magics and other cells stay as they are."""
    lines = shell.transform_cell(cell).splitlines(keepends=True)
    assert await_waiting(lines) == lines


def in_a_while(step):
    """Do something as soon as a ticket waits, in a thread of its own."""
    thread = threading.Thread(target=step, daemon=True)
    thread.start()
    return thread


def first_ticket(session):
    pause = threading.Event()
    while not (waiting := session.pending()):
        pause.wait(0.02)
    return waiting[0].ticket


@pytest.mark.parametrize("has_front_end", [True, False])
@pytest.mark.parametrize("head", ["%%govsql warehouse --wait", "%%govsql --wait-s 50 warehouse"])
def test_a_waiting_cell_gives_its_result_itself(notebook, voters, monkeypatch, head, has_front_end):
    """An approval from any session releases the cell, with a front end and without."""
    if not has_front_end:
        monkeypatch.setenv("NBGOV_NONINTERACTIVE", "1")
    thread = in_a_while(
        lambda: voters[0].vote(first_ticket(voters[0]), is_approval=True, reason="fine")
    )
    frame = notebook(f"{head}\nx = <<\n{STAFF}")
    thread.join()
    assert len(frame) == 1
    views = [one for one in notebook.outputs if "widget-view" in str(one.data.keys())]
    assert bool(views) is has_front_end
    assert len(notebook.shell.user_ns["x"]) == 1


def test_a_waiting_line_without_a_front_end_blocks(notebook, voters, monkeypatch):
    """A script that can neither click nor await waits for the store's word."""
    monkeypatch.setenv("NBGOV_NONINTERACTIVE", "1")
    thread = in_a_while(lambda: voters[0].vote(first_ticket(voters[0]), is_approval=True))
    notebook(f"x = %govsql warehouse --wait {STAFF}")
    thread.join()
    assert len(notebook.shell.user_ns["x"]) == 1


def test_a_waiting_line_with_a_front_end_shows_the_card(notebook):
    """Where it cannot be awaited, --wait is as good as nothing."""
    notebook.ask(f"x = %govsql warehouse --wait {STAFF}")
    assert len(notebook.outputs) == 2


def test_a_denial_ends_the_wait(notebook, voters):
    """The waiting cell raises who denied it and why."""
    thread = in_a_while(
        lambda: voters[0].vote(first_ticket(voters[0]), is_approval=False, reason="not today")
    )
    with pytest.raises(Denied, match="not today") as caught:
        notebook(f"%%govsql warehouse --wait\n{STAFF}")
    thread.join()
    assert caught.value.code == "approval-denied"


@pytest.mark.parametrize("has_front_end", [True, False])
def test_a_wait_has_an_end_and_leaves_the_ticket_open(
    notebook, approve, voters, monkeypatch, has_front_end
):
    """After --wait-s the cell says that the ticket stays open; what comes later is parked."""
    if not has_front_end:
        monkeypatch.setenv("NBGOV_NONINTERACTIVE", "1")
    with pytest.raises(ApprovalNeeded, match="stays open") as caught:
        notebook(f"%%govsql warehouse --wait-s 1\n{STAFF}")
    assert voters[0].approval(caught.value.ticket).state is ApprovalState.REQUESTED
    approve(caught.value.ticket)
    notebook.settle()
    assert len(notebook(f"%%govsql warehouse --wait-s 1\n{STAFF}")) == 1


def test_a_statement_that_needs_no_vote_does_not_wait(notebook):
    """--wait changes nothing where nobody has to consent, nor about an error."""
    with pytest.raises(Denied):
        notebook("%%govsql --wait\nDROP TABLE seats")


def test_a_ticket_that_ends_otherwise_ends_the_wait(notebook, folder):
    """A request that is taken back while a cell waits for it raises what became of it."""
    with nbgov.connect(folder) as ada:
        thread = in_a_while(lambda: ada.cancel_ticket(first_ticket(ada)))
        with pytest.raises(IntegrityFailed, match="cancelled") as caught:
            notebook(f"%%govsql warehouse --wait\n{STAFF}")
        thread.join()
    assert caught.value.code == "ticket-conflict"


def test_without_autoawait_the_card_is_shown(notebook, shell, monkeypatch):
    """A shell that awaits nothing gets the card and the error."""
    monkeypatch.setattr(shell, "autoawait", False)
    notebook.ask(f"%%govsql warehouse --wait\n{STAFF}")
    assert len(notebook.outputs) == 2


def test_stop_while_a_script_waits_leaves_the_ticket_open(notebook, voters, monkeypatch):
    """Ctrl-C ends a wait that blocks; nothing runs and the ticket still takes votes."""
    monkeypatch.setenv("NBGOV_NONINTERACTIVE", "1")
    pause = threading.Event()

    def press():
        first_ticket(voters[0])
        while not notebook.magics.desk.errands:
            pause.wait(0.02)
        pause.wait(0.5)
        signal.raise_signal(signal.SIGINT)

    thread = in_a_while(press)
    with pytest.raises(ApprovalNeeded, match="the wait was stopped") as caught:
        notebook(f"%govsql warehouse --wait {STAFF}")
    thread.join()
    assert voters[0].approval(caught.value.ticket).state is ApprovalState.REQUESTED


# ---------------------------------------------------------------- a real kernel


class Kernel:
    """A kernel of its own process, and a front end that can click."""

    def __init__(self, folder):
        self.manager = KernelManager(transport="ipc", ip=str(folder / "k"))
        command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher"]
        self.manager._kernel_spec = KernelSpec(argv=[*command, "-f", "{connection_file}"])
        source = str(Path(nbgov.__file__).parents[1])
        self.manager.start_kernel(cwd=str(folder), env=os.environ | {"PYTHONPATH": source})
        self.connect()

    def connect(self):
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def restart(self):
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.connect()

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def messages(self, request, *, of_threads=False):
        """What the kernel publishes until it has dealt with a request, by its cell or by anybody."""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            is_ours = message["parent_header"].get("msg_id") == request
            if is_ours and message["content"].get("execution_state") == "idle":
                return
            if is_ours or of_threads:
                yield message

    def run(self, code, *, can_click=True):
        return list(self.messages(self.client.execute(code, allow_stdin=can_click)))

    def interrupt(self, code, *, at):
        """Press Stop once a cell has published a message of a type."""
        for message in self.messages(self.client.execute(code)):
            if message["msg_type"] == at:
                self.manager.interrupt_kernel()
            yield message

    def click(self, model):
        """Click a button, as the widget manager of a front end does."""
        data = {"method": "custom", "content": {"event": "click"}}
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": data})
        self.client.shell_channel.send(message)
        return list(self.messages(message["header"]["msg_id"]))

    def updated(self, word):
        """The update of a display whose text holds a word, whenever it comes."""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            if message["msg_type"] == "update_display_data":
                content = message["content"]
                if word in content["data"]["text/plain"]:
                    return content


@pytest.fixture
def kernel(folder):
    kernel = Kernel(folder)
    yield kernel
    kernel.close()


def of_type(messages, kind):
    return [message["content"] for message in messages if message["msg_type"] == kind]


def test_an_idle_kernel_hears_of_votes_and_runs(kernel, approve, voters, folder):
    """A kernel that does nothing runs what another process approved, and shows it in the same cell."""
    kernel.run("%load_ext nbgov")
    [_, record] = of_type(kernel.run(f"%govsql {UPDATE}"), "display_data")
    approve(first_ticket(voters[0]))
    update = kernel.updated("UPDATE: 1 row affected")
    assert update["transient"] == record["transient"]
    assert sold(folder) == 1
    [done] = of_type(kernel.run(f"%govsql {UPDATE}"), "display_data")
    assert done["data"]["text/plain"] == "UPDATE: 1 row affected"
    assert sold(folder) == 1


def test_a_click_in_a_real_kernel_cancels(kernel, voters):
    """The button that the front end finds by its text takes the request back."""
    kernel.run("%load_ext nbgov")
    messages = kernel.run(f"%govsql {UPDATE}")
    [model] = [
        opened["comm_id"]
        for opened in of_type(messages, "comm_open")
        if opened["data"]["state"].get("description") == "Cancel request"
    ]
    ticket = first_ticket(voters[0])
    kernel.click(model)
    assert voters[0].approval(ticket).state is ApprovalState.CANCELLED


def test_a_restarted_kernel_finds_its_ticket(kernel, approve, voters, folder):
    """After a restart between request and vote, the cell runs once with the consent it was given."""
    kernel.run("%load_ext nbgov")
    kernel.run(f"%govsql {UPDATE}")
    ticket = first_ticket(voters[0])
    kernel.restart()
    kernel.run("%load_ext nbgov")
    [error] = of_type(kernel.run(f"%govsql {UPDATE}"), "error")
    assert ticket in error["evalue"]
    kernel.restart()
    approve(ticket)
    kernel.run("%load_ext nbgov")
    [done] = of_type(kernel.run(f"%govsql {UPDATE}"), "display_data")
    assert done["data"]["text/plain"] == "UPDATE: 1 row affected"
    assert sold(folder) == 1


def test_run_all_stops_at_a_card(kernel):
    """A cell that waits fails with one line; without a front end no widget is ever loaded."""
    kernel.run("%load_ext nbgov")
    messages = kernel.run(f"%govsql {UPDATE}", can_click=False)
    assert of_type(messages, "display_data") == []
    assert of_type(messages, "comm_open") == []
    [error] = of_type(messages, "error")
    assert "nbgov approvals approve" in error["evalue"]
    assert "nbgov approvals approve" in error["traceback"][0]
    [loaded] = of_type(kernel.run("import sys; 'ipywidgets' in sys.modules"), "execute_result")
    assert loaded["data"]["text/plain"] == "False"
    messages = kernel.run(f"%govsql {UPDATE}")
    assert len(of_type(messages, "display_data")) == 2
    [error] = of_type(messages, "error")
    assert error["ename"] == "ApprovalNeeded"
    assert len(error["traceback"]) == 1


def test_stop_leaves_no_half_state(kernel):
    """Stop ends a running query; the variable keeps its value and the kernel takes the next one."""
    kernel.run("%load_ext nbgov\nx = 'old'")
    endless = ENDLESS.replace("crew", "seats")
    code = f"print('running', flush=True)\n%govsql x << {endless}"
    [error] = of_type(kernel.interrupt(code, at="stream"), "error")
    assert error["ename"] in {"KeyboardInterrupt", "BackendFailed"}
    [kept] = of_type(kernel.run("x"), "execute_result")
    assert kept["data"]["text/plain"] == "'old'"
    [shown] = of_type(kernel.run("%govsql x << SELECT id FROM seats"), "display_data")
    assert shown["data"]["text/plain"] == "x: 100 rows, 1 column"


def test_a_waiting_cell_in_a_real_kernel(kernel, voters):
    """--wait is released by the store, and Stop ends it at once with the ticket open."""
    kernel.run("%load_ext nbgov")
    cell = f"%%govsql warehouse --wait\n{STAFF}"
    [error] = of_type(kernel.interrupt(cell, at="display_data"), "error")
    assert "the wait was stopped" in error["evalue"]
    ticket = first_ticket(voters[0])
    request = kernel.client.execute(cell)
    messages = []
    for message in kernel.messages(request):
        messages.append(message)
        if message["msg_type"] == "display_data" and "widget-view" in str(message["content"]):
            voters[0].vote(ticket, is_approval=True)
    [result] = of_type(messages, "execute_result")
    assert "1 row, 2 columns" in result["data"]["text/plain"]
    assert of_type(messages, "error") == []


def test_stop_ends_an_awaited_query(kernel, voters):
    """Stop while the approved statement runs cancels it, and the kernel takes the next cell."""
    kernel.run("%load_ext nbgov")
    request = kernel.client.execute(f"%%govsql --wait\n{ENDLESS}")
    messages, is_running = [], False
    for message in kernel.messages(request, of_threads=True):
        messages.append(message)
        text = str(message["content"])
        if message["msg_type"] == "display_data" and "widget-view" in text:
            voters[0].vote(first_ticket(voters[0]), is_approval=True)
        if "Running." in text and not is_running:
            is_running = True
            kernel.manager.interrupt_kernel()
    [error] = of_type(messages, "error")
    assert "cancelled" in error["evalue"]
    assert of_type(kernel.run("1 + 1"), "execute_result")[0]["data"]["text/plain"] == "2"

"""``nbgov approvals`` and ``nbgov sql --wait``, on real files with real databases."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import nbgov as library
from nbgov.cli import main
from tests.surfaces.house import CHANGE, build

GRACE, ADA, EVE = "grace@acme.test", "ada@acme.test", "eve@acme.test"
MORE = """
  - id: change-shop
    effect: permit
    to: {groups: [analysts]}
    actions: [update, delete, insert, read]
    on: ["shop.*.*"]
    obligations: {masks: {"pii.*": redact}, approval: {by: {roles: [approver]}, votes: 2, mode: window}}
  - id: read-shop
    effect: permit
    to: {roles: [approver]}
    actions: [read]
    on: ["shop.*.*"]
    obligations: {masks: {"pii.*": redact}}
break_glass: {by: {names: [ada@acme.test]}, valid_s: 300}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house with a DuckDB warehouse and a SQLite shop."""
    build(tmp_path)
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT, total INTEGER)")
        shop.executemany(
            "INSERT INTO orders VALUES (?, ?, ?)",
            [(n, f"buyer{n}@example.com", 10 * n) for n in range(1, 9)],
        )
        shop.commit()
    config, policy = tmp_path / "nbgov.yaml", tmp_path / "policy.yaml"
    text = config.read_text().replace(
        "connections:\n", "connections:\n  shop: {kind: sqlite, path: shop.sqlite}\n"
    )
    config.write_text(text + "  eve@acme.test: {roles: [approver]}\n")
    tags = policy.read_text().replace(
        "  public:", '  pii.mail: ["shop.*.orders.email"]\n  public:', 1
    )
    policy.write_text(tags + MORE.lstrip("\n"))
    return tmp_path


def run(folder: Path, *words: str, as_: str = ADA) -> Result:
    """Run a command as somebody."""
    return CliRunner().invoke(main, ["--config", str(folder), "--as", as_, *words])


def told(folder: Path, *words: str, as_: str = ADA) -> str:
    """What a command that succeeds prints."""
    ran = run(folder, *words, as_=as_)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def ask(folder: Path, sql: str = CHANGE, *words: str) -> str:
    """The ticket of a statement that waits."""
    asked = run(folder, "sql", sql, *words)
    assert asked.exit_code == 3, asked.output
    return str(json.loads(told(folder, "approvals", "list", "--json"))[-1]["ticket"])


def code_of(ran: Result) -> str:
    """The code of an error."""
    assert ran.exit_code == 1, ran.output
    return next(line.split()[1] for line in ran.stderr.splitlines() if line.startswith("  code"))


def test_a_list_has_clear_columns_and_filters(folder: Path) -> None:
    """One line a ticket under headings; state, connection and requester choose."""
    first = ask(folder)
    second = ask(folder, "UPDATE orders SET total = 0 WHERE id = 1", "-c", "shop")
    head, *lines = told(folder, "approvals", "list").splitlines()
    assert head.split() == ["TICKET", "STATE", "REQUESTER", "STATEMENT", "AGE"]
    assert [line.split()[0] for line in lines] == [first, second]
    assert "UPDATE wh main.people" in lines[0]
    assert re.search(r"waits \d+ s, expires in 23 h$", lines[0])
    for words, found in (
        (("-c", "shop"), [second]),
        (("--requester", GRACE), []),
        (("--mine",), [first, second]),
        (("--state", "approved"), []),
        (("--state", "approved", "--state", "requested"), [first, second]),
    ):
        rows = json.loads(told(folder, "approvals", "list", "--json", *words))
        assert [row["ticket"] for row in rows] == found, words
    assert told(folder, "approvals", "list", "--mine", as_=GRACE) == "No ticket waits.\n"
    told(folder, "approvals", "cancel", first)
    rows = json.loads(told(folder, "approvals", "history", "--json", "--state", "cancelled"))
    assert [row["ticket"] for row in rows] == [first]
    assert [line.split()[0] for line in told(folder, "approvals", "history").splitlines()] == [
        "TICKET", second, first,
    ]  # fmt: skip


def test_a_list_holds_neither_statement_nor_value(folder: Path) -> None:
    """What only a ticket's voters are to read is shown by ``show`` alone."""
    # So long a number is not part of a moment by chance.
    change = "UPDATE people SET team = :team WHERE id = 777123456"
    ticket = ask(folder, change, "--bind", "team=mauve")
    for words in (("list",), ("list", "--json"), ("history",)):
        text = told(folder, "approvals", *words)
        assert "mauve" not in text
        assert "777123456" not in text.replace(ticket, "")
    shown = json.loads(told(folder, "approvals", "show", ticket, "--json"))
    assert (shown["sql"].endswith("id = 777123456"), shown["binds"]["team"]) == (
        True,
        ["str", "mauve"],
    )
    assert shown["evidence"]["rows_changed"] == 0


def test_a_reviewer_sees_a_sample_under_their_own_policy(folder: Path) -> None:
    """Before and after, masked for the reviewer, recorded as a read of theirs; unless left out."""
    ticket = ask(folder, "UPDATE orders SET total = total + 1 WHERE id > 2", "-c", "shop")
    with library.connect(folder, as_=GRACE) as session:
        sample = session.sample(ticket)
        last = session.world.audit.entries()
        assert b'"surface":"evidence"' in list(last)[-2]
    assert sample.before is not None
    assert sample.after is not None
    assert sample.before.to_pydict() == {
        "id": [3, 4, 5, 6, 7], "total": [30, 40, 50, 60, 70],
    }  # fmt: skip
    assert sample.after["total"].to_pylist() == [31, 41, 51, 61, 71]
    assert (sample.columns_changed, sample.is_truncated, sample.why) == (("total",), True, "")
    text = told(folder, "approvals", "show", ticket, as_=GRACE)
    assert "UPDATE orders SET total = total + 1" in text
    assert "buyer" not in text
    assert "31" in text
    assert "31" not in told(folder, "approvals", "show", ticket, "--no-sample", as_=GRACE)


@pytest.mark.parametrize(
    ("sql", "words", "why"),
    [
        ("UPDATE people SET team = 'blue' WHERE id = 1", (), "There is no table 'people'"),
        ("DELETE FROM orders WHERE id = 1", ("-c", "shop"), ""),
        ("SELECT id, email FROM orders", ("-c", "shop"), ""),
    ],
)
def test_what_the_reviewer_may_not_read_is_said(folder: Path, sql, words, why) -> None:
    """A sample is never more than the reviewer's own rights, and never an error."""
    policy = folder / "policy.yaml"
    policy.write_text(policy.read_text().replace("[analysts, stewards]", "[analysts]"))
    ticket = ask(folder, sql, *words)
    with library.connect(folder, as_=GRACE) as session:
        sample = session.sample(ticket)
        before = session.pending()
    assert sample.why.startswith(why)
    assert (sample.before is None) == bool(why)
    assert bool(sample.why) == bool(why)
    assert sample.after is None
    assert [one.ticket for one in before] == [ticket]
    if sample.before is not None:
        assert sample.before["email"].to_pylist() == ["***"] * sample.before.num_rows
        assert sample.masked == {"email": "redact pii.mail"}


def test_a_sample_keeps_nobody_from_writing(folder: Path) -> None:
    """A reviewer's session that has looked leaves the DuckDB file to the requester's."""
    ticket = ask(folder)
    with (
        library.connect(folder, as_=GRACE) as reviewer,
        library.connect(folder, as_=ADA) as requester,
    ):
        assert reviewer.sample(ticket).before is not None
        reviewer.vote(ticket, is_approval=True)
        assert requester.sql(CHANGE).summary.rows_affected == 1


def test_a_sample_opens_no_ticket(folder: Path) -> None:
    """Where the reviewer's own read would need votes, there is no sample and no ticket."""
    policy = folder / "policy.yaml"
    policy.write_text(
        policy.read_text().replace(
            "    to: {roles: [approver]}\n    actions: [read]\n    on: [\"shop",
            "    to: {roles: [nobody]}\n    actions: [read]\n    on: [\"shop",
        ).replace("to: {groups: [analysts]}\n    actions: [update, delete", "to: {names: [\"*\"]}\n    actions: [update, delete")
    )  # fmt: skip
    ticket = ask(folder, "DELETE FROM orders WHERE id = 1", "-c", "shop")
    with library.connect(folder, as_=GRACE) as session:
        assert session.sample(ticket).why == "reading its rows takes an approval for you too"
        assert [one.ticket for one in session.pending()] == [ticket]


def test_votes_add_up_and_a_window_lets_it_run_again(folder: Path) -> None:
    """Two votes are asked for; then the same statement runs until the window ends."""
    sql = "UPDATE orders SET total = 0 WHERE id = 1"
    ticket = ask(folder, sql, "-c", "shop")
    first = told(folder, "approvals", "approve", ticket, as_=GRACE)
    assert "is requested" in first
    assert "1 of 2 votes for change-shop" in first
    assert code_of(run(folder, "approvals", "approve", ticket, as_=GRACE)) == "vote-not-permitted"
    second = told(folder, "approvals", "approve", ticket, as_=EVE)
    assert "any number of times until" in second
    for _ in range(2):
        told(folder, "sql", sql, "-c", "shop")
    assert "can be used for" in told(folder, "approvals", "list")
    told(folder, "approvals", "revoke", ticket, "--reason", "enough", as_=GRACE)
    assert run(folder, "sql", sql, "-c", "shop").exit_code == 3


@pytest.mark.parametrize("verb", ["deny", "revoke", "break-glass", "review"])
def test_what_ends_or_skips_a_vote_takes_a_reason(folder: Path, verb: str) -> None:
    """Without --reason nothing is done."""
    ran = run(folder, "approvals", verb, "any")
    assert (ran.exit_code, "--reason" in ran.stderr) == (2, True)


def test_an_emergency_runs_once_and_waits_for_a_review(folder: Path) -> None:
    """Break the glass, run, be held the next time, have it reviewed."""
    ticket = ask(folder)
    words = ("approvals", "break-glass", ticket, "--reason", "site is down")
    text = told(folder, *words)
    assert "once until" in text
    assert "somebody has to review it" in text
    told(folder, "sql", CHANGE)
    again = ask(folder)
    words = ("approvals", "break-glass", again, "--reason", "once more")
    assert code_of(run(folder, *words)) == "emergency-not-permitted"
    shown = told(folder, "approvals", "history", "--state", "consumed")
    assert "to be reviewed" in shown
    assert "consumed (emergency)" in shown
    review = ("approvals", "review", ticket, "--reason", "it was down")
    assert code_of(run(folder, *review)) == "self-approval"
    assert f"reviewed by {GRACE}" in told(folder, *review, as_=GRACE)
    told(folder, *words)
    seen = json.loads(told(folder, "approvals", "show", ticket, "--json"))["emergency"]
    assert (seen["reviewed_by"], seen["finding"]) == (GRACE, "it was down")


# ---------------------------------------------------------------- terminals and waiting


def command(folder: Path, *words: str, as_: str) -> list[str]:
    """A command as another process runs it."""
    program = str(Path(sys.executable).with_name("nbgov"))
    return [program, "--config", str(folder), "--as", as_, *words]


def read_until(terminal: int, wanted: str, text: str = "") -> str:
    """What a terminal shows up to some words."""
    while wanted not in text:
        text += os.read(terminal, 65_536).decode()
    return text


@pytest.mark.parametrize(("answer", "state"), [("y", "approved"), ("n", "requested")])
def test_a_terminal_shows_the_ticket_and_asks(folder: Path, answer: str, state: str) -> None:
    """Who votes on a terminal sees what would run first, and a no is no vote."""
    ticket = ask(folder)
    ours, theirs = pty.openpty()
    words = command(folder, "approvals", "approve", ticket, as_=GRACE)
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = read_until(ours, "Approve exactly this? [y/N]")
        assert CHANGE in shown
        os.write(ours, f"{answer}\n".encode())
        process.wait()
    os.close(ours)
    with library.connect(folder, as_=ADA) as session:
        assert session.approval(ticket).state == state


def waiting(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that waits for an approval, and its ticket."""
    words = command(folder, "sql", CHANGE, "--wait", as_=ADA)
    process = subprocess.Popen(words, stdout=-1, stderr=-1, text=True)
    with library.connect(folder, as_=GRACE) as session:
        while not session.pending():
            assert process.poll() is None
            time.sleep(0.05)
        return process, session.pending()[0].ticket


def test_waiting_ends_with_the_result(folder: Path) -> None:
    """With --wait the statement runs when the vote comes, once."""
    process, ticket = waiting(folder)
    told(folder, "approvals", "approve", ticket, as_=GRACE)
    _, err = process.communicate()
    assert (process.returncode, "1 row changed" in err) == (0, True), err
    with library.connect(folder, as_=ADA) as session:
        assert session.approval(ticket).state == "consumed"


def test_waiting_ends_with_the_denial(folder: Path) -> None:
    """A voter's no is what the waiting person sees, with its reason."""
    process, ticket = waiting(folder)
    told(folder, "approvals", "deny", ticket, "--reason", "not today", as_=GRACE)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "approval-denied" in err
    assert "not today" in err


def test_who_stops_waiting_leaves_the_ticket_open(folder: Path) -> None:
    """Ctrl-C ends the process with a word on what stays, and no other ticket is opened."""
    process, ticket = waiting(folder)
    # The ticket is there a moment before its requester begins to wait.
    first = process.stderr.readline() if process.stderr else ""
    assert "waits for approval" in first
    for _ in range(4):
        assert process.stderr is not None
        process.stderr.readline()
    threading.Event().wait(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, f"{ticket} stays open" in err) == (130, True), err
    with library.connect(folder, as_=ADA) as session:
        assert [one.ticket for one in session.pending()] == [ticket]

"""``nbgov audit tail|search|show`` and ``%nbgov audit``: a real state folder, seen by people."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

import nbgov
from nbgov.cli import main
from nbgov.core.audit.query import Query
from nbgov.core.visible import cells_wide
from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.evidence.search import search
from nbgov.notebook.audit import WORDS, audit
from nbgov.shown.entries import Layout
from tests.surfaces.house import CHANGE, build

ADA = "ada@acme.test"
INDEX = "audit-index.sqlite"
EVIL = "SELECT '<b>' AS \"<script>\" FROM people"


def work(folder, *statements):
    with nbgov.connect(folder, as_=ADA) as session:
        for sql in statements:
            with suppress(nbgov.NbgovError):
                session.sql(sql).to_arrow()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A house in which reads, a refusal, an error and a pending change were recorded."""
    folder = build(tmp_path_factory.mktemp("house"))
    work(
        folder,
        "SELECT id, email FROM people",
        "SELECT team, count(*) FROM people WHERE team = 'red' GROUP BY team",
        "SELECT nope FROM people",
        "DELETE FROM people",
        CHANGE,
        EVIL,
    )
    return folder


@pytest.fixture
def house(made, tmp_path):
    """A copy of that house, to be changed at will."""
    return shutil.copytree(made, tmp_path / "house")


@pytest.fixture
def session(made):
    with nbgov.connect(made, as_=ADA) as opened:
        yield opened


def ask(folder, line, code=0):
    words = ["--config", str(folder), "--as", ADA, "audit", *shlex.split(line)]
    result = CliRunner().invoke(main, words, env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    return result


def answer(folder, line):
    return [json.loads(one) for one in ask(folder, f"{line} --json").stdout.splitlines()]


def inline(session, line):
    """What ``%nbgov audit`` displays."""
    shown = []
    audit(session, shlex.split(line), shown.append)
    return shown


def state(folder):
    return folder / ".nbgov"


# ---- search


def test_search_lists_requests_once(made):
    """The newest come first, and an attempt is left out beside the entry that ends it."""
    text = ask(made, "search --table people").stdout.splitlines()
    assert text[0].split() == ["entry", "time", "(UTC)", "who", "what", "on", "how", "about"]
    assert text[-1] == "7 entries: table people"
    told = "\n".join(text)
    for word in ("ok, 3 read", "denied-by-guard", "pending", "DELETE FROM people"):
        assert word in told
    assert "started" not in told
    numbers = [int(line.split()[0]) for line in text[2:-1]]
    assert numbers == sorted(numbers, reverse=True)
    assert ask(made, "search --table people --oldest").stdout.splitlines()[2:-1] == text[-2:1:-1]


def test_search_joins_attempts_and_outcomes(made):
    """Conditions on what was asked and on how it ended may be put together."""
    found = answer(made, "search --column '*.email' --status ok")
    assert [one["record"]["kind"] for one in found] == ["outcome"]
    assert found[0]["attempt"]["columns"] == ["main.people.email", "main.people.id"]
    assert ask(made, "search --status error --count").stdout == "1\n"
    assert int(ask(made, "search --count").stdout) == len(answer(made, "search"))
    assert len(answer(made, "search --limit 2")) == 2


def test_search_for_text_and_time(made):
    """A part of the redacted statement, in any case; literals cannot be found."""
    assert len(answer(made, "search 'GROUP by'")) == 2
    assert answer(made, "search --text red --verb select") == []
    (asked,) = answer(made, "search --since 1h --until now --kind vote")
    assert asked["record"]["note"] == "request"
    assert answer(made, "search --until 2001-01-01") == []
    assert answer(made, "search --since 1h")


def test_an_empty_answer_says_what_was_looked_for(made, tmp_path):
    """Words for what was asked, and where the log begins; a log without entries says so."""
    text = ask(made, "search --principal nobody").stdout
    assert text.startswith("No entry has principal nobody. The log has ")
    assert "begins at 20" in text
    assert ask(build(tmp_path), "search").stdout == "The audit log has no entry yet.\n"
    assert ask(tmp_path, "tail").stdout == "The audit log has no entry yet.\n"


@pytest.mark.parametrize(
    "line", ["search --since 3x", "search --decision no", "search --since 1h --until 2h"]
)
def test_wrong_options_are_explained(made, line):
    """The error names the option and says how to write it."""
    assert "code    usage" in ask(made, line, code=1).stderr


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_list_fits_the_terminal(made, width, monkeypatch):
    """No line of a list is wider than the terminal."""
    words = ["--config", str(made), "--as", ADA, "audit", "search", "--limit", "30"]
    result = CliRunner().invoke(main, words, env={"COLUMNS": str(width)})
    lines = result.output.splitlines()[:-1]
    assert max(map(cells_wide, lines)) <= width
    assert len(lines) > 5


def test_a_layout_takes_lines_that_were_not_there():
    """Entries that come later keep the columns."""
    layout = Layout([], 120, is_open=True)
    line = layout.text(("7", "2026-01-02 03:04:05", "ada", "SELECT", "wh", "ok", "x" * 200))
    assert cells_wide(line) == 120
    assert layout.heading()[0].index("who") == line.index("ada")


# ---- the index is never believed


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET digest = zeroblob(32) WHERE number = 7",
        "UPDATE entries SET shape = (SELECT shape FROM entries WHERE number = 7)",
    ],
)
def test_a_tampered_index_is_found_out(house, change):
    """What the index says is compared with the log; it is removed, and the next search is right."""
    right = answer(house, "search --table people")
    with closing(sqlite3.connect(state(house) / INDEX)) as index, index:
        index.execute(change)
    assert "code    index-damaged" in ask(house, "search --table people", code=1).stderr
    assert answer(house, "search --table people") == right


def test_a_log_that_was_exchanged_is_told(house, tmp_path):
    """Where the log is not the one that was indexed, a person is told, and the answer is right."""
    ask(house, "search")
    other = build(tmp_path)
    work(other, "SELECT id FROM people")
    shutil.copy(state(house) / INDEX, state(other) / INDEX)
    result = ask(other, "search --table people")
    assert "It was made anew; nbgov audit verify says" in result.stderr
    assert "1 entry: table people" in result.stdout
    assert ask(other, "search").stderr == ""
    assert ask(other, "search --rebuild").stdout == ask(other, "search").stdout


@pytest.mark.parametrize("is_indexed", [False, True])
def test_a_log_that_does_not_add_up_is_told(house, is_indexed):
    """Nothing behind a break is found; the error leads to verification."""
    (state(house) / INDEX).unlink(missing_ok=True)
    if is_indexed:
        ask(house, "search")
    [segment] = (state(house) / "audit").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"count(*)", b"COUNT(*)", 1))
    for code in ("index-damaged", "audit-broken") if is_indexed else ("audit-broken",):
        shown = ask(house, "search", code=1).stderr
        assert f"code    {code}" in shown
        assert "nbgov audit verify" in shown


def test_searching_writes_no_entry(made, session):
    """Looking leaves the log as it is, and is exact from Python too."""
    before = ask(made, "search --count").stdout
    found = list(search(session, Query(status=("denied",), oldest_first=True)))
    assert [entry.record.code for entry in found] == ["denied-by-guard"]
    assert ask(made, "search --count").stdout == before


# ---- show


def test_show_tells_everything(made):
    """Groups of facts, with the other end of the request, and what covers the entry."""
    [outcome] = answer(made, "search --column '*.email' --status ok")
    text = ask(made, f"show {outcome['index']}").stdout
    assert ["attempt", str(outcome["record"]["attempt"])] in words_of(text)
    for word in ("who", "where from", "what", "decision", "chain"):
        assert f"\n{word}\n" in text
    assert ["rules", "read"] in words_of(text)
    for fact in ("SELECT id, email FROM people", "rows read", "witnessed"):
        assert fact in text
    assert outcome["receipt"] in text
    assert ask(made, f"show {outcome['receipt']}").stdout == text
    [again] = answer(made, f"show {outcome['index']}")
    assert again == outcome
    before = ask(made, f"show {outcome['record']['attempt']}").stdout
    assert ["outcome", f"{outcome['index']},", "ok"] in words_of(before)


def words_of(text):
    return [line.split() for line in text.splitlines()]


def test_show_refuses_what_is_not_there(made):
    """A number that is too high, a receipt of another log, and one of another entry."""
    [first, *_] = answer(made, "search --oldest --limit 1")
    origin, _, digest = first["receipt"].partition("/")
    ask(made, "show 9999", code=1).stderr.index("unknown-record")
    ask(made, "show nonsense", code=1).stderr.index("receipt-invalid")
    ask(made, f"show other/{digest}", code=1).stderr.index("unknown-record")
    other = f"{origin}/0#{'0' * 64}"
    ask(made, f"show {other}", code=1).stderr.index("audit-broken")


# ---- tail


def test_tail_ends_with_the_newest(made):
    """The newest entry is the last line; filters hold, and JSON is one object a line."""
    every = answer(made, "search --oldest")
    assert answer(made, "tail -n 5") == every[-5:]
    assert answer(made, "tail -n 500") == every
    last = ask(made, "tail -n 1").stdout.splitlines()[-1]
    assert last.split()[0] == str(every[-1]["index"])
    told = [one["record"] for one in answer(made, "tail --verb update")]
    kinds = [one["kind"] for one in told]
    assert kinds == ["attempt", "outcome", "vote", "outcome"]  # The dry run comes first.
    assert {one["verb"] for one in told} == {"UPDATE"}


def read_until(process, word):
    """The lines of a process up to one with a word."""
    lines = []
    while not lines or word not in lines[-1]:
        line = process.stdout.readline()
        assert line, lines
        lines.append(line)
    return lines


def test_tail_follows_other_processes(house):
    """Entries of another process come as they are written; Ctrl-C ends it, and is no failure."""
    words = ["--config", str(house), "--as", ADA, "audit", "tail", "-f", "--table", "people"]
    process = subprocess.Popen(
        [nbgov_command(), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "COLUMNS": "150"},
    )  # fmt: skip
    late = threading.Timer(60, process.kill)
    late.start()
    try:
        read_until(process, "UPDATE")
        work(house, "SELECT max(id) FROM people WHERE team = 'blue'")
        lines = read_until(process, "ok, 1 read")
        assert [line.split()[2:5] for line in lines if "max(id)" in line]
        assert "team = ?" in lines[-1]
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        assert (out, errors, process.returncode) == ("", "", 0)
    finally:
        late.cancel()
        process.kill()
        process.wait()


def nbgov_command():
    """The command as it is installed."""
    found = shutil.which("nbgov", path=str(Path(sys.executable).parent))
    assert found
    return found


# ---- inline


def test_the_magic_says_the_same(made, session):
    """Text as on the command line, and HTML of the same lines."""
    [shown] = inline(session, "search --table people")
    assert shown["text/plain"].splitlines()[-1] == "7 entries: table people"
    assert shown["text/html"].count("<tr>") == 8
    [last] = inline(session, "tail -n 1")
    assert words_of(last["text/plain"])[2][-2:] == ["CLOSE", "ok"]
    assert words_of(inline(session, "tail")[0]["text/plain"])[-2][-2:] == ["CLOSE", "ok"]
    [tailed] = inline(session, "tail --verb update")
    assert "UPDATE" in tailed["text/plain"]
    [nothing] = inline(session, "search --principal nobody")
    assert nothing["text/plain"].startswith("No entry has principal nobody.")
    [card] = inline(session, "show 0")
    assert card["text/plain"] == ask(made, "show 0").stdout.rstrip("\n")
    assert "OPEN" in card["text/html"]


def test_what_strangers_wrote_is_escaped(session):
    """Statements show as text, whatever they hold."""
    [shown] = inline(session, "search script")
    assert "<script>" in shown["text/plain"]
    assert "<script>" not in shown["text/html"]
    assert "&lt;script&gt;" in shown["text/html"]


def test_the_magic_verifies_and_proves(session):
    """Checks with their outcomes, and a proof that stands in the cell."""
    [shown] = inline(session, "verify")
    assert shown["text/plain"].startswith("The audit log verifies. Requests ended: ")
    assert '<mark class="nbgov-good">holds</mark>' in shown["text/html"]
    [proof] = inline(session, "prove 0")
    assert "c2sp.org/tlog-proof" in proof["text/plain"]


def test_the_magic_helps(session):
    """Every word is in the help, and each has its own."""
    [shown] = inline(session, "--help")
    assert all(word in shown["text/plain"] for word in WORDS)
    [shown] = inline(session, "search --help")
    assert "--principal NAME" in shown["text/plain"]


@pytest.mark.parametrize(
    "line", ["nonsense", "search --nonsense", "search --limit 0", "show", "tail -n x", "prove x"]
)
def test_the_magic_refuses_what_it_does_not_know(session, line):
    """Errors say what to write instead."""
    with pytest.raises(RequestInvalid) as error:
        inline(session, line)
    assert error.value.code == "usage"


def test_the_magic_tells_of_a_damaged_index(house):
    """The same errors and remarks as on the command line."""
    ask(house, "search")
    with closing(sqlite3.connect(state(house) / INDEX)) as index, index:
        index.execute("UPDATE extent SET digest = zeroblob(32)")
    with nbgov.connect(house, as_=ADA) as session:
        remark, _ = inline(session, "search")
        assert "made anew" in remark["text/plain"]
        session.world.index.database.close()
        with closing(sqlite3.connect(state(house) / INDEX)) as index, index:
            index.execute("UPDATE entries SET digest = zeroblob(32) WHERE number = 3")
        with pytest.raises(IntegrityFailed) as error:
            inline(session, "search")
        assert error.value.code == "index-damaged"

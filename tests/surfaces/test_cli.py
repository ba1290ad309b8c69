"""The command line, on a real DuckDB file and a real state folder."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from nbgov.cli import main
from tests.surfaces.house import CHANGE, build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house in a folder."""
    return build(tmp_path)


def nbgov(
    folder: Path, *words: str, as_: str = "ada@acme.test", stdin: str | None = None
) -> Result:
    """Run a command as somebody."""
    return CliRunner().invoke(main, ["--config", str(folder), "--as", as_, *words], input=stdin)


def expect_error(result: Result, code: str) -> str:
    """The command failed with a code, in at most six lines and without a stack."""
    assert result.exit_code != 0
    text = result.stderr
    assert f"code    {code}" in text, text
    assert len(text.strip().splitlines()) <= 6
    assert "Traceback" not in text
    return text


def open_ticket(folder: Path) -> str:
    """The ticket that waits."""
    (ticket,) = json.loads(nbgov(folder, "approvals", "list", "--json").stdout)
    return str(ticket["ticket"])


def test_a_table_shows_masks_and_replaced_entities(folder: Path) -> None:
    """The preview names each masked column, and says what was replaced in free text."""
    shown = nbgov(folder, "sql", "SELECT id, email, note FROM people ORDER BY id")
    assert shown.exit_code == 0, shown.stderr
    assert "write to <EMAIL_ADDRESS>" in shown.stdout
    assert "masked  email: redact (pii.email)" in shown.stdout
    assert "lovelace" not in shown.stdout
    assert "record " in shown.stderr


def test_every_format_writes_every_row(folder: Path) -> None:
    """CSV, JSON lines and an Arrow stream hold the same rows, and nothing else."""
    words = ("sql", "SELECT id, team FROM people ORDER BY id", "--format")
    rows = [{"id": 1, "team": "red"}, {"id": 2, "team": "red"}, {"id": 3, "team": "blue"}]
    ran = nbgov(folder, *words, "csv")
    assert ran.exit_code == 0, ran.stderr
    text = ran.stdout
    assert [
        {"id": int(r["id"]), "team": r["team"]} for r in csv.DictReader(io.StringIO(text))
    ] == rows
    assert [json.loads(line) for line in nbgov(folder, *words, "json").stdout.splitlines()] == rows
    stream = nbgov(folder, *words, "arrow").stdout_bytes
    assert pa.ipc.open_stream(stream).read_all().to_pylist() == rows


def test_a_statement_comes_from_a_file_or_standard_input(folder: Path) -> None:
    """--file and a pipe are read, with values bound by name."""
    (folder / "q.sql").write_text("SELECT id FROM people WHERE team = :team ORDER BY id")
    words = ("--bind", "team=blue", "--format", "json")
    assert nbgov(folder, "sql", "--file", str(folder / "q.sql"), *words).stdout == '{"id": 3}\n'
    piped = nbgov(folder, "sql", *words, stdin="SELECT id FROM people WHERE team = :team")
    assert piped.stdout == '{"id": 3}\n'


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sql", "DROP TABLE people"), "denied-by-guard"),
        (("sql", "DELETE FROM people WHERE id = 1"), "denied-by-policy"),
        (("sql", "SELECT nothing FROM people"), "unknown-column"),
        (("sql", "SELECT * FROM nothing"), "unknown-table"),
        (("sql", "SELEC 1"), "syntax"),
        (("sql", "SELECT 1", "-c", "nope"), "unknown-connection"),
        (("sql", "SELECT 1", "-c", "lost"), "database-unavailable"),
        (("sql", "SELECT :x"), "bind-missing"),
        (("sql", "SELECT 1", "--bind", "x"), "usage"),
        (("approvals", "show", "nope"), "unknown-ticket"),
        (("approvals", "approve", "nope"), "unknown-ticket"),
    ],
)
def test_an_error_says_what_why_and_what_next(
    folder: Path, words: tuple[str, ...], code: str
) -> None:
    """Every refusal has its code, at most six lines, and a non-zero exit."""
    expect_error(nbgov(folder, *words), code)


def test_a_run_that_does_not_exist_is_an_error(folder: Path) -> None:
    """Drift asks the tracking store that MLflow is configured for, and names what is missing."""
    command = [str(Path(sys.executable).with_name("nbgov")), "--config", str(folder)]
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    asked = subprocess.run(
        [*command, "--as", "ada@acme.test", "drift", "runs:/a", "runs:/b"],
        capture_output=True,
        text=True,
        env=os.environ | tracking,
        cwd=folder,
        check=False,
    )
    assert asked.returncode == 1
    assert "code    unknown-run" in asked.stderr
    assert "Traceback" not in asked.stderr


def test_an_undeclared_principal_is_named(folder: Path) -> None:
    """--as takes declared names only."""
    assert "mallory" in expect_error(
        nbgov(folder, "sql", "SELECT 1", as_="mallory"), "unknown-principal"
    )


def test_a_missing_or_wrong_file_is_an_error(folder: Path) -> None:
    """No nbgov.yaml, no policy, and a policy that does not decode are errors; nothing runs."""
    expect_error(nbgov(folder / "elsewhere", "sql", "SELECT 1"), "config-missing")
    (folder / "policy.yaml").write_text("version: 1\nruels: []\nrules: []")
    assert "did you mean 'rules'" in expect_error(
        nbgov(folder, "sql", "SELECT 1"), "policy-invalid"
    )
    (folder / "policy.yaml").unlink()
    expect_error(nbgov(folder, "sql", "SELECT 1"), "policy-missing")


def test_a_server_that_is_down_tells_no_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection names the connection, not the address, and never the password."""
    expect_error(nbgov(folder, "sql", "SELECT 1", "-c", "down"), "secret-missing")
    monkeypatch.setenv("NBGOV_TEST_PASSWORD", "swordfish")
    text = expect_error(nbgov(folder, "sql", "SELECT 1", "-c", "down"), "database-unavailable")
    assert "swordfish" not in text
    assert b"swordfish" not in b"".join(f.read_bytes() for f in folder.rglob("*") if f.is_file())


def test_an_approval_goes_its_way(folder: Path) -> None:
    """Ask, list, show, be refused one's own vote, approve, run once."""
    asked = nbgov(folder, "sql", CHANGE)
    assert asked.exit_code == 3
    ticket = open_ticket(folder)
    assert CHANGE in nbgov(folder, "approvals", "show", ticket).stdout
    expect_error(nbgov(folder, "approvals", "approve", ticket), "self-approval")
    assert nbgov(folder, "approvals", "approve", ticket, as_="grace@acme.test").exit_code == 0
    ran = nbgov(folder, "sql", CHANGE)
    assert (ran.exit_code, "1 row changed" in ran.stderr) == (0, True), ran.stderr
    assert nbgov(folder, "sql", CHANGE).exit_code == 3
    team = nbgov(folder, "sql", "SELECT team FROM people WHERE id = 1", "--format", "json")
    assert team.stdout == '{"team": "blue"}\n'
    assert nbgov(folder, "audit", "verify").exit_code == 0


def test_a_denial_reaches_the_requester(folder: Path) -> None:
    """A denial with its reason is what the requester sees next, and then they may ask anew."""
    nbgov(folder, "sql", CHANGE)
    ticket = open_ticket(folder)
    words = ("approvals", "deny", ticket, "--reason", "not today")
    assert nbgov(folder, *words, as_="grace@acme.test").exit_code == 0
    assert "not today" in expect_error(nbgov(folder, "sql", CHANGE), "approval-denied")
    assert nbgov(folder, "sql", CHANGE).exit_code == 3


def test_a_ticket_can_be_taken_back(folder: Path) -> None:
    """Its requester cancels it, and nobody else."""
    nbgov(folder, "sql", CHANGE)
    ticket = open_ticket(folder)
    expect_error(
        nbgov(folder, "approvals", "cancel", ticket, as_="grace@acme.test"), "vote-not-permitted"
    )
    assert nbgov(folder, "approvals", "cancel", ticket).exit_code == 0
    assert nbgov(folder, "approvals", "list").stdout == "No ticket waits.\n"


def test_a_check_runs_nothing(folder: Path) -> None:
    """It shows the text that would run and the obligations, and exits 1 on a deny."""
    shown = json.loads(nbgov(folder, "check", "SELECT email FROM people", "--json").stdout)
    assert shown["decision"] == "permit"
    assert "'***'" in shown["sql"]
    assert {"main.people.email"} == {
        o["column"] for o in shown["obligations"] if o["kind"] == "mask"
    }
    denied = nbgov(folder, "check", "DROP TABLE people")
    assert (denied.exit_code, "deny" in denied.stdout) == (1, True)
    assert not (folder / ".nbgov" / "audit").exists()


def test_a_catalog_shows_what_may_be_touched(folder: Path) -> None:
    """Tables and columns with their types."""
    assert "main.people" in nbgov(folder, "catalog").stdout


@pytest.mark.parametrize("document", ["catalog", "config", "policy"])
def test_editors_get_a_schema(folder: Path, document: str) -> None:
    """The JSON Schema of each document can be printed."""
    assert json.loads(nbgov(folder, "schema", document).stdout)["type"] == "object"


def test_a_log_that_was_edited_does_not_verify(folder: Path) -> None:
    """Changing one byte of the log is found and named."""
    nbgov(folder, "sql", "SELECT id FROM people")
    [segment] = (folder / ".nbgov" / "audit").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"ada@acme.test", b"eve@acme.test", 1))
    shown = nbgov(folder, "audit", "verify")
    assert shown.exit_code == 1
    assert "FAILS        chain          entry 1: " in shown.stdout
    assert "The audit log does NOT verify." in shown.stdout


def test_help_is_there_for_every_command() -> None:
    """Each command says what it does."""
    for words in (
        [],
        ["sql"],
        ["check"],
        ["approvals"],
        ["audit"],
        ["drift"],
        ["demo"],
        ["schema"],
    ):
        shown = CliRunner().invoke(main, [*words, "--help"])
        assert shown.exit_code == 0
        assert "Usage:" in shown.stdout


def test_a_full_disk_lets_nothing_run(folder: Path) -> None:
    """When the log cannot grow, the statement does not run and the log still verifies."""
    assert nbgov(folder, "sql", "SELECT id FROM people").exit_code == 0
    command = [str(Path(sys.executable).with_name("nbgov")), "--config", str(folder), "--as", "ada@acme.test", "sql", "SELECT id FROM people"]  # fmt: skip

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=fill, check=False)
    assert full.returncode == 1
    assert "code    audit-unavailable" in full.stderr
    assert "Traceback" not in full.stderr
    assert full.stdout == ""
    assert nbgov(folder, "audit", "verify").exit_code == 0


def test_a_process_that_is_killed_leaves_an_interrupted_attempt(folder: Path) -> None:
    """Kill -9 in the middle of a statement: the log verifies and counts the attempt as interrupted."""
    script = (
        "import os, sys; from nbgov.session import connect;"
        "s = connect(sys.argv[1], as_='ada@acme.test'); r = s.sql('SELECT id FROM people'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert killed.returncode == -9
    shown = nbgov(folder, "audit", "verify")
    assert shown.exit_code == 0, shown.stderr
    assert "every attempt has its end, 1 attempt with its process" in shown.stdout


def test_the_state_folder_is_private(folder: Path) -> None:
    """Log, key and stores are for their owner only."""
    nbgov(folder, "sql", "SELECT id FROM people")
    for path in [folder / ".nbgov", *(folder / ".nbgov").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path

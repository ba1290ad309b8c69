"""``nbgov doctor`` and ``nbgov harden`` on a real DuckDB file and a real PostgreSQL server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nbgov.backends.postgresql.scratch import scratch
from nbgov.cli import main
from nbgov.session import connect
from tests.surfaces.house import build

SERVER = """
version: 1
policy: policy.yaml
connections:
  pg: {{kind: postgresql, url: "{url}"}}
principals:
  ada@acme.test: {{groups: [analysts]}}
"""
POLICY = """
version: 1
tags:
  pii: ["pg.public.people.email"]
  public: ["pg.public.people.id"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["pg.public.*"]
    obligations: {masks: {pii: redact}}
content: {entities: []}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house in a folder, whose connections all answer."""
    build(tmp_path)
    config = (tmp_path / "nbgov.yaml").read_text().splitlines()
    kept = [line for line in config if not line.strip().startswith(("lost:", "down:"))]
    (tmp_path / "nbgov.yaml").write_text("\n".join(kept))
    return tmp_path


def nbgov(folder: Path, *words: str) -> Result:
    """Run a command as ada."""
    return CliRunner().invoke(main, ["--config", str(folder), "--as", "ada@acme.test", *words])


def admin_records(folder: Path) -> list[tuple[str, str, str]]:
    """Verb, status and note of what an administrator did."""
    lines = [line for path in (folder / ".nbgov" / "audit").glob("*.jsonl") for line in path.read_text().splitlines()]  # fmt: skip
    records = [json.loads(line)["record"] for line in lines]
    return [
        (r["verb"], r["status"], r["note"]) for r in records if "note" in r and r["kind"] == "admin"
    ]


def test_a_sound_set_up_is_said_to_be_sound(folder: Path) -> None:
    """Files, policy, connections, and what is masked for whom."""
    with connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people").to_arrow()
    shown = nbgov(folder, "doctor")
    assert shown.exit_code == 0, shown.stdout + shown.stderr
    assert "masked for ada@acme.test: people.email redact" in shown.stdout
    assert "audit.key" in shown.stdout
    assert "fail" not in shown.stdout


def test_what_is_wrong_is_found(folder: Path) -> None:
    """A key that others can read, and a connection that does not answer, are failures."""
    with connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people").to_arrow()
    (folder / ".nbgov" / "audit.key").chmod(0o644)
    (folder / "wh.duckdb").unlink()
    shown = nbgov(folder, "doctor", "--json")
    assert shown.exit_code == 1
    failed = {found["subject"] for found in json.loads(shown.stdout) if found["state"] == "fail"}
    assert failed == {"audit.key", "wh"}


def test_a_policy_that_does_not_decode_is_found(folder: Path) -> None:
    """Nothing can be said of connections then."""
    (folder / "policy.yaml").write_text("version: 2")
    shown = nbgov(folder, "doctor")
    assert shown.exit_code == 1
    assert "fail  policy" in shown.stdout


def test_a_proof_is_printed_and_recorded(folder: Path) -> None:
    """The house's policy hides what it masks; no row of the house is read for that."""
    shown = nbgov(folder, "doctor", "--prove", "wh", "--statements", "60", "--seed", "3")
    assert shown.exit_code == 0, shown.stdout + shown.stderr
    assert "No statement told the two worlds apart." in shown.stdout
    assert "60, seed 3" in shown.stdout
    begun, ended = admin_records(folder)
    assert begun == ("PROVE", "begun", "60 statements, seed 3, synthetic data")
    assert ended[:2] == ("PROVE", "ok")
    assert nbgov(folder, "audit", "verify").exit_code == 0


def test_a_leak_ends_a_proof_with_its_statement(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask that does not mask is found, named by statement and observable, without a value."""
    from nbgov.core.rewrite import masks

    monkeypatch.setattr("nbgov.core.rewrite.masked", lambda column, *_: masks.quote(column.name, "duckdb"))  # fmt: skip
    shown = nbgov(folder, "doctor", "--prove", "wh", "--statements", "60", "--json")
    assert shown.exit_code == 1, shown.stdout
    proof = json.loads(shown.stdout)
    assert not proof["holds"]
    assert "rows" in proof["leaks"][0]["differs"]
    assert "lovelace" not in shown.stdout
    assert admin_records(folder)[-1][1] == "leaks"
    text = nbgov(folder, "doctor", "--prove", "wh", "--statements", "60")
    assert "The policy does not hide what it masks." in text.stdout
    assert "  leak " in text.stdout


def test_an_interrupt_ends_a_proof_cleanly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is recorded, and leaves no scratch database behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nbgov.cli.doctor.Progress.tell", interrupt)
    shown = nbgov(folder, "doctor", "--prove", "wh", "--statements", "5")
    assert shown.exit_code == 130
    assert admin_records(folder)[-1][1] == "cancelled"


def test_an_unknown_connection_is_named(folder: Path) -> None:
    """As everywhere else."""
    shown = nbgov(folder, "doctor", "--prove", "nope")
    assert (shown.exit_code, "unknown-connection" in shown.stderr) == (1, True)


def test_a_file_cannot_be_hardened(folder: Path) -> None:
    """DuckDB has no roles; the error says what to do instead."""
    shown = nbgov(folder, "harden", "wh", "--group", "analysts")
    assert shown.exit_code == 1
    assert "has no roles" in shown.stderr


@pytest.fixture
def server(tmp_path: Path, postgres_url: str):
    """A folder whose one connection is to a database of its own on a real server."""
    with scratch("pg", {"url": postgres_url}) as held:
        held.run(
            "CREATE TABLE people (id int, email text)", "INSERT INTO people VALUES (1, 'x@y.z')"
        )
        (tmp_path / "nbgov.yaml").write_text(SERVER.format(url=held.settings["url"]))
        (tmp_path / "policy.yaml").write_text(POLICY)
        yield tmp_path, held
        held.run("DROP OWNED BY nbgov_analysts") if roles(held) else None
    with scratch("pg", {"url": postgres_url}) as last:
        last.run("DROP ROLE IF EXISTS nbgov_analysts")


def roles(held) -> list[tuple[str, ...]]:
    """The roles that hardening made."""
    return held.rows("SELECT rolname FROM pg_roles WHERE rolname LIKE 'nbgov%'")


def test_hardening_is_printed_before_it_is_done(server) -> None:
    """Without --apply nothing happens; with it, after a question, views and role are there."""
    folder, held = server
    printed = nbgov(folder, "harden", "pg", "--group", "analysts")
    assert printed.exit_code == 0, printed.stderr
    assert 'CREATE VIEW "nbgov"."people" WITH (security_barrier)' in printed.stdout
    assert roles(held) == []
    asked = nbgov(folder, "harden", "pg", "--group", "analysts", "--apply")
    assert (asked.exit_code, roles(held)) == (1, [])
    done = nbgov(folder, "harden", "pg", "--group", "analysts", "--apply", "--yes")
    assert done.exit_code == 0, done.stderr
    assert roles(held) == [("nbgov_analysts",)]
    assert held.rows("SELECT email FROM nbgov.people") == [("***",)]
    again = nbgov(
        folder, "harden", "pg", "--group", "analysts", "--apply", "--yes", "--admin", "pg"
    )
    assert again.exit_code == 0, again.stderr
    assert [status for _, status, _ in admin_records(folder)] == ["begun", "ok"] * 2


def test_a_proof_on_a_server_leaves_nothing_behind(server) -> None:
    """Scratch databases are dropped, and the real one is as it was."""
    folder, held = server
    shown = nbgov(folder, "doctor", "--prove", "pg", "--statements", "40")
    assert shown.exit_code == 0, shown.stdout + shown.stderr
    [(count,)] = held.rows("SELECT count(*) FROM pg_database WHERE datname LIKE 'nbgov_prove%'")
    assert count == 1  # the one that this test stands on

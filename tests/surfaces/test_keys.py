"""``nbgov keys``: the key is never shown, a rotation loses nothing, and tokens follow the key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from nbgov.cli import main
from nbgov.core.pseudonym import token
from nbgov.session import connect

CONFIG = """version: 1
policy: policy.yaml
connections: {{home: {{kind: sqlite, path: home.sqlite}}}}
principals: {{ada: {{accounts: ["*"]}}}}
{more}
"""
POLICY = """version: 1
tags: {pii.name: [home.main.people.name]}
rules:
  - {id: read, effect: permit, to: {names: ["*"]}, actions: [read], on: ["home.main.*"],
     obligations: {masks: {pii.name: token}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one masked column."""
    import sqlite3

    with sqlite3.connect(tmp_path / "home.sqlite") as base:
        base.execute("CREATE TABLE people (name TEXT)")
        base.execute("INSERT INTO people VALUES ('Ada')")
    base.close()
    (tmp_path / "nbgov.yaml").write_text(CONFIG.format(more=""))
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    """Run ``nbgov keys`` and return what it says."""
    result = CliRunner().invoke(main, ["--config", str(folder), "--as", "ada", "keys", *arguments])
    return f"{result.exit_code}\n{result.output}"


def tokens(folder: Path) -> list[str]:
    """How the one name reads."""
    with connect(folder, as_="ada") as session, session.sql("SELECT name FROM people") as result:
        return result.to_arrow()["name"].to_pylist()


def test_a_key_is_told_by_its_check_value_only(folder: Path) -> None:
    """Where the key is and a check value are shown; no byte of the key is, in any form."""
    shown = run(folder, "show")
    key = (folder / ".nbgov" / "pseudonym.key").read_bytes()
    assert shown.startswith("0\nkey    .nbgov/pseudonym.key\ncheck  ")
    assert key.hex() not in shown
    assert key.hex()[:16] not in shown
    assert shown == run(folder, "show")


def test_a_rotation_changes_tokens_and_keeps_the_old_key(folder: Path) -> None:
    """New sessions make other tokens, and the old key, still private, explains the old ones."""
    before = tokens(folder)
    said = run(folder, "rotate")
    assert said.startswith("0\n")
    after = tokens(folder)
    assert before != after
    state = folder / ".nbgov"
    (kept,) = state.glob("pseudonym.key.*")
    assert kept.name in said
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert before == [token("Ada", kept.read_bytes())]
    assert after == [token("Ada", (state / "pseudonym.key").read_bytes())]


def test_a_key_from_elsewhere_is_used_and_not_rotated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference in nbgov.yaml makes the tokens; who holds that key rotates it."""
    (folder / "nbgov.yaml").write_text(CONFIG.format(more="pseudonym_key: env:NBGOV_TEST_KEY"))
    monkeypatch.setenv("NBGOV_TEST_KEY", "k" * 32)
    assert tokens(folder) == [token("Ada", b"k" * 32)]
    assert not (folder / ".nbgov" / "pseudonym.key").exists()
    assert "not nbgov's to rotate" in run(folder, "rotate")
    monkeypatch.setenv("NBGOV_TEST_KEY", "short")
    refused = run(folder, "show")
    assert "key-short" in refused
    assert "short" not in refused.replace("key-short", "").replace("too short", "")


def test_a_rotation_that_cannot_be_written_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new key cannot be put in place, the old one is still the key."""
    before = tokens(folder)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    assert "state-unavailable" in run(folder, "rotate")
    monkeypatch.undo()
    assert tokens(folder) == before

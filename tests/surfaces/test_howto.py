"""What a how-to page shows is what happens: its files, its code and its commands, from the top."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from nbgov.cli import main

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
BLOCK = re.compile(r"^```(console|python|text|yaml)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ nbgov (.+)\n((?:(?!\$ ).*\n)*)", flags=re.MULTILINE)
DAYS = re.compile(r"[\d-]{10} to [\d-]{10}")
KEY = bytes(range(32))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with the key that the tokens on the pages are made with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".nbgov").mkdir(mode=0o700)
    key = tmp_path / ".nbgov" / "pseudonym.key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    return tmp_path


def printed(code: str) -> str:
    """What a piece of Python prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {})  # It is our own documentation.
    return out.getvalue()


def answers(console: str) -> list[tuple[str, str, str]]:
    """Every command of a console block, what the page says it answers, and what it does answer."""
    return [
        (command, shown, CliRunner().invoke(main, shlex.split(command)).stdout)
        for command, shown in COMMAND.findall(console.replace("\\\n", ""))
    ]


@pytest.mark.parametrize(
    "page", ["add-a-language", "classify", "mask-a-column", "scan-files", "write-a-policy"]
)
def test_a_page_can_be_followed(folder, page):
    """A YAML block that names a file makes it, and each answer is the one on the page."""
    answer, compared = "", 0
    for kind, body in BLOCK.findall((HOWTO / f"{page}.md").read_text(encoding="utf-8")):
        named = re.match(r"# (\S+\.yaml)\n", body)
        if kind == "yaml" and named:
            (folder / named[1]).write_text(body)
        elif kind == "python":
            answer = printed(body)
        elif kind == "text":
            assert body == answer
            compared += 1
        for command, shown, found in answers(body) if kind == "console" else ():
            assert DAYS.sub("", found) == DAYS.sub("", shown), command
            compared += 1
    assert compared

"""``nbgov catalog log|diff|show`` and ``%nbgov catalog``, on a real warehouse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result
from IPython.core.interactiveshell import InteractiveShell

from nbgov.cli import main
from nbgov.errors import RequestInvalid
from nbgov.notebook.catalogs import told
from nbgov.session import connect

CONFIG = """
version: 1
policy: policy.yaml
connections:
  wh: {kind: duckdb, path: wh.duckdb}
  gone: {kind: duckdb, path: gone.duckdb}
principals:
  ada: {groups: [team]}
  ben: {groups: [team]}
"""
POLICY = """
version: 1
rules:
  - {id: all, effect: permit, to: {groups: [team]}, actions: [read, create, alter], on: ["wh.*.*"]}
"""
SECRET = "ada-4711"


def outside(folder: Path, *statements: str) -> None:
    """Change the database without nbgov."""
    with duckdb.connect(folder / "wh.duckdb") as link:
        for sql in statements:
            link.execute(sql)


def nbgov(folder: Path, *words: str, as_: str = "ada", code: int = 0) -> Result:
    """Run a command as somebody."""
    done = CliRunner().invoke(main, ["--config", str(folder), "--as", as_, *words])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose warehouse changed twice, once in the open and once outside."""
    tmp_path = tmp_path_factory.mktemp("evolved")
    (tmp_path / "nbgov.yaml").write_text(CONFIG)
    (tmp_path / "policy.yaml").write_text(POLICY)
    outside(
        tmp_path,
        "CREATE TABLE rides (id INTEGER, fare INTEGER, note VARCHAR)",
        f"CREATE VIEW cheap AS SELECT id FROM rides WHERE note = '{SECRET}'",
    )
    read = ("sql", "SELECT id, fare FROM rides", "--dataset", "training")
    nbgov(tmp_path, *read)
    nbgov(tmp_path, "sql", "CREATE TABLE tips (id INTEGER)")
    nbgov(tmp_path, "sql", "SELECT id FROM tips", "--dataset", "other")
    outside(
        tmp_path,
        "DROP VIEW cheap",
        "ALTER TABLE rides ALTER fare TYPE DOUBLE",
        f"CREATE VIEW cheap AS SELECT id FROM rides WHERE note <> '{SECRET}'",
    )
    nbgov(tmp_path, *read, as_="ben")
    return tmp_path


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the project that a test may change."""
    return shutil.copytree(folder, tmp_path / "own")


def test_a_log_tells_who_was_seen_doing_what(folder: Path) -> None:
    """Each version says by whom, in which entry; what happened outside says who met it."""
    text = nbgov(folder, "catalog", "log", "wh").stdout
    three, two, one = text.split("\nversion ")[1:]
    assert "outside nbgov, first seen by ben" in three
    assert "~ fare is DOUBLE, was INTEGER" in three
    assert "~ has another definition; it reads main.rides, as before" in three
    assert "by ada, entry" in two
    assert "(CREATE main.tips)" in two
    assert "+ added: table (id INTEGER)" in two
    assert "held 2 tables and views" in one
    assert SECRET not in text


def test_the_log_of_a_table_tells_the_datasets_that_changed_with_it(folder: Path) -> None:
    """A dataset version with other columns stands under the catalog version that it followed."""
    text = nbgov(folder, "catalog", "log", "wh", "rides").stdout
    assert "> training@v" in text
    assert "has other columns from here on: fare is float, was int" in text
    assert "tips" not in text
    told = json.loads(nbgov(folder, "catalog", "log", "wh", "main.rides", "--json").stdout)
    assert [bool(one["datasets"]) for one in told] == [True, False, False]
    assert [one["version"] for one in told] == [3, 2, 1]


def test_a_change_is_seen_when_somebody_looks_for_it(own: Path) -> None:
    """The log looks at the connection first, and looking is recorded."""
    outside(own, "CREATE TABLE fresh (a INTEGER)")
    assert "version 4" in nbgov(own, "catalog", "log", "wh", as_="ben").stdout
    since = nbgov(own, "catalog", "log", "wh", "--since", "2999-01-01").stdout
    assert "version 4" not in since
    assert "4 versions" in since


def test_two_versions_differ_in_what_lies_between_them(folder: Path) -> None:
    """By default in what the newest one changed; JSON holds the same."""
    assert "2 differences" in nbgov(folder, "catalog", "diff", "wh").stdout
    both = json.loads(nbgov(folder, "catalog", "diff", "wh", "1", "3", "--json").stdout)
    assert {one["kind"] for one in both["changes"]} == {
        "column-retyped", "table-added", "view-redefined",
    }  # fmt: skip
    assert "Nothing differs." in nbgov(folder, "catalog", "diff", "wh", "2", "2").stdout


def test_a_version_shows_what_was_held(folder: Path) -> None:
    """With types, promises and what views read, but without their texts."""
    text = nbgov(folder, "catalog", "show", "wh", "1").stdout
    assert "main.cheap (view)" in text
    assert "reads main.rides" in text
    assert "tips" not in text
    assert "main.tips (table)" in nbgov(folder, "catalog", "show", "wh").stdout
    shown = json.loads(nbgov(folder, "catalog", "show", "wh", "1", "--json").stdout)
    assert SECRET not in json.dumps(shown)
    assert shown["document"]["tables"]["main.rides"]["columns"][1][:2] == ["fare", "INTEGER"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["log", "wh", "nothing"], "unknown-table"),
        (["diff", "wh", "9"], "unknown-reference"),
        (["log", "nowhere"], "unknown-connection"),
        (["show", "gone"], "unknown-reference"),
    ],
)
def test_what_is_not_known_is_an_error(folder: Path, words: list[str], code: str) -> None:
    """Of a table, a version, a connection, and one that never answered."""
    assert f"code    {code}" in nbgov(folder, "catalog", *words, code=1).stderr


def test_what_was_seen_is_told_while_the_database_is_away(own: Path) -> None:
    """History needs no database; the title says that it does not answer."""
    (own / "wh.duckdb").unlink()
    text = nbgov(own, "catalog", "log", "wh").stdout
    assert "it does not answer now" in text
    assert "version 3" in text


def test_the_command_alone_lists_what_may_be_touched(folder: Path) -> None:
    """With its options, as before there were versions."""
    assert "main.rides" in nbgov(folder, "catalog", "-c", "wh").stdout
    assert "dialect: duckdb" in nbgov(folder, "catalog", "--export").stdout


def test_a_cell_shows_the_same_as_the_terminal(folder: Path) -> None:
    """The story of a cell has the chapters of the terminal, and HTML that holds the same words."""
    with connect(folder, as_="ada") as session:
        for words in (["log", "wh"], ["log", "wh", "rides"], ["diff", "wh"], ["show", "wh", "1"]):
            story = told(session, words)
            assert story.text().rstrip() == nbgov(folder, "catalog", *words).stdout.rstrip()
            assert "main.rides" in story.html()
        for words in ([], ["log"], ["diff", "wh", "x"], ["show", "wh", "1", "2"]):
            with pytest.raises(RequestInvalid) as caught:
                told(session, words)
            assert caught.value.code == "usage"


def test_the_magic_shows_a_story(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``%nbgov catalog`` speaks to the session of the notebook."""
    monkeypatch.setenv("NBGOV_CONFIG", str(folder))
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "nbgov")
    shell.run_line_magic("nbgov", "connect --as ada")
    shell.run_line_magic("nbgov", "catalog diff wh 1 3")
    shell.run_line_magic("unload_ext", "nbgov")

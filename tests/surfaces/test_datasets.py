"""``nbgov datasets``: a real state folder, seen by people and by programs."""

from __future__ import annotations

import json
import shlex

import duckdb
import pytest
from click.testing import CliRunner

import nbgov
from nbgov.cli import main
from nbgov.notebook import datasets
from tests.surfaces.house import build

ADA = "ada@acme.test"
MAIL = "ada@lovelace.org"
SQL = "SELECT id, email, team, note FROM people WHERE team <> 'nobody'"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A house in which one name was read four times, and one result without a name."""
    folder = build(tmp_path_factory.mktemp("house"))
    with (folder / "policy.yaml").open("a") as policy:
        policy.write("content: {entities: []}\n")
    for read, change in enumerate(
        [None, None, "INSERT INTO people VALUES (4, 'x@y.z', 'red', '')", None]
    ):
        if change:
            with duckdb.connect(folder / "wh.duckdb") as link:
                link.execute(change)
        with nbgov.connect(folder, as_=ADA) as session:
            session.sql(
                SQL.replace("nobody", "none") if read == 3 else SQL, dataset="train"
            ).to_arrow()
    with nbgov.connect(folder, as_=ADA) as session:
        session.sql("SELECT team, count(*) AS n FROM people GROUP BY team").to_arrow()
    return folder  # fmt: skip


@pytest.fixture
def session(house):
    with nbgov.connect(house, as_=ADA) as opened:
        yield opened


def ask(house, line, code=0):
    result = CliRunner().invoke(
        main, ["--config", str(house), "--as", ADA, "datasets", *shlex.split(line)]
    )
    assert result.exit_code == code, result.output
    assert MAIL not in result.output
    return result.output


def answer(house, line):
    return json.loads(ask(house, f"{line} --json"))


def test_the_list_names_each_dataset_once(house):
    """Each name has its newest version, who read it, and how many there were."""
    lines = ask(house, "list").splitlines()
    assert lines[0].split()[:4] == ["dataset", "version", "rows", "columns"]
    assert {line.split()[0] for line in lines[2:]} == {"wh.main.people", "train"}
    newest, train = answer(house, "list")
    assert (newest["name"], train["name"], train["versions"]) == ("wh.main.people", "train", 3)
    assert (train["rows"], train["last_read"]["principal"]) == (4, ADA)
    assert train["version_id"][:8] in lines[3]


def test_an_empty_list_says_so(tmp_path):
    """Nothing was delivered, and that is no error."""
    assert ask(build(tmp_path), "list") == "No dataset was delivered yet.\n"


def test_the_log_says_what_each_version_changed(house):
    """Reads of one version are one line, each with what is new since the one before."""
    found = answer(house, "log train")
    assert [one["changes"] for one in found] == [
        ["same rows", "other literals"],
        ["1 row more (33.3 %)", "other values in id, team", "another state of main.people"],
        ["first version"],
    ]
    assert [one["reads"] for one in found] == [1, 1, 2]
    assert [one["parent"] for one in found] == [*(one["version_id"] for one in found[1:]), ""]
    text = ask(house, "log train")
    assert text.startswith("train: 3 versions\n")
    assert "1 row more" in text
    assert ask(house, f"log {found[0]['version_id'][:8]}") == text


def test_a_version_is_shown_with_its_columns_sources_and_reads(house):
    """Levels, masks, tags and origins of columns; values of open columns only."""
    found = answer(house, "show train")
    columns = {one["column"]: one for one in found["columns"]}
    assert columns["id"] == {
        "column": "id", "type": "int", "level": "open", "missing": 0, "distinct": 4,
        "range": "1 to 4", "mask": "", "tags": "public", "shows": "wh.main.people.id",
    }  # fmt: skip
    assert (columns["email"]["mask"], columns["email"]["range"]) == ("redact", "")
    assert columns["note"]["level"] == "pii"
    [read] = found["deliveries"]
    assert [source["kind"] for source in read["sources"]] == ["duckdb-file"]
    assert found["rows_kept"] is False
    text = ask(house, "show train")
    for word in ("statement  SELECT id, email", "main.people", "duckdb-file", "redact", "1 to 4"):
        assert word in text


def test_two_versions_are_compared(house):
    """The same report as of ``nbgov drift``, of dataset versions only."""
    log = answer(house, "log train")
    old, new = log[-1]["version_id"], log[0]["version_id"][:8]
    report = answer(house, f"diff {old} {new}")
    assert report["is_same_data"] is False
    assert "rows" in {cause["kind"] for cause in report["causes"]}
    assert "Drift of" in ask(house, f"diff {old} train@v{new}")
    ask(house, "diff train runs:/1", code=1)


def test_a_name_that_is_not_known_finds_the_nearest(house):
    """The error says which name may have been meant."""
    for line in ("show trian", "log trian", "diff train trian"):
        assert "did you mean train?" in ask(house, line, code=1)


def test_a_version_without_a_profile_learns_it_when_it_is_shown(session):
    """What nobody named is profiled when somebody looks, while its session lives."""
    session.sql("SELECT id FROM people WHERE id < 3").to_arrow()
    [row] = datasets.shown(session, "wh.main.people").data["columns"]
    assert row["range"] == "1 to 2"


def test_an_old_version_without_a_profile_is_shown_as_far_as_it_is_known(house):
    """Levels and distinct counts are left out then, and nothing is made up."""
    first = answer(house, "log wh.main.people")[-1]["version_id"]
    [team, n] = answer(house, f"show {first}")["columns"]
    assert (team["level"], team["distinct"], team["missing"], n["type"]) == ("", "", 0, "int")

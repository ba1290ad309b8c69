"""`nbgov policy`: a policy is checked, tested, explained and compared, and nothing runs."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from nbgov.cli import main
from tests.surfaces import house

ADA = "ada@acme.test"
CASES = """
version: 1
cases:
  - id: analysts see no e-mail
    principal: ada@acme.test
    groups: [analysts]
    statement: SELECT email FROM people WHERE id = :id
    decision: permit
    obligations: {masks: {main.people.email: redact}}
  - id: nobody drops
    principal: ada@acme.test
    groups: [analysts]
    statement: DROP TABLE people
    decision: deny
    code: denied-by-guard
  - id: a typing error is a deny
    principal: ada@acme.test
    groups: [analysts]
    statement: SELECT nothing FROM people
    decision: deny
    code: unknown-column
"""
CATALOG = """
version: 1
dialect: duckdb
default_schema: main
tables:
  main.people: {columns: {id: INTEGER, email: VARCHAR, team: VARCHAR, note: VARCHAR}}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("NBGOV_CONFIG", str(house.build(tmp_path)))
    text = house.CONFIG.replace("  lost: {kind: duckdb, path: lost.duckdb}\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("  down:")]
    (tmp_path / "nbgov.yaml").write_text("\n".join(lines) + "\n")
    policy = house.POLICY.replace(', "lost.*.*", "down.*.*"', "")
    (tmp_path / "policy.yaml").write_text(policy)
    (tmp_path / "policy.test.yaml").write_text(CASES)
    return tmp_path


def run(*words, code=0):
    result = CliRunner().invoke(main, ["policy", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def change(place, before, after, name="policy.yaml"):
    text = (place / "policy.yaml").read_text()
    assert before in text
    (place / name).write_text(text.replace(before, after))
    return place / name


# ---------------------------------------------------------------- lint


def test_lint_is_silent_about_a_policy_that_makes_sense(place):
    """No problem, exit 0, in both forms."""
    assert run("lint") == "0 errors, 0 remarks.\n"
    assert json.loads(run("lint", "--json")) == {"problems": [], "unasked": []}


def test_lint_fails_on_an_error(place):
    """A tag that covers nothing is told with its code, place and next step."""
    change(place, "people.email", "people.mail")
    text = run("lint", code=1)
    assert "P104  error  tags.pii.email: the tag covers no column" in text
    [problem] = json.loads(run("lint", "--json", code=1))["problems"]
    assert (problem["code"], problem["place"], problem["is_error"]) == (
        "P104",
        "tags.pii.email",
        True,
    )


def test_a_remark_is_no_failure(place):
    """What may be meant is told with exit 0."""
    change(place, "groups: [analysts, stewards]", "groups: [analysst]")
    assert "P110  remark" in run("lint")


def test_a_connection_that_is_away_is_named(place):
    """Its names are not checked, and somebody is told."""
    with (place / "nbgov.yaml").open("a") as file:
        file.write("")
    text = (place / "nbgov.yaml").read_text()
    (place / "nbgov.yaml").write_text(text.replace("principals:", "  gone: {kind: duckdb, path: gone.duckdb}\nprincipals:"))  # fmt: skip
    assert "gone was not asked" in run("lint")
    assert json.loads(run("lint", "--json").splitlines()[-1])["unasked"] == ["gone"]


# ---------------------------------------------------------------- test


def test_cases_beside_the_policy_are_decided(place):
    """Every case that is met is ok, and nothing ran."""
    assert run("test").endswith("3 cases, 0 failed.\n")
    assert "0 requests" in run("backtest")


def test_a_case_that_fails_says_how(place):
    """A changed policy fails its cases, with exit 1."""
    change(place, "redact", '"null"')
    text = run("test", code=1)
    assert "FAIL  analysts see no e-mail" in text
    assert "masks is main.people.email null, not main.people.email redact" in text
    told = json.loads(run("test", "--json", code=1))
    assert (told["failed"], [case["passed"] for case in told["cases"]]) == (1, [False, True, True])
    assert told["cases"][0]["answer"]["decision"] == "permit"


def test_cases_may_stand_elsewhere(place):
    """A file that is named is read instead, and one that is not there is an error."""
    (place / "policy.test.yaml").rename(place / "more.yaml")
    assert "3 cases" in run("test", place / "more.yaml")
    assert "policy.test.yaml cannot be read" in run("test", code=1)


def test_a_policy_can_be_tested_without_a_database(place):
    """A catalog file is enough."""
    (place / "catalog.yaml").write_text(CATALOG)
    (place / "wh.duckdb").unlink()
    words = ["--policy", place / "policy.yaml", "--catalog", place / "catalog.yaml"]
    assert "3 cases, 0 failed" in run("test", *words)
    assert run("lint", *words, "--dialect", "duckdb") == "0 errors, 0 remarks.\n"
    assert "dialect" in run("lint", *words, "--dialect", "postgres", code=2)
    assert "--catalog" in run("lint", "--dialect", "duckdb", code=2)
    assert "--policy" in run("lint", "--catalog", place / "catalog.yaml", code=2)
    assert "has no audit log" in run("backtest", *words, code=1)


# ---------------------------------------------------------------- explain


def test_explain_tells_rules_and_tags(place):
    """Each rule says what became of it, and each column where its tag comes from."""
    text = run("explain", "--as", ADA, "SELECT email, team, note FROM people")
    assert "permit: permitted by read" in text
    assert "it is about update, not read" in text
    assert "pii.email reads as redact" in text
    assert "no tag" in text
    told = json.loads(run("explain", "--as", ADA, "SELECT email FROM people", "--json"))
    assert [rule["match"] for rule in told["rules"]] == ["matched", "action"]
    assert told["columns"][0]["tags"] == [["pii.email", "main.people.email"]]


def test_explain_holds_at_a_moment_and_an_origin(place):
    """A condition sees the moment and the origin that are given."""
    change(place, "    on: [\"wh.main.*\"]", '    on: ["wh.main.*"]\n    when: at.getFullYear() == 2027 && origin.surface == "cli"')  # fmt: skip
    asked = ["explain", "--as", ADA, "SELECT id FROM people", "--origin", "surface=cli"]
    assert "permit:" in run(*asked, "--at", "2027-01-01")
    assert "its condition is false" in run(*asked, "--at", "2026-01-01T10:00:00Z")
    assert "deny:" in run(*asked)
    assert "ISO 8601" in run(*asked, "--at", "soon", code=1)


def test_explain_needs_somebody_who_asks(place):
    """Who asks is declared, or made up by groups and roles."""
    assert "--as" in run("explain", "SELECT 1", code=2)
    assert "is not declared" in run("explain", "--as", "bo", "SELECT 1", code=1)
    assert "permit:" in run("explain", "--as", "bo", "--group", "analysts", "SELECT 1")
    assert "There is no column" in run("explain", "--as", ADA, "SELECT x FROM people", code=1)


# ---------------------------------------------------------------- diff


def test_diff_lists_what_changes(place):
    """Only changed decisions are listed, with both answers."""
    new = change(place, "redact", '"null"', "new.yaml")
    text = run("diff", place / "policy.yaml", new)
    assert "masked: analysts see no e-mail for ada@acme.test on wh" in text
    assert "1 of 3 decisions change." in text
    run("diff", place / "policy.yaml", new, "--exit-code", code=1)
    assert "0 of 3" in run("diff", place / "policy.yaml", "--exit-code")
    told = json.loads(run("diff", place / "policy.yaml", new, "--json"))
    assert told["changes"][0]["kinds"] == ["masked"]
    assert told["changes"][0]["asked"]["principal"]["groups"] == ["analysts"]


def test_diff_reads_a_corpus(place):
    """Each line is a statement and who asks, declared or made up."""
    corpus = place / "corpus.jsonl"
    corpus.write_text(
        f'{{"sql": "SELECT email FROM people", "principal": "{ADA}", "at": "2026-01-01"}}\n\n'
        '{"id": "x", "sql": "SELECT 1", "principal": "bo", "groups": ["analysts"], "origin": {}}\n'
    )
    new = change(place, "redact", '"null"', "new.yaml")
    assert "1 of 2 decisions change" in run("diff", place / "policy.yaml", new, "--corpus", corpus)
    for broken in ("[]", "{}", "no", '{"sql": "SELECT 1", "principal": "bo", "groups": 1}'):
        corpus.write_text(broken + "\n")
        assert "Line 1" in run("diff", place / "policy.yaml", new, "--corpus", corpus, code=1)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_diff_reads_a_git_revision(place):
    """The policy of an earlier commit is compared with the one of now."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=m"]
    for words in (["init", "-q"], ["add", "policy.yaml"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], cwd=place, check=True)
    change(place, "redact", '"null"')
    assert "1 of 3 decisions change" in run("diff", "HEAD")
    assert "no revision" in run("diff", "HEAD~7", code=1)
    assert "no revision" in run("diff", "--", "--output=x", code=1)


# ---------------------------------------------------------------- backtest


def test_backtest_tells_what_would_have_changed(place):
    """Recorded requests are decided once more; what changes is counted by person."""
    for _ in range(2):
        CliRunner().invoke(main, ["--as", ADA, "sql", "SELECT email FROM people WHERE id = 7"])
    CliRunner().invoke(main, ["--as", ADA, "sql", house.CHANGE])
    assert "3 requests, 3 decided again, 0 change" in run("backtest")
    new = change(place, "redact", '"null"', "new.yaml")
    text = run("backtest", "--policy", new)
    assert f"masked: 2 times for {ADA} on wh" in text
    assert "SELECT email FROM people WHERE id = ?" in text
    blocked = change(place, "actions: [update]", "actions: [delete]", "blocked.yaml")
    told = json.loads(run("backtest", "--policy", blocked, "--json"))
    assert [(e["kinds"], e["count"]) for e in told["effects"]] == [(["blocked"], 1)]
    assert "0 requests" in run("backtest", "--since", "2999-01-01")
    assert "no rule permits" in run("backtest", "--policy", blocked)


def test_backtest_counts_what_it_cannot_decide(place):
    """Somebody who is no longer declared is not passed over in silence."""
    CliRunner().invoke(main, ["--as", ADA, "sql", "SELECT id FROM people"])
    text = (place / "nbgov.yaml").read_text()
    (place / "nbgov.yaml").write_text(text.replace("  ada@acme.test", "  bo@acme.test"))
    assert "1 could not be decided: the principal is no longer declared." in run("backtest")

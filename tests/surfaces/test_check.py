"""``nbgov check``: one statement, a corpus, on a connection and on paper."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from nbgov.cli import main
from nbgov.core.catalog import parse
from nbgov.pipeline import Pipeline
from tests.surfaces.house import build

CASES = Path(__file__).parent.parent / "cases/guard"
SHARED = Path(__file__).parents[3] / "shared/cases/guard.jsonl"
KEYS = [
    "id", "decision", "obligations", "effects", "codes", "tables", "columns", "rules", "reasons",
    "sql", "ms",
]  # fmt: skip
ROWS = [
    {"id": "a", "sql": "SELECT id FROM orders"},
    {"id": 7, "sql": "SELECT ssn FROM customers", "team": "red"},
    {"id": None, "sql": "DELETE FROM orders"},
    {"sql": "UPDATE staging SET val = 'x' WHERE id = 1"},
    {"id": "e", "sql": "SELEC 1"},
]


def on_paper(dialect: str) -> list[str]:
    """The options that ask for the analyst of the shop."""
    catalog, policy = CASES / f"catalog.{dialect}.yaml", CASES / "policy.yaml"
    who = ["--as", "analyst@example.com", "--group", "analysts"]
    return ["check", "--dialect", dialect, "--catalog", str(catalog), "--policy", str(policy), *who]


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, words, input=stdin)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def answers(result: Result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def verdict(answer: dict) -> str:
    """The verdict that an answer comes to; consent outranks a mask."""
    kinds = {obligation["kind"] for obligation in answer["obligations"]}
    permitted = "approve" if "approval" in kinds else "mask" if "mask" in kinds else "allow"
    return permitted if answer["decision"] == "permit" else "block"


def misses(rows: list[dict]) -> list[str]:
    """The rows of a corpus whose verdict is none of those that are right."""
    wrong = []
    for dialect in sorted({row["dialect"] for row in rows}):
        asked = [row for row in rows if row["dialect"] == dialect]
        result = run(*on_paper(dialect), "--jsonl", "-", stdin=lines(*asked))
        assert result.exit_code == 0, result.stderr
        for row, answer in zip(asked, answers(result), strict=True):
            if verdict(answer) not in row["accept"]:
                wrong.append(f"{row['id']}: {verdict(answer)} {answer['codes']} {row['sql']}")
    return wrong


# ---------------------------------------------------------------- corpora


def test_every_statement_of_our_corpus_gets_a_right_verdict():
    """Attacks are stopped or masked, changes wait for consent, and harmless statements run."""
    groups = yaml.safe_load((CASES / "bypass.yaml").read_text(encoding="utf-8"))
    rows = [
        {**group, "sql": sql, "id": f"{group['dialect']} {group['category']}"}
        for group in groups
        for sql in group["statements"]
    ]
    assert len(rows) == len({(row["dialect"], row["sql"]) for row in rows}) > 500
    benign = Counter(row["dialect"] for row in rows if row["category"] == "benign")
    assert min(benign[dialect] for dialect in ("postgres", "mysql", "duckdb", "sqlite")) > 20
    assert misses(rows) == []


@pytest.mark.skipif(not SHARED.exists(), reason="the shared corpus is not on this machine")
def test_every_statement_of_the_shared_corpus_gets_a_right_verdict():
    """So does every statement of the corpus that was written by others."""
    rows = [json.loads(line) for line in SHARED.read_text(encoding="utf-8").splitlines()]
    assert misses(rows) == []


# ---------------------------------------------------------------- lines


def test_every_line_gets_an_answer_in_order(tmp_path):
    """Answers have the keys that are documented; a deny is an answer, and the exit is 0."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(lines(*ROWS[:2]) + "\n" + lines(*ROWS[2:]))
    result = run(*on_paper("postgres"), "--jsonl", str(corpus))
    assert result.exit_code == 0, result.stderr
    told = answers(result)
    assert [answer["id"] for answer in told] == ["a", 7, None, 5, "e"]
    assert [verdict(answer) for answer in told] == ["allow", "mask", "block", "approve", "block"]
    assert all(list(answer) == KEYS for answer in told)
    assert told[1]["obligations"] == [
        {"kind": "mask", "column": "public.customers.ssn", "mask": "redact", "tag": "pii.ssn"}
    ]
    assert "***" in told[1]["sql"]
    assert (told[2]["sql"], told[4]["codes"]) == (None, ["syntax"])
    assert told[3]["obligations"][-1]["by"] == {"roles": ["approver"]}
    assert {type(answer["ms"]) for answer in told} == {float}


def test_lines_come_from_standard_input_too():
    """``-`` reads a pipe, and gives the same answers."""
    result = run(*on_paper("duckdb"), "--jsonl", "-", stdin=lines(*ROWS))
    assert [verdict(a) for a in answers(result)] == ["allow", "mask", "block", "approve", "block"]


@pytest.mark.parametrize(
    "bad", ["[1]", "{", '{"id": 1}', '{"sql": 3}', '"SELECT 1"', "[" * 100_000, '{"sql": "' + "x" * 1_000_001 + '"}', "\xff"]
)  # fmt: skip
def test_a_line_that_is_no_statement_ends_the_run(tmp_path, bad):
    """The error names the line; the answers before it stay."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(lines(ROWS[0]) + bad + "\n" + lines(ROWS[0]), encoding="latin-1")
    result = run(*on_paper("postgres"), "--jsonl", str(corpus))
    assert result.exit_code == 1
    assert "Line 2 is not what --jsonl reads" in result.stderr
    assert "code    usage" in result.stderr
    assert [answer["id"] for answer in answers(result)] == ["a"]


def test_a_statement_on_which_nbgov_breaks_costs_no_other_its_answer(monkeypatch):
    """It is denied as internal, the rest is decided, and the error is raised at the end."""
    decide = Pipeline.check

    def check(self, request):
        if "orders" in request.sql:
            raise RuntimeError("a broken promise")
        return decide(self, request)

    monkeypatch.setattr(Pipeline, "check", check)
    result = run(*on_paper("sqlite"), "--jsonl", "-", stdin=lines(ROWS[0], ROWS[1]))
    assert result.exit_code == 1
    assert str(result.exception) == "a broken promise"
    first, second = answers(result)
    assert (first["decision"], first["codes"]) == ("deny", ["internal"])
    assert verdict(second) == "mask"


def test_text_that_is_not_unicode_is_a_deny():
    """Half of a surrogate pair is no SQL; it is refused like any other text that is none."""
    result = run(*on_paper("sqlite"), "--jsonl", "-", stdin='{"sql": "SELECT \'\\ud800\'"}\n')
    assert (result.exit_code, verdict(answers(result)[0])) == (0, "block")


def test_an_interrupt_leaves_the_answers_so_far(monkeypatch):
    """Ctrl-C ends the run with 130 and without a stack."""
    decide = Pipeline.check

    def check(self, request):
        if "customers" in request.sql:
            raise KeyboardInterrupt
        return decide(self, request)

    monkeypatch.setattr(Pipeline, "check", check)
    result = run(*on_paper("sqlite"), "--jsonl", "-", stdin=lines(ROWS[0], ROWS[1]))
    assert (result.exit_code, len(answers(result))) == (130, 1)
    assert "Traceback" not in result.stderr


# ---------------------------------------------------------------- one statement


def test_one_statement_is_told_for_people():
    """The decision comes first, each obligation is a line, and the text that would run is last."""
    result = run(*on_paper("mysql"), "SELECT email FROM customers")
    assert result.exit_code == 0, result.stderr
    shown = result.stdout.splitlines()
    assert shown[0].split() == ["decision", "permit"]
    assert any(
        line.startswith("obligations  mask") and "gov.customers.email" in line for line in shown
    )
    assert shown[-1].startswith("sql")
    assert "***" in shown[-1]


def test_a_deny_of_one_statement_is_exit_1():
    """The code and the guard's rules are there, as text and as JSON."""
    result = run(*on_paper("postgres"), "DROP TABLE orders")
    assert result.exit_code == 1
    assert "denied-by-guard" in result.stdout
    told = json.loads(run(*on_paper("postgres"), "DROP TABLE orders", "--json").stdout)
    assert told["decision"] == "deny"
    assert told["codes"][0] == "denied-by-guard"
    assert told["tables"] == ["public.orders"]


def test_several_statements_get_the_worst_decision(tmp_path):
    """A file of statements is decided statement by statement, and told as one."""
    path = tmp_path / "all.sql"
    path.write_text("SELECT id FROM orders;\nSELECT ssn FROM customers;")
    told = json.loads(run(*on_paper("duckdb"), "--file", str(path), "--json").stdout)
    assert (told["decision"], told["tables"]) == ("permit", ["main.orders", "main.customers"])
    assert told["sql"].startswith("SELECT id FROM ")
    told = json.loads(run(*on_paper("duckdb"), "SELECT 1; DROP TABLE orders", "--json").stdout)
    assert (told["decision"], told["sql"]) == ("deny", None)


def test_a_bind_takes_its_value():
    """``:name`` needs a value here as anywhere."""
    asked = [*on_paper("duckdb"), "SELECT sku FROM orders WHERE id = :id"]
    assert run(*asked, "--bind", "id=3").exit_code == 0
    without = run(*asked)
    assert without.exit_code == 1
    assert "bind-missing" in without.stdout


# ---------------------------------------------------------------- for which connection


def test_the_policy_says_which_connection_is_meant(tmp_path):
    """The first name that its patterns spell out; ``-c`` says another, and no name is ``offline``."""
    policy = tmp_path / "policy.yaml"
    asked = [*on_paper("duckdb"), "SELECT id FROM orders", "--policy", str(policy)]

    def permit_reading(*patterns: str) -> None:
        rule = {"id": "r", "effect": "permit", "to": {"groups": ["analysts"]}, "actions": ["read"]}
        text = {"version": 1, "rules": [rule | {"on": [*patterns]}], "content": {"entities": []}}
        policy.write_text(yaml.safe_dump(text))

    permit_reading("ops-*.*.*", "lake.main.orders")
    assert run(*asked).exit_code == 0
    assert run(*asked, "-c", "warehouse").exit_code == 1
    assert run(*asked, "-c", "ops-7").exit_code == 0
    permit_reading("off*.*.*")
    assert run(*asked).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--dialect", "duckdb"], "--policy and --as must be given"),
        (["--catalog", str(CASES / "catalog.duckdb.yaml"), "--as", "ada"], "--policy must be given"),
        (["--dialect", "duckdb", "--policy", str(CASES / "policy.yaml"), "--as", "ada"], "give --catalog"),
        ([*on_paper("duckdb")[1:], "--dialect", "sqlite"], "of the dialect duckdb"),
        (["--effects-only"], "Give --dialect"),
        (["--group", "analysts"], "need --as"),
        (["--jsonl", "nowhere.jsonl"], "does not exist"),
        (["--dialect", "klingon"], "is not one of"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_wrong_usage(words, says):
    """What is missing, or contradicts itself, is named; the exit is 2."""
    result = run("check", "SELECT 1", *words)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_a_policy_or_catalog_that_does_not_decode_is_no_deny(tmp_path):
    """It is an error about all statements: nothing is decided, and standard output is empty."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nruels: []")
    for option, code in (("--policy", "policy-invalid"), ("--catalog", "catalog-invalid")):
        result = run(*on_paper("duckdb"), option, str(wrong), "SELECT 1")
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"code    {code}" in result.stderr


# ---------------------------------------------------------------- on a connection


@pytest.fixture
def folder(tmp_path):
    return build(tmp_path)


def test_a_connection_is_asked_and_nothing_is_recorded(folder):
    """Lines are decided on the live database, under its own policy; the log stays empty."""
    rows = lines(
        {"sql": "SELECT email FROM people"},
        {"sql": "DROP TABLE people"},
        {"sql": "SELECT * FROM no"},
    )
    result = run(
        "--config", str(folder), "--as", "ada@acme.test", "check", "--jsonl", "-", stdin=rows
    )
    assert result.exit_code == 0, result.stderr
    assert [verdict(answer) for answer in answers(result)] == ["mask", "block", "block"]
    assert answers(result)[2]["codes"] == ["unknown-table"]
    assert not (folder / ".nbgov" / "audit").exists()


def test_another_policy_and_another_principal_can_be_supposed(folder, tmp_path):
    """``--policy`` asks what another policy would say, ``--group`` what another person would get."""
    other = tmp_path / "next.yaml"
    other.write_text(
        "version: 1\nrules: [{id: r, effect: permit, to: {groups: [new]}, actions: [read], on: ['*.*.*']}]\n"
        "content: {entities: []}\n"
    )
    asked = ["--config", str(folder), "check", "SELECT id FROM people", "--policy", str(other)]
    assert run(*asked, "--as", "ada@acme.test").exit_code == 1
    assert run(*asked, "--as", "somebody@new.test", "--group", "new").exit_code == 0
    assert run(*asked[:-2], "--as", "somebody@new.test", "--group", "new").exit_code == 1


def test_what_is_exported_decides_like_the_connection(folder):
    """A catalog file of a connection gives the same answers as the connection itself."""
    who = ["--as", "ada@acme.test"]
    exported = run("--config", str(folder), "catalog", "--export", *who)
    assert exported.exit_code == 0, exported.stderr
    path = folder / "catalog.yaml"
    path.write_text(exported.stdout)
    catalog = parse(exported.stdout)
    rows = lines(*({"sql": f"SELECT * FROM {name}"} for name in catalog.tables))
    live = run("--config", str(folder), "check", *who, "--jsonl", "-", stdin=rows)
    config = yaml.safe_load((folder / "nbgov.yaml").read_text())
    groups = [
        word
        for name in config["principals"]["ada@acme.test"]["groups"]
        for word in ("--group", name)
    ]
    paper = run(
        "check",
        "--catalog",
        str(path),
        "--policy",
        str(folder / "policy.yaml"),
        *who,
        *groups,
        "-c",
        config["default_connection"],
        "--jsonl",
        "-",
        stdin=rows,
    )
    assert paper.exit_code == live.exit_code == 0, paper.stderr
    assert [a | {"ms": 0} for a in answers(paper)] == [a | {"ms": 0} for a in answers(live)]
    assert len(answers(live)) == len(catalog.tables) > 0


# ---------------------------------------------------------------- effects alone


def test_effects_need_neither_catalog_nor_policy():
    """A line holds the effects, the codes of what could not be read, and the time it took."""
    rows = lines(
        {"sql": "SELECT 1 FROM nowhere"},
        {"id": "w", "sql": "DELETE FROM nowhere"},
        {"sql": "SELECT f(1)"},
        {"sql": "SELEC"},
        {"sql": "SELECT 1; DROP TABLE x"},
    )
    result = run("check", "--effects-only", "--dialect", "postgres", "--jsonl", "-", stdin=rows)
    assert result.exit_code == 0, result.stderr
    told = answers(result)
    assert all(list(answer) == ["id", "effects", "codes", "ms"] for answer in told)
    assert [answer["id"] for answer in told] == [1, "w", 3, 4, 5]
    assert told[0]["effects"] == ["read"]
    assert "write" in told[1]["effects"]
    assert "unknown" in told[2]["effects"]
    assert told[3]["codes"] == ["syntax"]
    assert "ddl" in told[4]["effects"]
    one = run("check", "--effects-only", "--dialect", "sqlite", "SELECT 1")
    assert (one.exit_code, one.stdout.split()) == (0, ["effects", "read"])

"""What ``nbgov check`` says: one shape for verdicts, errors and several statements."""

from __future__ import annotations

import json

import pytest

from nbgov.core import report
from nbgov.errors import Denied, RequestInvalid
from nbgov.model import (
    Action,
    ApprovalQuorum,
    ByteLimit,
    ColumnMask,
    ColumnName,
    ContentMask,
    Decision,
    Effect,
    Flow,
    MaskKind,
    RowFilter,
    RowLimit,
    Span,
    Statement,
    TableName,
    TableUse,
    Verdict,
    WriteLimit,
)

PEOPLE = TableName("main", "people")
EMAIL, PHONE = ColumnName(PEOPLE, "email"), ColumnName(PEOPLE, "phone")
KEYS = [
    "decision", "obligations", "effects", "codes", "tables", "columns", "rules", "reasons", "sql",
]  # fmt: skip
READ = Statement(
    sql="SELECT email FROM people",
    dialect="duckdb",
    verb="SELECT",
    effects=frozenset({Effect.READ}),
    tables=(TableUse(PEOPLE, Action.READ, Span(18, 24), False, frozenset({"email"})),),
)
MASKS = (ColumnMask(EMAIL, MaskKind.REDACT, "pii.email"), ColumnMask(PHONE, MaskKind.NULL, "pii"))
PERMIT = Decision(is_permitted=True, obligations=MASKS, rules=("r",), reason="permitted by r")


def test_a_permit_says_everything_that_it_rests_on():
    """The mask of a column that is not read stays out; the text that would run is there."""
    told = report.of_verdict(Verdict(READ, PERMIT, "SELECT '***'"))
    assert told == {
        "decision": "permit",
        "obligations": [
            {"kind": "mask", "column": "main.people.email", "mask": "redact", "tag": "pii.email"}
        ],
        "effects": ["read"],
        "codes": [],
        "tables": ["main.people"],
        "columns": ["main.people.email"],
        "rules": ["r"],
        "reasons": ["permitted by r"],
        "sql": "SELECT '***'",
    }
    assert list(told) == KEYS


def test_a_deny_names_its_code_and_the_rules_of_the_guard():
    """Rules of the guard are codes; rules of the policy are not. Nothing would run."""
    guard = Decision(
        is_permitted=False, code="denied-by-guard", rules=("G101", "G103"), reason="no", next_step="x"
    )  # fmt: skip
    told = report.of_verdict(Verdict(READ, guard, None))
    assert (told["codes"], told["reasons"]) == (["denied-by-guard", "G101", "G103"], ["no", "x"])
    policy = Decision(is_permitted=False, code="denied-by-policy", rules=("G999",), reason="no")
    told = report.of_verdict(Verdict(READ, policy, "SELECT 1"))
    assert (told["codes"], told["sql"]) == (["denied-by-policy"], None)


def test_a_column_that_is_written_counts_as_touched():
    """The columns are those that the statement reads and those that it assigns."""
    from dataclasses import replace

    write = replace(READ, flows=(Flow(PHONE, frozenset()),))
    told = report.of_verdict(Verdict(write, PERMIT, None))
    assert told["columns"] == ["main.people.email", "main.people.phone"]


@pytest.mark.parametrize(
    ("obligation", "told"),
    [
        (MASKS[1], {"kind": "mask", "column": "main.people.phone", "mask": "null", "tag": "pii"}),
        (RowFilter(PEOPLE, "team = 'red'"), {"kind": "filter", "table": "main.people"}),
        (RowLimit(5), {"kind": "limit", "rows": 5}),
        (ByteLimit(6), {"kind": "limit", "bytes": 6}),
        (WriteLimit(7), {"kind": "limit", "changed": 7}),
        (
            ContentMask(("PERSON",), 0.5),
            {"kind": "content", "entities": ["PERSON"], "score_min": 0.5},
        ),
        (
            ApprovalQuorum("r", frozenset(), frozenset({"b", "a"}), frozenset({"c"}), 2),
            {"kind": "approval", "rule": "r", "votes": 2, "by": {"groups": ["a", "b"], "roles": ["c"]}},
        ),
    ],
)  # fmt: skip
def test_an_obligation_is_told_by_its_kind(obligation, told):
    """Each obligation has a kind and the facts that matter; a filter keeps its predicate."""
    assert report.shape(obligation) == told


def test_an_error_is_a_deny():
    """A statement that could not be decided has the same keys, and its error's code."""
    error = RequestInvalid("No.", code="syntax", why="because")
    told = report.of_error(error, frozenset({Effect.WRITE, Effect.READ}))
    assert list(told) == KEYS
    assert (told["decision"], told["codes"], told["sql"]) == ("deny", ["syntax"], None)
    assert told["effects"] == ["read", "write"]
    assert told["reasons"] == ["No.", "because"]
    assert report.of_error(Denied("No."))["effects"] == ["unknown"]


def test_a_bug_is_a_deny_that_keeps_its_secrets():
    """An error of our own is named by its type; its text may hold a value."""
    told = report.of_bug(ValueError("123-45-6789"))
    assert (told["decision"], told["codes"]) == ("deny", ["internal"])
    assert "123" not in json.dumps(told)
    assert "ValueError" in told["reasons"]


def test_several_statements_get_the_worst_decision_and_the_sum_of_all_else():
    """One deny denies the text; equal facts are told once, in order."""
    one = report.of_verdict(Verdict(READ, PERMIT, "SELECT 1"))
    assert report.join([one]) == one
    twice = report.join([one, one])
    assert twice == one | {"sql": "SELECT 1; SELECT 1"}
    worst = report.join([one, report.of_error(Denied("No.", code="not-understood"))])
    assert (worst["decision"], worst["sql"]) == ("deny", None)
    assert (worst["effects"], worst["codes"]) == (["read", "unknown"], ["not-understood"])
    assert worst["obligations"] == one["obligations"]


def test_effects_alone_are_joined_too():
    """Where nothing is decided, a report holds effects and codes, and joins like any other."""
    both = report.join(
        [
            report.of_effects([Effect.WRITE]),
            report.of_effects([Effect.READ, Effect.DDL], ["syntax"]),
        ]
    )
    assert both == {"effects": ["ddl", "read", "write"], "codes": ["syntax"]}


def test_people_read_a_report_line_by_line():
    """A label stands once, what is empty is left out, and an obligation is one line."""
    quorum = ApprovalQuorum("r", frozenset(), frozenset(), frozenset({"c"}))
    told = report.of_verdict(
        Verdict(READ, Decision(is_permitted=True, obligations=(*MASKS, quorum), rules=("r",)), "S")
    )
    assert [*report.lines(told)] == [
        ("decision", "permit"),
        ("obligations", "mask     column main.people.email, mask redact, tag pii.email"),
        ("", "approval rule r, votes 1, by roles c"),
        ("effects", "read"),
        ("tables", "main.people"),
        ("columns", "main.people.email"),
        ("rules", "r"),
        ("sql", "S"),
    ]

"""Records and errors are made from what is known of a request, and from nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from nbgov.core import case as cases
from nbgov.core.case import Case
from nbgov.core.policy import parse as parse_policy
from nbgov.core.statement import parse
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied, NbgovError, RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    ApprovalState,
    ByteLimit,
    ColumnMask,
    ColumnName,
    ContentMask,
    Decision,
    MaskKind,
    Obligation,
    Principal,
    Receipt,
    RecordKind,
    Request,
    RowFilter,
    RowLimit,
    Summary,
    TableName,
    Vote,
    WriteLimit,
)
from tests.core.conftest import make_catalog

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PEOPLE = TableName("main", "people")
QUORUM = ApprovalQuorum("two-eyes", frozenset(), frozenset(), frozenset({"approver"}))
OBLIGATIONS: list[tuple[Obligation, str]] = [
    (ColumnMask(ColumnName(PEOPLE, "email"), MaskKind.REDACT, "pii"), "mask main.people.email redact pii"),
    (RowFilter(PEOPLE, "region = 'swordfish'"), "row filter on main.people"),
    (RowLimit(7), "at most 7 rows"),
    (ByteLimit(9), "at most 9 bytes"),
    (WriteLimit(5), "at most 5 rows changed"),
    (ContentMask(("PERSON", "URL"), 0.5), "mask content PERSON URL from 0.5"),
    (QUORUM, "approval by 1 for two-eyes"),
]  # fmt: skip
POLICY = '{"version": 1, "rules": []}'


def mac(data: bytes) -> bytes:
    """A digest that shows nothing."""
    return bytes([len(data) % 251]) * 32


def full() -> Case:
    """A request about which everything is known."""
    catalog = make_catalog()
    sql = "SELECT email FROM people WHERE name = 'swordfish' AND id = :low"
    return Case(
        Request("wh", sql, claim="ada", origin={"surface": "test"}),
        id="r1",
        principal=Principal("ada", account="adal"),
        policy=parse_policy(POLICY),
        catalog=catalog,
        statement=parse(sql, catalog),
        values={"low": 42},
        decision=Decision(is_permitted=True, obligations=(RowLimit(7),), rules=("read",)),
        approval=approval(),
    )


def approval(*votes: Vote) -> Approval:
    """A ticket with votes."""
    return Approval(
        "t1", b"", "wh", "UPDATE people ...", "", "ada", (QUORUM,), "UPDATE", ("main.people",),
        NOW, NOW, votes=votes, state=ApprovalState.DENIED,
    )  # fmt: skip


def facts(case: Case) -> dict[str, object]:
    """The fields of the case's record that are set."""
    record = cases.facts(case, RecordKind.ATTEMPT, at=NOW, session="s1", mac=mac)
    held = {name: getattr(record, name) for name in type(record).__dataclass_fields__}
    return {name: value for name, value in held.items() if value is not None}


def test_a_record_holds_what_is_known_and_no_value() -> None:
    """Everything that is known is there, and neither literals nor bound values are."""
    held = facts(replace(full(), approval=approval(Vote("grace", True, "fine", NOW))))
    assert held["columns"] == ("main.people.email", "main.people.id", "main.people.name")
    assert held["statement"] == "SELECT email FROM people WHERE name = ? AND id = :low"
    assert (held["principal"], held["account"], held["voters"]) == ("ada", "adal", ("grace",))
    assert (held["decision"], held["rules"], held["obligations"]) == ("permit", ("read",), ("at most 7 rows",))  # fmt: skip
    assert "swordfish" not in str(held)
    assert "42" not in str(held)


def test_a_record_of_little_is_a_record() -> None:
    """A request that failed at once still says who claimed what, where."""
    held = facts(Case(Request("wh", "SELECT 'swordfish'", claim="who"), id="r2", dialect="duckdb"))
    assert (held["principal"], held["connection"], held["statement"]) == ("who", "wh", "SELECT ?")
    assert not held.keys() & {"decision", "tables", "policy", "ticket", "binds_mac", "account"}


def test_a_statement_in_an_unknown_dialect_is_kept_as_a_digest() -> None:
    """Nobody can tell where a literal ends before it is known whose SQL it is."""
    held = facts(Case(Request("wh", "SELECT 'swordfish'"), id="r2"))
    assert "statement" not in held
    assert held["statement_mac"]


def test_a_statement_that_nobody_understood_keeps_known_names_only() -> None:
    """A word that is no name of the catalog may be a value whose quotes are wrong."""
    sql = 'SELECT Email, f(x) FROM main.people WHERE name = "swordfish" OR trout -- pike'
    case = Case(Request("wh", sql), id="r2", dialect="duckdb", whole=make_catalog())
    assert facts(case)["statement"] == "SELECT Email, f(?) FROM main.people WHERE name = ? OR ?"


def test_a_summary_adds_counts_only() -> None:
    """Rows, masks and entities are counted; nothing delivered is repeated."""
    summary = Summary(rows_read=3, masked={"email": "redact pii"})
    summary.count({"note": {"PERSON": 2}})
    summary.count({"note": {"PERSON": 1}})
    held = {name: value for name, value in cases.summary_facts(summary).items() if value}
    assert held == {"rows_read": 3, "masked": ("email: redact pii",), "entities": {"PERSON": 3}}
    assert cases.summary_facts(None) == {}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Denied("no"), "denied", "denied-by-policy"),
        (ApprovalNeeded("wait", ticket="t1"), "pending", "approval-needed"),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
        (BackendFailed("late", code="cancelled"), "cancelled", "cancelled"),
        (GeneratorExit(), "dropped", "GeneratorExit"),
        (RequestInvalid("what"), "error", "syntax"),
        (RuntimeError("broken"), "error", "RuntimeError"),
    ],
)
def test_every_end_has_a_status_and_a_code(error: BaseException, status: str, code: str) -> None:
    """However a request ends, the record says how."""
    assert (cases.status_of(error), cases.code_of(error)) == (status, code)


@pytest.mark.parametrize(("obligation", "text"), OBLIGATIONS)
def test_an_obligation_is_described_without_a_value(obligation: Obligation, text: str) -> None:
    """One line says what is asked, and a filter's literals stay out of it."""
    assert cases.describe(obligation) == text
    assert isinstance(obligation, cases.MET)


def test_errors_say_what_why_and_next() -> None:
    """A deny names tables and rules, a refusal its voter on one line, a wait its ticket."""
    case = full()
    case.decision = Decision(
        is_permitted=False, rules=("no-mail",), reason="mail is private", code="denied-by-policy"
    )
    errors: list[NbgovError] = [
        cases.denial(case),
        cases.refusal(approval(Vote("grace", False, "not\n  code    forged", NOW))),
        cases.waiting(case, approval()),
        cases.token_written(),
    ]
    assert "SELECT on main.people is not permitted for ada" in errors[0].what
    assert errors[0].why == "mail is private (no-mail)"
    assert errors[1].why == "not code forged"
    assert "t1" in errors[2].why
    assert all(len(error.lines()) <= 4 for error in errors)


def test_a_deny_without_tables_names_none() -> None:
    """A statement that touches no table is denied in plain words."""
    case = full()
    case.statement = parse("SELECT 1 AS one", make_catalog())
    case.decision = Decision(is_permitted=False, reason="no rule", code="denied-by-policy")
    assert cases.denial(case).what == "Denied: SELECT is not permitted for ada."
    assert cases.refusal(approval(Vote("g", False, "", NOW))).why == "no reason was given"


# ---------------------------------------------------------------- shapes, ends, literals


@pytest.mark.parametrize(
    "parts",
    [
        {"sql": 5}, {"connection": None}, {"binds": [1]}, {"binds": {1: 2}}, {"rows_max": -1},
        {"rows_max": True}, {"rows_max": "7"}, {"dataset": None}, {"origin": "magic"}, {"ticket": 5},
    ],
)  # fmt: skip
def test_a_request_has_the_shape_that_its_type_says(parts: dict[str, Any]) -> None:
    """What is not of its type is refused by name, and can be recorded all the same."""
    request = replace(Request("wh", "SELECT 1", rows_max=7), **parts)
    with pytest.raises(RequestInvalid) as caught:
        cases.check_request(request)
    assert (caught.value.code, next(iter(parts)) in str(caught.value)) == ("usage", True)
    assert facts(Case(request, id="r1", dialect="duckdb"))["connection"] == str(request.connection)


def test_a_request_in_shape_passes() -> None:
    """What the types say is taken."""
    cases.check_request(Request("wh", "SELECT 1", rows_max=0, binds={"a": 1}))


def test_an_outcome_repeats_who_and_where_only() -> None:
    """Beside them, the closing record names its attempt, and nothing that the attempt said."""
    case = replace(full(), receipt=Receipt("o", 7, b""))
    record = cases.closing(case, at=NOW, session="s1")
    names = {
        name for name in type(record).__dataclass_fields__ if getattr(record, name) is not None
    }
    assert names == {
        "kind", "at", "request", "session", "mode", "assurance", "attempt", "principal", "connection", "verb",
    }  # fmt: skip
    assert (record.attempt, record.principal, record.verb) == (7, "ada", "SELECT")


def test_who_asks_is_said_with_how_that_is_known() -> None:
    """Groups and roles are sorted; of a principal without any, nothing is said."""
    groups, roles = frozenset({"b", "a"}), frozenset({"z", "y"})
    held = facts(replace(full(), principal=Principal("ada", groups, roles, "adal", "claim")))
    assert (held["groups"], held["roles"], held["via"]) == (("a", "b"), ("y", "z"), "claim")
    assert not facts(full()).keys() & {"groups", "roles", "via"}


def test_a_deny_gives_its_reason_and_a_permit_its_rules() -> None:
    """A permit is told by its rules; a deny has words of its own."""
    denied = Decision(is_permitted=False, reason="the rule r forbids it", code="denied-by-policy")
    assert facts(replace(full(), decision=denied))["reason"] == "the rule r forbids it"
    assert "reason" not in facts(full())


def test_origins_are_texts_of_bounded_length() -> None:
    """Whatever a surface says of itself, an entry can hold it."""
    request = Request("wh", "SELECT 1", origin={"cell": 5, "x" * 999: "y" * 999})  # type: ignore[dict-item]
    held = facts(Case(request, id="r1"))
    assert held["origin"] == {"cell": "5", "x" * 500: "y" * 500}


def test_what_is_sealed_is_exact_and_bounded() -> None:
    """Statement and typed values are there word for word, or their digest where they are long."""
    assert json.loads(full().literals()) == {
        "binds": {"low": ["int", "42"]},
        "statement": "SELECT email FROM people WHERE name = 'swordfish' AND id = :low",
    }
    long = Case(Request("wh", "x" * cases.SEALED_BYTES_MAX), id="r1").literals()
    assert len(long) < 120
    assert json.loads(long).keys() == {"bytes", "sha256"}
    assert b"\xed\xa0\x80" in Case(Request("wh", "\ud800"), id="r1").literals()


def test_the_number_of_an_error_is_the_database_s() -> None:
    """Only a database gives its errors numbers."""
    error = BackendFailed("no")
    assert cases.sqlstate_of(error) is None
    error.sqlstate = "22000"
    assert cases.sqlstate_of(error) == "22000"
    assert cases.sqlstate_of(KeyError()) is None


def test_a_permit_goes_on_and_a_deny_does_not() -> None:
    """What was not decided to run goes no further."""
    cases.require_permit(full())
    denied = Decision(is_permitted=False, reason="no", code="denied-by-policy")
    with pytest.raises(Denied):
        cases.require_permit(replace(full(), decision=denied))

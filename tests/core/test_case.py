"""Records and errors are made from what is known of a request, and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

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
        NOW, NOW, votes, ApprovalState.REFUSED,
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
    held = facts(Case(Request("wh", "SELECT 'swordfish'", claim="who"), id="r2"))
    assert (held["principal"], held["connection"], held["statement"]) == ("who", "wh", "SELECT ?")
    assert not held.keys() & {"decision", "tables", "policy", "ticket", "binds_mac", "account"}


def test_a_summary_adds_counts_only() -> None:
    """Rows, masks and entities are counted; nothing delivered is repeated."""
    record = cases.facts(full(), RecordKind.OUTCOME, at=NOW, session="s1", mac=mac)
    summary = Summary(rows_read=3, masked={"email": "redact pii"})
    summary.count({"note": {"PERSON": 2}})
    summary.count({"note": {"PERSON": 1}})
    held = cases.with_summary(record, summary)
    assert (held.rows_read, held.masked, held.entities) == (
        3,
        ("email: redact pii",),
        {"PERSON": 3},
    )
    assert (held.version, held.content) == (None, None)


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

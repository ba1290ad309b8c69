"""A policy on trial: why it decides as it does, its cases, what changes, what would have changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nbgov.core import guard
from nbgov.core.case import describe
from nbgov.core.policy import Context, parse
from nbgov.core.policy import cases as policy_cases
from nbgov.core.policy.backtest import backtest, restored
from nbgov.core.policy.cases import Answer, Asked, Decide, of_error, of_verdict
from nbgov.core.policy.diff import diff, kinds
from nbgov.core.policy.explain import Match, explain
from nbgov.core.statement import parse as parse_statement
from nbgov.errors import ConfigInvalid, RequestInvalid
from nbgov.model import (
    ApprovalQuorum,
    ByteLimit,
    ColumnMask,
    ContentMask,
    Decision,
    MaskKind,
    Principal,
    Record,
    RecordKind,
    RowFilter,
    RowLimit,
    Verdict,
    WriteLimit,
)
from tests.core.policy_scene import ADA, catalog, column, columns, name, statement, table, use, view

POLICY = """
version: 1
tags: {pii.email: ["wh.main.people.email"], public: ["wh.main.people.id"]}
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["wh.main.*"]
    obligations: {masks: {"pii.*": redact}, row_limit: 100}
  - id: others
    effect: permit
    to: {groups: [others]}
    actions: [read]
    on: ["wh.main.*"]
  - id: exempt
    effect: permit
    to: {names: ["*"]}
    unless: {groups: [analysts]}
    actions: [read]
    on: ["wh.main.*"]
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["wh.main.*"]
  - id: elsewhere
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["other.main.*"]
  - id: web-only
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["wh.main.*"]
    when: origin.surface == "web"
  - id: failing
    effect: forbid
    to: {groups: [analysts]}
    actions: [read]
    on: ["wh.main.people.email"]
    when: origin.missing == "x"
    reason: not now
"""
HELD = catalog(
    table("people", "id", "email"),
    table("orders", "id"),
    view("contacts", {"mail": ("people.email",), "id": ("people.id",)}),
)
CLI = Context(datetime(2026, 1, 1, tzinfo=UTC), {"surface": "cli"})


def matches(asked: Any, context: Context = CLI) -> dict[str, Match]:
    found = explain(parse(POLICY), ADA, "wh", asked, catalog=HELD, context=context)
    return {rule.rule: rule.match for rule in found.rules}


def test_every_rule_is_explained():
    """Each rule says what it failed on, or that it matched."""
    assert matches(statement(use("orders", "read", "id"))) == {
        "read": Match.MATCHED,
        "others": Match.AUDIENCE,
        "exempt": Match.EXEMPT,
        "change": Match.ACTION,
        "elsewhere": Match.RESOURCE,
        "web-only": Match.CONDITION,
        "failing": Match.RESOURCE,
    }


def test_a_rule_whose_condition_failed_says_so():
    """A forbid that fails closed is told apart from one whose condition is true."""
    found = explain(
        parse(POLICY), ADA, "wh", statement(use("contacts", "read", "mail")), catalog=HELD, context=CLI
    )  # fmt: skip
    failing = found.rules[-1]
    assert (failing.match, found.decision.rules) == (Match.FAILED, ("failing",))
    assert found.decision.reason == "not now"


def test_a_statement_without_tables_rests_on_rules_of_the_connection():
    """Without a table, a rule matches that is about anything on the connection."""
    assert matches(statement())["read"] is Match.MATCHED
    assert matches(statement())["elsewhere"] is Match.RESOURCE


def test_the_explanation_names_where_tags_come_from():
    """A view's column shows the base column that its tag and its mask come from."""
    text = POLICY.partition("  - id: failing")[0]
    asked = statement(use("contacts", "read", "mail", "id"), use("gone", "create"))
    found = explain(parse(text), ADA, "wh", asked, catalog=HELD, context=CLI)
    [ident, mail] = found.columns
    assert (mail.tags, mail.mask) == ((("pii.email", column("people.email")),), "redact")
    assert (ident.tags, ident.mask) == ((("public", column("people.id")),), "")
    assert not ident.is_declassified


# ---------------------------------------------------------------- cases

CASES = """
version: 1
cases:
  - id: masked
    principal: ada
    groups: [analysts]
    statement: SELECT email FROM people
    decision: permit
    rules: [read]
    obligations: {masks: {main.people.email: redact}, row_limit: 100, filters: [], approvals: []}
"""


def decider(text: str) -> Decide:
    """Decides on paper, by nbgov's own parser alone."""
    policy = parse(text)

    def decide(asked: Asked) -> Answer:
        from nbgov.core.policy import decide as decide_statement

        held = HELD
        try:
            read = parse_statement(asked.sql, held)
        except RequestInvalid as error:
            return of_error(error)
        decision = decide_statement(
            policy, asked.principal, asked.connection, read, catalog=held, findings=guard.check(read), context=asked.context
        )  # fmt: skip
        return of_verdict(Verdict(read, decision, None), is_whole=True)

    return decide


def answer(**more: Any) -> Answer:
    given = {"decision": "permit", "rules": ("read",), "obligations": MASKED} | more
    return Answer(**given)


MASKED = (ColumnMask(column("people.email"), MaskKind.REDACT, "pii.email"), RowLimit(100))


def run(found: Answer, text: str = CASES) -> tuple[str, ...]:
    [result] = policy_cases.run(policy_cases.parse(text), lambda _: found, connection="wh")
    assert result.is_passed is not bool(result.differences)
    return result.differences


def test_a_case_that_is_met_passes():
    """An answer with the expected decision, rules and obligations has no difference."""
    assert run(answer()) == ()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (answer(decision="deny", reason="no"), "decision is deny, not permit (no)"),
        (answer(rules=()), "rules are none, not read"),
        (answer(obligations=(RowLimit(100),)), "masks is none, not main.people.email redact"),
        (answer(obligations=(MASKED[0], RowLimit(9))), "row_limit is 9, not 100"),
        (answer(obligations=(*MASKED, RowFilter(name("people"), "x"))), "filters is main.people, not none"),
        (answer(obligations=(*MASKED, ApprovalQuorum("two", frozenset(), frozenset(), frozenset()))), "approvals is two, not none"),
    ],
)  # fmt: skip
def test_a_case_that_is_not_met_says_how(found, says):
    """Each expectation that fails is one sentence."""
    assert says in run(found)


def test_what_a_case_does_not_say_is_not_compared():
    """A case without obligations, rules and code takes any."""
    text = CASES.partition("    rules:")[0]
    found = answer(obligations=(ByteLimit(1), WriteLimit(2), ContentMask((), 0.5)), rules=("x",))
    assert run(found, text) == ()
    denied = text.replace("decision: permit", "decision: deny\n    code: laundering")
    assert run(Answer("deny"), denied) == ("code is none, not laundering",)
    limits = text + "    obligations: {byte_limit: 1, write_limit: 3}\n"
    assert run(found, limits) == ("write_limit is 2, not 3",)


def test_a_case_is_asked_where_and_when_it_says():
    """Connection, moment and origin are the case's own, or those of the surroundings."""
    text = CASES.replace("    groups", "    connection: pg\n    at: 2026-05-06T07:08:09Z\n    origin: {surface: web}\n    roles: [r]\n    groups")  # fmt: skip
    [case] = policy_cases.parse(text)
    asked = case.asked("wh")
    assert (asked.connection, asked.principal.roles) == ("pg", {"r"})
    assert asked.context == Context(datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC), {"surface": "web"})
    assert policy_cases.parse(CASES)[0].asked("wh").connection == "wh"


@pytest.mark.parametrize(
    "text", [CASES.replace("decision", "deciision"), CASES + CASES.partition("cases:\n")[2]]
)
def test_cases_that_make_no_sense_are_refused(text):
    """An unknown key and a repeated id are errors."""
    with pytest.raises(ConfigInvalid) as caught:
        policy_cases.parse(text)
    assert caught.value.code == "policy-invalid"


def test_the_schema_of_cases_is_the_one_that_decodes():
    """Editors get the keys of the document."""
    assert set(policy_cases.schema()["properties"]) == {"version", "cases"}


def test_what_bears_on_the_statement_is_told_by_default():
    """A mask of a column that is not read is left out, unless the whole is asked for."""
    asked = statement(use("people", "read", "id"))
    verdict = Verdict(asked, Decision(is_permitted=True, obligations=MASKED), None)
    assert of_verdict(verdict).obligations == (RowLimit(100),)
    assert of_verdict(verdict, is_whole=True).obligations == MASKED
    assert (
        of_verdict(Verdict(asked, Decision(is_permitted=False, code="x"), None)).decision == "deny"
    )


# ---------------------------------------------------------------- diff


def quorum(votes: int) -> ApprovalQuorum:
    return ApprovalQuorum("two", frozenset(), frozenset(), frozenset(), votes_min=votes)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (answer(), answer(rules=("other",)), ()),
        (answer(), Answer("deny"), ("blocked",)),
        (Answer("deny"), answer(), ("permitted",)),
        (Answer("deny", "a"), Answer("deny", "b"), ("reason",)),
        (Answer("deny", "a"), Answer("deny", "a"), ()),
        (answer(obligations=()), answer(obligations=MASKED[:1]), ("masked",)),
        (answer(obligations=MASKED[:1]), answer(obligations=()), ("unmasked",)),
        (answer(obligations=MASKED[:1]), answer(obligations=(ColumnMask(column("people.email"), MaskKind.NULL, "x"),)), ("masked",)),
        (answer(obligations=MASKED[:1]), answer(obligations=(ColumnMask(column("people.email"), MaskKind.YEAR, "x"),)), ("unmasked",)),
        (answer(obligations=(RowFilter(name("t"), "a"),)), answer(obligations=(RowFilter(name("t"), "b"),)), ("filtered", "unfiltered")),
        (answer(obligations=(quorum(1),)), answer(obligations=(quorum(2),)), ("asked", "unasked")),
        (answer(obligations=(RowLimit(5),)), answer(obligations=(RowLimit(4),)), ("limited",)),
        (answer(obligations=(RowLimit(5), WriteLimit(1))), answer(obligations=(RowLimit(6), ByteLimit(1))), ("limited", "unlimited")),
    ],
)  # fmt: skip
def test_a_change_has_its_kinds(old, new, found):
    """What gets stricter and what gets looser is told apart, obligation by obligation."""
    assert kinds(old, new) == found


def test_only_what_changes_is_listed():
    """The diff of a policy with itself is empty, and each change names both answers."""
    corpus = [
        Asked("masked", ADA, "wh", "SELECT email FROM people", CLI),
        Asked("same", ADA, "wh", "SELECT id FROM orders", CLI),
    ]
    old = POLICY.partition("  - id: failing")[0]
    new = old.replace('"pii.*": redact', '"pii.*": "null"')
    assert list(diff(corpus, decider(old), decider(old))) == []
    [change] = diff(corpus[:1], decider(old), decider(new))
    assert (change.asked.id, change.kinds) == ("masked", ("masked",))
    assert change.before.obligations != change.after.obligations


# ---------------------------------------------------------------- backtest

AT = datetime(2026, 1, 2, tzinfo=UTC)
PEOPLE = {"ada": Principal("ada", frozenset({"analysts"}))}
FREE = POLICY.partition("  - id: failing")[0]


def record(number: int, sql: str, **more: Any) -> Record:
    given = {
        "kind": RecordKind.ATTEMPT,
        "at": AT + timedelta(days=number),
        "request": f"r{number}",
        "session": "s",
        "principal": "ada",
        "connection": "wh",
        "dialect": "duckdb",
        "statement": sql,
        "decision": "permit",
        "rules": ("read",),
        "obligations": (*map(describe, MASKED), describe(ContentMask(("PERSON",), 0.3))),
        "columns": ("main.people.email",),
    }
    return Record(**(given | more))


def test_what_would_have_been_blocked_is_counted_by_person():
    """Equal changes are one effect, with their number and when they happened first and last."""
    blocked = FREE + (
        "  - {id: no, effect: forbid, to: {names: ['*']}, actions: [read], on: ['wh.main.people'],"
        " reason: no longer}\n"
    )
    log = [record(1, "SELECT email FROM people"), record(2, "SELECT email FROM people")]
    report = backtest(log, PEOPLE, decider(blocked))
    [effect] = report.effects
    assert (report.requests, report.decided) == (2, 2)
    assert (effect.kinds, effect.principal, effect.count) == (("blocked",), "ada", 2)
    assert (effect.first_at, effect.last_at) == (log[0].at, log[1].at)
    assert (effect.rules, effect.reason) == (("no",), "no longer")


def test_the_same_policy_changes_nothing():
    """Decided again under the policy of the time, every decision stands."""
    log = [
        record(1, "SELECT email FROM people WHERE id = ?"),
        record(2, "SELECT CAST(id AS DECIMAL(?)) FROM people"),
    ]
    report = backtest(log, PEOPLE, decider(FREE))
    assert (report.decided, report.effects) == (2, ())


@pytest.mark.parametrize(
    ("policy", "more", "found"),
    [
        (FREE.replace("redact", '"null"'), {}, [("masked",)]),
        (FREE.replace("masks: {\"pii.*\": redact}, ", ""), {}, [("unmasked",)]),
        (FREE.replace("redact", '"null"'), {"columns": ("main.people.id",)}, []),
        (FREE.replace("redact", '"null"'), {"columns": None}, [("masked",)]),
        (FREE.replace("row_limit: 100", "row_limit: 9, byte_limit: 7"), {}, [("limited",)]),
        (FREE.replace("row_limit: 100", "approval: {by: {names: [bo]}}, row_limit: 100"), {}, [("asked",)]),
        (FREE.replace("row_limit: 100", "row_filter: 'id > 1', row_limit: 100"), {}, [("filtered",)]),
        (FREE, {"obligations": None}, [("masked", "limited")]),
        (FREE, {"decision": "deny", "code": "denied-by-policy", "rules": ()}, [("permitted",)]),
        (FREE, {"decision": "deny", "code": "denied-by-guard", "rules": ("G104",)}, []),
    ],
)  # fmt: skip
def test_each_kind_of_effect_is_told(policy, more, found):
    """Obligations are compared with those that the log names; what the guard stopped stays stopped."""
    report = backtest([record(1, "SELECT email FROM people", **more)], PEOPLE, decider(policy))
    assert [effect.kinds for effect in report.effects] == found


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"principal": "gone"}, "no longer declared"),
        ({"principal": None}, "no longer declared"),
        ({"statement": ""}, "was not kept"),
        ({"statement": "SELECT … 99 bytes, sha256 00"}, "too long"),
        ({"statement": "SELECT ( ? FROM people"}, "does not parse"),
        ({"statement": "SELECT 'open"}, "does not parse"),
    ],
)
def test_what_cannot_be_decided_is_counted_with_its_reason(more, reason):
    """Nothing is passed over in silence."""
    report = backtest([record(1, "SELECT 1", **more)], PEOPLE, decider(FREE))
    [(told, count)] = report.undecided.items()
    assert reason in told
    assert (count, report.requests, report.decided) == (1, 1, 0)


def test_a_request_counts_once():
    """Attempt and outcome are one request, and records of other kinds are none."""
    log = [
        record(1, "SELECT email FROM people"),
        record(2, "SELECT email FROM people", request="r1", kind=RecordKind.OUTCOME),
        record(3, "SELECT email FROM people", kind=RecordKind.VOTE),
        record(4, "SELECT email FROM people", kind=RecordKind.OUTCOME, decision=None),
    ]
    assert backtest(log, PEOPLE, decider(FREE)).requests == 1


@pytest.mark.parametrize(
    ("redacted", "text"),
    [
        ("SELECT a FROM t", "SELECT a FROM t"),
        ("SELECT ? FROM t LIMIT ?", "SELECT NULL FROM t LIMIT 1"),
        ("SELECT DATE ?, INTERVAL ? DAY", "SELECT DATE '2000-01-01', INTERVAL '1' DAY"),
        (
            "SELECT a FROM t WHERE b IN :ks ORDER BY ?",
            "SELECT a FROM t WHERE b IN (NULL) ORDER BY 1",
        ),
        ("? x", "NULL x"),
    ],
)
def test_a_text_without_literals_gets_stand_ins(redacted, text):
    """NULL stands for a literal, unless the word before it asks for something else."""
    assert next(restored(redacted, "duckdb")) == text


def test_other_stand_ins_are_tried_where_null_does_not_parse():
    """A number and a text follow, and a text that cannot be read gives none."""
    assert [*restored("SELECT CAST(a AS DECIMAL(?))", "duckdb")] == [
        "SELECT CAST(a AS DECIMAL(NULL))",
        "SELECT CAST(a AS DECIMAL(1))",
        "SELECT CAST(a AS DECIMAL('1'))",
    ]
    assert [*restored("SELECT 'open", "duckdb")] == []
    assert columns() == frozenset()

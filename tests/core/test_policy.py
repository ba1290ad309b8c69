"""Who may do what. Deny by default is tested as a table over principals, actions and resources."""

from __future__ import annotations

import itertools
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.guard import check
from nbgov.core.policy import Policy, decide, parse, schema, visible
from nbgov.core.statement import parse as parse_statement
from nbgov.errors import ConfigInvalid
from nbgov.model import (
    ApprovalQuorum,
    Catalog,
    ColumnMask,
    ColumnName,
    ContentMask,
    Decision,
    Finding,
    MaskKind,
    Principal,
    RowFilter,
    RowLimit,
    TableName,
)
from nbgov.strict import StrictLoader
from tests.core.conftest import make_catalog

POLICY = """
version: 1
tags:
  pii.name: ["wh.main.people.name"]
  pii.email: ["wh.*.people.email", "wh.main.orders.note"]
  public: ["wh.main.people.id", "wh.main.orders.*"]
rules:
  - id: analysts-read
    effect: permit
    to: {groups: [analysts]}
    unless: {roles: [pii-reader]}
    actions: [read]
    on: ["wh.main.*"]
    obligations: {masks: {"pii.*": redact, "pii.email": "null"}, row_limit: 100}
  - id: readers-read
    effect: permit
    to: {roles: [pii-reader]}
    actions: [read]
    on: ["wh.main.*"]
  - id: sales-own-region
    effect: permit
    to: {groups: [sales]}
    actions: [read]
    on: ["wh.main.people.id", "wh.main.people.region"]
    obligations: {row_filter: "region = 'EU'", row_limit: 10}
  - id: changes-need-two
    effect: permit
    to: {groups: [analysts]}
    actions: [update, delete]
    on: ["wh.main.orders", "wh.main.people"]
    obligations: {approval: {by: {roles: [approver]}, votes: 2}}
  - id: contractors-never
    effect: forbid
    to: {groups: [contractors]}
    actions: [read, update]
    on: ["wh.main.orders.amount"]
    reason: amounts are not for contractors
"""
ANALYST = Principal("ada", frozenset({"analysts"}))
READER = Principal("grace", frozenset({"analysts"}), frozenset({"pii-reader"}))
SALES = Principal("sam", frozenset({"sales"}))
CONTRACTOR = Principal("cy", frozenset({"analysts", "contractors"}))
NOBODY = Principal("eve")
PEOPLE, ORDERS = TableName("main", "people"), TableName("main", "orders")


def ask(sql: str, principal: Principal, text: str = POLICY, *, connection: str = "wh") -> Decision:
    """Decide a statement over people and orders."""
    return judge(parse(text), sql, principal, connection=connection)


def judge(
    policy: Policy,
    sql: str,
    principal: Principal,
    *,
    connection: str = "wh",
    catalog: Catalog | None = None,
) -> Decision:
    """Decide a statement under a policy that is parsed already."""
    held = catalog or make_catalog()
    statement = parse_statement(sql, held)
    return decide(policy, principal, connection, statement, catalog=held, findings=check(statement))


STATEMENTS = {
    "read all of people": "SELECT * FROM people",
    "read a region": "SELECT region FROM people",
    "count people": "SELECT count(*) FROM people",
    "read amounts": "SELECT amount FROM orders",
    "filter by amount": "SELECT id FROM orders WHERE amount > 1",
    "update a note": "UPDATE orders SET note = 'x' WHERE id = 1",
    "delete an order": "DELETE FROM orders WHERE id = 1",
    "insert an order": "INSERT INTO orders (id) VALUES (1)",
}
PERMITTED = {
    (ANALYST.name, "read all of people"), (ANALYST.name, "read a region"), (ANALYST.name, "count people"),
    (ANALYST.name, "read amounts"), (ANALYST.name, "filter by amount"), (ANALYST.name, "delete an order"),
    (READER.name, "read all of people"), (READER.name, "read a region"), (READER.name, "count people"),
    (READER.name, "read amounts"), (READER.name, "filter by amount"), (READER.name, "update a note"),
    (READER.name, "delete an order"),
    (SALES.name, "read a region"), (SALES.name, "count people"),
    (CONTRACTOR.name, "read all of people"), (CONTRACTOR.name, "read a region"), (CONTRACTOR.name, "count people"),
    (CONTRACTOR.name, "delete an order"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("principal", "what"),
    list(itertools.product([ANALYST, READER, SALES, CONTRACTOR, NOBODY], STATEMENTS)),
)
def test_nothing_is_permitted_but_what_a_rule_permits(principal: Principal, what: str) -> None:
    """Every pair of principal and statement is denied unless it is in the table."""
    decision = ask(STATEMENTS[what], principal)
    assert decision.is_permitted is ((principal.name, what) in PERMITTED), decision.reason


def test_a_policy_is_for_the_connections_that_it_names() -> None:
    """The same table on another connection is not covered."""
    assert not ask("SELECT id FROM people", ANALYST, connection="other").is_permitted


def test_the_strictest_mask_wins() -> None:
    """Where two masks meet on a column, the one that shows less holds."""
    masks = {m.column.name: m.kind for m in ask("SELECT id FROM people", ANALYST).masks}
    assert masks == {"name": MaskKind.REDACT, "email": MaskKind.NULL}


def test_masks_hold_for_columns_that_are_not_selected() -> None:
    """A predicate on a masked column must see the masked value, so the whole table is masked."""
    assert ask("SELECT id FROM people", ANALYST).masks == ask("SELECT * FROM people", ANALYST).masks


def test_an_exemption_is_a_rule_of_its_own() -> None:
    """Whom a masking rule names under unless reads in clear by another permit."""
    assert ask("SELECT * FROM people", READER).masks == ()


def test_obligations_of_every_matching_permit_add_up() -> None:
    """Filters join, and the lowest row limit holds: one more permit never loosens."""
    both = Principal("b", frozenset({"analysts", "sales"}))
    obligations = ask("SELECT region FROM people", both).obligations
    assert RowFilter(PEOPLE, "region = 'EU'") in obligations
    assert RowLimit(10) in obligations
    assert RowLimit(100) not in obligations
    assert ColumnMask(ColumnName(PEOPLE, "name"), MaskKind.REDACT, "pii.name") in obligations


def test_an_approval_carries_its_rule_and_voters() -> None:
    """The obligation says which rule asks, who may vote, and how many have to."""
    [quorum] = [
        o for o in ask("DELETE FROM orders WHERE id = 1", ANALYST).obligations
        if isinstance(o, ApprovalQuorum)
    ]  # fmt: skip
    assert quorum == ApprovalQuorum(
        "changes-need-two", frozenset(), frozenset(), frozenset({"approver"}), votes_min=2
    )


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE people SET region = 'x' WHERE email = 'a@b.c'",
        "UPDATE people SET email = 'a@b.c' WHERE id = 1",
        "UPDATE people SET region = name WHERE id = 1",
        "DELETE FROM people WHERE id = 1 RETURNING name",
    ],
)
def test_a_write_may_not_touch_what_is_masked(sql: str) -> None:
    """A write cannot read through a projection, so that it would see values in clear."""
    decision = ask(sql, ANALYST)
    assert (decision.is_permitted, decision.code) == (False, "masked-column-in-write")


def test_a_write_may_not_ignore_a_row_filter() -> None:
    """A principal who sees some rows only cannot change the others."""
    text = POLICY.replace(
        "to: {groups: [analysts]}\n    actions: [update",
        "to: {groups: [sales]}\n    actions: [update",
    )
    decision = ask("UPDATE people SET region = 'x' WHERE id = 1", SALES, text)
    assert decision.code == "masked-column-in-write"


def test_a_finding_of_the_guard_is_a_deny() -> None:
    """No rule can permit what the guard stops."""
    decision = ask("DELETE FROM orders", READER)
    assert (decision.is_permitted, decision.code, decision.rules) == (
        False,
        "denied-by-guard",
        ("G103",),
    )


def test_a_forbid_says_why() -> None:
    """The reason that the rule gives reaches the person."""
    decision = ask("SELECT amount FROM orders", CONTRACTOR)
    assert (decision.rules, decision.reason) == (
        ("contractors-never",),
        "amounts are not for contractors",
    )


def test_a_statement_without_tables_needs_a_permit_on_the_connection() -> None:
    """SELECT 1 is for those who may read something there."""
    assert ask("SELECT 1 AS one", ANALYST).is_permitted
    assert not ask("SELECT 1 AS one", NOBODY).is_permitted


def test_columns_without_a_tag_are_named_for_the_content_scan() -> None:
    """What nobody classified is scanned; what carries a tag is not."""
    decision = ask("SELECT * FROM people", ANALYST)
    assert decision.unclassified == {ColumnName(PEOPLE, "region")}
    assert any(isinstance(o, ContentMask) for o in decision.obligations)


def test_a_view_must_be_classified() -> None:
    """A view could show a masked column under another name, so that its columns need tags."""
    policy, catalog = parse(POLICY), make_catalog(views=("people", "orders"))
    assert judge(policy, "SELECT id FROM people", ANALYST, catalog=catalog).is_permitted
    assert not judge(policy, "SELECT region FROM people", ANALYST, catalog=catalog).is_permitted
    assert judge(policy, "SELECT amount FROM orders", ANALYST, catalog=catalog).is_permitted


def test_a_table_that_no_rule_permits_reads_as_absent() -> None:
    """What a principal may not touch is not in the catalog that their names resolve against."""
    policy, catalog = parse(POLICY), make_catalog()
    assert set(visible(policy, ANALYST, "wh", catalog).tables) == {PEOPLE, ORDERS}
    assert set(visible(policy, SALES, "wh", catalog).tables) == {PEOPLE}
    assert not visible(policy, NOBODY, "wh", catalog).tables


@given(
    sql=st.sampled_from(list(STATEMENTS.values())),
    groups=st.frozensets(st.sampled_from(["analysts", "sales", "contractors"])),
    on=st.sampled_from(["wh.*.*", "wh.main.people", "wh.main.orders.amount", "*.*.*.note"]),
    actions=st.lists(st.sampled_from(["read", "insert", "update", "delete"]), min_size=1),
)
def test_one_more_forbid_never_permits(
    sql: str, groups: frozenset[str], on: str, actions: list[str]
) -> None:
    """Adding a forbid turns no deny into a permit."""
    document = yaml.load(POLICY, StrictLoader)
    document["rules"].insert(
        0,
        {
            "id": "new",
            "effect": "forbid",
            "to": {"groups": [*groups] or ["x"]},
            "actions": actions,
            "on": [on],
        },
    )
    principal = Principal("p", groups)
    after = ask(sql, principal, json.dumps(document))
    assert not (after.is_permitted and not ask(sql, principal).is_permitted)


@given(kind=st.sampled_from(list(MaskKind)), limit=st.integers(1, 200))
def test_one_more_permit_never_loosens(kind: MaskKind, limit: int) -> None:
    """Adding a permit leaves every mask at least as strict, and every limit at most as high."""
    document = yaml.load(POLICY, StrictLoader)
    document["rules"].append({
        "id": "new", "effect": "permit", "to": {"names": ["*"]}, "actions": ["read"], "on": ["*.*.*"],
        "obligations": {"masks": {"*": kind.value}, "row_limit": limit},
    })  # fmt: skip
    order = list(MaskKind)
    before, after = (
        ask("SELECT * FROM people", ANALYST),
        ask("SELECT * FROM people", ANALYST, json.dumps(document)),
    )
    strict = {m.column: order.index(m.kind) for m in after.masks}
    assert all(strict[m.column] <= order.index(m.kind) for m in before.masks)
    assert RowLimit(min(limit, 100)) in after.obligations


def test_a_decision_can_be_replayed() -> None:
    """Equal arguments give equal decisions, and the decision names the policy by digest."""
    first, second = ask("SELECT * FROM people", ANALYST), ask("SELECT * FROM people", ANALYST)
    assert first == second
    assert len(first.policy_digest) == 32
    assert first.policy_digest != ask("SELECT * FROM people", ANALYST, POLICY + "\n").policy_digest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("effect: permit", "effectt: permit"), "did you mean 'effect'"),
        (("id: readers-read", "id: analysts-read"), "twice"),
        (("on: [\"wh.main.*\"]", "on: []"), "never match"),
        (("on: [\"wh.main.*\"]", "on: [\"wh.main\"]"), "wrong number of parts"),
        (("public: [\"wh.main.people.id\"", "public: [\"wh.people.id\""), "wrong number of parts"),
        (("votes: 2", "votes: 0"), "does not decode"),
        (("pii.*\": redact", "pii.*\": scramble"), "does not decode"),
        (("version: 1", "version: 2"), "does not decode"),
        (("    reason: amounts", "    obligations: {row_limit: 1}\n    reason: amounts"), "forbids and has obligations"),
        (("to: {roles: [pii-reader]}", "to: {}"), "never match"),
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(change: tuple[str, str], says: str) -> None:
    """A misspelt key, a rule that can never match and an impossible quorum are errors."""
    text = POLICY.replace(*change, 1)
    assert text != POLICY
    with pytest.raises(ConfigInvalid, match=says) as caught:
        parse(text)
    assert caught.value.code == "policy-invalid"


def test_a_pattern_stays_within_its_part() -> None:
    """A star does not run across a dot into another table."""
    policy = parse(POLICY)
    assert policy.tags_of("wh", ColumnName(TableName("main", "people"), "email")) == ("pii.email",)
    assert policy.tags_of("wh", ColumnName(TableName("main.people", "x"), "email")) == ()
    assert policy.tags_of("wh", ColumnName(ORDERS, "Note")) == ("pii.email", "public")


def test_the_schema_for_editors_names_every_key() -> None:
    """The JSON Schema is the one that decoding follows."""
    assert set(schema()["properties"]) == {
        "version",
        "rules",
        "tags",
        "functions",
        "content",
        "drift",
        "evidence",
        "break_glass",
    }


def test_findings_are_all_named() -> None:
    """Every finding's code stands in the decision."""
    held = make_catalog()
    statement = parse_statement("SELECT 1 AS a", held)
    findings = (Finding("G900", "one", "x"), Finding("G901", "two", "y"))
    decision = decide(parse(POLICY), ANALYST, "wh", statement, catalog=held, findings=findings)
    assert (decision.rules, decision.reason, decision.next_step) == (
        ("G900", "G901"),
        "one; two",
        "x",
    )

"""Who may do what to which table: golden tables, and what a rule's condition changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.policy import Context, parse, reported, visible
from nbgov.core.policy.conditions import CONDITION_CHARS_MAX
from nbgov.core.policy.masked_tokens import holds_token
from nbgov.errors import ConfigInvalid
from nbgov.model import (
    ByteLimit,
    ColumnMask,
    ContentMask,
    Effect,
    MaskKind,
    Principal,
    RowLimit,
    Statement,
    WriteLimit,
)
from tests.core.policy_scene import ADA, EVE, ask, catalog, column, statement, table, use

GOLDEN = yaml.safe_load(
    (Path(__file__).parents[1] / "cases/policy/decisions.yaml").read_text(encoding="utf-8")
)
HELD = catalog(
    table("people", "id:INTEGER", "email", "name"), table("orders", "id:INTEGER", "note")
)
READ = """
version: 1
tags: {pii.email: ["wh.main.people.email"]}
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read, update, create]
    on: ["wh.main.*"]
    obligations: {masks: {"pii.*": redact}}
"""


def build(spec: dict[str, Any]) -> Statement:
    """A statement of a golden case."""
    more = {key: spec[key] for key in spec if key not in {"uses", "effects"}}
    more["traits"] = frozenset(more.get("traits", ()))
    more["system_tables"] = frozenset(more.get("system_tables", ()))
    uses = [use(text, action, *read) for text, action, read in spec["uses"]]
    return statement(*uses, effects=tuple(spec.get("effects", ["read"])), **more)


@pytest.mark.parametrize("who", GOLDEN["principals"])
@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["say"])
def test_every_cell_is_denied_but_what_the_table_permits(case, who):
    """Each principal gets from each statement exactly what the golden table says."""
    principal = Principal(who, frozenset(GOLDEN["principals"][who].get("groups", ())))
    decision = ask(GOLDEN["policy"], build(case["statement"]), HELD, principal)
    assert decision.is_permitted is (who in case["permitted"]), decision.reason
    if not decision.is_permitted:
        assert decision.code == case.get("codes", {}).get(who, "denied-by-policy")
        assert decision.reason
        assert decision.next_step


def test_a_hidden_table_hides_the_engines_own_tables():
    """What lists names is denied to whoever may not see all of them."""
    hidden = visible(parse(READ.replace("wh.main.*", "wh.main.people")), ADA, "wh", HELD)
    assert not hidden.is_whole
    shown = statement(use("people", "read", "id"), traits=frozenset({"metadata"}))
    assert "hidden" in ask(READ, shown, hidden).reason
    assert ask(READ, shown, HELD).is_permitted
    part = catalog(*HELD.tables.values(), is_whole=False)
    assert not visible(parse(READ), ADA, "wh", part).is_whole


@pytest.mark.parametrize(
    "on",
    ["wh.main.people", "wh.main.people.*", "wh.*.p*.em*", "*.*.people.id", "W?.main.[op]eople"],
)
def test_a_table_is_visible_by_any_pattern_that_covers_a_column(on):
    """Whole tables and single columns are found by one matcher."""
    assert [t.name for t in visible(parse(READ.replace("wh.main.*", on)), ADA, "wh", HELD).tables] == ["people"]  # fmt: skip


def test_a_registered_function_reads():
    """Only functions that the policy names, on the connection that it names, count as reads."""
    held = catalog(
        functions={
            "main.slug": Effect.UNKNOWN,
            "main.purge": Effect.UNKNOWN,
            "bare": Effect.UNKNOWN,
        }
    )
    policy = parse(READ + "functions: {read: ['wh.main.SL*', 'wh..bare', 'other.main.purge']}\n")
    assert visible(policy, EVE, "wh", held).functions == {
        "main.slug": Effect.READ,
        "main.purge": Effect.UNKNOWN,
        "bare": Effect.READ,
    }


def test_limits_are_the_lowest_that_some_permit_sets():
    """Each kind of limit is merged by itself, and a limit on writes is for writes only."""
    text = READ.replace('{"pii.*": redact}}', '{"pii.*": redact}, row_limit: 9, byte_limit: 1000, write_limit: 5}')  # fmt: skip
    more = text.replace("rules:", READ.partition("rules:")[2].replace("id: read", "id: more").replace("{masks: {\"pii.*\": redact}}", "{row_limit: 90, byte_limit: 100, write_limit: 50}"), 1)  # fmt: skip
    more = more.replace("\n\n  - id: more", "\nrules:\n  - id: more")
    read = ask(more, statement(use("orders", "read", "id")), HELD).obligations
    assert [o for o in read if isinstance(o, RowLimit | ByteLimit | WriteLimit)] == [
        RowLimit(9),
        ByteLimit(100),
    ]
    write = statement(use("orders", "update"), effects=("write",), flows={"orders.note": ()})
    assert WriteLimit(5) in ask(more, write, HELD).obligations


def test_a_view_of_masked_tables_cannot_be_created():
    """Whoever sees a table masked or filtered may not define a view over it."""
    define = statement(
        use("v", "create"), use("people", "read", "id"), effects=("ddl",), verb="CREATE", traits=frozenset({"defines-view"})
    )  # fmt: skip
    assert ask(READ, define, HELD).code == "laundering"
    filtered = READ.replace('{masks: {"pii.*": redact}}', "{row_filter: id > 1}")
    assert ask(filtered, define, HELD).code == "laundering"
    open_ = READ.replace('{masks: {"pii.*": redact}}', "{}")
    assert ask(open_, define, HELD).is_permitted


@pytest.mark.parametrize("plan", ["plan", "analyze"])
def test_no_plan_is_told_of_a_table_with_a_row_filter(plan):
    """Estimates and counts are made of rows that the filter hides."""
    filtered = READ.replace('{masks: {"pii.*": redact}}', "{row_filter: id > 1}")
    explained = statement(use("orders", "read", "id"), plan=plan)
    assert ask(filtered, explained, HELD).code == "plan-shows-values"


def test_structure_may_change_where_rows_are_filtered():
    """A row filter stands in the way of writes to rows, and not of work on the table."""
    filtered = READ.replace('{masks: {"pii.*": redact}}', "{row_filter: id > 1}")
    assert ask(filtered, statement(use("orders", "create"), effects=("ddl",)), HELD).is_permitted
    write = statement(use("orders", "update"), effects=("write",), flows={"orders.note": ()})
    assert ask(filtered, write, HELD).code == "masked-column-in-write"


def test_the_content_scan_can_be_turned_off():
    """Without an entity to look for, no text is scanned."""
    asked = statement(use("orders", "read", "note"))
    assert any(isinstance(o, ContentMask) for o in ask(READ, asked, HELD).obligations)
    off = READ + "content: {entities: []}\n"
    assert ask(off, asked, HELD).obligations == ask(READ, asked, HELD).masks


# ---------------------------------------------------------------- what is told


def told(read: tuple[str, ...], **more: Any) -> list[ColumnMask]:
    decision = ask(more.pop("policy", READ), statement(use("people", "read", *read), **more), HELD)
    asked = statement(use("people", "read", *read), **more)
    return [o for o in reported(decision, asked) if isinstance(o, ColumnMask)]


def test_a_mask_is_told_where_it_changes_what_is_read():
    """Reading other columns, or only whether a value is there, tells of no mask."""
    mask = ColumnMask(column("people.email"), MaskKind.REDACT, "pii.email")
    assert told(("id",)) == []
    assert told(("id", "email")) == [mask]
    assert told(("email",), presence_columns=("people.email",)) == []
    assert told(("id",), is_resolved=False) == [mask]


def test_a_null_mask_changes_whether_a_value_is_there():
    """Where a column reads as NULL, counting it is told too."""
    policy = READ.replace("redact", '"null"')
    assert told(("email",), presence_columns=("people.email",), policy=policy)


def test_obligations_other_than_masks_are_told_always():
    """Limits and filters hold for the statement as a whole."""
    decision = ask(READ.replace("{masks", "{row_limit: 3, masks"), statement(use("people")), HELD)
    assert RowLimit(3) in reported(decision, statement(use("people")))


# ---------------------------------------------------------------- mask tokens


@pytest.mark.parametrize(
    "value", ["***", "x ***", "***1234", b"***", ["a", "***"], ("***",), {"***"}]
)
def test_a_value_that_a_mask_made_is_recognised(value):
    """Text, bytes and lists of them are looked into."""
    assert holds_token(value)


@pytest.mark.parametrize("value", ["a", "* *", None, 7, b"a", ["a", 1], datetime(2026, 1, 1)])
def test_a_value_of_ones_own_is_not_mistaken(value):
    """Other values are left alone."""
    assert not holds_token(value)


# ---------------------------------------------------------------- conditions


def conditional(when: str, *, effect: str = "permit", more: str = "") -> str:
    return READ + (
        f"  - {{id: when, effect: {effect}, to: {{names: ['*']}}, actions: [read], on: ['wh.main.*'],"
        f" when: {json.dumps(when)}{more}}}\n"
    )


AT = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
CONTEXT = Context(AT, {"surface": "cli"})
ASKED = statement(
    use("orders", "read", "note"),
    verb="SELECT",
    functions={"lower": Effect.READ},
)


@pytest.mark.parametrize(
    "when",
    [
        "principal.name == 'eve'",
        "principal.groups.size() == 0 && principal.roles.size() == 0",
        "connection == 'wh' && action == 'read'",
        "statement.verb == 'SELECT' && statement.plan == ''",
        "statement.effects == ['read']",
        "statement.tables == ['main.orders']",
        "statement.columns.all(c, c.startsWith('main.orders.'))",
        "'lower' in statement.functions",
        "origin.surface == 'cli'",
        "statement.tables.exists_one(t, t.matches('^main[.]or')) && size(action) + 1 == 5",
        "at + duration('1h') > at && at.getHours() == 9 && at < timestamp('2027-01-01T00:00:00Z')",
    ],
)
def test_a_condition_sees_recorded_values(when):
    """Each variable holds what the record states, and a permit holds while its condition does."""
    assert ask(conditional(when), ASKED, HELD, EVE, CONTEXT).rules == ("when",)
    assert not ask(conditional(f"!({when})"), ASKED, HELD, EVE, CONTEXT).is_permitted


@pytest.mark.parametrize(
    "when", ["origin.missing == 'x'", "at.getHours() > 0", "1 / 0 == 1", "{'a': true}['b']"]
)
def test_a_condition_that_fails_fails_closed(when):
    """A permit does not match, a forbid does, and the masks of the permit hold nevertheless."""
    permit = ask(conditional(when), ASKED, HELD, EVE)
    assert not permit.is_permitted
    forbid = ask(conditional(when, effect="forbid"), ASKED, HELD, ADA)
    assert forbid.rules == ("when",)
    mask = conditional(when, more=", obligations: {masks: {pii.email: 'null'}}")
    [found] = ask(mask, statement(use("people", "read", "email")), HELD, ADA).masks
    assert found.kind is MaskKind.NULL


def test_a_forbid_is_idle_while_its_condition_is_false():
    """Only a condition that fails forbids; one that is false does not."""
    policy = conditional("origin.surface == 'web'", effect="forbid")
    assert ask(policy, ASKED, HELD, ADA, CONTEXT).is_permitted
    assert not ask(policy, ASKED, HELD, ADA, Context(AT, {"surface": "web"})).is_permitted


def test_a_policy_says_whether_it_depends_on_the_context():
    """A pipeline may remember decisions only where no rule has a condition."""
    assert parse(conditional("true")).is_conditional
    assert not parse(READ).is_conditional


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("now() > at", "undeclared reference to 'now'"),
        ("principal.nme == 'x'", "undeclared reference"),
        ("action == 1", "no matching overload"),
        ("action", "no truth value"),
        ("dyn(true)", "undeclared reference to 'dyn'"),
        ("action + action == 'x'", "no matching overload"),
        ("statement.tables.map(t, t).size() == 1", "no matching overload"),
        ("statement.tables.filter(t, true).size() == 1", "no matching overload"),
        ("action ==", "Syntax error"),
        ("(" * 60 + "true" + ")" * 60, "recursion limit"),
        ("true || " * 400 + "true", "longer than"),
    ],
)
def test_a_condition_that_does_not_compile_is_an_error(when, says):
    """The error names the rule and the reason, when the policy is read."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(conditional(when))
    assert caught.value.code == "policy-invalid"
    assert "rules.when.when" in caught.value.what
    assert says in caught.value.why


def test_a_condition_cannot_run_on():
    """Iterations are bounded by the library: too many of them fail, and so deny."""
    nested = "true"
    for depth in range(5):
        nested = f"statement.columns.all(x{depth}, {nested})"
    assert len(nested) < CONDITION_CHARS_MAX
    wide = statement(use("orders", "read", *(f"c{i}" for i in range(40))))
    assert not ask(conditional(nested), wide, HELD, EVE).is_permitted


@given(
    when=st.sampled_from(["true", "false", "1 / 0 == 1", "origin.surface == 'cli'"]),
    surface=st.sampled_from(["cli", "web"]),
    kind=st.sampled_from(list(MaskKind)),
)
def test_one_more_condition_loosens_nothing(when, surface, kind):
    """A conditional permit never takes a mask away, and a conditional forbid never permits."""
    context = Context(AT, {"surface": surface})
    asked = statement(use("people", "read", "email"))
    before = ask(READ, asked, HELD, ADA, context)
    permit = conditional(when, more=f", obligations: {{masks: {{'*': '{kind.value}'}}}}")
    [mask] = ask(permit, asked, HELD, ADA, context).masks
    order = list(MaskKind)
    assert order.index(mask.kind) <= order.index(before.masks[0].kind)
    forbid = ask(conditional(when, effect="forbid"), asked, HELD, EVE, context)
    assert not forbid.is_permitted

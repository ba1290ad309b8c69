"""What is wrong with a policy that decodes: each problem has a code, a place and a next step."""

from __future__ import annotations

from typing import Any

import pytest

from nbgov.core.policy import parse
from nbgov.core.policy.lint import LintProblem, Surroundings, lint
from nbgov.model import Effect, Principal
from tests.core.policy_scene import catalog, table

CLEAN = """
version: 1
tags:
  pii.email: ["wh.main.people.email"]
  pii.born: ["wh.*.people.born"]
  public: ["wh.main.orders.*"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    unless: {names: [eve]}
    actions: [read]
    on: ["wh.main.*", "wh.main.people.ema*"]
    obligations: {masks: {pii.email: partial, pii.born: year}, row_filter: "id > 0"}
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [insert, create]
    on: ["wh.main.orders", "wh.main.new_*"]
    obligations: {write_limit: 5, approval: {by: {roles: [approver]}, votes: 1}}
  - id: no-notes
    effect: forbid
    to: {names: ["*"]}
    actions: [read]
    on: ["wh.main.orders.note"]
functions: {read: ["wh.main.slug"]}
"""
WAREHOUSE = catalog(
    table("people", "id:INTEGER", "email:VARCHAR", "born:DATE", "age:INTEGER"),
    table("orders", "id:INTEGER", "note:VARCHAR"),
    functions={"main.slug": Effect.UNKNOWN},
)
AROUND = Surroundings(
    connections=frozenset({"wh", "away"}),
    catalogs={"wh": WAREHOUSE},
    principals=(
        Principal("ada", frozenset({"analysts"})),
        Principal("grace", roles=frozenset({"approver"})),
    ),
)


def problems(text: str, around: Surroundings = AROUND) -> list[LintProblem]:
    return list(lint(parse(text), around))


def change(before: str, after: str) -> str:
    assert before in CLEAN
    return CLEAN.replace(before, after, 1)


def test_a_policy_that_makes_sense_has_no_problem():
    """A clean policy is told clean, with its surroundings and without."""
    assert problems(CLEAN) == []
    assert problems(CLEAN, Surroundings()) == []


@pytest.mark.parametrize(
    ("text", "code", "place", "says"),
    [
        (change('on: ["wh.main.orders.note"]', 'on: ["wh.*.*"]'), "P101", "rules.read", "'no-notes' forbids all of it"),
        (change("unless: {names: [eve]}", "unless: {groups: [analysts]}"), "P102", "rules.read.unless", "exempts everybody"),
        (change("unless: {names: [eve]}", "unless: {names: ['*']}"), "P102", "rules.read.unless", "exempts everybody"),
        (change('"wh.main.people.ema*"', '"wh.main.peoplle"'), "P103", "rules.read.on", "matches no table"),
        (change('"wh.main.people.ema*"', '"wh.main.people.mail"'), "P103", "rules.read.on", "matches no table"),
        (change('"wh.main.people.ema*"', '"warehouse.main.*"'), "P103", "rules.read.on", "no connection"),
        (change('["wh.*.people.born"]', '["wh.*.peoplle.*"]'), "P104", "tags.pii.born", "covers no column"),
        (change('["wh.*.people.born"]', '["lost.main.people.born"]'), "P104", "tags.pii.born", "covers no column"),
        (change('["wh.*.people.born"]', "[]"), "P104", "tags.pii.born", "covers no column"),
        (change('["wh.main.people.email"]', '["wh.main.people.email", "wh.main.people.phone"]'), "P105", "tags.pii.email", "main.people has no column phone"),
        (change('["wh.main.people.email"]', '["wh.main.people.email", "wh.main.peoplle.mail"]'), "P105", "tags.pii.email", "matches no table"),
        (change("masks: {pii.email", "masks: {'secret.*': redact, pii.email"), "P106", "rules.read.obligations.masks", "secret.*"),
        (change('["wh.*.people.born"]', '["wh.main.people.age"]'), "P107", "rules.read.obligations.masks", "year reads as NULL on main.people.age"),
        (change('["wh.main.people.email"]', '["wh.main.people.*"]'), "P107", "rules.read.obligations.masks", "partial reads as NULL"),
        (change('"id > 0"', '"id >"'), "P108", "rules.read.obligations.row_filter", "one condition"),
        (change('"id > 0"', '"born IS NOT NULL"'), "P108", "rules.read.obligations.row_filter", "does not work on main.orders"),
        (change('"id > 0"', '"id IN (SELECT 1)"'), "P108", "rules.read.obligations.row_filter", "one condition"),
        (change('"id > 0"', '"id > 0) OR (id = 1"'), "P108", "rules.read.obligations.row_filter", "one condition"),
        (change("votes: 1", "votes: 2"), "P109", "rules.change.obligations.approval", "2 votes are asked for, and 1"),
        (change("roles: [approver]", "roles: [aprover]"), "P109", "rules.change.obligations.approval", "0 of those"),
        (change("votes: 1", "votes: 1").replace("to: {groups: [analysts]}\n    actions: [insert", "to: {names: [grace]}\n    actions: [insert"), "P109", "rules.change.obligations.approval", "grace can ask and vote"),
        (CLEAN + "break_glass: {by: {roles: [oncall]}}", "P115", "break_glass.by", "nobody who is declared"),
        (CLEAN + "break_glass: {by: {names: [grace]}}", "P115", "break_glass.by", "no rule that asks for an approval is about"),
        (change(", approval: {by: {roles: [approver]}, votes: 1}", "") + "break_glass: {by: {names: [ada]}}", "P115", "break_glass.by", "no rule asks"),
        (change("to: {groups: [analysts]}", "to: {groups: [analysst]}"), "P110", "rules.read.to", "nobody"),
        (change("write_limit: 5,", "row_filter: 'id > 1',"), "P111", "rules.change.obligations.row_filter", "does not permit to read"),
        (change("masks: {pii.email", "write_limit: 4, masks: {pii.email"), "P111", "rules.read.obligations.write_limit", "insert, update or delete"),
        (change('"wh.main.slug"', '"wh.main.slog"'), "P112", "functions.read", "matches no function"),
        (change('"wh.main.slug"', '"lost.main.slug"'), "P112", "functions.read", "matches no function"),
    ],
)  # fmt: skip
def test_each_problem_has_its_code_and_place(text, code, place, says):
    """What is wrong is found, once, where it stands."""
    found = [problem for problem in problems(text) if problem.code == code]
    assert found
    assert found[0].place == place
    assert says in found[0].message
    assert found[0].next_step
    assert {problem.code for problem in problems(text)} == {code}


def test_remarks_are_no_errors():
    """What may be meant is told without failing."""
    remarks = [
        *problems(change('["wh.*.people.born"]', '["wh.main.people.age"]')),
        *problems(change("to: {groups: [analysts]}", "to: {groups: [analysst]}")),
    ]
    assert [problem.is_error for problem in remarks] == [False, False]
    assert problems(change("votes: 1", "votes: 2"))[0].is_error


@pytest.mark.parametrize(
    "forbid",
    [
        {"to: {names: [\"*\"]}": "to: {groups: [others]}"},
        {"actions: [read]\n    on: [\"wh.main.orders.note\"]": "actions: [update]\n    on: [\"wh.*.*\"]"},
        {"on: [\"wh.main.orders.note\"]": "on: [\"wh.*.*\"]\n    when: \"action == 'read'\""},
        {"actions: [read]\n    on: [\"wh.main.orders.note\"]": "unless: {names: [ada]}\n    actions: [read]\n    on: [\"wh.*.*\"]"},
        {"on: [\"wh.main.orders.note\"]": "on: [\"wh.main.o*\"]"},
        {"on: [\"wh.main.orders.note\"]": "on: [\"wh.main.*.id\"]"},
    ],
)  # fmt: skip
def test_a_forbid_that_leaves_something_shadows_nothing(forbid: dict[str, Any]):
    """Another audience, action, condition, exemption or part of the data is no shadow."""
    [(before, after)] = forbid.items()
    assert "P101" not in {problem.code for problem in problems(change(before, after))}


def test_a_glob_is_shadowed_by_a_wider_one_only():
    """A pattern without a glob falls under a glob that matches it."""
    text = change('on: ["wh.main.*", "wh.main.people.ema*"]', 'on: ["wh.main.people"]')
    wide = text.replace('on: ["wh.main.orders.note"]', 'on: ["wh.m*.p?ople"]')
    assert "P101" in {problem.code for problem in problems(wide)}


def test_what_was_not_asked_is_not_judged():
    """A pattern that may be about a connection whose catalog is unknown passes."""
    text = change('"wh.main.people.ema*"', '"*.main.nothing"')
    assert problems(text) == []
    text = change('["wh.*.people.born"]', '["away.main.people.born"]')
    assert problems(text) == []
    assert problems(change('"wh.main.slug"', '"away.main.slug"')) == []

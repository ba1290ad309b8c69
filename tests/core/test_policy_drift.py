"""``drift:`` of policy.yaml: it decodes strictly, and what could never match is an error."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest

from nbgov.core.drift.report import KINDS
from nbgov.core.policy import parse
from nbgov.core.policy.drift import CauseKind, read_age
from nbgov.core.policy.lint import Surroundings, lint
from nbgov.errors import ConfigInvalid
from nbgov.model import ColumnTerms, DriftTerms, FreshnessTerms, Principal, TableName
from tests.core.policy_scene import catalog, table

WHOLE = """
version: 1
rules: []
tags: {pii.email: ["wh.main.people.email"]}
drift:
  baseline: [champion, last]
  columns:
    - {tags: ["pii.*"], ignore: true}
    - {on: ["*.delay"], ks: 0.1, psi: 0.3, cramers_v: 0.2, nulls: 0.05}
  freshness:
    - {on: ["wh.main.*"], age_max: 30d, column: flown_on}
  holds: [schema, unit]
  first: held
  approval: {by: {names: [grace], groups: [stewards], roles: [owner]}, votes: 2}
  keyed: ["wh.hr.*"]
"""
AROUND = Surroundings(
    connections=frozenset({"wh"}),
    catalogs={"wh": catalog(table("people", "email:VARCHAR"))},
    principals=(Principal("grace"),),
)


def of(section: str) -> str:
    return f"version: 1\nrules: []\ndrift: {{{section}}}"


def test_every_part_of_the_section_becomes_a_term():
    """What is written is what the comparison and the promotion are told."""
    assert parse(WHOLE).drift == DriftTerms(
        baseline=("champion", "last"),
        columns=(
            ColumnTerms(tags=("pii.*",), is_ignored=True),
            ColumnTerms(on=("*.delay",), ks=0.1, psi=0.3, cramers_v=0.2, nulls=0.05),
        ),
        freshness=(FreshnessTerms(("wh.main.*",), timedelta(days=30), "flown_on"),),
        holds=frozenset({"schema", "unit"}),
        is_first_held=True,
        votes=2,
        by_names=("grace",),
        by_groups=("stewards",),
        by_roles=("owner",),
        keyed=("wh.hr.*",),
    )


def test_a_policy_without_the_section_has_the_stated_defaults_and_nobody_who_may_vote():
    """Silence is the default terms, under which a held promotion stays held."""
    terms = parse("version: 1\nrules: []").drift
    assert terms == DriftTerms()
    assert (terms.by_names, terms.by_groups, terms.by_roles) == ((), (), ())


def test_a_kind_that_may_hold_is_a_kind_that_a_report_knows():
    """The policy and the comparison name the same kinds of causes."""
    assert set(get_args(CauseKind)) == set(KINDS)
    assert DriftTerms().holds <= set(KINDS)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("45m", timedelta(minutes=45)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("4w", timedelta(weeks=4)),
    ],
)
def test_an_age_is_a_number_and_a_unit(text, age):
    """Each unit means what it says."""
    assert read_age(text) == age


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "1y", "30D", 30, None, "9999999d"]
)
def test_what_is_no_age_is_refused(text):
    """A limit that does not read is an error, never no limit."""
    with pytest.raises(ValueError, match="a number and a unit"):
        read_age(text)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("baseline: []", "drift.baseline is empty"),
        ("baseline: [tag, tag]", "twice"),
        ("baseline: [newest]", "drift.baseline.0"),
        ("columns: [{ks: 0.1}]", "drift.columns.0 can never match"),
        ("columns: [{on: [a.b]}]", "does nothing"),
        ("columns: [{on: [a.b], ignore: true, nulls: 0.1}]", "both ignores"),
        ("columns: [{on: [a.b, delay], ks: 0.1}]", "without a column"),
        ("columns: [{on: [a.b], ks: true}]", "drift.columns.0.ks"),
        ("columns: [{on: [a.b], ks: 0}]", "drift.columns.0.ks"),
        ("columns: [{on: [a.b], psi: .inf}]", "drift.columns.0.psi"),
        ("freshness: [{on: [], age_max: 1d}]", "drift.freshness.0 can never match"),
        ("freshness: [{on: [''], age_max: 1d}]", "drift.freshness.0 can never match"),
        ("freshness: [{on: [a], age_max: 1d, column: ''}]", "drift.freshness.0 can never match"),
        ("freshness: [{on: [a], age_max: 1 day}]", "a number and a unit"),
        ("holds: [taste]", "drift.holds.0"),
        ("first: true", "drift.first"),
        ("approval: {votes: 2}", "drift.approval"),
        ("approval: {by: {names: [a]}, votes: 0}", "drift.approval.votes"),
        ("keyed: [people]", "drift.keyed holds a pattern with the wrong number of parts"),
        ("keyed: [wh.main.people.email]", "wrong number of parts"),
        ("threshold: 1", "unknown key: drift.threshold"),
    ],
)
def test_what_makes_no_sense_is_an_error(section, says):
    """Decoding is strict, and the error names the place."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(of(section))
    assert says in str(caught.value)


def test_an_empty_list_of_holds_holds_nothing_but_what_is_always_held():
    """A project may make every difference a warning."""
    assert parse(of("holds: []")).drift.holds == frozenset()


def test_a_result_is_keyed_if_one_of_its_tables_is():
    """The patterns meet tables, on their own connection only, in any case."""
    policy = parse(of('keyed: ["wh.HR.*"]'))
    payroll, people = TableName("hr", "payroll"), TableName("main", "people")
    assert policy.is_keyed("wh", [people, payroll])
    assert not policy.is_keyed("wh", [people])
    assert not policy.is_keyed("other", [payroll])
    assert not parse(of("keyed: []")).is_keyed("wh", [payroll])


@pytest.mark.parametrize(
    ("section", "code", "place"),
    [
        ("approval: {by: {names: [nobody]}}", "P109", "drift.approval"),
        ("approval: {by: {names: [grace]}, votes: 2}", "P109", "drift.approval"),
        ('keyed: ["wh.hr.*"]', "P113", "drift.keyed"),
        ('keyed: ["elsewhere.hr.*"]', "P113", "drift.keyed"),
        ('columns: [{tags: ["pii.*"], ks: 0.1}]', "P113", "drift.columns.0.tags"),
        ('columns: [{on: ["a.b"], ks: 0.1}, {on: ["*"], ks: 0.2}]', "P114", "drift.columns.0"),
        (
            'columns: [{on: ["a.b"], ks: 0.1}, {on: ["x.y", "a.b"], ignore: true}]',
            "P114",
            "drift.columns.0",
        ),
    ],
)
def test_lint_names_what_can_never_match(section, code, place):
    """A pattern, a quorum or terms without effect are problems of their own."""
    [problem] = lint(parse(of(section)), AROUND)
    assert (problem.code, problem.place) == (code, place)


@pytest.mark.parametrize(
    "section",
    [
        "approval: {by: {names: [grace]}}",
        'keyed: ["wh.main.*"]',
        'keyed: ["away.hr.*", "wh.main.people"]',
        'columns: [{on: ["a.*"], ks: 0.1}, {on: ["a.b"], ks: 0.2}]',
        'columns: [{on: ["a.b"], ks: 0.1}, {on: ["a.c"], ks: 0.2}]',
    ],
)
def test_lint_is_silent_where_terms_apply(section):
    """Wide terms before narrow ones are how exceptions are written."""
    around = Surroundings(frozenset({"wh", "away"}), AROUND.catalogs, AROUND.principals)
    assert lint(parse(of(section)), around) == ()


def test_terms_by_tag_are_not_overridden_by_terms_of_other_columns():
    """An entry by tag and a later entry by name are about different columns."""
    text = WHOLE.replace('on: ["*.delay"]', 'on: ["*"]')
    codes = {problem.code for problem in lint(parse(text), AROUND)}
    assert "P114" not in codes

"""What no statement may do. Golden cases: ``tests/cases/guard/rules.yaml``."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from nbgov.core.guard import RULES, check
from nbgov.core.statement import parse
from nbgov.model import Effect, Statement
from tests.core.conftest import make_catalog

ROOT = Path(__file__).resolve().parents[2]
CASES = yaml.safe_load((ROOT / "tests/cases/guard/rules.yaml").read_text(encoding="utf-8"))


def spelt(cases: list[Any]) -> list[tuple[str, str]]:
    """Pairs of dialect and statement."""
    found: list[tuple[str, str]] = []
    for case in cases:
        found += case.items() if isinstance(case, dict) else [("duckdb", case)]
    return found


ROWS = [
    (code, dialect, sql, kind == "fail")
    for code, kinds in CASES.items()
    for kind, cases in kinds.items()
    for dialect, sql in spelt(cases)
]


@pytest.mark.parametrize(("code", "dialect", "sql", "is_found"), ROWS)
def test_a_rule_finds_its_cases_and_no_others(
    code: str, dialect: str, sql: str, *, is_found: bool
) -> None:
    """Each rule reports its failing cases and stays silent on its passing ones."""
    found = {finding.code for finding in check(parse(sql, make_catalog(dialect)))}
    assert (code in found) is is_found


@pytest.mark.parametrize("code", RULES)
def test_every_rule_has_cases_of_both_kinds(code: str) -> None:
    """A rule without a failing and a passing case is not tested."""
    assert CASES[code]["fail"]
    assert CASES[code]["pass"]


EFFECT_SETS = [
    frozenset(chosen) for size in range(3) for chosen in itertools.combinations(Effect, size)
]


@pytest.mark.parametrize("effects", EFFECT_SETS, ids=lambda effects: "+".join(sorted(effects)))
@pytest.mark.parametrize("is_additive", [True, False])
def test_only_reads_writes_and_what_adds_are_without_a_finding(
    effects: frozenset[Effect], *, is_additive: bool
) -> None:
    """The rules are total: every other combination of effects is stopped."""
    harmless = {Effect.READ, Effect.WRITE}
    if is_additive:
        harmless |= {Effect.DDL, Effect.MAINTENANCE}
    traits = frozenset({"additive"}) if is_additive else frozenset()
    statement = Statement("x", "duckdb", "X", effects, traits=traits)
    assert (check(statement) == ()) is (bool(effects) and effects <= harmless)


@pytest.mark.parametrize("effect", sorted(set(Effect) - {Effect.READ, Effect.WRITE}))
def test_what_a_query_does_through_a_function_is_that_function(effect: Effect) -> None:
    """A query that calls what is not free of effects has one finding, which names the function."""
    query = Statement("x", "duckdb", "SELECT", frozenset({effect}), functions={"f": effect})
    [finding] = check(query)
    assert (finding.code, "calls f," in finding.message) == ("G105", True)
    other = dataclasses.replace(query, verb="FROBNICATE")
    assert len(check(other)) > 1


def test_all_findings_are_reported() -> None:
    """A person who corrects SQL gets the whole list at once."""
    statement = parse("DELETE FROM people RETURNING pg_sleep(1)", make_catalog("postgres"))
    assert [finding.code for finding in check(statement)] == ["G103", "G105"]


def test_a_message_names_what_it_is_about() -> None:
    """A finding says which tables, and what to do next."""
    sql = "WITH a AS (DELETE FROM people RETURNING id) UPDATE orders SET note = 'x' WHERE id = 1"
    [finding] = check(parse(sql, make_catalog("postgres")))
    assert finding.message == (
        "DELETE of main.people, UPDATE of main.orders has no WHERE, and would reach every row"
    )
    [finding] = check(parse("DROP TABLE people, orders", make_catalog("postgres")))
    assert finding.message == "DROP changes what the database holds: main.people, main.orders"
    assert all(rule.next_step for rule in RULES.values())


def test_no_rules_find_nothing() -> None:
    """The rules in force are an argument."""
    assert check(parse("DROP TABLE people", make_catalog()), {}) == ()

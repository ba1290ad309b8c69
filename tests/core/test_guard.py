"""What no statement may do. Golden cases: ``tests/cases/guard``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nbgov.core.guard import RULES, check
from nbgov.core.statement import parse
from nbgov.model import Catalog
from tests.core.conftest import make_catalog

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases/guard/rules.yaml").read_text())
PAIRS = [(code, sql, True) for code, case in CASES.items() for sql in case["fail"]]
PAIRS += [(code, sql, False) for code, case in CASES.items() for sql in case["pass"]]


@pytest.mark.parametrize(("code", "sql", "is_found"), PAIRS)
def test_a_rule_finds_its_cases_and_no_others(
    code: str, sql: str, *, is_found: bool, catalog: Catalog
) -> None:
    """Each rule reports its failing cases and stays silent on its passing ones."""
    assert (code in {finding.code for finding in check(parse(sql, catalog))}) is is_found


@pytest.mark.parametrize("code", RULES)
def test_every_rule_has_cases_of_both_kinds(code: str) -> None:
    """A rule without a failing and a passing case is not tested."""
    assert CASES[code]["fail"]
    assert CASES[code]["pass"]


def test_all_findings_are_reported(catalog: Catalog) -> None:
    """A person who corrects SQL gets the whole list at once."""
    statement = parse("DELETE FROM people RETURNING pg_sleep(1)", make_catalog("postgres"))
    assert [finding.code for finding in check(statement)] == ["G103", "G105"]


def test_no_rules_find_nothing(catalog: Catalog) -> None:
    """The rules in force are an argument."""
    assert check(parse("DROP TABLE people", catalog), {}) == ()

"""The version of a delivered result is a pure function of content and circumstances."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pyarrow as pa
import pytest

from nbgov.core.case import Case
from nbgov.core.datasets import dataset_name, identify_version, outputs_in_clear
from nbgov.core.fingerprint import Fingerprinter
from nbgov.core.policy import parse as parse_policy
from nbgov.core.policy.tags import Classification
from nbgov.core.statement import parse
from nbgov.model import DatasetVersion, Decision, Request
from tests.core.conftest import make_catalog

SQL = "SELECT id, region FROM people WHERE id > :low"


def identify(
    rows: list[int], *, sql: str = SQL, values: dict[str, object] | None = None, **more: object
) -> DatasetVersion:
    """The version of a result with these ids."""
    case = Case(Request("wh", sql), id="x")
    case.statement = parse(sql, make_catalog())
    case.decision = Decision(is_permitted=True, policy_digest=bytes(32))
    case.values = values or {"low": 0}
    fold = Fingerprinter()
    fold.update(pa.record_batch({"id": rows, "region": ["EU"] * len(rows)}))
    options = {"clear": {"id"}, "masked": {}, "profile": {}} | more
    return identify_version(
        case, fingerprint=fold.finish(), mac=lambda data: hashlib.sha256(data).digest(), **options
    )


def test_equal_data_in_another_order_is_the_same_version() -> None:
    """The version does not depend on the order of rows."""
    assert identify([1, 2, 3]) == identify([3, 1, 2])
    assert identify([1, 2, 3]).version_id != identify([1, 2, 4]).version_id


@pytest.mark.parametrize(
    "change",
    [
        {"sql": SQL + " "},
        {"values": {"low": 1}},
        {"values": {"low": "0"}},
        {"masked": {"region": "redact"}},
    ],
)
def test_other_circumstances_are_another_version(change: dict[str, object]) -> None:
    """Text, bound values, their types and masks are part of the version; the content id is not touched."""
    assert identify([1], **change).version_id != identify([1]).version_id
    assert identify([1], **change).content_id == identify([1]).content_id


def test_bound_values_are_not_kept() -> None:
    """Only their names and types are."""
    assert identify([1], values={"low": 12345}).binds == ("low: int",)
    assert "12345" not in str(replace(identify([1], values={"low": 12345}), binds_mac=""))


def test_few_rows_of_a_column_that_is_not_public_keep_no_digest() -> None:
    """A digest over few values could be turned back into them."""
    assert [bool(column[2]) for column in identify([1, 2]).columns] == [True, False]
    assert [bool(column[2]) for column in identify(list(range(20))).columns] == [True, True]


def test_a_result_is_named_after_its_tables() -> None:
    """The name that was asked for wins; a join names its tables in order."""
    joined = parse("SELECT 1 FROM people, orders", make_catalog())
    assert dataset_name(Request("wh", ""), joined) == "wh.main.orders+main.people"
    assert dataset_name(Request("wh", "", dataset="train"), joined) == "train"
    assert dataset_name(Request("wh", ""), parse("SELECT 1 AS a", make_catalog())) == "wh.values"


def test_only_public_sources_make_a_column_clear() -> None:
    """A column of unknown origin, or with one source that is not public, is not clear."""
    policy = parse_policy(
        '{"version": 1, "tags": {"public": ["wh.main.people.id"]}, "rules": ['
        '{"id": "r", "effect": "permit", "to": {"names": ["*"]}, "actions": ["read"], "on": ["wh.*.*"]}]}'
    )
    statement = parse(
        "SELECT id, region, id || region AS both, count(*) AS n FROM people GROUP BY ALL",
        make_catalog(),
    )
    tags = Classification(policy, "wh", make_catalog())
    names = ["id", "region", "both", "n"]
    assert list(outputs_in_clear(statement, names, tags)) == ["id", "n"]
    assert list(outputs_in_clear(statement, ["id"], tags)) == []

"""The version of a delivered result is a pure function of content and circumstances."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import pyarrow as pa
import pytest

from nbgov.core.case import Case
from nbgov.core.datasets import (
    dataset_name,
    identify_version,
    key_of,
    order_of,
    rows_key,
    version_id_of,
)
from nbgov.core.fingerprint import Fingerprinter
from nbgov.core.result_columns import ResultColumns
from nbgov.core.statement import parse
from nbgov.model import DatasetVersion, Decision, Request
from tests.core.conftest import make_catalog

SQL = "SELECT id, region FROM people WHERE id > :low AND region <> 'x' AND id < 9"
OPEN_ID = ResultColumns({"id": "open", "region": "pii"}, {"id": ("public",)}, {"id": ("wh.t.id",)})


def mac(data: bytes) -> bytes:
    """A keyed digest without a key."""
    return hashlib.sha256(data).digest()


def folded(rows: list[int]) -> Fingerprinter:
    """The fold of a result with these ids."""
    fold = Fingerprinter()
    fold.update(pa.record_batch({"id": rows, "region": ["EU"] * len(rows)}))
    return fold


def identify(
    rows: list[int], *, sql: str = SQL, values: dict[str, object] | None = None, **more: object
) -> DatasetVersion:
    """The version of a result with these ids."""
    case = Case(Request("wh", sql), id="x")
    case.statement = parse(sql, make_catalog())
    case.decision = Decision(is_permitted=True, policy_digest=bytes(32))
    case.values = values or {"low": 0}
    options = {"columns": OPEN_ID, "masked": {}, "profile": {}} | more
    return identify_version(case, fingerprint=folded(rows).finish(), mac=mac, **options)


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
        {"columns": replace(OPEN_ID, tags={})},
        {"columns": replace(OPEN_ID, origins={})},
    ],
)
def test_other_circumstances_are_another_version(change: dict[str, object]) -> None:
    """Text, bound values, their types, masks, tags and origins are part of it; the content is not."""
    assert identify([1], **change).version_id != identify([1]).version_id
    assert identify([1], **change).content_id == identify([1]).content_id


def test_an_id_covers_everything_but_the_profile() -> None:
    """Whoever holds a version can work its id out again, and any change of a field shows."""
    version = identify([1, 2])
    assert version_id_of(version) == version.version_id
    assert version_id_of(replace(version, profile={"rows": 2})) == version.version_id
    for one in fields(version):
        if one.name not in {"version_id", "profile"}:
            held = getattr(version, one.name)
            other = held + type(held)(1) if isinstance(held, int) else type(held)()
            changed = replace(version, **{one.name: other if other != held else ("more",)})
            assert version_id_of(changed) != version.version_id, one.name


def test_bound_values_are_not_kept() -> None:
    """Only their names and types are."""
    assert identify([1], values={"low": 12345}).binds == ("low: int",)
    assert "12345" not in str(replace(identify([1], values={"low": 12345}), binds_mac=""))


def test_each_literal_keeps_a_digest_in_order() -> None:
    """A comparison can say which ``?`` of the statement is another one, and nothing tells the value."""
    version = identify([1])
    assert version.statement.count("?") == len(version.literals) == 2
    other = identify([1], sql=SQL.replace("'x'", "'y'"))
    assert [a == b for a, b in zip(version.literals, other.literals, strict=True)] == [False, True]
    assert other.statement == version.statement
    assert {len(digest) for digest in version.literals} == {16}


def test_few_rows_of_a_column_that_is_not_public_keep_no_digest() -> None:
    """A digest over few values could be turned back into them."""
    assert [bool(column[2]) for column in identify([1, 2]).columns] == [True, False]
    assert [bool(column[2]) for column in identify(list(range(20))).columns] == [True, True]


def test_only_an_open_column_keeps_its_digest_as_it_is() -> None:
    """Of others an image under the key is kept, which tells nothing without it."""
    plain = folded(list(range(20))).finish().columns
    kept = identify(list(range(20))).columns
    assert kept[0] == plain[0]
    assert kept[1][2] != plain[1][2]
    assert kept == identify(list(range(20))[::-1]).columns


def test_the_order_is_veiled_unless_every_column_is_open() -> None:
    """Equal orders have equal digests either way, and no digest of closed values is kept."""
    first, other = folded([1, 2]).finish(), folded([2, 1]).finish()
    is_open = ResultColumns({"id": "open", "region": "open"})
    assert order_of(first, is_open, mac) == first.order
    veiled = order_of(first, OPEN_ID, mac)
    assert veiled not in {first.order, order_of(other, OPEN_ID, mac), ""}
    keyed = folded([1, 2]).finish(key=key_of(mac, "fingerprint"))
    assert order_of(keyed, OPEN_ID, mac) == keyed.order


def test_keys_are_one_for_each_purpose() -> None:
    """What one key has told is of no use against another."""
    assert len({key_of(mac, purpose) for purpose in ("fingerprint", "veil", "profile")}) == 3


def test_rows_are_kept_by_content_and_columns() -> None:
    """Equal rows under other names of columns, or in another order of them, are kept apart."""
    version = identify([1])
    assert rows_key(version) == rows_key(replace(version, version_id="other", policy="other"))
    assert rows_key(version) != rows_key(replace(version, schema_id="0" * 64))
    assert rows_key(version) != rows_key(replace(version, content_id="other"))


def test_a_result_is_named_after_its_tables() -> None:
    """The name that was asked for wins; a join names its tables in order."""
    joined = parse("SELECT 1 FROM people, orders", make_catalog())
    assert dataset_name(Request("wh", ""), joined) == "wh.main.orders+main.people"
    assert dataset_name(Request("wh", "", dataset="train"), joined) == "train"
    assert dataset_name(Request("wh", ""), parse("SELECT 1 AS a", make_catalog())) == "wh.values"

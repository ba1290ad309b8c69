"""What people write to mean a dataset version, and whether kept rows are those of one."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from nbgov.core.dataset_references import check_rows, find_version
from nbgov.core.fingerprint import Fingerprinter
from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.model import DatasetVersion, Delivery

A, B, C = "aaaaaa11" + "0" * 24, "aaaaaa22" + "0" * 24, "cccccc33" + "0" * 24
ROWS = pa.table({"x": [1, 2, 3]})


def read(name: str, version_id: str) -> Delivery:
    """A delivery of a version."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Delivery("r", version_id, name, "ada", "permit", (), 0, "", at)


READS = [read("train", A), read("train", B), read("test", C), read("train", A), read("cccccc", A)]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("train", A),
        ("test", C),
        (C, C),
        (C[:6], A),
        (C[:7], C),
        ("aaaaaa2", B),
        ("train@vaaaaaa2", B),
        ("test@vcccccc", C),
    ],
)
def test_a_reference_means_one_version(reference: str, found: str) -> None:
    """A name is its newest version, and goes before a start of an id; a start must be of one only."""
    assert find_version(reference, READS) == found


@pytest.mark.parametrize(
    ("reference", "next_step"),
    [
        ("aaaaaa", "give more digits of the one that is meant"),
        ("train@vaaaaaa", "give more digits of the one that is meant"),
        ("ccccc", "did you mean cccccc?"),
        ("trian", "did you mean train?"),
        ("test@vaaaaaa2", "see nbgov datasets log test"),
        ("tests@vaaaaaa2", "did you mean test?"),
        ("weather", "see nbgov datasets list"),
        ("", "see nbgov datasets list"),
        ("AAAAAA2", "see nbgov datasets list"),
    ],
)
def test_a_reference_that_means_none_or_several_says_what_to_do(
    reference: str, next_step: str
) -> None:
    """The error names near names, or asks for more digits."""
    with pytest.raises(RequestInvalid) as caught:
        find_version(reference, READS)
    assert (caught.value.code, caught.value.next_step) == ("unknown-dataset", next_step)


def version(table: pa.Table, key: bytes | None = None) -> DatasetVersion:
    """The version of a table."""
    fold = Fingerprinter(table.schema)
    for batch in table.to_batches():
        fold.update(batch)
    found = fold.finish(key=key)
    return DatasetVersion(
        version_id="v", content_id=found.content_id, schema_id=found.schema_id, name="train",
        connection="", dialect="", tables=(), statement="", statement_mac="", binds_mac="",
        binds=(), policy="", rows=found.rows, columns=found.columns, masked={},
    )  # fmt: skip


@pytest.mark.parametrize("key", [None, bytes(32)])
def test_rows_are_held_against_their_version(key: bytes | None) -> None:
    """The same rows in any order pass, others do not; under a key, too."""
    check_rows(ROWS.take([2, 0, 1]), version(ROWS, key), key=bytes(32))
    with pytest.raises(IntegrityFailed) as caught:
        check_rows(ROWS.slice(1), version(ROWS, key), key=bytes(32))
    assert caught.value.code == "rows-damaged"


def test_keyed_rows_need_their_key() -> None:
    """Under another key, nobody can tell that the rows are the same."""
    with pytest.raises(IntegrityFailed):
        check_rows(ROWS, version(ROWS, bytes(32)), key=bytes(31) + b"1")

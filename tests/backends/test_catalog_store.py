"""One suite for every store of catalog versions: numbered, each kept once, and kept for good."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nbgov.backends.memory import MemoryCatalogStore
from nbgov.backends.sqlite.catalogs import SqliteCatalogStore
from nbgov.errors import BackendFailed
from nbgov.model import Author, CatalogVersion

ONE = CatalogVersion(
    connection="wh",
    number=1,
    digest=bytes(32),
    document={"dialect": "duckdb", "tables": {"main.ü": {"columns": [["a", "INT", True, ""]]}}},
    seen_at=datetime(2026, 1, 1, 12, 30, 0, 5, tzinfo=UTC),
    principal="ada",
    record=7,
    receipt="log/7#aa",
    authors=(Author(3, "ben", "ALTER", ("main.ü",)), Author(5, "eve", "CALL", is_closed=False)),
)
TWO = replace(ONE, number=2, digest=b"2" * 32, record=9, is_searched=False)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = (
        MemoryCatalogStore()
        if request.param == "memory"
        else SqliteCatalogStore(tmp_path / "state.sqlite")
    )
    yield made
    made.close()
    made.close()


def test_versions_come_back_as_they_were_newest_first(store):
    """Of one connection; another one has versions and numbers of its own."""
    other = replace(ONE, connection="ops")
    for version in (ONE, TWO, other):
        store.add(version)
    assert store.versions("wh") == (TWO, ONE)
    assert store.last("wh") == TWO
    assert store.versions("ops") == (other,)
    assert store.last("nothing") is None


def test_the_newest_version_is_not_kept_twice(store):
    """Whoever comes second with what the first one saw adds nothing."""
    store.add(ONE)
    store.add(replace(ONE, number=2, principal="eve"))
    assert store.versions("wh") == (ONE,)


def test_what_was_there_before_may_come_back(store):
    """A change that was undone is a version of its own, under the next number."""
    for version in (ONE, TWO, replace(ONE, number=1, record=11)):
        store.add(version)
    assert [(v.number, v.digest) for v in store.versions("wh")] == [
        (3, ONE.digest),
        (2, TWO.digest),
        (1, ONE.digest),
    ]


def test_sessions_that_keep_at_once_get_numbers_of_their_own(tmp_path):
    """Eight threads with a store each keep eight versions, numbered without a gap."""
    stores = [SqliteCatalogStore(tmp_path / "state.sqlite") for _ in range(8)]
    versions = [replace(ONE, digest=bytes([n]) * 32) for n in range(8)]
    threads = [
        threading.Thread(target=store.add, args=[version])
        for store, version in zip(stores, versions, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = stores[0].versions("wh")
    assert [one.number for one in kept] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert {one.digest for one in kept} == {one.digest for one in versions}
    for store in stores:
        store.close()


def test_a_document_is_kept_once(tmp_path):
    """However often it comes back."""
    store = SqliteCatalogStore(tmp_path / "state.sqlite")
    for version in (ONE, TWO, ONE, TWO):
        store.add(version)
    with store.database.reading() as link:
        assert link.execute("SELECT count(*) FROM catalog_documents").fetchone()[0] == 2
    store.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE catalog_versions SET number = 9", "DELETE FROM catalog_versions"]
)
def test_a_version_cannot_be_taken_back(tmp_path, statement):
    """The file itself refuses to change or forget a version, also by hand."""
    store = SqliteCatalogStore(tmp_path / "state.sqlite")
    store.add(ONE)
    store.close()
    link = sqlite3.connect(tmp_path / "state.sqlite")
    with pytest.raises(sqlite3.Error, match="kept"):
        link.execute(statement)
    link.close()


def test_a_damaged_document_is_told(tmp_path):
    """A row that somebody else wrote is an error that names no content."""
    store = SqliteCatalogStore(tmp_path / "state.sqlite")
    store.add(ONE)
    store.close()
    link = sqlite3.connect(tmp_path / "state.sqlite")
    link.execute("UPDATE catalog_documents SET document = x'00'")
    link.commit()
    link.close()
    with pytest.raises(BackendFailed) as caught:
        store.last("wh")
    assert caught.value.code == "state-unavailable"
    store.close()

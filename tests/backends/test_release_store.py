"""One suite for every release store: what is kept stays, newest first."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nbgov.backends.memory import MemoryReleaseStore
from nbgov.backends.sqlite.releases import SqliteReleaseStore
from nbgov.errors import BackendFailed
from nbgov.model import Release

ONE = Release(
    model="churn", version="1", run_id="r1", model_digest="aa", lineage_digest="bb",
    inputs=("wh.flights", "wh.ü"), wish="alias champion", account="ada", ticket="t1",
    at=datetime(2026, 1, 1, 12, 30, 0, 5, tzinfo=UTC),
)  # fmt: skip


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = (
        MemoryReleaseStore()
        if request.param == "memory"
        else SqliteReleaseStore(tmp_path / "state.sqlite")
    )
    yield made
    made.close()
    made.close()


def test_releases_come_back_as_they_were_newest_first(store):
    """Of one model or of all; the same release twice is two releases."""
    others = [replace(ONE, version="2"), replace(ONE, model="pricing"), ONE]
    for one in (ONE, *others):
        store.add(one)
    assert store.releases() == (*reversed(others), ONE)
    assert store.releases("pricing") == (others[1],)
    assert store.releases("chur") == ()


def test_another_process_reads_what_was_kept(tmp_path):
    """A release is durable when it was added."""
    SqliteReleaseStore(tmp_path / "state.sqlite").add(ONE)
    assert SqliteReleaseStore(tmp_path / "state.sqlite").releases() == (ONE,)


@pytest.mark.parametrize("statement", ["UPDATE releases SET model = 'x'", "DELETE FROM releases"])
def test_a_release_cannot_be_taken_back(tmp_path, statement):
    """The file itself refuses to change or forget a release, also by hand."""
    SqliteReleaseStore(tmp_path / "state.sqlite").add(ONE)
    with (
        sqlite3.connect(tmp_path / "state.sqlite") as connection,
        pytest.raises(sqlite3.Error, match="kept"),
    ):
        connection.execute(statement)
    connection.close()


def test_a_release_that_does_not_decode_is_an_error(tmp_path):
    """A gate that cannot read its records must not go on without them."""
    store = SqliteReleaseStore(tmp_path / "state.sqlite")
    store.releases()
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        connection.execute("INSERT INTO releases (model, facts) VALUES ('churn', '{}')")
    connection.close()
    with pytest.raises(BackendFailed) as caught:
        store.releases()
    assert caught.value.code == "state-unavailable"

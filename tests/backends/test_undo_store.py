"""One behaviour suite for the UndoStore port, over every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nbgov.backends.memory import MemoryUndoStore
from nbgov.backends.sqlite.undo import SqliteUndoStore
from nbgov.model import UndoImage

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IMAGE = UndoImage(
    "r1", "t1", "ops", "main.people", "UPDATE", "ada", ("id",), ("id", "pay"), 2, AT,
    AT + timedelta(days=30), sealed="k:abc", facts={"dialect": "sqlite", "types": '["INTEGER"]'},
)  # fmt: skip


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """A store of each kind."""
    opened = MemoryUndoStore() if request.param == "memory" else SqliteUndoStore(tmp_path / "s")
    yield opened
    opened.close()


def test_an_image_comes_back_as_it_was_kept(store):
    """What was kept under a request is returned whole; another request has none."""
    store.keep(IMAGE)
    assert store.image("r1") == IMAGE
    assert store.image("r2") is None


def test_a_listing_holds_no_rows_and_begins_with_the_newest(store):
    """Listings leave the sealed rows out."""
    later = replace(IMAGE, request="r2")
    store.keep(IMAGE)
    store.keep(later)
    assert store.images() == (replace(later, sealed=""), replace(IMAGE, sealed=""))


def test_only_expired_images_are_dropped(store):
    """An image stays until the moment after it expires."""
    store.keep(IMAGE)
    assert store.drop(before=IMAGE.expires_at) == 0
    assert store.drop(before=IMAGE.expires_at + timedelta(microseconds=1)) == 1
    assert store.images() == ()

"""A profile that is made only when somebody asks for it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from nbgov.core.deferred import DeferredProfile, DeferredProfiles
from nbgov.core.drift import Profiler
from nbgov.core.fingerprint import cell_hashes

BATCHES = pa.table({"n": range(100), "t": [str(n % 7) for n in range(100)]}).to_batches(30)
LEVELS = {"n": "open"}


def filled(held_bytes_max=1 << 20):
    profile = DeferredProfile(LEVELS, BATCHES[0].schema, held_bytes_max=held_bytes_max)
    for batch in BATCHES:
        profile.update(batch, [cell_hashes(column) for column in batch.columns])
    return profile


@pytest.mark.parametrize("held_bytes_max", [0, 700, 1 << 20])
def test_a_deferred_profile_is_the_profile(held_bytes_max):
    """Held, folded at once or folded half way: the figures are those of the plain profiler."""
    plain = Profiler(LEVELS, BATCHES[0].schema)
    for batch in BATCHES:
        plain.update(batch)
    assert filled(held_bytes_max).finish() == plain.finish()


def test_rows_that_are_too_many_are_not_held():
    """Memory is bounded: past the limit nothing is held any more."""
    assert filled(700).held == []
    assert filled(700).held_bytes == 0
    assert len(filled().held) == len(BATCHES)


def test_the_oldest_results_go_first():
    """A session holds the rows of its latest results, as many as the limit allows."""
    held = filled().held_bytes
    profiles = DeferredProfiles(held_bytes_max=2 * held)
    for name in ("first", "second", "first", "third"):
        profiles.keep(name, filled())
    assert profiles.take("second") is None
    assert profiles.take("first") == filled().finish()
    assert profiles.take("first") is None
    assert list(profiles.by_version) == ["third"]

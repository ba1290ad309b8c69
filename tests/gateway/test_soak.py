"""A short soak of a gateway; ``python -m tests.gateway.soak`` is the long one."""

from __future__ import annotations

import pytest

from tests.gateway.soak import FDS_MORE_MAX, STATEMENTS, soak


@pytest.mark.slow
def test_a_gateway_under_load_grows_by_nothing_and_records_all(tmp_path):
    """Whatever clients do, each attempt has an outcome, nobody gets through, and nothing is left."""
    soaked = soak(20, 6, tmp_path)
    assert soaked.wrong == []
    assert {kind for kind, _ in soaked.answers} == set(STATEMENTS)
    assert soaked.log["attempts"] > 0
    assert (soaked.log["open"], soaked.log["running"]) == (0, 0)
    assert soaked.samples.growth(soaked.samples.fds) <= FDS_MORE_MAX

"""The memory of pure results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.memo import Memo


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 5))
def test_a_result_is_the_one_that_would_be_made(keys: list[int], entries_max: int) -> None:
    """Recalling gives what making would give, whatever was recalled or forgotten before."""
    memo, world = Memo(entries_max=entries_max), object()
    for key in keys:
        assert memo.recall((key,), world, lambda key=key: key * 2) == key * 2
        assert len(memo.held) <= entries_max


def test_another_world_is_another_result() -> None:
    """An equal key in another world is made anew, even when the worlds are equal."""
    memo = Memo()
    assert memo.recall(("k",), {}, lambda: 1) == 1
    assert memo.recall(("k",), {}, lambda: 2) == 2


def test_what_fails_is_not_remembered() -> None:
    """An error is raised again by making again, not from memory."""
    memo, world = Memo(), object()
    with pytest.raises(ZeroDivisionError):
        memo.recall(("k",), world, lambda: 1 // 0)
    assert memo.recall(("k",), world, lambda: 3) == 3

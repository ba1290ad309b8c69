"""What a consent is bound to: exact bytes, typed values, and the conditions around them."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.approval import (
    BIND_CHARS_MAX,
    binding,
    conditions,
    describe_binds,
    read_binds,
    write_binds,
)
from nbgov.errors import RequestInvalid
from nbgov.model import Decision, RowLimit
from tests.approvals import quorum

# ---- the binding

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(st.characters(codec=None), max_size=6)
    | st.binary(max_size=6)
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.timedeltas()
)
BINDS = st.dictionaries(
    st.text("ab:=\0", max_size=3), PLAIN | st.lists(PLAIN, max_size=3), max_size=3
)
WHERE = {"connection": "ops", "requester": "ada", "conditions": b"p", "catalog": b"c"}


def exactly(value):
    """What sets a bound value apart: its type, and its text or bits."""
    if isinstance(value, list):
        return ["list", *map(exactly, value)]
    if isinstance(value, float):
        return ["float", value.hex(), math.copysign(1, value)]
    if isinstance(value, (time, datetime)):
        # Which of two equal times of a clock set back is meant, no database is told.
        value = value.replace(fold=0)
    return [type(value).__name__, repr(value)]


@given(BINDS, BINDS)
def test_a_binding_tells_all_values_apart(binds, others):
    """Two sets of values share a binding exactly if they are equal in name, type and value."""
    is_same = {k: exactly(v) for k, v in binds.items()} == {
        k: exactly(v) for k, v in others.items()
    }
    assert (binding("s", binds, **WHERE) == binding("s", others, **WHERE)) == is_same


NEAR = [1, "1", True, 1.0, Decimal(1), Decimal("1.0"), b"1", None, "", [1], [[1]], [1, 1], [], -1]
NEAR += [0.0, -0.0, False, 0, "None", date(2026, 1, 1), datetime(2026, 1, 1), "2026-01-01", time(1)]
NEAR += [datetime(2026, 1, 1, tzinfo=UTC), timedelta(1), "a", "A", "a ", "\ud83d", "?", 2**70]
NEAR += [datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))), b"", "\0", "é", "e\u0301"]


def test_near_values_have_bindings_of_their_own():
    """1, '1', True and 1.0, and their like, are as many different values."""
    assert len({binding("s", {"x": value}, **WHERE) for value in NEAR}) == len(NEAR)


@pytest.mark.parametrize(
    "other",
    [
        {"sql": "SELECT  1"},
        {"sql": "select 1"},
        {"sql": "SELECT 1 "},
        {"sql": "SELECT 1 -- why"},
        {"binds": {"a": 1}},
        {"connection": "op"},
        {"requester": "adam"},
        {"conditions": b"q"},
        {"catalog": b"q"},
        {"conditions": b"pc", "catalog": b""},
        {"connection": "opsa", "requester": "da"},
    ],
)
def test_a_binding_covers_exact_bytes(other):
    """A space, a comment, a letter's case or a byte moved to the next part is another request."""
    asked = {"sql": "SELECT 1", "binds": {}, **WHERE}
    assert binding(**asked) != binding(**(asked | other))


def test_a_binding_does_not_depend_on_order_or_container():
    """Names in another order, or a tuple instead of a list, are the same request."""
    one = binding("s", {"a": 1, "b": (1, 2)}, **WHERE)
    assert one == binding("s", {"b": [1, 2], "a": 1}, **WHERE)


def test_a_binding_has_the_same_bytes_for_ever():
    """Open tickets survive an update of nbgov: the bytes of a binding are fixed."""
    found = binding("SELECT :m", {"m": [1, "x", None]}, **WHERE)
    assert found.hex() == "340ef9606dc196a2b1ca82fa014c769b8ce5d66c0b83e0f8d5c5d84c529be19d"


class Month(IntEnum):
    MAY = 5


@pytest.mark.parametrize("value", [Month.MAY, {1}, {"a": 1}, object(), 1j, [object()], [Month.MAY]])
def test_a_value_of_another_type_cannot_be_bound(value):
    """A type that could read differently to the voter and the database is refused."""
    with pytest.raises(RequestInvalid) as caught:
        binding("s", {"x": value}, **WHERE)
    assert caught.value.code == "bind-type"


def test_a_veiled_binding_tells_values_apart_and_shows_none():
    """Under a key the values of a request count for its binding, and stand nowhere."""

    def veil(data):
        return hashlib.sha256(b"key" + data).digest()

    one, other = ({"x": value} for value in ("a secret", "another one"))
    assert binding("s", one, **WHERE, veil=veil) != binding("s", other, **WHERE, veil=veil)
    assert binding("s", one, **WHERE, veil=veil) != binding("s", one, **WHERE)
    text = write_binds(one, veil=veil)
    assert text != write_binds(other, veil=veil)
    assert "secret" not in text + describe_binds(text)
    with pytest.raises(ValueError, match="cannot be read back"):
        read_binds(text)


def test_conditions_leave_votes_out_and_nothing_else():
    """Who has to vote is no condition; a limit is, in whatever order it stands."""
    plain = Decision(is_permitted=True, obligations=(RowLimit(5),))
    held = Decision(is_permitted=True, obligations=(quorum(), RowLimit(5)))
    assert conditions(plain) == conditions(held)
    other = Decision(is_permitted=True, obligations=(quorum(), RowLimit(6)))
    assert conditions(other) != conditions(held)


# ---- what is kept, and what the voter reads


@given(BINDS)
def test_written_values_come_back_exactly(binds):
    """What a ticket keeps of the values is enough to run with the very same ones."""
    back = read_binds(write_binds(binds))
    assert {k: exactly(v) for k, v in back.items()} == {k: exactly(v) for k, v in binds.items()}


def test_the_voter_reads_names_types_and_values():
    """Bound values are shown one a line, by name, with their types, and with nothing hidden."""
    binds = {"who": "O'Hara\u202e\n", "month": 1, "ids": [1, 2], "nothing": None}
    assert describe_binds(write_binds(binds)).splitlines() == [
        "ids: list = [1, 2]",
        "month: int = 1",
        "nothing: NoneType = None",
        'who: str = "O\'Hara\\u202e\\n"',
    ]


def test_a_long_value_is_cut_and_says_so():
    """Of a long value the voter sees the beginning, the length and a digest of the rest."""
    long = "x" * BIND_CHARS_MAX
    one, other = (describe_binds(write_binds({"x": long + end})) for end in "yz")
    assert f"… {len(long) + 3} characters, sha256 " in one
    assert len(one) < len(long) + 120
    assert one != other

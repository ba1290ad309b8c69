"""Sealed literals open for their own entry under their own key, and for nothing else."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core import sealing
from nbgov.errors import BackendFailed, IntegrityFailed

KEY = bytes(range(32))
NONCE = bytes(12)
DAY = date(2026, 1, 2)


def mac(data: bytes) -> bytes:
    """A keyed digest."""
    return hmac.digest(b"key", data, hashlib.sha256)


def name(principal: str = "ada") -> str:
    """The name of a key."""
    return sealing.key_name(sealing.key_id(mac, principal), DAY)


def sealed(data: bytes, context: str = "r1") -> str:
    """Data under one key."""
    return sealing.seal(data, key=KEY, name=name(), nonce=NONCE, context=context)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_comes_back(data: bytes, context: str) -> None:
    """Unsealing is the inverse of sealing, in the same context."""
    assert sealing.unseal(sealed(data, context), key={name(): KEY}.get, context=context) == data


@given(st.data(), st.binary(min_size=1, max_size=50))
def test_one_bit_keeps_it_shut(data: st.DataObject, secret: bytes) -> None:
    """Nothing of it opens once a character was changed, and the error says so."""
    text = sealed(secret)
    place = data.draw(st.integers(text.index(":") + 1, len(text) - 1))
    other = data.draw(st.sampled_from("AZaz09+/=").filter(lambda c: c != text[place]))
    edited = text[:place] + other + text[place + 1 :]
    try:
        opened = sealing.unseal(edited, key={name(): KEY}.get, context="r1")
    except IntegrityFailed as error:
        assert error.code == "seal-broken"  # noqa: PT017 - the last bits of base64 may mean nothing
    else:
        assert opened == secret


@pytest.mark.parametrize(("key", "context"), [(KEY, "r2"), (bytes(32), "r1")])
def test_another_context_or_key_keeps_it_shut(key: bytes, context: str) -> None:
    """A text that was moved to another entry, or that meets another key, does not open."""
    with pytest.raises(IntegrityFailed) as caught:
        sealing.unseal(sealed(b"x"), key={name(): key}.get, context=context)
    assert caught.value.code == "seal-broken"


def test_a_key_that_is_gone_is_told_from_a_damaged_text() -> None:
    """Whoever reads an erased entry learns that it was erased."""
    with pytest.raises(BackendFailed) as caught:
        sealing.unseal(sealed(b"x"), key={}.get, context="r1")
    assert caught.value.code == "seal-erased"


def test_the_name_of_a_key_shows_nobody() -> None:
    """Principals have keys of their own, one a day, whose names do not tell who they are."""
    assert name("ada") != name("eve")
    assert "ada" not in name("ada")
    assert (
        sealing.key_name("0" * 32, datetime(2026, 1, 2, 23, tzinfo=UTC)) == "0" * 32 + "-20260102"
    )
    assert sealing.is_before(name(), date(2026, 1, 3))
    assert not sealing.is_before(name(), DAY)

"""Keys: one secret, a subkey for each purpose, and nothing that shows it."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.masks import Keys, Operator, cover, parse_operator
from nbgov.core.masks.keys import Task, digests, numbers
from nbgov.errors import ConfigInvalid

SECRET = b"a secret that nobody may ever see"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/masks.json").read_text())

KINDS = {
    str(kind): kind
    for kind in (pa.string(), pa.binary(), pa.binary(16), pa.int32(), pa.int64(), pa.uint64())
}


def expanded(secret: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 as RFC 5869 writes it, for one block."""
    extracted = hmac.new(b"nbgov masks, version 1", secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def test_keys_show_themselves_to_nobody() -> None:
    """Neither text, nor a task, nor a pickle or copy of keys holds the secret."""
    keys = Keys(SECRET)
    task = Task(Operator("token"), keys, "email")
    for shown in (repr(keys), str(keys), f"{keys}", repr(task), repr([keys])):
        assert "secret" not in shown
        assert "hidden" in shown
    for leak in (pickle.dumps, copy.deepcopy, asdict):
        with pytest.raises(TypeError):
            leak(task)


def test_an_empty_secret_is_none() -> None:
    """Without a secret anybody could make a token, so it is refused."""
    with pytest.raises(ConfigInvalid) as caught:
        Keys(b"")
    assert caught.value.code == "key-short"


@given(st.binary(min_size=1, max_size=100), st.sampled_from(["a", "b"]), st.text(max_size=20))
def test_a_subkey_is_hkdf(secret: bytes, purpose: str, domain: str) -> None:
    """Subkeys are those of RFC 5869, one for each purpose and domain, and never the secret."""
    made = Keys(secret).subkey(purpose, domain)
    info = purpose.encode() + b"\0" + domain.encode(errors="surrogatepass")
    assert made == expanded(secret, info)
    assert made != secret
    assert made != Keys(secret).subkey(purpose + "x", domain)
    assert made != Keys(secret).subkey(purpose, domain + "x")
    assert made != Keys(secret + b"x").subkey(purpose, domain)


@given(
    st.binary(min_size=1, max_size=100),
    st.lists(st.binary(max_size=200), max_size=8),
    st.integers(0, 3),
)
def test_digests_are_hmac(key: bytes, values: list[bytes], start: int) -> None:
    """Every value's digest is HMAC-SHA256, also of a slice of an array."""
    array = pa.array(values, pa.large_binary()).slice(start)
    expected = [hmac.new(key, value, hashlib.sha256).digest() for value in values[start:]]
    assert [row.tobytes() for row in digests(array, key)] == expected
    assert numbers(array, key).tolist() == [int.from_bytes(one[:8], "big") for one in expected]


@pytest.mark.parametrize("vector", VECTORS["subkeys"], ids=lambda one: one["purpose"])
def test_the_bytes_of_subkeys_are_those_of_the_specification(vector: dict[str, str]) -> None:
    """A subkey never changes, as data that was masked with it is kept."""
    made = Keys(bytes.fromhex(vector["key"])).subkey(vector["purpose"], vector["domain"])
    assert made.hex() == vector["subkey"]


@pytest.mark.parametrize("vector", VECTORS["masks"], ids=lambda one: one["case"])
def test_the_values_of_masks_are_those_of_the_specification(vector: dict[str, Any]) -> None:
    """What a key makes of a value never changes, from release to release."""
    kind = vector["type"]
    is_binary = "binary" in kind
    array = pa.array(
        [bytes.fromhex(vector["value"]) if is_binary else vector["value"]], KINDS[kind]
    )
    subject = vector.get("subject")
    made = cover(
        array,
        parse_operator(vector["operator"]),
        keys=Keys(bytes.fromhex(vector["key"])),
        domain=vector["domain"],
        subjects=None if subject is None else pa.array([subject]),
    )[0].as_py()
    assert (made.hex() if is_binary else made) == vector["masked"]

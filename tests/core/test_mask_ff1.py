"""FF1: NIST's own vectors, what stays of the form, and what is too small to be encrypted."""

from __future__ import annotations

import json
from pathlib import Path

import fastfpe.ff1
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.masks import Keys
from nbgov.core.masks.ff1 import ALPHABETS, DOMAIN_MIN, LENGTH_MAX, shortest
from nbgov.errors import ConfigInvalid
from tests.core.mask_scene import KEYS, masked

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/ff1.json").read_text())
KEY = KEYS.subkey("ff1", "column").hex()
TWEAK = b"column".hex()


def opened(secret: str, alphabet: str) -> str:
    """What was encrypted. Only tests decrypt."""
    return str(fastfpe.ff1.decrypt(KEY, TWEAK, alphabet, secret))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
def test_the_library_passes_the_vectors_of_nist(vector: dict[str, str]) -> None:
    """Encryption and decryption are those of SP 800-38G, for every sample of FF1."""
    given = vector["key"], vector["tweak"], vector["alphabet"]
    assert fastfpe.ff1.encrypt(*given, vector["plain"]) == vector["secret"]
    assert fastfpe.ff1.decrypt(*given, vector["secret"]) == vector["plain"]


@given(st.data(), st.sampled_from(sorted(ALPHABETS)))
def test_every_value_can_be_decrypted_with_the_key(data: st.DataObject, name: str) -> None:
    """The mask is FF1 with AES-256 under the subkey of the domain, with the domain as tweak."""
    alphabet = ALPHABETS[name]
    plain = data.draw(st.text(alphabet, min_size=shortest(alphabet), max_size=40))
    [secret] = masked([plain], f"ff1:{name}" if name else "ff1")
    assert len(secret) == len(plain)
    assert set(secret) <= set(alphabet)
    assert opened(secret, alphabet) == plain


def test_separators_stay_in_their_places() -> None:
    """Punctuation and blanks stay, and a number means the same however it is written."""
    cards = ["4111-1111-1111-1234", "4111 1111 1111 1234", "4111111111111234"]
    made = masked(cards, "ff1")
    assert [[i for i, c in enumerate(text) if not c.isdigit()] for text in made] == [
        [4, 9, 14],
        [4, 9, 14],
        [],
    ]
    assert len({text.replace("-", "").replace(" ", "") for text in made}) == 1
    assert masked(["ada@example.com"], "ff1:lower")[0][3::8] == "@."


def test_a_domain_and_a_key_make_a_value_another_one() -> None:
    """Two columns do not join where their domains differ, nor do two keys."""
    one, other = (
        masked(["4111111111111234"], "ff1"),
        masked(["4111111111111234"], "ff1", domain="b"),
    )
    assert one != other
    assert masked(["4111111111111234"], "ff1", keys=Keys(b"another key")) != one


@pytest.mark.parametrize("name", sorted(ALPHABETS))
def test_a_text_of_too_small_a_domain_is_redacted(name: str) -> None:
    """Texts of fewer than a million possible ones are hidden whole, not encrypted."""
    alphabet, text = ALPHABETS[name], f"ff1:{name}" if name else "ff1"
    length = shortest(alphabet)
    assert len(alphabet) ** length >= DOMAIN_MIN > len(alphabet) ** (length - 1)
    assert masked([alphabet[1] * (length - 1)], text) == ["***"]
    assert masked([alphabet[1] * length], text) != ["***"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "n/a",
        "-- --",
        "12345",
        "1234567a",
        "\uff11\uff12\uff13\uff14\uff15\uff16\uff17",
        "\u0661\u0662\u0663\u0664\u0665\u0666\u0667",
        "1" * (LENGTH_MAX + 1),
    ],
)
def test_what_is_not_of_the_alphabet_is_redacted(value: str) -> None:
    """Letters, digits of other scripts and endless numbers are hidden whole, not let through."""
    assert masked([value, None], "ff1") == ["***", None]
    assert masked(["1" * LENGTH_MAX], "ff1") != ["***"]


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint32(), pa.int64(), pa.uint64()], ids=str)
@given(data=st.data())
def test_integers_stay_integers_of_their_length(kind: pa.DataType, data: st.DataObject) -> None:
    """Sign and number of digits stay, the type holds the result, and different values differ."""
    limits = np.iinfo(kind.to_pandas_dtype())
    values = data.draw(
        st.lists(
            st.integers(int(limits.min), int(limits.max)), min_size=1, max_size=20, unique=True
        )
    )
    made = masked(pa.array(values, kind), "ff1:alnum")
    for value, secret in zip(values, made, strict=True):
        if abs(value) < 10**6 or abs(value) > limits.max:
            assert secret is None
        else:
            assert len(str(secret)) == len(str(value))
            assert (secret < 0) == (value < 0)
    assert len({one for one in made if one is not None}) == sum(one is not None for one in made)


def test_the_least_integer_has_no_counterpart() -> None:
    """The value without a positive one of its size is null, as is what has fewer than seven digits."""
    assert masked(pa.array([-(2**31), 999_999, 0, None], pa.int32()), "ff1") == [None] * 4


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int16(), pa.uint16()], ids=str)
def test_a_type_of_too_few_values_is_refused(kind: pa.DataType) -> None:
    """A type in which no value could be hidden is an error that names the column."""
    with pytest.raises(ConfigInvalid, match="'column'") as caught:
        masked(pa.array([1], kind), "ff1")
    assert caught.value.code == "mask-domain-small"

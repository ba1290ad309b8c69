"""Tokens: those of the database engines, and of the same type; and the ends of texts."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.masks import Keys
from nbgov.core.pseudonym import expression, pads, token
from tests.core.mask_scene import KEYS, TEXTS, masked

VECTORS = Path(__file__).parents[1] / "vectors/pseudonym.json"


@given(st.lists(st.text() | TEXTS, max_size=20))
def test_a_token_is_the_pseudonym_of_every_engine(values: list[str]) -> None:
    """A column's tokens are those of nbgov.core.pseudonym, so that they join with SQL's."""
    values = [value.encode(errors="replace").decode() for value in values]
    assert masked(pa.array(values, pa.string()), "token") == [
        token(v, KEYS.current) for v in values
    ]


def test_tokens_join_with_what_a_database_masked() -> None:
    """DuckDB's own expression and the mask give one token for one value."""
    values = ["Ada", "ada", "", "zoë@ü.example", "日本語", "x" * 5000]
    with duckdb.connect() as connection:
        inner, outer = pads(KEYS.current)
        connection.execute("SET VARIABLE nbgov_inner = ?::BLOB", [inner])
        connection.execute("SET VARIABLE nbgov_outer = ?::BLOB", [outer])
        made = connection.execute(
            f"SELECT {expression('v', 'duckdb')} FROM (SELECT unnest(?) AS v)", [values]
        )
        assert [row[0] for row in made.fetchall()] == masked(values, "token")


def test_a_token_depends_on_the_key_and_on_nothing_else() -> None:
    """Another key makes another token; another column does not, so that columns join."""
    one = masked(["Ada"], "token")
    assert masked(["Ada"], "token", domain="elsewhere") == one
    assert masked(["Ada"], "token", keys=Keys(b"another key")) != one


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_bytes_have_tokens_of_bytes(kind: pa.DataType) -> None:
    """Bytes become 32 bytes that only the key makes, in every type alike."""
    key = KEYS.subkey("token of bytes")
    made = masked(pa.array([b"Ada", b"", None, b"\xff"], kind), "token")
    assert made == [
        hmac.digest(key, v, hashlib.sha256) if v is not None else None
        for v in (b"Ada", b"", None, b"\xff")
    ]


def test_bytes_of_a_fixed_size_keep_it() -> None:
    """A UUID's token is a UUID's size; what is longer than a digest ends with zeros."""
    digest = hmac.digest(KEYS.subkey("token of bytes"), bytes(16), hashlib.sha256)
    assert masked(pa.array([bytes(16)], pa.binary(16)), "token") == [digest[:16]]
    long = masked(pa.array([bytes(40), None], pa.binary(40)), "token")
    assert len(long[0]) == 40
    assert long[0].endswith(bytes(8))
    assert long[1] is None
    whole = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16)))
    assert masked(whole, "token")[0].bytes == digest[:16]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_integers_have_tokens_of_64_bits(values: list[int]) -> None:
    """An integer's token is the same number of 64 bits in both types, and different ones differ."""
    key = KEYS.subkey("token of integers")
    signed, unsigned = (
        masked(pa.array(values, kind), "token") for kind in (pa.int64(), pa.uint64())
    )
    expected = [
        int.from_bytes(hmac.digest(key, str(v).encode(), "sha256")[:8], "big") for v in values
    ]
    assert unsigned == expected
    assert [number % 2**64 for number in signed] == expected
    assert len(set(signed)) == len(set(values))


@pytest.mark.parametrize(
    ("value", "kept", "shaped"),
    [
        ("4111-1111-1111-1234", "***1234", "****-****-****-1234"),
        ("Grace Hopper", "***pper", "***** **pper"),
        ("123456789", "***6789", "*****6789"),
        ("12345678", "***", "***"),
        ("Zoë", "***", "***"),
        ("", "***", "***"),
        ("日本語日本語日本語", "***語日本語", "*****語日本語"),
    ],
)
def test_partial_keeps_the_end_of_a_text_that_is_long_enough(
    value: str, kept: str, shaped: str
) -> None:
    """More than half of the characters are hidden, or all; the shape may stay."""
    assert masked([value, None], "partial:4") == [kept, None]
    assert masked([value, None], "partial:4:shape") == [shaped, None]


@given(st.text(), st.integers(1, 10))
def test_partial_hides_more_than_it_keeps(value: str, kept: int) -> None:
    """Of no text more than its last characters is left, and never half of it."""
    value = value.encode(errors="replace").decode()
    [made] = masked([value], f"partial:{kept}")
    tail = made.removeprefix("***")
    assert value.endswith(tail)
    assert len(tail) in {0, kept}
    assert not tail or len(value) > 2 * kept

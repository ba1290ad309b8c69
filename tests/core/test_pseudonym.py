"""Pseudonyms: the same token from Python and from every engine. Vectors: ``tests/vectors/pseudonym.json``."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.pseudonym import expression, holds_token, pads, token
from tests.core.engines import DIALECTS, Product, open_product

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/pseudonym.json").read_text())
KEY = bytes(range(32))
VALUES = [
    "", " ", "Ada", "ada", "Ada ", "o'x", 'a"b', "a\\b", "\\x41", "%s", ":x", "zoë@ü.example", "日本語", "😀",
    "e\u0301", "\u00e9", "\n\t\r", "***", "NULL", "x" * 5000, "ß" * 3000,
]  # fmt: skip
# What a text column of the dialect is called, and a text that no quote or backslash can end.
TEXT = {
    "duckdb": "VARCHAR",
    "mysql": "LONGTEXT CHARACTER SET utf8mb4",
    "postgres": "text",
    "sqlite": "TEXT",
}
LITERAL = {
    "duckdb": "system.main.decode(system.main.unhex('{}'))",
    "mysql": "CONVERT(UNHEX('{}') USING utf8mb4)",
    "postgres": "convert_from(decode('{}', 'hex'), 'UTF8')",
    "sqlite": "CAST(X'{}' AS TEXT)",
}


@pytest.fixture(params=DIALECTS)
def product(request):
    with open_product(request, request.param, "pseudonyms", pads=pads(KEY)) as opened:
        if opened.dialect == "sqlite":
            opened.cursor.connection.create_function(
                "nbgov_token", 1, lambda value: token(value, KEY), deterministic=True
            )
        yield opened


def tokens_of(product: Product, kind: str, values: list[str]) -> list[str | None]:
    """The tokens that an engine makes of the values of a column of a type, in order."""
    product.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (i INTEGER, v {kind})")
    for place, value in enumerate(values):
        text = LITERAL[product.dialect].format(value.encode().hex())
        product.run(f"INSERT INTO t VALUES ({place}, {text})")
    read = expression("v", product.dialect)
    rows = product.rows(f"SELECT CASE WHEN v IS NULL THEN NULL ELSE {read} END FROM t ORDER BY i")
    return [row[0] for row in rows]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
def test_the_bytes_are_those_of_the_specification(vector: dict[str, str]) -> None:
    """Key, value, pads and token are those of the vectors, which never change."""
    key = bytes.fromhex(vector["key"])
    assert token(bytes.fromhex(vector["value"]).decode(), key) == vector["token"]
    assert [pad.hex() for pad in pads(key)] == [vector["inner"], vector["outer"]]


def test_every_engine_makes_the_same_token(product: Product) -> None:
    """Unicode, quotes, backslashes, nothing and much: each engine agrees with Python."""
    assert tokens_of(product, TEXT[product.dialect], VALUES) == [token(v, KEY) for v in VALUES]


def test_every_vector_holds_on_every_engine(request, product: Product) -> None:
    """The vectors that were made for the key of the session hold for each engine too."""
    chosen = [v for v in VECTORS if v["key"] == KEY.hex()]
    values = [bytes.fromhex(v["value"]).decode() for v in chosen]
    assert len(chosen) > 5
    assert tokens_of(product, TEXT[product.dialect], values) == [v["token"] for v in chosen]


@pytest.mark.parametrize("key", [b"", b"k", b"x" * 64, b"x" * 65, bytes(range(256))], ids=len)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_key_of_any_length_is_one_key(request, dialect: str, key: bytes) -> None:
    """A key that is longer than a block is hashed first, everywhere (RFC 2104)."""
    with open_product(request, dialect, "pseudonym_keys", pads=pads(key)) as product:
        if dialect == "sqlite":
            product.cursor.connection.create_function(
                "nbgov_token", 1, lambda value: token(value, key)
            )
        assert tokens_of(product, TEXT[dialect], ["Ada"]) == [token("Ada", key)]


@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "ucs2", "utf16", "utf32"])
def test_a_character_set_is_not_in_the_token(request, charset: str) -> None:
    """MariaDB stores one text in many ways; the token is that of its characters."""
    with open_product(request, "mysql", "pseudonym_charsets", pads=pads(KEY)) as product:
        for collation in ("", f" COLLATE {charset}_bin"):
            kind = f"VARCHAR(40) CHARACTER SET {charset}{collation}"
            values = ["zoë", "Ada", "o'x\\y", ""]
            assert tokens_of(product, kind, values) == [token(v, KEY) for v in values]


def test_padding_is_not_in_the_token(request) -> None:
    """``character(n)`` is the text without its padding, on PostgreSQL and on MariaDB."""
    for dialect in ("postgres", "mysql"):
        with open_product(request, dialect, "pseudonym_padding", pads=pads(KEY)) as product:
            assert tokens_of(product, "character(9)", ["Ada", ""]) == [
                token("Ada", KEY),
                token("", KEY),
            ]


def test_nothing_stays_nothing(product: Product) -> None:
    """NULL has no pseudonym, so that its absence still shows."""
    product.run(f"CREATE TABLE n (v {TEXT[product.dialect]})", "INSERT INTO n VALUES (NULL)")
    assert product.rows(f"SELECT {expression('v', product.dialect)} FROM n") == [(None,)]


def test_no_pads_no_token(request) -> None:
    """A session that does not know the key makes no token, and no constant either."""
    with open_product(request, "postgres", "pseudonym_absent", pads=(b"", b"")) as product:
        other = expression("v", "postgres").replace("nbgov.", "nowhere.")
        with pytest.raises(Exception, match="nowhere"):
            product.rows(f"SELECT {other} FROM (SELECT 'a'::text AS v) q")
    with open_product(request, "duckdb", "absent") as product:
        other = expression("v", "duckdb").replace("nbgov_", "nowhere_")
        assert product.rows(f"SELECT {other} FROM (SELECT 'a' AS v)") == [(None,)]


def test_a_function_of_somebody_else_does_not_see_the_value(request) -> None:
    """Where functions can be redefined, the expression means the engine's own."""
    with open_product(request, "duckdb", "shadow", pads=pads(KEY)) as product:
        product.run(
            *(
                f"CREATE MACRO {name}(x) AS x"
                for name in ("sha256", "encode", "unhex", "getvariable")
            )
        )
        product.run('CREATE MACRO "left"(x, n) AS x')
        assert product.rows("SELECT sha256('a'), encode('a')") == [("a", "a")]
        assert tokens_of(product, "VARCHAR", ["Ada"]) == [token("Ada", KEY)]
    with open_product(request, "postgres", "shadow", pads=pads(KEY)) as product:
        product.run(
            "CREATE FUNCTION sha256(varchar) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'",
            "CREATE FUNCTION convert_to(varchar, text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'",
        )
        assert tokens_of(product, "varchar(40)", ["Ada"]) == [token("Ada", KEY)]


@given(st.binary(max_size=200), st.text())
def test_a_token_is_hmac_cut_to_128_bits(key: bytes, value: str) -> None:
    """The pads make HMAC-SHA256, and a token is its first half."""
    value = value.encode(errors="replace").decode()
    inner, outer = pads(key)
    nested = hashlib.sha256(outer + hashlib.sha256(inner + value.encode()).digest()).hexdigest()
    assert nested == hmac.new(key, value.encode(), hashlib.sha256).hexdigest()
    assert token(value, key) == "tok_" + nested[:32]


@given(st.text(), st.text(), st.text())
def test_what_a_mask_leaves_is_recognised_in_any_text(before: str, value: str, after: str) -> None:
    """A pseudonym, and the sign of redaction, are found wherever they stand."""
    value = value.encode(errors="replace").decode()
    assert holds_token(before + token(value, KEY) + after)
    assert holds_token(before + "***" + after)


@pytest.mark.parametrize(
    "text", ["", "tok_", "tok_0123456789abcdef", "token", "* * *", "**", "2 ** 3"]
)
def test_an_ordinary_text_holds_no_token(text: str) -> None:
    """A prefix alone, or two stars, are what people write."""
    assert not holds_token(text)

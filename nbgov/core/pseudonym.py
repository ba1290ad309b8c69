"""Keyed pseudonyms: the same value reads as the same token on every engine, and joins survive.

A token is HMAC-SHA256 of the value's UTF-8 bytes, cut to 128 bits, in hexadecimal, after a prefix.
Each engine computes it by itself from two pads that its session holds, so that neither key nor
value leaves it, and no key stands in SQL text. What a token gives away is equality and frequency.
``docs/spec/pseudonym.md`` fixes the bytes, ``tests/vectors/pseudonym.json`` holds vectors.
"""

from __future__ import annotations

import hashlib
import hmac
import re

PREFIX = "tok_"
# 32 digits are 128 bits: RFC 2104 asks for half of the hash at least, and two of 10**9 values share
# a token with a probability below 10**-20. The whole is as long as a UUID's text, so that columns
# made for short names take it.
DIGITS = 32
REDACTED = "***"
BLOCK_BYTES = 64
TOKEN = re.compile(rf"{PREFIX}[0-9a-f]{{{DIGITS}}}")

# One expression for each engine. Security: every function is named with its schema where the
# engine has schemas for functions, as a function of somebody's own could stand in for it and see
# the value. PostgreSQL's pads are hexadecimal text, with or without the prefix of a bytea.
EXPRESSIONS = {
    "duckdb": "'{prefix}' || system.main.left(system.main.sha256("
    "system.main.getvariable('nbgov_outer') || system.main.unhex(system.main.sha256("
    "system.main.getvariable('nbgov_inner') || system.main.encode({column})))), {digits})",
    "mysql": "CONVERT(CONCAT('{prefix}', LEFT(SHA2(CONCAT(@nbgov_outer, UNHEX(SHA2(CONCAT("
    "@nbgov_inner, CAST(CONVERT({column} USING utf8mb4) AS BINARY)), 256))), 256), {digits}))"
    " USING ascii)",
    "postgres": "'{prefix}' || pg_catalog.left(pg_catalog.encode(pg_catalog.sha256("
    "pg_catalog.decode(pg_catalog.right(pg_catalog.current_setting('nbgov.outer'), 128), 'hex')"
    " || pg_catalog.sha256("
    "pg_catalog.decode(pg_catalog.right(pg_catalog.current_setting('nbgov.inner'), 128), 'hex')"
    " || pg_catalog.convert_to(CAST({column} AS pg_catalog.text), 'UTF8'))), 'hex'), {digits})",
    "sqlite": "CASE WHEN {column} IS NOT NULL THEN nbgov_token(CAST({column} AS TEXT)) END",
}


def token(value: str, key: bytes) -> str:
    """The pseudonym of a text.

    Example:
        >>> token("Ada", b"a key")
        'tok_c301695ef8d81b18f18d7f425fa7e34d'
    """
    digest = hmac.new(key, value.encode(), hashlib.sha256).hexdigest()
    return PREFIX + digest[:DIGITS]


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The inner and the outer pad of a key, 64 bytes each (RFC 2104).

    They are what an engine needs instead of the key, and as secret as the key itself.
    """
    block = hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key
    block = block.ljust(BLOCK_BYTES, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def expression(column: str, dialect: str) -> str:
    """The SQL expression of a column's pseudonym; NULL stays NULL.

    The session that runs it must hold the pads: PostgreSQL in the settings ``nbgov.inner`` and
    ``nbgov.outer`` (hexadecimal), DuckDB in the variables ``nbgov_inner`` and ``nbgov_outer``
    (BLOB), MySQL and MariaDB in ``@nbgov_inner`` and ``@nbgov_outer`` (binary). SQLite has the
    function ``nbgov_token``, which is :func:`token`.

    Args:
        column: The column, quoted.
        dialect: ``duckdb``, ``mysql``, ``postgres`` or ``sqlite``.
    """
    return EXPRESSIONS[dialect].format(column=column, prefix=PREFIX, digits=DIGITS)


def holds_token(text: str) -> bool:
    """Whether a text holds what a mask has left: a pseudonym, or the sign of redaction.

    Example:
        >>> holds_token("Dr. ***"), holds_token("2 * 2 ** 3")
        (True, False)
    """
    return REDACTED in text or TOKEN.search(text) is not None

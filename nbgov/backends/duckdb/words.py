"""Arithmetic modulo 2^64 in DuckDB's SQL: each function takes and makes the text of an expression.

A word is a UBIGINT. DuckDB raises where a UBIGINT overflows, so products and sums are made in
UHUGEINT and cut afterwards. Spec: ``docs/spec/fingerprint.md`` sections 1 and 4.
"""

from __future__ import annotations

from nbgov.core.fingerprint.mixing import FACTOR_1, FACTOR_2, LENGTH, STEP, WORD_MASK


def wide(value: str | int) -> str:
    """A word where products do not overflow."""
    return f"{value}::UHUGEINT"


def word(value: str) -> str:
    """A wide number that is not negative, cut to a word."""
    return f"(({value}) & {wide(WORD_MASK)})::UBIGINT"


def signed(value: str) -> str:
    """A number that fits HUGEINT, cut to a word; negative ones to their two's complement."""
    modulus = f"{WORD_MASK + 1}::HUGEINT"
    return f"((({value})::HUGEINT % {modulus} + {modulus}) % {modulus})::UBIGINT"


def total(value: str) -> str:
    """The sum of a column of words. DuckDB sums UHUGEINT as rounded floats, but HUGEINT exactly."""
    return f"coalesce(sum({value}::HUGEINT), 0) % {WORD_MASK + 1}::HUGEINT"


def mix(value: str) -> str:
    """The mixed word."""
    return f"{mix_all(f'[{value}]')}[1]"


def mix_all(values: str) -> str:
    """A list of mixed words. A lambda gives a step its value by name, and it is written once."""
    for shift, factor in ((30, FACTOR_1), (27, FACTOR_2)):
        step = word(f"{wide(f'xor(w, w >> {shift})')} * {wide(int(factor))}")
        values = f"list_transform({values}, lambda w: {step})"
    return f"list_transform({values}, lambda w: xor(w, w >> 31))"


def list_total(words: str) -> str:
    """The sum of a list of words, as a wide number."""
    inner = f"list_transform({words}, lambda w: w::HUGEINT)"
    return f"(coalesce(list_sum({inner}), 0::HUGEINT) % {WORD_MASK + 1}::HUGEINT)::UHUGEINT"


def step(place: str) -> str:
    """What the word at a place of a list is told apart by; places count from 1."""
    return f"(({wide(place)} * {wide(int(STEP))}) & {wide(WORD_MASK)})"


def length(count: str) -> str:
    """What a length adds to a word."""
    return f"(({wide(count)} * {wide(int(LENGTH))}) & {wide(WORD_MASK)})"

"""FF1: encryption that keeps the form of a value (NIST SP 800-38G), made by the library fastfpe.

Only characters of the alphabet are encrypted; ASCII punctuation and blanks stay in their places. A
text with any other character, or with too few of the alphabet, is not covered. The tweak is the
domain. ``docs/spec/masks.md`` fixes the bytes, and ``tests/vectors/ff1.json`` holds the sample
vectors of NIST. Nothing here decrypts. The cases are in ``tests/core/test_mask_ff1.py``.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import fastfpe.ff1
import pyarrow as pa

from nbgov.core.masks.keys import Task

__all__ = ["ALPHABETS", "DOMAIN_MIN", "integers", "texts"]

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALPHABETS = {
    "": DIGITS,
    "digits": DIGITS,
    "hex": DIGITS + "abcdef",
    "lower": LOWER,
    "upper": UPPER,
    "letters": UPPER + LOWER,
    "alnum": DIGITS + UPPER + LOWER,
    "alnum-lower": DIGITS + LOWER,
    "alnum-upper": DIGITS + UPPER,
}
# Security: a domain with fewer values can be tried from end to end (SP 800-38G, revision 1).
DOMAIN_MIN = 10**6
# An integer of seven digits that does not begin with zero is one of nine million.
INTEGER_DIGITS_MIN = 7
# The work grows with the square of the length, and no identifier is longer.
LENGTH_MAX = 256
SEPARATORS = str.maketrans(dict.fromkeys(string.punctuation + " "))


def cipher(task: Task, alphabet: str) -> Callable[[str], str]:
    """What encrypts a text of an alphabet."""
    # Spec masks 4. The key has 32 bytes, so this is AES-256.
    key = task.keys.subkey("ff1", task.domain).hex()
    tweak = task.domain.encode(errors="surrogatepass").hex()
    return lambda plain: str(fastfpe.ff1.encrypt(key, tweak, alphabet, plain))


def texts(values: pa.Array, task: Task) -> pa.Array:
    """Each text with its characters of the alphabet encrypted, together, in their places."""
    alphabet = ALPHABETS[task.operator.argument]
    encrypt = cipher(task, alphabet)
    length_min = shortest(alphabet)
    made: list[str | None] = []
    for value in values.to_pylist():
        plain = value.translate(SEPARATORS)
        if not length_min <= len(plain) <= LENGTH_MAX or plain.strip(alphabet):
            made.append(None)
            continue
        secret = encrypt(plain)
        made.append(secret if len(plain) == len(value) else in_places(secret, value))
    return pa.array(made, pa.large_string())


def shortest(alphabet: str) -> int:
    """The least number of characters of an alphabet that are a domain of a million texts."""
    length = 1
    while len(alphabet) ** length < DOMAIN_MIN:
        length += 1
    return length


def in_places(secret: str, value: str) -> str:
    """The secret's characters in the places of the value's that are no separators."""
    characters = iter(secret)
    return "".join(c if ord(c) in SEPARATORS else next(characters) for c in value)


def integers(values: pa.Array, task: Task) -> pa.Array:
    """Each integer encrypted to one of as many decimal digits, of its sign and within its type."""
    encrypt = cipher(task, DIGITS)
    largest = 2 ** (values.type.bit_width - pa.types.is_signed_integer(values.type)) - 1
    made = [walked(value, largest, encrypt) for value in values.to_pylist()]
    return pa.array(made, values.type)


def walked(value: int, largest: int, encrypt: Callable[[str], str]) -> int | None:
    """An integer encrypted, and again until the type holds it and it does not begin with zero.

    Walking is a permutation of the integers of one length: it comes back to the value itself at
    the latest.
    """
    secret = str(abs(value))
    if len(secret) < INTEGER_DIGITS_MIN or abs(value) > largest:
        return None
    while True:
        secret = encrypt(secret)
        if secret[0] != "0" and int(secret) <= largest:
            return int(secret) if value >= 0 else -int(secret)

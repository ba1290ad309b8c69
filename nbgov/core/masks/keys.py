"""Keys: one secret, a subkey for each purpose, and digests of many values under one of them.

Everything that a mask makes with a key comes from here, so that no purpose learns anything of
another one: a token says nothing of a surrogate, and the FF1 key of one domain opens no other.
``docs/spec/masks.md`` fixes the bytes. Where the secret is kept is not known here. The cases are
in ``tests/core/test_mask_keys.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from nbgov.core.masks.operators import Operator
from nbgov.core.pseudonym import pads
from nbgov.errors import ConfigInvalid

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["UNKEYED", "Keys", "Task", "digests", "numbers"]

Digests: TypeAlias = npt.NDArray[np.uint8]
SALT = b"nbgov masks, version 1"


class Keys:
    """The secret behind every keyed mask. It shows itself to nobody, and is not pickled.

    Args:
        current: The secret. With another one every token, surrogate and shift is another one.

    Raises:
        ConfigInvalid: The secret is empty.

    Example:
        >>> Keys(b"a key")
        Keys(hidden)
    """

    __slots__ = ("__current",)

    def __init__(self, current: bytes) -> None:
        if not current:
            raise ConfigInvalid(
                "A key of masks is empty.",
                code="key-short",
                why="anybody could make what is masked without a key",
                next_step="make one: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        self.__current = current

    def __repr__(self) -> str:
        return "Keys(hidden)"

    def __reduce__(self) -> NoReturn:
        # Security: a pickle of a task or of a traceback's frame must not carry the secret along.
        raise TypeError("keys are not pickled")

    @property
    def current(self) -> bytes:
        """The secret itself. Pseudonyms are made with it, as the database engines do."""
        return self.__current

    def subkey(self, purpose: str, domain: str = "") -> bytes:
        """A key of 32 bytes for one purpose, and for one domain of it (HKDF-SHA256, RFC 5869).

        Args:
            purpose: What it is for; without NUL.
            domain: Whose values it is for, such as a column. Empty where it is for all.
        """
        # Spec masks 1.
        info = purpose.encode() + b"\0" + domain.encode(errors="surrogatepass")
        extracted = hmac.digest(SALT, self.__current, "sha256")
        return hmac.digest(extracted, info + b"\x01", "sha256")


UNKEYED = Keys(b"no operator asks for it")
"""Stands where no operator makes anything with a key."""


@dataclass(frozen=True, slots=True)
class Task:
    """One mask at work.

    Attributes:
        operator: What to do.
        keys: What to do it with.
        domain: Whose values these are: a column, a tag or an entity. Messages name it.
    """

    operator: Operator
    keys: Keys
    domain: str


def digests(values: pa.Array, key: bytes) -> Digests:
    """HMAC-SHA256 of each value, one row of 32 bytes for each.

    Args:
        values: Large strings or large binaries without nulls; once each, as this is a loop.
        key: The key, of any length.
    """
    # The state behind each pad is computed once and copied; that is twice as fast as hmac.digest.
    inner, outer = (hashlib.sha256(pad).copy for pad in pads(key))
    made = []
    for value in pieces(values):
        digest = inner()
        digest.update(value)
        around = outer()
        around.update(digest.digest())
        made.append(around.digest())
    return np.frombuffer(b"".join(made), np.uint8).reshape(-1, 32)


def numbers(values: pa.Array, key: bytes) -> npt.NDArray[np.uint64]:
    """A number of 64 bits for each value: the start of its digest, the first byte on top."""
    starts = np.ascontiguousarray(digests(values, key)[:, :8])
    return starts.view(">u8").ravel().astype(np.uint64)


def pieces(values: pa.Array) -> Iterator[bytes]:
    """The bytes of each value."""
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    content = data[int(bounds[0]) : int(bounds[-1])].to_pybytes()
    edges = (bounds - bounds[0]).tolist()
    return (content[a:b] for a, b in itertools.pairwise(edges))

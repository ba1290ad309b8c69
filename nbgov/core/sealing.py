"""Sealed literals: AES-256-GCM under a key for each principal and day.

A sealed text is the name of its key, a colon, and base64 of a nonce and of what AES-GCM made. The
key's name is a keyed digest of the principal's name and the day, so that a log does not say more
with it than it says anyhow. Keys and nonces are the business of a :class:`~nbgov.ports.Sealer`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import date, datetime

from nbgov.errors import BackendFailed, IntegrityFailed

KEY_BYTES = 32
NONCE_BYTES = 12
ID_DIGITS = 32
DAY_DIGITS = 8


def key_id(mac: Callable[[bytes], bytes], principal: str) -> str:
    """What stands for a principal in the names of keys."""
    named = principal.encode(errors="surrogatepass")
    return mac(b"nbgov sealing key of " + named).hex()[:ID_DIGITS]


def key_name(key_of: str, at: date | datetime) -> str:
    """The name of a principal's key of one day.

    Example:
        >>> key_name("0" * 32, date(2026, 1, 2))
        '00000000000000000000000000000000-20260102'
    """
    return f"{key_of}-{at:%Y%m%d}"


def is_before(name: str, day: date) -> bool:
    """Whether a key is of a day before another one."""
    return name[-DAY_DIGITS:] < f"{day:%Y%m%d}"


def seal(data: bytes, *, key: bytes, name: str, nonce: bytes, context: str) -> str:
    """Data as an entry keeps it.

    Args:
        data: What to seal.
        key: The key.
        name: Its name.
        nonce: Never used with this key before.
        context: What the sealed text belongs to; it cannot be unsealed in any other.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    made = AESGCM(key).encrypt(nonce, data, binding(name, context))
    return f"{name}:{base64.b64encode(nonce + made).decode()}"


def unseal(sealed: str, *, key: Callable[[str], bytes | None], context: str) -> bytes:
    """The data behind a sealed text.

    Args:
        sealed: The text.
        key: The key with a name, or ``None`` where it was destroyed.
        context: What the text belongs to.

    Raises:
        BackendFailed: The key was destroyed (code ``seal-erased``).
        IntegrityFailed: It is not what was sealed in this context (code ``seal-broken``).
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    name, _, text = sealed.partition(":")
    found = key(name)
    if found is None:
        raise BackendFailed(
            "The literals of this entry cannot be read any more.",
            code="seal-erased",
            why=f"the key {name} was destroyed",
            next_step="nothing can be done: that is what erasing is for",
        )
    try:
        data = base64.b64decode(text, validate=True)
        return AESGCM(found).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], binding(name, context))
    except (InvalidTag, ValueError, binascii.Error):
        raise IntegrityFailed(
            "The sealed literals are not those that were sealed for this entry.",
            code="seal-broken",
            why="they do not decrypt under their key",
            next_step="check the log: nbgov audit verify",
        ) from None


def binding(name: str, context: str) -> bytes:
    """What a sealed text is bound to. Security: moved into another entry, it stays shut."""
    return f"nbgov sealed literals 1\n{name}\n{context}".encode(errors="surrogatepass")

"""Sealed literals, and what the log said last, in RAM."""

from __future__ import annotations

import hashlib
from datetime import date, datetime

from nbgov.backends.memory.faults import Faults
from nbgov.core import sealing
from nbgov.ports import Signer


class MemorySealer:
    """A :class:`~nbgov.ports.Sealer` whose keys are a mapping that a test can read.

    ``faults`` knows the operation ``seal``.
    """

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.secrets: dict[str, bytes] = {}
        self.destroyed: set[str] = set()
        self.faults = Faults()
        self.count = 0

    def seal(self, data: bytes, *, principal: str, at: datetime, context: str) -> str | None:
        """The data, encrypted under the principal's key of that day."""
        with self.faults.around("seal", code="state-unavailable"):
            name = sealing.key_name(sealing.key_id(self.signer.mac, principal), at)
            if name in self.destroyed:
                return None
            key = self.secrets.setdefault(name, hashlib.sha256(name.encode()).digest())
            self.count += 1
            nonce = self.count.to_bytes(sealing.NONCE_BYTES, "big")
            return sealing.seal(data, key=key, name=name, nonce=nonce, context=context)

    def unseal(self, sealed: str, *, context: str) -> bytes:
        """The data behind a sealed text."""
        return sealing.unseal(sealed, key=self.secrets.get, context=context)

    def keys(self, *, principal: str | None = None, before: date | None = None) -> tuple[str, ...]:
        """The names of the keys of one principal, or of all, that are of days before a date."""
        head = "" if principal is None else sealing.key_id(self.signer.mac, principal)
        wanted = date.max if before is None else before
        names = sorted(name for name in self.secrets if name.startswith(head))
        return tuple(name for name in names if sealing.is_before(name, wanted))

    def destroy(self, key: str) -> None:
        """Destroy a key."""
        self.secrets.pop(key, None)
        self.destroyed.add(key)


class MemoryFactStore:
    """A :class:`~nbgov.ports.FactStore` in a mapping."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}

    def fact(self, name: str) -> str:
        """What was kept last under a name; empty where nothing was."""
        return self.facts.get(name, "")

    def keep_fact(self, name: str, text: str) -> None:
        """Keep a text under a name, in the place of the one before."""
        self.facts[name] = text

    def close(self) -> None:
        """Nothing to let go of."""

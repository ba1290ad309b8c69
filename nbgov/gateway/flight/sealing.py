"""Tickets and handles that a client carries and cannot read, change, lend or use twice.

They hold everything that it takes to go on, so that any process of the gateway can. AES-256-GCM
under the gateway's own key; bound to the principal; a ticket is for a minute and for one use.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.gateway.guests import Guest
    from nbgov.gateway.house import House

NONCE_BYTES, TAG_BYTES, KEY_BYTES = 12, 16, 32
TICKET_S, HANDLE_S = 60, 86_400


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals and opens what clients carry, for the guests of a house."""

    house: House

    def seal(
        self, purpose: str, content: Mapping[str, Any], guest: Guest, *, lasts_s: int
    ) -> bytes:
        """Some content, for a purpose, a principal and a time.

        Args:
            purpose: What it is good for, and for nothing else.
            content: What JSON holds.
            guest: Whose it is; another login of the same principal can use it, too.
            lasts_s: For how long.
        """
        until = self.house.site.world.clock.now() + timedelta(seconds=lasts_s)
        text = json.dumps({**content, "until": until.isoformat()}).encode()
        nonce = os.urandom(NONCE_BYTES)
        sealed: bytes = self.cipher().encrypt(nonce, text, context(purpose, guest))
        return nonce + sealed

    def open(self, purpose: str, sealed: bytes, guest: Guest) -> dict[str, Any]:
        """The content behind :meth:`seal`.

        Raises:
            RequestInvalid: It is none, is somebody else's, or its time is over
                (``ticket-invalid``).
        """
        from cryptography.exceptions import InvalidTag

        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        if len(rest) < TAG_BYTES:
            raise invalid(purpose)
        try:
            text = self.cipher().decrypt(nonce, rest, context(purpose, guest))
        except InvalidTag:
            raise invalid(purpose) from None
        found: dict[str, Any] = json.loads(text)
        if datetime.fromisoformat(found["until"]) <= self.house.site.world.clock.now():
            raise invalid(purpose)
        return found

    def spend(self, purpose: str, sealed: bytes, guest: Guest) -> dict[str, Any]:
        """The content of what can be used once.

        Raises:
            RequestInvalid: As :meth:`open` does, or it was used before.
        """
        found = self.open(purpose, sealed, guest)
        until = datetime.fromisoformat(found["until"])
        # Security: replayed, a ticket would run its statement again.
        if not self.house.store.spend(sealed[:NONCE_BYTES], until=until):
            raise invalid(purpose)
        return found

    def cipher(self) -> Any:
        """What seals and opens."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self.house.ticket_key)


def context(purpose: str, guest: Guest) -> bytes:
    """What a sealed text is bound to beside its content."""
    principal = guest.principal
    return json.dumps(["nbgov", purpose, principal.account, principal.name]).encode()


def invalid(purpose: str) -> RequestInvalid:
    """The error of a text that opens nothing."""
    return RequestInvalid(
        f"The {purpose} cannot be used.",
        code="ticket-invalid",
        why="it was used before, is older than it may be, or is somebody else's",
        next_step="run the statement again",
    )

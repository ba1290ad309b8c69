"""Whose word the gateway takes: tokens of issuers, checked, become proofs of identity.

Nothing is believed that is not signed by a key which the issuer publishes for exactly this use.
Each reason to refuse has a code of its own. Cases: ``tests/gateway/test_identity.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from nbgov.errors import IdentityFailed
from nbgov.gateway.identity.hub import HubIssuer
from nbgov.gateway.identity.keys import Keys
from nbgov.gateway.identity.tokens import TokenIssuer, peek_issuer, refused

if TYPE_CHECKING:
    from nbgov.config.gateway import GatewayTerms, IssuerEntry
    from nbgov.model import Proof

Now = Callable[[], datetime]


class Identities:
    """Proves who somebody is, from a token of one of the issuers.

    Args:
        terms: ``gateway:`` of ``nbgov.yaml``.
        now: Tells the time.
    """

    def __init__(self, terms: GatewayTerms, *, now: Now) -> None:
        self.terms = terms
        self.issuers: dict[str, TokenIssuer] = {}
        self.hubs: list[HubIssuer] = []
        for name, entry in terms.issuers.items():
            if entry.kind == "jupyterhub":
                self.hubs.append(HubIssuer(name, entry, now=now))
            else:
                self.issuers[name] = TokenIssuer(name, entry, Keys(entry.issuer), now=now)

    def prove(self, token: str) -> Proof:
        """Who has a token.

        Raises:
            IdentityFailed: It proves nothing here; the code says why.
        """
        if self.hubs and "." not in token:
            return self.hubs[0].prove(token)
        issuer = peek_issuer(token)
        for one in self.issuers.values():
            if one.is_issuer(issuer):
                return one.prove(token)
        raise refused("token-issuer", "nbgov.yaml names no such issuer under gateway: issuers:")

    def missing_keys(self) -> tuple[str, ...]:
        """The issuers of which no key is known, after one look for it."""
        for one in self.issuers.values():
            if not one.keys.kept:
                with suppress(IdentityFailed):
                    one.keys.load()
        return tuple(name for name, one in self.issuers.items() if not one.keys.kept)

    def logins(self) -> Mapping[str, IssuerEntry]:
        """The issuers that people can log in at, by name."""
        return {
            name: entry for name, entry in self.terms.issuers.items() if entry.client_id is not None
        }

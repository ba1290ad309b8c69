"""The keys that an issuer publishes: fetched, kept, and fetched again when a new one shows up.

A key that nobody knows makes the issuer be asked again, though not more often than every few
seconds, however many such tokens come. While the issuer does not answer, keys that were fetched
before go on to count, for a day; without any, nobody gets in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from nbgov.errors import BackendFailed, IdentityFailed
from nbgov.login.http import Http
from nbgov.login.oidc import discover, endpoint

KEPT_S, PAUSE_S, STALE_S = 3_600.0, 10.0, 86_400.0
TIMEOUT_S = 5.0
HTTP = Http("", timeout_s=TIMEOUT_S)


class Keys:
    """The signing keys of an issuer, by their id. Safe to use from several threads.

    Args:
        issuer: Its name, which is a url.
        pause_s: How long to wait at least between two looks for a key that is not known.
    """

    def __init__(self, issuer: str, *, pause_s: float = PAUSE_S) -> None:
        self.issuer = issuer
        self.pause_s = pause_s
        self.lock = threading.Lock()
        self.kept: Mapping[str, Mapping[str, Any]] = {}
        self.kept_at = self.asked_at = float("-inf")
        self.fetches = 0

    def find(self, name: str) -> Mapping[str, Any]:
        """The key with an id.

        Raises:
            IdentityFailed: The issuer publishes none (``token-key``), or cannot be asked
                (``issuer-unavailable``).
        """
        with self.lock:
            now = time.monotonic()
            is_old = now - self.kept_at > KEPT_S
            if (is_old or name not in self.kept) and now - self.asked_at >= self.pause_s:
                self.renew(now, is_first=not self.kept)
            if not self.kept or now - self.kept_at > KEPT_S + STALE_S:
                raise unavailable(self.issuer)
            if name not in self.kept:
                raise unknown_key()
            return self.kept[name]

    def renew(self, now: float, *, is_first: bool) -> None:
        """Ask the issuer; what is kept stays where it does not answer."""
        try:
            self.load()
        except IdentityFailed:
            self.asked_at = now
            if is_first:
                raise
        # What was fetched for the first time is no answer to a key that nobody knows.
        self.asked_at = self.asked_at if is_first else now

    def load(self) -> None:
        """Fetch the keys.

        Raises:
            IdentityFailed: They cannot be fetched (``issuer-unavailable``).
        """
        self.fetches += 1
        try:
            found = HTTP.get(endpoint(discover(HTTP, self.issuer), "jwks_uri"))["keys"]
            keys = {str(key["kid"]): key for key in found if is_for_signing(key)}
        except BackendFailed as error:
            raise unavailable(self.issuer, error.why) from None
        except (KeyError, TypeError) as error:
            raise unavailable(self.issuer, type(error).__name__) from None
        if not keys:
            raise unavailable(self.issuer, "it publishes no key for signatures")
        self.kept, self.kept_at = keys, time.monotonic()


def is_for_signing(key: Mapping[str, Any]) -> bool:
    """Whether a key is a public one, for signatures."""
    # Security: a symmetric key that is published is no secret.
    return "kid" in key and key.get("kty") != "oct" and key.get("use", "sig") == "sig"


def unavailable(issuer: str, why: str = "") -> IdentityFailed:
    """The error of an issuer that cannot be asked."""
    return IdentityFailed(
        f"The issuer {issuer} cannot be asked for its keys.",
        code="issuer-unavailable",
        why=why or "it does not answer",
        next_step="try again; an operator sees more with: nbgov gateway doctor",
    )


def unknown_key() -> IdentityFailed:
    """The error of a token under a key that its issuer does not publish."""
    return IdentityFailed(
        "The token proves nothing.",
        code="token-key",
        why="it names a key that its issuer does not publish",
        next_step="log in again: nbgov login",
    )

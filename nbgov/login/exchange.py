"""Exchanges a proof of identity for a token of the gateway (RFC 8693)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from nbgov.core.visible import visible
from nbgov.errors import IdentityFailed
from nbgov.login.http import FAILED, Http, unavailable
from nbgov.login.oidc import seconds
from nbgov.model import Audience

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, no token
# A token is renewed so long before it ends.
EARLY_S = 30.0


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a gateway, whose it is, and from when on a new one is due.

    That is by this machine's own clock, which may differ from the gateway's.
    """

    text: str = field(repr=False)
    principal: str
    due_s: float

    @property
    def is_ending(self) -> bool:
        """Whether it is time for a new one."""
        return time.monotonic() > self.due_s


def exchanged(http: Http, control_url: str, proof: str, audience: Audience) -> Token:
    """A token of the gateway for a proof of identity.

    Raises:
        IdentityFailed: The gateway does not believe it; the code says why.
        BackendFailed: The gateway does not answer.
    """
    began = time.monotonic()
    form = {
        "grant_type": GRANT,
        "subject_token": proof,
        "subject_token_type": ACCESS_TOKEN,
        "audience": audience,
    }
    url = f"{control_url}/v1/session"
    status, told = http.post(url, form)
    if "nbgov_code" in told:
        raise IdentityFailed(
            "The gateway does not take the login.",
            code=str(told["nbgov_code"]),
            why=visible(str(told.get("error_description", ""))),
            next_step="log in again: nbgov login",
        )
    if status >= FAILED or not isinstance(told.get("access_token"), str):
        raise unavailable(url, f"it answered {status}")
    lasts_s = seconds(told.get("expires_in"), 0)
    due_s = began + max(lasts_s - EARLY_S, lasts_s / 2)
    return Token(told["access_token"], str(told.get("principal", "")), due_s)

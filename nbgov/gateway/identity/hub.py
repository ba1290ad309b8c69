"""Tokens of a JupyterHub, which only the Hub itself can check.

The gateway asks the Hub's API whose a token is (``GET /user``), with the token itself: a notebook
server has ``JUPYTERHUB_API_TOKEN``, and its owner's name and groups are what the Hub says.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nbgov.errors import IdentityFailed
from nbgov.gateway.identity.keys import TIMEOUT_S, unavailable
from nbgov.gateway.identity.tokens import listed, refused
from nbgov.model import Proof

if TYPE_CHECKING:
    from nbgov.config.gateway import IssuerEntry

# A Hub does not say how long a token is good for; it is asked again after this.
VALID = timedelta(minutes=15)
UNKNOWN = {401, 403, 404}


class HubIssuer:
    """Asks a JupyterHub whose a token is.

    Args:
        name: Its name in ``nbgov.yaml``.
        entry: Where its API is.
        now: Tells the time.
    """

    def __init__(self, name: str, entry: IssuerEntry, *, now: Callable[[], datetime]) -> None:
        self.name = name
        self.entry = entry
        self.now = now

    def prove(self, token: str) -> Proof:
        """Who has a token.

        Raises:
            IdentityFailed: The Hub does not know it, or does not answer.
        """
        import requests

        if not token.isascii() or not token.isalnum():
            raise refused("token-malformed", "it is no token of a JupyterHub")
        try:
            answer = requests.get(
                self.entry.issuer.rstrip("/") + "/user",
                headers={"Authorization": f"token {token}"},
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
            if answer.status_code in UNKNOWN:
                raise refused("token-signature", "the JupyterHub does not know it")
            answer.raise_for_status()
            told = answer.json()
            name, kind = told["name"], told["kind"]
        except IdentityFailed:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unavailable(self.entry.issuer, type(error).__name__) from None
        if kind != "user" or not isinstance(name, str):
            raise refused("token-incomplete", "it is not the token of a user")
        groups = listed(told, self.entry.groups_claim or "groups")
        subject = f"{self.entry.issuer}|{name}"
        return Proof(
            self.name, subject, name, groups, frozenset(), "jupyterhub", self.now() + VALID
        )

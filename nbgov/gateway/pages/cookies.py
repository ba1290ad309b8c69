"""What a browser carries for the pages: a login, and a sign-in that is under way.

The login is a token of the control plane. No script can read it, no other site can have it sent
with a form, and forms carry a text besides that only pages of this login hold.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nbgov.errors import IdentityFailed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nbgov.gateway.house import House

LOGIN, SIGN_IN = "nbgov-login", "nbgov-sign-in"
SIGN_IN_S = 600
NONCE_BYTES = 12
CONTEXT = b"nbgov sign-in"


def home_of(house: House, request: Request) -> str:
    """Where the pages are, as browsers find them. No header of the request has a say."""
    if house.terms.control_url:
        return house.terms.control_url.rstrip("/")
    host, port = request.scope["server"]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if house.terms.tls else 'http'}://{name}:{port}"


def is_secure(house: House, request: Request) -> bool:
    """Whether browsers come over TLS."""
    return urlsplit(home_of(house, request)).scheme == "https"


def kept_as(name: str, *, secure: bool) -> str:
    """What a cookie is called."""
    # Security: under this prefix, no neighbour in the domain and nobody on the way can set it.
    return f"__Host-{name}" if secure else name


def read(house: House, request: Request, name: str) -> str:
    """What a cookie holds, empty where there is none."""
    return request.cookies.get(kept_as(name, secure=is_secure(house, request)), "")


def keep(
    answer: Response, house: House, request: Request, name: str, value: str, *, lasts_s: int
) -> None:
    """Let the browser carry a value for a while; an empty one is forgotten at once."""
    secure = is_secure(house, request)
    # Security: lax, so that a link in a message opens a page, and no form elsewhere does a deed.
    answer.set_cookie(
        kept_as(name, secure=secure),
        value,
        max_age=lasts_s if value else 0,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


# ---------------------------------------------------------------- forms


def form_key(house: House, token: str) -> str:
    """What the forms of a login carry, so that no other site can have one sent."""
    text = b"nbgov form\0" + token.encode()
    return hmac.new(house.ticket_key, text, hashlib.sha256).hexdigest()


def is_form_key(house: House, token: str, key: str) -> bool:
    """Whether a form is one of this login."""
    return hmac.compare_digest(form_key(house, token).encode(), key.encode())


# ---------------------------------------------------------------- a sign-in under way


def seal(house: House, content: Mapping[str, Any]) -> str:
    """What has to be known again when the browser comes back from the issuer."""
    until = house.site.world.clock.now() + timedelta(seconds=SIGN_IN_S)
    text = json.dumps({**content, "until": until.isoformat()}).encode()
    nonce = os.urandom(NONCE_BYTES)
    sealed: bytes = cipher(house).encrypt(nonce, text, CONTEXT)
    return base64.urlsafe_b64encode(nonce + sealed).decode()


def unseal(house: House, sealed: str) -> dict[str, Any]:
    """The content behind :func:`seal`.

    Raises:
        IdentityFailed: It is none, or its time is over (``login-failed``).
    """
    from cryptography.exceptions import InvalidTag

    try:
        data = base64.urlsafe_b64decode(sealed.encode())
        text = cipher(house).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], CONTEXT)
    except (InvalidTag, binascii.Error, ValueError):
        raise not_ours() from None
    found: dict[str, Any] = json.loads(text)
    if datetime.fromisoformat(found["until"]) <= house.site.world.clock.now():
        raise not_ours()
    return found


def cipher(house: House) -> Any:
    """What seals."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(house.ticket_key)


def not_ours() -> IdentityFailed:
    """The error of somebody who comes back from a sign-in that did not begin in their browser."""
    return IdentityFailed(
        "The sign-in cannot be finished.",
        code="login-failed",
        why="it did not begin in this browser, or took too long",
        next_step="sign in again",
    )

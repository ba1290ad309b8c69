"""What the ways to log in share: discovery, the token endpoint, and refreshing (RFC 6749, OIDC)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from nbgov.addresses import is_private_url
from nbgov.core.visible import visible
from nbgov.errors import BackendFailed, IdentityFailed, RequestInvalid
from nbgov.login.http import BROKEN, FAILED, SLOW_DOWN, Http, unavailable
from nbgov.login.keeping import Proven

# What counts as the length of a token whose issuer does not say it.
LASTS_S = 300.0
WHY_MAX = 300
DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to log in: an issuer that a gateway names, and as which of its clients."""

    issuer: str
    client_id: str
    scopes: tuple[str, ...] = ()


def choose(told: Mapping[str, Any], name: str) -> Place:
    """The issuer to log in at, of those that a gateway names.

    Raises:
        RequestInvalid: There is none, or it has to be named (``usage``).
        BackendFailed: What the gateway says is none of its answers.
    """
    try:
        places = {
            str(one["name"]): Place(
                str(one["issuer"]), str(one["client_id"]), tuple(map(str, one["scopes"]))
            )
            for one in told["issuers"]
        }
    except (KeyError, TypeError):
        raise BackendFailed(
            "What answers is no gateway of nbgov.",
            code="login-unavailable",
            why="it does not say where to log in",
            next_step="check control: in nbgov.yaml",
        ) from None
    if name in places:
        return places[name]
    if len(places) == 1 and not name:
        return next(iter(places.values()))
    raise RequestInvalid(
        f"The gateway has no issuer {name!r} to log in at."
        if name
        else f"The gateway has {'several issuers' if places else 'no issuer'} to log in at.",
        code="usage",
        why=f"it names {visible(', '.join(sorted(places)) or 'none')}",
        next_step="name one: nbgov login --issuer NAME" if places else "ask its operator",
    )


def discover(http: Http, issuer: str) -> dict[str, Any]:
    """What an issuer says of itself (OpenID Connect Discovery 4).

    Raises:
        BackendFailed: It does not answer, or answers for another one.
    """
    url = issuer.rstrip("/") + DISCOVERY
    told = http.get(url)
    # Security: a document of another issuer would lead the login there (RFC 8414 3.3).
    if told.get("issuer") != issuer:
        raise unavailable(url, "its discovery document names another issuer")
    return told


def endpoint(found: Mapping[str, Any], name: str) -> str:
    """The address of an endpoint that an issuer cannot do without.

    Raises:
        BackendFailed: Its discovery document names none, or one that others can read along.
    """
    url = found.get(name)
    if not isinstance(url, str):
        raise unavailable(str(found["issuer"]), f"its discovery document names no {name}")
    # Security: codes and tokens would go out in clear; and an address of another kind, opened as
    # the page to log in at, would start a program of this machine.
    if not is_private_url(url):
        raise unavailable(url, "its address does not begin with https://")
    return url


def granted(
    http: Http,
    url: str,
    form: Mapping[str, str],
    place: Place,
    *,
    headers: Mapping[str, str] | None = None,
    nonce: str = "",
) -> Proven:
    """The tokens that an endpoint gives for a grant.

    Args:
        http: The way there.
        url: The token endpoint.
        form: The grant.
        place: Whose endpoint it is.
        headers: What proves the client, if something does.
        nonce: What an ID token that comes along has to repeat, or empty.

    Raises:
        IdentityFailed: It gives none (``login-failed``).
        BackendFailed: It is out of order.
    """
    status, answer = http.post(url, {**form, "client_id": place.client_id}, headers=headers)
    if status >= FAILED:
        raise refusal(url, status, answer)
    # Security: an answer for another question would be somebody else's login (OIDC 3.1.3.7).
    # The ID token comes from its issuer over TLS, which is what its signature would say.
    if nonce and "id_token" in answer and claims_of(answer["id_token"]).get("nonce") != nonce:
        raise failed("something that was not asked (the nonce differs)")
    return proven_of(url, answer, place)


def refusal(url: str, status: int, answer: Mapping[str, Any]) -> IdentityFailed | BackendFailed:
    """The error of a token endpoint: what it refuses for good, or that it is out of order."""
    error = answer.get("error")
    if status >= BROKEN or status == SLOW_DOWN or not isinstance(error, str):
        return unavailable(url, f"it answered {status}")
    return failed(error, str(answer.get("error_description", "")))


def proven_of(url: str, answer: Mapping[str, Any], place: Place) -> Proven:
    """A login from what a token endpoint has answered.

    Raises:
        BackendFailed: There is no token in it.
    """
    token = answer.get("access_token")
    if not isinstance(token, str) or not token:
        raise unavailable(url, "there is no access token in its answer")
    return Proven(
        issuer=place.issuer,
        client_id=place.client_id,
        access_token=token,
        refresh_token=str(answer.get("refresh_token") or ""),
        expires_at=time.time() + seconds(answer.get("expires_in"), LASTS_S),
    )


def refreshed(http: Http, proven: Proven) -> Proven:
    """A login with new tokens. The refresh token before may be worth nothing afterwards.

    Raises:
        IdentityFailed: The issuer gives none any more (``login-failed``).
        BackendFailed: It does not answer, or is out of order; the login is as it was.
    """
    form = {"grant_type": "refresh_token", "refresh_token": proven.refresh_token}
    place = Place(proven.issuer, proven.client_id)
    url = endpoint(discover(http, proven.issuer), "token_endpoint")
    new = granted(http, url, form, place)
    kept = new.refresh_token or proven.refresh_token
    return replace(new, refresh_token=kept, principal=proven.principal)


def revoke(http: Http, proven: Proven) -> None:
    """Tell an issuer that a login is over (RFC 7009), if it wants to hear it. Never raises."""
    with suppress(BackendFailed):
        url = discover(http, proven.issuer).get("revocation_endpoint")
        if isinstance(url, str) and proven.refresh_token:
            form = {"token": proven.refresh_token, "token_type_hint": "refresh_token"}
            http.post(url, {**form, "client_id": proven.client_id})


def claims_of(token: Any) -> dict[str, Any]:
    """What a JWT says; nothing if it is none. The signature is not looked at."""
    try:
        body = str(token).split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


def seconds(told: Any, default: float, *, low: float = 0.0, high: float = 86_400.0) -> float:
    """A length of time that a server has sent, held within bounds.

    Example:
        >>> seconds("5", 300.0), seconds(None, 300.0), seconds(-1, 300.0, low=1.0)
        (5.0, 300.0, 1.0)
    """
    try:
        found = float(told)
    except (TypeError, ValueError):
        found = default
    # Not a number compares with nothing.
    return min(max(found, low), high) if found == found else default  # noqa: PLR0124


def failed(error: str, more: str = "") -> IdentityFailed:
    """The error of a login that the issuer does not finish."""
    said = visible(" ".join(f"{error} ({more})".split()) if more else error)
    return IdentityFailed(
        "The login did not succeed.",
        code="login-failed",
        why=f"the issuer says {said[:WHY_MAX]}",
        next_step="log in again: nbgov login",
    )

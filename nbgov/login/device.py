"""The device flow (RFC 8628): a code that somebody types in where they have a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from nbgov.errors import BackendFailed
from nbgov.login.http import FAILED, Http, unavailable
from nbgov.login.keeping import Proven
from nbgov.login.oidc import Place, discover, endpoint, failed, proven_of, refusal, seconds

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_S, SLOWER_S, INTERVAL_S_MAX, WAIT_S_MAX = 5.0, 5.0, 60.0, 1_800.0
Show = Callable[[str, str], None]


def by_device(show: Show) -> Callable[[Http, Place], Proven]:
    """Log in with a code.

    Args:
        show: Shows people the address to go to, and the code to type in there. Where the address
            holds the code already, it is the whole way.
    """

    def log_in(http: Http, place: Place) -> Proven:
        found = discover(http, place.issuer)
        if "device_authorization_endpoint" not in found:
            raise failed("that it knows no codes; use nbgov login --browser")
        url, tokens = (
            endpoint(found, name) for name in ("device_authorization_endpoint", "token_endpoint")
        )
        form = {"client_id": place.client_id, "scope": " ".join(place.scopes)}
        status, asked = http.post(url, form)
        if status >= FAILED:
            raise refusal(url, status, asked)
        address = asked.get("verification_uri_complete") or asked.get("verification_uri")
        code = asked.get("user_code")
        if not all(isinstance(one, str) for one in (address, code, asked.get("device_code"))):
            raise unavailable(url, "there is no code in its answer")
        show(str(address), str(code))
        return poll(http, tokens, asked, place)

    return log_in


def poll(http: Http, url: str, asked: Mapping[str, Any], place: Place) -> Proven:
    """Ask until somebody has typed the code in.

    Raises:
        IdentityFailed: They refused, or took too long.
        BackendFailed: The issuer is out of order.
    """
    interval_s = seconds(asked.get("interval"), INTERVAL_S, low=1, high=INTERVAL_S_MAX)
    ends = time.monotonic() + seconds(asked.get("expires_in"), WAIT_S_MAX, high=WAIT_S_MAX)
    form = {
        "grant_type": GRANT,
        "device_code": str(asked["device_code"]),
        "client_id": place.client_id,
    }
    while time.monotonic() < ends:
        time.sleep(interval_s)
        try:
            status, answer = http.post(url, form)
        except BackendFailed:
            # RFC 8628 3.5: after a connection that fails it is asked again, more slowly.
            interval_s = min(2 * interval_s, INTERVAL_S_MAX)
            continue
        if status < FAILED:
            return proven_of(url, answer, place)
        match answer.get("error"):
            case "authorization_pending":
                pass
            case "slow_down":
                interval_s += SLOWER_S
            case "expired_token":
                break
            case _:
                raise refusal(url, status, answer)
    raise failed("that nobody has typed the code in")

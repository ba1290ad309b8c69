"""HTTP to gateways and issuers: short, without redirects, and with errors that name no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nbgov.addresses import is_private_url
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 15.0
FAILED, UNAUTHORIZED, SLOW_DOWN, BROKEN = 400, 401, 429, 500
BYTES_MAX = 1_000_000


class Http:
    """Calls that carry tokens.

    Args:
        home: The gateway's control plane.
        ca: Path of the certificates to trust for it instead of the system's. Issuers are others:
            for them the system's count, or those that ``REQUESTS_CA_BUNDLE`` names.
        certificate: Path of the certificate, with its key, that this client shows the gateway.
        timeout_s: Seconds that a server may keep silent.
    """

    def __init__(
        self,
        home: str,
        *,
        ca: str | None = None,
        certificate: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.home = home
        self.ca = ca
        self.certificate = certificate
        self.timeout_s = timeout_s

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON behind a url.

        Raises:
            BackendFailed: There is none (``login-unavailable``).
        """
        status, body = self.call("GET", url, headers=headers or {})
        if status >= FAILED:
            raise unavailable(url, f"it answered {status}")
        return body

    def post(
        self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status and the JSON that answer a form.

        Raises:
            BackendFailed: Nothing answers, or something else (``login-unavailable``).
        """
        return self.call("POST", url, data=dict(form), headers=headers or {})

    def call(self, method: str, url: str, **what: Any) -> tuple[int, dict[str, Any]]:
        """One call.

        Raises:
            BackendFailed: Nothing answers, or something else (``login-unavailable``).
        """
        import requests

        # Security: sent in clear, a proof of identity would be anybody's on the way.
        if not is_private_url(url):
            raise unavailable(url, "its address does not begin with https://")
        is_home = url.startswith(f"{self.home}/")
        try:
            with requests.Session() as session:
                # Security: in clear, to this host only, so never by way of a proxy.
                session.trust_env = urlsplit(url).scheme == "https"
                # Security: a redirect, or a .netrc, could lead a token somewhere else.
                with session.request(
                    method,
                    url,
                    verify=(is_home and self.ca) or True,
                    cert=self.certificate if is_home else None,
                    timeout=self.timeout_s,
                    allow_redirects=False,
                    auth=unsigned,
                    stream=True,
                    **what,
                ) as answer:
                    text = read(answer)
            body = json.loads(text) if text else {}
        except (requests.RequestException, ValueError) as error:
            raise unavailable(url, type(error).__name__) from None
        if not isinstance(body, dict):
            raise unavailable(url, "it answered something else")
        return answer.status_code, body


def read(answer: requests.Response) -> bytes:
    """The body of an answer.

    Raises:
        ValueError: It is longer than any that a login needs.
    """
    found = bytearray()
    for piece in answer.iter_content(1 << 16):
        found += piece
        # Security: an answer without an end would fill the memory.
        if len(found) > BYTES_MAX:
            raise ValueError
    return bytes(found)


def unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """A request as it is."""
    return request


def unavailable(url: str, why: str) -> BackendFailed:
    """The error of a server that does not answer as it should."""
    try:
        parts = urlsplit(url)
        # Security: of an address that somebody else has sent, only what cannot hold a token.
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        place = "The server"
    return BackendFailed(
        f"{place} does not answer as a login needs it.",
        code="login-unavailable",
        why=why,
        next_step="try again; check control: and ca: in nbgov.yaml",
    )

"""Code and PKCE on the loopback interface (RFC 8252, RFC 7636): a browser on the same machine."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from nbgov.login.http import Http, unavailable
from nbgov.login.keeping import Proven
from nbgov.login.oidc import Place, discover, endpoint, failed, granted

PATH = "/callback"
WAIT_S = 300.0
PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>nbgov</title>
<p>You can close this page and go back to where you came from.</p></html>"""


def by_browser(
    open_browser: Callable[[str], object], *, port: int = 0, wait_s: float = WAIT_S
) -> Callable[[Http, Place], Proven]:
    """Log in with a browser on this machine.

    Args:
        open_browser: Opens an address in it.
        port: Where to wait for it, as some issuers know one port only; any that is free by default.
        wait_s: Seconds to wait for the browser to come back.
    """

    def log_in(http: Http, place: Place) -> Proven:
        found = discover(http, place.issuer)
        verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
        with Listener(port, state) as listener:
            query = {
                "client_id": place.client_id,
                "response_type": "code",
                "scope": " ".join(place.scopes),
                "redirect_uri": listener.address,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge_of(verifier),
                "code_challenge_method": "S256",
            }
            if "offline_access" in place.scopes:
                # OpenID Connect Core 11: what lasts beyond the session has to be consented to.
                query["prompt"] = "consent"
            open_browser(asking(endpoint(found, "authorization_endpoint"), query))
            answered = listener.wait(wait_s)
        require_ours(answered, found, place)
        form = {
            "grant_type": "authorization_code",
            "code": answered["code"],
            "redirect_uri": listener.address,
            "code_verifier": verifier,
        }
        return granted(http, endpoint(found, "token_endpoint"), form, place, nonce=nonce)

    return log_in


def challenge_of(verifier: str) -> str:
    """What a verifier is announced by (RFC 7636 4.2).

    Example:
        >>> challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def asking(url: str, query: Mapping[str, str]) -> str:
    """The address to open in a browser."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def require_ours(answered: Mapping[str, str], found: Mapping[str, Any], place: Place) -> None:
    """See that an answer is by the issuer that was asked, and a good one.

    Raises:
        IdentityFailed: It is not (``login-failed``).
    """
    if not answered:
        raise failed("nothing: the browser did not come back in time")
    # Security: an answer of another issuer would be sent to this one's endpoint (RFC 9207).
    is_told = found.get("authorization_response_iss_parameter_supported")
    if (is_told or "iss" in answered) and answered.get("iss") != place.issuer:
        raise failed("something in another issuer's name")
    if "code" not in answered:
        error = answered.get("error", "nothing that can be used")
        raise failed(error, answered.get("error_description", ""))


class Listener:
    """Waits on this machine for the browser to come back, while it is open.

    Args:
        port: Where to wait; any port that is free with 0.
        state: What the answer has to repeat.

    Attributes:
        address: What the browser has to come back to.

    Raises:
        BackendFailed: The port is taken.
    """

    def __init__(self, port: int, state: str) -> None:
        self.state = state
        self.answered: dict[str, str] = {}
        self.came = threading.Event()
        try:
            self.server = Server(("127.0.0.1", port), handler_of(self))
        except OSError as error:
            raise unavailable(f"http://127.0.0.1:{port}", type(error).__name__) from None
        self.address = f"http://127.0.0.1:{self.server.server_port}{PATH}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def take(self, query: str) -> bool:
        """Take an answer; whether it is the one that is waited for."""
        told = dict(parse_qsl(query))
        # Security: without it, somebody else's login could be slipped in (RFC 6749 10.12). What
        # does not repeat it is passed over, so that a page cannot spoil the login by guessing.
        if not secrets.compare_digest(told.get("state", "").encode(), self.state.encode()):
            return False
        self.answered = self.answered or told
        return True

    def wait(self, wait_s: float) -> dict[str, str]:
        """What came back, or nothing in time."""
        self.came.wait(wait_s)
        return self.answered


class Server(ThreadingHTTPServer):
    """A thread for each connection: browsers open some that they never use."""

    daemon_threads = True
    block_on_close = False


def handler_of(listener: Listener) -> type[BaseHTTPRequestHandler]:
    """What takes the request of the browser that comes back."""

    class Handler(BaseHTTPRequestHandler):
        """Hands the answer on, and shows a page that can be closed."""

        timeout = WAIT_S

        def do_GET(self) -> None:
            """Take an answer."""
            parts = urlsplit(self.path)
            if parts.path != PATH or not listener.take(parts.query):
                self.send_error(404)
                return
            try:
                self.show()
            finally:
                listener.came.set()

        def show(self) -> None:
            """Show the page."""
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", "default-src 'none'")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_: Any) -> None:
            """Say nothing: the path holds the code."""

    return Handler

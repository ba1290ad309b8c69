"""What stands around the control plane's app: bounds, headers, counts, and no tracebacks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from nbgov.errors import RequestInvalid
from nbgov.gateway.control.problems import broken, problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from nbgov.gateway.tally import Tally

BODY_BYTES_MAX = 256 * 1024
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
# Security: pages that are framed can be clicked for somebody, answers that are kept can be read by
# the next one at the machine, and a type that is guessed can make a script of data.
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guarded:
    """An ASGI app with bounds on what comes in and rules on what goes out.

    Args:
        app: What answers.
        tally: Where answers are counted.
        is_secure: Whether it is served over TLS.
    """

    def __init__(self, app: ASGIApp, tally: Tally, *, is_secure: bool) -> None:
        self.app = app
        self.tally = tally
        more = {"strict-transport-security": "max-age=31536000"} if is_secure else {}
        self.headers = HEADERS | more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_begun = False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                held = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    held.setdefault(name, value)
                self.count(scope["method"], message["status"])
            await send(message)

        try:
            body = await whole_body(receive)
            if body is None:
                return
            await self.app(scope, replayed(body, receive), answer)
        except TooLargeError:
            told = RequestInvalid(
                "The body of the request is too large.",
                code="body-too-large",
                why=f"it is longer than {BODY_BYTES_MAX:,} bytes",
                next_step="send less",
            )
            made = problem(told, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            made.headers["connection"] = "close"
            await made(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - logged, and told as a number
            # Security: what nobody expected goes to the log; the caller gets a number.
            made = broken(error)
            if not has_begun:
                await made(scope, receive, answer)

    def count(self, method: str, status: int) -> None:
        """Count an answer."""
        known = method if method in METHODS else "other"
        self.tally.add("requests", method=known, status=str(status))


class TooLargeError(Exception):
    """A body is longer than anything that is sent here."""


async def whole_body(receive: Receive) -> bytes | None:
    """The body of a request; ``None`` where the client went away.

    Raises:
        TooLargeError: It is longer than it may be.
    """
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES_MAX:
            raise TooLargeError
        if not message.get("more_body", False):
            return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """What an app receives when the body is there already."""
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again

"""Messages over HTTP: to a webhook of anybody's, signed, and to those of Slack and Teams.

What is sent and what a status means is the business of :mod:`nbgov.core.notices`; here are the
socket and its limits. Proxies count as they do for Python's ``urllib``. No redirect is followed,
since it could lead a message to anybody, and nothing of an answer but its status is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.request import HTTPRedirectHandler, Request, build_opener

from nbgov.addresses import is_private_url
from nbgov.core.notices import answered, read_webhook_secret, signature
from nbgov.errors import NbgovError
from nbgov.model import Answer

if TYPE_CHECKING:
    from nbgov.model import Parcel

TIMEOUT_S = 10.0
EVENT_TYPE = "application/cloudevents+json; charset=utf-8"
JSON_TYPE = "application/json"


class Straight(HTTPRedirectHandler):
    """Follows no redirect: its status is the answer."""

    def redirect_request(self, *_: object) -> None:
        """No request at all."""


class WebhookCourier:
    """A :class:`~nbgov.ports.Courier` that posts each message to a url.

    Args:
        url: Gives the url, at each try, so that nothing of it is kept.
        secret: Gives the secret of Standard Webhooks to sign with. Without it messages are not
            signed and go as plain JSON, as Slack and Teams take them.
        timeout_s: How long to wait for the receiver.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        secret: Callable[[], str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.url = url
        self.secret = secret
        self.timeout_s = timeout_s

    def deliver(self, parcel: Parcel, *, at: datetime) -> Answer:
        """Post a message once."""
        try:
            request = self.request(parcel, at)
        except NbgovError as error:
            return Answer("later", error.code)
        if request is None:
            return Answer("later", "its url is none of https")
        return self.post(request, at)

    def request(self, parcel: Parcel, at: datetime) -> Request | None:
        """What is posted, or ``None`` where the url is none.

        Raises:
            ConfigInvalid: A secret cannot be read, or is none.
        """
        url, body = self.url(), parcel.body.encode()
        # Security: a url out of a secret could name a file or a host in clear.
        if not is_private_url(url):
            return None
        headers = {"User-Agent": "nbgov", "Content-Type": JSON_TYPE}
        if self.secret is not None:
            key = read_webhook_secret(self.secret())
            headers |= {"Content-Type": EVENT_TYPE}
            headers |= signature(key, body, id=parcel.id, at=at)
        return Request(url, body, headers, method="POST")  # noqa: S310 - the scheme was checked

    def post(self, request: Request, at: datetime) -> Answer:
        """Send a request, and say what its answer means."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError

        try:
            response = build_opener(Straight()).open(request, timeout=self.timeout_s)
        except HTTPError as error:
            response = error
        except URLError as error:
            # Security: the text of an error can hold the url; the name of its kind cannot.
            return Answer("later", type(error.reason).__name__)
        except (OSError, HTTPException, ValueError) as error:
            return Answer("later", type(error).__name__)
        with response:
            asked = response.headers.get("Retry-After", "")
            return answered(response.status, retry_after=asked, at=at)

"""The way to a gateway's control plane: JSON over HTTP, and errors as the gateway raised them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbgov.core.transport import read_error
from nbgov.errors import BackendFailed, NbgovError
from nbgov.remote.renewing import renewed

if TYPE_CHECKING:
    import requests

    from nbgov.login import Credentials

TIMEOUT_S = 60.0
FAILED = 400


class Control:
    """Calls to a control plane. Nothing is opened before the first one.

    Args:
        url: Where it is.
        ca: Path of the certificates to trust instead of the system's, or ``None``.
        certificate: Path of a certificate of one's own with its key, or ``None``.
        credentials: Who calls.
    """

    def __init__(
        self, url: str, *, ca: str | None, certificate: str | None, credentials: Credentials
    ) -> None:
        self.url = url.rstrip("/")
        self.ca = ca
        self.certificate = certificate
        self.credentials = credentials
        self.http: requests.Session | None = None

    def get(self, path: str, **query: str | int) -> Any:
        """What stands at a path.

        Raises:
            NbgovError: It cannot be had.
        """
        return renewed(self.credentials, lambda: self.call("GET", path, {"params": query}))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What comes of a step.

        Raises:
            NbgovError: It was not taken.
        """
        return renewed(self.credentials, lambda: self.call("POST", path, {"json": body}))

    def call(self, method: str, path: str, what: Mapping[str, Any]) -> Any:
        """Make one call."""
        import requests

        if self.http is None:
            self.http = requests.Session()
            # Security: in clear, to this host only, so never by way of a proxy.
            self.http.trust_env = self.url.startswith("https:")
        token = self.credentials.control()

        def signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
            # Security: set last, so that no .netrc puts a password of its own in its place.
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        try:
            # Security: a redirect could lead the token, or the vote, somewhere else.
            answer = self.http.request(
                method,
                f"{self.url}{path}",
                auth=signed,
                verify=self.ca or True,
                cert=self.certificate,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                **what,
            )
        except (requests.RequestException, OSError) as error:
            raise BackendFailed(
                f"The gateway at {self.url} cannot be reached.",
                code="gateway-unavailable",
                why=f"the call ended with {type(error).__name__}",
                next_step="check control: and ca: in nbgov.yaml, and that the gateway runs",
            ) from None
        if answer.status_code >= FAILED:
            raise read_error(answer.content) or self.strange(answer)
        try:
            return answer.json()
        except ValueError:
            raise self.strange(answer) from None

    def strange(self, answer: requests.Response) -> NbgovError:
        """The error of an answer that no gateway gives."""
        return BackendFailed(
            f"What answers at {self.url} is no gateway of nbgov.",
            code="gateway-unavailable",
            why=f"it answered {answer.status_code} with something else",
            next_step="check control: in nbgov.yaml, and proxies on the way",
        )

    def close(self) -> None:
        """Give the connections back."""
        if self.http is not None:
            self.http.close()
            self.http = None

"""How people and jobs prove to a gateway who they are, and where the proofs are kept.

Somebody logs in at an issuer that the gateway believes (:mod:`nbgov.login.device`,
:mod:`nbgov.login.loopback`), or runs where a platform vouches for them (:mod:`nbgov.login.jobs`).
What they get is exchanged for tokens of the gateway, which are in memory only.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbgov.addresses import is_private_url
from nbgov.core.visible import visible
from nbgov.errors import BackendFailed, IdentityFailed, RequestInvalid
from nbgov.login.exchange import Token, exchanged
from nbgov.login.http import FAILED, UNAUTHORIZED, Http, unavailable
from nbgov.login.keeping import Keeping, Proven
from nbgov.model import Audience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from nbgov.config.places import GatewayConnection
    from nbgov.login.oidc import Place

OPENED: dict[tuple[str, str | None, str | None], Credentials] = {}
LOCK = threading.Lock()


def credentials_for(
    control_url: str, *, ca: str | None = None, certificate: str | None = None
) -> Credentials:
    """The credentials of this process at a gateway.

    Args:
        control_url: Its control plane.
        ca: Path of the certificates to trust instead of the system's.
        certificate: Path of the certificate, with its key, that this client shows.
    """
    with LOCK:
        key = control_url.rstrip("/"), ca, certificate
        if key not in OPENED:
            OPENED[key] = Credentials(key[0], ca=ca, certificate=certificate)
        return OPENED[key]


def credentials_among(
    connections: Iterable[GatewayConnection], folder: Path, url: str | None = None
) -> Credentials:
    """The credentials at the gateway that somebody means.

    Args:
        connections: Those of gateways in ``nbgov.yaml``.
        folder: What relative paths there are relative to.
        url: The control plane, if it is named.

    Raises:
        RequestInvalid: It is not clear which one, or the url is not private (``usage``).
    """
    named = None if url is None else url.rstrip("/")
    places = {
        (control, one.ca, one.certificate)
        for one in connections
        if (control := one.control.rstrip("/")) == named or named is None
    }
    # Security: the proof of who somebody is goes there; in clear it would be anybody's.
    if not places and named is not None and is_private_url(named):
        return credentials_for(named)
    if len(places) != 1:
        raise RequestInvalid(
            f"{'Several gateways are' if places else 'No gateway is'} named.",
            code="usage",
            why="nbgov.yaml names " + (", ".join(sorted(url for url, *_ in places)) or "none"),
            next_step="name the control plane: --gateway https://HOST:PORT",
        )
    [(control, *paths)] = places
    ca, certificate = (None if one is None else str(folder / one) for one in paths)
    return credentials_for(control, ca=ca, certificate=certificate)


def facts_of(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a gateway knows of somebody, as labels and texts that can be shown."""
    lists = (
        (label, visible(", ".join(map(str, told[label]))) or "none")
        for label in ("groups", "roles")
    )
    account = f"{visible(str(told['account']))} ({visible(str(told['via']))})"
    return [("name", visible(str(told["name"]))), *lists, ("account", account)]


class Credentials:
    """Tokens of one gateway, made when they are needed. Safe to use from several threads.

    Security: no token is ever shown, written or put into the environment, where every process that
    is started would inherit it.

    Args:
        control_url: The gateway's control plane.
        ca: Path of the certificates to trust there instead of the system's.
        certificate: Path of the certificate, with its key, that this client shows there.
    """

    def __init__(
        self, control_url: str, *, ca: str | None = None, certificate: str | None = None
    ) -> None:
        self.control_url = control_url
        self.http = Http(control_url, ca=ca, certificate=certificate)
        self.keeping = Keeping(control_url)
        self.lock = threading.RLock()
        self.tokens: dict[Audience, Token] = {}
        self.proven: Proven | None = None
        self.is_kept = False

    def __repr__(self) -> str:
        return f"<credentials for {self.control_url}>"

    def __reduce__(self) -> str:
        # Security: pickled, tokens would leave with the notebook's objects.
        raise TypeError("credentials stay in their process")

    def data(self) -> str:
        """A token of the data plane.

        Raises:
            IdentityFailed: Nobody is logged in (``not-logged-in``), or the gateway refuses.
            BackendFailed: The gateway or the issuer does not answer.
        """
        return self.token(Audience.DATA)

    def control(self) -> str:
        """A token of the control plane.

        Raises:
            IdentityFailed: As :meth:`data` does.
            BackendFailed: As :meth:`data` does.
        """
        return self.token(Audience.CONTROL)

    def token(self, audience: Audience) -> str:
        """A token for an audience that is good for a while yet."""
        with self.lock:
            held = self.tokens.get(audience)
            if held is None or held.is_ending:
                held = exchanged(self.http, self.control_url, self.proof(), audience)
                self.tokens[audience] = held
            return held.text

    def proof(self) -> str:
        """A token of an issuer that is good for a while yet.

        Raises:
            IdentityFailed: There is none, and none can be had (``not-logged-in``).
        """
        from nbgov.login import jobs

        if jobs.variable():
            return jobs.found(self.http)
        with self.keeping.alone():
            self.follow()
            if self.proven is not None and self.proven.is_ending and self.proven.refresh_token:
                self.renew(self.proven)
        if self.proven is None or self.proven.is_over:
            raise IdentityFailed(
                "Nobody is logged in at the gateway.",
                code="not-logged-in",
                why=f"there is no login for {self.control_url}, or it is over",
                next_step="log in: nbgov login, or %nbgov login in a notebook",
            )
        return self.proven.access_token

    def follow(self) -> None:
        """Take over what another process has made of the login that is kept.

        It may have renewed it, or ended it. If it has put somebody else's in its place, this
        process goes on as who it is: nobody's statements run under another name in the middle.
        """
        if self.proven is not None and not self.is_kept:
            return
        kept = self.keeping.load()
        if self.proven is not None and kept is not None and not kept.is_of(self.proven):
            self.is_kept = False
        elif self.proven is None or kept is None or kept.access_token != self.proven.access_token:
            self.proven, self.is_kept = kept, kept is not None

    def renew(self, proven: Proven) -> None:
        """Get new tokens for a login."""
        from nbgov.login.oidc import refreshed

        try:
            new = refreshed(self.http, proven)
        except IdentityFailed:
            # The issuer gives nothing more for it: the login is over there.
            self.forget_login()
            raise
        except BackendFailed:
            if proven.is_over:
                raise
            return
        self.proven = new
        if self.is_kept:
            self.is_kept = self.keeping.save(new, is_remembered=self.keeping.is_remembered)

    def log_in(
        self, way: Callable[[Http, Place], Proven], *, issuer: str = "", is_remembered: bool = False
    ) -> str:
        """Log in, and give the name of the principal.

        Args:
            way: Gets a token of an issuer that the gateway names.
            issuer: Name of the issuer; not needed where there is one.
            is_remembered: Whether the refresh token is kept, so that the login lasts.

        Raises:
            RequestInvalid: The issuer has to be named, or this runs as a job (``usage``).
            IdentityFailed: It was refused, or not finished.
            BackendFailed: The gateway or the issuer does not answer.
        """
        from nbgov.login import jobs
        from nbgov.login.oidc import choose

        if name := jobs.variable():
            raise RequestInvalid(
                "Nobody can log in where a job runs.",
                code="usage",
                why=f"${name} says who it is",
                next_step=f"unset ${name} to log in",
            )
        proven = way(self.http, choose(self.http.get(f"{self.control_url}/v1/login"), issuer))
        token = exchanged(self.http, self.control_url, proven.access_token, Audience.CONTROL)
        with self.lock, self.keeping.alone():
            self.tokens = {Audience.CONTROL: token}
            self.proven = replace(proven, principal=token.principal)
            self.is_kept = self.keeping.save(self.proven, is_remembered=is_remembered)
        return token.principal

    def whoami(self) -> dict[str, Any]:
        """What the gateway knows of the one who is logged in.

        Raises:
            IdentityFailed: Nobody is.
            BackendFailed: The gateway does not answer.
        """
        return self.called("GET", "/v1/whoami")

    def called(self, method: str, path: str) -> dict[str, Any]:
        """What the control plane answers; asked again with a new token if it wants one.

        Raises:
            IdentityFailed: Nobody is logged in.
            BackendFailed: It does not answer.
        """
        url = f"{self.control_url}{path}"
        for _ in range(2):
            headers = {"Authorization": f"Bearer {self.control()}"}
            status, told = self.http.call(method, url, headers=headers)
            if status != UNAUTHORIZED:
                break
            self.forget()
        if status >= FAILED:
            raise unavailable(url, f"it answered {status}")
        return told

    def forget(self) -> None:
        """Forget the tokens of the gateway; the next one is exchanged anew."""
        with self.lock:
            self.tokens.clear()

    def forget_login(self) -> None:
        """Forget everything, here and where it was kept."""
        with self.lock:
            self.tokens.clear()
            if self.is_kept:
                self.keeping.remove()
            self.proven, self.is_kept = None, False

    def log_out(self) -> None:
        """End every login at the gateway and the one at the issuer, and forget everything.

        Raises:
            BackendFailed: The gateway does not answer; everything is forgotten all the same.
        """
        from nbgov.login.oidc import revoke

        try:
            self.called("DELETE", "/v1/session")
        except IdentityFailed:
            pass  # There is no login that could be ended.
        finally:
            proven = self.proven
            self.forget_login()
            if proven is not None:
                revoke(self.http, proven)

"""Signing in through an issuer: code and PKCE, with the gateway's pages as the client (RFC 9700).

The browser is sent to the issuer and comes back with a code, which the gateway itself trades for a
token. The token is proven as on every other way in, and no page or cookie ever holds it.
"""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from nbgov.core.markup import element
from nbgov.errors import BackendFailed, NbgovError, RequestInvalid
from nbgov.gateway.control.access import Home, address
from nbgov.gateway.control.exchange import Believed, record_refusal
from nbgov.gateway.pages import cookies
from nbgov.gateway.pages.shell import HEADERS, ROOT, SIGN_IN, Doer, PageRoute, back_to, page
from nbgov.login.http import Http
from nbgov.login.loopback import asking, challenge_of, require_ours
from nbgov.login.oidc import Place, discover, endpoint, failed, granted
from nbgov.model import Audience
from nbgov.wiring import read_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbgov.config.gateway import IssuerEntry
    from nbgov.gateway.house import House
    from nbgov.gateway.identity import Identities

CALLBACK = f"{ROOT}/callback"
FRONT = f"{ROOT}/tickets"
# Security: a page of this gateway and nothing else, or a sign-in would end on a stranger's page.
OWN_PAGE = re.compile(r"/pages(/[A-Za-z0-9_.~/-]*)?(\?[A-Za-z0-9_.~%&=+*:-]*)?")
PATH_CHARS_MAX = 1_000
Next = Annotated[str, Query(alias="next", max_length=4_000)]


def own_page(path: str) -> str:
    """A page of ours to go on to, else the first one.

    >>> own_page("/pages/tickets/1f"), own_page("//evil.test/"), own_page("/pages/../v1")
    ('/pages/tickets/1f', '/pages/tickets', '/pages/tickets')
    """
    is_long, is_away = len(path) > PATH_CHARS_MAX, "//" in path or "/.." in path
    is_ours = OWN_PAGE.fullmatch(path) is not None and not is_long and not is_away
    return path if is_ours and not path.startswith((SIGN_IN, CALLBACK)) else FRONT


HTTP = Http("")
router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get(SIGN_IN)
def choose(request: Request, house: Home, identities: Believed, then: Next = "") -> Response:
    """Where one can sign in."""
    home, path = cookies.home_of(house, request), quote(own_page(then), safe="")
    links = [
        element(
            "p",
            element(
                "a",
                f"Sign in with {name}",
                href=f"{home}{SIGN_IN}/{name}?next={path}",
                class_="button",
            ),
        )
        for name in clients(identities)
    ]
    none = element("p", "No issuer of this gateway lets people sign in with a browser.")
    about = "You are sent to your organisation's sign-in, and come back here."
    return page("Sign in", element("p", about, class_="soft"), *(links or [none]))


@router.get(f"{SIGN_IN}/{{issuer}}")
def begin(
    issuer: str, request: Request, house: Home, identities: Believed, then: Next = ""
) -> Response:
    """Go to the issuer."""
    entry = entry_of(identities, issuer)
    found = discover(HTTP, entry.issuer)
    verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    kept = {"issuer": issuer, "verifier": verifier, "state": state, "nonce": nonce}
    query = {
        "client_id": client_of(entry),
        "response_type": "code",
        "scope": " ".join(one for one in entry.scopes if one != "offline_access"),
        "redirect_uri": cookies.home_of(house, request) + CALLBACK,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
    }
    url = asking(endpoint(found, "authorization_endpoint"), query)
    answer = RedirectResponse(url, HTTPStatus.SEE_OTHER, HEADERS)
    sealed = cookies.seal(house, kept | {"next": own_page(then)})
    cookies.keep(answer, house, request, cookies.SIGN_IN, sealed, lasts_s=cookies.SIGN_IN_S)
    return answer


@router.get(CALLBACK)
def come_back(request: Request, house: Home, identities: Believed) -> Response:
    """Come back from the issuer, and in."""
    kept = cookies.unseal(house, cookies.read(house, request, cookies.SIGN_IN))
    answered = dict(request.query_params)
    # Security: an answer that another browser asked for would sign in as somebody else.
    if not secrets.compare_digest(answered.get("state", "").encode(), kept["state"].encode()):
        raise cookies.not_ours()
    entry = entry_of(identities, kept["issuer"])
    try:
        proof = identities.prove(trade(house, request, entry, kept, answered))
        token, login = house.admit(
            proof,
            Audience.CONTROL,
            address=address(request),
            agent=request.headers.get("user-agent", ""),
        )
    except BackendFailed:
        raise
    except NbgovError as error:
        record_refusal(house, error, address(request))
        raise
    lasts = login.expires_at - login.opened_at
    answer = back_to(own_page(kept["next"]))
    cookies.keep(answer, house, request, cookies.LOGIN, token, lasts_s=int(lasts.total_seconds()))
    cookies.keep(answer, house, request, cookies.SIGN_IN, "", lasts_s=0)
    return answer


@router.post(f"{ROOT}/sign-out")
def leave(visit: Doer, request: Request) -> Response:
    """End the login of this browser, and no other one."""
    house, guest = visit.house, visit.guest
    house.end(login=guest.login.id, by=guest.principal, reason="signed out")
    answer = page("Signed out", element("p", element("a", "Sign in again", href=SIGN_IN)))
    cookies.keep(answer, house, request, cookies.LOGIN, "", lasts_s=0)
    return answer


# ---------------------------------------------------------------- how it is done


def trade(
    house: House,
    request: Request,
    entry: IssuerEntry,
    kept: Mapping[str, str],
    answered: Mapping[str, str],
) -> str:
    """The token behind a code.

    Raises:
        IdentityFailed: The issuer gives none (``login-failed``).
        BackendFailed: It does not answer.
    """
    found = discover(HTTP, entry.issuer)
    place = Place(entry.issuer, client_of(entry), entry.scopes)
    require_ours(answered, found, place)
    form = {
        "grant_type": "authorization_code",
        "code": answered["code"],
        "redirect_uri": cookies.home_of(house, request) + CALLBACK,
        "code_verifier": kept["verifier"],
    }
    if entry.pages_client_secret:
        secret = read_secret(entry.pages_client_secret, house.site.path.parent)
        form["client_secret"] = secret.reveal()
    nonce = kept["nonce"]
    proven = granted(HTTP, endpoint(found, "token_endpoint"), form, place, nonce=nonce)
    if not proven.access_token:
        raise failed("nothing that proves who you are")
    return proven.access_token


def clients(identities: Identities) -> Mapping[str, IssuerEntry]:
    """The issuers that people can sign in at with a browser, by name."""
    return {name: entry for name, entry in identities.terms.issuers.items() if client_of(entry)}


def client_of(entry: IssuerEntry) -> str:
    """As which client the pages come to an issuer."""
    return entry.pages_client_id or entry.client_id or ""


def entry_of(identities: Identities, name: str) -> IssuerEntry:
    """An issuer that people can sign in at.

    Raises:
        RequestInvalid: There is none of the name (``page-unknown``).
    """
    found = clients(identities).get(name)
    if found is None:
        raise RequestInvalid(
            "There is no such issuer.", code="page-unknown", next_step="choose one of those shown"
        )
    return found

"""How a proof of identity becomes a token of the gateway: a token exchange, as RFC 8693 has it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Form, Header, Request, Response
from fastapi.responses import JSONResponse

from nbgov.assurance.deeds import record_admin
from nbgov.core.case import status_of
from nbgov.errors import BackendFailed, IdentityFailed, NbgovError
from nbgov.gateway.control.access import Caller, Home, address
from nbgov.gateway.control.problems import AUTH, documented
from nbgov.gateway.identity import Identities
from nbgov.model import Audience, Principal

if TYPE_CHECKING:
    from nbgov.gateway.house import House

LOGGER = logging.getLogger("nbgov.gateway")
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, no token
JWT = "urn:ietf:params:oauth:token-type:jwt"
TYPES = frozenset({ACCESS_TOKEN, JWT})
AUDIENCES = tuple(one.value for one in Audience)
TEXT = {"type": "string"}
NO_STORE = {"Cache-Control": "no-store"}


# What takes no knowledge to send.
FLOODED = {"token-malformed", "token-issuer", "token-algorithm", "token-key", "token-type"}
FLOODED |= {"token-critical", "token-signature"}
EXCHANGED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A token.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["access_token", "issued_token_type", "token_type", "expires_in"],
                    "properties": {
                        "access_token": TEXT,
                        "issued_token_type": TEXT,
                        "token_type": TEXT,
                        "expires_in": {"type": "integer"},
                        "scope": TEXT,
                        "principal": TEXT,
                        "login": TEXT,
                    },
                }
            }
        },
    },
    **documented(),
    **{
        status: {
            "description": told,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["error", "error_description", "nbgov_code"],
                        "properties": {
                            "error": TEXT,
                            "error_description": TEXT,
                            "nbgov_code": TEXT,
                        },
                    }
                }
            },
        }
        for status, told in ((400, "No token exchange."), (401, "The proof proves nothing."))
    },
}

router = APIRouter(tags=["session"])


def identities_of(request: Request) -> Identities:
    """Whose tokens are believed where a request came to."""
    found: Identities = request.app.state.identities
    return found


Believed = Annotated[Identities, Depends(identities_of)]


@router.post("/v1/session", responses=EXCHANGED, response_model=None)
def exchange(
    house: Home,
    identities: Believed,
    request: Request,
    grant_type: Annotated[str, Form(json_schema_extra={"enum": [GRANT]})],
    subject_token: Annotated[str, Form(min_length=1)],
    subject_token_type: Annotated[str, Form(json_schema_extra={"enum": sorted(TYPES)})],
    audience: Annotated[
        str, Form(json_schema_extra={"enum": list(AUDIENCES)})
    ] = Audience.DATA.value,
    user_agent: Annotated[str, Header()] = "",
) -> Response:
    """Exchange a proof of identity for a token of the gateway (RFC 8693)."""
    if grant_type != GRANT:
        return problem("unsupported_grant_type", "this is a token exchange and nothing else")
    if subject_token_type not in TYPES:
        return problem("invalid_request", "subject_token_type is none that is known")
    if audience not in AUDIENCES:
        return problem("invalid_target", f"audience is one of {', '.join(AUDIENCES)}")
    try:
        proof = identities.prove(subject_token)
        token, login = house.admit(
            proof, Audience(audience), address=address(request), agent=user_agent
        )
    except BackendFailed:
        raise
    except NbgovError as error:
        record_refusal(house, error, address(request))
        return problem("invalid_grant", str(error.why or error.what), code=error.code)
    lasts = login.expires_at - login.opened_at
    return JSONResponse(
        {
            "access_token": token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": int(lasts.total_seconds()),
            "scope": audience,
            "principal": login.principal.name,
            "login": login.id,
        },
        headers=NO_STORE,
    )


@router.delete("/v1/session", status_code=204, responses=documented(*AUTH))
def leave(house: Home, caller: Caller) -> None:
    """End every login of the one who asks, on both planes."""
    name = caller.principal.name
    house.end(principal=name, by=caller.principal, reason="logged out")


@router.get("/v1/login")
def login_at(house: Home, identities: Believed) -> dict[str, Any]:
    """Where to log in, and where the data plane is: what a client has to know."""
    terms = house.terms
    return {
        "issuers": [
            {
                "name": name,
                "kind": entry.kind,
                "issuer": entry.issuer,
                "client_id": entry.client_id,
                "audience": entry.audience,
                "scopes": list(entry.scopes),
            }
            for name, entry in identities.logins().items()
        ],
        "data_url": terms.data_url or flight_url(terms.data, is_secure=terms.tls is not None),
        "audiences": list(AUDIENCES),
    }


def flight_url(address: str, *, is_secure: bool) -> str:
    """The url of a data plane that listens at an address."""
    return f"{'grpc+tls' if is_secure else 'grpc'}://{address}"


def problem(error: str, why: str, *, code: str = "usage") -> Response:
    """An error as RFC 6749 has it, with the code of nbgov's own."""
    status = 401 if error == "invalid_grant" else 400
    body = {"error": error, "error_description": why, "nbgov_code": code}
    return JSONResponse(body, status_code=status, headers=NO_STORE)


def record_refusal(house: House, error: NbgovError, where: str) -> None:
    """Record that somebody was not let in. Nothing of what they sent is kept."""
    house.tally.add("logins_refused", code=error.code)
    if isinstance(error, IdentityFailed) and error.code in FLOODED:
        # Anybody can send any number of these; they are counted, and no entry is made of them.
        return
    record_admin(
        house.site.world,
        "LOGIN",
        session=house.site.id,
        principal=Principal(""),
        status=status_of(error),
        code=error.code,
        origin={"address": where},
    )

"""Errors as the control plane tells them: RFC 9457 problems with everything that a person needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import Response
from starlette.routing import Match, Route

from nbgov.core.transport import write_error
from nbgov.errors import (
    ApprovalNeeded,
    BackendFailed,
    ConfigInvalid,
    Denied,
    IdentityFailed,
    IntegrityFailed,
    NbgovError,
    RequestInvalid,
)
from nbgov.gateway.mishaps import mishap

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

MEDIA = "application/problem+json"
# By code, for those that are not what their type says.
CODES: Mapping[str, HTTPStatus] = {
    "audit-broken": HTTPStatus.INTERNAL_SERVER_ERROR,
    "body-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "checkpoint-invalid": HTTPStatus.INTERNAL_SERVER_ERROR,
    "database-error": HTTPStatus.BAD_REQUEST,
    "gateway-busy": HTTPStatus.TOO_MANY_REQUESTS,
    "index-damaged": HTTPStatus.INTERNAL_SERVER_ERROR,
    "method-unknown": HTTPStatus.METHOD_NOT_ALLOWED,
    "name-taken": HTTPStatus.CONFLICT,
    "page-unknown": HTTPStatus.NOT_FOUND,
    "unknown-connection": HTTPStatus.NOT_FOUND,
    "unknown-dataset": HTTPStatus.NOT_FOUND,
    "unknown-login": HTTPStatus.NOT_FOUND,
    "unknown-model": HTTPStatus.NOT_FOUND,
    "unknown-record": HTTPStatus.NOT_FOUND,
    "unknown-reference": HTTPStatus.NOT_FOUND,
    "unknown-run": HTTPStatus.NOT_FOUND,
    "unknown-ticket": HTTPStatus.NOT_FOUND,
}
TYPES: Mapping[type[NbgovError], HTTPStatus] = {
    ApprovalNeeded: HTTPStatus.CONFLICT,
    BackendFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    ConfigInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    Denied: HTTPStatus.FORBIDDEN,
    IdentityFailed: HTTPStatus.UNAUTHORIZED,
    IntegrityFailed: HTTPStatus.CONFLICT,
    RequestInvalid: HTTPStatus.BAD_REQUEST,
}
TOLD = {
    HTTPStatus.BAD_REQUEST: "The request does not make sense.",
    HTTPStatus.UNAUTHORIZED: "There is no token of this plane that counts.",
    HTTPStatus.FORBIDDEN: "The caller may not do this.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or the caller may not see it.",
    HTTPStatus.CONFLICT: "It changed meanwhile, or is past that.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request does not have the shape that is written here.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too much is open already.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The gateway failed; its log says how.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Something that the gateway needs does not answer.",
}
# What ends a call of somebody who is not in, or may not do it.
AUTH = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
TEXT = {"type": "string"}
# JSON Schema of a problem, in the OpenAPI document.
PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "An error: what happened, why, and what to do next (RFC 9457).",
    "properties": {
        **dict.fromkeys(("type", "title", "detail", "kind", "code", "what", "why"), TEXT),
        **dict.fromkeys(("next_step", "ticket", "sqlstate"), TEXT),
        "status": {"type": "integer"},
        "record": {"type": ["integer", "null"]},
        "receipt": {"type": ["string", "null"]},
    },
    "required": ["type", "title", "status", "detail", "kind", "what", "why", "next_step", "code"],
}


def documented(*more: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of errors: those of every call, and more."""
    every = (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status.value: {"description": TOLD[status], "content": content}
        for status in sorted({*every, *more})
    }


def status_of(error: NbgovError) -> HTTPStatus:
    """The HTTP status of an error."""
    return CODES.get(error.code) or TYPES[type(error)]


def problem(error: NbgovError, status: HTTPStatus | None = None) -> Response:
    """An error as an answer."""
    status = status or status_of(error)
    body = json.loads(write_error(error)) | {
        "type": f"urn:nbgov:error:{error.code}",
        "title": error.what,
        "status": status.value,
        "detail": error.why or error.what,
    }
    # Security: RFC 6750 wants it, and no browser asks for a password because of it.
    headers = {"www-authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
    return Response(json.dumps(body), status.value, headers, MEDIA)


# ---------------------------------------------------------------- handlers


async def tell_error(_: Request, error: Exception) -> Response:
    """The answer to a request that nbgov refused."""
    assert isinstance(error, NbgovError)
    return problem(error)


async def tell_shape(_: Request, error: Exception) -> Response:
    """The answer to a request that has not the shape that the document writes down."""
    # Security: what was sent is not told back; it may hold a token or a value.
    found: RequestValidationError = error  # type: ignore[assignment]
    first = found.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, int | str))
    told = RequestInvalid(
        "The request has not the shape that it should.",
        code="usage",
        why=f"{place[:100]}: {first['type']}",
        next_step="compare it with /openapi.json",
    )
    return problem(told, HTTPStatus.UNPROCESSABLE_ENTITY)


async def tell_http(request: Request, error: Exception) -> Response:
    """The answer to a request that leads nowhere."""
    found: HTTPException = error  # type: ignore[assignment]
    status = HTTPStatus(found.status_code)
    code = {404: "page-unknown", 405: "method-unknown"}.get(status.value, "usage")
    told = RequestInvalid(
        f"{status.phrase}.", code=code, next_step="see what there is in /openapi.json"
    )
    answer = problem(told, status)
    answer.headers.update(found.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["allow"] = ", ".join(sorted(methods(request)))
    return answer


def methods(request: Request) -> set[str]:
    """The methods that an address takes, over all that is there."""
    routes = [one for one in request.app.routes if isinstance(one, Route)]
    fitting = (one for one in routes if one.matches(request.scope)[0] is not Match.NONE)
    return {method for route in fitting for method in route.methods or ()}


def broken(error: BaseException) -> Response:
    """The answer to a request on which the gateway itself failed: a number to ask for."""
    return problem(mishap(error), HTTPStatus.INTERNAL_SERVER_ERROR)

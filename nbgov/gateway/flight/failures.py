"""Errors as gRPC tells them: a status, a message, and trailers. Nothing else ever leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import grpc

from nbgov.core.transport import write_error
from nbgov.core.wire import WireError, error_details
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
    from typing import NoReturn

MESSAGE_CHARS_MAX = 1_000
STATUS = grpc.StatusCode
# Status and SQLSTATE by code, for those that are not what their type says.
CODES: Mapping[str, tuple[grpc.StatusCode, str]] = {
    "audit-unavailable": (STATUS.UNAVAILABLE, "58030"),
    "bind-missing": (STATUS.INVALID_ARGUMENT, "07002"),
    "bind-type": (STATUS.INVALID_ARGUMENT, "07006"),
    "cancelled": (STATUS.CANCELLED, "57014"),
    "database-error": (STATUS.INVALID_ARGUMENT, "HY000"),
    "database-unavailable": (STATUS.UNAVAILABLE, "08001"),
    "gateway-busy": (STATUS.RESOURCE_EXHAUSTED, "53300"),
    "gateway-draining": (STATUS.UNAVAILABLE, "57P01"),
    "not-supported": (STATUS.UNIMPLEMENTED, "0A000"),
    "state-unavailable": (STATUS.UNAVAILABLE, "58030"),
    "syntax": (STATUS.INVALID_ARGUMENT, "42601"),
    "ticket-invalid": (STATUS.NOT_FOUND, "26000"),
    "too-many-bytes": (STATUS.RESOURCE_EXHAUSTED, "54000"),
    "unknown-column": (STATUS.INVALID_ARGUMENT, "42703"),
    "unknown-connection": (STATUS.NOT_FOUND, "3D000"),
    "unknown-table": (STATUS.NOT_FOUND, "42P01"),
}
TYPES: Mapping[type[NbgovError], tuple[grpc.StatusCode, str]] = {
    ApprovalNeeded: (STATUS.FAILED_PRECONDITION, "42501"),
    Denied: (STATUS.PERMISSION_DENIED, "42501"),
    IdentityFailed: (STATUS.UNAUTHENTICATED, "28000"),
    RequestInvalid: (STATUS.INVALID_ARGUMENT, "22023"),
    BackendFailed: (STATUS.INTERNAL, "58000"),
    IntegrityFailed: (STATUS.FAILED_PRECONDITION, "55000"),
    ConfigInvalid: (STATUS.INTERNAL, "F0000"),
}


def status_of(error: NbgovError) -> tuple[grpc.StatusCode, str]:
    """The gRPC status and the SQLSTATE of an error."""
    status, sqlstate = CODES.get(error.code) or TYPES[type(error)]
    told = getattr(error, "sqlstate", "")
    if told and error.code == "database-error":
        # The database's own number: its first two digits say whether the statement is to blame.
        return (STATUS.INVALID_ARGUMENT if told[:2] in {"22", "23", "42"} else status), told
    return status, sqlstate


def sentence(error: NbgovError, sqlstate: str) -> str:
    """An error on one line, as tools show it."""
    parts = filter(None, (error.what, error.why, error.next_step))
    text = " ".join(f"{part[:1].upper()}{part[1:].rstrip('.')}." for part in parts)
    record = "" if error.record is None else f" Record {error.record}."
    return f"[{sqlstate}] {text[:MESSAGE_CHARS_MAX]}{record} ({error.code})".replace("\n", " ")


def translated(error: BaseException) -> NbgovError:
    """What people are told of an error; of one that nobody expected, a number to ask for."""
    if isinstance(error, NbgovError):
        return error
    if isinstance(error, WireError):
        return RequestInvalid(
            "The message is none that this gateway reads.",
            code="usage",
            why=str(error),
            next_step="use a client of Arrow Flight SQL",
        )
    return mishap(error)


def abort(context: grpc.ServicerContext, error: BaseException) -> NoReturn:
    """End a call with an error. Raises what ends the handler."""
    told = translated(error)
    status, sqlstate = status_of(told)
    text = sentence(told, sqlstate)
    facts = {"sqlstate": sqlstate, "next": told.next_step}
    if isinstance(told, ApprovalNeeded):
        facts["ticket"] = told.ticket
    context.set_trailing_metadata(
        (
            ("x-nbgov-sqlstate", sqlstate),
            ("x-nbgov-error-bin", write_error(told)),
            ("grpc-status-details-bin", error_details(status.value[0], text, told.code, facts)),
        )
    )
    context.abort(status, text)
    raise AssertionError

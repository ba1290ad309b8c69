"""Requests, decisions and errors as JSON, for the way between a notebook and its gateway.

Values of :mod:`nbgov.model` keep their types: what JSON has no word for is an object whose key
``$`` names it. Only what is listed in :data:`SHAPES` is ever made of a text.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from nbgov import model
from nbgov.core.approval import read_binds, write_binds
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
from nbgov.model import Request, Summary

TAG = "$"
SHAPES: Mapping[str, type] = {
    name: shape
    for name, shape in vars(model).items()
    if isinstance(shape, type) and (dataclasses.is_dataclass(shape) or issubclass(shape, enum.Enum))
}
ERRORS: Mapping[str, type[NbgovError]] = {
    shape.__name__: shape
    for shape in (
        BackendFailed, ConfigInvalid, Denied, IdentityFailed, IntegrityFailed, RequestInvalid,
    )
}  # fmt: skip
# What of a request the one who asks says; the gateway adds the rest.
# Security: whoever could veil bound values here would let voters consent to what they cannot see.
ASKED = ("connection", "sql", "rows_max", "dataset", "origin", "id", "ticket", "is_tracked")


def write(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(plain(value), separators=(",", ":"))


def read(text: str | bytes) -> Any:
    """The value behind :func:`write`.

    Raises:
        ValueError: The text is none.
    """
    try:
        return restored(json.loads(text))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if dataclasses.is_dataclass(value):
        parts = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {TAG: type(value).__name__, **parts}
    for kind, form in PLAIN.items():
        if isinstance(value, kind):
            return form(value)
    raise TypeError(type(value).__name__)


PLAIN: Mapping[Any, Callable[[Any], Any]] = {
    enum.Enum: lambda value: {TAG: type(value).__name__, "value": value.value},
    str: str,
    Mapping: lambda value: {TAG: "map", "of": [[plain(k), plain(v)] for k, v in value.items()]},
    frozenset: lambda value: {TAG: "set", "of": sorted(map(plain, value), key=json.dumps)},
    tuple: lambda value: [plain(one) for one in value],
    list: lambda value: [plain(one) for one in value],
    bytes: lambda value: {TAG: "bytes", "hex": value.hex()},
    datetime: lambda value: {TAG: "at", "iso": value.isoformat()},
}


def restored(value: Any) -> Any:
    """The value behind :func:`plain`; a list comes back as a tuple."""
    if isinstance(value, list):
        return tuple(restored(one) for one in value)
    if not isinstance(value, dict):
        return value
    name = value[TAG]
    if name in RESTORE:
        return RESTORE[name](value)
    shape = SHAPES[name]
    if issubclass(shape, enum.Enum):
        return shape(value["value"])
    return shape(**{key: restored(part) for key, part in value.items() if key != TAG})


RESTORE: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "map": lambda value: {restored(k): restored(v) for k, v in value["of"]},
    "set": lambda value: frozenset(restored(one) for one in value["of"]),
    "bytes": lambda value: bytes.fromhex(value["hex"]),
    "at": lambda value: datetime.fromisoformat(value["iso"]),
}


# ---------------------------------------------------------------- requests


def write_request(request: Request, *, connection: str) -> bytes:
    """A request as it travels, for a connection as the gateway calls it.

    Raises:
        RequestInvalid: A bound value has a type that cannot be bound (``bind-type``).
    """
    asked = {name: getattr(request, name) for name in ASKED} | {"connection": connection}
    asked["origin"] = dict(request.origin) if isinstance(request.origin, Mapping) else {}
    asked["binds"] = write_binds(request.binds)
    return json.dumps(asked, separators=(",", ":")).encode()


def read_request(text: bytes) -> Request:
    """The request behind :func:`write_request`.

    Raises:
        RequestInvalid: The text is none (``usage``).
    """
    try:
        asked = json.loads(text)
        found = Request(**{name: asked[name] for name in ASKED}, binds=read_binds(asked["binds"]))
        expected = {f.name: str(f.type) for f in dataclasses.fields(Request)}
        is_sound = all(is_of(expected[name], asked[name]) for name in ASKED)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_sound = False
    if not is_sound:
        raise RequestInvalid(
            "The request does not read as one.",
            code="usage",
            why="it was not written by this version of nbgov",
            next_step="use the same version at the client and at the gateway",
        )
    return found


def is_of(kind: str, value: Any) -> bool:
    """Whether a value has the type that a field of a request declares."""
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int | None":
        return value is None or (isinstance(value, int) and not isinstance(value, bool))
    return isinstance(value, dict) and all(
        isinstance(one, str) for pair in value.items() for one in pair
    )


# ---------------------------------------------------------------- results


def write_summary(summary: Summary) -> bytes:
    """All that is known of a result once it has ended."""
    return write(summary).encode()


def fill_summary(summary: Summary, text: bytes) -> None:
    """Take over what :func:`write_summary` told.

    Raises:
        ValueError: The text is none.
    """
    found = read(text)
    if not isinstance(found, Summary):
        raise ValueError(type(found).__name__)  # noqa: TRY004 - a text that is none, like others
    for field in dataclasses.fields(Summary):
        value = getattr(found, field.name)
        setattr(summary, field.name, list(value) if field.name == "remarks" else value)


# ---------------------------------------------------------------- errors


def write_error(error: NbgovError, **more: str) -> bytes:
    """An error as it travels, with everything that a person is shown."""
    told = {
        "kind": type(error).__name__,
        "what": error.what,
        "why": error.why,
        "next_step": error.next_step,
        "code": error.code,
        "record": error.record,
        "receipt": error.receipt,
        "ticket": getattr(error, "ticket", ""),
        "sqlstate": getattr(error, "sqlstate", ""),
    }
    return json.dumps(told | more, separators=(",", ":")).encode()


def read_error(text: bytes) -> NbgovError | None:
    """The error behind :func:`write_error`; ``None`` where the text is none."""
    try:
        told = json.loads(text)
        words = {name: str(told[name]) for name in ("why", "next_step")}
        error: NbgovError
        if told["kind"] == ApprovalNeeded.__name__:
            error = ApprovalNeeded(str(told["what"]), ticket=str(told["ticket"]), **words)
        else:
            error = ERRORS[told["kind"]](str(told["what"]), code=str(told["code"]), **words)
        error.record, error.receipt = told["record"], told["receipt"]
        if isinstance(error, BackendFailed):
            error.sqlstate = str(told["sqlstate"])
    except (ValueError, KeyError, TypeError):
        return None
    return error

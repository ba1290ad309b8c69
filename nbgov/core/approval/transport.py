"""Approval tickets as plain JSON, as the control plane of a gateway tells them to any client."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from nbgov.model import Approval
from nbgov.strict import adapter


def plain(value: Any) -> Any:  # noqa: PLR0911 - a line for each kind of value
    """A value of :mod:`nbgov.model` as JSON has it: objects, lists and texts, without types.

    Example:
        >>> plain({"of": frozenset({"b", "a"}), "digest": bytes([255])})
        {'of': ['a', 'b'], 'digest': 'ff'}
    """
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(plain(item) for item in value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def approval_json(approval: Approval) -> dict[str, Any]:
    """A ticket as JSON has it, field for field; the digest of its binding as hex."""
    made: dict[str, Any] = plain(approval)
    return made


def read_approval(told: Mapping[str, Any]) -> Approval:
    """The ticket behind :func:`approval_json`; what a later version added is left out.

    Raises:
        ValueError: It makes no sense.
    """
    try:
        fields = {**told, "binding_digest": bytes.fromhex(told["binding_digest"])}
        read: Approval = adapter(Approval).validate_python(fields)
    except (ValidationError, KeyError, TypeError) as error:
        raise ValueError(f"no ticket: {type(error).__name__}") from None
    return read

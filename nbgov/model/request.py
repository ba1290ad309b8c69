"""Who asks, and what: principal and request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: The declared name, the same in policy, log and approvals.
        groups: Groups the name belongs to.
        roles: Roles the name holds.
        account: The OS account that the name was derived from.
        via: How the name was found out: ``os-account``, ``claim`` and so on. Two principals that
            differ in nothing else are one.
    """

    name: str
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    account: str = ""
    via: str = field(default="", compare=False)

    def is_among(
        self, *, names: Collection[str], groups: Collection[str], roles: Collection[str]
    ) -> bool:
        """Whether any one of a name, a group or a role fits."""
        return (
            self.name in names
            or not self.groups.isdisjoint(groups)
            or not self.roles.isdisjoint(roles)
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One ask, before anything is known about it.

    Attributes:
        connection: Name of the connection in ``nbgov.yaml``.
        sql: The user's text, byte for byte.
        binds: Values for ``:name`` markers; a list or tuple expands to an ``IN`` list.
        claim: The principal's declared name, or ``None`` for the one the OS account maps to.
        rows_max: Rows to deliver at most, or ``None``.
        dataset: The name the result is kept under in the dataset store, or empty.
        origin: Claims about where the request comes from, such as ``{"surface": "magic"}``.
        id: Name of the request, by which it can be cancelled; made up where it is empty.
        ticket: The only ticket that it may use, or empty; where it clears nothing, none is opened.
        undoes: Request id of an earlier statement that this one undoes, or empty. It needs the
            consent that the earlier one needed, whatever else the policy says.
        veiled: Whether bound values are a secret to voters and stores: a digest stands for them.
        is_tracked: Whether a run is open where it is asked, so that the result gets a profile.
    """

    connection: str
    sql: str
    binds: Mapping[str, Any] = field(default_factory=dict)
    claim: str | None = None
    rows_max: int | None = None
    dataset: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    ticket: str = ""
    undoes: str = ""
    veiled: bool = False
    is_tracked: bool = False

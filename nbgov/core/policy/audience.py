"""Whom a part of a policy is about, and whose consent it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

from nbgov.model import Principal

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a rule is about: any one match of a name, a group or a role; ``"*"`` is everybody."""

    __pydantic_config__ = STRICT
    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def holds(self, principal: Principal) -> bool:
        """Whether the principal is in the audience."""
        return (
            "*" in self.names
            or principal.name in self.names
            or not principal.groups.isdisjoint(self.groups)
            or not principal.roles.isdisjoint(self.roles)
        )


NOBODY = Audience()


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """Who has to consent, and how many of them."""

    __pydantic_config__ = STRICT
    by: Audience
    votes: Annotated[int, Field(ge=1, le=20)] = 1

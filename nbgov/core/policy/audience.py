"""Whom a part of a policy is about, and whose consent it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

from nbgov.model import ApprovalMode, Principal

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
        return "*" in self.names or principal.is_among(
            names=self.names, groups=self.groups, roles=self.roles
        )


NOBODY = Audience()


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """Who has to consent, how many of them, and what their consent is good for.

    Attributes:
        by: Who may vote.
        votes: How many different principals must approve.
        mode: ``once``, or ``window`` for every run of the same statement until it ends.
        wait_s: Seconds that a ticket waits for votes.
        valid_s: Seconds that a consent can be used for.
    """

    __pydantic_config__ = STRICT
    by: Audience
    votes: Annotated[int, Field(ge=1, le=20)] = 1
    mode: ApprovalMode = ApprovalMode.ONCE
    wait_s: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    valid_s: Annotated[int, Field(ge=60, le=2_592_000)] = 28_800


@dataclass(frozen=True, slots=True)
class EmergencyTerms:
    """Who may go ahead without votes (break-glass), and for how long.

    Attributes:
        by: Who may; nobody by default.
        valid_s: Seconds in which the statement can then be run, once.
    """

    __pydantic_config__ = STRICT
    by: Audience = NOBODY
    valid_s: Annotated[int, Field(ge=60, le=3_600)] = 900

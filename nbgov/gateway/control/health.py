"""Whether the process lives, and whether it can do its part. For anybody, so no names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from nbgov.errors import NbgovError
from nbgov.gateway.control.access import Home
from nbgov.gateway.control.shapes import Health, Readiness, answer

if TYPE_CHECKING:
    from nbgov.gateway.house import House
    from nbgov.gateway.identity import Identities

BELIEF_MS = 1_000
router = APIRouter(tags=["health"])


class Checks:
    """What a gateway needs, looked at once a second at most, however often it is asked.

    Args:
        house: Everything that the planes share.
        identities: Whose tokens are believed.
        more: What else is told by name: an empty text, or the code of what is wrong. The gateway
            can do its part all the same.
    """

    def __init__(
        self, house: House, identities: Identities, more: Mapping[str, Callable[[], str]]
    ) -> None:
        self.house = house
        self.identities = identities
        self.more = more
        self.lock = threading.Lock()
        self.known: tuple[int, Readiness] | None = None

    def now(self) -> Readiness:
        """Whether the gateway can do its part, and what it lacks."""
        # Security: anybody may ask, so asking more often costs nothing more.
        with self.lock:
            ticks = self.house.site.world.clock.ticks()
            if self.known is None or ticks - self.known[0] > BELIEF_MS:
                self.known = (ticks, self.look())
            return self.known[1]

    def look(self) -> Readiness:
        """Look at everything."""
        steps: dict[str, Callable[[], str]] = {
            "audit": self.audit,
            "policy": self.policy,
            "store": self.store,
            "issuers": self.issuers,
            "draining": lambda: "gateway-draining" if self.house.is_draining else "",
        }
        found = {name: outcome(step) for name, step in steps.items()}
        told = found | {name: outcome(step) for name, step in self.more.items()}
        return Readiness(not any(found.values()), {k: v or "ok" for k, v in told.items()})

    def audit(self) -> str:
        """Whether the log can be written: signing what is new takes the very same writer."""
        self.house.site.world.audit.checkpoint()
        return ""

    def policy(self) -> str:
        """Whether there is a policy, and it decodes."""
        from nbgov.core.policy import parse

        parse(self.house.site.world.policy.text())
        return ""

    def store(self) -> str:
        """Whether what the processes know together can be read."""
        self.house.store.stops()
        return ""

    def issuers(self) -> str:
        """Whether the keys of every issuer are at hand."""
        return "issuer-unavailable" if self.identities.missing_keys() else ""


def outcome(step: Callable[[], str]) -> str:
    """The code of what is wrong, or an empty text."""
    try:
        return step()
    except NbgovError as error:
        return error.code


@router.get("/healthz", response_model=Health)
def healthz() -> Response:
    """The process answers. Whether it can do its part is another question."""
    return answer(Health("ok"))


NOT_READY = {503: {"model": Readiness, "description": "Something that it needs is missing."}}


@router.get("/readyz", response_model=Readiness, responses=NOT_READY)  # type: ignore[arg-type]  # ints are what it takes
def readyz(request: Request, _: Home) -> Response:
    """Whether the gateway can do its part: log, policy, store, keys of issuers, not draining."""
    checks: Checks = request.app.state.checks
    found = checks.now()
    made = answer(found)
    made.status_code = HTTPStatus.OK if found.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return made

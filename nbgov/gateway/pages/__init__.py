"""The pages of a gateway: for people with a browser, signed in; they need no script.

Each page is made whole by the server of what the control plane answers, under the same rules: what
somebody may not see there reads as absent here.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from nbgov.errors import RequestInvalid
from nbgov.gateway.pages import audit, lineage, live, policy, signing, tickets
from nbgov.gateway.pages.shell import ROOT, Looker, PageRoute, back_to
from nbgov.gateway.pages.style import STYLE

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/")
@router.get(ROOT)
def begin() -> Response:
    """The first page."""
    return back_to(tickets.INBOX)


@router.get(f"{ROOT}/style.css")
def style() -> Response:
    """How pages look. It holds nothing of anybody, so a browser may keep it."""
    return Response(STYLE, media_type="text/css", headers={"cache-control": "max-age=3600"})


for module in (signing, tickets, audit, lineage, live, policy):
    router.include_router(module.router)


@router.get(f"{ROOT}/{{rest:path}}")
def nothing(rest: str, _: Looker) -> Response:  # noqa: ARG001 - any other address
    """Say that there is no such page."""
    raise RequestInvalid(
        "There is no such page.", code="page-unknown", next_step="go to the approvals"
    )

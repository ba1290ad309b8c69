"""Where a dataset version, a run or a model version comes from, for those whose reads it shows."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from nbgov.errors import RequestInvalid
from nbgov.gateway.control.access import Caller, Home, is_auditor
from nbgov.gateway.control.problems import AUTH, documented
from nbgov.lineage.tracing import trace

if TYPE_CHECKING:
    from nbgov.core.lineage import Lineage
    from nbgov.gateway.guests import Guest
    from nbgov.gateway.house import House

ONE = documented(*AUTH, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST)
router = APIRouter(prefix="/v1", tags=["lineage"])
Reference = Annotated[
    str,
    Query(
        min_length=1,
        max_length=300,
        pattern=r"^[^\x00-\x1f]+$",
        description="models:/NAME/VERSION, runs:/ID, a dataset version or a dataset's name.",
    ),
]


@router.get("/lineage", response_model=dict[str, Any], responses=ONE)
def show_lineage(reference: Reference, guest: Caller, house: Home) -> Response:
    """The record ``nbgov/lineage/2`` of what a reference means."""
    return JSONResponse(visible_lineage(house, guest, reference).to_dict())


def visible_lineage(house: House, guest: Guest, reference: str) -> Lineage:
    """The lineage that a reference means, for auditors and for those whose reads it shows.

    Raises:
        RequestInvalid: There is no such thing that they may see.
        BackendFailed: The run store did not answer.
    """
    found = trace(guest.session, reference)
    name = guest.principal.name
    is_mine = bool(found.deliveries) and all(one.principal == name for one in found.deliveries)
    is_given = all(guest.session.was_given(one) for one in found.versions.values())
    if not (is_auditor(house, guest.principal) or (is_mine and is_given)):
        raise RequestInvalid(
            f"Nothing is known of {reference!r}.",
            code="unknown-dataset",
            why="what others read is shown to auditors",
            next_step="name a run or a dataset version of your own",
        )
    return found

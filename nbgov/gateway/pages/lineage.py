"""Where a dataset version, a run or a model version comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from nbgov.core.markup import Markup, element, table
from nbgov.core.visible import visible
from nbgov.gateway.control.access import is_auditor
from nbgov.gateway.control.lineage import visible_lineage
from nbgov.gateway.pages.shell import (
    ROOT,
    Looker,
    PageRoute,
    Visit,
    asking,
    button,
    field,
    notice,
    page,
)
from nbgov.lineage.page import content

if TYPE_CHECKING:
    from nbgov.model import Delivery

PLACE = f"{ROOT}/lineage"
SHOWN_MAX = 25
Reference = Annotated[str, Query(max_length=300)]
router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get(PLACE)
def show(visit: Looker, reference: Reference = "") -> Response:
    """The lineage of what a reference means; without one, what was read of late."""
    reference = reference.strip()
    ask = asking(
        PLACE,
        field(
            "Dataset version, run or model version",
            "reference",
            reference,
            hint="flights, runs:/ID, models:/NAME/VERSION",
            required=True,
        ),
        button("Show"),
    )
    if not reference:
        return page("Lineage", ask, *recent(visit), visit=visit)
    found = visible_lineage(visit.house, visit.guest, reference)
    return page("Lineage", ask, element("article", *content(found, level=2)), visit=visit)


def recent(visit: Visit) -> tuple[Markup, ...]:
    """The newest reads that the viewer may follow."""
    name = visit.guest.principal.name
    is_all = is_auditor(visit.house, visit.guest.principal)
    known = visit.guest.session.deliveries()
    found = [one for one in known if is_all or one.principal == name][:SHOWN_MAX]
    if not found:
        return (notice("No governed read is kept yet."),)
    heads = ["Dataset version", "Read by", "At (UTC)", "Approval"]
    return (element("h2", "Newest reads"), table(heads, list(map(row, found)), label="Reads"))


def row(one: Delivery) -> list[str]:
    """A read as a line."""
    place = f"{PLACE}?reference={quote(one.version_id, safe='')}"
    link = element("a", visible(f"{one.name}@v{one.version_id[:8]}"), href=place)
    ticket = element("a", visible(one.ticket), href=f"{ROOT}/tickets/{quote(one.ticket, safe='')}")
    at = f"{one.at:%Y-%m-%d %H:%M:%S}"
    return [link, visible(one.principal), at, ticket if one.ticket else ""]

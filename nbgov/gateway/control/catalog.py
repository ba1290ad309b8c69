"""What connections hold, as the caller may see it, and how that evolved."""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from nbgov.core.catalog_changes import changes
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.gateway.control.access import Caller, Home, require_auditor
from nbgov.gateway.control.problems import AUTH, documented
from nbgov.gateway.control.shapes import (
    CatalogFacts,
    ChangeFacts,
    ColumnFacts,
    Connection,
    ConnectionFacts,
    Connections,
    History,
    TableFacts,
    VersionFacts,
    answer,
)
from nbgov.model import StopKind

if TYPE_CHECKING:
    from nbgov.gateway.guests import Guest
    from nbgov.model import CatalogVersion, Table

ONE = documented(*AUTH, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST)
router = APIRouter(prefix="/v1/connections", tags=["catalog"])


@router.get("", response_model=Connections, responses=documented(*AUTH))
def list_connections(guest: Caller, house: Home) -> Response:
    """The connections that the caller may see something of; one that is away is left out."""
    stopped = {one.name for one in house.store.stops() if one.kind is StopKind.CONNECTION}
    default = guest.session.default_connection
    found = [
        ConnectionFacts(name, name == default, name in stopped)
        for name in guest.session.connections
        if has_something(guest, name)
    ]
    return answer(Connections(tuple(found)))


@router.get("/{connection}/catalog", response_model=CatalogFacts, responses=ONE)
def show_catalog(connection: Connection, guest: Caller, house: Home) -> Response:
    """The tables and views that the caller may touch; the rest reads as absent."""
    house.require_open(StopKind.CONNECTION, connection)
    held = guest.session.catalog(connection)
    tables = tuple(table_of(table) for _, table in sorted(held.tables.items()))
    return answer(CatalogFacts(connection, held.dialect, held.default_schema, tables))


@router.get("/{connection}/history", response_model=History, responses=ONE)
def show_history(connection: Connection, guest: Caller, house: Home) -> Response:
    """How a connection evolved, newest version first. For auditors: it names every table."""
    require_auditor(house, guest)
    store = guest.session.world.catalogs
    if connection not in guest.session.connections or store is None:
        raise RequestInvalid(
            f"Nothing is known of the connection {connection}.",
            code="unknown-connection",
            next_step="list them: GET /v1/connections",
        )
    versions = store.versions(connection)
    told = [version_of(new, old) for new, old in pairwise((*versions, None)) if new is not None]
    return answer(History(connection, tuple(told)))


# ---------------------------------------------------------------- how it is done


def has_something(guest: Guest, connection: str) -> bool:
    """Whether somebody may see anything of a connection now."""
    try:
        return bool(guest.session.catalog(connection).tables)
    except BackendFailed:
        return False


def table_of(table: Table) -> TableFacts:
    """A table as it is answered. The text of a view stays out: it may name what is hidden."""
    columns = tuple(
        ColumnFacts(one.name, one.type, one.is_required, one.is_generated) for one in table.columns
    )
    return TableFacts(table.name.schema, table.name.name, table.kind, table.key, columns)


def version_of(version: CatalogVersion, before: CatalogVersion | None) -> VersionFacts:
    """A version as it is answered, with what it changed."""
    found = changes(before.document, version.document) if before is not None else ()
    return VersionFacts(
        version=version.number,
        digest=version.digest.hex(),
        seen_at=version.seen_at,
        principal=version.principal,
        record=version.record,
        receipt=version.receipt,
        is_searched=version.is_searched,
        authors=tuple(dataclasses.asdict(one) for one in version.authors),
        changes=tuple(
            ChangeFacts(one.kind.value, one.subject, one.part, one.before, one.after)
            for one in found
        ),
    )

"""The API as its users write it; `mypy --strict` reads this file, and nobody runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import nbgov

if TYPE_CHECKING:
    import pandas as pd


def query(folder: Path) -> pd.DataFrame:
    with nbgov.connect(folder / "nbgov.yaml", as_="ada@acme.test") as session:
        assert_type(session, nbgov.Session)
        assert_type(session.principal, nbgov.Principal)
        assert_type(session.connections, tuple[str, ...])
        assert_type(session.default_connection, str)
        assert_type(session.state, Path)
        result = session.sql("SELECT 1 AS one WHERE 1 = :x", "warehouse", rows_max=10, x=1)
        assert_type(result, nbgov.Result)
        return result.to_pandas()


def approve(session: nbgov.Session) -> nbgov.Approval:
    try:
        session.sql("UPDATE bookings SET seat = '2A' WHERE booking_id = 7")
    except nbgov.ApprovalNeeded as needed:
        assert_type(needed.ticket, str)
        return session.vote(needed.ticket, is_approval=True, reason="seen")
    except nbgov.NbgovError as error:
        assert_type(error.code, str)
        assert_type(error.record, int | None)
        raise
    [first, *_] = session.pending()
    assert_type(first, nbgov.Approval)
    return session.cancel_ticket(first.ticket)


def lineage(session: nbgov.Session, mark: Mapping[str, str]) -> None:
    found = nbgov.lookup(mark)
    assert_type(found, tuple[nbgov.DatasetVersion, nbgov.Delivery] | None)
    assert_type(nbgov.track(found, run_id="r", labels=["late"]), str)
    assert_type(session.versions("flights"), tuple[nbgov.DatasetVersion, ...])
    assert_type(session.catalog(), nbgov.Catalog)

"""The audit log over HTTP: search, one entry, its proof, and the signed checkpoint."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, create_model

from nbgov.core.audit.entry import write_record
from nbgov.core.audit.lines import receipt_of
from nbgov.core.audit.query import OPTIONS, fold, is_meant
from nbgov.core.audit.query import Query as Search
from nbgov.errors import RequestInvalid
from nbgov.evidence.keys import log_key
from nbgov.evidence.receipts import checkpoint as signed_checkpoint
from nbgov.evidence.search import Found, find, look_up
from nbgov.evidence.verification import prove_entry
from nbgov.gateway.control.access import Caller, Home, is_auditor
from nbgov.gateway.control.problems import AUTH, documented
from nbgov.gateway.control.shapes import AuditEntries, AuditEntry, Number, answer

if TYPE_CHECKING:
    from nbgov.gateway.guests import Guest
    from nbgov.gateway.house import House

FOUND = documented(*AUTH, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
router = APIRouter(prefix="/v1/audit", tags=["audit"])


RECEIPT = r"^[!-.0-~]{1,256}/[0-9]{1,15}#[0-9a-f]{64}$"
Pattern = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
Part = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
# RFC 3339, as the document says; a number of seconds is none.
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def spelled_out(text: object) -> object:
    """A moment as text, once it is spelled as one."""
    if text is not None and not (isinstance(text, str) and INSTANT.fullmatch(text)):
        raise ValueError("no RFC 3339 date-time")
    return text


Moment = Annotated[AwareDatetime | None, BeforeValidator(spelled_out)]
# The conditions are those of nbgov audit search, so that they mean the same everywhere.
CONDITIONS: dict[str, Any] = {
    one.name: (list[Pattern], Field(default=[], max_length=16, description=one.help))
    for one in OPTIONS
}
Terms = create_model(
    "SearchTerms",
    __config__=ConfigDict(extra="forbid"),
    **CONDITIONS,
    text=(Part, Field(default="", description="A part of the statement, without literals.")),
    since=(Moment, Field(default=None, description="From then on.")),
    until=(Moment, Field(default=None, description="Before then.")),
    limit=(Annotated[int, Field(ge=1, le=1_000)], Field(default=50, description="At most.")),
    oldest_first=(bool, Field(default=False, description="Whether the oldest come first.")),
)


@router.get("/entries", response_model=AuditEntries, responses=FOUND)
def search(terms: Annotated[Terms, Query()], guest: Caller, house: Home) -> Response:  # type: ignore[valid-type]  # made above
    """The entries that meet every condition; of those who are no auditors, their own."""
    asked: dict[str, Any] = terms.model_dump()  # type: ignore[attr-defined]
    limit = asked.pop("limit")
    wanted: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()
    }
    query = Search(**wanted)
    is_all = is_auditor(house, guest.principal)
    found = find(guest.session, query) if is_all else own(guest, query)
    entries = [entry_of(one) for one in islice(found, limit)]
    return answer(AuditEntries(tuple(entries), is_own=not is_all))


@router.get("/entry", response_model=AuditEntry, responses=FOUND)
def show_receipt(
    receipt: Annotated[str, Query(pattern=RECEIPT, description="ORIGIN/INDEX#DIGEST.")],
    guest: Caller,
    house: Home,
) -> Response:
    """The entry behind a receipt, once the log shows it to be the one that was receipted."""
    return answer(entry_of(visible_entry(house, guest, receipt)))


@router.get("/entries/{index}", response_model=AuditEntry, responses=FOUND)
def show_entry(index: Number, guest: Caller, house: Home) -> Response:
    """One entry, by its number."""
    return answer(entry_of(visible_entry(house, guest, str(index))))


@router.get(
    "/entries/{index}/proof", response_class=PlainTextResponse, response_model=str, responses=FOUND
)
def show_proof(index: Number, guest: Caller, house: Home) -> Response:
    """The proof that an entry is in the log (C2SP tlog-proof); ``nbgov audit verify`` checks it."""
    visible_entry(house, guest, str(index))
    return PlainTextResponse(str(prove_entry(guest.session, index)))


@router.get(
    "/checkpoint", response_class=PlainTextResponse, response_model=str, responses=documented(*AUTH)
)
def show_checkpoint(guest: Caller) -> Response:
    """The signed checkpoint over the log as it is now (C2SP tlog-checkpoint)."""
    return PlainTextResponse(signed_checkpoint(guest.session))


@router.get(
    "/key", response_class=PlainTextResponse, response_model=str, responses=documented(*AUTH)
)
def show_key(guest: Caller) -> Response:
    """The key that the log is checked by. Compare it with what you were given on another way."""
    return PlainTextResponse(str(log_key(guest.session)))


# ---------------------------------------------------------------- how it is done


def own(guest: Guest, query: Search) -> Iterator[Found]:
    """Somebody's own entries among those that a query means."""
    name = guest.principal.name
    if query.principal and not any(
        is_meant("principal", one, fold(name)) for one in query.principal
    ):
        return
    mine = replace(query, principal=(glob.escape(name),))
    # Security: patterns know no case, and names do.
    yield from (one for one in find(guest.session, mine) if one.record.principal == name)


def visible_entry(house: House, guest: Guest, reference: str) -> Found:
    """An entry that somebody may see, by its number or its receipt.

    Raises:
        RequestInvalid: There is none that they may see (``unknown-record``).
        IntegrityFailed: It is not what the receipt says (``audit-broken``).
    """
    found = look_up(guest.session, reference)
    if found.record.principal != guest.principal.name and not is_auditor(house, guest.principal):
        raise RequestInvalid(
            "The audit log has no entry of this number for you.",
            code="unknown-record",
            why="auditors see every entry, and others their own",
            next_step="search for your own entries",
        )
    return found


def entry_of(found: Found) -> AuditEntry:
    """An entry as it is answered."""
    entry = found.entry
    return AuditEntry(
        index=entry.index,
        receipt=str(receipt_of(entry)),
        prev=entry.prev_digest.hex(),
        record=write_record(entry.record),
        attempt=write_record(found.attempt) if found.attempt else None,
    )

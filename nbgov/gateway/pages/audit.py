"""The audit log: a search, and an entry with its proof and its receipt."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse

from nbgov.core.audit.lines import HEADS, line_of, mood, receipt_of
from nbgov.core.audit.query import CHOICES, OPTIONS, TIMES, read_query
from nbgov.core.checks import counted_entries
from nbgov.core.markup import Markup, element, folded, table
from nbgov.core.visible import cut, visible
from nbgov.evidence.receipts import checkpoint
from nbgov.evidence.search import Found, find
from nbgov.evidence.verification import prove_entry
from nbgov.gateway.control.access import is_auditor
from nbgov.gateway.control.audit import own, visible_entry
from nbgov.gateway.pages.shell import (
    HEADERS,
    ROOT,
    Looker,
    PageRoute,
    asking,
    button,
    choice,
    field,
    notice,
    page,
    shown_html,
)
from nbgov.shown import entries

LOG = f"{ROOT}/audit"
SHOWN_MAX, READ_MAX = 100, 400
OPEN = ("principal", "table", "decision", "status", "kind")
Number = Annotated[int, Path(ge=0, lt=2**53)]
router = APIRouter(prefix=LOG, include_in_schema=False, route_class=PageRoute)


@router.get("")
def search(request: Request, visit: Looker) -> Response:
    """The newest entries that meet every condition; of those who are no auditors, their own."""
    names = [*(one.name for one in OPTIONS), *(one.name for one in TIMES), "text"]
    asked = {name: request.query_params.get(name, "").strip()[:300] for name in names}
    given: dict[str, Any] = {
        name: value if name in {"since", "until", "text"} else [value]
        for name, value in asked.items()
        if value
    }
    session = visit.guest.session
    query = read_query(given, now=session.world.clock.now())
    is_all = is_auditor(visit.house, visit.guest.principal)
    found = find(session, query) if is_all else own(visit.guest, query)
    shown = entries.folded(islice(found, READ_MAX), SHOWN_MAX)
    whose = "everybody's" if is_all else "yours"
    more = "; the newest of them" if len(shown) >= SHOWN_MAX else ""
    said = f"{counted_entries(len(shown))}, {whose}{more}. Times are UTC."
    return page(
        "Audit log",
        searching(asked),
        notice(said if shown else "No entry meets these conditions."),
        *([listed(shown)] if shown else []),
        element("p", element("a", "The signed checkpoint of the log", href=f"{LOG}/checkpoint")),
        visit=visit,
    )


@router.get("/checkpoint")
def show_checkpoint(visit: Looker) -> Response:
    """The signed checkpoint, a text to keep elsewhere."""
    return PlainTextResponse(checkpoint(visit.guest.session), headers=HEADERS)


@router.get("/entry")
def find_entry(visit: Looker, receipt: Annotated[str, Query(max_length=400)] = "") -> Response:
    """The entry behind a receipt, once the log shows it to be the one that was receipted."""
    found = visible_entry(visit.house, visit.guest, receipt.strip())
    return shown(found, visit, remark="The log holds this entry as the receipt says.")


@router.get("/{index}")
def show(index: Number, visit: Looker) -> Response:
    """One entry, with its receipt and what covers it."""
    return shown(visible_entry(visit.house, visit.guest, str(index)), visit)


@router.get("/{index}/proof")
def show_proof(index: Number, visit: Looker) -> Response:
    """The proof that an entry is in the log, a text to keep elsewhere."""
    visible_entry(visit.house, visit.guest, str(index))
    proof = str(prove_entry(visit.guest.session, index))
    named = {"content-disposition": f'attachment; filename="entry-{index}.tlog-proof"'}
    return PlainTextResponse(proof, headers=HEADERS | named)


# ---------------------------------------------------------------- how it looks


def searching(asked: dict[str, str]) -> Markup:
    """The form of the search: what is asked most, then the rest."""
    lines = {one.name: line(one.name, one.help, asked) for one in (*OPTIONS, *TIMES)}
    lines["text"] = field("statement", "text", asked["text"], hint="a part of it")
    often = [lines.pop(name) for name in (*OPEN, "text", "since", "until")]
    is_open = any(asked[name] for name in lines)
    rest = folded("More conditions", *lines.values(), is_open=is_open)
    receipt = asking(
        f"{LOG}/entry",
        field("receipt", "receipt", hint="ORIGIN/INDEX#DIGEST", required=True),
        button("Look up a receipt", is_quiet=True),
    )
    return element("div", asking(LOG, *often, rest, button("Search")), receipt)


def line(name: str, told: str, asked: dict[str, str]) -> Markup | str:
    """One condition."""
    known = CHOICES.get(name)
    if known:
        return choice(name, name, ("", *known), asked[name])
    return field(name, name, asked[name], hint=told.partition(".")[0].partition(":")[0])


def listed(found: list[Found]) -> Markup:
    """Entries as a table."""
    rows = []
    for one in found:
        number, *others = (visible(text) for text in line_of(one.entry, one.record))
        link = element("a", number, href=f"{LOG}/{quote(number)}")
        told: list[str] = [cut(text) for text in others]
        # Dates stay in one piece.
        told[0] = told[0].replace(" ", "\u00a0")
        how = HEADS.index("how") - 1
        told[how] = element("span", told[how], class_=mood(one.record))
        rows.append([link, *told])
    heads = ["#Entry", *(name.removesuffix(" (UTC)").capitalize() for name in HEADS[1:])]
    return table(heads, rows, label="Entries")


def shown(found: Found, visit: Looker, *, remark: str = "") -> Response:
    """The page of an entry."""
    index = found.entry.index
    record = found.record
    also = []
    if record.ticket:
        ticket = f"{ROOT}/tickets/{quote(record.ticket, safe='')}"
        also.append(element("li", element("a", "Its approval", href=ticket)))
    if record.version:
        lineage = f"{ROOT}/lineage?reference={quote(record.version, safe='')}"
        also.append(element("li", element("a", "Lineage of what it read", href=lineage)))
    return page(
        f"Entry {index}",
        element("p", element("a", "The audit log", href=LOG)),
        *([notice(remark)] if remark else []),
        shown_html(entries.card_of(visit.guest.session, found).html()),
        element("h2", "Evidence"),
        element("p", "Receipt (keep it: it names the entry and its digest)", class_="soft"),
        element("pre", str(receipt_of(found.entry)), tabindex=0, aria_label="Receipt"),
        element(
            "ul",
            element("li", element("a", "Its proof (C2SP tlog-proof)", href=f"{LOG}/{index}/proof")),
            element("li", element("a", "The signed checkpoint", href=f"{LOG}/checkpoint")),
            *also,
        ),
        visit=visit,
    )

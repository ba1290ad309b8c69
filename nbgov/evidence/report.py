"""The report for an auditor: what a log tells, and what it rests on, on one page.

The log is read once: the same bytes are verified and added up. The page stands alone and can be
printed; its figures are a reading of the log, which stays the evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from nbgov.assurance.deeds import record_admin
from nbgov.core.audit.note import Note
from nbgov.core.audit.overview import Overview
from nbgov.core.audit.query import Query
from nbgov.core.checks import counted
from nbgov.core.pages import page
from nbgov.errors import BackendFailed, IntegrityFailed
from nbgov.evidence.examining import Verification
from nbgov.evidence.exports import EVERYTHING, Chooser, Told, scope, watched
from nbgov.evidence.report_answers import report_main
from nbgov.evidence.report_parts import STYLE
from nbgov.evidence.verification import examine_log

if TYPE_CHECKING:
    from nbgov.session import Session


@dataclass(frozen=True, slots=True)
class Account:
    """What a report says, before it is a page.

    Attributes:
        overview: What the entries add up to.
        found: Whether the log holds.
        note: The checkpoint that it rests on, if one can be made.
        scope: Which entries are meant, in words.
        made_at, made_by: When and by whom.
    """

    overview: Overview
    found: Verification
    note: Note | None
    scope: str
    made_at: datetime
    made_by: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A report that was made.

    Attributes:
        html: The page.
        told: What it says, in a line.
        is_sound: Whether the log holds.
    """

    html: str
    told: str
    is_sound: bool


def make_report(
    session: Session, query: Query = EVERYTHING, *, told: Told = lambda _: None
) -> AuditPage:
    """The report on the entries that a query means; it is recorded that it was made.

    A log that does not hold has a report too, which says so.

    Args:
        session: Holds the log, and whose principal asks.
        query: The entries; all of them by default. The whole log is verified in any case.
        told: Is called now and then with how many entries were read.

    Raises:
        BackendFailed: The log cannot be read.
    """
    account = account_of(session, query, told=told)
    html = page("nbgov · audit report", report_main(account), style=STYLE)
    overview, found = account.overview, account.found
    holds = "the log verifies" if found.is_sound else "the log does NOT verify"
    requests = counted(overview.whole.requests, "request")
    line = f"{holds}, {counted(found.report.entries, 'record')}, {requests}"
    return AuditPage(html, line, found.is_sound)


def account_of(session: Session, query: Query, *, told: Told) -> Account:
    """What the report is about: the log, read once."""
    world = session.world
    query = replace(query, limit=None)
    note = None
    # A log too damaged to be written is what the report is there to say.
    with suppress(BackendFailed, IntegrityFailed):
        record_admin(
            world,
            "EXPORT",
            session=session.id,
            principal=session.principal,
            note=f"report of {scope(query)}",
        )
        note = world.audit.checkpoint()
    adder = Adder(query)
    found = examine_log(session, watch=lambda lines: adder.see(watched(lines, told)))
    made_by, at = session.principal.name, world.clock.now()
    return Account(adder.overview, found, note, str(query) or "all of them", at, made_by)


class Adder:
    """Adds up the entries that a query means while they go by."""

    def __init__(self, query: Query) -> None:
        self.chooser = Chooser(query)
        self.overview = Overview()

    def see(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The same lines."""
        for line in lines:
            # Whoever verifies says what is wrong with a line that is no entry, and stops there.
            with suppress(IntegrityFailed):
                one = self.chooser.take(line)
                if one is not None:
                    self.overview.add(one.entry.index, one.whole.record)
            yield line

"""Stage 5 and the last step before stage 8: the consent of people, asked for, found and used up.

A consent clears the exact bytes, binds, connection, requester, conditions and tables that it was
given for. Whatever is asked by now, it must have been asked of the voters too: the pipeline decides
on every run, and the ticket is held against that decision right before the statement runs.
Cases: ``tests/test_consent.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from nbgov.core import approval as approvals
from nbgov.core import case as cases
from nbgov.core.catalog_changes import digest, document
from nbgov.core.datasets import key_of
from nbgov.core.result_columns import names_untraced, tables_seen
from nbgov.errors import RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    ApprovalState,
    Evidence,
    Notice,
    NoticeEvent,
    Principal,
    Record,
    RecordKind,
)

if TYPE_CHECKING:
    from datetime import datetime

    from nbgov.core.approval.binding import Mac
    from nbgov.core.case import Case
    from nbgov.core.memo import Memo
    from nbgov.model import Catalog, Statement, TableName
    from nbgov.ports import World

Measure: TypeAlias = Callable[[Approval], Evidence]

VEIL_DOMAIN = b"nbgov veiled bind\0"
OTHER_VOTES = "the policy asks for other votes by now"
OTHER_TERMS = "its tables, masks, filters or limits have changed since"
NAMED_STATES = approvals.LIVE | {ApprovalState.DENIED}


class Consents:
    """The consents that the statements of one session need.

    Args:
        world: The ports.
        memo: What the session remembers of pure results.
        session: Identifier of the session, part of every record.
    """

    def __init__(self, world: World, memo: Memo, *, session: str) -> None:
        self.world = world
        self.memo = memo
        self.session = session
        self.told: set[str] = set()

    def seek(self, case: Case, measure: Measure) -> None:
        """Stage 5: find the consent that the decision asks for, or open a ticket. Nothing waits.

        Args:
            case: The request, decided.
            measure: Gathers what the voters are told of a ticket that is about to be opened.

        Raises:
            ApprovalNeeded: It has to be given first.
            Denied: A voter denied it; this is told once, and the next run asks anew.
            IntegrityFailed: The request names a ticket that clears nothing (``ticket-conflict``).
        """
        required = self.required(case)
        if not required:
            return
        now = self.world.approvals.now(self.world.clock.now())
        found = self.world.approvals.find(self.binding(case))
        latest = approvals.expire(found, now) if found else None
        self.require_named(case, latest, now)
        if latest is not None and latest.state is ApprovalState.DENIED and not self.is_told(latest):
            case.approval = latest
            self.tell(latest)
            raise cases.refusal(latest)
        if latest is None or latest.state not in approvals.LIVE:
            latest = self.open(case, required, measure, now=now, after=found)
        elif not approvals.covers(latest, required):
            self.supersede(case, latest, OTHER_VOTES, now)
            latest = self.open(case, required, measure, now=now, after=found)
        case.approval = latest
        if latest.state is not ApprovalState.APPROVED:
            raise cases.waiting(case, latest)
        self.require_glass(case, latest)

    def consume(self, case: Case) -> None:
        """Use an approval up, right before the one execution that it is for.

        Raises:
            IntegrityFailed: It clears nothing, by now (``ticket-conflict``).
        """
        if case.approval is None:
            return
        now = self.world.approvals.now(self.world.clock.now())
        after = approvals.consume(
            case.approval,
            binding_digest=self.binding(case),
            required=self.required(case),
            now=now,
        )
        if not self.world.approvals.swap(case.approval, after):
            raise approvals.conflict(case.approval, now)
        self.notify(after, "consumed", now)

    # ------------------------------------------------------------ what a consent is about

    def required(self, case: Case) -> tuple[ApprovalQuorum, ...]:
        """Every consent that is asked for now. Who undoes a write needs its consents as well.

        Raises:
            RequestInvalid: Nobody knows the write that is to be undone (``undo-unavailable``).
        """
        assert case.decision is not None
        asked = approvals.quorums_of(case.decision)
        if not case.request.undoes:
            return asked
        original = self.original(case.request.undoes)
        return united(asked, original.quorums, ticket=original.ticket)

    def original(self, request: str) -> Approval:
        """The ticket of an earlier write."""
        image = self.world.undo.image(request) if self.world.undo else None
        found = self.world.approvals.get(image.ticket) if image else None
        if found is None:
            raise RequestInvalid(
                "The write cannot be undone.",
                code="undo-unavailable",
                why="what it changed is not kept, or its ticket is unknown",
                next_step="write the statement that corrects it, and run that",
            )
        return found

    def binding(self, case: Case) -> bytes:
        """Digest of everything that a consent to a request is about."""
        assert case.decision is not None
        conditions = approvals.conditions(case.decision)
        return self.digested(case, conditions=conditions, catalog=self.catalog_digest(case))

    def digested(self, case: Case, *, conditions: bytes, catalog: bytes) -> bytes:
        """The same, under given digests of the conditions and of the tables."""
        assert case.principal is not None
        return approvals.binding(
            case.request.sql,
            case.values,
            connection=case.request.connection,
            requester=case.principal.name,
            conditions=conditions,
            catalog=catalog,
            veil=self.veil(case),
        )

    def veil(self, case: Case) -> Mac | None:
        """Keyed digest in the place of values that voters and stores are not to see."""
        mac = self.world.signer.mac
        return (lambda data: mac(VEIL_DOMAIN + data)) if case.request.veiled else None

    def catalog_digest(self, case: Case) -> bytes:
        """Digest of the tables and functions that a statement names, as they are defined now."""
        statement, whole = case.statement, case.whole
        assert statement is not None
        assert whole is not None
        tables = tables_behind(statement, whole)
        called = frozenset(
            name
            for name in whole.functions
            if not {name, name.rpartition(".")[2]}.isdisjoint(statement.functions)
        )

        def make() -> bytes:
            part = replace(
                whole,
                tables={name: table for name, table in whole.tables.items() if name in tables},
                functions={name: whole.functions[name] for name in called},
            )
            return digest(document(part, key_of(self.world.signer.mac, "catalog")))

        key = (case.request.connection, "consent", tables, called)
        return self.memo.recall(key, whole, make)

    # ------------------------------------------------------------ opening and ending tickets

    def open(
        self,
        case: Case,
        required: tuple[ApprovalQuorum, ...],
        measure: Measure,
        *,
        now: datetime,
        after: Approval | None,
    ) -> Approval:
        """A ticket for a request: measured, recorded, kept and told of, in this order."""
        assert case.statement is not None
        assert case.principal is not None
        asked = approvals.Asked(
            case.statement,
            required,
            connection=case.request.connection,
            binding_digest=self.binding(case),
            binds=approvals.write_binds(case.values, veil=self.veil(case)),
            undoes=case.request.undoes,
        )
        ticket = self.next_ticket(case, asked, after, now)
        draft = approvals.open_ticket(asked, ticket=ticket, principal=case.principal, now=now)
        measured = replace(draft, evidence=measure(draft))
        self.record(measured, case.principal, note="request", status="requested")
        opened = self.world.approvals.open(measured)
        self.notify(opened, "requested", now)
        return opened

    def supersede(self, case: Case, approval: Approval, reason: str, now: datetime) -> None:
        """End a ticket whose voters were not asked for what is asked for by now."""
        assert case.principal is not None
        after = approvals.supersede(approval, reason=reason, now=now)
        self.record(after, case.principal, note="cancel", status=after.state.value)
        if not self.world.approvals.swap(approval, after):
            raise approvals.conflict(approval, now)
        self.notify(after, "cancelled", now)

    def next_ticket(
        self, case: Case, asked: approvals.Asked, latest: Approval | None, now: datetime
    ) -> str:
        """The next free name: the head of a digest without a key in it, then numbered.

        A ticket on the way there that was for the same under other tables or terms is ended.
        """
        stem = self.digested(case, conditions=b"", catalog=b"").hex()[:8]
        number = int(latest.ticket.partition("-")[2] or 1) + 1 if latest else 1
        while taken := self.world.approvals.get(name := named(stem, number)):
            is_same = (taken.requester, taken.connection, taken.sql, taken.binds) == (
                case.principal.name if case.principal else "",
                asked.connection,
                asked.statement.sql,
                asked.binds,
            )
            if is_same and approvals.expire(taken, now).state in approvals.LIVE:
                self.supersede(case, taken, OTHER_TERMS, now)
            number += 1
        return name

    def require_named(self, case: Case, latest: Approval | None, now: datetime) -> None:
        """Open no other ticket than the one that a request names, and use none.

        Raises:
            IntegrityFailed: It is not the one that is there, or was used or ended
                (``ticket-conflict``).
        """
        wanted = case.request.ticket
        if not wanted:
            return
        is_it = latest is not None and latest.ticket == wanted
        if latest is None or not is_it or latest.state not in NAMED_STATES:
            found = latest if is_it else self.world.approvals.get(wanted)
            if found is None:
                raise unknown_ticket(wanted)
            raise approvals.conflict(found, now)

    def require_glass(self, case: Case, approval: Approval) -> None:
        """Go no further without votes where the policy, as it stands now, asks for them.

        Raises:
            Denied: It does (``emergency-not-permitted``).
        """
        assert case.policy is not None
        assert case.principal is not None
        # Security: a store knows no policy; who wrote an emergency into it clears nothing.
        is_let = case.policy.document.break_glass.by.holds(case.principal)
        if approval.emergency is not None and not is_let:
            raise approvals.glass_not_permitted(case.principal)

    def is_told(self, approval: Approval) -> bool:
        """Whether the requester was told of a denial."""
        facts = self.world.facts
        return approval.ticket in self.told or bool(facts and facts.fact(told_name(approval)))

    def tell(self, approval: Approval) -> None:
        """Remember that the requester is told of a denial, so that they can ask anew."""
        self.told.add(approval.ticket)
        if self.world.facts is not None:
            self.world.facts.keep_fact(told_name(approval), "told")

    def record(self, approval: Approval, principal: Principal, *, note: str, status: str) -> None:
        """Record a step of a ticket, before it is made."""
        self.world.audit.append(
            Record(
                kind=RecordKind.VOTE,
                at=self.world.clock.now(),
                request=approval.ticket,
                session=self.session,
                connection=approval.connection,
                verb=approval.verb,
                tables=approval.tables,
                ticket=approval.ticket,
                status=status,
                note=note,
                **cases.principal_facts(principal),
            )
        )

    def notify(self, approval: Approval, event: NoticeEvent, now: datetime) -> None:
        """Tell people of a step of a ticket."""
        by = approval.ending.by if approval.ending else approval.requester
        if self.world.notifier is not None:
            self.world.notifier.tell(Notice.of(approval, event, by=by, at=now))


def tables_behind(statement: Statement, whole: Catalog) -> frozenset[TableName]:
    """All tables and views whose definition settles what a statement does."""
    # Security: a view that nobody could trace may read whatever there is.
    if names_untraced(statement, whole):
        return frozenset(whole.tables)
    seen = tables_seen(statement, whole)
    known = (whole.tables[name] for name in seen if name in whole.tables)
    return seen.union(*(table.views for table in known))


def united(
    asked: tuple[ApprovalQuorum, ...], earlier: Iterable[ApprovalQuorum], *, ticket: str
) -> tuple[ApprovalQuorum, ...]:
    """The consents that are asked for now, and those that an earlier ticket asked for.

    A rule that asks for something else by now counts twice, under two names.
    """
    taken = {quorum.rule for quorum in asked}
    more = (quorum for quorum in earlier if quorum not in asked)
    return (
        *asked,
        *(replace(q, rule=f"{q.rule} of {ticket}") if q.rule in taken else q for q in more),
    )


def named(stem: str, number: int) -> str:
    """The name of a ticket: only the second one and those after it have a number."""
    return stem if number == 1 else f"{stem}-{number}"


def unknown_ticket(ticket: str) -> RequestInvalid:
    """The error of a ticket that is not in the store."""
    return RequestInvalid(
        f"There is no ticket {ticket!r}.",
        code="unknown-ticket",
        next_step="list the open ones: nbgov approvals list",
    )


def told_name(approval: Approval) -> str:
    """Under which name it is kept that somebody was told of a denial."""
    return f"denial told {approval.ticket}"

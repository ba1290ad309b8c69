"""Votes on approval tickets: recorded first, then made.

A surface sends intents, never SQL; who may vote, and what a vote changes, is decided by
:mod:`nbgov.core.approval`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nbgov.core import approval as approvals
from nbgov.core.case import principal_facts, status_of
from nbgov.errors import Denied, IdentityFailed, IntegrityFailed, RequestInvalid
from nbgov.model import Approval, Principal, Record, RecordKind, Vote

if TYPE_CHECKING:
    from nbgov.ports import World


class Voting:
    """The tickets of a world, for one session.

    Args:
        world: The ports.
        session: Identifier of the session, part of every record.
    """

    def __init__(self, world: World, *, session: str) -> None:
        self.world = world
        self.session = session

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        now = self.world.clock.now()
        live = (approvals.expire(one, now) for one in self.world.approvals.pending())
        return tuple(one for one in live if one.state in approvals.LIVE)

    def vote(self, ticket: str, *, is_approval: bool, reason: str, claim: str | None) -> Approval:
        """Cast a vote on an open ticket, as the principal behind the claim.

        Raises:
            Denied: The principal may not vote on it.
            IntegrityFailed: The ticket changed meanwhile, or takes no votes any more.
            RequestInvalid: There is no such ticket.
        """
        with self.attending(ticket, claim, "approve" if is_approval else "refuse") as voter:
            before, now = self.ticket(ticket), self.world.clock.now()
            ballot = Vote(voter.name, is_approval, reason, now)
            return self.change_ticket(
                before,
                approvals.vote(before, ballot, voter=voter, now=now),
                voter,
                note="approve" if is_approval else "refuse",
            )

    def cancel(self, ticket: str, *, claim: str | None) -> Approval:
        """Take a ticket back, as its requester.

        Raises:
            Denied: Somebody else asked for it.
            IntegrityFailed: It has ended already.
        """
        with self.attending(ticket, claim, "cancel") as principal:
            before = self.ticket(ticket)
            after = approvals.cancel(before, principal, now=self.world.clock.now())
            return self.change_ticket(before, after, principal, note="cancel")

    @contextmanager
    def attending(self, ticket: str, claim: str | None, wish: str) -> Iterator[Principal]:
        """Who wants to change a ticket; that it was refused to them is recorded.

        Raises:
            IdentityFailed: Nobody is known by the claim.
        """
        principal = Principal(claim or "")
        try:
            principal = self.world.identity.identify(claim)
            yield principal
        except (Denied, IdentityFailed, IntegrityFailed, RequestInvalid) as error:
            record = Record(
                kind=RecordKind.VOTE,
                at=self.world.clock.now(),
                request=ticket,
                session=self.session,
                ticket=ticket,
                status=status_of(error),
                code=error.code,
                note=wish,
                **principal_facts(principal),
            )
            receipt = self.world.audit.append(record)
            error.record, error.receipt = receipt.index, str(receipt)
            raise

    def ticket(self, ticket: str) -> Approval:
        """The approval behind a ticket.

        Raises:
            RequestInvalid: There is none.
        """
        found = self.world.approvals.get(ticket)
        if found is None:
            raise RequestInvalid(
                f"There is no ticket {ticket!r}.",
                code="unknown-ticket",
                next_step="list the open ones: nbgov approvals list",
            )
        return approvals.expire(found, self.world.clock.now())

    def change_ticket(
        self, before: Approval, after: Approval, principal: Principal, *, note: str
    ) -> Approval:
        """Record a change of a ticket, then make it."""
        now = self.world.clock.now()
        record = Record(
            kind=RecordKind.VOTE,
            at=now,
            request=before.ticket,
            session=self.session,
            connection=before.connection,
            verb=before.verb,
            tables=before.tables,
            ticket=before.ticket,
            status=after.state.value,
            note=note,
            **principal_facts(principal),
        )
        self.world.audit.append(record)
        if not self.world.approvals.swap(before, after):
            raise approvals.conflict(before, now)
        return after

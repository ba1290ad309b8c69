"""The approvals that a session sees: the store, and a record of every try to get past its rules.

A cell of the notebook can reach the session's objects, and call the store without the room of
:mod:`nbgov.voting`. The store refuses a step that is none. This refuses, too, what the session's
own principal has not done, such as a vote in the name of somebody else, and writes both down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from nbgov.core.approval import SYSTEM, folded, forged
from nbgov.core.case import principal_facts, status_of
from nbgov.errors import IntegrityFailed
from nbgov.model import Approval, ApprovalState, Principal, Record, RecordKind

if TYPE_CHECKING:
    from nbgov.ports import ApprovalStore, AuditLog, Clock, World

NOTE = "store"


class WatchedApprovals:
    """An :class:`~nbgov.ports.ApprovalStore` for the steps of one principal.

    Security: a guard rail. Whoever runs code in this process can also reach what is behind it;
    the rules that count then are those of the store, in another process or account.

    Args:
        store: Keeps the tickets.
        audit: Where tries are recorded.
        clock: Tells the time of a record.
        session: Identifier of the session, part of every record.
        principal: Who works in the session.
    """

    def __init__(
        self,
        store: ApprovalStore,
        audit: AuditLog,
        *,
        clock: Clock,
        session: str,
        principal: Principal,
    ) -> None:
        self.store = store
        self.audit = audit
        self.clock = clock
        self.session = session
        self.principal = principal

    def now(self, at: datetime) -> datetime:
        """The store's own time."""
        return self.store.now(at)

    def open(self, approval: Approval) -> Approval:
        """Keep a new ticket of the principal's, or return the live one with the same binding.

        Raises:
            IntegrityFailed: Somebody else is said to ask, or it does not stand at its beginning
                (``ticket-forged``).
        """
        with self.watching(approval):
            self.require_own(approval, {approval.requester})
            return self.store.open(approval)

    def get(self, ticket: str) -> Approval | None:
        """The approval behind a ticket."""
        return self.store.get(ticket)

    def find(self, binding_digest: bytes) -> Approval | None:
        """The latest approval that is bound to exactly this request, in whatever state."""
        return self.store.find(binding_digest)

    def swap(self, before: Approval, after: Approval) -> bool:
        """Make a step of the principal's unless the ticket changed meanwhile.

        Raises:
            IntegrityFailed: Somebody else is said to make it, or it is none that a ticket can take
                (``ticket-forged``).
        """
        with self.watching(before):
            self.require_own(before, set(actors(before, after)))
            return self.store.swap(before, after)

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        return self.store.pending()

    def history(self, *, limit: int) -> tuple[Approval, ...]:
        """The tickets that were opened last, in whatever state, newest first."""
        return self.store.history(limit=limit)

    def unreviewed(self, requester: str) -> tuple[Approval, ...]:
        """Tickets that a principal used without votes and that nobody looked at yet."""
        return self.store.unreviewed(requester)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def require_own(self, approval: Approval, names: set[str]) -> None:
        """Go no further where somebody else is said to act.

        Raises:
            IntegrityFailed: Somebody is (``ticket-forged``).
        """
        if {folded(name) for name in names} - {folded(self.principal.name)}:
            raise forged(approval.ticket)

    @contextmanager
    def watching(self, approval: Approval) -> Iterator[None]:
        """Record what was refused as forged."""
        try:
            yield
        except IntegrityFailed as error:
            record = Record(
                kind=RecordKind.VOTE,
                at=self.clock.now(),
                request=approval.ticket,
                session=self.session,
                ticket=approval.ticket,
                status=status_of(error),
                code=error.code,
                note=NOTE,
                **principal_facts(self.principal),
            )
            receipt = self.audit.append(record)
            error.record, error.receipt = receipt.index, str(receipt)
            raise


def watched(world: World, *, session: str, principal: Principal) -> World:
    """The ports, with approvals that record every try to get past their rules."""
    store = WatchedApprovals(
        world.approvals, world.audit, clock=world.clock, session=session, principal=principal
    )
    return replace(world, approvals=store)


def actors(before: Approval, after: Approval) -> Iterator[str]:
    """Who is said to have made the step between two states of a ticket."""
    yield from (vote.voter for vote in after.votes[len(before.votes) :])
    if after.ending is not None and after.ending != before.ending:
        # Security: nbgov ends the tickets of the session's principal, and does nothing else.
        is_ours = after.state is ApprovalState.CANCELLED and after.ending.by == SYSTEM
        yield before.requester if is_ours else after.ending.by
    if after.uses != before.uses:
        yield after.requester
    if after.emergency is not None and after.emergency != before.emergency:
        is_review = before.emergency is not None
        yield after.emergency.reviewed_by if is_review else after.requester

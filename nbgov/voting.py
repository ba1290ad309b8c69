"""What people do with approval tickets: recorded first, then done.

A surface sends intents, never SQL; who may vote, and what a vote changes, is decided by
:mod:`nbgov.core.approval`. The one time that counts is the store's, which never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from nbgov.core import approval as approvals
from nbgov.core.case import principal_facts, status_of
from nbgov.core.policy import parse
from nbgov.core.promotion.consent import VERB as PROMOTE
from nbgov.errors import Denied, IdentityFailed, IntegrityFailed, RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalState,
    Notice,
    NoticeEvent,
    Principal,
    Record,
    RecordKind,
    Vote,
)

if TYPE_CHECKING:
    from nbgov.ports import World

REASON_CHARS_MAX = 500
Step = Callable[[Approval, Principal, datetime], Approval]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to do with a ticket.

    Attributes:
        ticket: Which one.
        claim: Who they say they are; see :class:`~nbgov.model.Request`.
        note: What it is, for the record.
        reason: Why, in their words.
        is_accounted: Whether the log keeps the reason. Those of votes it does not, since people
            write values into them; they are in the ticket.
    """

    ticket: str
    claim: str | None
    note: str
    reason: str = ""
    is_accounted: bool = False

    @property
    def told(self) -> str | None:
        """The reason as the log keeps it: one line of bounded length."""
        words = self.reason.split() if self.is_accounted else ()
        return " ".join(words)[:REASON_CHARS_MAX] or None


class Voting:
    """The tickets of a world, for one session.

    Args:
        world: The ports.
        session: Identifier of the session, part of every record.
    """

    def __init__(self, world: World, *, session: str) -> None:
        self.world = world
        self.session = session

    # ------------------------------------------------------------ what there is

    def now(self) -> datetime:
        """The time that counts for tickets: the store's, which a clock set back does not change."""
        return self.world.approvals.now(self.world.clock.now())

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        now = self.now()
        live = (approvals.expire(one, now) for one in self.world.approvals.pending())
        return tuple(one for one in live if one.state in approvals.LIVE)

    def history(self, *, limit: int) -> tuple[Approval, ...]:
        """The tickets that were opened last, in whatever state, newest first."""
        now = self.now()
        return tuple(
            approvals.expire(one, now) for one in self.world.approvals.history(limit=limit)
        )

    def ticket(self, ticket: str) -> Approval:
        """The approval behind a ticket.

        Raises:
            RequestInvalid: There is none.
        """
        return approvals.expire(self.stored(ticket), self.now())

    # ------------------------------------------------------------ what people do

    def vote(self, ticket: str, *, is_approval: bool, reason: str, claim: str | None) -> Approval:
        """Cast a vote on an open ticket, as the principal behind the claim.

        Raises:
            Denied: The principal may not vote on it.
            IntegrityFailed: The ticket changed meanwhile, or takes no votes any more.
            RequestInvalid: There is no such ticket.
        """

        def step(before: Approval, voter: Principal, now: datetime) -> Approval:
            ballot = Vote(voter.name, is_approval, reason, now)
            return approvals.vote(before, ballot, voter=voter, now=now)

        wish = Wish(ticket, claim, "approve" if is_approval else "deny", reason)
        return self.change(wish, step)

    def cancel(self, ticket: str, *, claim: str | None, reason: str = "") -> Approval:
        """Take a ticket back, as its requester.

        Raises:
            Denied: Somebody else asked for it.
            IntegrityFailed: It has ended already.
            RequestInvalid: There is no such ticket.
        """

        def step(before: Approval, principal: Principal, now: datetime) -> Approval:
            return approvals.cancel(before, principal, now=now, reason=reason)

        return self.change(Wish(ticket, claim, "cancel", reason), step)

    def revoke(self, ticket: str, *, reason: str, claim: str | None) -> Approval:
        """Take a consent back before it is used, as somebody who may vote on the ticket.

        Raises:
            Denied: The principal may not vote on it.
            IntegrityFailed: It is not approved, or changed meanwhile.
            RequestInvalid: There is no such ticket, or no reason is given.
        """

        def step(before: Approval, principal: Principal, now: datetime) -> Approval:
            require_reason(reason, "revoke")
            return approvals.revoke(before, principal, reason=reason, now=now)

        return self.change(Wish(ticket, claim, "revoke", reason, is_accounted=True), step)

    def break_glass(self, ticket: str, *, reason: str, claim: str | None) -> Approval:
        """Go ahead without votes, as the requester, where the policy lets them.

        Every other condition stays: masks, filters and limits. Somebody who may vote on the ticket
        has to look at it afterwards; until then the requester cannot do it again.

        Raises:
            Denied: The policy does not let the principal, the ticket is not theirs, nobody looked
                at the last time yet, or there is no reason (``emergency-not-permitted``).
            IntegrityFailed: It takes no votes any more, or changed meanwhile.
            RequestInvalid: There is no such ticket.
        """

        def step(before: Approval, principal: Principal, now: datetime) -> Approval:
            terms = parse(self.world.policy.text()).document.break_glass
            if before.verb == PROMOTE or not terms.by.holds(principal):
                raise approvals.glass_not_permitted(principal)
            return approvals.break_glass(
                before,
                principal,
                reason=reason,
                valid_s=terms.valid_s,
                unreviewed=self.world.approvals.unreviewed(principal.name),
                now=now,
            )

        return self.change(Wish(ticket, claim, "break-glass", reason, is_accounted=True), step)

    def review(self, ticket: str, *, finding: str, claim: str | None) -> Approval:
        """Say what came of a ticket that was used without votes, as somebody who may vote on it.

        Raises:
            Denied: It is the principal's own, or they may not vote on it.
            IntegrityFailed: No glass was broken, or somebody looked already.
            RequestInvalid: There is no such ticket, or no finding is given.
        """

        def step(before: Approval, reviewer: Principal, now: datetime) -> Approval:
            require_reason(finding, "review")
            return approvals.review(before, reviewer, finding=finding, now=now)

        return self.change(Wish(ticket, claim, "review", finding, is_accounted=True), step)

    # ------------------------------------------------------------ how it is done

    def change(self, wish: Wish, step: Step) -> Approval:
        """Take one step with a ticket: record it, then make it, then tell people."""
        with self.attending(wish) as principal:
            before, now = self.stored(wish.ticket), self.now()
            after = step(before, principal, now)
            self.record(wish, principal, before, status=after.state.value)
            if not self.world.approvals.swap(before, after):
                raise approvals.conflict(before, now)
        if self.world.notifier is not None:
            event = event_of(wish, after)
            self.world.notifier.tell(Notice.of(after, event, by=principal.name, at=now))
        return after

    @contextmanager
    def attending(self, wish: Wish) -> Iterator[Principal]:
        """Who wants to change a ticket; that it was refused to them is recorded.

        Raises:
            IdentityFailed: Nobody is known by the claim.
        """
        principal = Principal(wish.claim or "")
        try:
            principal = self.world.identity.identify(wish.claim)
            yield principal
        except (Denied, IdentityFailed, IntegrityFailed, RequestInvalid) as error:
            if error.record is None:  # The session's store has written down what it refused.
                error.record, error.receipt = self.record(
                    wish, principal, None, status=status_of(error), code=error.code
                )
            raise

    def stored(self, ticket: str) -> Approval:
        """The approval behind a ticket, as the store holds it.

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
        return found

    def record(
        self,
        wish: Wish,
        principal: Principal,
        approval: Approval | None,
        *,
        status: str,
        code: str | None = None,
    ) -> tuple[int, str]:
        """Write down what somebody does with a ticket, or that it was refused to them."""
        record = Record(
            kind=RecordKind.VOTE,
            at=self.world.clock.now(),
            request=wish.ticket,
            session=self.session,
            connection=approval.connection if approval else None,
            verb=approval.verb if approval else None,
            tables=approval.tables if approval else None,
            ticket=wish.ticket,
            status=status,
            code=code,
            note=wish.note,
            reason=wish.told,
            **principal_facts(principal),
        )
        receipt = self.world.audit.append(record)
        return receipt.index, str(receipt)


def require_reason(reason: str, verb: str) -> None:
    """Go no further without a reason.

    Raises:
        RequestInvalid: There is none (``usage``).
    """
    if not reason.strip():
        raise RequestInvalid(
            "No reason is given.",
            code="usage",
            why=f"{verb} takes one",
            next_step="say why with --reason; it is recorded",
        )


def event_of(wish: Wish, after: Approval) -> NoticeEvent:
    """What a notice calls a step."""
    if wish.note == "approve":
        return "approved" if after.state is ApprovalState.APPROVED else "voted"
    return EVENTS[wish.note]


EVENTS: Mapping[str, NoticeEvent] = {
    "deny": "denied",
    "cancel": "cancelled",
    "revoke": "revoked",
    "break-glass": "emergency",
    "review": "reviewed",
}

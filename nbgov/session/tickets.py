"""What a session does with approval tickets: ask about them, vote, and take them back."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.model import Approval
    from nbgov.pipeline import Pipeline
    from nbgov.ports import Engine
    from nbgov.remote import Gateways
    from nbgov.remote.tickets import RemoteVoting
    from nbgov.session.samples import Sample
    from nbgov.voting import Voting


class Tickets:
    """The part of a :class:`~nbgov.session.Session` that is about approvals.

    Every method acts as the session's principal and raises :class:`~nbgov.NbgovError`; what was
    refused is in the audit log, like what was done. Tickets of a gateway are decided there.
    """

    voting: Voting
    pipeline: Pipeline
    claim: str | None
    engines: dict[str, Engine]
    gateways: Gateways
    is_remote: bool

    def votings(self) -> tuple[Voting | RemoteVoting, ...]:
        """Everybody who keeps tickets of this session's connections."""
        return (*(() if self.is_remote else (self.voting,)), *self.gateways.votings)

    def voting_on(self, ticket: str) -> Voting | RemoteVoting:
        """Who keeps a ticket; the last one where nobody does, who says so when asked."""
        *others, last = self.votings()
        for one in others:
            try:
                one.ticket(ticket)
            except RequestInvalid:
                continue
            return one
        return last

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        found = chain.from_iterable(one.pending() for one in self.votings())
        return tuple(sorted(found, key=lambda one: one.requested_at))

    def tickets(self, limit: int = 50) -> tuple[Approval, ...]:
        """The tickets that were opened last, in whatever state, newest first."""
        found = chain.from_iterable(one.history(limit=limit) for one in self.votings())
        newest = sorted(found, key=lambda one: one.requested_at, reverse=True)
        return tuple(newest[:limit])

    def approval(self, ticket: str) -> Approval:
        """The approval behind a ticket.

        Raises:
            RequestInvalid: There is none (``unknown-ticket``).
        """
        return self.voting_on(ticket).ticket(ticket)

    def vote(self, ticket: str, *, is_approval: bool, reason: str = "") -> Approval:
        """Approve or deny a ticket. One denial ends it; every quorum needs its votes.

        Raises:
            Denied: It is the principal's own (``self-approval``), or they may not vote on it
                (``vote-not-permitted``).
            IntegrityFailed: It changed meanwhile, or takes no votes any more (``ticket-conflict``).
        """
        voting = self.voting_on(ticket)
        return voting.vote(ticket, is_approval=is_approval, reason=reason, claim=self.claim)

    def cancel_ticket(self, ticket: str, *, reason: str = "") -> Approval:
        """Take back a ticket that the principal asked for.

        Raises:
            Denied: Somebody else asked for it (``vote-not-permitted``).
            IntegrityFailed: It has ended already (``ticket-conflict``).
        """
        return self.voting_on(ticket).cancel(ticket, reason=reason, claim=self.claim)

    def revoke(self, ticket: str, *, reason: str) -> Approval:
        """Take a consent back that was not used up, as somebody who may vote on the ticket.

        Raises:
            Denied: The principal may not vote on it (``vote-not-permitted``).
            IntegrityFailed: It is not approved any more (``ticket-conflict``).
        """
        return self.voting_on(ticket).revoke(ticket, reason=reason, claim=self.claim)

    def break_glass(self, ticket: str, *, reason: str) -> Approval:
        """Go ahead without votes on a ticket of one's own, where the policy permits it.

        The statement can be run once, for a short time, under every mask and limit. Somebody who
        may vote on the ticket looks at it afterwards (:meth:`review`).

        Raises:
            Denied: The policy does not permit it, or nobody looked at the last time yet
                (``emergency-not-permitted``).
            IntegrityFailed: The ticket takes no votes any more (``ticket-conflict``).
        """
        return self.voting_on(ticket).break_glass(ticket, reason=reason, claim=self.claim)

    def review(self, ticket: str, *, finding: str) -> Approval:
        """Say what came of a ticket that was used without votes.

        Raises:
            Denied: It is the principal's own (``self-approval``), or they may not vote on it
                (``vote-not-permitted``).
            IntegrityFailed: No glass was broken, or somebody looked already (``ticket-conflict``).
        """
        return self.voting_on(ticket).review(ticket, finding=finding, claim=self.claim)

    def sample(self, ticket: str) -> Sample:
        """A few rows that a ticket is about, before and after, as the principal may see them.

        It is made when it is asked for, as a governed read of this session: decided, masked and
        recorded like any other. Where that is not to be had, ``why`` says so and nothing is raised.

        Raises:
            RequestInvalid: There is no such ticket (``unknown-ticket``).
        """
        from nbgov.remote.tickets import RemoteVoting
        from nbgov.session.samples import Sample, take

        voting = self.voting_on(ticket)
        if isinstance(voting, RemoteVoting):
            return Sample(**voting.sample(ticket))
        return take(self, self.approval(ticket))  # type: ignore[arg-type]  # it is a Session

    def cancel(self, request: str) -> None:
        """Stop a request that runs, by the name it was given. Callable from another thread."""
        self.pipeline.cancel(request)
        self.gateways.cancel(request)
        for engine in tuple(self.engines.values()):
            engine.cancel(request)

"""What every step of a ticket is held against: who counts, until when, and which edges there are.

The steps ask these rules before they make a change, and every store asks :func:`require_step`
again, whoever made it. The stores on disk hold the same rules a third time, in their schema.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta

from nbgov.errors import Denied, IntegrityFailed
from nbgov.model import (
    Approval,
    ApprovalMode,
    ApprovalQuorum,
    ApprovalState,
    Principal,
)

LIVE = frozenset({ApprovalState.REQUESTED, ApprovalState.APPROVED})
# Who ends a ticket that asks for less than the policy does by now.
SYSTEM = "nbgov"

# ---------------------------------------------------------------- who counts, and until when


def folded(name: str) -> str:
    """A name without its case, its ways of spelling and the space around it."""
    # Security: nobody is two pairs of eyes, "ADA" beside "ada", or in full-width letters.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def is_eligible(voter: Principal, quorum: ApprovalQuorum) -> bool:
    """Whether a principal may vote for a quorum; any one match is enough."""
    return bool(
        voter.name in quorum.names or voter.groups & quorum.groups or voter.roles & quorum.roles
    )


def is_voter(voter: Principal, approval: Approval) -> bool:
    """Whether a principal may vote on a ticket, for one of its quorums at least."""
    return any(is_eligible(voter, quorum) for quorum in approval.quorums)


def is_own(principal: Principal, approval: Approval) -> bool:
    """Whether a principal asked for the ticket themselves."""
    return folded(principal.name) == folded(approval.requester)


def has_quorums(approval: Approval) -> bool:
    """Whether nobody denied it and every quorum has the votes of enough different principals."""
    # Security: the requester is left out here too, in case a vote was written into the store.
    requester = folded(approval.requester)
    enough = (
        len({folded(v.voter) for v in approval.votes if quorum.rule in v.rules} - {requester})
        >= max(quorum.votes_min, 1)
        for quorum in approval.quorums
    )
    return bool(approval.quorums) and all(v.is_approval for v in approval.votes) and all(enough)


def covers(approval: Approval, required: Iterable[ApprovalQuorum]) -> bool:
    """Whether an approval asks for every consent that the policy asks for now."""
    return set(required) <= set(approval.quorums)


def is_single(approval: Approval) -> bool:
    """Whether a ticket clears its statement once; without votes it does so never more often."""
    return approval.mode is ApprovalMode.ONCE or approval.emergency is not None


def moments(approval: Approval) -> Iterator[datetime]:
    """When something happened to a ticket, as far as it says."""
    yield approval.requested_at
    yield from (ballot.at for ballot in approval.votes)
    if approval.ending is not None:
        yield approval.ending.at
    if approval.emergency is not None:
        yield approval.emergency.at
        if approval.emergency.reviewed_at is not None:
            yield approval.emergency.reviewed_at


def latest(approval: Approval, now: datetime) -> datetime:
    """The latest moment known: a clock set back does not bring a ticket's time back."""
    return max([now, *moments(approval)])


def deadline(approval: Approval) -> datetime:
    """After which moment a live ticket is of no use: for votes, or once approved for running."""
    if approval.state is ApprovalState.REQUESTED or approval.valid_until is None:
        return approval.decide_by
    return approval.valid_until


def has_run_out(approval: Approval, now: datetime) -> bool:
    """Whether the ticket's time is over."""
    return latest(approval, now) >= deadline(approval)


# ---------------------------------------------------------------- what a store lets in

STATE, VOTES, EMERGENCY = "state", "votes", "emergency"
R, A = ApprovalState.REQUESTED, ApprovalState.APPROVED
# The edges of the state machine: what changes along each of them, and nothing else does.
EDGES: Mapping[tuple[ApprovalState, ApprovalState], frozenset[frozenset[str]]] = {
    edge: frozenset(map(frozenset, changes))
    for edge, changes in {
        (R, R): [{VOTES}],
        (R, A): [{STATE, VOTES, "valid_until"}, {STATE, EMERGENCY, "valid_until"}],
        (R, ApprovalState.DENIED): [{STATE, VOTES}],
        (R, ApprovalState.CANCELLED): [{STATE, "ending"}],
        (R, ApprovalState.EXPIRED): [{STATE}],
        (A, A): [{"uses"}],
        (A, ApprovalState.CONSUMED): [{STATE, "uses"}],
        (A, ApprovalState.CANCELLED): [{STATE, "ending"}],
        (A, ApprovalState.REVOKED): [{STATE, "ending"}],
        (A, ApprovalState.EXPIRED): [{STATE}],
    }.items()
}


def require_fresh(approval: Approval) -> None:
    """Let only a ticket into a store that nobody has voted on or used.

    Raises:
        IntegrityFailed: It is further, or its quorums let it pass without a vote
            (``ticket-forged``).
    """
    if not is_fresh(approval):
        raise forged(approval.ticket)


def is_fresh(approval: Approval) -> bool:
    """Whether a ticket stands at its beginning, under quorums that somebody has to meet."""
    new = replace(
        approval, votes=(), state=R, valid_until=None, uses=0, ending=None, emergency=None
    )
    is_asked = approval.requested_at < approval.decide_by and approval.valid_s >= 1
    return new == approval and is_asked and has_sound_quorums(approval.quorums)


def has_sound_quorums(quorums: tuple[ApprovalQuorum, ...]) -> bool:
    """Whether each quorum needs a vote, and none can be taken for another."""
    # Security: a quorum of zero lets one voter pass for all, and so do two under one name.
    rules = {quorum.rule for quorum in quorums}
    return bool(quorums) and len(rules) == len(quorums) and min(q.votes_min for q in quorums) >= 1


def require_step(before: Approval, after: Approval, now: datetime) -> None:
    """Refuse a change of a ticket that no step makes.

    Raises:
        IntegrityFailed: It is one (``ticket-forged``).
    """
    if not is_step(before, after, now):
        raise forged(before.ticket)


def is_step(before: Approval, after: Approval, now: datetime) -> bool:
    """Whether one step leads from ``before`` to ``after``, as far as a store can tell.

    Who may vote, and who may revoke, depends on groups and roles, which a store does not know.
    """
    names = (one.name for one in fields(Approval))
    changed = frozenset(n for n in names if getattr(before, n) != getattr(after, n))
    if changed == {EMERGENCY} and before.emergency is not None:
        return is_review(before, after)
    if changed not in EDGES.get((before.state, after.state), frozenset()):
        return False
    return all(rule(before, after, now) for rule in RULES)


def is_review(before: Approval, after: Approval) -> bool:
    """Whether somebody else looked, for the first time, at what was used without votes."""
    was, seen = before.emergency, after.emergency
    if was is None or seen is None or was.is_reviewed or seen.reviewed_at is None:
        return False
    is_other = folded(seen.reviewed_by) not in {"", folded(before.requester)}
    return is_other and (seen.reason, seen.at) == (was.reason, was.at)


def keeps_votes(before: Approval, after: Approval, now: datetime) -> bool:
    """Whether at most one vote was added, by somebody else who had none, while there was time."""
    if before.votes == after.votes:
        return after.state is not ApprovalState.DENIED
    if before.votes != after.votes[:-1] or has_run_out(before, now):
        return False
    voters = {folded(one.voter) for one in before.votes} | {folded(before.requester), ""}
    cast, rules = after.votes[-1], {quorum.rule for quorum in before.quorums}
    is_heard = bool(cast.rules) and rules.issuperset(cast.rules)
    is_denial = after.state is ApprovalState.DENIED
    return folded(cast.voter) not in voters and is_heard and cast.is_approval is not is_denial


def keeps_approval(before: Approval, after: Approval, now: datetime) -> bool:
    """Whether a ticket clears its statement just if consent is complete, and not for longer."""
    is_new = before.state is R and after.state is A
    if not is_new:
        # A vote that completes the quorums approves, at once.
        return after.state is not R or not has_quorums(after)
    end = latest(after, now) + timedelta(seconds=after.valid_s)
    is_timely = after.valid_until is not None and after.valid_until <= end
    return is_timely and (is_broken(after) or has_quorums(after)) and not has_run_out(before, now)


def is_broken(approval: Approval) -> bool:
    """Whether the glass was broken for a reason, and nobody has looked at it yet."""
    emergency = approval.emergency
    return emergency is not None and bool(emergency.reason.strip()) and not emergency.is_reviewed


def keeps_uses(before: Approval, after: Approval, now: datetime) -> bool:
    """Whether it was used one more time at most, in time, and is over if that was the only one."""
    if before.uses == after.uses:
        return after.state is not ApprovalState.CONSUMED
    is_over = after.state is ApprovalState.CONSUMED
    is_one_more = after.uses == before.uses + 1 and is_over is is_single(before)
    is_given = before.emergency is not None or has_quorums(before)
    return is_one_more and is_given and not has_run_out(before, now)


def keeps_ending(before: Approval, after: Approval, now: datetime) -> bool:
    """Whether it was ended by somebody while it was live, and expired just if its time was over."""
    if after.state is ApprovalState.EXPIRED:
        return has_run_out(before, now)
    if after.ending is None:
        return True
    is_cancel = after.state is ApprovalState.CANCELLED
    may_cancel = {folded(before.requester), SYSTEM}
    is_named = folded(after.ending.by) in may_cancel if is_cancel else bool(after.ending.by)
    return is_named and not has_run_out(before, now)


RULES: tuple[Callable[[Approval, Approval, datetime], bool], ...] = (
    keeps_votes,
    keeps_approval,
    keeps_uses,
    keeps_ending,
)

# ---------------------------------------------------------------- errors


def forged(ticket: str) -> IntegrityFailed:
    """The error of a change of a ticket that goes past its rules."""
    return IntegrityFailed(
        f"Ticket {ticket} cannot be changed like that.",
        code="ticket-forged",
        why="the change is none that a vote, a use or an ending of the ticket makes",
        next_step="vote on it: nbgov approvals approve, as somebody who may",
    )


def conflict(approval: Approval, now: datetime) -> IntegrityFailed:
    """The error of a step that the ticket, as it stands, does not allow."""
    is_late = approval.state in LIVE and has_run_out(approval, now)
    state = ApprovalState.EXPIRED if is_late else approval.state
    return IntegrityFailed(
        f"Ticket {approval.ticket} cannot be used for that.",
        code="ticket-conflict",
        why=why_not(approval, state),
        next_step=NEXT.get(state, "run the statement again to open a new one"),
    )


def why_not(approval: Approval, state: ApprovalState) -> str:
    """Why a step cannot be made, as the ticket stands."""
    if approval.emergency is not None and approval.emergency.is_reviewed:
        return f"it is {state}, and {approval.emergency.reviewed_by} has reviewed it"
    return f"it is {state}, or changed meanwhile"


# What can be done with a ticket that is live, where something else was tried.
NEXT: Mapping[ApprovalState, str] = {
    ApprovalState.REQUESTED: "vote on it, or cancel it if it is your own",
    ApprovalState.APPROVED: "revoke it if you may vote on it, or cancel it if it is your own",
}


def not_eligible(approval: Approval, principal: Principal) -> Denied:
    """The error of a principal whose voice counts for nothing."""
    return Denied(
        f"{principal.name} may not vote on ticket {approval.ticket}.",
        code="vote-not-permitted",
        why="no rule that asks for this approval names them, their groups or their roles",
        next_step="ask somebody who may vote on it",
    )


def glass_not_permitted(principal: Principal) -> Denied:
    """The error of somebody whom the policy does not let go ahead without votes."""
    return Denied(
        f"{principal.name} may not break the glass.",
        code="emergency-not-permitted",
        why="the policy names nobody, or others, under break_glass: by:",
        next_step="wait for the votes, or ask somebody who may vote on it",
    )


def require_other(approval: Approval, principal: Principal) -> None:
    """Go no further with a principal's own ticket.

    Raises:
        Denied: It is (``self-approval``).
    """
    if is_own(principal, approval):
        # Security: four eyes, whatever the voter's roles and however the name is spelled.
        raise Denied(
            f"{principal.name} cannot vote on, or review, a ticket of their own.",
            code="self-approval",
            why="it takes a second person; no role is exempt",
            next_step="ask somebody else who may vote on it",
        )

"""The steps of a ticket, each a function from one value to the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from nbgov.core.approval.rules import (
    LIVE,
    SYSTEM,
    conflict,
    covers,
    folded,
    has_quorums,
    has_run_out,
    has_sound_quorums,
    is_eligible,
    is_own,
    is_single,
    is_voter,
    latest,
    not_eligible,
    require_other,
)
from nbgov.errors import Denied
from nbgov.model import (
    Approval,
    ApprovalMode,
    ApprovalQuorum,
    ApprovalState,
    Decision,
    Emergency,
    Ending,
    Evidence,
    Principal,
    Statement,
    Vote,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What consent is asked for.

    Attributes:
        statement: What would run.
        quorums: Who has to vote; every one of them has to be met.
        connection: Name of the connection.
        binding_digest: What the consent is about (:func:`nbgov.core.approval.binding`).
        binds: The bound values (:func:`nbgov.core.approval.write_binds`).
        evidence: What the voters are told.
        undoes: Request id of the statement that this one undoes.
    """

    statement: Statement
    quorums: tuple[ApprovalQuorum, ...]
    connection: str
    binding_digest: bytes
    binds: str = "{}"
    evidence: Evidence = field(default_factory=Evidence)
    undoes: str = ""


def quorums_of(decision: Decision) -> tuple[ApprovalQuorum, ...]:
    """Every consent that a decision asks for."""
    return tuple(o for o in decision.obligations if isinstance(o, ApprovalQuorum))


def open_ticket(asked: Asked, *, ticket: str, principal: Principal, now: datetime) -> Approval:
    """The request for a consent.

    Args:
        asked: What is asked for.
        ticket: Name of the ticket, made up by the caller.
        principal: Who asks.
        now: The time.

    Raises:
        RuntimeError: The quorums let the statement pass without a vote, or share one name.
    """
    if not has_sound_quorums(asked.quorums):
        raise RuntimeError("An approval asks for one vote at least, under rules with two names.")
    is_once = any(quorum.mode is ApprovalMode.ONCE for quorum in asked.quorums)
    return Approval(
        ticket=ticket,
        binding_digest=asked.binding_digest,
        connection=asked.connection,
        sql=asked.statement.sql,
        binds=asked.binds,
        requester=principal.name,
        quorums=asked.quorums,
        verb=asked.statement.verb,
        tables=tuple(sorted({str(use.table) for use in asked.statement.tables})),
        requested_at=now,
        decide_by=now + timedelta(seconds=min(quorum.wait_s for quorum in asked.quorums)),
        mode=ApprovalMode.ONCE if is_once else ApprovalMode.WINDOW,
        valid_s=min(quorum.valid_s for quorum in asked.quorums),
        evidence=asked.evidence,
        undoes=asked.undoes,
    )


def vote(approval: Approval, ballot: Vote, *, voter: Principal, now: datetime) -> Approval:
    """The approval after one more voice.

    One denial ends it. It is approved once every quorum has its votes; a voter who is eligible
    for several quorums counts in each of them. The groups and roles that the voter holds at this
    moment settle what the voter is eligible for.

    Raises:
        Denied: The voter asked for it themselves (``self-approval``), is eligible for no quorum, or
            has voted before (``vote-not-permitted``).
        IntegrityFailed: The ticket takes no votes any more (``ticket-conflict``).
    """
    require_other(approval, voter)
    rules = tuple(q.rule for q in approval.quorums if is_eligible(voter, q))
    if not rules:
        raise not_eligible(approval, voter)
    if approval.state is not ApprovalState.REQUESTED or has_run_out(approval, now):
        raise conflict(approval, now)
    if folded(voter.name) in {folded(earlier.voter) for earlier in approval.votes}:
        raise Denied(
            f"{voter.name} has voted on ticket {approval.ticket} before.",
            code="vote-not-permitted",
            why="every principal has one vote",
            next_step="ask somebody else who may vote on it",
        )
    cast = replace(ballot, voter=voter.name, rules=rules, at=latest(approval, now))
    votes = (*approval.votes, cast)
    if not ballot.is_approval:
        return replace(approval, votes=votes, state=ApprovalState.DENIED)
    counted = replace(approval, votes=votes)
    return approved(counted, cast.at, counted.valid_s) if has_quorums(counted) else counted


def approved(approval: Approval, at: datetime, valid_s: int) -> Approval:
    """The approval once it clears its statement, for as long as it does."""
    until = at + timedelta(seconds=valid_s)
    return replace(approval, state=ApprovalState.APPROVED, valid_until=until)


def consume(
    approval: Approval,
    *,
    binding_digest: bytes,
    required: Iterable[ApprovalQuorum],
    now: datetime,
) -> Approval:
    """The approval after it cleared its statement: once, or once more within its window.

    Args:
        approval: The ticket.
        binding_digest: What is about to run, as it was understood and decided just now.
        required: Every consent that the policy asks for now.
        now: The time.

    Raises:
        IntegrityFailed: It is not approved, was used, has run out, is about something else, or
            lacks a consent that the policy asks for by now (``ticket-conflict``).
    """
    # Security: votes are counted again, so that a state edited in the store clears nothing.
    is_given = has_quorums(approval) or approval.emergency is not None
    is_approved = approval.state is ApprovalState.APPROVED and is_given
    is_same = approval.binding_digest == binding_digest and covers(approval, required)
    is_used_up = is_single(approval) and approval.uses > 0
    if not (is_approved and is_same) or is_used_up or has_run_out(approval, now):
        raise conflict(approval, now)
    state = ApprovalState.CONSUMED if is_single(approval) else approval.state
    return replace(approval, state=state, uses=approval.uses + 1)


def break_glass(
    approval: Approval,
    principal: Principal,
    *,
    reason: str,
    valid_s: int,
    unreviewed: Iterable[Approval],
    now: datetime,
) -> Approval:
    """The approval after its requester went ahead without votes; somebody looks at it afterwards.

    It clears its statement once, whatever was asked for. Whether the policy lets them is for the
    caller to ask.

    Args:
        approval: The ticket.
        principal: Who breaks the glass.
        reason: Why it cannot wait.
        valid_s: Seconds that the policy gives them.
        unreviewed: What they used without votes before and nobody looked at yet
            (:meth:`nbgov.ports.ApprovalStore.unreviewed`).
        now: The time.

    Raises:
        Denied: Somebody else asked for it, there is no reason, or nobody has looked at the last
            time yet (``emergency-not-permitted``).
        IntegrityFailed: It takes no votes any more (``ticket-conflict``).
    """
    waiting = sorted(one.ticket for one in unreviewed)
    if not is_own(principal, approval):
        why, step = "only the principal who asked for it can", "vote on it, if you may"
    elif not reason.strip():
        why, step = "there is no reason", "say why it cannot wait: --reason"
    elif waiting:
        why = f"nobody has looked at ticket {waiting[0]} yet, which was used without votes"
        step = f"have somebody review it: nbgov approvals review {waiting[0]}"
    else:
        why = step = ""
    if why:
        raise Denied(
            f"{principal.name} cannot break the glass on ticket {approval.ticket}.",
            code="emergency-not-permitted",
            why=why,
            next_step=step,
        )
    if approval.state is not ApprovalState.REQUESTED or has_run_out(approval, now):
        raise conflict(approval, now)
    at = latest(approval, now)
    broken = replace(approval, emergency=Emergency(reason, at))
    return approved(broken, at, min(valid_s, approval.valid_s))


def review(approval: Approval, reviewer: Principal, *, finding: str, now: datetime) -> Approval:
    """The approval after somebody looked at how it was used without votes.

    Raises:
        Denied: It is the requester's own, or the reviewer may not vote on it
            (``vote-not-permitted``, ``self-approval``).
        IntegrityFailed: No glass was broken, or somebody looked already (``ticket-conflict``).
    """
    require_other(approval, reviewer)
    if not is_voter(reviewer, approval):
        raise not_eligible(approval, reviewer)
    emergency = approval.emergency
    if emergency is None or emergency.is_reviewed:
        raise conflict(approval, now)
    seen = replace(
        emergency, reviewed_by=reviewer.name, reviewed_at=latest(approval, now), finding=finding
    )
    return replace(approval, emergency=seen)


def revoke(approval: Approval, principal: Principal, *, reason: str, now: datetime) -> Approval:
    """The approval after somebody who may vote on it took the consent back.

    Raises:
        Denied: They may not vote on it (``vote-not-permitted``).
        IntegrityFailed: It is not approved, or has run out (``ticket-conflict``).
    """
    if not is_voter(principal, approval):
        raise not_eligible(approval, principal)
    if approval.state is not ApprovalState.APPROVED or has_run_out(approval, now):
        raise conflict(approval, now)
    ending = Ending(principal.name, latest(approval, now), reason)
    return replace(approval, state=ApprovalState.REVOKED, ending=ending)


def cancel(
    approval: Approval, principal: Principal, *, now: datetime, reason: str = ""
) -> Approval:
    """The approval after its requester took it back.

    Raises:
        Denied: Somebody else asked for it (``vote-not-permitted``).
        IntegrityFailed: It has ended already (``ticket-conflict``).
    """
    if approval.state not in LIVE or has_run_out(approval, now):
        raise conflict(approval, now)
    if not is_own(principal, approval):
        raise Denied(
            f"{principal.name} may not cancel ticket {approval.ticket}.",
            code="vote-not-permitted",
            why="only the principal who asked can take a request back",
            next_step="deny it, if you may vote on it",
        )
    return cancelled(approval, principal.name, reason=reason, now=now)


def supersede(approval: Approval, *, reason: str, now: datetime) -> Approval:
    """The approval after nbgov ended it, because it asks for less than the policy does by now.

    Raises:
        IntegrityFailed: It has ended already (``ticket-conflict``).
    """
    return cancelled(approval, SYSTEM, reason=reason, now=now)


def cancelled(approval: Approval, by: str, *, reason: str, now: datetime) -> Approval:
    """The approval after it was taken back.

    Raises:
        IntegrityFailed: It has ended already (``ticket-conflict``).
    """
    if approval.state not in LIVE or has_run_out(approval, now):
        raise conflict(approval, now)
    ending = Ending(by, latest(approval, now), reason)
    return replace(approval, state=ApprovalState.CANCELLED, ending=ending)


def expire(approval: Approval, now: datetime) -> Approval:
    """The approval as time left it: expired if it was live and has run out, else unchanged."""
    if approval.state in LIVE and has_run_out(approval, now):
        return replace(approval, state=ApprovalState.EXPIRED)
    return approval

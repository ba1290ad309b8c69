"""People's consent to a promotion that is held, and the record of one that was let pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from nbgov.core.approval import folded, has_quorums, has_run_out
from nbgov.core.promotion.values import Promotion, reference
from nbgov.errors import Denied
from nbgov.model import Approval, ApprovalMode, ApprovalQuorum, ApprovalState, DriftTerms, Release

VERB = "PROMOTE"
RULE = "drift.approval"
LIFETIME = timedelta(days=30)


def quorum(terms: DriftTerms) -> ApprovalQuorum:
    """Whose consent releases a held promotion."""
    return ApprovalQuorum(
        rule=RULE,
        names=frozenset(terms.by_names),
        groups=frozenset(terms.by_groups),
        roles=frozenset(terms.by_roles),
        votes_min=max(terms.votes, 1),
    )


def open_ticket(
    promotion: Promotion, terms: DriftTerms, *, ticket: str, requester: str, now: datetime
) -> Approval:
    """The request for the consent that a held promotion needs.

    Raises:
        Denied: The promotion is not held, its files are not known, or the policy names nobody who
            could consent (code ``promotion-held``).
    """
    asked = quorum(terms)
    if promotion.status != "held":
        raise Denied(
            f"{promotion.reference} needs no approval.",
            code="promotion-held",
            why=f"its promotion is {promotion.status}",
            next_step="promote it",
        )
    if not promotion.model_digest:
        # Security: a consent that is bound to no files would hold for whatever is put there.
        raise Denied(
            f"Nobody can consent to the promotion of {promotion.reference}.",
            code="promotion-held",
            why="its files cannot be read, so that nothing is there to bind a consent to",
            next_step="check that the model's files are where the registry says",
        )
    if not (asked.names or asked.groups or asked.roles):
        raise Denied(
            f"Nobody may approve the promotion of {promotion.reference}.",
            code="promotion-held",
            why="policy.yaml names nobody under drift.approval",
            next_step="ask the owner of policy.yaml to say who may: drift: {approval: {by: ...}}",
        )
    return Approval(
        ticket=ticket,
        binding_digest=bytes.fromhex(promotion.binding),
        connection=promotion.model,
        sql="\n".join(statement(promotion)),
        binds="{}",
        requester=requester,
        quorums=(asked,),
        verb=VERB,
        tables=(promotion.reference, f"runs:/{promotion.run_id}"),
        requested_at=now,
        decide_by=now + LIFETIME,
        mode=ApprovalMode.WINDOW,
        valid_s=int(LIFETIME.total_seconds()),
    )


def statement(promotion: Promotion) -> Iterator[str]:
    """What a voter consents to, line by line."""
    yield f"{VERB} {promotion.reference}"
    yield f"model     sha256 {promotion.model_digest or 'not known'}"
    yield f"lineage   sha256 {promotion.lineage_digest or 'not known'}"
    yield f"run       {promotion.run_id or 'none'}"
    yield f"baseline  {promotion.baseline or 'none'}"
    yield from (f"held      {why}" for why in promotion.holds)


def released(
    promotion: Promotion, approval: Approval | None, terms: DriftTerms, now: datetime
) -> Promotion:
    """The promotion with its ticket: approved if the consent holds for exactly this, today.

    Security: votes are counted again, under the quorum that the policy asks for now and without
    those whose model it is, so that neither a state edited in the store nor a vote that was cast
    some other way releases anything.
    """
    if approval is None or approval.binding_digest.hex() != promotion.binding:
        return promotion
    held = replace(promotion, approval=approval)
    if promotion.status != "held" or not promotion.model_digest:
        return held
    # A promotion is let pass as often as it is asked for, until the consent ends.
    if approval.state is not ApprovalState.APPROVED:
        return held
    excluded = set(map(folded, promotion.excluded))
    counted = tuple(one for one in approval.votes if folded(one.voter) not in excluded)
    is_met = approval.quorums == (quorum(terms),) and has_quorums(replace(approval, votes=counted))
    if not is_met or has_run_out(approval, now):
        return held
    return replace(held, status="approved", ticket=approval.ticket)


def about(approvals: Iterable[Approval], name: str = "", version: str = "") -> tuple[Approval, ...]:
    """The tickets of promotions among others: of every model, of one, or of one version of it."""
    return tuple(
        one
        for one in approvals
        if one.verb == VERB
        and name in {"", one.connection}
        and (not version or one.tables[:1] == (reference(name, version),))
    )


def release(
    promotion: Promotion, inputs: tuple[str, ...], *, wish: str, account: str, at: datetime
) -> Release:
    """The record of a promotion that was let pass.

    Raises:
        Denied: It is held (code ``promotion-held``).
    """
    if promotion.status == "held":
        raise held(promotion, wish)
    return Release(
        model=promotion.model,
        version=promotion.version,
        run_id=promotion.run_id,
        model_digest=promotion.model_digest,
        lineage_digest=promotion.lineage_digest,
        inputs=inputs,
        wish=wish,
        account=account,
        ticket=promotion.ticket,
        at=at,
    )


def held(promotion: Promotion, wish: str) -> Denied:
    """The error of a promotion that is held: what, why, and what to do."""
    more = len(promotion.holds) - 1
    why = promotion.holds[0] + (f" And {more} more." if more else "")
    ticket = promotion.approval
    if ticket is not None and ticket.state is ApprovalState.REQUESTED:
        step = f"have it approved: nbgov promotion approve {promotion.reference}"
    else:
        step = f"correct it, or ask for consent: nbgov promotion request {promotion.reference}"
    return Denied(
        f"{promotion.reference} may not be promoted ({wish}).",
        code="promotion-held",
        why=why,
        next_step=step,
    )

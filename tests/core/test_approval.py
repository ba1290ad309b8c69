"""Approvals: every rule of a ticket's steps, and what a store lets in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbgov.core.approval import (
    LIVE,
    Asked,
    cancel,
    conflict,
    covers,
    deadline,
    expire,
    folded,
    has_run_out,
    is_fresh,
    is_step,
    moments,
    open_ticket,
    quorums_of,
    require_fresh,
    require_step,
    review,
    revoke,
    rows,
    rules,
    supersede,
    vote,
)
from nbgov.errors import Denied, IntegrityFailed
from nbgov.model import (
    ApprovalMode,
    ApprovalState,
    Decision,
    Emergency,
    Ending,
    Evidence,
    RowLimit,
    Vote,
)
from tests.approvals import (
    ADA,
    DIGEST,
    EVIDENCE,
    GRACE,
    HEIDI,
    HOUR,
    IVAN,
    MALLORY,
    SECOND,
    START,
    VALID,
    WAIT,
    WINDOW,
    asked,
    ballot,
    broken,
    quorum,
    ticket,
    update,
    used,
    voted,
)


def denied(step, code):
    """The error of a step that somebody may not take."""
    with pytest.raises(Denied) as caught:
        step()
    assert caught.value.code == code
    return caught.value


def refused(step, code="ticket-conflict"):
    """The error of a step that the ticket does not allow."""
    with pytest.raises(IntegrityFailed) as caught:
        step()
    assert caught.value.code == code
    return caught.value


# ---- opening


def test_a_ticket_holds_what_the_voter_needs():
    """A new ticket shows statement, values, tables and evidence, and binds them."""
    found = ticket()
    assert (found.ticket, found.requester, found.connection) == ("t1", ADA.name, "ops")
    assert (found.sql, found.verb, found.binds) == (update().sql, "UPDATE", asked().binds)
    assert (found.binding_digest, found.tables) == (DIGEST, ("main.bookings",))
    assert (found.evidence, found.undoes) == (EVIDENCE, "r1")
    assert (found.requested_at, found.decide_by) == (START, START + WAIT)
    assert (found.votes, found.state, found.uses) == ((), ApprovalState.REQUESTED, 0)
    assert is_fresh(found)


def test_the_strictest_quorum_sets_the_terms():
    """A ticket waits and lasts as long as each quorum lets it, and is good once if one says so."""
    found = ticket(WINDOW, quorum("second", wait_s=60, valid_s=5))
    assert (found.mode, found.valid_s) == (ApprovalMode.ONCE, 5)
    assert found.decide_by == START + 60 * SECOND
    assert ticket(WINDOW).mode is ApprovalMode.WINDOW


@pytest.mark.parametrize("votes_min", [0, -1])
def test_a_quorum_of_nobody_opens_no_ticket(votes_min):
    """A quorum that nobody has to meet is refused, also beside one that somebody has to."""
    with pytest.raises(RuntimeError, match="one vote at least"):
        ticket(quorum(), quorum("second", votes_min=votes_min))


def test_no_quorum_and_two_of_one_name_open_no_ticket():
    """A statement that needs no approval has no ticket, and quorums can be told apart."""
    nobody = Asked(update(), (), "ops", DIGEST)
    with pytest.raises(RuntimeError, match="one vote at least"):
        open_ticket(nobody, ticket="t", principal=ADA, now=START)
    with pytest.raises(RuntimeError, match="two names"):
        ticket(quorum(roles=["approver"]), quorum(roles=["dba"]))


def test_a_decision_names_its_quorums():
    """Of all that a decision asks for, the quorums are the consents."""
    decision = Decision(is_permitted=True, obligations=(RowLimit(5), quorum(), WINDOW))
    assert quorums_of(decision) == (quorum(), WINDOW)


# ---- votes


@pytest.mark.parametrize(
    "name",
    [
        "ada@acme.test",
        "ADA@acme.test",
        " ada@acme.test",
        "\uff41da@acme.test",
        "ada\uff20acme.test",
    ],
)
def test_nobody_votes_on_their_own_ticket(name):
    """A requester is refused however the name is spelled and whatever the roles are."""
    denied(lambda: voted(ticket(), replace(ADA, name=name)), "self-approval")


@pytest.mark.parametrize(
    ("asked_of", "is_eligible"),
    [
        ({"roles": ["approver"]}, True),
        ({"roles": [], "names": ["grace@acme.test"]}, True),
        ({"roles": [], "names": ["GRACE@acme.test"]}, False),
        ({"roles": ["dba"], "groups": ["stewards"]}, False),
        ({"roles": []}, False),
    ],
)
def test_only_an_eligible_principal_votes(asked_of, is_eligible):
    """A name, a group or a role of the quorum makes eligible, and nothing else does."""
    asking = ticket(quorum(**asked_of))
    if is_eligible:
        assert voted(asking, GRACE).state is ApprovalState.APPROVED
    else:
        denied(lambda: voted(asking, GRACE), "vote-not-permitted")


def test_a_group_makes_eligible():
    """A member of a named group may vote."""
    assert voted(ticket(quorum(roles=[], groups=["stewards"])), HEIDI).state == "approved"


def test_one_principal_has_one_vote():
    """A second vote is refused, also under another spelling of the name."""
    once = voted(ticket(quorum(votes_min=2)), GRACE)
    assert once.state is ApprovalState.REQUESTED
    for again in (GRACE, replace(GRACE, name="Grace@ACME.test")):
        denied(lambda voter=again: voted(once, voter), "vote-not-permitted")


def test_every_quorum_has_to_be_met():
    """Two rules that ask for consent are both heard; votes for one do not count for the other."""
    half = voted(ticket(quorum(), quorum("second", roles=["dba"])), GRACE)
    assert (half.state, half.votes[0].rules) == ("requested", ("first",))
    assert voted(half, HEIDI).state is ApprovalState.APPROVED


def test_a_voter_counts_in_each_quorum_they_are_eligible_for():
    """One person with both roles meets both quorums of one vote."""
    both = replace(GRACE, roles=frozenset({"approver", "dba"}))
    found = voted(ticket(quorum(), quorum("second", roles=["dba"])), both)
    assert (found.state, found.votes[0].rules) == ("approved", ("first", "second"))


def test_one_denial_ends_it():
    """After a denial nobody can approve, and the reason is kept."""
    found = vote(
        ticket(quorum(votes_min=2)), ballot(yes=False, reason="wrong"), voter=GRACE, now=START
    )
    assert (found.state, found.votes[-1].reason) == ("denied", "wrong")
    refused(lambda: voted(found, IVAN))
    refused(lambda: cancel(found, ADA, now=START))


def test_a_vote_is_kept_under_the_voters_own_name():
    """A ballot that names somebody else counts as the voter's."""
    found = vote(ticket(), Vote("heidi@acme.test", True, "", START), voter=GRACE, now=START)
    assert found.votes[0].voter == GRACE.name


# ---- use


def test_a_consent_is_used_once():
    """What was consumed cannot be consumed again, and neither cancelled nor revoked."""
    done = used(voted(ticket(), GRACE))
    assert (done.state, done.uses) == ("consumed", 1)
    refused(lambda: used(done))
    refused(lambda: cancel(done, ADA, now=START))
    refused(lambda: revoke(done, GRACE, reason="", now=START))


def test_a_window_is_used_until_it_ends():
    """A consent for a window clears its statement again and again, and nothing once it is over."""
    found = voted(ticket(WINDOW), GRACE, now=START + HOUR)
    end = START + HOUR + VALID
    assert deadline(found) == found.valid_until == end
    for count in range(1, 4):
        found = used(found, now=end - SECOND)
        assert (found.state, found.uses) == ("approved", count)
    refused(lambda: used(found, now=end))
    assert expire(found, end).state is ApprovalState.EXPIRED


def test_a_consent_clears_only_what_it_is_bound_to():
    """Another statement, other values, another connection: another binding, and no use."""
    refused(lambda: used(voted(ticket(), GRACE), digest=b"e" * 32))


def test_a_consent_clears_only_what_is_still_asked_for():
    """What the policy asks for now has to be among what the voters were asked for, by value."""
    found = voted(ticket(quorum(), quorum("second")), GRACE)
    for less in ((), (quorum(),), (quorum("second"), quorum())):
        assert covers(found, less)
        assert used(found, required=less).state is ApprovalState.CONSUMED
    for more in ((quorum("third"),), (quorum(votes_min=2),), (quorum(roles=["dba"]),)):
        assert not covers(found, more)
        refused(lambda required=more: used(found, required=required))


def test_an_expired_approval_clears_nothing():
    """From the moment it expires, a ticket can be neither used, voted on, cancelled nor revoked."""
    given = voted(ticket(), GRACE)
    end = START + VALID
    assert used(given, now=end - SECOND / 10**6).state == "consumed"
    late = START + WAIT
    for step in (
        lambda: used(given, now=end),
        lambda: cancel(given, ADA, now=end),
        lambda: revoke(given, GRACE, reason="", now=end),
        lambda: voted(ticket(), GRACE, now=late),
        lambda: broken(ticket(), now=late),
    ):
        assert "expired" in refused(step).why


def test_a_clock_set_back_does_not_prolong_a_ticket():
    """Time runs from the latest moment that the ticket has seen, not from the clock alone."""
    late = voted(ticket(quorum(votes_min=2)), GRACE, now=START + WAIT - HOUR)
    found = voted(late, IVAN, now=START)
    assert found.votes[1].at == found.votes[0].at
    glass = broken(ticket(), now=START + HOUR)
    for one in (found, glass, review(glass, GRACE, finding="", now=START + 9 * HOUR)):
        assert has_run_out(one, START) == (max(moments(one)) >= deadline(one))


def test_expiring_changes_live_tickets_only():
    """A ticket that has ended stays as it ended, however late it is."""
    late = START + 2 * WAIT
    given = voted(ticket(), GRACE)
    assert expire(given, START) is given
    assert expire(given, late).state is ApprovalState.EXPIRED
    ended = voted(ticket(), GRACE, yes=False)
    assert expire(ended, late) is ended


# ---- without votes


def test_broken_glass_clears_once_and_briefly():
    """An emergency lets the requester run once, within minutes, even where a window was asked."""
    found = broken(ticket(WINDOW))
    assert (found.state, found.valid_until) == ("approved", START + 900 * SECOND)
    assert (found.mode, found.valid_s) == (ApprovalMode.WINDOW, 28_800)
    done = used(found)
    assert done.state is ApprovalState.CONSUMED
    refused(lambda: used(done))
    refused(lambda: used(found, now=START + 900 * SECOND))
    assert broken(ticket(quorum(valid_s=60))).valid_until == START + 60 * SECOND


def test_only_the_requester_breaks_the_glass_and_says_why():
    """Somebody else cannot, and neither can anybody without a reason."""
    denied(lambda: broken(ticket(), by=GRACE), "emergency-not-permitted")
    for reason in ("", " \n"):
        denied(lambda why=reason: broken(ticket(), reason=why), "emergency-not-permitted")
    refused(lambda: broken(voted(ticket(), GRACE)))


def test_the_glass_is_not_broken_again_before_somebody_looked():
    """What nobody has reviewed yet stands in the way of the next time, and is named."""
    found = denied(
        lambda: broken(ticket(name="t2"), unreviewed=[broken(ticket())]), "emergency-not-permitted"
    )
    assert "t1" in found.why


def test_an_emergency_is_reviewed_once_by_somebody_who_may_vote():
    """The requester cannot close it, nor who may not vote; the finding and the name are kept."""
    found = used(broken(ticket()))
    denied(lambda: review(found, ADA, finding="", now=START), "self-approval")
    denied(lambda: review(found, MALLORY, finding="", now=START), "vote-not-permitted")
    seen = review(found, GRACE, finding="it burned", now=START + HOUR)
    emergency = seen.emergency
    assert (emergency.reviewed_by, emergency.finding) == (GRACE.name, "it burned")
    assert (emergency.reviewed_at, emergency.is_reviewed) == (START + HOUR, True)
    assert seen.state is ApprovalState.CONSUMED
    refused(lambda: review(seen, GRACE, finding="", now=START))
    refused(lambda: review(voted(ticket(), GRACE), GRACE, finding="", now=START))


# ---- endings


def test_only_the_requester_cancels():
    """Somebody else cannot take a request back; another spelling of the name is the same person."""
    for live in (ticket(), voted(ticket(), GRACE)):
        found = cancel(live, replace(ADA, name="Ada@acme.test"), now=START, reason="a typo")
        assert found.state is ApprovalState.CANCELLED
        assert found.ending == Ending("Ada@acme.test", START, "a typo")
    denied(lambda: cancel(ticket(), GRACE, now=START), "vote-not-permitted")


def test_whoever_may_vote_revokes():
    """A consent that was not used up is taken back by any voter, and by nobody else."""
    given = voted(ticket(), GRACE)
    found = revoke(given, IVAN, reason="wrong month", now=START)
    assert (found.state, found.ending) == ("revoked", Ending(IVAN.name, START, "wrong month"))
    refused(lambda: used(found))
    denied(lambda: revoke(given, MALLORY, reason="", now=START), "vote-not-permitted")
    refused(lambda: revoke(ticket(), GRACE, reason="", now=START))


def test_nbgov_ends_what_asks_for_too_little():
    """A ticket whose voters were asked for less than is asked now ends in nbgov's own name."""
    found = supersede(voted(ticket(), GRACE), reason="other votes", now=START)
    assert (found.state, found.ending.by) == ("cancelled", "nbgov")
    refused(lambda: supersede(found, reason="", now=START))


def test_a_conflict_names_the_step_that_the_ticket_does_allow():
    """Somebody who revokes what nobody approved yet is told to vote, or to cancel."""
    assert "vote on it" in conflict(ticket(), START).next_step


def test_a_conflict_says_how_the_ticket_stands():
    """The error of a conflict names ticket and state, and shows no statement and no value."""
    found = conflict(ticket(), START)
    assert "t1" in found.what
    assert "requested" in found.why
    assert "UPDATE" not in str(found)


# ---- what is written into a store by somebody else

APPROVED = {"state": ApprovalState.APPROVED, "valid_until": START + HOUR}
OWN = Vote(ADA.name, True, "", START, ("first",))
YES = Vote(GRACE.name, True, "", START, ("first",))
AGAIN = replace(YES, voter="GRACE@acme.test")


@pytest.mark.parametrize(
    "written",
    [
        replace(ticket(), **APPROVED),
        replace(ticket(), quorums=(), **APPROVED),
        replace(ticket(), votes=(OWN,), **APPROVED),
        replace(ticket(quorum(votes_min=2)), votes=(YES, AGAIN), **APPROVED),
        replace(ticket(), quorums=(quorum(votes_min=0),), **APPROVED),
        replace(voted(ticket(), GRACE, yes=False), **APPROVED),
    ],
    ids=["no votes", "no quorums", "own vote", "double vote", "quorum of zero", "denial"],
)
def test_a_state_written_into_the_store_clears_nothing(written):
    """Votes are counted again before use, so that an edited state is not enough."""
    refused(lambda: used(written))


ASKED, GIVEN = ticket(), voted(ticket(), GRACE)
HALF = voted(ticket(quorum(votes_min=2)), GRACE)
GLASS = broken(ticket())
STEPS = {
    "a vote": (ticket(quorum(votes_min=2)), HALF),
    "the last vote": (ASKED, GIVEN),
    "a denial": (HALF, voted(HALF, IVAN, yes=False)),
    "a use": (GIVEN, used(GIVEN)),
    "a use of a window": (voted(ticket(WINDOW), GRACE), used(voted(ticket(WINDOW), GRACE))),
    "a cancellation": (ASKED, cancel(ASKED, ADA, now=START)),
    "a revocation": (GIVEN, revoke(GIVEN, GRACE, reason="", now=START)),
    "an end by nbgov": (GIVEN, supersede(GIVEN, reason="", now=START)),
    "broken glass": (ASKED, GLASS),
    "a review": (used(GLASS), review(used(GLASS), GRACE, finding="", now=START)),
}
FORGED = {
    "nothing": (ASKED, ASKED),
    "another statement": (ASKED, replace(GIVEN, sql="DROP TABLE bookings")),
    "a quorum less": (ASKED, replace(GIVEN, quorums=(quorum(votes_min=1, roles=()),))),
    "no votes": (ASKED, replace(ASKED, **APPROVED)),
    "too few votes": (ticket(quorum(votes_min=2)), replace(HALF, **APPROVED)),
    "an own vote": (ASKED, replace(ASKED, votes=(OWN,), **APPROVED)),
    "a vote twice": (HALF, replace(HALF, votes=(*HALF.votes, AGAIN), **APPROVED)),
    "two votes at once": (ticket(quorum(votes_min=2)), voted(HALF, IVAN)),
    "a vote for no rule": (ASKED, replace(GIVEN, votes=(replace(YES, rules=()),))),
    "a vote for another rule": (HALF, replace(HALF, votes=(*HALF.votes, replace(OWN, rules=("x",))))),
    "a vote of nobody": (ASKED, replace(GIVEN, votes=(replace(YES, voter=" "),))),
    "a vote less": (HALF, replace(HALF, votes=())),
    "a vote too many": (GIVEN, replace(GIVEN, votes=(*GIVEN.votes, replace(YES, voter=IVAN.name)))),
    "complete and not approved": (ASKED, replace(ASKED, votes=(YES,))),
    "a denial that approves": (ASKED, replace(GIVEN, votes=(replace(YES, is_approval=False),))),
    "an approval that denies": (ASKED, replace(ASKED, votes=(YES,), state=ApprovalState.DENIED)),
    "a denial without a vote": (ASKED, replace(ASKED, state=ApprovalState.DENIED)),
    "a longer time": (ASKED, replace(GIVEN, valid_until=START + VALID + SECOND)),
    "more time": (GIVEN, replace(GIVEN, valid_until=START + 2 * VALID)),
    "no end": (ASKED, replace(GIVEN, valid_until=None)),
    "used before": (ASKED, replace(GIVEN, uses=-1)),
    "a use that is not over": (GIVEN, replace(GIVEN, uses=1)),
    "an end without a use": (GIVEN, replace(GIVEN, state=ApprovalState.CONSUMED)),
    "two uses": (GIVEN, replace(used(GIVEN), uses=2)),
    "a use taken back": (used(GIVEN), replace(GIVEN, uses=0)),
    "a use of no votes": (replace(ASKED, **APPROVED), replace(ASKED, uses=1, state="consumed")),
    "somebody else cancels": (ASKED, replace(cancel(ASKED, ADA, now=START), ending=Ending("x", START))),
    "nobody revokes": (GIVEN, replace(GIVEN, state=ApprovalState.REVOKED, ending=Ending("", START))),
    "ended by nobody": (GIVEN, replace(GIVEN, state=ApprovalState.REVOKED)),
    "expired early": (GIVEN, replace(GIVEN, state=ApprovalState.EXPIRED)),
    "glass without a reason": (ASKED, replace(GLASS, emergency=Emergency(" ", START))),
    "glass reviewed at once": (
        ASKED,
        replace(GLASS, emergency=replace(GLASS.emergency, reviewed_by="x", reviewed_at=START)),
    ),
    "an own review": (
        GLASS,
        replace(GLASS, emergency=replace(GLASS.emergency, reviewed_by="ADA@acme.test", reviewed_at=START)),
    ),
    "another reason": (
        GLASS,
        replace(GLASS, emergency=replace(GLASS.emergency, reason="x", reviewed_by="x", reviewed_at=START)),
    ),
    "a review less": (GLASS, replace(GLASS, emergency=None)),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_let_in(name):
    """What the steps make of a ticket, a store takes."""
    require_step(*STEPS[name], START)


@pytest.mark.parametrize("name", FORGED)
def test_what_is_no_step_is_not_let_in(name):
    """What no step makes of a ticket, a store refuses, by a code of its own."""
    refused(lambda: require_step(*FORGED[name], START), "ticket-forged")


@pytest.mark.parametrize("rule", rules.RULES)
def test_a_rule_that_is_gone_is_noticed(rule, monkeypatch):
    """Without any one of the rules, a change that is none gets in."""
    monkeypatch.setattr(rules, "RULES", tuple(one for one in rules.RULES if one is not rule))
    assert any(is_step(before, after, START) for before, after in FORGED.values())


def test_what_comes_too_late_is_not_let_in():
    """After its deadline a ticket only expires; before it, it does not."""
    late = START + WAIT
    for name in ("a vote", "the last vote", "a use", "broken glass", "a cancellation"):
        assert not is_step(*STEPS[name], late)
    for live in (ASKED, GIVEN):
        assert is_step(live, expire(live, late), late)


def test_only_live_tickets_change():
    """From a state that has ended no step leads anywhere, except that an emergency is reviewed."""
    ended = [used(GIVEN), cancel(ASKED, ADA, now=START), expire(GIVEN, START + WAIT)]
    ended.append(voted(ASKED, GRACE, yes=False))
    for before in ended:
        assert before.state not in LIVE
        for state in ApprovalState:
            assert not is_step(before, replace(before, state=state), START)


@pytest.mark.parametrize(
    "further",
    [GIVEN, GLASS, replace(ASKED, uses=1), replace(ASKED, quorums=()), replace(ASKED, valid_s=0)],
)
def test_a_store_takes_new_tickets_only(further):
    """A ticket that was voted on, used, or asks for nobody's vote is not let in."""
    refused(lambda: require_fresh(further), "ticket-forged")
    require_fresh(ASKED)


# ---- as rows


@pytest.mark.parametrize("held", [*(after for _, after in STEPS.values()), ticket(WINDOW)])
def test_a_ticket_survives_its_rows(held):
    """What stores write of a ticket is all of it."""
    emergency = held.emergency and rows.emergency_row(held, held.emergency)
    found = rows.read_ticket(
        rows.ticket_row(held),
        quorums=rows.quorum_rows(held),
        votes=rows.vote_rows(held),
        emergency=emergency,
    )
    assert found == held


def test_rows_that_make_no_sense_are_refused():
    """A moment that does not exist and evidence of another shape are values that are wrong."""
    with pytest.raises(ValueError, match="9"):
        rows.to_moment(10**30 - 1)
    with pytest.raises(KeyError):
        rows.read_evidence("{}")
    assert rows.read_evidence(rows.write_evidence(Evidence())) == Evidence()


def test_names_fold_the_same_way_twice():
    """A folded name is the same when it is folded again."""
    for name in ("ADA", " \uff21da", "Straße", "\u0130", "ﬁ", "\u1e9e\u0345"):
        assert folded(folded(name)) == folded(name)

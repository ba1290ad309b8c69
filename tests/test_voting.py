"""What people do with tickets: recorded first, under the current policy, and told to people."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nbgov.errors import ApprovalNeeded, Denied, IntegrityFailed, NbgovError, RequestInvalid
from nbgov.model import Notice, Principal, RecordKind
from nbgov.voting import Voting
from nbgov.watched import watched
from tests.scene import POLICY, READ, WRITE, Scene, make_scene

GLASS = POLICY + "break_glass: {by: {names: [ada]}, valid_s: 300}\n"


class Told:
    """A notifier that keeps what it was told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def tell(self, notice: Notice) -> None:
        """Keep a notice."""
        self.notices.append(notice)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def scene() -> Scene:
    """A world in which people are told of tickets."""
    return make_scene(notifier=Told())


def ask(scene: Scene, number: int = 1) -> str:
    """The ticket of a write that waits."""
    with pytest.raises(ApprovalNeeded) as needed:
        scene.run(WRITE, binds={"id": number})
    return needed.value.ticket


def steps(scene: Scene) -> list[tuple[str | None, str | None, str | None]]:
    """Note, status and code of every step of a ticket that the log tells of."""
    return [
        (one.note, one.status, one.code)
        for one in scene.audit.records
        if one.kind is RecordKind.VOTE
    ]


def events(scene: Scene) -> list[str]:
    """What people were told."""
    notifier = scene.pipeline.world.notifier
    assert isinstance(notifier, Told)
    return [notice.event for notice in notifier.notices]


def test_every_step_is_recorded_and_told(scene: Scene) -> None:
    """Approve, revoke, ask anew, deny, ask anew, cancel: each has its entry and its notice."""
    ticket = ask(scene)
    scene.approve(ticket)
    scene.voting.revoke(ticket, reason="wrong month", claim="grace")
    scene.approve(ask(scene), is_approval=False)
    with pytest.raises(Denied, match="grace denied"):
        scene.run(WRITE, binds={"id": 1})
    scene.voting.cancel(ask(scene), claim="ada", reason="not needed")
    assert steps(scene) == [
        ("request", "requested", None), ("approve", "approved", None), ("revoke", "revoked", None),
        ("request", "requested", None), ("deny", "denied", None),
        ("request", "requested", None), ("cancel", "cancelled", None),
    ]  # fmt: skip
    assert events(scene) == [
        "requested", "approved", "revoked", "requested", "denied", "requested", "cancelled",
    ]  # fmt: skip
    assert [one.state for one in scene.voting.history(limit=5)] == [
        "cancelled",
        "denied",
        "revoked",
    ]


def test_a_quorum_of_two_tells_of_each_voice() -> None:
    """The first voice is a vote, and the second one approves."""
    scene = make_scene(notifier=Told())
    scene.policy.policy = POLICY.replace("approver]}}", "approver], names: [eve]}, votes: 2}")
    ticket = ask(scene)
    scene.approve(ticket)
    scene.approve(ticket, claim="eve")
    assert events(scene) == ["requested", "voted", "approved"]


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (lambda v, t: v.vote(t, is_approval=True, reason="", claim="ada"), "self-approval"),
        (lambda v, t: v.vote(t, is_approval=True, reason="", claim="eve"), "vote-not-permitted"),
        (lambda v, t: v.vote(t, is_approval=True, reason="", claim="mal"), "unknown-principal"),
        (lambda v, t: v.vote("nope", is_approval=True, reason="", claim="grace"), "unknown-ticket"),
        (lambda v, t: v.cancel(t, claim="grace"), "vote-not-permitted"),
        (lambda v, t: v.revoke(t, reason="x", claim="grace"), "ticket-conflict"),
        (lambda v, t: v.revoke(t, reason=" ", claim="grace"), "usage"),
        (lambda v, t: v.review(t, finding="", claim="grace"), "usage"),
        (lambda v, t: v.review(t, finding="x", claim="grace"), "ticket-conflict"),
        (lambda v, t: v.break_glass(t, reason="x", claim="ada"), "emergency-not-permitted"),
        (lambda v, t: v.break_glass(t, reason="x", claim="grace"), "emergency-not-permitted"),
    ],
)  # fmt: skip
def test_what_is_refused_is_recorded_and_changes_nothing(scene: Scene, step, code) -> None:
    """The ticket stays as it was, nobody is told, and the error names its entry."""
    ticket = ask(scene)
    before = scene.approvals.get(ticket)
    with pytest.raises(NbgovError) as refused:
        step(scene.voting, ticket)
    assert refused.value.code == code
    assert steps(scene)[-1][2] == code
    assert refused.value.record == len(scene.audit.records) - 1
    assert scene.approvals.get(ticket) == before
    assert events(scene) == ["requested"]


def test_broken_glass_clears_nothing_once_the_policy_takes_it_back(scene: Scene) -> None:
    """The policy is asked again when the statement runs, and one that permits it again counts."""
    ticket = ask(scene)
    scene.policy.policy = GLASS
    scene.voting.break_glass(ticket, reason="production is down", claim="ada")
    scene.policy.policy = POLICY
    with pytest.raises(Denied) as caught:
        scene.run(WRITE, binds={"id": 1})
    assert (caught.value.code, caught.value.record) == ("emergency-not-permitted", 5)
    scene.policy.policy = GLASS
    scene.run(WRITE, binds={"id": 1})


def test_what_the_store_wrote_down_is_not_written_down_twice(scene: Scene) -> None:
    """A step that the session's store refuses as forged has one entry that says so."""
    ticket = ask(scene)
    world = watched(scene.pipeline.world, session="s1", principal=Principal("eve"))
    with pytest.raises(IntegrityFailed) as caught:
        Voting(world, session="s1").vote(ticket, is_approval=True, reason="", claim="grace")
    forged = [place for place, one in enumerate(scene.audit.records) if one.code == "ticket-forged"]
    assert forged == [caught.value.record]


def test_glass_is_broken_once_until_somebody_looked(scene: Scene) -> None:
    """It runs at once and once; the next time waits for a review by somebody else."""
    scene.policy.policy = GLASS
    ticket, later = ask(scene), ask(scene, 2)
    broken = scene.voting.break_glass(ticket, reason="production is down", claim="ada")
    assert broken.emergency is not None
    assert broken.valid_until == broken.emergency.at + timedelta(seconds=300)
    scene.run(WRITE, binds={"id": 1})
    assert ask(scene) != ticket
    with pytest.raises(Denied) as refused:
        scene.voting.break_glass(later, reason="again", claim="ada")
    assert (refused.value.code, ticket in refused.value.why) == ("emergency-not-permitted", True)
    for claim in ("ada", "eve"):
        with pytest.raises(Denied):
            scene.voting.review(ticket, finding="fine", claim=claim)
    seen = scene.voting.review(ticket, finding="it was down", claim="grace")
    assert seen.emergency is not None
    assert (seen.emergency.reviewed_by, seen.emergency.is_reviewed) == ("grace", True)
    with pytest.raises(IntegrityFailed):
        scene.voting.review(ticket, finding="again", claim="grace")
    assert scene.voting.break_glass(later, reason="again", claim="ada").state == "approved"
    assert events(scene).count("emergency") == 2
    assert "reviewed" in events(scene)


def test_the_log_keeps_the_reason_of_an_emergency_and_not_of_a_vote(scene: Scene) -> None:
    """Whoever goes past the votes accounts for it in the log; a vote's reason is in the ticket."""
    scene.policy.policy = GLASS
    scene.voting.vote(ask(scene), is_approval=False, reason="for Bob", claim="grace")
    scene.voting.break_glass(ask(scene, 2), reason="disk\n full", claim="ada")
    said = {one.note: one.reason for one in scene.audit.records if one.kind is RecordKind.VOTE}
    assert (said["deny"], said["break-glass"]) == (None, "disk full")


def test_masks_stay_in_an_emergency(scene: Scene) -> None:
    """A read that needs votes and went ahead without them is masked like any other."""
    scene.policy.policy = GLASS.replace(
        "{masks: {\"pii.*\": redact}}", "{masks: {\"pii.*\": redact}, approval: {by: {roles: [approver]}}}"
    )  # fmt: skip
    with pytest.raises(ApprovalNeeded) as needed:
        scene.run(READ)
    scene.voting.break_glass(needed.value.ticket, reason="now", claim="ada")
    result = scene.run(READ)
    result.to_arrow()
    assert {str(column) for column in scene.engine.executions[-1].masked} == {"main.people.email"}
    assert "email" in result.summary.masked


def test_a_clock_set_back_brings_no_ticket_back(scene: Scene) -> None:
    """What was expired once stays expired; only the store's own time counts."""
    ticket = ask(scene)
    scene.clock.at += timedelta(days=2)
    assert scene.voting.pending() == ()
    scene.clock.at -= timedelta(days=2)
    assert scene.voting.pending() == ()
    with pytest.raises(IntegrityFailed, match="cannot be used"):
        scene.approve(ticket)


def test_a_vote_that_cannot_be_recorded_is_not_cast(scene: Scene) -> None:
    """The record comes first, so that no vote counts without one."""
    ticket = ask(scene)
    scene.audit.faults.before("append")
    with pytest.raises(NbgovError, match=r"."):
        scene.approve(ticket)
    assert scene.voting.ticket(ticket).votes == ()


def test_nobody_can_be_told_and_all_is_the_same() -> None:
    """Without a notifier every step is made."""
    scene = make_scene()
    scene.approve(ask(scene))
    with pytest.raises(RequestInvalid):
        scene.voting.ticket("nope")

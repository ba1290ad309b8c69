"""What a session's approvals refuse in the principal's name, and what the log says of it."""

from __future__ import annotations

import pytest

from nbgov.backends.memory import memory_world
from nbgov.core.approval import SYSTEM, cancel, review, revoke, supersede
from nbgov.core.audit import decode
from nbgov.errors import IntegrityFailed
from nbgov.model import Principal
from nbgov.watched import watched
from tests.approvals import ADA, GRACE, START, broken, ticket, used, voted

POLICY = "version: 1\nrules: []\n"


@pytest.fixture
def world():
    """A world in RAM, whose session is Ada's."""
    plain = memory_world({}, policy=POLICY, principals=[ADA, GRACE])
    return watched(plain, session="s1", principal=ADA)


def records(world):
    """What the log holds."""
    return [decode(line).record for line in world.audit.entries()]


def test_ones_own_steps_pass(world):
    """What the principal does with their own tickets is made, and nothing is recorded here."""
    asked = world.approvals.open(ticket())
    assert world.approvals.swap(asked, broken(asked))
    assert world.approvals.swap(broken(asked), used(broken(asked)))
    other = world.approvals.open(ticket(name="t2"))
    ended = supersede(other, reason="other votes", now=START)
    assert ended.ending.by == SYSTEM
    assert world.approvals.swap(other, ended)
    assert records(world) == []


NBGOV = Principal(SYSTEM, roles=frozenset({"approver"}))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ticket(), voted(ticket(), GRACE)),
        (ticket(), voted(ticket(), NBGOV)),
        (ticket(by=GRACE), supersede(ticket(by=GRACE), reason="x", now=START)),
        (ticket(), ticket()),
        (ticket(by=GRACE), cancel(ticket(by=GRACE), GRACE, now=START)),
        (ticket(by=GRACE), broken(ticket(by=GRACE), by=GRACE)),
    ],
    ids=[
        "another one's vote", "nbgov's vote", "nbgov ends another one's ticket",
        "no step", "another one's cancellation", "another one's glass",
    ],
)  # fmt: skip
def test_a_step_of_somebody_else_is_refused_and_recorded(world, before, after):
    """A vote in another name changes nothing, and stands in the log with the principal's own."""
    world.approvals.store.open(before)
    with pytest.raises(IntegrityFailed) as caught:
        world.approvals.swap(before, after)
    assert world.approvals.get("t1") == before
    [entry] = records(world)
    assert (entry.kind.value, entry.code, entry.ticket) == ("vote", "ticket-forged", "t1")
    assert (entry.principal, entry.session, entry.note) == (ADA.name, "s1", "store")
    assert caught.value.record == 0


def test_nbgov_itself_revokes_and_reviews_nothing(world):
    """Its name ends a ticket of the principal's, and stands for no voter."""
    store = world.approvals.store
    asked = store.open(ticket())
    store.swap(asked, given := voted(asked, GRACE))
    with pytest.raises(IntegrityFailed, match="ticket-forged"):
        world.approvals.swap(given, revoke(given, NBGOV, reason="x", now=START))
    other = store.open(ticket(name="t2", digest=b"e" * 32))
    store.swap(other, glass := broken(other))
    with pytest.raises(IntegrityFailed, match="ticket-forged"):
        world.approvals.swap(glass, review(glass, NBGOV, finding="fine", now=START))
    assert (world.approvals.get("t1"), world.approvals.get("t2")) == (given, glass)


def test_a_ticket_in_another_name_is_not_opened(world):
    """Nobody asks in the name of somebody else."""
    with pytest.raises(IntegrityFailed, match="ticket-forged"):
        world.approvals.open(ticket(by=GRACE))
    assert world.approvals.history(limit=5) == ()
    assert len(records(world)) == 1

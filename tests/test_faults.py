"""Faults in pairs, for every durable write: failed and not persisted, failed but persisted."""

from __future__ import annotations

import pytest

from nbgov.core.audit import verify
from nbgov.errors import ApprovalNeeded, BackendFailed
from nbgov.model import ApprovalState
from tests.scene import READ, WRITE, Scene, make_scene

MOMENTS = ("before", "after")


@pytest.fixture
def scene() -> Scene:
    """A fresh world."""
    return make_scene()


def ticket_of(scene: Scene) -> str:
    """Ask for the write, and return the ticket."""
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(WRITE, binds={"id": 1})
    return caught.value.ticket


def break_once(scene: Scene, port: str, operation: str, moment: str) -> None:
    """Plan one fault."""
    getattr(getattr(scene, port).faults, moment)(operation)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_attempt_that_fails_stops_the_statement(scene: Scene, moment: str) -> None:
    """Whether or not the attempt was kept, nothing runs that the caller was not told is recorded."""
    break_once(scene, "audit", "append", moment)
    with pytest.raises(BackendFailed):
        scene.run(READ)
    assert not scene.engine.executions
    scene.audit.close()
    assert verify(scene.audit.entries()).is_intact


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_dataset_that_cannot_be_kept_fails_the_read(scene: Scene, moment: str) -> None:
    """A result whose version is not known to be kept does not end well, and the log says so."""
    break_once(scene, "datasets", "put", moment)
    with pytest.raises(BackendFailed):
        scene.read()
    assert scene.stories()[-1] == ("outcome", "error", "state-unavailable")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_ticket_that_cannot_be_opened_is_no_ticket(scene: Scene, moment: str) -> None:
    """Asking again after a fault opens or finds exactly one ticket."""
    break_once(scene, "approvals", "open", moment)
    with pytest.raises(BackendFailed):
        scene.run(WRITE, binds={"id": 1})
    ticket = ticket_of(scene)
    assert [approval.ticket for approval in scene.voting.pending()] == [ticket]
    assert all(one.is_dry_run for one in scene.engine.executions)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_approval_that_cannot_be_used_up_clears_nothing(scene: Scene, moment: str) -> None:
    """A statement runs at most once for its approval, even when using it up fails half-way."""
    scene.approve(ticket_of(scene))
    break_once(scene, "approvals", "swap", moment)
    with pytest.raises(BackendFailed):
        scene.run(WRITE, binds={"id": 1})
    assert runs(scene) == 0
    if moment == "before":
        scene.run(WRITE, binds={"id": 1})
        assert runs(scene) == 1
    else:
        ticket_of(scene)
        assert runs(scene) == 0


def runs(scene: Scene) -> int:
    """How many statements ran that were not only tried."""
    return sum(not one.is_dry_run for one in scene.engine.executions)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_vote_is_recorded_before_it_counts(scene: Scene, moment: str) -> None:
    """A vote whose record failed does not count; one whose storing failed is in the log all the same."""
    ticket = ticket_of(scene)
    break_once(scene, "audit", "append", moment)
    with pytest.raises(BackendFailed):
        scene.approve(ticket)
    scene.audit.close()
    assert scene.voting.ticket(ticket).state is ApprovalState.REQUESTED
    break_once(scene, "approvals", "swap", moment)
    with pytest.raises(BackendFailed):
        scene.approve(ticket)
    assert scene.audit.records[-1].kind.value == "vote"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", ["execute", "batch", "commit"])
def test_an_engine_that_fails_closes_the_attempt(scene: Scene, moment: str, operation: str) -> None:
    """Whatever the engine fails at, the outcome says error and the transaction is not left open."""
    break_once(scene, "engine", operation, moment)
    with pytest.raises(BackendFailed):
        scene.read()
    assert scene.stories()[-1] == ("outcome", "error", "database-error")
    assert all(stream.state != "open" for stream in scene.engine.streams if operation != "execute")
    assert not verify(scene.audit.entries()).open_attempts


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", ["catalog", "inspect"])
def test_an_engine_that_cannot_look_lets_nothing_run(
    scene: Scene, moment: str, operation: str
) -> None:
    """Without a catalog or a second opinion nothing is cleared."""
    break_once(scene, "engine", operation, moment)
    with pytest.raises(BackendFailed):
        scene.run(READ)
    assert not scene.engine.executions

"""Who brings checkpoints to witnesses: rounds, quorums, refusals, and sessions that stop."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from nbgov.backends.memory import MemoryAuditLog, MemoryWitness
from nbgov.core.audit.note import Note
from nbgov.cosigning import ASKED_AT_ONCE_MAX, Cosigner, Cosigning, Witnessed, witnessed
from nbgov.errors import BackendFailed, IntegrityFailed
from nbgov.model import RecordKind
from tests.scene import make_scene
from tests.witnesses import ORIGIN, grown, key_of

NONE = Witnessed(0, None, (), is_refused=False)


def three(log):
    return [MemoryWitness(f"witness.test/{name}", [key_of(log)]) for name in "abc"]


def states(found):
    return [answer.state for answer in found.answers]


def keys_of(witnesses):
    return [witness.key for witness in witnesses]


# ---------------------------------------------------------------- rounds


def test_every_witness_cosigns_and_the_note_is_kept():
    """After a round, the newest checkpoint with every cosignature is kept beside the log."""
    log = grown(3)
    witnesses = three(log)
    found = Cosigner(log, witnesses).round()
    assert (states(found), found.is_witnessed) == (["cosigned"] * 3, True)
    kept = Note.parse(log.note("witnessed"))
    assert kept.checkpoint.size == 3
    assert all(kept.signed_by(key) for key in keys_of(witnesses))
    assert kept.signed_by(key_of(log))


def test_an_empty_log_has_nothing_to_cosign():
    """Nobody is asked about a log without entries, nor where there is no witness."""
    log = grown(0)
    assert Cosigner(log, three(log)).round().answers == ()
    assert Cosigner(grown(1), []).round().answers == ()


def test_a_quorum_is_enough_and_the_one_that_was_away_is_told():
    """With two of three needed, one that is away is told of and costs nothing."""
    log = grown(3)
    witnesses = three(log)
    witnesses[1].faults.before("cosign")
    found = Cosigner(log, witnesses, quorum=2).round()
    assert (states(found), found.is_witnessed) == (["cosigned", "away", "cosigned"], True)
    assert witnessed(log, keys_of(witnesses)).by == ("witness.test/a", "witness.test/c")


def test_less_than_a_quorum_witnesses_nothing():
    """A checkpoint that too few have cosigned is not kept, and the one before stays."""
    log = grown(3)
    witnesses = three(log)
    cosigner = Cosigner(log, witnesses, quorum=2)
    cosigner.round()
    grown(2, log=log)
    for witness in witnesses[1:]:
        witness.faults.before("cosign")
    assert not cosigner.round().is_witnessed
    assert witnessed(log, keys_of(witnesses)).size == 3


def test_a_late_cosignature_joins_the_others():
    """A witness that is back adds its cosignature to the checkpoint that is kept."""
    log = grown(3)
    witnesses = three(log)
    witnesses[0].faults.before("cosign")
    cosigner = Cosigner(log, witnesses, quorum=2)
    cosigner.round()
    for witness in witnesses[1:]:
        witness.faults.before("cosign")
    assert cosigner.round().is_witnessed
    assert len(witnessed(log, keys_of(witnesses)).by) == 3


def test_one_witness_that_is_named_twice_is_one_voice():
    """Who answers twice does not make a quorum of two."""
    log = grown(3)
    witness = three(log)[0]
    found = Cosigner(log, [witness, witness], quorum=2).round()
    assert not found.is_witnessed


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_session_finds_out_what_its_witnesses_know(is_kept):
    """A new session goes on from where others were, with and without what they kept."""
    log = grown(3)
    witnesses = three(log)
    Cosigner(log, witnesses).round()
    if not is_kept:
        log.notes.pop("witnessed")
    grown(4, log=log)
    assert states(Cosigner(log, witnesses).round()) == ["cosigned"] * 3


def test_a_note_that_was_spoilt_is_made_anew():
    """What somebody wrote over the kept note does not stop the rounds."""
    log = grown(3)
    witnesses = three(log)
    cosigner = Cosigner(log, witnesses)
    cosigner.round()
    log.notes["witnessed"] = "nonsense"
    assert cosigner.round().is_witnessed
    assert witnessed(log, keys_of(witnesses)).size == 3


def test_sessions_that_share_a_log_do_not_disturb_one_another():
    """A session whose checkpoint is older than what a witness knows takes the newer one."""
    log = grown(3)
    witnesses = three(log)

    class Late(MemoryAuditLog):
        """A log whose first checkpoint is overtaken by another session."""

        is_overtaken = False

        def checkpoint(self):
            note = super().checkpoint()
            if not self.is_overtaken:
                self.is_overtaken = True
                Cosigner(grown(2, log=log), witnesses).round()
            return note

    late = Late(ORIGIN, lines=log.lines, notes=log.notes)
    found = Cosigner(late, witnesses).round()
    assert states(found) == ["cosigned"] * 3
    assert {answer.note.checkpoint.size for answer in found.answers} == {5}
    assert witnessed(log, keys_of(witnesses)).size == 5


def test_a_witness_that_never_agrees_is_away():
    """A witness that names another size each time is not asked for ever."""
    log = grown(3)

    sizes = deque([1, 2] * 20)

    class Fickle(MemoryWitness):
        def cosign(self, note, *, old_size, path):
            return sizes.popleft()

    found = Cosigner(log, [Fickle("witness.test/a", [])]).round()
    assert states(found) == ["away"]
    assert "each time" in found.answers[0].error.why


def test_a_witness_that_hangs_is_not_waited_for():
    """A round ends in time, with those that answered."""
    log = grown(3)
    witnesses = three(log)
    go_on = threading.Event()
    cosign = witnesses[0].cosign
    witnesses[0].cosign = lambda *args, **more: go_on.wait() and cosign(*args, **more)
    found = Cosigner(log, witnesses, quorum=2).round(wait_s=0.5)
    assert (states(found), found.is_witnessed) == (["away", "cosigned", "cosigned"], True)
    go_on.set()


def test_a_witness_that_hangs_does_not_get_threads_without_end():
    """Rounds go on beside a witness that never answers, with a few questions open at most."""
    log = grown(3)
    witnesses = three(log)
    go_on, asked = threading.Event(), threading.Semaphore(0)
    witnesses[0].cosign = lambda *_, **__: asked.release() or (go_on.wait() and 3)
    cosigner = Cosigner(log, witnesses, quorum=2)
    found = [cosigner.round(wait_s=0.05) for _ in range(ASKED_AT_ONCE_MAX)]
    found += [cosigner.round() for _ in range(3)]
    assert {answer.state for one in found for answer in one.answers[:1]} == {"away"}
    assert found[-1].is_witnessed
    assert all(asked.acquire(timeout=10) for _ in range(ASKED_AT_ONCE_MAX))
    assert not asked.acquire(blocking=False)
    go_on.set()


def test_cosignatures_under_other_keys_do_not_count():
    """Who trusts other witnesses than those that cosigned has nothing."""
    log = grown(3)
    witnesses = three(log)
    assert witnessed(log, keys_of(witnesses)) == NONE
    Cosigner(log, witnesses[:1]).round()
    assert witnessed(log, keys_of(witnesses[1:])) == NONE


# ---------------------------------------------------------------- refusals


ATTACKS = {
    "rolled back": lambda lines: lines[:3],
    "rewritten": lambda lines: grown(len(lines), note="other").lines,
    "rewritten and longer": lambda lines: grown(len(lines) + 2, note="other").lines,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_log_that_went_back_is_refused(attack):
    """A log that was rolled back or rewritten, notes and all, is found by its witness."""
    log = grown(5)
    witnesses = three(log)
    Cosigner(log, witnesses).round()
    copy = MemoryAuditLog(ORIGIN, lines=ATTACKS[attack](log.lines))
    cosigner = Cosigner(copy, witnesses)
    found = cosigner.round()
    assert states(found) == ["refused"] * 3
    assert not found.is_witnessed
    assert found.refusal.error.code == "witness-refused"
    assert Note.parse(copy.note("refused")).checkpoint.size == len(copy.lines)
    assert witnessed(copy, keys_of(witnesses)).is_refused


def test_one_refusal_is_enough():
    """A quorum that cosigns does not outvote a witness that has seen another log."""
    log = grown(5)
    witnesses = three(log)
    Cosigner(grown(5, note="other"), witnesses[:1]).round()
    cosigner = Cosigner(log, witnesses, quorum=2)
    found = cosigner.round()
    assert (states(found), found.is_witnessed) == (["refused", "cosigned", "cosigned"], True)
    assert cosigner.standing() is not None


def test_a_refusal_stands_until_it_is_forgiven():
    """Later sessions know of a refusal, until a person has looked."""
    log = grown(5)
    witness = MemoryWitness("witness.test/a", [])
    first = Cosigner(log, [witness])
    assert first.round().refusal
    later = Cosigner(log, [witness])
    assert later.standing().code == "witness-refused"
    witness.logs.append(key_of(log))
    assert first.round().is_witnessed
    assert first.standing()
    later.forgive()
    assert first.standing() is later.standing() is None
    later.forgive()


def test_a_refusal_that_cannot_be_kept_stands_in_its_session():
    """A disk that is full does not make a refusal go away."""
    log = grown(5)

    keep = log.keep_note

    def fail(name, text):
        if name == "refused":
            raise BackendFailed("No.", code="audit-unavailable")
        keep(name, text)

    log.keep_note = fail
    cosigner = Cosigner(log, [MemoryWitness("witness.test/a", [])])
    with pytest.raises(BackendFailed):
        cosigner.round()
    assert cosigner.standing().code == "witness-refused"


# ---------------------------------------------------------------- in the background


class Watched(Cosigner):
    """A cosigner that says when it went round."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.rounds = threading.Semaphore(0)

    def round(self, **more):
        try:
            return super().round(**more)
        finally:
            self.rounds.release()


@pytest.fixture
def cosigning():
    """Rounds in the background over a log of three entries, one after the other."""
    log = grown(3)
    cosigner = Watched(log, three(log))
    made = Cosigning([cosigner], every_s=0.001)
    yield made
    made.close()


def test_nothing_happens_before_a_statement_runs(cosigning):
    """A session that runs nothing starts no thread, and asks nobody at its end."""
    cosigning.close()
    assert cosigning.thread is None
    assert not cosigning.cosigners[0].rounds.acquire(blocking=False)


def test_rounds_go_on_while_a_session_does(cosigning):
    """Entries that come while a session runs are witnessed, without anybody waiting."""
    (cosigner,) = cosigning.cosigners
    cosigning.check()
    cosigning.check()
    for _ in range(3):
        grown(1, log=cosigner.log)
        cosigner.rounds.acquire()
    cosigning.close()
    assert witnessed(cosigner.log, list(cosigner.witnesses)).size == 6


def test_the_last_entries_are_witnessed_at_the_end():
    """A session that ends brings what came last to the witnesses."""
    log = grown(3)
    cosigner = Watched(log, three(log))
    cosigning = Cosigning([cosigner], every_s=3600)
    cosigning.check()
    cosigner.rounds.acquire()
    grown(2, log=log)
    cosigning.close()
    cosigning.close()
    assert witnessed(log, list(cosigner.witnesses)).size == 5


def test_a_witness_that_hangs_does_not_keep_a_session_from_ending():
    """The end of a session waits a little and no longer, whatever a witness does."""
    log = grown(3)
    go_on, asked = threading.Event(), threading.Event()

    class Hanging(MemoryWitness):
        def cosign(self, note, *, old_size, path):
            asked.set()
            go_on.wait()
            raise BackendFailed("No.", code="witness-unavailable")

    cosigning = Cosigning([Cosigner(log, [Hanging("witness.test/a", [])])], every_s=3600)
    cosigning.check()
    asked.wait()
    thread = cosigning.thread
    cosigning.close(wait_s=0.01)
    assert thread.is_alive()
    go_on.set()
    thread.join()


@pytest.mark.parametrize("error", [BackendFailed, IntegrityFailed])
def test_a_log_that_fails_does_not_end_the_rounds(cosigning, error):
    """A log that cannot be signed just now is asked again."""
    (cosigner,) = cosigning.cosigners
    good = cosigner.log.checkpoint
    failed = threading.Event()

    def fail():
        cosigner.log.checkpoint = good
        failed.set()
        raise error("No.", code="audit-unavailable")

    cosigner.log.checkpoint = fail
    cosigning.check()
    failed.wait()
    for _ in range(2):
        cosigner.rounds.acquire()
    assert witnessed(cosigner.log, list(cosigner.witnesses)).size == 3


def test_nothing_runs_after_a_refusal(cosigning):
    """Once a witness has refused, every statement is refused and recorded, none is attempted."""
    (cosigner,) = cosigning.cosigners
    for witness in cosigner.witnesses.values():
        witness.logs.clear()
    scene = make_scene(audit=cosigner.log, cosigning=cosigning)
    cosigning.check()
    for _ in range(2):
        cosigner.rounds.acquire()
    for _ in range(2):
        with pytest.raises(IntegrityFailed) as caught:
            scene.read()
        assert caught.value.code == "witness-refused"
        assert scene.audit.records[-1].code == "witness-refused"
    assert not any(record.kind is RecordKind.ATTEMPT for record in scene.audit.records)
    assert not scene.engine.executions


def test_a_refusal_of_an_earlier_session_stops_the_first_statement():
    """A session that finds a refusal kept beside the log runs nothing, not even once."""
    log = grown(3)
    Cosigner(log, [MemoryWitness("witness.test/a", [])]).round()
    cosigning = Cosigning([Cosigner(log, three(log))], every_s=3600)
    for _ in range(2):
        with pytest.raises(IntegrityFailed):
            cosigning.check()
    Cosigner(log, []).forgive()
    cosigning.check()
    cosigning.close()

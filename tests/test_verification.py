"""What verification says of a log, check by check, on the log in RAM."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nbgov.backends.memory import MemoryAuditLog, MemorySigner, MemoryWitness
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey, sign
from nbgov.core.audit.query import Query
from nbgov.cosigning import Cosigner
from nbgov.evidence.bundles import open_bundle
from nbgov.evidence.bundling import Maker
from nbgov.evidence.containers import write_container
from nbgov.evidence.selections import verify_selection
from nbgov.evidence.verification import Trust, verify
from nbgov.model import Receipt, Record, RecordKind

AT = datetime(2026, 1, 2, tzinfo=UTC)
ORIGIN = "acme.test/audit"
VOTE = Record(RecordKind.VOTE, AT, "r", "s")
EVERY = Query(session=("s",))


@pytest.fixture
def signer():
    return MemorySigner(b"log")


@pytest.fixture
def log(signer):
    return MemoryAuditLog(ORIGIN, signer=signer)


@pytest.fixture
def key(signer):
    return VerifierKey(ORIGIN, signer.public_key())


@pytest.fixture
def witness(key):
    return MemoryWitness("witness.test/w1", [key])


def fill(log, count=4):
    """The receipts of some more votes."""
    return [log.append(VOTE) for _ in range(count)]


def told(found, name):
    """Outcome and words of one check."""
    [one] = [one for one in found.checks if one.name == name]
    return one.outcome, one.told


def test_an_empty_log_verifies():
    """There is nothing to hold against anything, and that is said."""
    found = verify(MemoryAuditLog(ORIGIN), Trust())
    assert found.is_sound
    assert (found.checkpoint, found.witnessed, found.window, found.keys) == (None, None, 0, ())
    assert told(found, "window")[0] == "holds"


def test_every_part_holds_and_is_told(log, key, witness):
    """Key, witness, receipts and a kept checkpoint each give a check that holds."""
    receipts = fill(log)
    assert Cosigner(log, [witness]).round().is_witnessed
    kept = Note.parse(log.note("witnessed"))
    receipts += fill(log, 2)
    log.checkpoint()
    trust = Trust(key=key, witnesses=[witness.key], receipts=receipts, notes=[kept])
    found = verify(log, trust)
    assert {one.outcome for one in found.checks} == {"holds"}
    assert [one.name for one in found.checks] == [
        "chain", "checkpoint", "witnesses", "kept at 4", "receipts", "window", "attempts",
    ]  # fmt: skip
    assert (found.checkpoint.size, found.witnessed.size, found.window) == (6, 4, 0)
    assert list(found.cosigned_at) == [witness.key.name]
    assert found.report.origin == ORIGIN


def test_the_window_is_what_nothing_elsewhere_covers(log, key, witness):
    """Entries behind the witnessed checkpoint are counted, but for those that a receipt covers."""
    fill(log, 3)
    assert Cosigner(log, [witness]).round().is_witnessed
    receipts = fill(log, 5)
    trust = Trust(key=key, witnesses=[witness.key])
    assert verify(log, trust).window == 5
    assert "the last 5 entries" in told(verify(log, trust), "window")[1]
    assert verify(log, replace(trust, receipts=receipts[:2])).window == 3
    assert verify(log, Trust()).window == 8


def test_an_own_key_is_told_of_as_such(log, key):
    """The key of the log's own host proves nothing against its owner, and the check says so."""
    fill(log)
    log.checkpoint()
    assert "proves nothing" in told(verify(log, Trust(key=key, is_own=True)), "checkpoint")[1]
    assert "proves nothing" not in told(verify(log, Trust(key=key)), "checkpoint")[1]
    assert told(verify(log, Trust()), "checkpoint")[0] == "unchecked"


def test_a_log_without_its_checkpoint_is_one_only_at_home(log, key):
    """A young log has none yet; one that is handed over with a key has lost it."""
    fill(log)
    assert told(verify(log, Trust(key=key, is_own=True)), "checkpoint")[0] == "unchecked"
    assert told(verify(log, Trust(key=key)), "checkpoint")[0] == "fails"


def test_a_folder_without_entries_is_not_the_log_of_a_key(key):
    """Whoever deleted everything is found by anybody who has the key."""
    assert not verify(MemoryAuditLog(ORIGIN), Trust(key=key)).is_sound


def test_a_key_counts_for_the_log_that_it_names(log, signer):
    """Another log that is signed under the same key does not pass for the one that was asked for."""
    fill(log)
    log.checkpoint()
    other = VerifierKey("acme.test/other", signer.public_key())
    text = log.note("checkpoint")
    own = Note.parse(text).signatures[0]
    forged = replace(own, name=other.name, key_id=other.key_id)
    log.keep_note("checkpoint", str(Note(Note.parse(text).text, (forged,))))
    found = verify(log, Trust(key=other))
    assert told(found, "checkpoint") == (
        "fails", "the key is that of another log, acme.test/other",
    )  # fmt: skip


def test_a_quorum_without_witnesses_fails(log, key):
    """Nobody who asks for a quorum and names no witness is told that the log verifies."""
    fill(log)
    log.checkpoint()
    assert told(verify(log, Trust(key=key, quorum=1)), "witnesses")[0] == "fails"


@pytest.mark.parametrize("name", ["checkpoint", "witnessed"])
def test_a_note_that_is_none_fails(log, key, witness, name):
    """Damage to a note is told of like any other."""
    fill(log)
    assert Cosigner(log, [witness]).round().is_witnessed
    log.keep_note(name, "damage")
    found = verify(log, Trust(key=key, is_own=True, witnesses=[witness.key]))
    outcome, _ = told(found, {"checkpoint": "checkpoint", "witnessed": "witnesses"}[name])
    assert outcome == "fails"
    assert found.problems


def test_a_quorum_is_counted(log, key, witness):
    """As many witnesses as asked for must have cosigned, all of them where nothing is asked."""
    fill(log)
    assert Cosigner(log, [witness]).round().is_witnessed
    other = MemoryWitness("witness.test/w2", [key])
    both = [witness.key, other.key]
    assert told(verify(log, Trust(witnesses=both)), "witnesses") == (
        "fails", "1 of 2 witnesses cosigned it",
    )  # fmt: skip
    assert told(verify(log, Trust(witnesses=both, quorum=1)), "witnesses")[0] == "holds"


def test_a_log_that_no_witness_has_seen_yet(log, key, witness):
    """One that is only configured is unchecked; one that a verifier names must have cosigned."""
    fill(log)
    trust = Trust(key=key, witnesses=[witness.key], is_own=True)
    assert told(verify(log, replace(trust, is_awaiting=True)), "witnesses")[0] == "unchecked"
    assert told(verify(log, trust), "witnesses")[0] == "fails"
    assert told(verify(log, replace(trust, is_own=False)), "witnesses")[0] == "fails"


def test_a_quorum_of_nobody_asks_for_one(log, key, witness):
    """Without a single cosignature no quorum is met, whatever number it is."""
    fill(log)
    log.keep_note("witnessed", str(log.checkpoint()))
    for quorum in (0, -1):
        trust = Trust(key=key, witnesses=[witness.key], quorum=quorum)
        assert told(verify(log, trust), "witnesses") == (
            "fails", "0 of 1 witnesses cosigned it",
        )  # fmt: skip


# ---- selections


def chosen(log, trust, path):
    """What holding a bundle of selected entries against a trust shows."""
    with path.open("wb") as file, write_container(file) as container:
        note, witnessed = log.checkpoint(), log.note("witnessed")
        Maker(log, container, note, witnessed, lambda _: None).selection(EVERY)
    with open_bundle(path) as bundle:
        return verify_selection(bundle, trust)


def test_a_selection_is_held_against_witnesses_like_a_log(log, key, witness, tmp_path):
    """A quorum of zero, or one without a witness, is not met by entries that nobody cosigned."""
    fill(log)
    log.keep_note("witnessed", str(log.checkpoint()))
    for trust in (Trust(key, witnesses=[witness.key], quorum=0), Trust(key, quorum=1)):
        found = chosen(log, trust, tmp_path / "one.zip")
        assert told(found, "witnesses")[0] == "fails"
        assert not found.is_sound


def test_a_selection_is_held_against_kept_checkpoints(log, signer, key, tmp_path):
    """One that it leads to holds, a fork and another log fail, what it says nothing of is said."""
    fill(log)
    early = log.checkpoint()
    log.keep_note("witnessed", str(early))
    fill(log, 2)
    between = log.checkpoint()
    fill(log, 2)
    point = log.checkpoint()
    fork = sign(replace(point.checkpoint, root=early.checkpoint.root), key, signer.sign)
    other = sign(Checkpoint("other", 4, early.checkpoint.root), key, signer.sign)
    expected = [(early, "holds"), (point, "holds"), (between, "unchecked"), (fork, "fails")]
    for note, outcome in (*expected, (other, "fails")):
        found = chosen(log, Trust(key, notes=[note]), tmp_path / "one.zip")
        assert told(found, f"kept at {note.checkpoint.size}")[0] == outcome
    found = chosen(log, Trust(notes=[early]), tmp_path / "one.zip")
    assert told(found, "kept at 4")[0] == "unchecked"


def test_a_cosignature_that_is_wrong_fails(log, witness):
    """A line under the witness's name that it did not make is no cosignature."""
    fill(log)
    assert Cosigner(log, [witness]).round().is_witnessed
    note = Note.parse(log.note("witnessed"))
    lines = [replace(one, value=one.value[:-1] + b"!") for one in note.signatures]
    log.keep_note("witnessed", str(Note(note.text, tuple(lines))))
    outcome, words = told(verify(log, Trust(witnesses=[witness.key])), "witnesses")
    assert outcome == "fails"
    assert "cosignature of witness.test/w1 is wrong" in words


def test_a_refusal_fails(log):
    """A checkpoint that a witness refused, kept beside the log, fails it."""
    fill(log)
    log.keep_note("refused", str(log.checkpoint()))
    assert told(verify(log, Trust()), "refusal")[0] == "fails"


def test_receipts_are_of_this_log(log):
    """A receipt of another log, of no entry or of another entry fails; each is named."""
    good = fill(log)[2]
    wrong = [
        Receipt("other", good.index, good.entry_digest),
        Receipt(ORIGIN, 99, good.entry_digest),
        Receipt(ORIGIN, 1, good.entry_digest),
    ]
    assert told(verify(log, Trust(receipts=[good])), "receipts")[0] == "holds"
    outcome, words = told(verify(log, Trust(receipts=[good, *wrong])), "receipts")
    assert outcome == "fails"
    assert all(one.short in words for one in wrong)


def test_a_kept_checkpoint_that_nobody_known_signed_is_unchecked(log, key):
    """It agrees with the log, and is evidence of nothing."""
    fill(log)
    kept = log.checkpoint()
    assert told(verify(log, Trust(notes=[kept])), "kept at 4")[0] == "unchecked"
    assert told(verify(log, Trust(key=key, notes=[kept])), "kept at 4")[0] == "holds"


# ---- keys


def rotate(log, signer, *, note=True):
    """Another key takes over, as the port says."""
    following = VerifierKey(ORIGIN, signer.successor())
    log.append(replace(VOTE, kind=RecordKind.ADMIN, verb="ROTATE", note=str(following)))
    last = log.checkpoint()
    if note:
        log.keep_note(f"key-{last.checkpoint.size}", str(last))
    signer.succeed()
    log.checkpoint()
    return following


def test_keys_are_followed_from_any_of_them(log, signer, key):
    """The first key, the second or the newest: each leads to the one that signs now."""
    fill(log)
    second = rotate(log, signer)
    fill(log)
    third = rotate(log, signer)
    fill(log)
    log.checkpoint()
    for trusted, keys in ((key, 3), (second, 2), (third, 1)):
        found = verify(log, Trust(key=trusted))
        assert found.is_sound, found.problems
        assert (len(found.keys), found.keys[-1]) == (keys, third)
    assert not verify(log, Trust(key=VerifierKey(ORIGIN, b"\1" * 32))).is_sound


def test_a_rotation_that_is_not_finished_is_no_failure(log, signer, key):
    """Between entry and succession the old key may sign a larger checkpoint; it is said."""
    fill(log)
    following = VerifierKey(ORIGIN, signer.successor())
    log.append(replace(VOTE, kind=RecordKind.ADMIN, verb="ROTATE", note=str(following)))
    log.keep_note("key-5", str(log.checkpoint()))
    fill(log)
    log.checkpoint()
    outcome, words = told(verify(log, Trust(key=key)), "checkpoint")
    assert (outcome, "nbgov audit rotate" in words) == ("unchecked", True)


@pytest.mark.parametrize("what", ["no note", "other size", "damage", "no key", "other log", "root"])
def test_a_key_that_nobody_vouches_for_is_not_followed(log, signer, key, what):
    """Without the checkpoint of the key before over the naming entry, the new key counts nothing."""
    fill(log)
    if what in {"no key", "other log"}:
        name = "no key" if what == "no key" else str(VerifierKey("other", signer.successor()))
        log.append(replace(VOTE, kind=RecordKind.ADMIN, verb="ROTATE", note=name))
        log.keep_note("key-5", str(log.checkpoint()))
    else:
        early = log.checkpoint()
        rotate(log, signer, note=what != "no note")
        if what == "other size":
            log.keep_note("key-5", str(early))
        elif what == "damage":
            log.keep_note("key-5", "damage")
        elif what == "root":
            note = Note.parse(log.note("key-5"))
            other = early.checkpoint.text.split("\n")[2]
            text = note.text.replace(note.text.split("\n")[2], other)
            log.keep_note("key-5", str(Note(text, note.signatures)))
    found = verify(log, Trust(key=key))
    assert told(found, "keys")[0] == "fails"
    assert found.keys == (key,)


# ---- gaps


def test_what_the_log_does_not_know_is_unchecked(log):
    """Open attempts are listed, interrupted ones counted, and repairs told of."""
    fill(log)
    attempt = replace(VOTE, kind=RecordKind.ATTEMPT)
    log.append(attempt)
    log.append(replace(VOTE, kind=RecordKind.REPAIR, note="cut 7 bytes"))
    found = verify(log, Trust())
    assert told(found, "attempts") == ("unchecked", "attempts without an end so far: 4")
    assert told(found, "repairs")[0] == "unchecked"
    assert found.is_sound
    again = MemoryAuditLog(ORIGIN, lines=log.lines)
    again.recover()
    assert told(verify(again, Trust()), "attempts")[1].endswith("1 attempt with its process")


def test_entries_are_seen_as_they_go_by(log):
    """Whoever watches sees every entry, once."""
    fill(log)
    seen = []

    def watch(lines):
        for line in lines:
            seen.append(line)
            yield line

    assert verify(log, Trust(), watch=watch, is_deep=True).is_sound
    assert seen == log.lines

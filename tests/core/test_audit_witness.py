"""What a witness decides: requests, their answers, and what no order of requests can bring about."""

from __future__ import annotations

import hashlib
from collections import deque

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    leaf_digest,
)
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey, cosign, sign
from nbgov.core.audit.witness import Submission, admit, understand, weigh
from nbgov.errors import BackendFailed, IntegrityFailed

ORIGIN = "acme.test/audit"
FORK = 4
SIZE_MAX = 12
STALE_TYPE = "text/x.tlog.size"


def private(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def key_of(name: str, owner: str = ORIGIN, purpose: str = "log") -> VerifierKey:
    return VerifierKey(owner, private(name).public_key().public_bytes_raw(), purpose)


LOG, NEXT, STRANGER = key_of("log"), key_of("next"), key_of("stranger")
WITNESS = key_of("witness", "witness.test/one", "witness")
# Two views of one log, which are the same up to the fork.
TRUE = [b"entry %d" % n for n in range(SIZE_MAX)]
FALSE = TRUE[:FORK] + [b"other %d" % n for n in range(FORK, SIZE_MAX)]


def root_of(lines: list[bytes]) -> bytes:
    frontier = Frontier()
    for line in lines:
        deque(frontier.add(leaf_digest(line)), maxlen=0)
    return frontier.root()


def note_of(lines: list[bytes], key: str = "log", origin: str = ORIGIN) -> Note:
    checkpoint = Checkpoint(origin, len(lines), root_of(lines))
    return sign(checkpoint, key_of(key, origin), private(key).sign)


def asked(lines: list[bytes], old: int, key: str = "log") -> Submission:
    """A submission with the path from the first ``old`` lines, where there can be one."""
    path = consistency_path(old, len(lines), lambda a, b: root_of(lines[a:b])) if lines else ()
    return Submission(old, path, note_of(lines, key))


def answer(submission: Submission, known: Checkpoint | None = None, keys=(LOG,)):
    return admit(submission, keys) or weigh(submission, known)


# ---------------------------------------------------------------- the request


@given(st.integers(0, 63), st.integers(0, SIZE_MAX))
def test_a_request_is_read_as_it_was_written(length, size):
    """A request, as text and back, is the same request."""
    path = tuple(hashlib.sha256(bytes([n])).digest() for n in range(length))
    submission = Submission(size, path, note_of(TRUE))
    assert Submission.parse(str(submission)) == submission


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text.removeprefix("old "),
        lambda text: text.replace("old 3", "old 03"),
        lambda text: text.replace("old 3", "old -3"),
        lambda text: text.replace("old 3", "old  3"),
        lambda text: text.replace("old 3", "size 3"),
        lambda text: text.replace("old 3", "old 3 "),
        lambda text: text.replace("old 3", "old " + "9" * 20),
        lambda text: text.replace("old 3\n", "old 3\r\n"),
        lambda text: text.replace("old 3\n", "old 3\nAAAA\n"),
        lambda text: text.replace("old 3\n", "old 3\n" + text.split("\n")[1] + "\n" * 1 + " \n"),
        lambda text: text.replace("old 3\n", "old 3\n" + (text.split("\n")[1] + "\n") * 64),
        lambda text: text.replace("=\n", "\n", 1),
        lambda text: text.replace("\n\n", "\n"),
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace("12\n", "12\nan extension\n"),
        lambda text: text.replace("\n12\n", "\n012\n"),
        lambda text: text + "x" * 20_000,
    ],
)
def test_a_malformed_request_is_none(spoil):
    """A body that is not written exactly as the format says is refused as a whole."""
    good = str(asked(TRUE, 3))
    Submission.parse(good)
    assert spoil(good) != good
    with pytest.raises(IntegrityFailed) as caught:
        Submission.parse(spoil(good))
    assert caught.value.code == "checkpoint-invalid"


# ---------------------------------------------------------------- the answers


def test_a_log_that_nobody_named_is_unknown():
    """A witness that has no key of a log answers 404."""
    assert answer(asked(TRUE, 0), keys=()).status == 404


def test_a_checkpoint_that_the_log_did_not_sign_is_forbidden():
    """Without a signature under a known key, and with a wrong one under such a key, it is 403."""
    assert answer(asked(TRUE, 0, key="stranger")).status == 403
    submission = asked(TRUE, 0)
    forged = Note(note_of(FALSE).text, submission.note.signatures)
    assert answer(Submission(0, (), forged)).status == 403


def test_signatures_under_keys_that_are_not_known_do_not_count():
    """A stranger's signature beside that of the log changes nothing."""
    both = note_of(TRUE).with_signatures(note_of(TRUE, "stranger").signatures)
    assert answer(Submission(0, (), both)).status == 200


@pytest.mark.parametrize("key", ["log", "next"])
def test_a_log_may_change_its_key(key):
    """With both keys of a log known, a checkpoint under either is taken."""
    known = note_of(TRUE[:5]).checkpoint
    assert answer(asked(TRUE, 5, key=key), known, keys=(LOG, NEXT)).status == 200


def test_the_old_size_is_not_above_the_new_one():
    """A request to go from more entries to fewer is malformed, whatever is known."""
    submission = Submission(9, (), note_of(TRUE[:5]))
    assert answer(submission, note_of(TRUE[:9]).checkpoint).status == 400


@pytest.mark.parametrize(("known", "old"), [(0, 3), (5, 0), (5, 3), (5, 6), (12, 0)])
def test_another_size_is_answered_with_the_size_that_is_known(known, old):
    """A client that is mistaken about what the witness knows is told: 409 and the size."""
    remembered = note_of(TRUE[:known]).checkpoint if known else None
    found = answer(asked(TRUE, old), remembered)
    assert (found.status, found.body, found.content_type) == (409, f"{known}\n", STALE_TYPE)
    assert not found.is_fork


def test_a_path_that_does_not_lead_there_is_refused():
    """A log that does not continue what is known, or is not shown to, gets 422."""
    known = note_of(FALSE[:9]).checkpoint
    assert answer(asked(TRUE, 9), known).status == 422
    honest = asked(FALSE, 9)
    assert answer(honest, known).status == 200
    for path in ((), honest.path[:-1], (*honest.path, bytes(32)), honest.path[::-1]):
        assert answer(Submission(9, path, honest.note), known).status == 422
    assert answer(Submission(0, honest.path, honest.note)).status == 422


@pytest.mark.parametrize("old", [0, 9])
def test_two_roots_of_one_size_are_a_fork(old):
    """Another root of the size that is known is refused, and told to be proof, at any old size."""
    found = answer(Submission(old, (), note_of(TRUE[:9])), note_of(FALSE[:9]).checkpoint)
    assert found.status == (422 if old else 409)
    assert found.is_fork


def test_the_same_checkpoint_may_come_again():
    """What was cosigned, with the answer lost, is cosigned again."""
    known = note_of(TRUE).checkpoint
    assert answer(asked(TRUE, SIZE_MAX), known).status == 200


def test_an_empty_log_has_the_root_of_an_empty_tree():
    """A checkpoint of size 0 is cosigned with that root only, and any log may follow it."""
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    good = Submission(0, (), sign(empty, LOG, private("log").sign))
    bad = Submission(0, (), sign(Checkpoint(ORIGIN, 0, bytes(32)), LOG, private("log").sign))
    assert answer(good).status == 200
    assert answer(bad).status == 422
    assert answer(asked(TRUE, 0), empty).status == 200


views = st.tuples(
    st.sampled_from([TRUE, FALSE]), st.integers(1, SIZE_MAX), st.integers(0, SIZE_MAX)
)


@given(st.lists(views, max_size=40))
def test_a_witness_cosigns_one_growing_log(requests):
    """Whatever comes in whatever order, what was cosigned is one log that only grew."""
    known: Checkpoint | None = None
    cosigned: list[tuple[int, bytes]] = []
    for view, size, old in requests:
        lines = view[:size]
        submission = Submission(old, (), note_of(lines)) if old > size else asked(lines, old)
        found = answer(submission, known)
        if found.status == 409 and found.size <= size:
            found = answer(asked(lines, found.size), known)  # As a client does that was told.
        if found.status == 200:
            known = submission.note.checkpoint
            cosigned.append((known.size, known.root))
    sizes = [size for size, _ in cosigned]
    assert sizes == sorted(sizes)
    is_true = [root == root_of(TRUE[:size]) for size, root in cosigned if size > FORK]
    assert all(is_true) or not any(is_true)


@given(st.lists(st.tuples(st.integers(0, 2), views), max_size=60))
def test_no_two_roots_of_one_size_have_a_quorum(requests):
    """With two of three witnesses needed, two views of a log never both count as witnessed."""
    known: dict[int, Checkpoint] = {}
    voices: dict[tuple[int, bytes], set[int]] = {}
    for witness, (lines, size, _) in requests:
        old = known[witness].size if witness in known else 0
        if old > size:
            continue
        submission = asked(lines[:size], old)
        if answer(submission, known.get(witness)).status == 200:
            known[witness] = submission.note.checkpoint
            voices.setdefault((size, known[witness].root), set()).add(witness)
    witnessed = [size for (size, _), by in voices.items() if len(by) >= 2]
    assert len(witnessed) == len(set(witnessed))


# A checkpoint that another implementation signed, from https://github.com/C2SP/C2SP/issues/99.
SIGSUM = "sigsum.org/v1/tree/e796172b92befd62d9dc67e41c2f5bc9d3100a3023b20b1ca40288dd1c679e69"
SIGSUM_KEY = bytes.fromhex("66e0b858e462a609e66fe71370c816d8846ff103d5499a22a7fec37fdbc424a7")
SIGSUM_NOTE = f"""{SIGSUM}
10
HA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

\u2014 {SIGSUM} gJ2ho0n8F8olcerUF1FFdv235A/5as/coWrpLrtE7ovMeP5whgwouYExowG/lTznxu6OUGjjt5yJQ6bXtTcf718MqAQ=
"""


def test_a_log_of_another_make_is_cosigned():
    """A checkpoint of another implementation is read, checked and taken, byte for byte."""
    submission = Submission.parse(f"old 0\n\n{SIGSUM_NOTE}")
    assert str(submission.note) == SIGSUM_NOTE
    assert answer(submission, keys=(VerifierKey(SIGSUM, SIGSUM_KEY),)).status == 200


# ---------------------------------------------------------------- what an answer means


def line_for(note: Note, key: str = "witness", seconds: int = 1_700_000_000) -> str:
    line = cosign(note.text, WITNESS, private(key).sign, seconds=seconds)
    return f"{line}\n"


def heard(status: int, body: str = "", content_type: str = "text/plain"):
    return understand(status, content_type, body, note=note_of(TRUE), key=WITNESS)


def test_a_cosignature_is_found_among_the_lines_of_other_keys():
    """The line of the known key is taken, those of other keys are left."""
    note = note_of(TRUE)
    body = f"{note.signatures[0]}\n{line_for(note)}"
    assert str(heard(200, body)) == line_for(note).strip()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no signature\n",
        str(note_of(TRUE).signatures[0]) + "\n",
        line_for(note_of(FALSE)),
        line_for(note_of(TRUE), key="stranger"),
    ],
)
def test_an_answer_without_its_cosignature_counts_for_nothing(body):
    """A witness that does not sign this text under its own key did not answer."""
    with pytest.raises(BackendFailed) as caught:
        heard(200, body)
    assert caught.value.code == "witness-unavailable"


def test_a_size_is_a_number():
    """The size in a 409 is read, and anything else there counts for nothing."""
    assert heard(409, "7\n", STALE_TYPE) == 7
    for body in ("", "07\n", "x", "-1\n"):
        with pytest.raises(BackendFailed):
            heard(409, body, STALE_TYPE)


@pytest.mark.parametrize("status", [403, 404, 409, 422])
def test_a_refusal_is_told_as_one(status):
    """A witness that knows another log, or none, refuses: nothing may go on."""
    with pytest.raises(IntegrityFailed) as caught:
        heard(status, "7\n")
    assert caught.value.code == "witness-refused"


@pytest.mark.parametrize("status", [201, 302, 400, 413, 429, 500, 503])
def test_any_other_status_counts_for_nothing(status):
    """What the protocol does not know is no refusal and no consent."""
    with pytest.raises(BackendFailed) as caught:
        heard(status)
    assert caught.value.code == "witness-unavailable"

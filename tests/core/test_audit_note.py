"""Signed notes and proofs: our vectors, those of C2SP and of Go, and everything that is wrong."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.audit import merkle
from nbgov.core.audit.note import (
    NOTE_CHARS_MAX,
    Checkpoint,
    Note,
    SignatureLine,
    VerifierKey,
    cosign,
    sign,
)
from nbgov.core.audit.proof import PROOF_CHARS_MAX, Proof, prove
from nbgov.errors import IntegrityFailed
from nbgov.model import Receipt
from tests.core.test_audit import VECTORS

NOTES = VECTORS["notes"]
KEY, WITNESS = VerifierKey.parse(NOTES["key"]), VerifierKey.parse(NOTES["witness"])
COSIGNED = Note.parse(NOTES["cosigned"])
POINT = COSIGNED.checkpoint
LINES = [vector["line"].encode() for vector in VECTORS["entries"]]
SUBTREE = merkle.subtree_of(
    [
        node
        for frontier in [merkle.Frontier()]
        for line in LINES
        for node in frontier.add(merkle.leaf_digest(line))
    ].__getitem__
)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
OTHER_KEY = VerifierKey(KEY.name, OTHER.public_key().public_bytes_raw())

# From c2sp.org/signed-note, section "Verifier keys".
C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2O"
    "NncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# From the documentation of golang.org/x/mod/sumdb/note: the algorithm and the seed, and a note.
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    f"{GO_TEXT}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvq"
    "fqdngotpRZb6KE6RyyBwJnAM=\n"
)


def private(seed):
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


# ---- vectors


def test_the_vectors_are_signed_as_the_reference_does():
    """Signing and cosigning the vector's checkpoint gives the bytes of the reference."""
    note = sign(POINT, KEY, private(NOTES["seed"]).sign)
    assert str(note) == NOTES["checkpoint"]
    seconds = NOTES["seconds"]
    line = cosign(note.text, WITNESS, private(NOTES["witness_seed"]).sign, seconds=seconds)
    assert str(note.with_signatures([line])) == str(COSIGNED) == NOTES["cosigned"]
    assert COSIGNED.with_signatures([line]) == COSIGNED
    assert int.from_bytes(line.value[:8], "big") == seconds


def test_the_vectors_verify():
    """The vector's note is signed by both keys, and says what the vectors say."""
    assert COSIGNED.signed_by(KEY) is not None
    assert COSIGNED.signed_by(WITNESS) is not None
    assert COSIGNED.signed_by(OTHER_KEY) is None
    root = bytes.fromhex(VECTORS["tree"]["roots"][-1])
    assert Checkpoint(VECTORS["origin"], len(LINES), root) == POINT


def test_keys_are_written_as_they_are_read():
    """A key of either purpose comes back from its text."""
    for key in (KEY, WITNESS):
        assert VerifierKey.parse(f" {key}\n") == key
    assert (KEY.purpose, WITNESS.purpose) == ("log", "witness")


def test_the_example_of_c2sp_verifies():
    """The note that the specification prints verifies under the key that it prints."""
    note = Note.parse(C2SP_NOTE)
    assert note.signed_by(VerifierKey.parse(C2SP_KEY)) is not None
    assert str(note) == C2SP_NOTE
    assert str(VerifierKey.parse(C2SP_KEY)) == C2SP_KEY


def test_a_signature_is_that_of_the_go_implementation():
    """The seed that Go's documentation prints signs Go's text as Go does."""
    signer = Ed25519PrivateKey.from_private_bytes(GO_SEED)
    key = VerifierKey("PeterNeumann", signer.public_key().public_bytes_raw())
    assert key.key_id.hex() == "c74f20a3"
    line = SignatureLine(key.name, key.key_id, signer.sign(GO_TEXT.encode()))
    assert str(Note(GO_TEXT, (line,))) == GO_NOTE


def test_a_receipt_reads_as_in_the_vectors():
    """A receipt's text names log, index and leaf digest, and comes back from it."""
    receipt = Receipt.parse(VECTORS["receipt"])
    assert str(receipt) == VECTORS["receipt"]
    assert receipt.entry_digest == merkle.leaf_digest(LINES[receipt.index])


def test_a_proof_reads_as_in_the_vectors():
    """The proof of an entry has the bytes of the reference, and verifies."""
    index, text = VECTORS["proof"]["index"], VECTORS["proof"]["text"]
    proof = prove(LINES[index], Note.parse(NOTES["checkpoint"]), SUBTREE)
    assert str(proof) == text
    assert Proof.parse(text) == proof
    proof.verify(proof.line, [OTHER_KEY, KEY])


# ---- what is wrong


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        str(KEY).replace("nbgov", "nbgoV"),
        str(KEY)[:-4],
        "a b" + str(KEY)[13:],
        str(VerifierKey("a b", KEY.public)),
        "n+00000000+" + base64.b64encode(b"\2" + KEY.public).decode(),
    ],
)
def test_a_text_that_is_no_key_is_refused(text):
    """Neither a wrong id, a wrong length, a wrong algorithm nor a wrong name passes."""
    with pytest.raises(IntegrityFailed) as caught:
        VerifierKey.parse(text)
    assert caught.value.code == "key-invalid"


NOT_NOTES = [
    "",
    "text\n",
    "text\n\n",
    NOTES["checkpoint"][:-1],
    NOTES["checkpoint"].replace("\u2014", "-"),
    NOTES["checkpoint"].replace("\u2014 nbgov", "\u2014 nb+gov"),
    NOTES["checkpoint"] + "\u2014 name\n",
    NOTES["checkpoint"] + "\u2014 name AAAA\n",
    NOTES["checkpoint"] + "\u2014 name ====\n",
    NOTES["checkpoint"] + "\u2014 name AAAAAA=\n",
    "x" * NOTE_CHARS_MAX + NOTES["checkpoint"],
]


@pytest.mark.parametrize("text", NOT_NOTES, ids=range(len(NOT_NOTES)))
def test_a_text_that_is_no_note_is_refused(text):
    """A note has text, an empty line, signatures, and a bounded length."""
    with pytest.raises(IntegrityFailed) as caught:
        Note.parse(text)
    assert caught.value.code == "checkpoint-invalid"


@pytest.mark.parametrize(
    "text",
    [
        POINT.text + "extension\n",
        POINT.text[:-1],
        POINT.text.replace("\n12\n", "\n012\n"),
        POINT.text.replace("\n12\n", "\n-1\n"),
        POINT.text.replace("\n12\n", "\n1" + "0" * 19 + "\n"),
        "\n12\n" + POINT.text.split("\n")[2] + "\n",
        "log\n12\nAAAA\n",
    ],
)
def test_a_note_that_is_no_checkpoint_is_refused(text):
    """A checkpoint is origin, size and root, each in the one way, and nothing more."""
    with pytest.raises(IntegrityFailed):
        _ = Note(text, ()).checkpoint


@given(st.data())
def test_a_changed_note_is_signed_by_nobody(data):
    """Changing any character of what is signed, or any bit of a signature, is found."""
    place = data.draw(st.integers(0, len(POINT.text) - 1))
    text = POINT.text[:place] + "~" + POINT.text[place + 1 :]
    line = next(one for one in COSIGNED.signatures if one.name == KEY.name)
    bit = data.draw(st.integers(0, 511))
    value = (int.from_bytes(line.value, "big") ^ 1 << bit).to_bytes(64, "big")
    for note in (
        Note(text, COSIGNED.signatures),
        Note(POINT.text, (SignatureLine(line.name, line.key_id, value),)),
    ):
        with pytest.raises(IntegrityFailed):
            note.signed_by(KEY)


def test_a_cosignature_covers_its_time():
    """A witness signed the time that stands in its line, and no other."""
    [line] = [one for one in COSIGNED.signatures if one.name == WITNESS.name]
    later = SignatureLine(line.name, line.key_id, b"\xff" * 8 + line.value[8:])
    for wrong in (later, SignatureLine(line.name, line.key_id, b"short")):
        with pytest.raises(IntegrityFailed):
            Note(POINT.text, (wrong,)).signed_by(WITNESS)


TEXT = VECTORS["proof"]["text"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("@v1", "@v2"),
        TEXT.replace("index 2", "index 02"),
        TEXT.replace("index 2\n", ""),
        TEXT.replace("index 2\n", "index 2\nAAAA\n"),
        TEXT.replace("index 2\n", "index 2\n" + f"{base64.b64encode(bytes(32)).decode()}\n" * 65),
        TEXT.replace("\n\n", "\n"),
        "c2sp.org/tlog-proof@v1\n\n" + NOTES["checkpoint"],
        TEXT.replace("extra ", "extra " + "AAAA" * (PROOF_CHARS_MAX // 4)),
    ],
    ids=range(9),
)
def test_a_text_that_is_no_proof_is_refused(text):
    """A proof has its version, an index, a path of digests and a checkpoint, and an end."""
    with pytest.raises(IntegrityFailed) as caught:
        Proof.parse(text)
    assert caught.value.code in {"proof-invalid", "checkpoint-invalid"}


def test_a_proof_proves_one_entry_under_one_key():
    """No other entry, index, path or key passes, and the line need not be carried along."""
    note = Note.parse(NOTES["checkpoint"])
    proof = Proof.parse(TEXT.replace(TEXT.split("\n")[1] + "\n", ""))
    assert (proof.line, proof.index) == (b"", 2)
    proof.verify(LINES[2], [KEY])
    moved = Proof(3, proof.path, note)
    cut = Proof(2, proof.path[:-1], note)
    for wrong, line, keys in (
        (proof, LINES[3], [KEY]),
        (moved, LINES[3], [KEY]),
        (cut, LINES[2], [KEY]),
        (proof, LINES[2], []),
        (proof, LINES[2], [OTHER_KEY, VerifierKey("other", KEY.public)]),
    ):
        with pytest.raises(IntegrityFailed) as caught:
            wrong.verify(line, keys)
        assert caught.value.code == "proof-invalid"

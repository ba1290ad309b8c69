"""Keyed digests: one suite for every signer, and a key file that is safe to share."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.backends.files import FileKey, FileSigner
from nbgov.backends.memory import MemorySigner
from nbgov.errors import BackendFailed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["memory", "files"])
def signer(request, tmp_path):
    return MemorySigner() if request.param == "memory" else FileSigner(tmp_path / "key")


def unavailable():
    return pytest.raises(BackendFailed, match="state-unavailable")


# ---- every signer


def test_a_digest_depends_on_every_byte(signer):
    """Equal data have equal digests of 32 bytes, and other data have others."""
    assert signer.mac(b"data") == signer.mac(b"data")
    assert len({signer.mac(data) for data in (b"", b"data", b"data ", b"Data")}) == 4
    assert len(signer.mac(b"data")) == 32


def test_another_key_makes_another_digest(tmp_path):
    """Who lacks the key cannot make the digest."""
    signers = [MemorySigner(b"a"), MemorySigner(b"b")]
    signers += [FileSigner(tmp_path / "a"), FileSigner(tmp_path / "b")]
    assert len({signer.mac(b"data") for signer in signers}) == 4


@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=200), place=st.integers(0, 511))
def test_a_signature_is_of_every_bit_of_the_data(data, place):
    """A signature verifies under the public key, and fails with any bit of either one flipped."""
    signer = MemorySigner()
    signature, key = signer.sign(data), Ed25519PublicKey.from_public_bytes(signer.public_key())
    key.verify(signature, data)
    with pytest.raises(InvalidSignature):
        key.verify(flipped(signature, place), data)
    if data:
        with pytest.raises(InvalidSignature):
            key.verify(signature, flipped(data, place % (8 * len(data))))


def flipped(data, place):
    byte, bit = divmod(place, 8)
    return data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :]


def test_signatures_are_ed25519_of_a_key_that_stays(signer):
    """A signature has 64 bytes, its public key 32; both are the same whenever they are made."""
    assert signer.sign(b"data") == signer.sign(b"data")
    assert len(signer.sign(b"data")) == 64
    assert len(signer.public_key()) == 32
    Ed25519PublicKey.from_public_bytes(signer.public_key()).verify(signer.sign(b"data"), b"data")


# ---- files


def test_the_signing_key_is_made_on_first_use_and_is_a_key_of_its_own(tmp_path):
    """Digests make no signing key; signatures make one for its owner only, beside the other."""
    signer = FileSigner(tmp_path / "key")
    signer.mac(b"data")
    assert [p.name for p in tmp_path.iterdir()] == ["key"]
    before = os.umask(0)
    try:
        public = signer.public_key()
    finally:
        os.umask(before)
    made = tmp_path / "signing.key"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert made.read_bytes() not in {(tmp_path / "key").read_bytes(), public}
    assert FileSigner(tmp_path / "key").public_key() == public
    made.chmod(0o644)
    with unavailable():
        FileSigner(tmp_path / "key").sign(b"data")


def test_the_digest_is_hmac_sha256_with_the_key_in_the_file(tmp_path):
    """The key is the file's 32 bytes and the digest is HMAC-SHA256."""
    signer = FileSigner(tmp_path / "key")
    found = signer.mac(b"data")
    key = (tmp_path / "key").read_bytes()
    assert len(key) == 32
    assert found == hmac.digest(key, b"data", hashlib.sha256)


def test_the_key_is_made_on_first_use(tmp_path):
    """No file is made before a digest is asked for; then there is one, for its owner only."""
    signer = FileSigner(tmp_path / "state" / "key")
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0)
    try:
        signer.mac(b"data")
    finally:
        os.umask(before)
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["key"]
    assert stat.S_IMODE((tmp_path / "state" / "key").stat().st_mode) == 0o600


def test_the_key_outlives_the_process(tmp_path):
    """Another signer on the same file makes the same digests."""
    path = tmp_path / "key"
    assert FileSigner(path).mac(b"data") == FileSigner(path).mac(b"data")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_reach_is_refused(tmp_path, mode):
    """A key file with a wider mode than 0600 makes no digest."""
    FileSigner(tmp_path / "key").mac(b"data")
    (tmp_path / "key").chmod(mode)
    with unavailable() as caught:
        FileSigner(tmp_path / "key").mac(b"data")
    assert "chmod 600" in caught.value.next_step


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_key_of_another_length_is_refused(tmp_path, content):
    """A file that is no key, such as a torn copy, makes no digest and is not written over."""
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with unavailable():
        FileSigner(tmp_path / "key").mac(b"data")
    assert (tmp_path / "key").read_bytes() == content


def test_a_key_that_cannot_be_read_is_an_error(tmp_path):
    """A folder or a link in the place of the key is an error with a code."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    (tmp_path / "other").write_bytes(b"k" * 32)
    for name in ("folder", "link"):
        with unavailable():
            FileSigner(tmp_path / name).mac(b"data")


def test_an_error_does_not_show_the_key(tmp_path):
    """Neither message nor reason of a refused key holds any of it."""
    (tmp_path / "key").write_bytes(b"secret" * 6)
    (tmp_path / "key").chmod(0o600)
    with unavailable() as caught:
        FileSigner(tmp_path / "key").mac(b"data")
    assert "secret" not in caught.value.render()


def test_a_key_is_its_file(tmp_path):
    """A key is the 32 bytes of its file, made once, and the same for everybody who reads it."""
    first, second = FileKey(tmp_path / "state" / "key"), FileKey(tmp_path / "state" / "key")
    assert first.secret() == second.secret() == (tmp_path / "state" / "key").read_bytes()
    assert len(first.secret()) == 32
    assert FileKey(tmp_path / "other").secret() != first.secret()


FIRST_USE = """
import os, sys
from pathlib import Path
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.backends.files import FileKey, FileSigner

for number in range(int(sys.argv[2])):
    ready, go = os.pipe()
    end, start = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            os.close(go)
            os.read(ready, 1)
            os.write(start, FileSigner(Path(sys.argv[1]) / str(number)).mac(b"data"))
            os._exit(0)
        children.append(child)
    os.close(go)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    print(os.read(end, 9 * 32).hex())
"""


def test_processes_that_make_the_key_at_once_share_it(tmp_path):
    """Eight processes that use a new key at the same time make the same digests."""
    command = [sys.executable, "-c", FIRST_USE, str(tmp_path), "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.split():
        assert line == line[:64] * 8
    assert len(set(done.stdout.split())) == 5
    assert {p.name for p in tmp_path.iterdir()} == set("01234")

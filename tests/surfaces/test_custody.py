"""Custody bundles as people meet them: exported, signed, checked offline, and caught when changed."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

import nbgov
from nbgov.backends.memory import MemorySigner
from nbgov.cli import main
from nbgov.core.custody import canonical, write_statement
from nbgov.errors import IntegrityFailed, NbgovError, RequestInvalid
from nbgov.lineage.bundles import export_bundle, verify_bundle
from nbgov.lineage.envelope import (
    is_signed_by,
    key_id,
    key_text,
    open_envelope,
    read_key,
    seal,
)
from nbgov.lineage.files import files_digest
from nbgov.session import connect
from tests.core.lineages import AT, SIGNER, lineages, proved, recorded
from tests.surfaces.chain import ADA, GRACE, MODEL, RUN, Chain, chain
from tests.surfaces.house import build

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "custody.json").read_text())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory):
    with chain(tmp_path_factory.mktemp("custody")) as made:
        yield made


@pytest.fixture(scope="module")
def bundle(house: Chain) -> bytes:
    with connect(house.folder, as_=ADA) as session:
        return export_bundle(session, MODEL)


@pytest.fixture(scope="module")
def key(house: Chain) -> bytes:
    with connect(house.folder, as_=ADA) as session:
        return session.world.signer.public_key()


def run_cli(folder: Path, *words: str):
    return CliRunner().invoke(main, ["--config", str(folder), "--as", ADA, *words])


def outcomes(report) -> dict[str, str]:
    return {one.name: one.outcome for one in report.checks}


# ---- a bundle of a real chain


def test_an_exported_bundle_is_sound_and_nothing_that_could_be_checked_is_not(house, bundle):
    """With state folder, key and files at hand, nothing stays unchecked."""
    with connect(house.folder, as_=ADA) as session:
        report = verify_bundle(bundle, model=house.model, session=session)
    assert report.subject == MODEL
    assert report.is_sound
    found = outcomes(report)
    assert {name for name, outcome in found.items() if outcome != "holds"} == set()
    assert {"inclusion proofs", "checkpoint"} <= found.keys()
    assert {"signature", "subject", "versions", "lineage", "audit entries", "approvals",
            "model files", "audit log"} <= found.keys()  # fmt: skip


def test_a_bundle_is_checked_offline_with_the_key_alone(bundle, key):
    """Without state folder and files a bundle can be sound, and what was not checked is said."""
    report = verify_bundle(bundle, key=key)
    assert report.is_sound
    found = outcomes(report)
    assert {name for name, outcome in found.items() if outcome == "unchecked"} == {
        "model files", "audit log",
    }  # fmt: skip


def test_a_bundle_without_a_key_is_not_sound(bundle):
    """Whoever cannot check the signature is told so, and the bundle does not pass."""
    report = verify_bundle(bundle)
    assert outcomes(report)["signature"] == "unchecked"
    assert not report.is_sound


def test_a_bundle_holds_the_chain_and_no_value(house, bundle):
    """Reads, tickets, votes and statements are there; rows, literals and reasons are not."""
    payload = open_envelope(bundle).payload.decode()
    for part in (ADA, GRACE, "main.people", "redact pii.email", "bbbb", RUN, "WHERE team = ?"):
        assert part in payload
    for part in ("lovelace", "example.com", "'red'", "for the model"):
        assert part not in payload


def test_a_signature_is_recorded_before_it_is_made(house, bundle):
    """The audit log says who had which statement signed."""
    with connect(house.folder, as_=ADA) as session:
        lines = [line.decode() for line in session.world.audit.entries()]
    digest = hashlib.sha256(open_envelope(bundle).payload).hexdigest()
    found = [line for line in lines if digest in line]
    # One before and one after, each time that somebody asked for the bundle.
    assert found
    assert len(found) % 2 == 0
    assert all(f'"principal":"{ADA}"' in line and '"verb":"CUSTODY"' in line for line in found)


def test_other_files_are_not_those_of_the_model(house, bundle, key, tmp_path):
    """A changed byte, another name and a file more are all seen."""
    assert outcomes(verify_bundle(bundle, key=key, model=house.model))["model files"] == "holds"
    weights = house.model / "data" / "weights.bin"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + b"\x00")
        report = verify_bundle(bundle, key=key, model=house.model)
        assert outcomes(report)["model files"] == "fails"
        assert not report.is_sound
    finally:
        weights.write_bytes(content)


def test_a_log_that_lost_an_entry_is_seen(house, bundle, monkeypatch):
    """Entries of the bundle that do not stand in the log of the same name fail."""
    with connect(house.folder, as_=ADA) as session:
        lines = list(session.world.audit.entries())
        monkeypatch.setattr(session.world.audit, "entries", lambda: iter(lines[:2]))
        assert outcomes(verify_bundle(bundle, session=session))["audit log"] == "fails"
        forged = [*lines, lines[-1]]
        monkeypatch.setattr(session.world.audit, "entries", lambda: iter(forged))
        assert outcomes(verify_bundle(bundle, session=session))["audit log"] == "fails"


def test_a_log_of_another_house_is_not_held_against_a_bundle(bundle, key, tmp_path):
    """Another state folder has another log; that is said, and is no failure of the bundle."""
    with connect(build(tmp_path), as_=ADA) as session:
        report = verify_bundle(bundle, key=key, session=session)
        other = verify_bundle(bundle, session=session)
    assert outcomes(report)["audit log"] == "unchecked"
    assert report.is_sound
    assert outcomes(other)["signature"] == "fails"


@pytest.mark.parametrize("reference", ["train", RUN, "models:/people/7"])
def test_what_is_no_model_version_with_files_has_no_chain(house, reference):
    """A dataset, a run, and a version whose files or run are not known cannot be exported."""
    lone = replace(house.store.models[0], version="7", digest="")
    house.store.models.append(lone)
    try:
        with connect(house.folder, as_=ADA) as session, pytest.raises(RequestInvalid) as caught:
            export_bundle(session, reference)
    finally:
        house.store.models.pop()
    assert caught.value.code == "usage"


# ---- every byte counts


def flipped(data: bytes, place: int, mask: int) -> bytes:
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(VECTORS["bundle"].encode()) - 1), mask=st.integers(1, 255))
def test_any_flipped_byte_fails(place, mask):
    """Wherever a byte of the file is changed, the bundle does not pass."""
    public, whole_file = bytes.fromhex(VECTORS["key"]["public"]), VECTORS["bundle"].encode()
    try:
        report = verify_bundle(flipped(whole_file, place, mask), key=public)
    except IntegrityFailed:
        return
    assert not report.is_sound


def test_every_byte_of_a_small_envelope_counts():
    """No byte of the envelope is free: neither its base64, nor its key's name, nor its end."""
    signer = MemorySigner()
    made = seal(b'{"a":1}', signer)
    passing = []
    for place in range(len(made)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128):
            try:
                envelope = open_envelope(flipped(made, place, mask))
            except IntegrityFailed:
                continue
            if is_signed_by(envelope, signer.public_key()):
                passing.append(place)
    assert passing == []


@settings(max_examples=15, deadline=None)
@given(lineages())
def test_what_is_exported_verifies(lineage):
    """The bundle of any lineage is sound under its own key, and under no other."""
    signer = SIGNER
    known, lines = recorded(lineage)
    payload = write_statement(known, lines, made_at=AT, maker="n", proofs=proved(lines))
    made = seal(payload, signer)
    report = verify_bundle(made, key=signer.public_key())
    # Where there is no entry there is no proof either.
    assert (report.is_sound, outcomes(report)["checkpoint"]) == (
        True,
        "holds" if lines else "unchecked",
    )
    other = verify_bundle(made, key=MemorySigner(b"other").public_key())
    assert outcomes(other)["signature"] == "fails"
    assert outcomes(other)["checkpoint"] == ("fails" if lines else "unchecked")


def respelt(change) -> bytes:
    envelope = json.loads(VECTORS["bundle"])
    change(envelope)
    return canonical(envelope) + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null\n",
        b"[" * 100_000,
        VECTORS["bundle"].encode().rstrip(),
        VECTORS["bundle"].encode() + b"\n",
        json.dumps(json.loads(VECTORS["bundle"])).encode(),
        respelt(lambda e: e.update(surprise=1)),
        respelt(lambda e: e.update(payload="YR==")),
        respelt(lambda e: e.update(payloadType="text/plain")),
        respelt(lambda e: e.update(signatures=[])),
        respelt(lambda e: e.update(signatures=e["signatures"] * 2)),
        respelt(lambda e: e["signatures"][0].update(sig="AAAA")),
        respelt(
            lambda e: e["signatures"].append({"keyid": "0" * 64, "sig": e["signatures"][0]["sig"]})
        ),
        respelt(lambda e: e["signatures"][0].pop("keyid")),
        respelt(lambda e: e.update(payload=1)),
    ],
    ids=range(16),
)
def test_a_file_of_another_form_is_no_bundle(data):
    """A second signature, an unknown member, white space and another type are all refused."""
    with pytest.raises(IntegrityFailed, match="custody-broken"):
        open_envelope(data)


def test_a_file_that_is_too_large_is_not_read(monkeypatch):
    """The bound on a bundle's size is held before anything is decoded."""
    monkeypatch.setattr("nbgov.lineage.envelope.BUNDLE_BYTES_MAX", 10)
    with pytest.raises(IntegrityFailed, match="longer than 10 bytes"):
        open_envelope(VECTORS["bundle"].encode())


def test_a_signed_lie_does_not_add_up():
    """Whoever holds the key can sign, but a statement that contradicts itself still fails."""
    signer = MemorySigner()
    statement = json.loads(VECTORS["statements"][0]["payload"])
    statement["predicate"]["lineage"]["deliveries"][0]["principal"] = "nobody"
    report = verify_bundle(seal(canonical(statement), signer), key=signer.public_key())
    found = outcomes(report)
    assert (found["signature"], found["audit entries"]) == ("holds", "fails")
    assert not report.is_sound
    unread = verify_bundle(seal(b"{}", signer), key=signer.public_key())
    assert (unread.subject, outcomes(unread)["statement"]) == ("", "fails")


# ---- the format, to the byte


class VectorSigner:
    """The port with the key of the vectors."""

    seed = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["key"]["seed"]))

    def mac(self, data: bytes) -> bytes:
        raise NotImplementedError

    def sign(self, data: bytes) -> bytes:
        return self.seed.sign(data)

    def public_key(self) -> bytes:
        return self.seed.public_key().public_bytes_raw()


def test_bundles_have_the_bytes_of_the_specification():
    """Envelope, signature and key id of the vectors come out to the byte, and verify."""
    payload = VECTORS["statements"][0]["payload"].encode()
    assert seal(payload, VectorSigner()).decode() == VECTORS["bundle"]
    public = bytes.fromhex(VECTORS["key"]["public"])
    assert key_id(public) == VECTORS["key"]["keyid"]
    assert verify_bundle(VECTORS["bundle"].encode(), key=public).is_sound


def test_the_signature_is_over_the_encoding_of_dsse():
    """Another tool needs nothing but the file, the key and the DSSE document to check it."""
    envelope = json.loads(VECTORS["bundle"])
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    VectorSigner.seed.public_key().verify(signature, signed)


def test_the_digest_over_files_is_that_of_the_specification(tmp_path):
    """It equals what sha256sum makes of the folder, whatever the order on the disk."""
    for name, content in VECTORS["files"]["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes.fromhex(content))
    assert files_digest(tmp_path) == VECTORS["files"]["digest"]
    command = "find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum"
    told = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.split()[0] == nbgov.files_digest(tmp_path)


def test_a_single_file_is_a_folder_of_one(tmp_path):
    """A model that is one file has the digest of a folder that holds nothing else."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.pkl").write_bytes(b"x")
    assert files_digest(tmp_path / "m" / "model.pkl") == files_digest(tmp_path / "m")


@pytest.mark.parametrize("kind", ["link", "newline", "absent", "folder-link"])
def test_files_that_cannot_be_told_have_no_digest(tmp_path, kind):
    """A link, a name with a newline, and what is not there are errors, never left out."""
    model = tmp_path / "model"
    if kind == "absent":
        model = tmp_path / "nothing"
    else:
        model.mkdir()
        (model / "a").write_bytes(b"")
    if kind == "link":
        (model / "b").symlink_to(tmp_path / "a")
    elif kind == "newline":
        (model / "a\nb").write_bytes(b"")
    elif kind == "folder-link":
        (model / "b").symlink_to(tmp_path)
    with pytest.raises(RequestInvalid, match="file-unreadable"):
        files_digest(model)


# ---- keys


def test_a_key_is_read_back_from_its_text():
    """PEM text holds exactly the key, in openssl's own form."""
    public = MemorySigner().public_key()
    assert key_text(public).startswith("-----BEGIN PUBLIC KEY-----\n")
    assert read_key(key_text(public).encode()) == public


@pytest.mark.parametrize(
    "data", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"x" * 64]
)
def test_a_file_that_is_no_key_is_refused(data):
    """What is no Ed25519 public key is an error that says how to write one."""
    with pytest.raises(RequestInvalid, match="nbgov custody key"):
        read_key(data)


def test_a_key_of_another_type_is_refused():
    """An RSA or EC key is a key, but none of ours."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = generate_private_key(SECP256R1()).public_key()
    text = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(RequestInvalid, match="usage"):
        read_key(text)


# ---- the command line


def test_a_bundle_goes_from_export_to_verify(house, tmp_path):
    """Export writes a file, key the public key, and verify holds with both and the files."""
    path, public = tmp_path / "people.bundle", tmp_path / "public.pem"
    done = run_cli(house.folder, "custody", "export", MODEL, "-o", str(path))
    assert done.exit_code == 0, done.stderr
    public.write_text(run_cli(house.folder, "custody", "key").stdout)
    assert "PRIVATE" not in public.read_text()
    checked = run_cli(
        house.folder,
        "custody",
        "verify",
        str(path),
        "--key",
        str(public),
        "--model",
        str(house.model),
    )
    assert checked.exit_code == 0, checked.stdout
    assert "The bundle is sound." in checked.stdout
    assert "not checked" not in checked.stdout
    assert "holds        inclusion proofs" in checked.stdout
    printed = run_cli(house.folder, "custody", "export", MODEL)
    assert open_envelope(printed.stdout_bytes).payload_type == "application/vnd.in-toto+json"


def test_verify_works_where_there_is_no_house(house, bundle, key, tmp_path, monkeypatch):
    """Away from any nbgov.yaml, the key is enough; without it, the bundle does not pass."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").write_bytes(bundle)
    (tmp_path / "k").write_text(key_text(key))
    sound = CliRunner().invoke(main, ["custody", "verify", "b", "--key", "k"])
    assert (sound.exit_code, sound.stderr) == (0, "")
    assert "not checked  audit log" in sound.stdout
    bare = CliRunner().invoke(main, ["custody", "verify", "b"])
    assert bare.exit_code == 1
    assert "The bundle is NOT sound." in bare.stdout
    lost = CliRunner().invoke(main, ["--config", "nowhere", "custody", "verify", "b"])
    assert "code    config-missing" in lost.stderr


def test_a_changed_bundle_fails_on_the_command_line(house, bundle, tmp_path):
    """A file that is no bundle is an error; one whose parts do not hold exits with 1."""
    path = tmp_path / "b"
    path.write_bytes(bundle[:-5])
    assert "code    custody-broken" in run_cli(house.folder, "custody", "verify", str(path)).stderr
    path.write_bytes(seal(b"{}", MemorySigner()))
    failed = run_cli(house.folder, "custody", "verify", str(path))
    assert failed.exit_code == 1
    assert "FAILS        signature" in failed.stdout
    assert "a bundle that cannot be read" in failed.stdout
    away = run_cli(house.folder, "custody", "verify", str(tmp_path / "nothing"))
    assert away.exit_code == 2


def test_a_model_that_is_not_there_is_an_error(house):
    """The model version is looked up before anything is signed."""
    asked = run_cli(house.folder, "custody", "export", "models:/nobody/1")
    assert asked.exit_code == 1
    assert "code    unknown-run" in asked.stderr
    assert not isinstance(asked.exception, NbgovError)

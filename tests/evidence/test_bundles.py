"""Bundles: verified with a public key alone, and nothing but what the log holds."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.backends.memory import MemoryAuditLog, MemorySigner, MemoryWitness
from nbgov.core.audit import decode
from nbgov.core.audit.note import Note, VerifierKey
from nbgov.core.audit.query import Query
from nbgov.cosigning import Cosigner
from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.evidence import bundles, bundling, containers
from nbgov.evidence.bundles import open_bundle
from nbgov.evidence.bundling import Maker, write_bundle
from nbgov.evidence.containers import write_container
from nbgov.evidence.examining import Trust
from nbgov.evidence.selections import verify_selection
from nbgov.evidence.verification import verify
from nbgov.model import Receipt, Record, RecordKind
from nbgov.session import connect
from tests.surfaces import house

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVEN = Query(principal=("even",))
CODES = {"bundle-invalid", "checkpoint-invalid", "key-invalid", "audit-broken"}


class Log:
    """A log of 23 entries whose signing key was replaced twice."""

    def __init__(self, rotations=(7, 15)) -> None:
        self.signer = MemorySigner()
        self.log = MemoryAuditLog("log.test/a", signer=self.signer)
        self.keys = [self.key()]
        for index in range(23):
            if index in rotations:
                self.rotate(index)
            else:
                self.append(index, principal="odd" if index % 2 else "even")

    def key(self):
        return VerifierKey("log.test/a", self.signer.public_key())

    def append(self, index, **fields):
        at = AT + timedelta(seconds=index)
        return self.log.append(Record(RecordKind.HEADS, at, f"r{index}", "s", **fields))

    def rotate(self, index):
        """The steps of a rotation of the signing key."""
        key = VerifierKey("log.test/a", self.signer.successor())
        at = AT + timedelta(seconds=index)
        self.log.append(Record(RecordKind.ADMIN, at, "r", "s", verb="ROTATE", note=str(key)))
        note = self.log.checkpoint()
        self.log.keep_note(f"key-{note.checkpoint.size}", str(note))
        self.signer.succeed()
        self.keys.append(key)

    def bundle(self, query=None):
        """The bytes of a bundle."""
        file = io.BytesIO()
        with write_container(file) as container:
            witnessed = self.log.note("witnessed")
            maker = Maker(self.log, container, self.log.checkpoint(), witnessed, lambda _: None)
            _ = maker.whole() if query is None else maker.selection(query)
        return file.getvalue()


@pytest.fixture(scope="module")
def log():
    return Log()


def at(folder, data):
    """A file of these bytes."""
    path = Path(folder) / "bundle.zip"
    path.write_bytes(data)
    return path


def examined(path, trust):
    """What verifying a bundle shows."""
    with open_bundle(path) as bundle:
        return verify(bundle, trust) if bundle.is_whole else verify_selection(bundle, trust)


def outcomes(found):
    return {one.name: one.outcome for one in found.checks}


def content(path):
    """Everything that a bundle says."""
    with open_bundle(path) as bundle:
        notes = [bundle.note(n) for n in ("checkpoint", "witnessed", "key-8", "key-16")]
        if bundle.is_whole:
            return list(bundle.entries()), notes
        return list(bundle.inclusions()), bundle.consistency(), notes


def content_or_code(path):
    """Everything that a bundle says, or the code of the error that it is."""
    try:
        return content(path)
    except IntegrityFailed as error:
        return error.code


# ---------------------------------------------------------------- what a bundle proves


@pytest.mark.parametrize("known", [0, 1, 2])
def test_a_whole_log_verifies_with_a_key_alone(log, tmp_path, known):
    """Whoever has any of the log's keys follows it to the newest one, and the log holds."""
    found = examined(at(tmp_path, log.bundle()), Trust(key=log.keys[known]))
    assert found.is_sound
    assert found.report.entries == 23
    assert found.keys[-1] == log.keys[-1]


@pytest.mark.parametrize("known", [0, 1, 2])
def test_selected_entries_verify_with_a_key_alone(log, tmp_path, known):
    """Each selected entry is shown to be in the log, whose key is followed, and no more is said."""
    found = examined(at(tmp_path, log.bundle(EVEN)), Trust(key=log.keys[known]))
    assert found.is_sound
    assert found.keys[-1] == log.keys[-1]
    [scope] = [one for one in found.checks if one.name == "scope"]
    assert scope.outcome == "unchecked"
    assert scope.told.startswith("14 entries of 23: this is not the whole log")


def test_another_key_is_told(log, tmp_path):
    """The key of another log verifies neither form."""
    stranger = VerifierKey("log.test/a", MemorySigner(b"other").public_key())
    for query in (None, EVEN):
        assert not examined(at(tmp_path, log.bundle(query)), Trust(key=stranger)).is_sound


def test_without_a_key_nothing_is_said_of_the_checkpoint(log, tmp_path):
    """The paths hold, and nobody vouches for where they lead."""
    found = examined(at(tmp_path, log.bundle(EVEN)), Trust())
    assert outcomes(found)["checkpoint"] == "unchecked"


def test_witnesses_vouch_for_what_they_cosigned(tmp_path):
    """Entries that came after the cosigned checkpoint are told apart from those before."""
    one = Log(rotations=())
    witness = MemoryWitness("witness.test/one", [one.key()])
    trust = Trust(key=one.keys[0], witnesses=[witness.key])
    bare = examined(at(tmp_path, one.bundle(EVEN)), trust)
    assert outcomes(bare)["witnesses"] == "fails"
    assert Cosigner(one.log, [witness], quorum=1).round().is_witnessed
    found = examined(at(tmp_path, one.bundle(EVEN)), trust)
    assert outcomes(found)["witnesses"] == "holds"
    assert found.cosigned_at.keys() == {"witness.test/one"}
    one.append(30, principal="even")
    late = examined(at(tmp_path, one.bundle(EVEN)), trust)
    assert outcomes(late)["witnesses"] == "unchecked"
    other = MemoryWitness("witness.test/two", [one.key()])
    missing = examined(at(tmp_path, one.bundle(EVEN)), Trust(one.keys[0], witnesses=[other.key]))
    assert outcomes(missing)["witnesses"] == "fails"


def test_receipts_are_held_against_the_entries(log, tmp_path):
    """A receipt of a selected entry holds, one of another entry fails, an absent one is told."""
    path = at(tmp_path, log.bundle(EVEN))
    entry = decode(log.log.lines[2])
    good = Receipt("log.test/a", 2, entry.digest)
    for receipt, outcome in [
        (good, "holds"),
        (Receipt("log.test/a", 2, bytes(32)), "fails"),
        (Receipt("other", 2, entry.digest), "fails"),
        (Receipt("log.test/a", 3, bytes(32)), "unchecked"),
    ]:
        found = examined(path, Trust(key=log.keys[0], receipts=[receipt]))
        assert outcomes(found)["receipts"] == outcome


def test_a_bundle_of_a_session_verifies_elsewhere(tmp_path):
    """What one machine bundles another verifies, with the key and nothing else of the first."""
    (tmp_path / "here").mkdir()
    folder = house.build(tmp_path / "here")
    path, part = tmp_path / "log.zip", tmp_path / "part.zip"
    with connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people WHERE team = 'red'").to_arrow()
        done = write_bundle(session, path)
        selected = write_bundle(session, part, Query(table=("people",)))
        key = VerifierKey(done.checkpoint.origin, session.world.signer.public_key())
        with pytest.raises(RequestInvalid):
            write_bundle(session, tmp_path / "none.zip", Query(principal=("nobody",)))
    assert (done.is_whole, selected.is_whole) == (True, False)
    assert done.entries == done.checkpoint.size
    assert {one.name for one in tmp_path.iterdir()} == {"here", "log.zip", "part.zip"}
    for file in (path, part):
        assert examined(file, Trust(key=key)).is_sound
    # The export is an entry of the log, and it is in the bundle.
    with open_bundle(path) as bundle:
        *_, last = bundle.entries()
    assert decode(last).record.note == "bundle of the whole log"
    plain = b"".join(zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist())
    keys = [one.read_bytes() for one in folder.rglob("*.key")]
    assert keys
    assert all(one.strip() not in plain for one in keys)
    assert b"'red'" not in plain


def test_equal_logs_make_equal_bytes(log):
    """A bundle depends on what the log holds, and on nothing else."""
    assert log.bundle() == Log().bundle()
    assert log.bundle(EVEN) == Log().bundle(EVEN)


def test_entries_are_read_from_any_segment(log, tmp_path, monkeypatch):
    """A long log has several segments, and reading can begin anywhere."""
    monkeypatch.setattr(bundling, "SEGMENT_BYTES_MAX", 1000)
    path = at(tmp_path, log.bundle())
    assert sum(name.startswith("entries/") for name in zipfile.ZipFile(path).namelist()) > 2
    with open_bundle(path) as bundle:
        for start in range(25):
            assert list(bundle.entries(start)) == log.log.lines[start:]
        assert bundle.note("key-9") == ""
        assert bundle.note("../checkpoint") == ""


def test_selected_entries_can_be_read_from_an_index_on(log, tmp_path):
    """The entries of a selection come in the order of the log."""
    with open_bundle(at(tmp_path, log.bundle(EVEN))) as bundle:
        found = [decode(line).index for line in bundle.entries(8)]
    assert found == [8, 10, 12, 14, 15, 16, 18, 20, 22]


# ---------------------------------------------------------------- what is no bundle


@given(st.data())
@settings(max_examples=150)
def test_any_flipped_bit_is_seen(log, tmp_path_factory, data):
    """A bundle with one bit flipped is refused, or says exactly what it said before."""
    query = data.draw(st.sampled_from([None, EVEN]))
    good = log.bundle(query)
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    flipped = bytearray(good)
    flipped[bit // 8] ^= 1 << bit % 8
    folder = tmp_path_factory.getbasetemp()
    before = content(at(folder, good))
    # Packed data can say one thing in two ways; everything else has one form.
    assert content_or_code(at(folder, bytes(flipped))) in [*CODES, before]


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_a_bundle_that_was_cut_is_refused(log, tmp_path_factory, place):
    """No beginning of a bundle is a bundle."""
    good = log.bundle()
    with pytest.raises(IntegrityFailed) as raised:
        open_bundle(at(tmp_path_factory.getbasetemp(), good[: place % len(good)]))
    assert raised.value.code == "bundle-invalid"


def packed(members):
    """The bytes of a container with these members."""
    file = io.BytesIO()
    with write_container(file) as container:
        for name, data in members:
            container.add(name, [data])
    return file.getvalue()


def members_of(data):
    """The members of a container."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def changed(log, name, change, query=None):
    """A bundle with one member changed."""
    return packed(
        [
            (one, change(data) if one == name else data)
            for one, data in members_of(log.bundle(query))
        ]
    )


FIRST = f"entries/{0:020}.jsonl"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip at all",
        packed([]),
        packed([("../manifest.json", b"{}")]),
        packed([("manifest.json", b"{}\n")]),
        packed([("manifest.json", b"[" * 60_000)]),
        packed([("manifest.json", b"\xff")]),
        packed([("manifest.json", b" " * 70_000)]),
        packed([("m\u00e4nifest.json", b"{}")]),
    ],
)
def test_another_file_is_no_bundle(tmp_path, data):
    """A file of another form is refused, and says why."""
    with pytest.raises(IntegrityFailed) as raised:
        open_bundle(at(tmp_path, data))
    assert raised.value.code == "bundle-invalid"


def test_a_file_that_is_not_there_is_told(tmp_path):
    """A path that leads nowhere is the caller's mistake, not the log's."""
    with pytest.raises(RequestInvalid) as raised:
        open_bundle(tmp_path / "absent.zip")
    assert raised.value.code == "file-unreadable"


@pytest.mark.parametrize(
    "change",
    [
        lambda found: [*found, ("readme.txt", b"hello")],
        lambda found: [*found, ("key-1/../../x", b"hello")],
        lambda found: [*found, found[-1]],
        lambda found: [*found[:-1], ("key-08", b"")],
        lambda found: [one for one in found if one[0] != "checkpoint"],
        lambda found: found[::-1],
        lambda found: [found[0], *found[2:]],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_are_those_of_a_bundle(log, tmp_path, change):
    """A foreign, doubled, missing or misplaced member is refused."""
    with pytest.raises(IntegrityFailed) as raised:
        content(at(tmp_path, packed(change(members_of(log.bundle())))))
    assert raised.value.code == "bundle-invalid"


@pytest.mark.parametrize(
    "patch",
    [
        lambda data: data + b"x",
        lambda data: b"x" + data,
        lambda data: data[:-2] + b"\x01\x00x",
    ],
)
def test_nothing_hides_around_the_members(log, tmp_path, patch):
    """Bytes before, between and behind the members are refused, a comment too."""
    with pytest.raises(IntegrityFailed) as raised:
        open_bundle(at(tmp_path, patch(log.bundle())))
    assert raised.value.code == "bundle-invalid"


def test_other_ways_to_write_a_zip_are_refused(log, tmp_path):
    """A ZIP file of the same members that another tool wrote is not the one form."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members_of(log.bundle()):
            archive.writestr(name, data)
    with pytest.raises(IntegrityFailed):
        open_bundle(at(tmp_path, file.getvalue()))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (FIRST, lambda data: data[:-1]),
        (FIRST, lambda data: data + b"x" * 70_000),
        (FIRST, lambda data: data.split(b"\n", 1)[1]),
        (FIRST, lambda data: data + data),
        ("checkpoint", lambda data: b"\xff"),
        ("checkpoint", lambda data: data + b"x" * 70_000),
        ("manifest.json", lambda data: data.replace(b'"v":1', b'"v":2')),
        ("manifest.json", lambda data: data.replace(b'"v":1', b'"v" :1')),
        ("manifest.json", lambda data: data.replace(b":23", b":22")),
        ("manifest.json", lambda data: data.replace(b":23", b":0")),
        ("manifest.json", lambda data: data.replace(b"whole", b"other")),
        ("manifest.json", lambda data: data.replace(b"nbgov-audit", b"other-audit")),
    ],
)
def test_what_a_whole_bundle_holds_has_one_form(log, tmp_path, name, change):
    """Lines that do not end, counts that differ, and notes that are no text are refused."""
    with pytest.raises(IntegrityFailed) as raised:
        content(at(tmp_path, changed(log, name, change)))
    assert raised.value.code == "bundle-invalid"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("paths", lambda data: data.split(b"\n", 1)[1]),
        ("paths", lambda data: data + b"[]\n"),
        ("paths", lambda data: b"[1]\n"),
        ("paths", lambda data: b"{}\n"),
        ("entries", lambda data: data.split(b"\n", 1)[1]),
        ("consistency", lambda data: b"[]\n"),
        ("consistency", lambda data: data + data),
        ("consistency", lambda data: data.replace(b"8}", b"true}")),
    ],
)
def test_what_a_selection_holds_has_one_form(log, tmp_path, name, change):
    """Each entry has its path, and paths between checkpoints come in order."""
    bad = changed(log, f"selected/{name}.jsonl", change, EVEN)
    with pytest.raises(IntegrityFailed) as raised:
        content(at(tmp_path, bad))
    assert raised.value.code == "bundle-invalid"


def swap(first, second):
    """Exchange two texts."""
    return lambda data: data.replace(first, b"\0").replace(second, first).replace(b"\0", second)


@pytest.mark.parametrize(
    ("name", "change", "failing"),
    [
        ("selected/entries.jsonl", swap(b'"r2"', b'"r4"'), "entries"),
        ("selected/entries.jsonl", lambda data: data.replace(b"log.test/a", b"log.test/b"), "entries"),
        ("selected/entries.jsonl", lambda data: data.replace(b'"v":1', b'"v":2'), "entries"),
        ("selected/paths.jsonl", lambda data: data.replace(b"0", b"1"), "entries"),
        ("selected/consistency.jsonl", lambda data: data.replace(b"0", b"1", 1), "keys"),
        ("selected/consistency.jsonl", lambda data: data.replace(b":8}", b":9}"), "keys"),
        ("key-8", lambda data: data.replace(b"\n8\n", b"\n9\n"), "keys"),
        ("key-8", lambda data: data.replace(b"log.test/a", b"log.test/b", 1), "keys"),
        ("manifest.json", lambda data: data.replace(b":23", b":24"), "entries"),
    ],
)  # fmt: skip
def test_a_selection_that_was_changed_does_not_verify(log, tmp_path, name, change, failing):
    """What was changed inside a well-formed bundle is told by the check that it breaks."""
    good = members_of(log.bundle(EVEN))
    assert change(dict(good)[name]) != dict(good)[name]
    found = examined(at(tmp_path, changed(log, name, change, EVEN)), Trust(key=log.keys[0]))
    assert outcomes(found)[failing] == "fails"
    assert not found.is_sound
    assert found.problems


def test_entries_out_of_order_are_told(log, tmp_path):
    """An entry that comes twice is not counted twice."""

    def double(data):
        first, rest = data.split(b"\n", 1)
        return first + b"\n" + first + b"\n" + rest

    members = [
        (name, double(data) if name in {bundles.SELECTED, bundles.PATHS} else data)
        for name, data in members_of(log.bundle(EVEN))
    ]
    found = examined(at(tmp_path, packed(members)), Trust(key=log.keys[0]))
    assert outcomes(found)["entries"] == "fails"


def test_a_key_of_another_log_is_not_followed(tmp_path):
    """An entry that names the key of another log, or none, ends the chain of keys."""
    for text in (str(VerifierKey("other", bytes(32))), "no key"):
        one = Log(rotations=())
        at_ = AT + timedelta(hours=1)
        one.log.append(Record(RecordKind.ADMIN, at_, "r", "s", verb="ROTATE", note=text))
        one.log.keep_note("key-24", str(one.log.checkpoint()))
        found = examined(at(tmp_path, one.bundle(EVEN)), Trust(key=one.keys[0]))
        assert outcomes(found)["keys"] == "fails"


def test_a_false_cosignature_is_told(tmp_path):
    """A cosignature that is not the witness's own fails, though the checkpoint holds."""
    one = Log(rotations=())
    witness = MemoryWitness("witness.test/one", [one.key()])
    Cosigner(one.log, [witness], quorum=1).round()
    good = Note.parse(one.log.note("witnessed"))
    line = next(line for line in good.signatures if line.name == witness.key.name)
    forged = str(good).replace(str(line), str(type(line)(line.name, line.key_id, bytes(72))))
    one.log.notes["witnessed"] = forged
    trust = Trust(key=one.keys[0], witnesses=[witness.key])
    assert outcomes(examined(at(tmp_path, one.bundle(EVEN)), trust))["witnesses"] == "fails"


def test_a_bomb_does_not_go_off(tmp_path, log):
    """A member that unpacks to a line without an end is refused after one block."""
    bomb = [(n, bytes(50_000_000) if n == FIRST else d) for n, d in members_of(log.bundle())]
    path = at(tmp_path, packed(bomb))
    with open_bundle(path) as bundle, pytest.raises(IntegrityFailed) as raised:
        next(bundle.entries())
    assert raised.value.code == "bundle-invalid"


@pytest.mark.parametrize("more", [1, 100, 258])
def test_the_last_packed_bytes_may_stand_for_two_blocks(tmp_path, monkeypatch, more):
    """A member is read to its end wherever its packed data ends within a block."""
    monkeypatch.setattr(containers, "BLOCK_BYTES", 4096)
    data = bytes(4096 + more)
    with write_container(file := io.BytesIO()) as container:
        container.add("a", [data])
    whole = containers.Container(at(tmp_path, file.getvalue()))
    assert b"".join(whole.blocks("a")) == data
    whole.close()


def test_a_directory_without_end_is_not_read(log, tmp_path, monkeypatch):
    """A directory that is longer than any bundle needs is not loaded."""
    path = at(tmp_path, log.bundle())
    monkeypatch.setattr(containers, "DIRECTORY_BYTES_MAX", 100)
    with pytest.raises(IntegrityFailed, match="directory is longer"):
        open_bundle(path)


@pytest.mark.parametrize("length", [1, 45, 47])
def test_a_directory_that_was_cut_is_told(log, tmp_path, length):
    """A directory that ends within a member's entry is refused."""
    data = bytearray(log.bundle())
    data[-10:-6] = length.to_bytes(4, "little")
    with pytest.raises(IntegrityFailed) as raised:
        open_bundle(at(tmp_path, bytes(data)))
    assert raised.value.code == "bundle-invalid"


def test_steps_without_end_are_not_kept(log, tmp_path, monkeypatch):
    """A selection with more paths between checkpoints than any has is refused."""
    monkeypatch.setattr(bundles, "STEPS_MAX", 1)
    with open_bundle(at(tmp_path, log.bundle(EVEN))) as bundle, pytest.raises(IntegrityFailed):
        bundle.consistency()


# ---------------------------------------------------------------- limits of what is made


def test_a_selection_is_not_endless(log, monkeypatch):
    """Too many selected entries are refused, with what to do instead."""
    monkeypatch.setattr(bundling, "SELECTED_MAX", 3)
    with pytest.raises(RequestInvalid) as raised:
        log.bundle(EVEN)
    assert raised.value.code == "usage"


def test_a_log_that_does_not_fit_is_told(log, monkeypatch):
    """A container that would need the 64-bit form is refused."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    with pytest.raises(RequestInvalid) as raised:
        log.bundle()
    assert raised.value.code == "usage"


def test_a_file_that_is_too_large_is_not_read(log, tmp_path, monkeypatch):
    """What is larger than any bundle is not looked into."""
    path = at(tmp_path, log.bundle())
    monkeypatch.setattr(containers, "CONTAINER_BYTES_MAX", 100)
    with pytest.raises(IntegrityFailed):
        open_bundle(path)


def test_a_log_shorter_than_its_checkpoint_is_not_bundled():
    """Entries that are gone while a bundle is made stop it."""
    one = Log(rotations=())
    note = one.log.checkpoint()
    del one.log.lines[-3:]
    with write_container(io.BytesIO()) as container:
        maker = Maker(one.log, container, note, "", lambda _: None)
        with pytest.raises(IntegrityFailed):
            maker.whole()


def test_the_manifest_says_what_the_file_is(log):
    """A person who unpacks a bundle reads first what it is."""
    [(name, data), *_] = members_of(log.bundle())
    assert name == "manifest.json"
    assert json.loads(data) == {
        "format": "nbgov-audit-bundle",
        "kind": "whole",
        "origin": "log.test/a",
        "size": 23,
        "v": 1,
    }

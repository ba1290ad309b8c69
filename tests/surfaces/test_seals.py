"""Sealed literals on a disk: read by whom the policy lets, and gone once their key is."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import nbgov
from nbgov.backends.files import FileSealer
from nbgov.cli import main
from nbgov.core.audit import decode
from nbgov.errors import BackendFailed, NbgovError
from nbgov.evidence.verification import verify_log
from nbgov.model import Record
from tests.surfaces.house import CONFIG, POLICY, build

ADA, GRACE = "ada@acme.test", "grace@acme.test"
STATEMENT = "SELECT id FROM people WHERE note = 'swordfish' AND id = :id"
AT = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house whose log seals literals, and whose approvers may read them; two people have asked."""
    folder = build(tmp_path_factory.mktemp("made"))
    (folder / "nbgov.yaml").write_text(CONFIG + "audit: {seal: true}\n")
    (folder / "policy.yaml").write_text(POLICY + "evidence: {unseal: {roles: [approver]}}\n")
    for name in (ADA, GRACE):
        with nbgov.connect(folder, as_=name) as session:
            session.sql(STATEMENT, id=7).to_arrow()
    return folder


@pytest.fixture
def house(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "house"))


def cli(house: Path, name: str, *words: str, **more: str) -> Result:
    """Run ``nbgov audit``."""
    return CliRunner().invoke(main, ["--config", str(house), "--as", name, "audit", *words], **more)


def records(house: Path) -> list[Record]:
    """Every record of the log, which verifies."""
    with nbgov.connect(house, as_=GRACE) as session:
        verify_log(session)
        return [decode(line).record for line in session.world.audit.entries()]


def attempt(house: Path, name: str) -> int:
    """The index of a principal's attempt."""
    found = [
        i for i, one in enumerate(records(house)) if one.kind == "attempt" and one.principal == name
    ]
    return found[0]


def verbs(house: Path) -> list[tuple[str | None, str | None]]:
    """Verb and status of what was done to the seals."""
    return [(one.verb, one.status) for one in records(house) if one.verb in {"ERASE", "UNSEAL"}]


def test_who_may_reads_the_literals_of_an_entry(house: Path) -> None:
    """The exact text and the typed values come back, and that somebody read them is in the log."""
    shown = cli(
        house, GRACE, "unseal", str(attempt(house, ADA)), "--reason", "a  question\nof hers"
    )
    assert (shown.exit_code, shown.output) == (0, f"{STATEMENT}\n:id int = 7\n")
    (begun, ended) = [one for one in records(house) if one.verb == "UNSEAL"]
    assert begun.note == f"the literals of entry {attempt(house, ADA)}: a question of hers"
    assert (begun.status, ended.status, begun.principal) == ("begun", "ok", GRACE)


def test_who_may_not_does_not(house: Path) -> None:
    """Nobody reads literals whom the policy does not name; that they tried is in the log."""
    shown = cli(house, ADA, "unseal", str(attempt(house, ADA)), "--reason", "mine")
    assert (shown.exit_code, "unseal-not-permitted" in shown.output) == (1, True)
    assert "swordfish" not in shown.output
    assert verbs(house) == [("UNSEAL", "begun"), ("UNSEAL", "denied")]
    (house / "policy.yaml").write_text(POLICY)
    assert cli(house, GRACE, "unseal", "5", "--reason", "x").exit_code == 1


def test_what_is_not_there_cannot_be_read(house: Path) -> None:
    """An entry that is absent or keeps no literals, and a reason that is none, are errors."""
    for index, reason in (("999", "x"), ("0", "x"), (str(attempt(house, ADA)), " ")):
        shown = cli(house, GRACE, "unseal", index, "--reason", reason)
        assert (shown.exit_code, "code    usage" in shown.output) == (1, True)


def test_erasing_a_subject_leaves_the_log_and_everybody_else(house: Path) -> None:
    """The subject's literals are gone for good, others are there, and the log verifies."""
    ada, grace = attempt(house, ADA), attempt(house, GRACE)
    assert cli(house, GRACE, "erase", "--principal", ADA, input="n\n").exit_code == 1
    assert not verbs(house)
    shown = cli(house, GRACE, "erase", "--principal", ADA, "--yes")
    assert (shown.exit_code, "1 keys were destroyed" in shown.output) == (0, True)
    assert verbs(house) == [("ERASE", "begun"), ("ERASE", "ok")]
    assert "seal-erased" in cli(house, GRACE, "unseal", str(ada), "--reason", "x").output
    assert "swordfish" in cli(house, GRACE, "unseal", str(grace), "--reason", "x").output
    with nbgov.connect(house, as_=ADA) as session:
        session.sql(STATEMENT, id=7).to_arrow()
    assert [one.literals for one in records(house) if one.kind == "attempt"][2] is None
    assert "No key" in cli(house, GRACE, "erase", "--principal", ADA, "--yes").output


def test_erasing_by_date_takes_earlier_days_only(house: Path) -> None:
    """Keys of the day itself stay; without a principal or a date nothing is erased."""
    today = datetime.now(UTC).date()
    assert "No key" in cli(house, GRACE, "erase", "--before", str(today), "--yes").output
    tomorrow = str(today + timedelta(days=2))
    assert "2 keys" in cli(house, GRACE, "erase", "--before", tomorrow, "--yes").output
    assert "code    usage" in cli(house, GRACE, "erase", "--yes").output


def test_nothing_is_destroyed_that_cannot_be_recorded(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a record, the keys stay."""
    from nbgov.evidence.seals import erase

    with nbgov.connect(house, as_=GRACE) as session:

        def broken(_: Record) -> None:
            raise BackendFailed("no", code="audit-unavailable")

        monkeypatch.setattr(session.log, "append", broken)
        with pytest.raises(BackendFailed):
            erase(session, principal=ADA)
    assert len(list((house / ".nbgov" / "seals").iterdir())) == 2


def test_a_session_of_nobody_is_in_the_log(house: Path) -> None:
    """Who claims a name that nobody declared is refused, and recorded."""
    with pytest.raises(nbgov.IdentityFailed) as caught:
        nbgov.connect(house, as_="mallory")
    record = records(house)[caught.value.record or 0]
    assert (record.verb, record.principal, record.status, record.code) == (
        "OPEN", "mallory", "error", "unknown-principal",
    )  # fmt: skip


def test_a_refused_call_is_in_the_log(house: Path) -> None:
    """Whatever is wrong with a call of ``Session.sql``, its refusal has a record that names it."""
    calls: list[dict[str, Any]] = [
        {"sql": 5},
        {"sql": "SELECT 1", "binds": [1], "a": 2},
        {"sql": "SELECT 1", "origin": 3},
        {"sql": "SELECT 1", "connection": ["wh"]},
        {"sql": "SELECT 1", "connection": "lost"},
        {"sql": "SELECT 1; SELECT 'swordfish"},
        {"sql": "SELECT 1; SELECT x FROM nowhere"},
        {"sql": "SELECT 1; SELECT :a"},
        {"sql": "SELECT 1; DROP TABLE people"},
    ]
    with nbgov.connect(house, as_=ADA) as session:
        for asked in calls:
            sql = asked.pop("sql")
            with pytest.raises(NbgovError) as caught:
                session.sql(sql, **asked)
            entry = next(session.world.audit.entries(caught.value.record or 0))
            record = decode(entry).record
            assert (record.kind, record.code) == ("outcome", caught.value.code)
            assert b"swordfish" not in entry


# ---------------------------------------------------------------- keys as files


@pytest.fixture
def sealer(tmp_path: Path) -> FileSealer:
    """A sealer with a folder of its own."""
    return FileSealer(tmp_path / "seals", mac=lambda data: data[-1:] * 32)


def test_keys_are_for_their_owner_only(sealer: FileSealer) -> None:
    """A key file has mode 0600 in a folder of 0700, and one that others can read is refused."""
    sealed = sealer.seal(b"x", principal="ada", at=AT, context="r")
    (path,) = sealer.folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(sealer.folder.stat().st_mode) == 0o700
    assert path.name == "61" * 16 + "-20260102"
    path.chmod(0o644)
    with pytest.raises(BackendFailed) as caught:
        sealer.unseal(sealed or "", context="r")
    assert caught.value.code == "state-unavailable"


def test_a_destroyed_key_leaves_no_byte(sealer: FileSealer) -> None:
    """Its bytes are overwritten before its file goes, and an empty file says that it is gone."""
    sealed = sealer.seal(b"x", principal="ada", at=AT, context="r") or ""
    (path,) = sealer.folder.iterdir()
    secret = path.read_bytes()
    held = os.open(path, os.O_RDONLY)
    sealer.destroy(path.name)
    assert os.read(held, 64) not in {secret, b""}
    os.close(held)
    assert path.read_bytes() == b""
    assert sealer.keys() == ()
    sealer.destroy(path.name)
    sealer.destroy("0" * 32 + "-20260101")
    assert sealer.seal(b"x", principal="ada", at=AT, context="r") is None
    assert sealer.seal(b"x", principal="ada", at=AT + timedelta(days=1), context="r") is not None
    with pytest.raises(BackendFailed) as caught:
        sealer.unseal(sealed, context="r")
    assert caught.value.code == "seal-erased"


@pytest.mark.parametrize("name", ["../audit.key", "/etc/passwd", "0" * 32, ""])
def test_the_name_of_a_key_is_no_path(sealer: FileSealer, name: str) -> None:
    """A name that somebody wrote into the log opens no file."""
    (sealer.folder.parent / "audit.key").write_bytes(bytes(32))
    assert sealer.find(name) is None


def test_a_folder_that_cannot_be_read_is_an_error(sealer: FileSealer) -> None:
    """What is no folder holds no keys, and says so."""
    sealer.folder.write_bytes(b"")
    with pytest.raises(BackendFailed):
        sealer.keys(principal="ada", before=date(2026, 1, 1))
    with pytest.raises(BackendFailed):
        sealer.destroy("0" * 32 + "-20260101")


def test_a_statement_of_any_length_can_be_sealed(house: Path) -> None:
    """One that is too long is sealed as its digest, and the log stays readable."""
    long = "SELECT id FROM people WHERE note = '" + "x" * 60_000 + "'"
    with nbgov.connect(house, as_=ADA) as session:
        session.sql(long).to_arrow()
    index = [i for i, one in enumerate(records(house)) if one.kind == "attempt"][-1]
    assert "too long" in cli(house, GRACE, "unseal", str(index), "--reason", "x").output

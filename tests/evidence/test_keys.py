"""Rotation: whoever has the first key can follow to the newest, wherever a rotation dies."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from nbgov.backends.files import FileSigner
from nbgov.core.audit import decode
from nbgov.core.audit.note import VerifierKey
from nbgov.errors import BackendFailed
from nbgov.evidence.examining import Trust
from nbgov.evidence.keys import log_key, rotate_key
from nbgov.evidence.verification import verify
from nbgov.session import connect
from tests.surfaces import house


@pytest.fixture
def session(tmp_path):
    with connect(house.build(tmp_path), as_="ada@acme.test") as opened:
        yield opened


def state_of(session):
    return session.state


def dies(*_, **__):
    raise KeyboardInterrupt


def is_sound(session, key):
    found = verify(session.world.audit, Trust(key=key))
    return found.is_sound, [one.outcome for one in found.checks if one.name == "checkpoint"]


def test_a_log_without_entries_has_a_key(session):
    """The key of a new log can be given away before anything ran; it is the one that signs."""
    key = log_key(session)
    assert VerifierKey.parse(str(key)) == key
    assert session.world.audit.checkpoint().signed_by(key) is not None


def test_the_first_key_leads_to_the_newest(session):
    """After several rotations the log verifies with the first key, and with each later one."""
    keys = [log_key(session)]
    for _ in range(3):
        session.sql("SELECT 1 AS one").to_arrow()
        upcoming = log_key(session, is_next=True)
        done = rotate_key(session)
        assert (done.old, done.new) == (keys[-1], upcoming)
        entry = decode(next(session.world.audit.entries(done.index)))
        assert (entry.record.verb, entry.record.note) == ("ROTATE", str(done.new))
        keys.append(log_key(session))
        assert keys[-1] == done.new
    assert len(set(keys)) == 4
    for key in keys:
        assert is_sound(session, key) == (True, ["holds"])
    assert not is_sound(session, VerifierKey(keys[0].name, bytes(32)))[0]


def test_the_old_secret_is_destroyed(session):
    """No file of the state folder holds it any more, and an old descriptor of it reads zeros."""
    before = log_key(session)
    path = state_of(session) / "signing.key"
    secret = path.read_bytes()
    with path.open("rb") as file:
        rotate_key(session)
        assert file.read() == bytes(32)
    assert log_key(session) != before
    assert {p.name for p in path.parent.glob("signing.key*")} == {"signing.key"}
    assert all(secret not in p.read_bytes() for p in path.parent.rglob("*") if p.is_file())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("step", ["append", "checkpoint", "keep_note", "succeed"])
def test_a_rotation_that_died_is_finished_by_the_next_one(session, monkeypatch, step, count):
    """Whichever step it died at, the next one leaves one key, one entry for it, a sound log."""
    first = log_key(session)
    session.sql("SELECT 1 AS one").to_arrow()
    part = session.world.signer if step == "succeed" else session.world.audit
    real, calls = getattr(part, step), []

    def falter(*arguments):
        calls.append(step)
        return real(*arguments) if len(calls) < count else dies()

    with monkeypatch.context() as patch:
        patch.setattr(part, step, falter)
        with suppress(KeyboardInterrupt):
            rotate_key(session)
    done = rotate_key(session)
    assert log_key(session) == done.new != first
    assert is_sound(session, first) == (True, ["holds"])
    named = [decode(line).record.note for line in session.world.audit.entries()]
    assert named.count(str(done.new)) == 1


def test_two_rotations_do_not_meet(session):
    """While one process rotates, another one is refused; it can do so afterwards."""
    log_key(session)
    other = FileSigner(state_of(session) / "audit.key")
    other.successor()
    with pytest.raises(BackendFailed, match="state-unavailable"):
        rotate_key(session)
    other.succeed()
    assert rotate_key(session).new == log_key(session)


def test_a_session_that_lives_on_signs_under_the_new_key(session):
    """A session that was open before another one rotated uses the new key from then on."""
    with connect(session.path, as_="ada@acme.test") as other:
        done = rotate_key(other)
    session.sql("SELECT 1 AS one").to_arrow()
    assert session.world.audit.checkpoint().signed_by(done.new) is not None


def test_the_commands_print_what_others_check_the_log_by(tmp_path):
    """The key in both forms, the next one, and what a rotation did."""
    from click.testing import CliRunner

    from nbgov.cli import main

    path = house.build(tmp_path)

    def told(*arguments):
        done = CliRunner().invoke(
            main, ["--config", str(path), "--as", "ada@acme.test", "audit", *arguments]
        )
        assert done.exit_code == 0, done.output
        gc.collect()  # The process of a real command ends here.
        return done.stdout

    first, upcoming = told("key").strip(), told("key", "--next").strip()
    assert VerifierKey.parse(first).purpose == "log"
    assert "BEGIN PUBLIC KEY" in told("key", "--pem")
    rotated = told("rotate")
    assert first in rotated
    assert upcoming in rotated
    assert told("key").strip() == upcoming

"""What a session says of itself and of nbgov in the log, before anything else that it records."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.assurance.deeds import Deed, recorded
from nbgov.backends.memory import MemoryAuditLog, MemoryPolicySource
from nbgov.backends.memory.keeping import MemoryFactStore
from nbgov.config import parse
from nbgov.core.audit import verify
from nbgov.errors import BackendFailed, Denied, IdentityFailed
from nbgov.model import Principal, Record, RecordKind, Request
from nbgov.pipeline import Pipeline
from nbgov.session.administration import AnnouncedLog, changes, marks_of, refuse, whereabouts
from tests.scene import POLICY, READ, Scene, make_scene

CONFIG = """
version: 1
policy: policy.yaml
connections:
  wh: {kind: postgresql, url: "postgresql://h/swordfish", user: nbgov, password: "env:WH"}
  lake: {kind: duckdb, path: lake.duckdb}
principals:
  ada: {accounts: [adal], groups: [analysts]}
"""
ADA = Principal("ada", frozenset({"analysts"}), account="adal", via="os-account")
MARKS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"))


def introduced(scene: Scene, *, config: str = CONFIG) -> tuple[Pipeline, AnnouncedLog]:
    """A pipeline whose log introduces its session."""
    world = scene.pipeline.world
    log = AnnouncedLog(
        world, session="s1", principal=ADA, marks=lambda: marks_of(parse(config), world)
    )
    return Pipeline(replace(world, audit=log), session="s1"), log


def story(scene: Scene) -> list[tuple[str, str | None]]:
    """Kind and verb of every record."""
    return [(one.kind.value, one.verb) for one in scene.audit.records]


def read(pipeline: Pipeline) -> None:
    """Read a little."""
    pipeline.run(Request("wh", READ, claim="ada")).to_arrow()


FIRST = [("admin", "OPEN"), ("admin", "CONNECTIONS"), ("admin", "PRINCIPALS"), ("admin", "SETTINGS"), ("admin", "POLICY")]  # fmt: skip
READING = [("attempt", "SELECT"), ("outcome", "SELECT")]


def test_the_first_record_comes_behind_an_introduction() -> None:
    """A log that says nothing yet hears who opens a session, what there is, and which policy rules."""
    scene = make_scene(facts=MemoryFactStore())
    pipeline, log = introduced(scene)
    read(pipeline)
    read(pipeline)
    log.close()
    assert story(scene) == [*FIRST, *READING, *READING, ("admin", "CLOSE")]
    opened, connections, principals, _, policy = scene.audit.records[:5]
    assert opened.origin == whereabouts()
    assert (opened.principal, opened.account, opened.via) == ("ada", "adal", "os-account")
    assert connections.changes == ("added lake", "added wh")
    assert principals.changes == ("added ada",)
    assert policy.changes == (f"none -> {policy.policy}",)
    assert verify(scene.audit.entries()).is_intact


def test_a_session_that_records_nothing_leaves_no_trace() -> None:
    """Somebody who only looked is not in the log."""
    scene = make_scene(facts=MemoryFactStore())
    pipeline, log = introduced(scene)
    pipeline.check(Request("wh", READ, claim="ada"))
    log.close()
    assert not scene.audit.lines


def test_what_was_said_before_is_not_said_again() -> None:
    """The next session opens, and says nothing else where nothing changed."""
    scene = make_scene(facts=MemoryFactStore())
    for _ in range(2):
        pipeline, log = introduced(scene)
        read(pipeline)
        log.leave()
    assert story(scene) == [*FIRST, *READING, ("admin", "CLOSE"), FIRST[0], *READING, ("admin", "CLOSE")]  # fmt: skip


def test_another_policy_is_said_before_the_first_request_under_it() -> None:
    """The change stands in front of what was decided by it, with both digests; so does the way back."""
    scene = make_scene(facts=MemoryFactStore())
    pipeline, _ = introduced(scene)
    source = scene.pipeline.world.policy
    assert isinstance(source, MemoryPolicySource)
    read(pipeline)
    before = scene.audit.records[-2].policy
    source.policy = POLICY + "\n# another text"
    read(pipeline)
    change, attempt = scene.audit.records[-3:-1]
    assert (change.verb, change.policy) == ("POLICY", attempt.policy)
    assert change.changes == (f"{before} -> {attempt.policy}",)
    source.policy = POLICY
    read(pipeline)
    assert scene.audit.records[-3].changes == (f"{attempt.policy} -> {before}",)


def test_a_changed_connection_is_named_and_its_settings_are_not() -> None:
    """Names are said, with what became of them; urls, accounts and references of secrets are not."""
    scene = make_scene(facts=MemoryFactStore())
    pipeline, _ = introduced(scene)
    read(pipeline)
    config = (
        CONFIG.replace("h/swordfish", "h/trout")
        .replace("lake", "pond")
        .replace("[analysts]", "[dba]")
    )
    pipeline, _ = introduced(scene, config=config)
    read(pipeline)
    said = {one.verb: one.changes for one in scene.audit.records[-5:] if one.changes}
    assert said["CONNECTIONS"] == ("removed lake", "added pond", "changed wh")
    assert said["PRINCIPALS"] == ("changed ada",)
    text = b"".join(scene.audit.lines)
    assert not any(word in text for word in (b"swordfish", b"trout", b"env:WH"))


def test_a_store_that_is_away_makes_the_log_say_more() -> None:
    """What cannot be looked up is said again; nothing goes unsaid."""

    class Away(MemoryFactStore):
        def fact(self, name: str) -> str:
            raise BackendFailed(name, code="state-unavailable")

        def keep_fact(self, name: str, text: str) -> None:
            raise BackendFailed(name + text, code="state-unavailable")

    for facts in (Away(), None):
        scene = make_scene(facts=facts)
        for _ in range(2):
            pipeline, _ = introduced(scene)
            read(pipeline)
        assert story(scene) == [*FIRST, *READING] * 2


@pytest.mark.parametrize("calls", range(len(FIRST) + 1))
def test_a_log_that_fails_while_it_introduces_lets_nothing_run(calls: int) -> None:
    """However far it came, the engine sees nothing; opened anew, the introduction is complete."""
    scene = make_scene(facts=MemoryFactStore())
    pipeline, log = introduced(scene)
    scene.audit.faults.before("append", calls=calls)
    with pytest.raises(BackendFailed):
        read(pipeline)
    assert not scene.engine.executions
    log.log.close()
    read(pipeline)
    assert set(FIRST) <= set(story(scene))
    assert story(scene)[-2:] == READING


def test_threads_are_introduced_once() -> None:
    """Requests that come at the same time stand behind one introduction."""
    scene = make_scene(facts=MemoryFactStore())
    _, log = introduced(scene)
    start = threading.Barrier(8)

    def append() -> None:
        start.wait()
        log.append(Record(RecordKind.ADMIN, scene.clock.at, "r", "s1", verb="EXPORT", policy="p"))

    threads = [threading.Thread(target=append) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert story(scene)[:5] == FIRST
    assert story(scene)[5:] == [("admin", "EXPORT")] * 8


def test_a_refused_session_is_a_record() -> None:
    """Whoever claims a name that nobody declared is in the log with it."""
    scene = make_scene()
    error = IdentityFailed("nobody")
    refuse(scene.pipeline.world, error, session="s9", who=Principal("mallory", account="root"))
    (record,) = scene.audit.records
    assert (record.verb, record.status, record.code) == ("OPEN", "error", "unknown-principal")
    assert (record.principal, record.account, record.session) == ("mallory", "root", "s9")
    assert error.record == 0


def test_a_deed_is_recorded_before_and_after() -> None:
    """What is done stands between two entries; the second says how it ended, and what changed."""
    scene = make_scene()
    world = scene.pipeline.world

    def act(error: BaseException | None = None) -> None:
        with recorded(world, Deed("EXPORT", "", "a note"), session="s1", principal=ADA) as deed:
            deed.changes = (str(len(scene.audit.lines)),)
            if error is not None:
                raise error

    act()
    with pytest.raises(Denied):
        act(Denied("no"))
    held = [(one.status, one.code, one.changes) for one in scene.audit.records]
    assert held == [("begun", None, None), ("ok", None, ("1",)), ("begun", None, None), ("denied", "denied-by-policy", ("3",))]  # fmt: skip


def test_the_log_behind_is_the_log() -> None:
    """Reading, checkpoints and notes are those of the log that entries go to."""
    scene = make_scene()
    pipeline, log = introduced(scene)
    read(pipeline)
    assert isinstance(log.log, MemoryAuditLog)
    assert list(log.entries(2)) == scene.audit.lines[2:]
    log.recover()
    note = log.checkpoint()
    assert note is not None
    assert log.subtree(0, note.checkpoint.size) == note.checkpoint.root
    log.keep_note("witnessed", str(note))
    assert log.note("witnessed") == log.note("checkpoint")


@given(MARKS, MARKS)
def test_changes_lead_from_one_to_the_other(before: dict[str, str], after: dict[str, str]) -> None:
    """Every name that differs is said once, and no other."""
    said = dict(reversed(one.split(" ")) for one in changes(before, after))
    assert said.keys() == {name for name in before | after if before.get(name) != after.get(name)}
    assert all((name in before) == (word != "added") for name, word in said.items())
    assert all((name in after) == (word != "removed") for name, word in said.items())

"""The stages in their order, on ports in RAM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbgov.backends.memory import MemoryRunStore
from nbgov.errors import (
    ApprovalNeeded,
    Denied,
    IdentityFailed,
    IntegrityFailed,
    NbgovError,
    RequestInvalid,
)
from nbgov.model import ApprovalState, Effect, EngineOpinion, Request, Run, TableName
from tests.scene import PEOPLE, POLICY, READ, WRITE, Scene, make_scene


@pytest.fixture
def scene() -> Scene:
    """A fresh world."""
    return make_scene()


def ask(scene: Scene, **more: object) -> str:
    """Run the write until it waits, and return its ticket."""
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(WRITE, binds={"id": 1}, **more)
    return caught.value.ticket


def test_a_read_is_masked_recorded_and_versioned(scene: Scene) -> None:
    """Tagged columns are masked in the text, content in the rows; the version is kept."""
    result = scene.run(READ)
    table = result.to_arrow()
    assert table["note"].to_pylist() == ["met <PERSON>", None, "fine"]
    assert result.summary.masked == {"email": "redact pii.email"}
    assert result.summary.entities == {"PERSON": 1}
    assert "'***'" in scene.engine.executions[0].sql
    version = scene.datasets.version(result.summary.version.version_id)
    assert version is not None
    assert (version.rows, version.name) == (3, "wh.main.people")
    assert scene.stories() == [("attempt", None, None), ("outcome", "ok", None)]


def test_only_a_wanted_result_is_profiled(scene: Scene) -> None:
    """A result that is named, or read while a run is open, is profiled; any other one waits."""
    plain, named = scene.run(READ), scene.run(READ, dataset="train")
    for result in (plain, named):
        result.to_arrow()
    assert not plain.summary.version.profile
    assert named.summary.version.profile["rows"] == 3
    assert scene.pipeline.profiles.take(plain.summary.version.version_id)["rows"] == 3
    training = MemoryRunStore([Run("r1", "train", (), {}, {})], active="r1")
    result = make_scene(runs=lambda: [training]).run(READ)
    result.to_arrow()
    assert result.summary.version.profile["rows"] == 3


def test_the_same_data_is_the_same_version(scene: Scene) -> None:
    """Two reads of equal rows under equal circumstances have one version and two deliveries."""
    first, second = scene.run(READ), scene.run(READ)
    first.to_arrow(), second.to_arrow()
    assert first.summary.version == second.summary.version
    assert first.summary.delivery.read_id != second.summary.delivery.read_id


def test_a_policy_that_changed_is_another_version(scene: Scene) -> None:
    """The policy is one of the circumstances that a version covers."""
    first = scene.run(READ)
    first.to_arrow()
    scene.policy.policy += "\n"
    second = scene.run(READ)
    second.to_arrow()
    assert first.summary.version.version_id != second.summary.version.version_id
    assert first.summary.version.content_id == second.summary.version.content_id


def test_rows_max_is_the_lower_of_request_and_policy(scene: Scene) -> None:
    """A request can ask for fewer rows than the policy grants, and is told that rows were cut."""
    result = scene.run(READ, rows_max=2)
    assert result.to_arrow().num_rows == 2
    assert result.summary.is_truncated


def test_a_deny_names_its_record_outside_its_text(scene: Scene) -> None:
    """The record number is shown, yet the error's text stays the same from run to run."""
    with pytest.raises(Denied) as first:
        scene.run("DROP TABLE people")
    with pytest.raises(Denied) as second:
        scene.run("DROP TABLE people")
    assert str(first.value) == str(second.value)
    assert (first.value.record, second.value.record) == (0, 1)
    assert "record  1" in second.value.render()
    assert scene.stories() == [("outcome", "denied", "denied-by-guard")] * 2


def test_a_hidden_table_reads_as_absent(scene: Scene) -> None:
    """A principal without any rule gets the same answer for a table that exists and one that does not."""
    answers = []
    for name in ("people", "nothing"):
        with pytest.raises(RequestInvalid) as caught:
            scene.run(f"SELECT id FROM {name}", claim="eve")
        answers.append(str(caught.value).replace(name, "NAME"))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("request_", "error", "code"),
    [
        (Request("nope", "SELECT 1"), RequestInvalid, "unknown-connection"),
        (Request("wh", "SELECT 1", claim="who"), IdentityFailed, "unknown-principal"),
        (Request("wh", "SELECT :x"), RequestInvalid, "bind-missing"),
        (Request("wh", "SELECT 1; SELECT 2"), RequestInvalid, "not-one-statement"),
        (Request("wh", "SELECT nothing FROM people"), RequestInvalid, "unknown-column"),
    ],
)
def test_what_cannot_be_understood_is_recorded(
    scene: Scene, request_: Request, error: type[NbgovError], code: str
) -> None:
    """A request that fails before it could be decided leaves an outcome with its code."""
    with pytest.raises(error) as caught:
        scene.pipeline.run(request_)
    assert caught.value.code == code
    assert scene.stories() == [("outcome", "error", code)]
    assert not scene.engine.executions


def test_what_only_the_engine_understands_is_not_run(scene: Scene) -> None:
    """A text that the engine can read and nbgov cannot is denied, not called a syntax error."""
    with pytest.raises(Denied) as caught:
        scene.run("SELECT FROM WHERE")
    assert caught.value.code == "not-understood"


def test_what_nobody_understands_is_a_syntax_error(scene: Scene) -> None:
    """A text that the engine cannot read either is a syntax error."""
    scene.engine.faults.before("inspect", error=RequestInvalid("no", code="syntax"))
    with pytest.raises(RequestInvalid) as caught:
        scene.run("SELEC 1")
    assert caught.value.code == "syntax"


@pytest.mark.parametrize(
    "opinion",
    [
        EngineOpinion(2),
        EngineOpinion(1, effects=frozenset({Effect.WRITE})),
        EngineOpinion(
            1,
            effects=frozenset({Effect.READ}),
            tables=frozenset({TableName("main", "people"), TableName("x", "y")}),
        ),
    ],
)
def test_an_engine_that_disagrees_stops_the_statement(scene: Scene, opinion: EngineOpinion) -> None:
    """Nothing runs on which the second parser has another opinion."""
    scene.engine.opinion = lambda sql: opinion if "***" in sql else EngineOpinion(1)
    with pytest.raises(IntegrityFailed):
        scene.run(READ)
    assert not scene.engine.executions
    assert scene.stories() == [("outcome", "error", "rewrite-unverified")]


def test_an_approved_statement_runs_once(scene: Scene) -> None:
    """A ticket clears one execution of one exact statement; the next asks anew."""
    ticket = ask(scene)
    assert ask(scene) == ticket
    assert scene.approve(ticket).state is ApprovalState.APPROVED
    result = scene.run(WRITE, binds={"id": 1})
    assert result.summary.rows_affected == 3
    assert [one.state for one in scene.engine.streams] == ["rolled back", "committed"]
    assert ask(scene) == f"{ticket}-2"
    assert [one.is_dry_run for one in scene.engine.executions] == [True, False, True]


@pytest.mark.parametrize(
    "change",
    [{"sql": WRITE + " "}, {"binds": {"id": 2}}, {"binds": {"id": "1"}}, {"claim": "grace"}],
)
def test_an_approval_is_for_exactly_one_request(scene: Scene, change: dict[str, object]) -> None:
    """Another text, another value, another type of value or another principal needs its own approval."""
    scene.approve(ask(scene))
    asked = {"sql": WRITE, "binds": {"id": 1}} | change
    with pytest.raises(ApprovalNeeded):
        scene.run(str(asked.pop("sql")), **asked)
    assert all(one.is_dry_run for one in scene.engine.executions)


def test_an_approval_expires(scene: Scene) -> None:
    """A consent that was not used in time clears nothing."""
    approval = scene.approve(ask(scene))
    assert approval.valid_until is not None
    scene.clock.at = approval.valid_until
    ask(scene)
    assert all(one.is_dry_run for one in scene.engine.executions)


def test_nobody_votes_for_themselves(scene: Scene) -> None:
    """Four eyes: the requester's own vote is refused, whatever their roles."""
    ticket = ask(scene, claim="grace")
    with pytest.raises(Denied) as caught:
        scene.approve(ticket, claim="grace")
    assert caught.value.code == "self-approval"


def test_a_denial_is_told_once(scene: Scene) -> None:
    """The requester hears of a denial, and may then ask anew."""
    ticket = ask(scene)
    scene.approve(ticket, is_approval=False)
    with pytest.raises(Denied, match="grace denied"):
        scene.run(WRITE, binds={"id": 1})
    assert ask(scene) == f"{ticket}-2"


def test_a_requester_can_take_a_ticket_back(scene: Scene) -> None:
    """A cancelled ticket is no longer pending, and clears nothing."""
    ticket = ask(scene)
    scene.voting.cancel(ticket, claim="ada")
    assert scene.voting.pending() == ()
    with pytest.raises(IntegrityFailed):
        scene.approve(ticket)


def test_votes_are_in_the_log(scene: Scene) -> None:
    """A vote is recorded with the voter and what the ticket became."""
    scene.approve(ask(scene))
    asked, vote = [r for r in scene.audit.records if r.kind.value == "vote"]
    assert (asked.principal, asked.status, asked.note) == ("ada", "requested", "request")
    assert (vote.principal, vote.status, vote.note) == ("grace", "approved", "approve")


def test_an_unknown_ticket_is_an_error(scene: Scene) -> None:
    """A ticket that does not exist cannot be voted on."""
    with pytest.raises(RequestInvalid, match="no ticket"):
        scene.approve("nope")


def test_checking_runs_and_records_nothing(scene: Scene) -> None:
    """A check says what would run, and leaves no trace."""
    verdict = scene.pipeline.check(Request("wh", READ, claim="ada"))
    assert verdict.decision.is_permitted
    assert verdict.sql is not None
    assert "'***'" in verdict.sql
    assert scene.pipeline.check(Request("wh", "DROP TABLE people")).sql is None
    assert not scene.engine.executions
    assert not scene.audit.records


def test_run_stores_hear_of_deliveries() -> None:
    """A delivered read is told to the run stores, a write is not."""
    store = MemoryRunStore()
    scene = make_scene(runs=lambda: [store])
    result = scene.run(READ)
    assert not store.delivered_to
    result.to_arrow()
    scene.approve(ask(scene))
    scene.run(WRITE, binds={"id": 1})
    assert [delivery.read_id for _, delivery in store.delivered_to] == [
        result.summary.delivery.read_id
    ]


def test_an_arrow_consumer_reads_the_stream(scene: Scene) -> None:
    """A result is an Arrow C stream, masked like any other reading of it."""
    import pyarrow as pa

    table = pa.table(scene.run(READ))
    assert table["note"].to_pylist() == ["met <PERSON>", None, "fine"]
    assert scene.stories()[-1] == ("outcome", "ok", None)


def test_integers_with_nulls_keep_their_values() -> None:
    """A column of large integers with a NULL does not become floating point in pandas."""
    import pyarrow as pa

    scene = make_scene()
    large = 2**53 + 1
    rows = pa.table({"id": [1, 2], "email": [large, None], "note": ["a", "b"]})
    scene.engine.answers = lambda _: rows
    frame = scene.run(READ).to_pandas()
    assert frame["email"].tolist()[0] == large
    assert str(frame["id"].dtype) == "int64"
    assert frame.attrs["nbgov"]["name"] == "wh.main.people"


def test_a_statement_that_ran_is_decided_anew_when_the_policy_changes(scene: Scene) -> None:
    """What was permitted a moment ago is denied as soon as the policy says so."""
    scene.read()
    scene.policy.policy = POLICY.replace("actions: [read]", "actions: [insert]")
    with pytest.raises(Denied):
        scene.read()
    assert len(scene.engine.executions) == 1


def test_a_statement_that_ran_is_understood_anew_when_the_catalog_changes(scene: Scene) -> None:
    """A column that has gone is missed at once."""
    scene.read()
    shrunk = replace(PEOPLE, columns=PEOPLE.columns[:2])
    scene.engine.held = replace(scene.engine.held, tables={PEOPLE.name: shrunk})
    with pytest.raises(RequestInvalid, match="note"):
        scene.read()


CONDITIONAL = POLICY.replace(
    '    on: ["wh.main.*"]\n', "    on: [\"wh.main.*\"]\n    when: origin.surface == 'magic'\n"
)


def test_a_condition_is_asked_anew_for_each_request(scene: Scene) -> None:
    """What one request's circumstances permit, another's do not; the record states the moment."""
    scene.policy.policy = CONDITIONAL
    scene.read(origin={"surface": "magic"})
    with pytest.raises(Denied):
        scene.read(origin={"surface": "cli"})
    attempt, outcome, refused = (record.decided_at for record in scene.audit.records)
    assert outcome is None  # An outcome says what its attempt did not.
    assert attempt < refused


def test_a_policy_without_conditions_leaves_the_moment_out(scene: Scene) -> None:
    """A decision that depends on no moment records none."""
    scene.read()
    assert {r.decided_at for r in scene.audit.records} == {None}


def test_the_record_names_the_revision_of_the_policy(scene: Scene) -> None:
    """Beside the digest of the policy stands the commit that it is of, where there is one."""
    scene.policy.revision = lambda: "3f9c1e"  # type: ignore[method-assign]
    scene.read()
    assert [r.policy_revision for r in scene.audit.records] == ["3f9c1e", None]


def test_a_mask_is_not_written_back(scene: Scene) -> None:
    """A bound value that one of our masks made stops the write before anybody is asked."""
    with pytest.raises(Denied) as caught:
        scene.run("UPDATE people SET note = :note WHERE id = 1", binds={"note": "was ***"})
    assert caught.value.code == "mask-token-written"
    assert scene.approvals.pending() == ()


def test_limits_of_the_policy_reach_the_engine(scene: Scene) -> None:
    """Bytes that are delivered and rows that are changed have limits that the engine keeps."""
    scene.policy.policy = POLICY.replace(
        '{masks: {"pii.*": redact}}', '{masks: {"pii.*": redact}, byte_limit: 5000}'
    ).replace("{approval: {by: {roles: [approver]}}}", "{write_limit: 2}")
    scene.read()
    scene.run(WRITE, binds={"id": 1})
    read, write = scene.engine.executions
    assert (read.bytes_max, read.is_sensitive) == (5000, True)
    assert {str(column) for column in read.masked} == {"main.people.email"}
    assert (write.written_max, write.bytes_max) == (2, 5000)

"""What is kept of a delivered result beside its rows: sources, levels, keys, and the rows themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from nbgov.backends.memory import MemoryRowStore, MemoryRunStore
from nbgov.core.datasets import rows_key
from nbgov.errors import ApprovalNeeded, BackendFailed
from nbgov.model import Column, Result, Run, SourceVersion, Table, TableName
from tests.scene import POLICY, READ, ROWS, WRITE, Scene, make_scene

STATE = SourceVersion("main.people", "memory", "state 7")
MASKED = [None, "fine", "met <PERSON>"]


@pytest.fixture
def scene() -> Scene:
    """A world whose source tells in which state it is."""
    made = make_scene()
    made.engine.sources = {STATE.table: STATE}
    return made


def finished(scene: Scene, sql: str = READ, **more: object) -> Result:
    """A result that was read to its end."""
    result = scene.run(sql, **more)
    result.to_arrow()
    return result


# ---- deliveries


def test_a_delivery_tells_the_state_of_the_sources(scene: Scene) -> None:
    """What the engine said of the tables is kept with the read, and with no other statement."""
    assert finished(scene).summary.delivery.sources == (STATE,)
    assert finished(scene, "SELECT 1 AS a").summary.delivery.sources == ()
    assert [one.tables for one in scene.engine.executions] == [
        {TableName("main", "people")},
        frozenset(),
    ]


def test_a_write_is_asked_for_no_state(scene: Scene) -> None:
    """Only what is read has a state that a version is of."""
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(WRITE, binds={"id": 1})
    scene.approve(caught.value.ticket)
    scene.run(WRITE, binds={"id": 1})
    assert scene.engine.executions[-1].tables == frozenset()


def test_a_state_is_part_of_the_delivery_and_not_of_the_version(scene: Scene) -> None:
    """Equal rows of a table in another state are the same version, read another time."""
    first = finished(scene).summary
    scene.engine.sources = {STATE.table: replace(STATE, mark="state 8")}
    second = finished(scene).summary
    assert first.version == second.version
    assert [first.delivery.sources[0].mark, second.delivery.sources[0].mark] == [
        "state 7",
        "state 8",
    ]


def test_a_delivery_tells_its_ticket_and_the_revision_of_the_policy(scene: Scene) -> None:
    """A read that a person cleared names the ticket."""
    scene.policy.policy = POLICY.replace(
        'masks: {"pii.*": redact}', 'masks: {"pii.*": redact}, approval: {by: {roles: [approver]}}'
    )
    scene.policy.revision = lambda: "4f2c"
    with pytest.raises(ApprovalNeeded) as caught:
        scene.run(READ)
    scene.approve(caught.value.ticket)
    delivery = finished(scene).summary.delivery
    assert (delivery.ticket, delivery.policy_revision) == (caught.value.ticket, "4f2c")


def test_equal_rows_in_another_order_are_told_apart_by_their_order(scene: Scene) -> None:
    """The version is the same, the order of the delivery is not."""
    first = finished(scene).summary
    scene.engine.answers = lambda _: ROWS.take([2, 1, 0])
    second = finished(scene).summary
    assert first.version == second.version
    assert first.delivery.order != second.delivery.order
    assert finished(scene).summary.delivery.order == second.delivery.order


# ---- versions


def test_the_profile_knows_what_may_be_told(scene: Scene) -> None:
    """Only a column that is made of public ones is profiled in the open."""
    result = finished(scene, dataset="train")
    levels = {one["name"]: one["level"] for one in result.summary.version.profile["columns"]}
    assert levels == {"id": "open", "email": "pii", "note": "pii"}
    assert result.summary.version.tags == {"id": ("public",), "email": ("pii.email",)}
    assert result.summary.version.origins["note"] == ("wh.main.people.note",)


def test_a_keyed_table_makes_keyed_fingerprints(scene: Scene) -> None:
    """Where equality is sensitive, nobody without the key can tell whether rows are equal."""
    plain = finished(scene).summary.version
    scene.policy.policy = POLICY + '\ndrift: {keyed: ["wh.main.peo*"]}\n'
    keyed, again = finished(scene).summary.version, finished(scene).summary.version
    assert keyed.content_id.startswith("nbgov-fp-v1-keyed:")
    assert keyed == again
    assert keyed.content_id[-32:] != plain.content_id[-32:]
    assert finished(scene, "SELECT 1 AS a").summary.version.content_id.startswith("nbgov-fp-v1:")


def test_a_view_that_nobody_can_trace_is_keyed_wherever_a_table_is(scene: Scene) -> None:
    """It may show the rows of such a table; without one there is nothing to hide."""
    name = TableName("main", "dark")
    dark = Table(name, (Column("id", "INTEGER"),), "view")
    scene.engine.held = replace(scene.engine.held, tables={**scene.engine.held.tables, name: dark})
    scene.engine.answers = lambda _: ROWS.select(["id"])
    tagged = POLICY.replace("people.id", "dark.id")
    starts = []
    for section in ("", "\ndrift: {keyed: [wh.hr.*]}\n"):
        scene.policy.policy = tagged + section
        version = finished(scene, "SELECT id FROM dark").summary.version
        starts.append(version.content_id.partition(":")[0])
    assert starts == ["nbgov-fp-v1", "nbgov-fp-v1-keyed"]


# ---- kept rows


@dataclass
class Keeping:
    """A world that keeps rows."""

    scene: Scene
    rows: MemoryRowStore
    runs: MemoryRunStore

    def kept(self, result: Result):
        """The rows that were kept of a result."""
        return self.rows.kept.get(rows_key(result.summary.version))


@pytest.fixture
def keeping() -> Keeping:
    """A world that keeps the rows of named results."""
    return keep_rows("named")


def keep_rows(mode: str) -> Keeping:
    """A world that keeps the rows that the mode says."""
    rows, runs = MemoryRowStore(), MemoryRunStore([Run("r1", "train", (), {}, {})])
    return Keeping(make_scene(rows=rows, runs=lambda: [runs], rows_kept=mode), rows, runs)


@pytest.mark.parametrize(
    ("mode", "kept"), [("none", (False,) * 3), ("named", (False, True, False)), ("training", (False, True, True))]
)  # fmt: skip
def test_rows_are_kept_of_those_results_that_are_asked_for(
    mode: str, kept: tuple[bool, ...]
) -> None:
    """Nobody's by default, those with a name, or also those that are read while a run is open."""
    world = keep_rows(mode)
    engine = world.scene.engine
    engine.answers = lambda _: ROWS.slice(len(engine.executions))
    found = [finished(world.scene), finished(world.scene, dataset="train")]
    world.runs.active = "r1"
    found.append(finished(world.scene))
    assert tuple(world.kept(result) is not None for result in found) == kept
    assert all(result.summary.remarks == [] for result in found)


def test_the_rows_that_are_kept_are_the_masked_ones(keeping: Keeping) -> None:
    """What was delivered is kept, and nothing that a mask had hidden."""
    result = keeping.scene.run(READ, dataset="train")
    table = result.to_arrow()
    assert keeping.kept(result).equals(table)
    assert sorted(table["note"].to_pylist(), key=str) == MASKED


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["draft", "write", "keep"])
def test_rows_that_cannot_be_kept_do_not_fail_the_query(
    keeping: Keeping, operation: str, moment: str
) -> None:
    """The result is whole and recorded as such; a remark says that its rows are not kept."""
    getattr(keeping.rows.faults, moment)(operation)
    result = keeping.scene.run(READ, dataset="train")
    assert result.to_arrow().num_rows == 3
    assert [remark[:22] for remark in result.summary.remarks] == ["The rows are not kept:"]
    assert keeping.scene.stories()[-1] == ("outcome", "ok", None)
    assert (keeping.kept(result) is None) == ((operation, moment) != ("keep", "after"))


def test_only_whole_results_are_kept(keeping: Keeping) -> None:
    """A result that is closed early, or whose engine fails, leaves no rows."""
    result = keeping.scene.run(READ, dataset="train")
    next(result.batches())
    result.close()
    keeping.scene.engine.faults.before("batch", calls=1)
    with pytest.raises(BackendFailed):
        keeping.scene.read(dataset="train")
    assert keeping.rows.kept == {}


def test_what_is_not_recorded_is_not_kept(keeping: Keeping) -> None:
    """A result whose outcome cannot be written did not end well, and its rows go."""
    keeping.scene.audit.faults.before("append", calls=1)
    with pytest.raises(BackendFailed):
        keeping.scene.read(dataset="train")
    assert keeping.rows.kept == {}


def test_a_write_keeps_no_rows(keeping: Keeping) -> None:
    """What a write returns is no data set."""
    with pytest.raises(ApprovalNeeded) as caught:
        keeping.scene.run(WRITE, binds={"id": 1}, dataset="train")
    keeping.scene.approve(caught.value.ticket)
    keeping.scene.run(WRITE, binds={"id": 1}, dataset="train")
    assert keeping.rows.kept == {}

"""One small world in RAM, for the tests of the pipeline, its invariants and its faults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nbgov.backends.memory import (
    MemoryApprovalStore,
    MemoryAuditLog,
    MemoryClock,
    MemoryDatasetStore,
    MemoryDetector,
    MemoryEngine,
    MemoryPolicySource,
    memory_world,
)
from nbgov.model import (
    Approval,
    Catalog,
    Clearance,
    Column,
    Principal,
    Request,
    Result,
    Table,
    TableName,
)
from nbgov.pipeline import Pipeline
from nbgov.voting import Voting

POLICY = """
version: 1
tags:
  pii.email: ["wh.main.people.email"]
  public: ["wh.main.people.id"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["wh.main.*"]
    obligations: {masks: {"pii.*": redact}}
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["wh.main.people"]
    obligations: {approval: {by: {roles: [approver]}}}
content: {entities: [PERSON], score_min: 0.5}
"""
PEOPLE = Table(
    TableName("main", "people"),
    (Column("id", "INTEGER"), Column("email", "VARCHAR"), Column("note", "VARCHAR")),
)
READ = "SELECT id, email, note FROM people"
WRITE = "UPDATE people SET note = 'x' WHERE id = :id"
ROWS = pa.table({"id": [1, 2, 3], "email": ["***", "***", None], "note": ["met Ada", None, "fine"]})


def answer(clearance: Clearance) -> pa.Table | int:
    """Rows for a read, three rows affected by a write."""
    return ROWS if clearance.is_read else 3


@dataclass
class Scene:
    """A pipeline over memory ports, with the ports at hand."""

    engine: MemoryEngine
    detector: MemoryDetector
    pipeline: Pipeline
    voting: Voting

    @property
    def audit(self) -> MemoryAuditLog:
        """The audit log."""
        log = self.pipeline.world.audit
        assert isinstance(log, MemoryAuditLog)
        return log

    @property
    def approvals(self) -> MemoryApprovalStore:
        """The approval store."""
        store = self.pipeline.world.approvals
        assert isinstance(store, MemoryApprovalStore)
        return store

    @property
    def datasets(self) -> MemoryDatasetStore:
        """The dataset store."""
        store = self.pipeline.world.datasets
        assert isinstance(store, MemoryDatasetStore)
        return store

    @property
    def policy(self) -> MemoryPolicySource:
        """The policy's text."""
        source = self.pipeline.world.policy
        assert isinstance(source, MemoryPolicySource)
        return source

    @property
    def clock(self) -> MemoryClock:
        """The clock."""
        clock = self.pipeline.world.clock
        assert isinstance(clock, MemoryClock)
        return clock

    def run(self, sql: str, *, claim: str = "ada", connection: str = "wh", **more: Any) -> Result:
        """Run a statement."""
        binds = more.pop("binds", {})
        return self.pipeline.run(Request(connection, sql, binds=binds, claim=claim, **more))

    def read(self, sql: str = READ, **more: Any) -> pa.Table:
        """Run a statement and read its result to the end."""
        return self.run(sql, **more).to_arrow()

    def approve(self, ticket: str, *, claim: str = "grace", is_approval: bool = True) -> Approval:
        """Vote on a ticket."""
        return self.voting.vote(ticket, is_approval=is_approval, reason="seen", claim=claim)

    def stories(self) -> list[tuple[str, str | None, str | None]]:
        """Kind, status and code of every record, in order."""
        return [(r.kind.value, r.status, r.code) for r in self.audit.records]


def make_scene(*, batch_rows_max: int = 2, **parts: Any) -> Scene:
    """A scene whose world has some parts exchanged."""
    engine = MemoryEngine(
        Catalog("duckdb", "main", {PEOPLE.name: PEOPLE}), answer, batch_rows_max=batch_rows_max
    )
    detector = MemoryDetector({"PERSON": "Ada"})
    principals = [
        Principal("ada", frozenset({"analysts"})),
        Principal("grace", frozenset({"analysts"}), frozenset({"approver"})),
        Principal("eve"),
    ]
    world = memory_world({"wh": engine}, policy=POLICY, principals=principals, detector=detector)
    world = dataclasses.replace(world, **parts)
    return Scene(engine, detector, Pipeline(world, session="s1"), Voting(world, session="s1"))

"""Lineages for tests: one that is whole, and any that can be generated; with their audit entries."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from nbgov.backends.memory import MemorySigner
from nbgov.core.audit import GENESIS_DIGEST, encode
from nbgov.core.audit.merkle import Frontier, leaf_digest
from nbgov.core.audit.note import Checkpoint, VerifierKey, sign
from nbgov.core.audit.proof import Proof, prove
from nbgov.core.datasets import version_id_of
from nbgov.core.drift import Cause, DriftReport
from nbgov.core.lineage import ApprovalSummary, Lineage
from nbgov.model import (
    DatasetVersion,
    Delivery,
    ModelVersion,
    Receipt,
    Record,
    RecordKind,
    Run,
    RunInput,
    SourceVersion,
    Vote,
)

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
POLICY = hashlib.sha256(b"policy").hexdigest()
ORIGIN = "house/log"
COLUMNS = (
    ("distance", "int64", "0f" * 8, 120),
    ("email", "string", "", 120),
    ("flights", "int64", "a1" * 8, 120),
)


class Signer(MemorySigner):
    """The signer whose seed the vectors name."""

    def private_key(self, _=0):
        return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


SIGNER = Signer()


def mac(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def version(name: str = "train", statement: str = "SELECT 1", **facts) -> DatasetVersion:
    """A version whose id is the one of its facts."""
    stated = {
        "version_id": "",
        "content_id": f"nbgov-fp-v1:{mac(name)[:32]}",
        "schema_id": mac("schema"),
        "name": name,
        "connection": "wh",
        "dialect": "duckdb",
        "tables": ("main.flights", "main.people"),
        "statement": statement,
        "statement_mac": mac(f"{name} {statement}"),
        "binds_mac": mac(""),
        "binds": ("month: int",),
        "policy": POLICY,
        "rows": 120,
        "columns": COLUMNS,
        "masked": {"email": "redact pii.email"},
        "tags": {"email": ("pii.email",)},
        "origins": {
            "distance": ("wh.main.flights.distance",),
            "email": ("wh.main.people.email", "wh.main.people.mail"),
            "flights": (),
        },
    } | facts
    made = DatasetVersion(**stated)
    return replace(made, version_id=version_id_of(made))


def delivery(
    one: DatasetVersion, *, ticket: str = "", principal: str = "ada@acme.test"
) -> Delivery:
    """A read of a version; its record and receipt come with :func:`recorded`."""
    return Delivery(
        read_id=mac(one.version_id + principal)[:32],
        version_id=one.version_id,
        name=one.name,
        principal=principal,
        decision="permit",
        rules=("analysts-read",),
        record=-1,
        receipt="",
        at=AT,
        sources=(SourceVersion("main.flights", "duckdb-file", "4411", AT),),
        policy_revision="4c1d9e0",
        ticket=ticket,
    )


def approval(ticket: str, *, state: str = "consumed", voter: str = "grace@acme.test"):
    """What somebody said to a read."""
    vote = Vote(voter, is_approval=True, reason="", at=AT, rules=("four-eyes",))
    return ApprovalSummary("read", ticket, mac(ticket), "ada@acme.test", state, (vote,), AT)


def recorded(lineage: Lineage) -> tuple[Lineage, tuple[bytes, ...]]:
    """The lineage with receipts of the audit entries that record its reads and votes."""
    lines: list[bytes] = []

    def append(kind: RecordKind, **facts) -> Receipt:
        record = Record(
            kind=kind, at=AT + timedelta(seconds=len(lines)), request="r", session="s", **facts
        )
        previous = leaf_digest(lines[-1]) if lines else GENESIS_DIGEST
        lines.append(encode(record, origin=ORIGIN, index=len(lines), prev_digest=previous))
        return Receipt(ORIGIN, len(lines) - 1, leaf_digest(lines[-1]))

    for one in lineage.approvals:
        for vote in one.votes:
            append(RecordKind.VOTE, principal=vote.voter, ticket=one.ticket, note="approve")
    reads = []
    for one in lineage.deliveries:
        found = lineage.versions[one.version_id]
        receipt = append(
            RecordKind.ATTEMPT,
            principal=one.principal,
            statement=found.statement,
            statement_mac=found.statement_mac,
            policy=found.policy,
        )
        append(RecordKind.OUTCOME, attempt=receipt.index, version=found.version_id, status="ok")
        reads.append(replace(one, record=receipt.index, receipt=str(receipt)))
    return replace(lineage, deliveries=tuple(reads)), tuple(lines)


def proved(lines: Sequence[bytes]) -> list[Proof]:
    """The proof of each entry, by a checkpoint over all of them that :data:`SIGNER` signed."""

    def subtree(start: int, stop: int) -> bytes:
        tree = Frontier()
        tree.extend(map(leaf_digest, lines[start:stop]))
        return tree.root()

    point = Checkpoint(ORIGIN, len(lines), subtree(0, len(lines)))
    note = sign(point, VerifierKey(ORIGIN, SIGNER.public_key()), SIGNER.sign)
    return [prove(line, note, subtree) for line in lines]


def whole() -> Lineage:
    """A lineage that has some of everything."""
    now, then = version(), version(rows=100, statement="SELECT 2")
    other = version("weather", "SELECT temp FROM weather", masked={}, tags={}, binds=())
    run = Run(
        run_id="c7f0a9d2b1e64f3c9a57d1e2f3a4b5c6",
        name="retrain-11",
        inputs=(
            RunInput("train", now.version_id, "training", "explicit", ("flights",), read_at=AT),
            RunInput("weather", other.version_id, "read", "in_run"),
        ),
        params={"depth": "5"},
        metrics={"auc": 0.91},
        code={"commit": "9f8e7d6c5b4a", "dirty": "true", "cells": "aa bb"},
        packages={"numpy": "2.4.6", "pandas": "3.1.1"},
        environment={"python": "3.11.9", "cpu": "8 cores"},
        models={"models:/embedder/3": mac("embedder")},
        importance={"distance": 0.8},
        ungoverned=("DataFrame of 3 columns",),
        started_at=AT,
    )
    base = Run(
        "b" * 32,
        "retrain-10",
        (RunInput("train", then.version_id, "training", "explicit"),),
        {},
        {},
    )
    shape = {"edges": [0, 10, 20, 40], "baseline": [0.2, 0.5, 0.3], "current": [0.1, 0.1, 0.8]}
    report = DriftReport(
        baseline="retrain-10",
        current="retrain-11",
        is_same_data=False,
        causes=(
            Cause("unit", "distance", "distance: 1.6 times what it was", 0.9, {"shape": shape}),
            Cause("rows", "train", "train: rows 100 -> 120", 0.2, because="statement"),
            Cause("statement", "train", "train: another WHERE clause", 1.0),
            Cause("freshness", "train", "train: newest row is 2 days old", 0.0),
        ),
        verdict="Drifted: distance: 1.6 times what it was.",
        status="drifted",
        holds=("unit: distance: 1.6 times what it was", "ungoverned input: DataFrame of 3 columns"),
    )
    return Lineage(
        run=run,
        model=ModelVersion("delays", "3", run.run_id, mac("files"), ("champion",)),
        baseline=base,
        report=report,
        versions={one.version_id: one for one in (now, then, other)},
        deliveries=(delivery(now, ticket="T-7K2"), delivery(other)),
        approvals=(approval("T-7K2"),),
    )


# ---- any lineage

texts = st.text(max_size=12)
names = st.text(min_size=1, max_size=12)
tables = st.dictionaries(names, texts, max_size=3)


@st.composite
def versions(draw) -> DatasetVersion:
    columns = draw(st.lists(names, max_size=4, unique=True))
    return version(
        draw(names),
        draw(texts),
        tables=tuple(draw(st.lists(names, max_size=2))),
        binds=tuple(draw(st.lists(texts, max_size=2))),
        rows=draw(st.integers(0, 10**9)),
        columns=tuple((name, "int64", "ab" * 8, 3) for name in columns),
        masked=dict.fromkeys(columns[:1], "redact pii"),
        tags=dict.fromkeys(columns[1:2], ("pii",)),
        origins={name: tuple(draw(st.lists(names, max_size=2))) for name in columns[1:]},
    )


@st.composite
def lineages(draw) -> Lineage:
    """Any lineage of a model version whose reads are all kept."""
    found = draw(st.lists(versions(), max_size=3, unique_by=lambda one: one.version_id))
    tickets = [f"T-{place}" if draw(st.booleans()) else "" for place in range(len(found))]
    via = st.sampled_from(["explicit", "autolog", "in_run", "session"])
    run = Run(
        run_id=draw(names),
        name=draw(texts),
        inputs=tuple(RunInput(one.name, one.version_id, draw(texts), draw(via)) for one in found),
        params=draw(tables),
        metrics=draw(st.dictionaries(names, st.floats(allow_nan=False), max_size=2)),
        code=draw(tables),
        packages=draw(tables),
        models=draw(tables),
        importance=draw(st.dictionaries(names, st.floats(0, 1), max_size=2)),
        ungoverned=tuple(draw(st.lists(texts, max_size=2))),
        started_at=draw(st.none() | st.just(AT)),
    )
    return Lineage(
        run=run,
        model=ModelVersion(draw(names), draw(names), run.run_id, mac(draw(texts))),
        versions={one.version_id: one for one in found},
        deliveries=tuple(
            delivery(one, ticket=ticket) for one, ticket in zip(found, tickets, strict=True)
        ),
        approvals=tuple(approval(ticket) for ticket in tickets if ticket),
    )

"""A model with a chain behind it: an approved read of a real table, two runs, a model's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbgov.backends.memory import MemoryRunStore
from nbgov.errors import ApprovalNeeded
from nbgov.lineage.files import files_digest
from nbgov.model import ModelVersion, Run
from nbgov.session import connect
from tests.surfaces.house import POLICY, build

ADA, GRACE = "ada@acme.test", "grace@acme.test"
MODEL = "models:/people/2"
RUN = "c7f0a9d2b1e64f3c9a57d1e2f3a4b5c6"
FOUR_EYES = POLICY.replace(
    'obligations: {masks: {"pii.*": redact}}',
    'obligations: {masks: {"pii.*": redact}, approval: {by: {roles: [approver]}}}',
)


@dataclass(frozen=True)
class Chain:
    """Where it stands on the disk.

    Attributes:
        folder: The house, with its state folder.
        model: The model's files.
        store: The run store.
    """

    folder: Path
    model: Path
    store: MemoryRunStore


@contextmanager
def chain(folder: Path) -> Iterator[Chain]:
    """Two trainings on governed reads, the second of them registered; as long as it is open."""
    build(folder)
    (folder / "policy.yaml").write_text(FOUR_EYES)
    model = folder / "model"
    (model / "data").mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}\n")
    (model / "data" / "weights.bin").write_bytes(bytes(range(64)))
    runs = [
        Run("b" * 32, "first", (), {"depth": "3"}, {}, code={"commit": "aaaa"}),
        Run(RUN, "second", (), {"depth": "5"}, {}, code={"commit": "bbbb"}, packages={"numpy": "2"},
            started_at=datetime(2026, 11, 23, tzinfo=UTC)),
    ]  # fmt: skip
    made = ModelVersion("people", "2", RUN, files_digest(model), ("champion",))
    store = MemoryRunStore(runs, models=[made])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nbgov.wiring.run_stores", lambda: (store,))
        patch.delenv("NBGOV_CONFIG", raising=False)
        read(folder, "b" * 32, "SELECT id, email, team FROM people WHERE id < 3")
        read(folder, RUN, "SELECT id, email, team FROM people WHERE team = 'red'")
        store.models[0] = replace(made, aliases=())
        yield Chain(folder, model, store)


def read(folder: Path, run_id: str, sql: str) -> None:
    """Ask, let somebody approve, ask again, and train on what comes."""
    with connect(folder, as_=ADA) as session:
        with pytest.raises(ApprovalNeeded) as waiting:
            session.sql(sql, dataset="train")
        with connect(folder, as_=GRACE) as other:
            other.vote(waiting.value.ticket, is_approval=True, reason="for the model")
        frame = session.sql(sql, dataset="train").to_pandas()
        session.track(frame, run_id=run_id, labels=("team",))

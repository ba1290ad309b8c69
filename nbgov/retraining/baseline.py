"""What a reference is compared with when nothing is named, and where a report can be kept."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbgov.core.drift import DriftReport
from nbgov.errors import RequestInvalid
from nbgov.model import DatasetVersion, Run
from nbgov.retraining.comparing import drifted
from nbgov.retraining.page import report_page
from nbgov.retraining.references import Data, Ground, Side, of_version, version_label
from nbgov.wiring import run_store

if TYPE_CHECKING:
    from nbgov.retraining.replay import Replay
    from nbgov.session import Session

ID_CHARS = 12


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two references that were compared.

    Attributes:
        runs: The runs behind both; for data, runs that did nothing but read it.
        is_of_runs: Whether both trained.
        report: What is different.
    """

    runs: tuple[Run, Run]
    is_of_runs: bool
    report: DriftReport

    def attach(self, replay: Replay | None = None) -> None:
        """Put the report on the page of the current run, beside earlier ones.

        Raises:
            BackendFailed: The run store did not take it.
        """
        baseline, current = self.runs
        stem = f"drift-from-{baseline.run_id[:ID_CHARS]}"
        more = {} if replay is None else {"replay": replay.to_dict()}
        files = {
            f"{stem}.html": report_page(self.report, replay),
            f"{stem}.json": json.dumps(self.report.to_dict() | more, indent=1),
        }
        run_store().attach(current.run_id, files)


def faced(session: Session, first: str, second: str | None = None) -> Comparison:
    """Compare two references, or one with its own baseline.

    Args:
        session: Where they are looked up.
        first: The reference to compare with; the one to explain, if it is the only one.
        second: The reference to explain.

    Raises:
        RequestInvalid: One means nothing, or has no baseline.
    """
    with ExitStack() as opened:
        ground = Ground(session, opened)
        if second is None:
            left, right = before_and_now(ground, first)
        else:
            left, right = ground.pair(first, second)
        report = drifted(left, right, terms=ground.terms())
    return Comparison((left.run, right.run), left.is_training and right.is_training, report)


def before_and_now(ground: Ground, reference: str) -> tuple[Side, Side]:
    """A reference's own baseline, and what it means.

    Raises:
        RequestInvalid: There is no baseline (``no-baseline``).
    """
    now = ground.find(reference)
    if isinstance(now, Data):
        why = "a file does not say what came before it"
    elif now.is_training:
        run_id = run_store().baseline(now.run.run_id, ground.terms())
        if run_id is not None:
            return ground.training(ground.session.run(run_id)), now
        why = "nobody named one, the model has no champion, and no earlier run is like it"
    else:
        [version] = now.versions.values()
        before = version_before(ground.session, version)
        if before is not None:
            return of_version(before), now
        why = f"{version_label(version)} is the first version of its name that is kept"
    raise RequestInvalid(
        f"There is nothing to compare {reference!r} with.",
        code="no-baseline",
        why=why,
        next_step="name both: nbgov drift A B",
    )


def version_before(session: Session, version: DatasetVersion) -> DatasetVersion | None:
    """The other version of a dataset that was delivered last before this one was first."""
    ids = [one.version_id for one in reversed(session.deliveries(version.name))]
    earlier = ids[: ids.index(version.version_id)] if version.version_id in ids else ids
    return session.version(earlier[-1]) if earlier else None

"""Traces a model version, a run or a dataset version through the stores, into one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from nbgov.core.drift import DriftReport, compare
from nbgov.core.lineage import ApprovalSummary, Lineage
from nbgov.core.promotion import about
from nbgov.errors import RequestInvalid
from nbgov.wiring import run_store

if TYPE_CHECKING:
    from nbgov.model import DatasetVersion, Delivery, ModelVersion, Run
    from nbgov.session import Session

DELIVERIES_MAX = 100
FIRST = "Baseline: no earlier run was found to compare with."


def trace(session: Session, reference: str) -> Lineage:
    """Where a model version, a run or a dataset version comes from.

    Args:
        session: Knows the dataset versions, the approvals and what the policy calls drift.
        reference: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``; ``runs:/ID`` or a run's id;
            else a dataset version, as :meth:`~nbgov.Session.dataset` takes it.

    Raises:
        RequestInvalid: There is no such thing.
        BackendFailed: The run store did not answer.
    """
    if reference.startswith("models:/"):
        model = run_store().model(reference)
        run = session.run(f"runs:/{model.run_id}") if model.run_id else None
        return of_run(session, run, model)
    if not reference.startswith("runs:/"):
        try:
            return of_version(session, session.dataset(reference))
        except RequestInvalid as error:
            if error.code != "unknown-dataset" or not is_run_like(reference):
                raise
    return of_run(session, session.run(reference), None)


def is_run_like(reference: str) -> bool:
    """Whether a reference that is no dataset may still be the bare id of a run."""
    return "@" not in reference and "." not in reference


def of_version(session: Session, version: DatasetVersion) -> Lineage:
    """The lineage of a dataset version: who read it, by which statement, from what."""
    kept = (one for one in session.deliveries(version.name) if one.version_id == version.version_id)
    deliveries = tuple(kept)[:DELIVERIES_MAX]
    return Lineage(
        versions={version.version_id: version},
        deliveries=deliveries,
        approvals=tuple(tickets(session, deliveries)),
    )


def of_run(session: Session, run: Run | None, model: ModelVersion | None) -> Lineage:
    """The lineage of a run, with the model version that it made where one is asked about."""
    if run is None:
        return Lineage(model=model, approvals=tuple(promotions(session, model)))
    terms = session.terms()
    baseline_id = run_store().baseline(run.run_id, terms)
    baseline = session.run(f"runs:/{baseline_id}") if baseline_id else None
    versions = dict(kept_versions(session, [one for one in (run, baseline) if one is not None]))
    deliveries = tuple(brought(session, run))
    return Lineage(
        run=run,
        model=model,
        baseline=baseline,
        is_baseline_chosen=baseline_id is not None and is_chosen(session, run, baseline_id),
        report=compare(baseline, run, versions, terms=terms) if baseline else first(run),
        versions=versions,
        deliveries=deliveries,
        approvals=(*tickets(session, deliveries), *promotions(session, model)),
    )


def is_chosen(session: Session, run: Run, baseline_id: str) -> bool:
    """Whether a person named the baseline."""
    terms = session.terms()
    if "tag" not in terms.baseline:
        return False
    return run_store().baseline(run.run_id, replace(terms, baseline=("tag",))) == baseline_id


def first(run: Run) -> DriftReport:
    """The report of a run that has nothing before it."""
    return DriftReport("", run.name or run.run_id, None, (), FIRST, "baseline")


def kept_versions(session: Session, runs: Iterable[Run]) -> Iterator[tuple[str, DatasetVersion]]:
    """The versions of runs by id, as far as they are kept in this state folder."""
    for version_id in dict.fromkeys(one.version_id for run in runs for one in run.inputs):
        version = session.version(version_id)
        if version is not None:
            yield version_id, version


def brought(session: Session, run: Run) -> Iterator[Delivery]:
    """The reads that brought a run's inputs; of an input that names none, the newest one."""
    for one in run.inputs[:DELIVERIES_MAX]:
        found = session.delivery(one.read_id) if one.read_id else None
        if found is None:
            kept = session.deliveries(one.name)
            found = next((each for each in kept if each.version_id == one.version_id), None)
        if found is not None:
            yield found


def tickets(session: Session, deliveries: Iterable[Delivery]) -> Iterator[ApprovalSummary]:
    """What people said to the reads that needed their consent."""
    for ticket in dict.fromkeys(one.ticket for one in deliveries if one.ticket):
        with suppress(RequestInvalid):  # The ticket may be kept in another state folder.
            yield ApprovalSummary.of(session.approval(ticket))


def promotions(session: Session, model: ModelVersion | None) -> Iterator[ApprovalSummary]:
    """What people said to promotions of the model version."""
    if model is not None:
        found = about(session.pending(), model.name, model.version)
        yield from map(ApprovalSummary.of, found)

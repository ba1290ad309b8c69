"""A governed dataset, read again and again, against what the model in production was trained on.

A round runs the statement like any other: decided, masked, recorded in the audit log, and kept as a
dataset version. What it finds is known before the next retraining. It tells and does not notify.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nbgov.core.checks import listed
from nbgov.core.drift import DriftReport
from nbgov.core.visible import visible
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import DatasetVersion, Delivery, RunInput
from nbgov.retraining.comparing import drifted
from nbgov.retraining.references import Data, Ground, Side, of_version, version_label

if TYPE_CHECKING:
    from nbgov.session import Session

# How data is asked for; another bound value is a watched window that moved on, and no news.
CONFIGURATION = frozenset({"masks", "statement"})
CALM = frozenset({"stable"})
DOUBTFUL = frozenset({"failed", "unknown"})


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched.

    Attributes:
        connection, sql, binds: How it is read.
        dataset: The name that its versions are kept under.
        baseline: A reference of what it is compared with, looked up anew in every round.
    """

    connection: str
    sql: str
    binds: Mapping[str, Any]
    dataset: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Round:
    """One look at a dataset.

    Attributes:
        at: When its rows were delivered.
        status: ``stable``, ``drifted``, ``stale``, ``changed`` (the configuration), ``unknown``, or
            ``failed`` where a product did not do its part.
        message: Why, in a sentence or two.
        version: The version that was delivered, or ``None``.
        baseline: What it was compared with.
        record: The audit record of the read.
        is_other_statement: Whether the baseline came of another statement.
        report: The whole comparison, or ``None``.
    """

    at: datetime
    status: str
    message: str
    version: DatasetVersion | None = None
    baseline: str = ""
    record: int | None = None
    is_other_statement: bool = False
    report: DriftReport | None = None

    def line(self) -> str:
        """The round in one line."""
        head = f"{self.at:%Y-%m-%d %H:%M:%S}Z  {self.status:<8}"
        if self.version is None:
            return f"{head}  {visible(self.message)}"
        other = " (another statement than the baseline's)" if self.is_other_statement else ""
        facts = f"{version_label(self.version)}  {self.version.rows:,} rows  record {self.record}"
        return f"{head}  {visible(facts)}{other}  {visible(self.message)}"

    def to_dict(self) -> dict[str, Any]:
        """The round, JSON-ready."""
        version = self.version
        return {
            "at": self.at.isoformat(),
            "status": self.status,
            "message": self.message,
            "version": None if version is None else version.version_id,
            "rows": None if version is None else version.rows,
            "baseline": self.baseline,
            "record": self.record,
            "is_other_statement": self.is_other_statement,
            "report": None if self.report is None else self.report.to_dict(),
        }


def rounds(
    session: Session, watched: Watched, *, pause: Callable[[], None] | None
) -> Iterator[Round]:
    """Look, and look again after each pause; once, without one.

    A product that is away makes a round that failed, if another one follows.

    Raises:
        NbgovError: The statement is refused, or the baseline is not there.
    """
    while True:
        try:
            yield look(session, watched)
        except BackendFailed as error:
            if pause is None:
                raise
            message = f"{error.what} {error.why}".strip()
            yield Round(session.world.clock.now(), "failed", message, record=error.record)
        if pause is None:
            return
        pause()


def look(session: Session, watched: Watched) -> Round:
    """Read the dataset once, and compare it."""
    with ExitStack() as opened:
        ground = Ground(session, opened)
        # Before the read: the name of a dataset means its newest version.
        found = ground.find(watched.baseline)
        check_input(found, watched)
        version, delivery = read_again(session, watched)
        baseline = ground.read(found, of_version(version))
        current = as_read(of_version(version), delivery, baseline)
        report = drifted(baseline, current, terms=ground.terms())
    # Equal statements of one key have equal macs; the text itself is kept redacted.
    known = [one for one in baseline.versions.values() if one.name == watched.dataset]
    return Round(
        at=delivery.at,
        status=status_of(report),
        message=message_of(report),
        version=version,
        baseline=baseline.run.name,
        record=delivery.record,
        is_other_statement=bool(known)
        and all(one.statement_mac != version.statement_mac for one in known),
        report=report,
    )


def read_again(session: Session, watched: Watched) -> tuple[DatasetVersion, Delivery]:
    """Run the statement to its end, and give the version that it delivered, with its profile.

    Raises:
        RequestInvalid: The statement is no read.
    """
    verdict = session.check(watched.sql, watched.connection, binds=watched.binds)
    if not verdict.statement.is_read:
        # A change that is run every hour is nobody's intention.
        raise RequestInvalid(
            "Only a statement that reads can be watched.",
            code="usage",
            why=f"this one is {verdict.statement.verb}",
            next_step="give the SELECT that the training data comes from",
        )
    with session.sql(
        watched.sql,
        watched.connection,
        binds=watched.binds,
        dataset=watched.dataset,
        origin={"surface": "watch"},
    ) as result:
        for _ in result.batches():
            pass
    delivery = result.summary.delivery
    assert delivery is not None
    version = session.version(delivery.version_id)
    assert version is not None
    return version, delivery


def check_input(baseline: Side | Data, watched: Watched) -> None:
    """Check that the watched dataset is among what a run was trained on.

    Raises:
        RequestInvalid: It is not.
    """
    if isinstance(baseline, Data) or not baseline.is_training:
        return
    names = sorted({one.name for one in baseline.run.inputs})
    if watched.dataset not in names:
        raise RequestInvalid(
            f"{baseline.run.name} was not trained on {watched.dataset!r}.",
            code="usage",
            why=f"it read {listed(names) or 'no governed data'}",
            next_step="name one of these with --dataset, or another run with --baseline",
        )


def as_read(side: Side, delivery: Delivery, baseline: Side) -> Side:
    """What was read, as the data of a training that would start now."""
    read = RunInput(
        name=delivery.name,
        version_id=delivery.version_id,
        context="data",
        bound_via="explicit",
        read_id=delivery.read_id,
        read_at=delivery.at,
        sources=delivery.sources,
        order=delivery.order,
    )
    run = replace(
        side.run,
        inputs=(read,),
        started_at=delivery.at,
        # What the model in production leans on is what the next one will.
        importance=baseline.run.importance,
    )
    return replace(side, run=run)


def message_of(report: DriftReport) -> str:
    """The verdict, with the first change of the data where it names what that follows from."""
    moved = next((cause.sentence for cause in report.causes if cause.is_drift), "")
    return report.verdict if moved in report.verdict else f"{report.verdict} First: {moved}."


def status_of(report: DriftReport) -> str:
    """What a round comes to, the most certain first."""
    if report.status == "drifted":
        return "drifted"
    if any(cause.is_stale and cause.effect for cause in report.causes):
        return "stale"
    if report.status == "unknown":
        return "unknown"
    changed = any(
        # Equal rows today may be others tomorrow: it is news that they were asked for otherwise.
        cause.kind in CONFIGURATION or (cause.kind == "policy" and cause.effect > 0)
        for cause in report.causes
    )
    return "changed" if changed else "stable"

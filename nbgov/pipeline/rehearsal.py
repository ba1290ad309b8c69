"""What the voters are told of a statement: measured in the requester's session, when it is asked.

A write is run for real and rolled back. No end of it commits anything: the transfer of a dry run
cannot, a stream that is closed early rolls back, and so does a database whose client dies. What a
transaction does not undo anywhere, sequences and auto-increments, may have moved on. It is recorded
like any run, as ``dry-run``. Cases: ``tests/test_rehearsal.py``.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nbgov.core import case as cases
from nbgov.core.policy import reported
from nbgov.core.result_columns import tables_seen
from nbgov.core.undo import shape
from nbgov.errors import BackendFailed
from nbgov.model import (
    Action,
    ApprovalQuorum,
    ContentMask,
    Effect,
    Evidence,
    Highlight,
    Summary,
)
from nbgov.pipeline.undoing import require_unchanged

if TYPE_CHECKING:
    from nbgov.core.case import Case
    from nbgov.model import Approval, Clearance, Decision, Statement
    from nbgov.pipeline.recorder import Recorder
    from nbgov.ports import Engine, World

DRY_RUN_S = 10
# sqlglot's names of the dialects whose transactions are known, and those that hold DDL as well.
DIALECTS = frozenset({"duckdb", "mysql", "postgres", "sqlite"})
DDL_DIALECTS = DIALECTS - {"mysql"}
# The database is away, or keeps its file from a second opener; the real run may find it otherwise.
NO_OBSTACLE_LATER = frozenset({"database-unavailable", "dry-run-unavailable"})


@dataclass
class Limit:
    """Whether a dry run was stopped because its time was up."""

    is_over: bool = False


class Rehearsal:
    """Measures statements that need consent, in one session.

    Args:
        world: The ports.
        recorder: Writes the records of dry runs.
    """

    def __init__(self, world: World, recorder: Recorder) -> None:
        self.world = world
        self.recorder = recorder

    def measure(self, case: Case, clearance: Clearance, draft: Approval) -> Evidence:
        """All that is known of a statement before it runs.

        Args:
            case: The request, decided.
            clearance: What would run.
            draft: The ticket that is about to be opened.

        Raises:
            NbgovError: The database does not run it, or it breaks a limit of the policy.
        """
        told = self.described(case)
        engine = self.world.engine(case.request.connection)
        # Security: an estimate rests on statistics of stored values, which masks and filters hide.
        rows = None if clearance.is_sensitive else engine.estimate(clearance)
        told = replace(told, rows_estimated=rows)
        assert case.statement is not None
        if why := obstacle(case.statement):
            return replace(told, dry_run=why)
        try:
            return self.rehearse(case, clearance, draft, engine, told)
        except BackendFailed as error:
            if error.code != "undo-unavailable" or case.request.undoes or not clearance.before:
                raise
            # More rows than are kept, as a rule. The voters are told that it cannot be undone.
            told = replace(told, undo=error.why, undo_sql="")
            return self.rehearse(case, replace(clearance, before=None), draft, engine, told)

    def described(self, case: Case) -> Evidence:
        """What the text, the decision and the request say."""
        statement, decision, principal = case.statement, case.decision, case.principal
        assert statement is not None
        assert decision is not None
        assert principal is not None
        uses = statement.tables
        return Evidence(
            dialect=statement.dialect,
            effects=tuple(sorted(statement.effects)),
            highlights=highlights(statement),
            written=tuple(sorted({str(flow.target) for flow in statement.flows})),
            read=tuple(sorted({f"{use.table}.{name}" for use in uses for name in use.columns})),
            functions=tuple(sorted(statement.functions)),
            obligations=conditions(decision, statement),
            groups=tuple(sorted(principal.groups)),
            roles=tuple(sorted(principal.roles)),
            account=principal.account,
            origin=cases.told_origin(case.request.origin) or {},
            undo=case.undo,
            undo_sql=shape(case.before) if case.before else "",
            policy=case.policy.digest.hex() if case.policy else "",
        )

    def rehearse(
        self, case: Case, clearance: Clearance, draft: Approval, engine: Engine, told: Evidence
    ) -> Evidence:
        """Run a write and roll it back; the attempt is durable before the engine sees it."""
        assert case.statement is not None
        assert case.whole is not None
        trial = replace(
            case,
            id=uuid.uuid4().hex,
            statement=replace(case.statement, plan=cases.DRY_RUN),
            approval=draft,
        )
        tables = tables_seen(case.statement, case.whole)
        self.recorder.attempt(trial)
        limit, summary = Limit(), Summary()
        begun_ms = self.world.clock.ticks()
        try:
            with limited(engine, clearance.request, limit):
                stream = engine.execute(replace(clearance, is_dry_run=True, tables=tables))
                try:
                    require_unchanged(self.world, case, stream)
                    summary.rows_affected = stream.rows_affected
                finally:
                    stream.close()
        except BaseException as error:
            self.recorder.failure(trial, error)
            if isinstance(error, BackendFailed) and (why := excuse(error, limit)):
                return replace(told, dry_run=why)
            raise
        took_s = (self.world.clock.ticks() - begun_ms) / 1_000
        self.recorder.outcome(trial, "ok", summary=summary)
        return replace(told, rows_changed=summary.rows_affected, measured_s=took_s)


@contextmanager
def limited(engine: Engine, request: str, limit: Limit) -> Iterator[None]:
    """Stop a request when the time of a dry run is up."""

    def stop() -> None:
        limit.is_over = True
        engine.cancel(request)

    timer = threading.Timer(DRY_RUN_S, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def excuse(error: BackendFailed, limit: Limit) -> str:
    """Why a dry run that failed says nothing of the statement; empty where it does."""
    if limit.is_over and error.code == "cancelled":
        return f"it took longer than {DRY_RUN_S} s and was stopped"
    return (error.why or error.what) if error.code in NO_OBSTACLE_LATER else ""


def obstacle(statement: Statement) -> str:
    """Why a statement cannot be run and rolled back, for people; empty where it can."""
    if statement.is_read:
        return "it reads, and changes nothing"
    if statement.plan:
        return "it asks for a plan"
    if statement.dialect not in DIALECTS:
        return "nobody knows whether this database can roll everything back"
    if not statement.effects <= {Effect.READ, Effect.WRITE, Effect.DDL}:
        return "what it does may reach beyond its transaction"
    if Effect.DDL in statement.effects and statement.dialect not in DDL_DIALECTS:
        return "this database commits a change of its tables at once"
    return ""


def conditions(decision: Decision, statement: Statement) -> tuple[str, ...]:
    """What the policy puts on a statement beside votes, a line each, as far as it bears on it."""
    left_out = (ApprovalQuorum,) if statement.is_read else (ApprovalQuorum, ContentMask)
    told = reported(decision, statement)
    return tuple(cases.describe(one) for one in told if not isinstance(one, left_out))


def highlights(statement: Statement) -> tuple[Highlight, ...]:
    """Where the text names what it changes and what it reads, in order."""
    return tuple(
        Highlight(use.span.start, use.span.end, "read" if use.action is Action.READ else "changed")
        for use in sorted(statement.tables, key=lambda use: (use.span.start, use.span.end))
    )

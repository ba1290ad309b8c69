"""Writes the records of a request: what was attempted, and how it ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nbgov.core import case as cases
from nbgov.errors import BackendFailed, NbgovError
from nbgov.model import RecordKind

if TYPE_CHECKING:
    from nbgov.core.case import Case
    from nbgov.model import Receipt, Record, Summary
    from nbgov.ports import World


class Recorder:
    """Writes to the audit log of one world, for one session."""

    def __init__(self, world: World, *, session: str) -> None:
        self.world = world
        self.session = session

    def attempt(self, case: Case) -> None:
        """Stage 7: the attempt is durable before the engine sees SQL, or nothing runs."""
        case.receipt = self.world.audit.append(self.facts(case, RecordKind.ATTEMPT))

    def outcome(
        self, case: Case, status: str, *, summary: Summary | None, code: str | None = None
    ) -> Receipt:
        """Stage 11: close the request in the log, once."""
        record = self.facts(case, RecordKind.OUTCOME)
        if summary is not None:
            record = cases.with_summary(record, summary)
        attempt = case.receipt.index if case.receipt else None
        case.is_closed = True
        return self.world.audit.append(replace(record, status=status, code=code, attempt=attempt))

    def failure(self, case: Case, error: BaseException, *, summary: Summary | None = None) -> None:
        """Stage 11 of a request that did not end well; the error learns its record number."""
        is_log_away = isinstance(error, BackendFailed) and error.code == "audit-unavailable"
        if case.is_closed or is_log_away:
            return
        status, code = cases.status_of(error), cases.code_of(error)
        receipt = self.outcome(case, status, summary=summary, code=code)
        if isinstance(error, NbgovError):
            shown = case.receipt or receipt
            error.record, error.receipt = shown.index, str(shown)

    def facts(self, case: Case, kind: RecordKind) -> Record:
        """A record of what is known of a request."""
        now, mac = self.world.clock.now(), self.world.signer.mac
        record = cases.facts(case, kind, at=now, session=self.session, mac=mac)
        return replace(record, policy_revision=self.world.policy.revision() or None)

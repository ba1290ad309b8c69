"""Writes the records of a request: what was attempted, and how it ended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nbgov.core import case as cases
from nbgov.core.database_roles import database_role
from nbgov.errors import BackendFailed, Denied, NbgovError
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
        if self.world.cosigning is not None:
            self.world.cosigning.check()
        record = self.facts(case, RecordKind.ATTEMPT, literals=self.seal(case))
        case.receipt = self.world.audit.append(record)

    def outcome(
        self,
        case: Case,
        status: str,
        *,
        summary: Summary | None,
        code: str | None = None,
        sqlstate: str | None = None,
    ) -> Receipt:
        """Stage 11: close the request in the log, once."""
        facts = {"status": status, "code": code, "sqlstate": sqlstate}
        facts |= cases.summary_facts(summary)
        if case.receipt is None:
            # A refusal is recorded with what can be said of it, sealed literals or not.
            with suppress(BackendFailed):
                facts["literals"] = self.seal(case)
            record = self.facts(case, RecordKind.OUTCOME, **facts)
        else:
            at = self.world.clock.now()
            record = cases.closing(case, at=at, session=self.session, **facts)
        case.is_closed = True
        return self.world.audit.append(record)

    def failure(self, case: Case, error: BaseException, *, summary: Summary | None = None) -> None:
        """Stage 11 of a request that did not end well; the error learns its record number."""
        is_log_away = isinstance(error, BackendFailed) and error.code == "audit-unavailable"
        if case.is_closed or is_log_away:
            return
        receipt = self.outcome(
            case,
            cases.status_of(error),
            summary=summary,
            code=cases.code_of(error),
            sqlstate=cases.sqlstate_of(error),
        )
        if isinstance(error, NbgovError):
            shown = case.receipt or receipt
            error.record, error.receipt = shown.index, str(shown)

    def facts(self, case: Case, kind: RecordKind, **more: Any) -> Record:
        """A record of what is known of a request."""
        world = self.world
        runs = (store.active_run() for store in world.runs())
        return cases.facts(
            case,
            kind,
            at=world.clock.now(),
            session=self.session,
            mac=world.signer.mac,
            database_user=self.database_user(case),
            policy_revision=world.policy.revision() or None,
            run=next(filter(None, runs), None),
            **more,
        )

    def database_user(self, case: Case) -> str | None:
        """As whom a request runs in the database, as far as it is known."""
        connection, roles = str(case.request.connection), self.world.roles
        if connection in roles and case.principal is not None:
            with suppress(Denied):
                return database_role(roles[connection], case.principal, connection)
            return None
        return self.world.accounts.get(connection)

    def seal(self, case: Case) -> str | None:
        """The literals of a request, sealed, where they are kept at all."""
        sealer = self.world.sealer
        if sealer is None or not isinstance(case.request.sql, str):
            return None
        name = case.principal.name if case.principal else case.request.claim or ""
        at = self.world.clock.now()
        return sealer.seal(case.literals(), principal=name, at=at, context=case.id)

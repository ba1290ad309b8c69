"""The order of the stages of a request: here and nowhere else.

Identify, parse, check, decide, approve, clear, record the attempt, execute, mask, fingerprint,
record the outcome. Each stage's output is the next one's input. Three invariants hold, and each
has a test named after it: no row without a record, no execution without a clearance, no decision
that cannot be replayed.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from nbgov.core import approval as approvals
from nbgov.core import case as cases
from nbgov.core import guard, masking
from nbgov.core.case import Case
from nbgov.core.datasets import identify_version, outputs_in_clear
from nbgov.core.memo import Memo
from nbgov.core.policy import Policy, decide, visible
from nbgov.core.policy import parse as parse_policy
from nbgov.core.rewrite import neutral, rewrite, verify
from nbgov.core.statement import find_binds, neutralise, parse, take_values
from nbgov.core.statement.names import not_understood
from nbgov.errors import BackendFailed, Denied, NbgovError, RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    ApprovalState,
    Catalog,
    Clearance,
    Delivery,
    Effect,
    Receipt,
    Record,
    RecordKind,
    Request,
    Result,
    Statement,
    Summary,
    Verdict,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.core.drift import Profiler
    from nbgov.core.fingerprint import Fingerprinter
    from nbgov.ports import Engine, Stream, World


class Pipeline:
    """Runs the requests of one session through the stages.

    Args:
        world: The ports.
        session: Identifier of the session, part of every record.
    """

    def __init__(self, world: World, *, session: str) -> None:
        self.world = world
        self.session = session
        self.memo = Memo()
        self._policy: tuple[str, Policy] | None = None

    # ------------------------------------------------------------ what a surface calls

    def run(self, request: Request) -> Result:
        """Run one request.

        A write is carried out, and committed, before this returns. A read streams; its outcome is
        recorded when the result ends.

        Raises:
            NbgovError: With the number of its audit record, for every way in which a request fails.
        """
        case = Case(request, id=uuid.uuid4().hex)
        try:
            self.understand(case)
            self.approve(case)
            clearance = self.clear(case)
            self.record_attempt(case)
            self.consume(case)
            stream = self.world.engine(request.connection).execute(clearance)
            return self.open_result(case, stream)
        except BaseException as error:
            self.record_failure(case, error)
            raise

    def check(self, request: Request) -> Verdict:
        """Decide a request and say what would run, without running or recording anything."""
        case = Case(request, id="")
        self.understand(case)
        assert case.statement is not None
        assert case.decision is not None
        sql = self.clear(case).sql if case.decision.is_permitted else None
        return Verdict(case.statement, case.decision, sql)

    def catalog(self, connection: str, *, claim: str | None) -> Catalog:
        """What the principal may touch on a connection; the rest reads as absent."""
        principal = self.world.identity.identify(claim)
        catalog = self.world.engine(connection).catalog()
        return visible(self.policy(), principal, connection, catalog)

    def policy(self) -> Policy:
        """The policy as it stands now; decoded again only when its text has changed."""
        text = self.world.policy.text()
        if self._policy is None or self._policy[0] != text:
            self._policy = (text, parse_policy(text))
        return self._policy[1]

    # ------------------------------------------------------------ the stages, in order

    def understand(self, case: Case) -> None:
        """Stages 1 to 4: identify, parse, check, decide."""
        connection, sql = case.request.connection, case.request.sql
        case.principal = principal = self.world.identity.identify(case.request.claim)
        case.policy = policy = self.policy()
        engine = self.world.engine(connection)
        whole = engine.catalog()
        key = (connection, principal, policy.digest)
        case.catalog = catalog = self.memo.recall(
            key, whole, lambda: visible(policy, principal, connection, whole)
        )
        case.statement = statement = self.memo.recall(
            (*key, "parse", sql), catalog, lambda: self.parse(sql, catalog, engine)
        )
        case.decision = self.memo.recall(
            (*key, "decide", sql),
            catalog,
            lambda: decide(
                policy,
                principal,
                connection,
                statement,
                catalog=catalog,
                findings=guard.check(statement),
            ),
        )
        if case.decision.is_permitted:
            case.values = take_values(case.statement.binds, case.request.binds)

    def parse(self, sql: str, catalog: Catalog, engine: Engine) -> Statement:
        """Stage 2. What the engine cannot read either is a syntax error, for every statement."""
        try:
            statement = parse(sql, catalog)
        except RequestInvalid as error:
            if error.code != "syntax":
                raise
            engine.inspect(neutralise(sql, find_binds(sql, catalog.dialect)))
            raise not_understood("the engine can read it, but nbgov's parser cannot") from None
        if statement.effect is Effect.UNKNOWN:
            engine.inspect(neutralise(sql, statement.binds))
        return statement

    def approve(self, case: Case) -> None:
        """Stage 5: find the consent that the decision asks for, or open a ticket. Nothing waits."""
        decision, statement, principal = case.decision, case.statement, case.principal
        assert decision is not None
        assert statement is not None
        assert principal is not None
        if not decision.is_permitted:
            raise cases.denial(case)
        if not any(isinstance(o, ApprovalQuorum) for o in decision.obligations):
            return
        request, now = case.request, self.world.clock.now()
        digest = approvals.binding(
            request.sql,
            case.values,
            connection=request.connection,
            principal_name=principal.name,
            policy_digest=decision.policy_digest,
        )
        found = self.world.approvals.find(digest)
        latest = approvals.expire(found, now) if found else None
        if found and latest and latest.state is ApprovalState.REFUSED:
            # The requester is told once; the same statement may then be asked for anew.
            told = replace(found, state=ApprovalState.CANCELLED)
            self.world.approvals.swap(found, told)
            raise cases.refusal(latest)
        if latest is None or latest.state not in approvals.LIVE:
            latest = self.world.approvals.open(
                approvals.open_ticket(
                    statement,
                    decision,
                    ticket=next_ticket(digest, found),
                    binds=case.values,
                    connection=request.connection,
                    principal=principal,
                    now=now,
                )
            )
        case.approval = latest
        if latest.state is not ApprovalState.APPROVED:
            raise cases.waiting(case, latest)

    def clear(self, case: Case) -> Clearance:
        """Stage 6: make the text that runs, hold it against the engine's own view, and clear it."""
        statement, decision, catalog = case.statement, case.decision, case.catalog
        assert statement is not None
        assert decision is not None
        assert catalog is not None
        strange = [o for o in decision.obligations if not isinstance(o, cases.MET)]
        if strange:
            raise Denied(
                "Denied: the policy asks for an obligation that nbgov cannot meet.",
                why=type(strange[0]).__name__,
                next_step="ask the owner of policy.yaml",
            )
        rewritten = rewrite(statement, decision, catalog, values=case.values)
        connection, text = case.request.connection, neutral(rewritten)
        opinion = self.memo.recall(
            (connection, "inspect", text),
            catalog,
            lambda: self.world.engine(connection).inspect(text),
        )
        verify(statement, opinion, [catalog.tables[u.table] for u in statement.tables])
        limits = [n for n in (rewritten.rows_max, case.request.rows_max) if n is not None]
        return Clearance(
            sql=rewritten.sql,
            binds=rewritten.binds,
            marker_spans=rewritten.markers,
            is_read=statement.effect is Effect.READ,
            rows_max=min(limits, default=None),
        )

    def record_attempt(self, case: Case) -> None:
        """Stage 7: the attempt is durable before the engine sees SQL, or nothing runs."""
        case.receipt = self.world.audit.append(self.facts(case, RecordKind.ATTEMPT))

    def consume(self, case: Case) -> None:
        """Use an approval up, right before the one execution that it is for."""
        if case.approval is None:
            return
        now = self.world.clock.now()
        after = approvals.consume(case.approval, now)
        if not self.world.approvals.swap(case.approval, after):
            raise approvals.conflict(case.approval, now)

    def open_result(self, case: Case, stream: Stream) -> Result:
        """Stages 8 to 11, as an open result. A write is read to its end before it is handed out."""
        assert case.decision is not None
        assert case.statement is not None
        assert case.receipt is not None
        summary = Summary(record=case.receipt.index, receipt=case.receipt)
        delivery = self.deliver(case, stream, summary)
        # The first step sets everything up and yields no batch. A generator that has not begun
        # would not notice being closed, and the attempt would stay without an outcome.
        next(delivery)
        batches = cast("Iterator[pa.RecordBatch]", delivery)
        if case.statement.effect is not Effect.READ:
            batches = iter(list(batches))
        return Result(
            stream.schema,
            batches,
            decision=case.decision,
            statement=case.statement,
            record=case.receipt.index,
            receipt=case.receipt,
            summary=summary,
            cancel=stream.cancel,
        )

    def deliver(
        self, case: Case, stream: Stream, summary: Summary
    ) -> Iterator[pa.RecordBatch | None]:
        """Stages 9 to 11: mask, fingerprint and record around the engine's batches."""
        from nbgov.core.drift import Profiler
        from nbgov.core.fingerprint import Fingerprinter, cell_hashes

        statement, decision, policy = case.statement, case.decision, case.policy
        assert statement is not None
        assert decision is not None
        assert policy is not None
        try:
            plan = masking.plan(decision, stream.schema, statement.outputs)
            summary.masked = dict(plan.masked)
            names = stream.schema.names
            clear = {*outputs_in_clear(statement, names, policy, case.request.connection)}
            fingerprinter = Fingerprinter(stream.schema)
            profiler = Profiler(dict.fromkeys(clear, "open"), stream.schema)
            yield None
            for batch in stream:
                masked, found = masking.mask(batch, plan, self.world.detector.detect)
                summary.count_entities(found)
                hashes = [cell_hashes(column) for column in masked.columns]
                fingerprinter.update(masked, hashes)
                profiler.update(masked, hashes)
                summary.rows_read += masked.num_rows
                yield masked
            summary.rows_affected = stream.rows_affected
            summary.is_truncated = stream.is_truncated
            if statement.effect is Effect.READ:
                self.keep_version(case, summary, fingerprinter, profiler, clear)
            self.record_outcome(case, "ok", summary=summary)
            self.tell_runs(summary)
        except BaseException as error:
            self.record_failure(case, error, summary=summary)
            raise
        finally:
            stream.close()

    def keep_version(
        self,
        case: Case,
        summary: Summary,
        fingerprinter: Fingerprinter,
        profiler: Profiler,
        clear: Collection[str],
    ) -> None:
        """Stage 10: name the version of what was delivered, and who got it."""
        assert case.decision is not None
        assert case.principal is not None
        assert case.receipt is not None
        version = identify_version(
            case,
            fingerprint=fingerprinter.finish(),
            clear=clear,
            masked=summary.masked,
            mac=self.world.signer.mac,
            profile=profiler.finish(),
        )
        delivery = Delivery(
            read_id=case.id,
            version_id=version.version_id,
            name=version.name,
            principal=case.principal.name,
            decision="permit",
            rules=case.decision.rules,
            record=case.receipt.index,
            receipt=str(case.receipt),
            at=self.world.clock.now(),
        )
        self.world.datasets.put(version, delivery)
        summary.version, summary.delivery = version, delivery

    def tell_runs(self, summary: Summary) -> None:
        """Let run stores bind the delivery to an active run. They never raise."""
        if summary.version is not None and summary.delivery is not None:
            for store in self.world.runs():
                store.delivered(summary.version, summary.delivery)

    # ------------------------------------------------------------ records

    def facts(self, case: Case, kind: RecordKind) -> Record:
        """A record of what is known of a request."""
        now, mac = self.world.clock.now(), self.world.signer.mac
        return cases.facts(case, kind, at=now, session=self.session, mac=mac)

    def record_outcome(
        self, case: Case, status: str, *, summary: Summary | None, code: str | None = None
    ) -> Receipt:
        """Stage 11: close the request in the log, once."""
        record = self.facts(case, RecordKind.OUTCOME)
        if summary is not None:
            record = cases.with_summary(record, summary)
        attempt = case.receipt.index if case.receipt else None
        case.is_closed = True
        return self.world.audit.append(replace(record, status=status, code=code, attempt=attempt))

    def record_failure(
        self, case: Case, error: BaseException, *, summary: Summary | None = None
    ) -> None:
        """Stage 11 of a request that did not end well; the error learns its record number."""
        is_log_away = isinstance(error, BackendFailed) and error.code == "audit-unavailable"
        if case.is_closed or is_log_away:
            return
        status, code = cases.status_of(error), cases.code_of(error)
        receipt = self.record_outcome(case, status, summary=summary, code=code)
        if isinstance(error, NbgovError):
            shown = case.receipt or receipt
            error.record, error.receipt = shown.index, str(shown)


def next_ticket(digest: bytes, latest: Approval | None) -> str:
    """The name of the next ticket for a binding: its digest's head, numbered from the second on."""
    stem = digest.hex()[:8]
    if latest is None:
        return stem
    _, _, number = latest.ticket.partition("-")
    return f"{stem}-{int(number or 1) + 1}"

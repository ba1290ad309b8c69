"""The order of the stages of a request: here and nowhere else.

Identify, parse, check, decide, approve, clear, record the attempt, execute, mask, fingerprint,
record the outcome. Each stage's output is the next one's input. Three invariants hold, and each
has a test named after it: no row without a record, no execution without a clearance, no decision
that cannot be replayed.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nbgov.core import case as cases
from nbgov.core import guard, undo
from nbgov.core.case import Case
from nbgov.core.database_roles import database_role, label
from nbgov.core.deferred import DeferredProfiles
from nbgov.core.memo import Memo
from nbgov.core.policy import Context, Policy, decide, visible
from nbgov.core.policy import parse as parse_policy
from nbgov.core.policy.masked_tokens import holds_token
from nbgov.core.result_columns import tables_seen
from nbgov.core.rewrite import Rewritten, rewrite, untitled, verify
from nbgov.core.statement import agree, find_binds, neutralise, parse, take_values
from nbgov.core.statement.names import not_understood
from nbgov.core.statement.views import compose
from nbgov.errors import Denied, RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    BeforeImage,
    ByteLimit,
    Catalog,
    Clearance,
    Decision,
    Effect,
    EngineOpinion,
    Evidence,
    Request,
    Result,
    RowFilter,
    Statement,
    Verdict,
    WriteLimit,
)
from nbgov.pipeline.consent import Consents
from nbgov.pipeline.handover import Handover
from nbgov.pipeline.recorder import Recorder
from nbgov.pipeline.rehearsal import Rehearsal
from nbgov.pipeline.running import Running
from nbgov.pipeline.sightings import Sightings

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from nbgov.ports import Engine, World


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
        self.running = Running()
        self.profiles = DeferredProfiles()
        self.recorder = Recorder(world, session=session)
        self.rehearsal = Rehearsal(world, self.recorder)
        self.handover = Handover(world, self.recorder, self.profiles)
        self.sightings = Sightings(world, session=session)
        self.consents = Consents(world, self.memo, session=session)
        self._policy: tuple[str, Policy] | None = None

    # ------------------------------------------------------------ what a surface calls

    def run(self, request: Request) -> Result:
        """Run one request.

        A write is carried out, and committed, before this returns. A read streams; its outcome is
        recorded when the result ends.

        Raises:
            NbgovError: With the number of its audit record, for every way in which a request fails.
        """
        with self.running.named(request):
            return self.carry_out(self.case(request, id=uuid.uuid4().hex))

    def carry_out(self, case: Case) -> Result:
        """Take a request through the stages."""
        request = case.request
        try:
            self.understand(case)
            cases.require_permit(case)
            self.consents.seek(case, partial(self.measure, case))
            clearance = self.clear(case)
            self.running.check(request)
            self.recorder.attempt(case)
            self.consents.consume(case)
            stream = self.world.engine(request.connection).execute(clearance)
            try:
                self.running.check(request)
            except BaseException:
                stream.close()
                raise
            return self.handover.open(case, stream)
        except BaseException as error:
            self.recorder.failure(case, error)
            raise

    def cancel(self, request: str) -> None:
        """Let a request that has not got its rows yet go no further. For any thread."""
        self.running.stop(request)

    def check(self, request: Request) -> Verdict:
        """Decide a request and say what would run, without running or recording anything."""
        case = self.case(request, id="")
        self.understand(case)
        assert case.statement is not None
        assert case.decision is not None
        sql = self.clear(case).sql if case.decision.is_permitted else None
        return Verdict(case.statement, case.decision, sql)

    def foresee(self, request: Request) -> Verdict:
        """Decide a request that is to run later; a refusal is recorded now.

        Raises:
            NbgovError: With the number of its audit record, where it would not run.
        """
        case = self.case(request, id=uuid.uuid4().hex)
        try:
            self.understand(case)
            cases.require_permit(case)
            assert case.statement is not None
            assert case.decision is not None
            return Verdict(case.statement, case.decision, self.clear(case).sql)
        except BaseException as error:
            self.recorder.failure(case, error)
            raise

    def catalog(self, connection: str, *, claim: str | None) -> Catalog:
        """What the principal may touch on a connection; the rest reads as absent."""
        principal = self.world.identity.identify(claim)
        return visible(self.policy(), principal, connection, self.whole_catalog(connection))

    def sight(self, connection: str, *, claim: str | None) -> None:
        """Look at a connection now, and record what changed since it was last seen."""
        principal = self.world.identity.identify(claim)
        whole = self.whole_catalog(connection)
        self.sightings.look(connection, whole, principal=principal.name)

    def whole_catalog(self, connection: str) -> Catalog:
        """All that a connection holds, with views followed to their base columns."""
        held = self.world.engine(connection).catalog()
        schema = self.world.native.get(connection, "")
        return self.memo.recall(
            (connection, "catalog"), held, lambda: replace(compose(held), native_schema=schema)
        )

    def case(self, request: Request, *, id: str) -> Case:  # noqa: A002 - the field's own name
        """A request at the moment that its record will state."""
        return Case(request, id, context=Context(self.world.clock.now(), request.origin))

    def policy(self) -> Policy:
        """The policy as it stands now; decoded again only when its text has changed."""
        text = self.world.policy.text()
        if self._policy is None or self._policy[0] != text:
            self._policy = (text, parse_policy(text))
        return self._policy[1]

    # ------------------------------------------------------------ the stages, in order

    def understand(self, case: Case) -> None:
        """Stages 1 to 4: identify, parse, check, decide."""
        cases.check_request(case.request)
        connection, sql = case.request.connection, case.request.sql
        case.principal = principal = self.world.identity.identify(case.request.claim)
        case.policy = policy = self.policy()
        engine = self.world.engine(connection)
        case.dialect = engine.dialect
        case.whole = whole = self.whole_catalog(connection)
        if case.id:  # A question that is only asked is not recorded.
            self.sightings.look(connection, whole, principal=principal.name, request=case.id)
        key = (connection, principal, policy.digest)
        case.catalog = catalog = self.memo.recall(
            key, whole, lambda: visible(policy, principal, connection, whole)
        )
        case.statement = statement = self.memo.recall(
            (*key, "parse", sql), catalog, lambda: self.parse(sql, catalog, engine)
        )
        case.decision = self.decide(case, statement, key)
        if case.decision.is_permitted:
            case.values = take_values(statement.binds, case.request.binds)
            if not statement.is_read and any(map(holds_token, case.values.values())):
                raise cases.token_written()

    def decide(self, case: Case, statement: Statement, key: tuple[Hashable, ...]) -> Decision:
        """Stages 3 and 4. What depends on the circumstances of a request is not remembered."""
        policy, principal, catalog = case.policy, case.principal, case.catalog
        assert policy is not None
        assert principal is not None
        assert catalog is not None

        def make() -> Decision:
            return decide(
                policy,
                principal,
                case.request.connection,
                statement,
                catalog=catalog,
                findings=guard.check(statement),
                context=case.context,
            )

        if policy.is_conditional:
            return make()
        return self.memo.recall((*key, "decide", case.request.sql), catalog, make)

    def parse(self, sql: str, catalog: Catalog, engine: Engine) -> Statement:
        """Stage 2. What the engine cannot read either is a syntax error, for every statement."""
        try:
            statement = parse(sql, catalog)
        except RequestInvalid as error:
            if error.code != "syntax":
                raise
            engine.inspect(neutralise(sql, find_binds(sql, catalog.dialect)))
            raise not_understood("the engine can read it, but nbgov's parser cannot") from None
        return agree(statement, engine.inspect(neutralise(statement.sql, statement.binds)), catalog)

    def measure(self, case: Case, draft: Approval) -> Evidence:
        """What the voters are told: made once the statement is known to be one that can run."""
        return self.rehearsal.measure(case, self.clear(case), draft)

    def clear(self, case: Case) -> Clearance:
        """Stage 6: make the text that runs, hold it against the engine's own view, and clear it."""
        statement, decision, catalog = case.statement, case.decision, case.catalog
        principal, connection = case.principal, case.request.connection
        assert principal is not None
        assert statement is not None
        assert decision is not None
        assert catalog is not None
        obligations = decision.obligations
        strange = [o for o in obligations if not isinstance(o, cases.MET)]
        if strange:
            raise Denied(
                "Denied: the policy asks for an obligation that nbgov cannot meet.",
                why=type(strange[0]).__name__,
                next_step="ask the owner of policy.yaml",
            )
        rewritten = self.rewrite(case, statement)
        masked = frozenset(mask.column for mask in decision.masks)
        self.plan_undo(case, rewritten)
        return Clearance(
            sql=rewritten.sql,
            binds=rewritten.binds,
            marker_spans=rewritten.markers,
            is_read=statement.is_read,
            rows_max=least([rewritten.rows_max, case.request.rows_max]),
            bytes_max=least(o.bytes_max for o in obligations if isinstance(o, ByteLimit)),
            written_max=least(o.rows_max for o in obligations if isinstance(o, WriteLimit))
            if Effect.WRITE in statement.effects
            else None,
            masked=masked,
            masked_types=rewritten.masked_types,
            is_sensitive=bool(masked) or any(isinstance(o, RowFilter) for o in obligations),
            tables=tables_seen(statement, catalog) if statement.is_read else frozenset(),
            request=case.request.id or case.id,
            before=case.before,
            role=database_role(self.world.roles.get(connection, {}), principal, connection),
            label=label(principal, case.id),
        )

    def plan_undo(self, case: Case, rewritten: Rewritten) -> None:
        """Settle what is kept of a write that people consent to, so that it can be undone."""
        statement, decision, whole = case.statement, case.decision, case.whole
        assert statement is not None
        assert decision is not None
        assert whole is not None
        is_asked = any(isinstance(o, ApprovalQuorum) for o in decision.obligations)
        if statement.is_read or not (is_asked or case.request.undoes):
            return
        if case.approval is not None and case.approval.evidence.undo:
            case.undo = case.approval.evidence.undo
            return
        if self.world.undo is None:
            case.undo = "nothing is kept of writes here"
            return
        found = undo.plan(
            statement,
            rewritten.sql,
            rewritten.markers,
            catalog=whole,
            rows_max=self.world.undo_rows_max,
        )
        if isinstance(found, BeforeImage):
            case.before = found
        else:
            case.undo = found

    def rewrite(self, case: Case, statement: Statement) -> Rewritten:
        """The text that runs, verified; remembered where no bound value can change it."""
        decision, catalog, connection = case.decision, case.catalog, case.request.connection
        assert decision is not None
        assert catalog is not None

        def inspect(sql: str) -> EngineOpinion:
            engine = self.world.engine(connection)
            key = (connection, "inspect", sql)
            return self.memo.recall(key, catalog, partial(engine.inspect, sql))

        def make() -> Rewritten:
            asked = {text: inspect(f"SELECT {text}").title for text in untitled(statement)}
            titles = {text: title for text, title in asked.items() if title is not None}
            made = rewrite(statement, decision, catalog, values=case.values, titles=titles)
            verify(statement, [inspect(witness) for witness in made.witnesses], made)
            return made

        if statement.binds:
            return make()
        return self.memo.recall((connection, "rewrite", case.request.sql), decision, make)


def least(limits: Iterable[int | None]) -> int | None:
    """The lowest limit that is set."""
    return min((limit for limit in limits if limit is not None), default=None)

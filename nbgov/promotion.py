"""May a model version be promoted? The question put to the stores, and the answer kept.

:func:`judge` asks; a surface shows what it says. A gate asks through :func:`promotions`, which
needs nobody to be signed in, and writes down what it lets pass before it does. What the run store
says is what clients wrote there: versions, reads and their principals are looked up in nbgov's own
store.
The rules are in :mod:`nbgov.core.promotion`.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.core.approval import expire, folded
from nbgov.core.drift import compare
from nbgov.core.policy import parse
from nbgov.core.promotion import Promotion, about, choose_basis, weigh
from nbgov.core.promotion.consent import VERB, open_ticket, release, released
from nbgov.core.promotion.judgement import input_names
from nbgov.core.promotion.values import Basis, Candidate, reference
from nbgov.errors import Denied, RequestInvalid
from nbgov.model import (
    Approval,
    BaselineChoice,
    DatasetVersion,
    ModelVersion,
    Record,
    RecordKind,
    Run,
)
from nbgov.voting import Voting
from nbgov.wiring import build_world, find_config, read_config, run_store

if TYPE_CHECKING:
    from nbgov.core.drift import DriftReport
    from nbgov.core.policy import Policy
    from nbgov.ports import Engine, RunStore, World
    from nbgov.session import Session

TICKET_BYTES = 4
CHAMPION = "champion"
BY_RUN: tuple[BaselineChoice, ...] = ("tag", "last")


def judge(session: Session, model: str) -> Promotion:
    """Say whether a model version may be promoted, and why not.

    Args:
        session: Whose stores and policy are asked.
        model: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.

    Raises:
        RequestInvalid: There is no such model version.
        BackendFailed: A store did not answer.
        ConfigInvalid: The policy cannot be read.
    """
    return of_session(session).judge(model)


def of_session(session: Session) -> Promotions:
    """The promotions of a session's stores, on its run store."""
    found = Promotions(session.world, run_store(), session=session.id)
    found.version = session.version
    return found


@contextmanager
def promotions(
    config: str | Path | None = None, *, store: RunStore | None = None
) -> Iterator[Promotions]:
    """The promotions of an ``nbgov.yaml``, for a process in which nobody is signed in.

    Args:
        config: The file or its folder; found as :func:`nbgov.connect` finds it when left out.
        store: The run store; the one that is installed when left out.

    Raises:
        ConfigInvalid: There is no ``nbgov.yaml``, or it is not valid.
        BackendFailed: The state folder cannot be used.
    """
    path = find_config(config)
    session = uuid.uuid4().hex
    world = build_world(path, read_config(path), session=session, engine=no_engine)
    try:
        yield Promotions(world, store or run_store(), session=session)
    finally:
        for part in (world.audit, world.approvals, world.datasets, world.releases):
            part.close()


def no_engine(name: str) -> Engine:
    """Refuse a connection: a promotion is judged by what is kept, and reads no source."""
    raise RequestInvalid(
        f"The connection {name!r} cannot be used here.",
        code="unknown-connection",
        next_step="open a session: nbgov.connect()",
    )


class Promotions:
    """The promotions of a world: judged, asked for, voted on, and let pass.

    Args:
        world: The ports.
        store: The run store in which the models are.
        session: Identifier of the session, part of every record.

    Attributes:
        version: Version id to dataset version.
    """

    def __init__(self, world: World, store: RunStore, *, session: str) -> None:
        self.world = world
        self.store = store
        self.session = session
        self.version: Callable[[str], DatasetVersion | None] = world.datasets.version

    # ------------------------------------------------------------ the judgement

    def judge(self, model: str) -> Promotion:
        """Say whether a model version may be promoted; see :func:`judge`."""
        return self.decide(model)[0]

    def decide(self, model: str) -> tuple[Promotion, Candidate, Policy]:
        """The judgement, with what it rests on."""
        policy = parse(self.world.policy.text())
        candidate = self.candidate(self.store.model(model))
        basis = self.basis(candidate, policy)
        report = self.report(candidate, basis, policy)
        promotion = weigh(candidate, basis, report, policy.drift)
        ticket = self.world.approvals.find(bytes.fromhex(promotion.binding))
        now = self.world.clock.now()
        ticket = expire(ticket, now) if ticket is not None else None
        return released(promotion, ticket, policy.drift, now), candidate, policy

    def candidate(self, model: ModelVersion) -> Candidate:
        """A model version with its run, and what nbgov's own store knows of its data."""
        run = self.run(model.run_id)
        ids = dict.fromkeys(one.version_id for one in run.inputs) if run is not None else ()
        versions = {one: found for one in ids if (found := self.version(one)) is not None}
        deliveries = tuple(
            delivery
            for name in dict.fromkeys(version.name for version in versions.values())
            for delivery in self.world.datasets.deliveries(name)
            if delivery.version_id in versions
        )
        return Candidate(model, run, versions, deliveries)

    def run(self, run_id: str) -> Run | None:
        """The run with this id, or ``None`` where there is none."""
        try:
            return self.store.run(run_id) if run_id else None
        except RequestInvalid:
            return None

    def basis(self, candidate: Candidate, policy: Policy) -> Basis | None:
        """The release to compare a candidate with."""
        if candidate.run is None:
            return None
        try:
            champion = self.store.model(f"models:/{candidate.model.name}@{CHAMPION}")
        except RequestInvalid:
            champion = None
        by_tag, earlier = (
            self.store.baseline(candidate.run.run_id, replace(policy.drift, baseline=(place,)))
            if place in policy.drift.baseline
            else None
            for place in BY_RUN
        )
        return choose_basis(
            candidate,
            policy.drift,
            self.world.releases.releases(),
            champion=champion,
            tagged=by_tag or "",
            earlier=earlier or "",
        )

    def report(
        self, candidate: Candidate, basis: Basis | None, policy: Policy
    ) -> DriftReport | None:
        """How a candidate's run differs from the release, or from itself where there is none."""
        run = candidate.run
        before = run if basis is None else self.run(basis.run_id)
        if run is None or before is None:
            return None
        missing = {one.version_id for one in before.inputs} - candidate.versions.keys()
        found = {one: version for one in missing if (version := self.version(one)) is not None}
        return compare(before, run, {**candidate.versions, **found}, terms=policy.drift)

    # ------------------------------------------------------------ consent

    def tickets(self, name: str = "") -> tuple[Approval, ...]:
        """Tickets of promotions that wait for votes or were approved, oldest first."""
        now = self.world.clock.now()
        return tuple(expire(one, now) for one in about(self.world.approvals.pending(), name))

    def request(self, model: str, *, claim: str | None) -> Approval:
        """Ask for the consent that a held promotion needs; an open ticket for it is given back.

        Raises:
            Denied: The promotion is not held, or nobody may consent to it.
        """
        principal = self.world.identity.identify(claim)
        promotion, _, policy = self.decide(model)
        ticket = open_ticket(
            promotion,
            policy.drift,
            ticket=secrets.token_hex(TICKET_BYTES),
            requester=principal.name,
            now=self.world.clock.now(),
        )
        self.record(
            promotion, principal=principal.name, status="requested", ticket=ticket.ticket,
            policy=policy.digest.hex(), note="request",
        )  # fmt: skip
        return self.world.approvals.open(ticket)

    def vote(self, model: str, *, is_approval: bool, reason: str, claim: str | None) -> Promotion:
        """Approve or deny the promotion of a model version, as the principal behind the claim.

        Raises:
            Denied: The training data was delivered to the principal, or they may not vote.
            RequestInvalid: Nobody asked for consent to exactly this.
            IntegrityFailed: The ticket changed meanwhile, or takes no votes any more.
        """
        voter = self.world.identity.identify(claim)
        promotion = self.judge(model)
        if promotion.approval is None:
            raise RequestInvalid(
                f"Nobody asked for consent to the promotion of {promotion.reference}.",
                code="unknown-ticket",
                why="there is no ticket, or what it was bound to is another now",
                next_step=f"have somebody ask: nbgov promotion request {promotion.reference}",
            )
        if folded(voter.name) in set(map(folded, promotion.excluded)):
            # Security: four eyes; whoever was given the training data is one pair of them.
            raise Denied(
                f"{voter.name} cannot vote on {promotion.reference}.",
                code="self-approval",
                why="its training data was delivered to them",
                next_step="ask somebody else who may vote on it",
            )
        voting = Voting(self.world, session=self.session)
        voting.vote(promotion.approval.ticket, is_approval=is_approval, reason=reason, claim=claim)
        return self.judge(model)

    # ------------------------------------------------------------ the gate

    def admit(self, model: str, *, wish: str, account: str = "") -> Promotion:
        """Let a promotion pass and write it down, or refuse it and write that down.

        Args:
            model: The model version.
            wish: What is to be done, such as ``alias champion``.
            account: Who asks, as far as the gate knows.

        Raises:
            NbgovError: It is held (:class:`~nbgov.errors.Denied`, code ``promotion-held``), or
                what the answer depends on cannot be read or written.
        """
        promotion, candidate, policy = self.decide(model)
        now = self.world.clock.now()
        names = input_names(candidate.run) if candidate.run is not None else ()
        ticket = promotion.approval
        facts = {
            "account": account or None,
            "status": promotion.status,
            "policy": policy.digest.hex(),
            "ticket": ticket.ticket if ticket is not None else None,
            "note": wish,
        }
        try:
            passed = release(promotion, names, wish=wish, account=account, at=now)
        except Denied:
            self.record(promotion, decision="deny", code="promotion-held", **facts)
            raise
        # Security: written before it happens, so that nothing is promoted without a record.
        self.record(promotion, decision="permit", **facts)
        self.world.releases.add(passed)
        return promotion

    def record(self, promotion: Promotion, **facts: str | None) -> None:
        """Write down in the audit log what is done with a promotion."""
        self.world.audit.append(
            Record(
                kind=RecordKind.ADMIN,
                at=self.world.clock.now(),
                request=uuid.uuid4().hex,
                session=self.session,
                connection=promotion.model,
                verb=VERB,
                tables=(
                    reference(promotion.model, promotion.version),
                    f"runs:/{promotion.run_id}",
                    f"lineage:{promotion.lineage_digest}",
                ),
                **facts,  # type: ignore[arg-type]  # every one of these fields is a text
            )
        )

"""Tickets for tests: who asks, who votes, and the steps in one line each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nbgov.core.approval import Asked, break_glass, consume, open_ticket, vote
from nbgov.model import (
    Action,
    ApprovalMode,
    ApprovalQuorum,
    Effect,
    Evidence,
    Highlight,
    Principal,
    Span,
    Statement,
    TableName,
    TableUse,
    Vote,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
WAIT, VALID = 24 * HOUR, 8 * HOUR
DIGEST = b"d" * 32
ADA = Principal("ada@acme.test", roles=frozenset({"approver", "dba"}))
GRACE = Principal("grace@acme.test", roles=frozenset({"approver"}))
HEIDI = Principal("heidi@acme.test", groups=frozenset({"stewards"}), roles=frozenset({"dba"}))
IVAN = Principal("ivan@acme.test", groups=frozenset({"stewards"}), roles=frozenset({"approver"}))
MALLORY = Principal("mallory@acme.test", groups=frozenset({"analysts"}))
EVIDENCE = Evidence(
    dialect="duckdb",
    effects=("write",),
    highlights=(Highlight(7, 15, "changed"),),
    written=("main.bookings.paid",),
    groups=("stewards",),
    origin={"notebook": "ü\u2028.ipynb"},
    rows_changed=3,
    measured_s=0.25,
)


def quorum(rule="first", *, names=(), groups=(), roles=("approver",), votes_min=1, **terms):
    """A quorum of approvers."""
    held = frozenset(names), frozenset(groups), frozenset(roles)
    return ApprovalQuorum(rule, *held, votes_min, **terms)


WINDOW = quorum(mode=ApprovalMode.WINDOW)


def update(sql="UPDATE bookings SET paid = true WHERE id = :id"):
    """A write."""
    uses = (
        TableUse(TableName("main", "bookings"), Action.UPDATE, Span(7, 15), False, frozenset()),
        TableUse(TableName("main", "bookings"), Action.READ, Span(7, 15), False, frozenset()),
    )
    return Statement(
        sql=sql, dialect="duckdb", verb="UPDATE", effects=frozenset({Effect.WRITE}), tables=uses
    )


def asked(*quorums, digest=DIGEST, sql="UPDATE bookings SET paid = true WHERE id = :id"):
    """What consent is asked for."""
    return Asked(
        update(sql), quorums or (quorum(),), "ops", digest, '{"id":["int","7"]}', EVIDENCE, "r1"
    )


def ticket(*quorums, name="t1", now=START, by=ADA, module=None, **changes):
    """A new ticket."""
    opened = module.open_ticket if module else open_ticket
    return opened(asked(*quorums, **changes), ticket=name, principal=by, now=now)


def ballot(*, yes=True, reason="because: ü", at=START):
    """A voice, before anybody knows whose."""
    return Vote("", yes, reason, at)


def voted(approval, *voters, now=START, yes=True):
    """The ticket after some voices."""
    for voter in voters:
        approval = vote(approval, ballot(yes=yes, at=now), voter=voter, now=now)
    return approval


def used(approval, *, now=START, digest=DIGEST, required=()):
    """The ticket after its use."""
    return consume(approval, binding_digest=digest, required=required, now=now)


def broken(approval, *, now=START, by=ADA, reason="the house burns", valid_s=900, unreviewed=()):
    """The ticket after its requester went ahead without votes."""
    return break_glass(approval, by, reason=reason, valid_s=valid_s, unreviewed=unreviewed, now=now)

r"""A person's consent to one exact statement, as a value that moves from state to state.

Approvals bind exact bytes: two texts that differ in a space are two statements, and ``1``, ``'1'``,
``True`` and ``1.0`` are four values. This module knows no clock and no store; the time and the
ticket's name come in, and a store makes each step atomic by comparing what was read with what is
there (:class:`nbgov.ports.ApprovalStore`). The cases are in ``tests/core/test_approval.py``::

    requested --votes--> approved --consume--> consumed
        |  \--refusal--> refused |
        \--- cancel (requester) or time runs out ---> cancelled, expired
"""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from nbgov.errors import Denied, IntegrityFailed, RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    ApprovalState,
    Decision,
    Principal,
    Statement,
    Vote,
)

TICKET_LIFETIME = timedelta(hours=24)
BIND_CHARS_MAX = 2_000
BINDING_DOMAIN = b"nbgov approval binding 1"
LIVE = frozenset({ApprovalState.REQUESTED, ApprovalState.APPROVED})


def binding(
    statement_sql: str,
    binds: Mapping[str, Any],
    *,
    connection: str,
    principal_name: str,
    policy_digest: bytes,
) -> bytes:
    """Digest of everything that a consent is about, so that it clears that and nothing else.

    Args:
        statement_sql: The user's text, byte for byte.
        binds: Name to value, as they are sent to the database; a tuple counts as a list.
        connection: Name of the connection.
        principal_name: Name of the principal who asks.
        policy_digest: SHA-256 of the policy that the decision rests on.

    Raises:
        RequestInvalid: A value has a type that cannot be bound (code ``bind-type``).

    Example:
        >>> where = {"connection": "ops", "principal_name": "ada", "policy_digest": b""}
        >>> binding("SELECT :x", {"x": 1}, **where) == binding("SELECT :x", {"x": True}, **where)
        False
    """
    digest = hashlib.sha256()
    # Security: without its length in front, a part could borrow bytes from its neighbour.
    for part in (
        BINDING_DOMAIN,
        exact(connection),
        exact(principal_name),
        policy_digest,
        exact(statement_sql),
        *(typed(name, value) for name, value in sorted(binds.items())),
    ):
        digest.update(prefixed(part))
    return digest.digest()


def describe_binds(binds: Mapping[str, Any]) -> str:
    r"""Names, types and values of what is bound, one a line, for the voter's eyes only.

    A value of more than :data:`BIND_CHARS_MAX` characters is cut and says so; its digest stands for
    the rest, so that different values always read differently.

    Example:
        >>> print(describe_binds({"who": "O'Hara\n", "month": 1}))
        month: int = 1
        who: str = "O'Hara\n"
    """
    rows = []
    for name, value in sorted(binds.items()):
        # Security: repr escapes what would redraw the voter's screen, such as reversed text.
        text = repr(value)
        if len(text) > BIND_CHARS_MAX:
            digest = hashlib.sha256(exact(text)).hexdigest()
            text = f"{text[:BIND_CHARS_MAX]} … {len(text)} characters, sha256 {digest}"
        rows.append(f"{name}: {type(value).__name__} = {text}")
    return "\n".join(rows)


def open_ticket(
    statement: Statement,
    decision: Decision,
    *,
    ticket: str,
    binds: Mapping[str, Any],
    connection: str,
    principal: Principal,
    now: datetime,
    lifetime: timedelta = TICKET_LIFETIME,
) -> Approval:
    """The request for the consent that a decision asks for.

    Args:
        statement: What would run.
        decision: The decision; every quorum among its obligations has to be met.
        ticket: Name of the ticket, made up by the caller.
        binds: Name to value.
        connection: Name of the connection.
        principal: Who asks.
        now: The time.
        lifetime: How long the ticket, and a consent to it, can be used.

    Raises:
        RequestInvalid: A value has a type that cannot be bound (code ``bind-type``).
        RuntimeError: The quorums let the statement pass without a vote, or share one name.
    """
    quorums = tuple(o for o in decision.obligations if isinstance(o, ApprovalQuorum))
    # Security: a quorum of zero lets one voter pass for all, and so do two under one name.
    if not quorums or min(quorum.votes_min for quorum in quorums) < 1:
        raise RuntimeError("An approval asks for one vote at least.")
    if len({quorum.rule for quorum in quorums}) < len(quorums):
        raise RuntimeError("Two quorums of one approval come from the same rule.")
    return Approval(
        ticket=ticket,
        binding_digest=binding(
            statement.sql,
            binds,
            connection=connection,
            principal_name=principal.name,
            policy_digest=decision.policy_digest,
        ),
        connection=connection,
        sql=statement.sql,
        binds=describe_binds(binds),
        requester=principal.name,
        quorums=quorums,
        verb=statement.verb,
        tables=tuple(sorted({str(use.table) for use in statement.tables})),
        requested_at=now,
        expires_at=now + lifetime,
    )


def vote(approval: Approval, ballot: Vote, *, voter: Principal, now: datetime) -> Approval:
    """The approval after one more voice.

    One refusal ends it. It is approved once every quorum has its votes; a voter who is eligible
    for several quorums counts in each of them. The groups and roles that the voter holds at this
    moment settle what the voter is eligible for.

    Raises:
        Denied: The voter asked for it themselves (``self-approval``), is eligible for no quorum, or
            has voted before (``vote-not-permitted``).
        IntegrityFailed: The ticket takes no votes any more (``ticket-conflict``).
    """
    if folded(voter.name) == folded(approval.requester):
        # Security: four eyes, whatever the voter's roles and however the name is spelled.
        raise Denied(
            f"{voter.name} cannot vote on a ticket of their own.",
            code="self-approval",
            why="approval takes a second person; no role is exempt",
            next_step="ask somebody else who may vote on it",
        )
    rules = tuple(q.rule for q in approval.quorums if is_eligible(voter, q))
    if not rules:
        raise Denied(
            f"{voter.name} may not vote on ticket {approval.ticket}.",
            code="vote-not-permitted",
            why="no rule that asks for this approval names them, their groups or their roles",
            next_step="ask somebody who may vote on it",
        )
    if folded(voter.name) in {folded(earlier.voter) for earlier in approval.votes}:
        raise Denied(
            f"{voter.name} has voted on ticket {approval.ticket} before.",
            code="vote-not-permitted",
            why="every principal has one vote",
            next_step="ask somebody else who may vote on it",
        )
    if approval.state is not ApprovalState.REQUESTED or has_run_out(approval, now):
        raise conflict(approval, now)
    cast = replace(ballot, voter=voter.name, rules=rules, at=latest(approval, now))
    votes = (*approval.votes, cast)
    if not ballot.is_approval:
        return replace(approval, votes=votes, state=ApprovalState.REFUSED)
    counted = replace(approval, votes=votes)
    return replace(counted, state=ApprovalState.APPROVED) if has_quorums(counted) else counted


def consume(approval: Approval, now: datetime) -> Approval:
    """The approval after it cleared its statement, which it does once.

    Raises:
        IntegrityFailed: It is not approved, was used, or has run out (``ticket-conflict``).
    """
    # Security: votes are counted again, so that a state edited in the store clears nothing.
    is_approved = approval.state is ApprovalState.APPROVED and has_quorums(approval)
    if not is_approved or has_run_out(approval, now):
        raise conflict(approval, now)
    return replace(approval, state=ApprovalState.CONSUMED)


def cancel(approval: Approval, principal: Principal, *, now: datetime) -> Approval:
    """The approval after its requester took it back.

    Raises:
        Denied: Somebody else asked for it (``vote-not-permitted``).
        IntegrityFailed: It has ended already (``ticket-conflict``).
    """
    if principal.name != approval.requester:
        raise Denied(
            f"{principal.name} may not cancel ticket {approval.ticket}.",
            code="vote-not-permitted",
            why="only the principal who asked can take a request back",
            next_step="refuse it, if you may vote on it",
        )
    if approval.state not in LIVE or has_run_out(approval, now):
        raise conflict(approval, now)
    return replace(approval, state=ApprovalState.CANCELLED)


def expire(approval: Approval, now: datetime) -> Approval:
    """The approval as time left it: expired if it was live and has run out, else unchanged."""
    if approval.state in LIVE and has_run_out(approval, now):
        return replace(approval, state=ApprovalState.EXPIRED)
    return approval


def is_step(before: Approval, after: Approval) -> bool:
    """Whether ``after`` is ``before`` with nothing but another state and further votes."""
    votes = after.votes[: len(before.votes)]
    return replace(after, state=before.state, votes=votes) == before


def conflict(approval: Approval, now: datetime) -> IntegrityFailed:
    """The error of a step that the ticket, as it stands, does not allow."""
    return IntegrityFailed(
        f"Ticket {approval.ticket} cannot be used for that.",
        code="ticket-conflict",
        why=f"it is {expire(approval, now).state}, or changed meanwhile",
        next_step="look at the ticket, or run the statement again to open a new one",
    )


# ---------------------------------------------------------------- who counts, and until when


def is_eligible(voter: Principal, quorum: ApprovalQuorum) -> bool:
    """Whether a principal may vote for a quorum; any one match is enough."""
    return bool(
        voter.name in quorum.names or voter.groups & quorum.groups or voter.roles & quorum.roles
    )


def has_quorums(approval: Approval) -> bool:
    """Whether nobody refused and every quorum has the votes of enough different principals."""
    # Security: the requester is left out here too, in case a vote was written into the store.
    requester = folded(approval.requester)
    enough = (
        len({folded(v.voter) for v in approval.votes if quorum.rule in v.rules} - {requester})
        >= max(quorum.votes_min, 1)
        for quorum in approval.quorums
    )
    return bool(approval.quorums) and all(v.is_approval for v in approval.votes) and all(enough)


def latest(approval: Approval, now: datetime) -> datetime:
    """The latest moment known: a clock set back does not bring a ticket's time back."""
    return max([now, approval.requested_at, *(ballot.at for ballot in approval.votes)])


def has_run_out(approval: Approval, now: datetime) -> bool:
    """Whether the ticket's time is over."""
    return latest(approval, now) >= approval.expires_at


def folded(name: str) -> str:
    """A name without its case, its ways of spelling and the space around it."""
    # Security: nobody is two pairs of eyes, "ADA" beside "ada", or in full-width letters.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


# ---------------------------------------------------------------- bytes of a binding


def exact(text: str) -> bytes:
    """The bytes of a text, different for different texts, lone surrogates included."""
    return text.encode(errors="surrogatepass")


def prefixed(part: bytes) -> bytes:
    """A part behind its length."""
    return struct.pack(">Q", len(part)) + part


def typed(name: str, value: Any) -> bytes:
    """A bound value behind its name and its type."""
    if type(value) in (list, tuple):
        return b"".join(map(prefixed, [exact(name), b"list", *(typed("", v) for v in value)]))
    # Security: a subclass can show the voter one value and the database another.
    if type(value) not in BYTES:
        raise RequestInvalid(
            f"The value of :{name} cannot be bound." if name else "A list holds a wrong value.",
            code="bind-type",
            why=f"its type is {type(value).__name__}",
            next_step="pass a plain Python value, such as int, str or datetime",
        )
    tag = type(value).__name__.encode()
    return b"".join(map(prefixed, [exact(name), tag, BYTES[type(value)](value)]))


BYTES: Mapping[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"",
    bool: lambda value: b"\1" if value else b"\0",
    int: lambda value: b"%x" % value if value >= 0 else b"-%x" % -value,
    float: lambda value: struct.pack(">d", value),
    str: exact,
    bytes: bytes,
    Decimal: lambda value: str(value).encode(),
    date: lambda value: value.isoformat().encode(),
    time: lambda value: value.isoformat().encode(),
    datetime: lambda value: value.isoformat().encode(),
    timedelta: lambda value: repr(value).encode(),
}

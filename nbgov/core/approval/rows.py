"""Tickets as rows of plain values, the same in every database that keeps them.

Moments are microseconds since 1970 in UTC, so that a schema can compare and add them. Beside each
name of a person stands the one that it is compared by, since SQL cannot fold names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from nbgov.core.approval.rules import folded
from nbgov.model import (
    Approval,
    ApprovalMode,
    ApprovalQuorum,
    ApprovalState,
    Emergency,
    Ending,
    Evidence,
    Highlight,
    Vote,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TEXTS = ("effects", "written", "read", "functions", "obligations", "groups", "roles")


class Row(Protocol):
    """Values by their names, as a driver gives them."""

    def __getitem__(self, name: str, /) -> Any:
        """The value of a column."""
        ...


def to_number(at: datetime) -> int:
    """A moment as microseconds since 1970.

    Example:
        >>> to_number(datetime(1970, 1, 2, tzinfo=UTC))
        86400000000
    """
    return (at - EPOCH) // MICROSECOND


def to_moment(number: int) -> datetime:
    """The moment behind a number of microseconds, in UTC.

    Raises:
        ValueError: No moment is that far away.
    """
    try:
        return EPOCH + timedelta(microseconds=number)
    except OverflowError as error:
        raise ValueError(number) from error


def ticket_row(approval: Approval) -> dict[str, Any]:
    """What was asked, and where it stands."""
    return {
        "ticket": approval.ticket,
        "binding_digest": approval.binding_digest,
        "connection": approval.connection,
        "sql": approval.sql,
        "binds": approval.binds,
        "requester": approval.requester,
        "requester_folded": folded(approval.requester),
        "verb": approval.verb,
        "tables": json.dumps(approval.tables),
        "requested_at": to_number(approval.requested_at),
        "decide_by": to_number(approval.decide_by),
        "mode": approval.mode.value,
        "valid_s": approval.valid_s,
        "evidence": write_evidence(approval.evidence),
        "undoes": approval.undoes,
    } | standing(approval)


def standing(approval: Approval) -> dict[str, Any]:
    """Where a ticket stands: all of its row that a step may change."""
    until, ending = approval.valid_until, approval.ending
    return {
        "state": approval.state.value,
        "valid_until": None if until is None else to_number(until),
        "uses": approval.uses,
        "ended_by": None if ending is None else ending.by,
        "ended_at": None if ending is None else to_number(ending.at),
        "ended_why": None if ending is None else ending.reason,
    }


def quorum_rows(approval: Approval) -> list[dict[str, Any]]:
    """The quorums of a ticket, a row each."""
    return [
        {
            "ticket": approval.ticket,
            "place": place,
            "rule": one.rule,
            "names": json.dumps(sorted(one.names)),
            "groups": json.dumps(sorted(one.groups)),
            "roles": json.dumps(sorted(one.roles)),
            "votes_min": one.votes_min,
            "mode": one.mode.value,
            "wait_s": one.wait_s,
            "valid_s": one.valid_s,
        }
        for place, one in enumerate(approval.quorums)
    ]


def vote_rows(approval: Approval, start: int = 0) -> list[dict[str, Any]]:
    """The votes on a ticket from a place on, a row each."""
    return [
        {
            "ticket": approval.ticket,
            "place": place,
            "voter": one.voter,
            "voter_folded": folded(one.voter),
            "is_approval": int(one.is_approval),
            "reason": one.reason,
            "at": to_number(one.at),
            "rules": json.dumps(one.rules),
        }
        for place, one in enumerate(approval.votes)
        if place >= start
    ]


def emergency_row(approval: Approval, emergency: Emergency) -> dict[str, Any]:
    """How a ticket was used without votes."""
    seen = emergency.reviewed_at
    return {
        "ticket": approval.ticket,
        "requester_folded": folded(approval.requester),
        "reason": emergency.reason,
        "at": to_number(emergency.at),
        "reviewed_by": emergency.reviewed_by,
        "reviewed_by_folded": folded(emergency.reviewed_by),
        "reviewed_at": None if seen is None else to_number(seen),
        "finding": emergency.finding,
    }


def read_ticket(
    row: Row, *, quorums: Iterable[Row], votes: Iterable[Row], emergency: Row | None
) -> Approval:
    """The ticket behind its rows.

    Raises:
        KeyError, TypeError, ValueError: They make no sense.
    """
    ended_at, until = row["ended_at"], row["valid_until"]
    ending = None
    if ended_at is not None:
        ending = Ending(row["ended_by"], to_moment(ended_at), row["ended_why"])
    return Approval(
        ticket=row["ticket"],
        binding_digest=row["binding_digest"],
        connection=row["connection"],
        sql=row["sql"],
        binds=row["binds"],
        requester=row["requester"],
        quorums=tuple(map(read_quorum, quorums)),
        verb=row["verb"],
        tables=tuple(json.loads(row["tables"])),
        requested_at=to_moment(row["requested_at"]),
        decide_by=to_moment(row["decide_by"]),
        mode=ApprovalMode(row["mode"]),
        valid_s=row["valid_s"],
        evidence=read_evidence(row["evidence"]),
        undoes=row["undoes"],
        votes=tuple(map(read_vote, votes)),
        state=ApprovalState(row["state"]),
        valid_until=None if until is None else to_moment(until),
        uses=row["uses"],
        ending=ending,
        emergency=None if emergency is None else read_emergency(emergency),
    )


def read_quorum(row: Row) -> ApprovalQuorum:
    """The quorum in a row."""
    return ApprovalQuorum(
        rule=row["rule"],
        names=frozenset(json.loads(row["names"])),
        groups=frozenset(json.loads(row["groups"])),
        roles=frozenset(json.loads(row["roles"])),
        votes_min=row["votes_min"],
        mode=ApprovalMode(row["mode"]),
        wait_s=row["wait_s"],
        valid_s=row["valid_s"],
    )


def read_vote(row: Row) -> Vote:
    """The vote in a row."""
    return Vote(
        voter=row["voter"],
        is_approval=bool(row["is_approval"]),
        reason=row["reason"],
        at=to_moment(row["at"]),
        rules=tuple(json.loads(row["rules"])),
    )


def read_emergency(row: Row) -> Emergency:
    """How the glass was broken, in a row."""
    seen = row["reviewed_at"]
    return Emergency(
        reason=row["reason"],
        at=to_moment(row["at"]),
        reviewed_by=row["reviewed_by"],
        reviewed_at=None if seen is None else to_moment(seen),
        finding=row["finding"],
    )


def write_evidence(evidence: Evidence) -> str:
    """What voters are told, as JSON.

    Example:
        >>> read_evidence(write_evidence(Evidence(rows_changed=3))) == Evidence(rows_changed=3)
        True
    """
    # A plain dict, since asdict cannot copy every mapping.
    plain = asdict(replace(evidence, origin=dict(evidence.origin)))
    return json.dumps(plain, separators=(",", ":"), sort_keys=True)


def read_evidence(text: str) -> Evidence:
    """What voters are told, from JSON.

    Raises:
        KeyError, TypeError, ValueError: It makes no sense.
    """
    held = json.loads(text)
    held |= {name: tuple(held[name]) for name in TEXTS}
    held["highlights"] = tuple(Highlight(**one) for one in held["highlights"])
    return Evidence(**held)

"""Approvals in a SQLite file: the rules are core's, and here each step is atomic."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from pathlib import Path

from nbgov.backends.sqlite.database import Database, decoding, time_text
from nbgov.core.approval import LIVE, expire, is_step
from nbgov.model import Approval, ApprovalQuorum, ApprovalState, Vote


class SqliteApprovalStore:
    """An :class:`~nbgov.ports.ApprovalStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def open(self, approval: Approval) -> Approval:
        """Keep a new ticket, or return the live one with the same binding."""
        with self.database.writing() as connection:
            found = read_latest(connection, approval.binding_digest)
            if found is not None and found.state in LIVE:
                current = expire(found, approval.requested_at)
                if current.state in LIVE:
                    return found
                move(connection, found, current)
            insert_approval(connection, approval)
            return approval

    def get(self, ticket: str) -> Approval | None:
        """The approval behind a ticket."""
        with self.database.reading() as connection:
            row = connection.execute(
                "SELECT * FROM approvals WHERE ticket = ?", (ticket,)
            ).fetchone()
            return read_approval(connection, row) if row else None

    def find(self, binding_digest: bytes) -> Approval | None:
        """The latest approval that is bound to exactly this request, in whatever state."""
        with self.database.reading() as connection:
            return read_latest(connection, binding_digest)

    def swap(self, before: Approval, after: Approval) -> bool:
        """Replace ``before`` by ``after`` if nobody changed it meanwhile; say whether it was done.

        Raises:
            RuntimeError: The step changes more than the state, or takes a vote back.
        """
        if not is_step(before, after):
            raise RuntimeError("A ticket changes nothing but its state, and gains votes.")
        with self.database.writing() as connection:
            return move(connection, before, after)

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM approvals WHERE state IN ('requested', 'approved') ORDER BY number"
            ).fetchall()
            return tuple(read_approval(connection, row) for row in rows)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


# ---------------------------------------------------------------- approvals as rows


def insert_approval(connection: sqlite3.Connection, approval: Approval) -> None:
    """Add a ticket with its quorums; it has no votes yet."""
    connection.execute(
        "INSERT INTO approvals (ticket, binding_digest, connection, sql, binds, requester, verb,"
        " tables, requested_at, expires_at, state, revision) VALUES (:ticket, :binding_digest,"
        " :connection, :sql, :binds, :requester, :verb, :tables, :requested_at, :expires_at,"
        " :state, 0)",
        {
            "ticket": approval.ticket,
            "binding_digest": approval.binding_digest,
            "connection": approval.connection,
            "sql": approval.sql,
            "binds": approval.binds,
            "requester": approval.requester,
            "verb": approval.verb,
            "tables": json.dumps(approval.tables),
            "requested_at": time_text(approval.requested_at),
            "expires_at": time_text(approval.expires_at),
            "state": approval.state.value,
        },
    )
    connection.executemany(
        "INSERT INTO quorums (ticket, position, rule, names, groups, roles, votes_min)"
        " VALUES (:ticket, :position, :rule, :names, :groups, :roles, :votes_min)",
        [
            {
                "ticket": approval.ticket,
                "position": position,
                "rule": quorum.rule,
                "names": json.dumps(sorted(quorum.names)),
                "groups": json.dumps(sorted(quorum.groups)),
                "roles": json.dumps(sorted(quorum.roles)),
                "votes_min": quorum.votes_min,
            }
            for position, quorum in enumerate(approval.quorums)
        ],
    )


def move(connection: sqlite3.Connection, before: Approval, after: Approval) -> bool:
    """Compare and swap: the state and the number of votes show whether anybody was faster."""
    moved = connection.execute(
        "UPDATE approvals SET state = :after, revision = :votes WHERE ticket = :ticket"
        " AND binding_digest = :binding_digest AND state = :before AND revision = :revision",
        {
            "after": after.state.value,
            "votes": len(after.votes),
            "ticket": before.ticket,
            "binding_digest": before.binding_digest,
            "before": before.state.value,
            "revision": len(before.votes),
        },
    )
    if moved.rowcount != 1:
        return False
    connection.executemany(
        "INSERT INTO votes (ticket, position, voter, is_approval, reason, at, rules)"
        " VALUES (:ticket, :position, :voter, :is_approval, :reason, :at, :rules)",
        [
            {
                "ticket": after.ticket,
                "position": position,
                "voter": vote.voter,
                "is_approval": vote.is_approval,
                "reason": vote.reason,
                "at": time_text(vote.at),
                "rules": json.dumps(vote.rules),
            }
            for position, vote in enumerate(after.votes)
            if position >= len(before.votes)
        ],
    )
    return True


def read_latest(connection: sqlite3.Connection, binding_digest: bytes) -> Approval | None:
    """The ticket that was opened last for a binding."""
    row = connection.execute(
        "SELECT * FROM approvals WHERE binding_digest = ? ORDER BY number DESC LIMIT 1",
        (binding_digest,),
    ).fetchone()
    return read_approval(connection, row) if row else None


def read_approval(connection: sqlite3.Connection, row: sqlite3.Row) -> Approval:
    """The approval in a row, with its quorums and votes."""
    quorums = connection.execute(
        "SELECT * FROM quorums WHERE ticket = ? ORDER BY position", (row["ticket"],)
    )
    votes = connection.execute(
        "SELECT * FROM votes WHERE ticket = ? ORDER BY position", (row["ticket"],)
    )
    with decoding("a ticket"):
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
            requested_at=datetime.fromisoformat(row["requested_at"]),
            expires_at=datetime.fromisoformat(row["expires_at"]),
            votes=tuple(map(read_vote, votes)),
            state=ApprovalState(row["state"]),
        )


def read_quorum(row: sqlite3.Row) -> ApprovalQuorum:
    """The quorum in a row."""
    return ApprovalQuorum(
        rule=row["rule"],
        names=frozenset(json.loads(row["names"])),
        groups=frozenset(json.loads(row["groups"])),
        roles=frozenset(json.loads(row["roles"])),
        votes_min=row["votes_min"],
    )


def read_vote(row: sqlite3.Row) -> Vote:
    """The vote in a row."""
    return Vote(
        voter=row["voter"],
        is_approval=bool(row["is_approval"]),
        reason=row["reason"],
        at=datetime.fromisoformat(row["at"]),
        rules=tuple(json.loads(row["rules"])),
    )

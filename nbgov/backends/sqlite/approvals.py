"""Approvals in a SQLite file: the rules are core's and the schema's; here each step is atomic."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgov.backends.sqlite.database import Database, decoding
from nbgov.core.approval import (
    LIVE,
    expire,
    folded,
    forged,
    moments,
    require_fresh,
    require_step,
    rows,
)
from nbgov.model import Approval

OPEN_SQL = "SELECT * FROM approvals WHERE state IN ('requested', 'approved') ORDER BY number"
NEWEST_SQL = "SELECT * FROM approvals ORDER BY number DESC LIMIT ?"
UNREVIEWED_SQL = """
    SELECT * FROM approvals WHERE ticket IN (
        SELECT ticket FROM emergencies WHERE requester_folded = ? AND reviewed_at IS NULL
    ) ORDER BY number
"""


class SqliteApprovalStore:
    """An :class:`~nbgov.ports.ApprovalStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def now(self, at: datetime) -> datetime:
        """The store's own time: ``at``, or the latest moment it was ever told."""
        with self.database.writing() as connection:
            return tell(connection, at)

    def open(self, approval: Approval) -> Approval:
        """Keep a new ticket, or return the live one with the same binding.

        Raises:
            IntegrityFailed: It was voted on or used, or its name is taken (``ticket-forged``).
        """
        require_fresh(approval)
        with self.writing(approval) as connection:
            now = tell(connection, approval.requested_at)
            found = read_latest(connection, approval.binding_digest)
            if found is not None and found.state in LIVE:
                current = expire(found, now)
                if current.state in LIVE:
                    return found
                move(connection, found, current)
            insert(connection, "approvals", [rows.ticket_row(approval)])
            insert(connection, "quorums", rows.quorum_rows(approval))
            return approval

    def get(self, ticket: str) -> Approval | None:
        """The approval behind a ticket."""
        with self.database.reading() as connection:
            return read_ticket(connection, ticket)

    def find(self, binding_digest: bytes) -> Approval | None:
        """The latest approval that is bound to exactly this request, in whatever state."""
        with self.database.reading() as connection:
            return read_latest(connection, binding_digest)

    def swap(self, before: Approval, after: Approval) -> bool:
        """Replace ``before`` by ``after`` if nobody changed it meanwhile; say whether it was done.

        Raises:
            IntegrityFailed: The step is none that a ticket can take (``ticket-forged``).
        """
        with self.writing(before) as connection:
            now = tell(connection, max(moments(after)))
            found = read_ticket(connection, before.ticket)
            if found is None or before not in (found, expire(found, now)):
                return False
            if found != before:
                move(connection, found, before)
            require_step(before, after, now)
            move(connection, before, after)
            return True

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        return self.listed(OPEN_SQL)

    def history(self, *, limit: int) -> tuple[Approval, ...]:
        """The tickets that were opened last, in whatever state, newest first."""
        return self.listed(NEWEST_SQL, max(limit, 0))

    def unreviewed(self, requester: str) -> tuple[Approval, ...]:
        """Tickets that a principal used without votes and that nobody looked at yet."""
        return self.listed(UNREVIEWED_SQL, folded(requester))

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def listed(self, sql: str, *values: Any) -> tuple[Approval, ...]:
        """The tickets that a question finds."""
        with self.database.reading() as connection:
            found = connection.execute(sql, values).fetchall()
            return tuple(read_approval(connection, row) for row in found)

    @contextmanager
    def writing(self, approval: Approval) -> Iterator[sqlite3.Connection]:
        """A transaction that changes a ticket; what the schema does not let pass was forged."""
        with self.database.writing() as connection:
            try:
                yield connection
            except sqlite3.IntegrityError as error:
                raise forged(approval.ticket) from error


# ---------------------------------------------------------------- approvals as rows


def tell(connection: sqlite3.Connection, at: datetime) -> datetime:
    """Tell the clock of tickets a moment; the latest one that it was ever told."""
    [(latest,)] = connection.execute(
        "UPDATE approval_clock SET at = max(at, ?) RETURNING at", (rows.to_number(at),)
    ).fetchall()
    return rows.to_moment(latest)


def insert(connection: sqlite3.Connection, table: str, new: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a table."""
    for row in new:
        marks = ", ".join(f":{name}" for name in row)
        sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"  # noqa: S608 - our names
        connection.execute(sql, row)


def move(connection: sqlite3.Connection, before: Approval, after: Approval) -> None:
    """Write down a step; first what it rests on, then where the ticket stands."""
    insert(connection, "votes", rows.vote_rows(after, len(before.votes)))
    if after.emergency is not None and after.emergency != before.emergency:
        row = rows.emergency_row(after, after.emergency)
        if before.emergency is None:
            insert(connection, "emergencies", [row])
        else:
            connection.execute(
                "UPDATE emergencies SET reviewed_by = :reviewed_by, finding = :finding,"
                " reviewed_by_folded = :reviewed_by_folded, reviewed_at = :reviewed_at"
                " WHERE ticket = :ticket",
                row,
            )
    standing = rows.standing(after)
    if standing != rows.standing(before):
        changes = ", ".join(f"{name} = :{name}" for name in standing)
        sql = f"UPDATE approvals SET {changes} WHERE ticket = :ticket"  # noqa: S608 - our names
        connection.execute(sql, {**standing, "ticket": before.ticket})


def read_ticket(connection: sqlite3.Connection, ticket: str) -> Approval | None:
    """The approval of a name."""
    row = connection.execute("SELECT * FROM approvals WHERE ticket = ?", (ticket,)).fetchone()
    return read_approval(connection, row) if row else None


def read_latest(connection: sqlite3.Connection, binding_digest: bytes) -> Approval | None:
    """The ticket that was opened last for a binding."""
    row = connection.execute(
        "SELECT * FROM approvals WHERE binding_digest = ? ORDER BY number DESC LIMIT 1",
        (binding_digest,),
    ).fetchone()
    return read_approval(connection, row) if row else None


def read_approval(connection: sqlite3.Connection, row: sqlite3.Row) -> Approval:
    """The approval in a row, with its quorums, its votes and its emergency."""

    def part(sql: str) -> list[sqlite3.Row]:
        return connection.execute(sql, (row["ticket"],)).fetchall()

    quorums = part("SELECT * FROM quorums WHERE ticket = ? ORDER BY place")
    votes = part("SELECT * FROM votes WHERE ticket = ? ORDER BY place")
    emergency = next(iter(part("SELECT * FROM emergencies WHERE ticket = ?")), None)
    with decoding("a ticket"):
        return rows.read_ticket(row, quorums=quorums, votes=votes, emergency=emergency)

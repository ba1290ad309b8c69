"""Approvals in a PostgreSQL database that several gateways share.

The rules are core's and the schema's. A change begins with the clock of tickets: its row is locked,
so that changes follow one another, and each sees all that came before it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from nbgov.backends.postgresql.approval_schema import (
    VERSION,
    insert_sql,
    setup_statements,
    update_sql,
)
from nbgov.backends.postgresql.audit_tables import Tables, load_driver, lock_number
from nbgov.backends.postgresql.audit_writer import reason
from nbgov.backends.postgresql.origins import sqlstate_of
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
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from nbgov.model import Approval

Answer = TypeVar("Answer")
# SQLSTATE class of what a constraint or a rule of the schema refuses.
CONSTRAINT = "23"
SETUP_LOCK = "nbgov_approval"
TELL_SQL = """
    UPDATE nbgov_approval.clock SET at = greatest(at, $1) WHERE id = 1 RETURNING at
"""
FIND_SQL = """
    SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'nbgov_approval' AND tablename = 'clock'
"""
TICKETS_SQL = "SELECT a.* FROM nbgov_approval.approvals AS a "


class PostgreSQLApprovalStore:
    """An :class:`~nbgov.ports.ApprovalStore` in tables that others may share.

    Nothing is opened before it is needed, and a connection that broke is opened anew.

    Args:
        url: Where the server is, with the account.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.lock = threading.RLock()
        self.tables: Tables | None = None
        self.pid = 0

    def now(self, at: datetime) -> datetime:
        """The store's own time: ``at``, or the latest moment it was ever told."""
        return self.asked(lambda tables: tell(tables, at), begin="BEGIN")

    def open(self, approval: Approval) -> Approval:
        """Keep a new ticket, or return the live one with the same binding.

        Raises:
            IntegrityFailed: It was voted on or used, or its name is taken (``ticket-forged``).
        """
        require_fresh(approval)

        def change(tables: Tables) -> Approval:
            now = tell(tables, approval.requested_at)
            found = read_latest(tables, approval.binding_digest)
            if found is not None and found.state in LIVE:
                current = expire(found, now)
                if current.state in LIVE:
                    return found
                move(tables, found, current)
            insert(tables, "approvals", [rows.ticket_row(approval)])
            insert(tables, "quorums", rows.quorum_rows(approval))
            return approval

        return self.asked(change, begin="BEGIN", ticket=approval.ticket)

    def get(self, ticket: str) -> Approval | None:
        """The approval behind a ticket."""
        return self.asked(lambda tables: read_ticket(tables, ticket))

    def find(self, binding_digest: bytes) -> Approval | None:
        """The latest approval that is bound to exactly this request, in whatever state."""
        return self.asked(lambda tables: read_latest(tables, binding_digest))

    def swap(self, before: Approval, after: Approval) -> bool:
        """Replace ``before`` by ``after`` if nobody changed it meanwhile; say whether it was done.

        Raises:
            IntegrityFailed: The step is none that a ticket can take (``ticket-forged``).
        """

        def change(tables: Tables) -> bool:
            now = tell(tables, max(moments(after)))
            found = read_ticket(tables, before.ticket)
            if found is None or before not in (found, expire(found, now)):
                return False
            if found != before:
                move(tables, found, before)
            require_step(before, after, now)
            move(tables, before, after)
            return True

        return self.asked(change, begin="BEGIN", ticket=before.ticket)

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        sql = TICKETS_SQL + "WHERE state IN ('requested', 'approved') ORDER BY number"
        return self.asked(lambda tables: read_all(tables, sql))

    def history(self, *, limit: int) -> tuple[Approval, ...]:
        """The tickets that were opened last, in whatever state, newest first."""
        sql = TICKETS_SQL + "ORDER BY number DESC LIMIT $1"
        return self.asked(lambda tables: read_all(tables, sql, max(limit, 0)))

    def unreviewed(self, requester: str) -> tuple[Approval, ...]:
        """Tickets that a principal used without votes and that nobody looked at yet."""
        sql = TICKETS_SQL + (
            "JOIN nbgov_approval.emergencies AS e USING (ticket)"
            " WHERE e.requester_folded = $1 AND e.reviewed_at IS NULL ORDER BY a.number"
        )
        return self.asked(lambda tables: read_all(tables, sql, folded(requester)))

    def close(self) -> None:
        """Let go of the connection. A later call opens one anew."""
        with self.lock:
            if self.tables is not None and self.pid == os.getpid():
                self.tables.close()
            self.tables = None

    def asked(
        self,
        question: Callable[[Tables], Answer],
        *,
        begin: str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ticket: str = "",
    ) -> Answer:
        """What a transaction answers; it is durable, or nothing of it is there.

        Args:
            question: What it does.
            begin: How it begins.
            ticket: Which ticket it changes.

        Raises:
            BackendFailed: The server failed, or is not there (code ``state-unavailable``).
            IntegrityFailed: The schema does not let the change pass (``ticket-forged``).
        """
        _, errors = load_driver()
        problem, is_forged = "", False
        with self.lock:
            try:
                tables = self.begun(begin, errors)
                answer = question(tables)
                tables.ask("COMMIT")
            except errors as error:
                problem = reason(error)
                is_forged = sqlstate_of(error).startswith(CONSTRAINT)
            except ValueError:
                problem = "a ticket does not decode"
            except BaseException:
                self.close()
                raise
            else:
                return answer
            # Security: raised out here, so that no frame of the driver shows the account.
            self.close()
        raise forged(ticket) if is_forged else unavailable(problem)

    def begun(self, begin: str, errors: tuple[type[Exception], ...]) -> Tables:
        """A connection of this process on which a transaction has begun.

        Raises:
            BackendFailed: The tables are of another version, or the server does not keep what it
                commits.
        """
        # A connection does not survive a fork; the parent's is left alone.
        if self.tables is not None and self.pid == os.getpid():
            try:
                self.tables.ask(begin)
            except errors:
                # One that the server has dropped is replaced, once.
                self.close()
            else:
                return self.tables
        self.tables, self.pid = Tables(self.url), os.getpid()
        set_up(self.tables)
        self.tables.ask(begin)
        return self.tables


# ---------------------------------------------------------------- approvals as rows


def set_up(tables: Tables) -> None:
    """Make the tables and rules where nobody has.

    Raises:
        BackendFailed: They are of another version, or the server does not keep what it commits
            (code ``state-unavailable``).
    """
    # Security: such a server tells of commits that a loss of power undoes.
    if tables.ask("SHOW fsync") == [["off"]]:
        raise unavailable("the server runs with fsync = off")
    if not tables.ask(FIND_SQL):
        tables.ask("BEGIN")
        tables.ask("SELECT pg_advisory_xact_lock($1)", lock_number(SETUP_LOCK))
        # Two gateways that start at once must not make the tables twice. What to_regclass remembers
        # of a schema that was not there would be wrong here; this reads the server's own tables.
        if not tables.ask(FIND_SQL):
            for sql in setup_statements():
                tables.link.execute_simple(sql)
        tables.ask("COMMIT")
    [[version]] = tables.ask("SELECT version FROM nbgov_approval.clock")
    if version != VERSION:
        raise unavailable(f"its schema has version {version}; this nbgov reads {VERSION}")


def tell(tables: Tables, at: datetime) -> datetime:
    """Tell the clock of tickets a moment; the latest one that it was ever told."""
    [[latest]] = tables.ask(TELL_SQL, rows.to_number(at))
    return rows.to_moment(latest)


def insert(tables: Tables, table: str, new: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a table."""
    for row in new:
        tables.ask(insert_sql(table, row), *row.values())


def move(tables: Tables, before: Approval, after: Approval) -> None:
    """Write down a step; first what it rests on, then where the ticket stands."""
    insert(tables, "votes", rows.vote_rows(after, len(before.votes)))
    if after.emergency is not None and after.emergency != before.emergency:
        row = rows.emergency_row(after, after.emergency)
        if before.emergency is None:
            insert(tables, "emergencies", [row])
        else:
            del row["ticket"]
            tables.ask(update_sql("emergencies", row), *row.values(), before.ticket)
    standing = rows.standing(after)
    if standing != rows.standing(before):
        tables.ask(update_sql("approvals", standing), *standing.values(), before.ticket)


def read_ticket(tables: Tables, ticket: str) -> Approval | None:
    """The approval of a name."""
    return next(iter(read_all(tables, TICKETS_SQL + "WHERE ticket = $1", ticket)), None)


def read_latest(tables: Tables, binding_digest: bytes) -> Approval | None:
    """The ticket that was opened last for a binding."""
    sql = TICKETS_SQL + "WHERE binding_digest = $1 ORDER BY number DESC LIMIT 1"
    return next(iter(read_all(tables, sql, binding_digest)), None)


def read_all(tables: Tables, sql: str, *values: Any) -> tuple[Approval, ...]:
    """The approvals that a question finds, with their quorums, votes and emergencies."""
    return tuple(read_approval(tables, row) for row in records(tables, sql, *values))


def read_approval(tables: Tables, row: Mapping[str, Any]) -> Approval:
    """The approval in a row.

    Raises:
        ValueError: It makes no sense.
    """
    parts = {
        table: records(
            tables,
            f"SELECT * FROM nbgov_approval.{table} WHERE ticket = $1 ORDER BY {order}",  # noqa: S608
            row["ticket"],
        )
        for table, order in (("quorums", "place"), ("votes", "place"), ("emergencies", "ticket"))
    }
    try:
        return rows.read_ticket(
            row,
            quorums=parts["quorums"],
            votes=parts["votes"],
            emergency=next(iter(parts["emergencies"]), None),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(row["ticket"]) from error


def records(tables: Tables, sql: str, *values: Any) -> list[dict[str, Any]]:
    """The rows of an answer, each with the names of its columns."""
    told = tables.link.execute_unnamed(sql, values)
    names = [column["name"] for column in told.columns or ()]
    return [dict(zip(names, row, strict=True)) for row in told.rows or ()]


def unavailable(why: str) -> BackendFailed:
    """The error of a database that tickets cannot be kept in."""
    return BackendFailed(
        "The database with the approval tickets cannot be read or written.",
        code="state-unavailable",
        why=why,
        next_step="look at the database under approvals: store: in nbgov.yaml",
    )

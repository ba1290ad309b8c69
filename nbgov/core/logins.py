"""What the processes of a gateway know together, as rows: the SQL that SQLite and PostgreSQL share.

A store gives :class:`Book` its transactions; who is let in, and what is stopped, is the business of
:mod:`nbgov.gateway.house`. Moments are whole microseconds since 1970. Cases:
``tests/backends/test_gateway_store.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from nbgov.core.approval.rules import folded
from nbgov.core.transport import read, write
from nbgov.errors import IdentityFailed
from nbgov.model import Login, Node, Stop, StopKind

Ask: TypeAlias = Callable[..., Sequence[Sequence[Any]]]
Transaction: TypeAlias = Callable[[], AbstractContextManager[Ask]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# How long a login that is over is remembered, so that its owner is told why.
REMEMBERED = timedelta(days=1)
# Spent nonces are forgotten when the tickets that they were in are long over.
SPENT_FOR = timedelta(minutes=10)

# Both products know these types; BLOB and INTEGER have other names in PostgreSQL.
SCHEMA = """
CREATE TABLE logins (
    token_digest {blob} NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    principal TEXT NOT NULL,
    opened_at {number} NOT NULL,
    expires_at {number} NOT NULL,
    ended_at {number},
    facts TEXT NOT NULL
){strict};
CREATE INDEX logins_by_principal ON logins (principal);
CREATE INDEX logins_by_expiry ON logins (expires_at);
CREATE TABLE names (
    folded TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    subject TEXT NOT NULL UNIQUE
){strict};
CREATE TABLE stops (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    at {number} NOT NULL,
    facts TEXT NOT NULL,
    PRIMARY KEY (kind, name)
){strict};
CREATE TABLE nodes (
    id TEXT NOT NULL PRIMARY KEY,
    seen_at {number} NOT NULL,
    facts TEXT NOT NULL
){strict};
CREATE TABLE keys (
    name TEXT NOT NULL PRIMARY KEY,
    value {blob} NOT NULL
){strict};
"""
SPENT_SCHEMA = """
CREATE TABLE spent (
    nonce {blob} NOT NULL PRIMARY KEY,
    until {number} NOT NULL
){strict};
CREATE INDEX spent_by_time ON spent (until);
"""


def number_of(at: datetime) -> int:
    """A moment as a row has it."""
    return (at - EPOCH) // MICROSECOND


def moment_of(number: int) -> datetime:
    """The moment behind :func:`number_of`."""
    return EPOCH + number * MICROSECOND


class Book:
    """A :class:`~nbgov.ports.GatewayStore` in tables.

    Args:
        transaction: Opens a transaction that nobody else's comes between, and gives what asks in
            it: SQL with ``?`` in the place of values, then the values.
        spending: The same for nonces, whose transactions may be lost when the power fails.
        close: Lets go of the tables.
    """

    def __init__(
        self, transaction: Transaction, *, spending: Transaction, close: Callable[[], None]
    ) -> None:
        self.transaction = transaction
        self.spending = spending
        self.close = close

    # ------------------------------------------------------------ logins

    def open_login(self, login: Login, token_digest: bytes) -> None:
        """Keep a login under the SHA-256 of its token. The token itself is kept nowhere."""
        with self.transaction() as ask:
            ask("DELETE FROM logins WHERE expires_at < ?", number_of(login.opened_at - REMEMBERED))
            ask(
                "INSERT INTO logins (token_digest, id, principal, opened_at, expires_at, facts)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                token_digest,
                login.id,
                login.principal.name,
                number_of(login.opened_at),
                number_of(login.expires_at),
                write(login),
            )

    def login(self, token_digest: bytes) -> Login | None:
        """The login behind a token, whether it has ended or not."""
        with self.transaction() as ask:
            rows = ask("SELECT facts FROM logins WHERE token_digest = ?", token_digest)
        return read(rows[0][0]) if rows else None

    def logins(self, *, now: datetime) -> tuple[Login, ...]:
        """The logins that have neither ended nor expired, newest first."""
        with self.transaction() as ask:
            rows = ask(
                "SELECT facts FROM logins WHERE ended_at IS NULL AND expires_at > ?"
                " ORDER BY opened_at DESC, id DESC",
                number_of(now),
            )
        return tuple(read(text) for [text] in rows)

    def end_logins(
        self, *, login: str = "", principal: str = "", by: str, at: datetime, reason: str
    ) -> tuple[Login, ...]:
        """End one login by its id, or all of a principal, and return those that were open."""
        ended = []
        with self.transaction() as ask:
            rows = ask(
                "SELECT facts FROM logins WHERE ended_at IS NULL AND expires_at > ?"
                " AND (id = ? OR principal = ?) ORDER BY opened_at, id",
                number_of(at),
                login,
                principal,
            )
            for [text] in rows:
                one = replace(read(text), ended_at=at, ended_by=by, reason=reason)
                sql = "UPDATE logins SET ended_at = ?, facts = ? WHERE id = ?"
                ask(sql, number_of(at), write(one), one.id)
                ended.append(one)
        return tuple(ended)

    def ended(self, *, since: datetime) -> frozenset[str]:
        """Ids of the logins that were ended before their time, since a moment."""
        with self.transaction() as ask:
            rows = ask("SELECT id FROM logins WHERE ended_at >= ?", number_of(since))
        return frozenset(str(one) for [one] in rows)

    # ------------------------------------------------------------ names

    def bind_name(self, name: str, subject: str) -> str:
        """The name that a subject has here for good: the first one that it came with.

        Raises:
            IdentityFailed: Another subject has the name (``name-taken``).
        """
        with self.transaction() as ask:
            rows = ask("SELECT name FROM names WHERE subject = ?", subject)
            if rows:
                return str(rows[0][0])
            # Security: a name that reads the same is the same, or one could be taken for another.
            sql = "INSERT INTO names (folded, name, subject) VALUES (?, ?, ?)"
            kept = ask(
                sql + " ON CONFLICT (folded) DO NOTHING RETURNING name",
                folded(name),
                name,
                subject,
            )
        if not kept:
            raise name_taken(name)
        return name

    def names(self) -> tuple[tuple[str, str], ...]:
        """Every name and its subject, by name."""
        with self.transaction() as ask:
            rows = ask("SELECT name, subject FROM names")
        return tuple(sorted((str(name), str(subject)) for name, subject in rows))

    def free_name(self, name: str) -> bool:
        """Let another subject have a name; whether anybody had it."""
        with self.transaction() as ask:
            sql = "DELETE FROM names WHERE folded = ? RETURNING name"
            return bool(ask(sql, folded(name)))

    # ------------------------------------------------------------ tickets

    def key(self, name: str, fresh: bytes) -> bytes:
        """The key of a name: the one that is kept, else this one from now on."""
        with self.transaction() as ask:
            ask("INSERT INTO keys VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, fresh)
            [[key]] = ask("SELECT value FROM keys WHERE name = ?", name)
        return bytes(key)

    def spend(self, nonce: bytes, *, until: datetime) -> bool:
        """Use a nonce; ``False`` where it was used before. It is forgotten after ``until``."""
        with self.spending() as ask:
            ask("DELETE FROM spent WHERE until < ?", number_of(until - SPENT_FOR))
            sql = "INSERT INTO spent VALUES (?, ?) ON CONFLICT (nonce) DO NOTHING RETURNING until"
            return bool(ask(sql, nonce, number_of(until)))

    # ------------------------------------------------------------ stops

    def stop(self, stop: Stop) -> None:
        """Stop a connection or a principal, in place of an earlier stop of it."""
        with self.transaction() as ask:
            ask(
                "INSERT INTO stops (kind, name, at, facts) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (kind, name) DO UPDATE SET at = excluded.at, facts = excluded.facts",
                stop.kind.value,
                stop.name,
                number_of(stop.at),
                write(stop),
            )

    def lift(self, kind: StopKind, name: str) -> Stop | None:
        """Lift a stop; the stop that there was."""
        with self.transaction() as ask:
            sql = "DELETE FROM stops WHERE kind = ? AND name = ? RETURNING facts"
            rows = ask(sql, kind.value, name)
        return read(rows[0][0]) if rows else None

    def stops(self) -> tuple[Stop, ...]:
        """Everything that is stopped, oldest first."""
        with self.transaction() as ask:
            rows = ask("SELECT facts FROM stops ORDER BY at, kind, name")
        return tuple(read(text) for [text] in rows)

    # ------------------------------------------------------------ processes

    def tell(self, node: Node) -> None:
        """Say what a process of the gateway does, in place of what it said last."""
        with self.transaction() as ask:
            ask(
                "INSERT INTO nodes (id, seen_at, facts) VALUES (?, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET seen_at = excluded.seen_at, facts = excluded.facts",
                node.id,
                number_of(node.seen_at),
                write(node),
            )

    def nodes(self, *, since: datetime) -> tuple[Node, ...]:
        """The processes that have told of themselves since, by id."""
        with self.transaction() as ask:
            rows = ask("SELECT facts FROM nodes WHERE seen_at >= ? ORDER BY id", number_of(since))
        return tuple(read(text) for [text] in rows)

    def leave(self, node: str) -> None:
        """Forget a process that ends."""
        with self.transaction() as ask:
            ask("DELETE FROM nodes WHERE id = ?", node)


def name_taken(name: str) -> IdentityFailed:
    """The error of a name that somebody else has."""
    return IdentityFailed(
        f"The name {name} belongs to somebody else here.",
        code="name-taken",
        why="a name stays with the first identity that came with it, so that rights do not move",
        next_step=f"ask an administrator: nbgov gateway names free {name}",
    )

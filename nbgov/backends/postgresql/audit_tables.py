"""The tables of audit logs in a PostgreSQL database: ``docs/spec/audit-log-postgresql.md``.

``nbgov_audit.entry`` holds the stored bytes of entries, ``node`` the digests of the trees in the
order of storage, ``note`` the signed notes, and ``attempt`` which attempts could still be open.
Each row names its log, so that any number of them share the tables. What the bytes mean is the
business of :mod:`nbgov.core.audit`, and who may write that of the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from nbgov.backends.postgresql.origins import connect, give_up
from nbgov.errors import BackendFailed, IntegrityFailed

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy.engine import URL

ROWS_FETCHED = 500
NODES_KEPT_MAX = 50_000
INDEX_MAX = 2**63 - 1
# What the server answers where nobody has made the tables yet.
NO_TABLE, NO_SCHEMA = "42P01", "3F000"
UNIQUE_VIOLATION = "23505"
SETUP_LOCK = "nbgov_audit"
# Two gateways that start at once must not make the tables twice.
SETUP_SQL = """
    BEGIN;
    SELECT pg_advisory_xact_lock({lock});
    CREATE SCHEMA IF NOT EXISTS nbgov_audit;
    CREATE TABLE IF NOT EXISTS nbgov_audit.entry (
        origin text COLLATE "C", index bigint, line bytea NOT NULL, PRIMARY KEY (origin, index)
    );
    CREATE TABLE IF NOT EXISTS nbgov_audit.node (
        origin text COLLATE "C", place bigint, digest bytea NOT NULL, PRIMARY KEY (origin, place)
    );
    CREATE TABLE IF NOT EXISTS nbgov_audit.note (
        origin text COLLATE "C", name text COLLATE "C", text text NOT NULL,
        PRIMARY KEY (origin, name)
    );
    CREATE TABLE IF NOT EXISTS nbgov_audit.attempt (
        origin text COLLATE "C", index bigint, PRIMARY KEY (origin, index)
    );
    COMMIT
"""
# Security: a commit that was told is on the disk of the server, whatever the account's settings
# say; and no table of another schema stands in for one of these.
SESSION_SQL = """
    SET synchronous_commit = on;
    SET search_path = pg_catalog;
    SET standard_conforming_strings = on;
    SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('idle_session_timeout', 'lock_timeout', 'statement_timeout')
"""
LINES_SQL = """
    DECLARE nbgov_lines NO SCROLL CURSOR FOR
    SELECT line FROM nbgov_audit.entry
    WHERE origin = $1 AND index >= $2 AND index < $3 ORDER BY index
"""
COMMIT_SQL = """
    WITH closed AS (
        DELETE FROM nbgov_audit.attempt
        WHERE origin = $1::text AND index = ANY ($4::text::bigint[])
    ), opened AS (
        INSERT INTO nbgov_audit.attempt
        SELECT $1::text, index FROM unnest($5::text::bigint[]) AS index
    )
    INSERT INTO nbgov_audit.entry
    SELECT $1::text, $2::text::bigint + place - 1, line
    FROM unnest($3::text::bytea[]) WITH ORDINALITY AS new(line, place)
"""
NODES_SQL = """
    INSERT INTO nbgov_audit.node
    SELECT $1::text, $2::text::bigint + place - 1, digest
    FROM unnest($3::text::bytea[]) WITH ORDINALITY AS new(digest, place)
    ON CONFLICT (origin, place) DO UPDATE SET digest = EXCLUDED.digest
"""
NOTE_SQL = """
    INSERT INTO nbgov_audit.note VALUES ($1::text, $2::text, $3::text)
    ON CONFLICT (origin, name) DO UPDATE SET text = EXCLUDED.text
"""


class Tables:
    """One connection to the tables, for one thread at a time.

    Args:
        url: Where the server is, with the account.

    Raises:
        BackendFailed: The driver is not installed (code ``driver-missing``).
        Exception: One of ``errors``: the server is not there.
    """

    def __init__(self, url: URL) -> None:
        core, self.errors = load_driver()
        self.link = connect(core, url)
        self.prepared: tuple[Any, ...] = ()
        try:
            self.link.execute_simple(SESSION_SQL)
        except self.errors:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, whatever state it is in. The server lets go of its lock."""
        give_up(self.link, self.errors)

    # ------------------------------------------------------------ reading

    def ask(self, sql: str, *values: Any) -> list[list[Any]]:
        """The rows of an answer."""
        return self.link.execute_unnamed(sql, values).rows or []

    def lines(self, origin: str, start: int = 0, stop: int = INDEX_MAX) -> Iterator[bytes]:
        """The entries of a log as they are now, in a range; to be read to the end."""
        self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.ask(LINES_SQL, origin, start, stop)
        while rows := self.ask(f"FETCH FORWARD {ROWS_FETCHED} FROM nbgov_lines"):
            for [line] in rows:
                yield line
        self.ask("COMMIT")

    def size(self, origin: str) -> int:
        """How many entries a log has, by the number of its last one."""
        sql = "SELECT max(index) + 1 FROM nbgov_audit.entry WHERE origin = $1"
        return int(self.ask(sql, origin)[0][0] or 0)

    def nodes(self, origin: str, places: Sequence[int]) -> list[bytes]:
        """The digests at some places of a tree, in the order of the places."""
        sql = "SELECT place, digest FROM nbgov_audit.node WHERE origin = $1 AND place = ANY ($2)"
        found = dict(self.ask(sql, origin, list(places)))
        return [found.get(place, b"") for place in places]

    def note(self, origin: str, name: str) -> str:
        """A note of a log, or empty."""
        sql = "SELECT text FROM nbgov_audit.note WHERE origin = $1 AND name = $2"
        return next((text for [text] in self.ask(sql, origin, name)), "")

    def checkpoints(self) -> dict[str, str]:
        """The newest checkpoint of each log."""
        sql = "SELECT origin, text FROM nbgov_audit.note WHERE name = 'checkpoint' ORDER BY origin"
        return dict(self.ask(sql))

    def origins(self) -> list[str]:
        """The name of each log, without a look at every entry."""
        sql = """
            WITH RECURSIVE known AS (
                SELECT min(origin) AS origin FROM nbgov_audit.entry
                UNION ALL
                SELECT (SELECT min(e.origin) FROM nbgov_audit.entry e WHERE e.origin > k.origin)
                FROM known k WHERE k.origin IS NOT NULL
            )
            SELECT origin FROM known WHERE origin IS NOT NULL
        """
        return [origin for [origin] in self.ask(sql)]

    def first_attempt(self, origin: str) -> int | None:
        """The first attempt that could be open."""
        sql = "SELECT min(index) FROM nbgov_audit.attempt WHERE origin = $1"
        [[index]] = self.ask(sql, origin)
        return None if index is None else int(index)

    # ------------------------------------------------------------ writing

    def set_up(self) -> None:
        """Make the tables that are not there.

        Raises:
            IntegrityFailed: The server does not keep what it commits.
        """
        # Security: such a server tells of commits that a loss of power undoes.
        if self.ask("SHOW fsync") == [["off"]]:
            raise IntegrityFailed("the server runs with fsync = off")
        if self.ask("SELECT to_regclass('nbgov_audit.attempt')") == [[None]]:
            self.link.execute_simple(SETUP_SQL.format(lock=lock_number(SETUP_LOCK)))

    def lock(self, origin: str) -> bool:
        """Whether this connection alone writes the log from now on, until it is closed."""
        return self.ask("SELECT pg_try_advisory_lock($1)", lock_number(origin)) == [[True]]

    def commit(
        self,
        origin: str,
        start: int,
        lines: Sequence[bytes],
        *,
        opened: Iterable[int],
        closed: Iterable[int],
    ) -> None:
        """Make entries durable, all of them or none.

        Args:
            origin: Name of the log.
            start: Number of the first one.
            lines: Their bytes.
            opened: Numbers of the attempts among them.
            closed: Numbers of the attempts that they close.
        """
        if not self.prepared:
            self.prepared = self.link.prepare_statement(COMMIT_SQL, ())
        name, columns, functions = self.prepared
        values = [origin, str(start), bytes_array(lines), numbers(closed), numbers(opened)]
        done = self.link.execute_named(name, values, columns, functions, COMMIT_SQL)
        if done.row_count != len(lines):
            raise IntegrityFailed("the server did not take every entry")

    def keep_nodes(self, origin: str, place: int, digests: Sequence[bytes]) -> None:
        """Keep nodes of a tree, from a place on."""
        for start in range(0, len(digests), NODES_KEPT_MAX):
            part = bytes_array(digests[start : start + NODES_KEPT_MAX])
            self.ask(NODES_SQL, origin, str(place + start), part)

    def keep_note(self, origin: str, name: str, text: str) -> None:
        """Keep a note of a log, in the place of the one with this name; none where it is empty."""
        if text:
            self.ask(NOTE_SQL, origin, name, text)
        else:
            self.ask("DELETE FROM nbgov_audit.note WHERE origin = $1 AND name = $2", origin, name)


def bytes_array(items: Iterable[bytes]) -> str:
    """The text form of an array of bytes."""
    return "{" + ",".join(f'"\\\\x{item.hex()}"' for item in items) + "}"


def numbers(items: Iterable[int]) -> str:
    """The text form of an array of numbers."""
    return "{" + ",".join(map(str, items)) + "}"


def lock_number(name: str) -> int:
    """The number of the advisory lock of a log."""
    digest = hashlib.sha256(f"nbgov audit {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def load_driver() -> tuple[ModuleType, tuple[type[Exception], ...]]:
    """The protocol's driver, and the errors that it raises.

    Raises:
        BackendFailed: It is not installed.
    """
    try:
        from pg8000 import core, exceptions  # type: ignore[import-untyped]
        from scramp import ScramException  # type: ignore[import-untyped]
    except ImportError:
        raise BackendFailed(
            "An audit log in PostgreSQL needs its driver, which is not installed.",
            code="driver-missing",
            next_step="Run: pip install nbgov[postgres]",
        ) from None
    # AttributeError is how the driver says that the server wants a password and there is none.
    return core, (exceptions.Error, OSError, ScramException, AttributeError)

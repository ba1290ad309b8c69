"""Messages on their way, in a SQLite file of their own: what is stuck there holds up nothing else.

A message that was claimed is put off until its sender must have settled it. Whoever dies between
leaves it to the next one, so that it can arrive twice, under the same name, and is never lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from nbgov.backends.sqlite.database import Database, decoding, time_text
from nbgov.model import Parcel

OUTBOX_SCHEMA_VERSION = 1
OUTBOX_SCHEMA = """
CREATE TABLE parcels (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    ticket TEXT NOT NULL,
    body TEXT NOT NULL CHECK (json_valid(body)),
    made_at TEXT NOT NULL,
    due_at TEXT NOT NULL,
    tries INTEGER NOT NULL CHECK (tries >= 0),
    why TEXT NOT NULL,
    UNIQUE (id, target)
) STRICT;
CREATE INDEX parcels_due ON parcels (target, due_at);
"""
CLAIM_SQL = """
UPDATE parcels SET due_at = :until, tries = tries + 1 WHERE number = (
    SELECT number FROM parcels WHERE target = :target AND due_at <= :now ORDER BY number LIMIT 1
) RETURNING *
"""


class SqliteOutbox:
    """An :class:`~nbgov.ports.Outbox` in a SQLite file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path, schema=OUTBOX_SCHEMA, version=OUTBOX_SCHEMA_VERSION)

    def put(self, parcels: Sequence[Parcel]) -> None:
        """Keep messages; they are durable when this returns."""
        with self.database.writing() as connection:
            connection.executemany(
                "INSERT INTO parcels (id, target, ticket, body, made_at, due_at, tries, why)"
                " VALUES (:id, :target, :ticket, :body, :made_at, :made_at, 0, '')",
                [
                    {
                        "id": one.id,
                        "target": one.target,
                        "ticket": one.ticket,
                        "body": one.body,
                        "made_at": time_text(one.made_at),
                    }
                    for one in parcels
                ],
            )

    def claim(self, target: str, *, now: datetime, until: datetime) -> Parcel | None:
        """The oldest message to a receiver whose time has come, put off until a moment."""
        times = {"target": target, "now": time_text(now), "until": time_text(until)}
        # Looking writes nothing, so that an empty outbox costs no disk.
        with self.database.reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM parcels WHERE target = :target AND due_at <= :now LIMIT 1", times
            ).fetchone()
        if found is None:
            return None
        with self.database.writing() as connection:
            row = connection.execute(CLAIM_SQL, times).fetchone()
            return read_parcel(row, row["body"]) if row else None

    def settle(self, parcel: Parcel, *, again_at: datetime | None = None, why: str = "") -> None:
        """Forget a message that was claimed, or keep it for another try."""
        key = {"id": parcel.id, "target": parcel.target}
        with self.database.writing() as connection:
            if again_at is None:
                connection.execute("DELETE FROM parcels WHERE id = :id AND target = :target", key)
                return
            connection.execute(
                "UPDATE parcels SET due_at = :due_at, why = :why"
                " WHERE id = :id AND target = :target AND tries = :tries",
                key | {"due_at": time_text(again_at), "why": why, "tries": parcel.tries},
            )

    def waiting(self) -> tuple[Parcel, ...]:
        """Every message that is kept, oldest first, without its body."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT * FROM parcels ORDER BY number").fetchall()
            return tuple(read_parcel(row, "") for row in rows)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


def read_parcel(row: sqlite3.Row, body: str) -> Parcel:
    """The message in a row."""
    with decoding("a message"):
        return Parcel(
            id=row["id"],
            target=row["target"],
            ticket=row["ticket"],
            body=body,
            made_at=datetime.fromisoformat(row["made_at"]),
            tries=row["tries"],
            why=row["why"],
        )

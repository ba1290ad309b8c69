"""What rows were before approved writes, sealed, in a SQLite file."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from nbgov.backends.sqlite.database import Database, decoding, time_text
from nbgov.model import UndoImage

FACTS = ("ticket", "connection", "table", "verb", "principal", "rows")


class SqliteUndoStore:
    """An :class:`~nbgov.ports.UndoStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def keep(self, image: UndoImage) -> None:
        """Keep an image; it is durable when this returns."""
        told = {name: getattr(image, name) for name in FACTS}
        told |= {"key": image.key, "columns": image.columns, "facts": dict(image.facts)}
        with self.database.writing() as connection:
            connection.execute(
                "INSERT INTO undo_images (request, kept_at, expires_at, facts, sealed)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    image.request,
                    time_text(image.kept_at),
                    time_text(image.expires_at),
                    json.dumps(told),
                    image.sealed,
                ),
            )

    def image(self, request: str) -> UndoImage | None:
        """The image of the write with this request id, unless it was dropped."""
        with self.database.reading() as connection:
            row = connection.execute(
                "SELECT * FROM undo_images WHERE request = ?", (request,)
            ).fetchone()
        return None if row is None else decoded(row)

    def images(self) -> tuple[UndoImage, ...]:
        """Every image that is kept, newest first, without its sealed rows."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT request, kept_at, expires_at, facts, '' AS sealed FROM undo_images"
                " ORDER BY number DESC"
            ).fetchall()
        return tuple(map(decoded, rows))

    def drop(self, *, before: datetime) -> int:
        """Forget the images that expired before a moment; say how many."""
        moment = (time_text(before),)
        with self.database.reading() as connection:
            # A write waits for the disk, and nearly always there is nothing to forget.
            old = "SELECT 1 FROM undo_images WHERE expires_at < ? LIMIT 1"
            if connection.execute(old, moment).fetchone() is None:
                return 0
        with self.database.writing() as connection:
            deleted = connection.execute("DELETE FROM undo_images WHERE expires_at < ?", moment)
            return deleted.rowcount

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


def decoded(row: sqlite3.Row) -> UndoImage:
    """The image behind a row.

    Raises:
        BackendFailed: Somebody else wrote it (``state-unavailable``).
    """
    with decoding("an image of a write"):
        told = json.loads(row["facts"])
        image = UndoImage(
            request=row["request"],
            kept_at=datetime.fromisoformat(row["kept_at"]),
            expires_at=datetime.fromisoformat(row["expires_at"]),
            sealed=row["sealed"],
            **told,
        )
        return replace(image, key=tuple(told["key"]), columns=tuple(told["columns"]))

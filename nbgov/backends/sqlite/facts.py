"""What the log said last about nbgov itself, in a SQLite file."""

from __future__ import annotations

from pathlib import Path

from nbgov.backends.sqlite.database import Database


class SqliteFactStore:
    """A :class:`~nbgov.ports.FactStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def fact(self, name: str) -> str:
        """What was kept last under a name; empty where nothing was."""
        with self.database.reading() as connection:
            row = connection.execute("SELECT text FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row["text"]) if row else ""

    def keep_fact(self, name: str, text: str) -> None:
        """Keep a text under a name, in the place of the one before."""
        with self.database.writing() as connection:
            connection.execute(
                "INSERT INTO facts (name, text) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET text = excluded.text",
                (name, text),
            )

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

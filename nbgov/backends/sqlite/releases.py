"""Releases of models in a SQLite file: which model versions a gate let pass."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from nbgov.backends.sqlite.database import Database, decoding, time_text
from nbgov.model import Release


class SqliteReleaseStore:
    """A :class:`~nbgov.ports.ReleaseStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def add(self, release: Release) -> None:
        """Keep a release."""
        facts = json.dumps(asdict(release) | {"at": time_text(release.at)}, sort_keys=True)
        with self.database.writing() as connection:
            connection.execute(
                "INSERT INTO releases (model, facts) VALUES (?, ?)", (release.model, facts)
            )

    def releases(self, model: str = "") -> tuple[Release, ...]:
        """Releases kept, newest first; of one model, or of all."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT facts FROM releases WHERE ? IN ('', model) ORDER BY number DESC", (model,)
            ).fetchall()
        return tuple(read(row["facts"]) for row in rows)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


def read(text: str) -> Release:
    """The release in a row."""
    with decoding("a release"):
        facts = json.loads(text)
        at, inputs = datetime.fromisoformat(facts["at"]), tuple(map(str, facts["inputs"]))
        return Release(**(facts | {"at": at, "inputs": inputs}))

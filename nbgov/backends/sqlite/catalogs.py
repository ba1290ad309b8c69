"""How the contents of connections evolved, in a SQLite file.

A document is kept once, whichever versions have it; it is compressed, as it is long and dull.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from nbgov.backends.sqlite.database import Database, decoding, time_text
from nbgov.model import Author, CatalogVersion

VERSIONS_SQL = """
    SELECT v.connection, v.number, v.digest, v.facts, d.document
    FROM catalog_versions v JOIN catalog_documents d USING (digest)
    WHERE v.connection = ? ORDER BY v.number DESC LIMIT ?
"""
NO_LIMIT = -1


class SqliteCatalogStore:
    """A :class:`~nbgov.ports.CatalogStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def last(self, connection: str) -> CatalogVersion | None:
        """The newest version of a connection, or ``None`` where it was never seen."""
        return next(iter(self.read(connection, 1)), None)

    def versions(self, connection: str) -> tuple[CatalogVersion, ...]:
        """Versions kept of a connection, newest first."""
        return self.read(connection, NO_LIMIT)

    def read(self, connection: str, limit: int) -> tuple[CatalogVersion, ...]:
        """The newest versions of a connection."""
        with self.database.reading() as link:
            rows = link.execute(VERSIONS_SQL, (connection, limit)).fetchall()
        return tuple(map(version_of, rows))

    def add(self, version: CatalogVersion) -> None:
        """Keep a version under the number that follows the newest one, unless it is that one."""
        document = json.dumps(version.document, sort_keys=True)
        facts = {
            "seen_at": time_text(version.seen_at),
            "principal": version.principal,
            "record": version.record,
            "receipt": version.receipt,
            "authors": [asdict(author) for author in version.authors],
            "is_searched": version.is_searched,
        }
        with self.database.writing() as link:
            newest = link.execute(
                "SELECT number, digest FROM catalog_versions WHERE connection = ? "
                "ORDER BY number DESC LIMIT 1",
                (version.connection,),
            ).fetchone()
            number, digest = newest or (0, b"")
            if digest == version.digest:
                return
            link.execute(
                "INSERT INTO catalog_documents (digest, document) VALUES (?, ?) "
                "ON CONFLICT (digest) DO NOTHING",
                (version.digest, zlib.compress(document.encode())),
            )
            link.execute(
                "INSERT INTO catalog_versions (connection, number, digest, facts) "
                "VALUES (?, ?, ?, ?)",
                (version.connection, number + 1, version.digest, json.dumps(facts)),
            )

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


def version_of(row: sqlite3.Row) -> CatalogVersion:
    """The version in a row."""
    with decoding("a catalog version"):
        facts = json.loads(row["facts"])
        facts["seen_at"] = datetime.fromisoformat(facts["seen_at"])
        facts["authors"] = tuple(
            Author(**{**author, "tables": tuple(author["tables"])}) for author in facts["authors"]
        )
        return CatalogVersion(
            connection=row["connection"],
            number=row["number"],
            digest=row["digest"],
            document=json.loads(zlib.decompress(row["document"])),
            **facts,
        )

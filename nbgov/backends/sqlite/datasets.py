"""Dataset versions and their deliveries in a SQLite file.

It knows what a version is made of, but not what any of it means.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgov.backends.sqlite.database import Database, decoding, time_text, unavailable
from nbgov.model import DatasetVersion, Delivery, SourceVersion


class SqliteDatasetStore:
    """A :class:`~nbgov.ports.DatasetStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def put(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Keep a version (once) and its delivery.

        Raises:
            BackendFailed: It cannot be kept, or the delivery's id belongs to another delivery.
        """
        with self.database.writing() as connection:
            known = connection.execute(
                "SELECT profile IS NULL FROM versions WHERE version_id = ?", (version.version_id,)
            ).fetchone()
            if known is None:
                connection.execute(
                    "INSERT INTO versions (version_id, name, facts) VALUES (?, ?, ?)",
                    (version.version_id, version.name, version_facts(version)),
                )
            if version.profile and (known is None or known[0]):
                write_profile(connection, version.version_id, version.profile)
            connection.execute(
                "INSERT INTO deliveries (read_id, version_id, name, facts) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (read_id) DO NOTHING",
                (delivery.read_id, delivery.version_id, delivery.name, delivery_facts(delivery)),
            )
            if read_delivery(connection, delivery.read_id) != delivery:
                raise unavailable("the delivery was kept before, with other facts")

    def describe(self, version_id: str, profile: Mapping[str, Any]) -> None:
        """Keep the profile of a version that was kept without one.

        Raises:
            BackendFailed: It cannot be kept.
        """
        with self.database.writing() as connection:
            write_profile(connection, version_id, profile)

    def version(self, version_id: str) -> DatasetVersion | None:
        """The version with this id."""
        with self.database.reading() as connection:
            row = connection.execute(
                "SELECT * FROM versions WHERE version_id = ?", (version_id,)
            ).fetchone()
        return read_version(row) if row else None

    def delivery(self, read_id: str) -> Delivery | None:
        """The delivery with this id."""
        with self.database.reading() as connection:
            return read_delivery(connection, read_id)

    def deliveries(self, name: str = "") -> tuple[Delivery, ...]:
        """Deliveries kept, newest first; of one dataset, or of all."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM deliveries WHERE ? IN ('', name) ORDER BY number DESC", (name,)
            ).fetchall()
        return tuple(map(delivery_of, rows))

    def versions(self, name: str = "") -> tuple[DatasetVersion, ...]:
        """Versions kept, newest first; of one dataset, or of all."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM versions WHERE ? IN ('', name) ORDER BY number DESC", (name,)
            ).fetchall()
        return tuple(map(read_version, rows))

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


def version_facts(version: DatasetVersion) -> str:
    """Everything about a version that has no column of its own, as JSON."""
    facts = asdict(version)
    for key in ("version_id", "name", "profile"):
        del facts[key]
    return json.dumps(facts)


def write_profile(
    connection: sqlite3.Connection, version_id: str, profile: Mapping[str, Any]
) -> None:
    """Keep the profile of a version that has none yet."""
    connection.execute(
        "UPDATE versions SET profile = ? WHERE version_id = ? AND profile IS NULL",
        (zlib.compress(json.dumps(dict(profile)).encode()), version_id),
    )


def read_version(row: sqlite3.Row) -> DatasetVersion:
    """The version in a row."""
    with decoding("a dataset version"):
        facts = json.loads(row["facts"])
        facts |= {key: tuple(facts[key]) for key in ("tables", "binds", "literals")}
        facts["columns"] = tuple(map(tuple, facts["columns"]))
        for key in ("tags", "origins"):
            facts[key] = {name: tuple(found) for name, found in facts[key].items()}
        held = row["profile"]
        profile = json.loads(zlib.decompress(held)) if held is not None else {}
        return DatasetVersion(
            version_id=row["version_id"], name=row["name"], profile=profile, **facts
        )


def delivery_facts(delivery: Delivery) -> str:
    """Everything about a delivery that has no column of its own, as JSON."""
    facts = asdict(delivery) | {"at": time_text(delivery.at)}
    for key in ("read_id", "version_id", "name"):
        del facts[key]
    for source, told in zip(delivery.sources, facts["sources"], strict=True):
        told["changed_at"] = time_text(source.changed_at) if source.changed_at else None
    return json.dumps(facts)


def read_delivery(connection: sqlite3.Connection, read_id: str) -> Delivery | None:
    """The delivery with an id."""
    row = connection.execute("SELECT * FROM deliveries WHERE read_id = ?", (read_id,)).fetchone()
    return delivery_of(row) if row else None


def delivery_of(row: sqlite3.Row) -> Delivery:
    """The delivery in a row."""
    with decoding("a delivery"):
        facts = json.loads(row["facts"])
        facts |= {"rules": tuple(facts["rules"]), "at": datetime.fromisoformat(facts["at"])}
        facts["sources"] = tuple(map(source_of, facts["sources"]))
        return Delivery(
            read_id=row["read_id"], version_id=row["version_id"], name=row["name"], **facts
        )


def source_of(told: Mapping[str, Any]) -> SourceVersion:
    """The state of a table, from JSON."""
    at = told["changed_at"]
    return SourceVersion(**{**told, "changed_at": datetime.fromisoformat(at) if at else None})

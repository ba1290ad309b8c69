"""Dataset versions and their deliveries in a SQLite file.

It knows what a version is made of, but not what any of it means.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgov.backends.sqlite.database import Database, decoding, time_text, unavailable
from nbgov.errors import BackendFailed
from nbgov.model import DatasetVersion, Delivery, SourceVersion

# How many deliveries share a commit, so that threads that deliver at once wait for one disk write.
GROUP_MAX = 64
# What a delivery has that has no column of its own.
DELIVERY_FIELDS = tuple(
    field.name for field in fields(Delivery) if field.name not in {"read_id", "version_id", "name"}
)


@dataclass(eq=False, slots=True)
class Put:
    """A version and a delivery that somebody waits for.

    Attributes:
        version, delivery: What they are.
        facts: The delivery as JSON.
        is_kept: Whether both are kept.
    """

    version: DatasetVersion
    delivery: Delivery
    facts: str
    is_kept: bool = False


class SqliteDatasetStore:
    """A :class:`~nbgov.ports.DatasetStore` in a SQLite file.

    Args:
        path: The file; others may share it.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.waiting: deque[Put] = deque()

    def put(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Keep a version (once) and its delivery.

        Raises:
            BackendFailed: It cannot be kept, or the delivery's id belongs to another delivery.
        """
        put = Put(version, delivery, delivery_facts(delivery))
        self.waiting.append(put)
        try:
            with self.database.alone():
                if not put.is_kept:
                    self.keep_all(put)
        finally:
            # What nobody waits for any more, as it was interrupted, is not to be kept.
            with suppress(ValueError):
                self.waiting.remove(put)

    def keep_all(self, own: Put) -> None:
        """Keep a delivery, and in the same transaction those that others wait for."""
        others = [put for put in self.waiting.copy() if put is not own and not put.is_kept]
        puts = [own, *others[: GROUP_MAX - 1]]
        try:
            self.keep(puts)
        except BackendFailed:
            if len(puts) == 1:
                raise
            # One of them cannot be kept; each is done alone by whoever waits for it.
            self.keep([own])

    def keep(self, puts: Sequence[Put]) -> None:
        """Keep some deliveries, all of them or none."""
        with self.database.writing() as connection:
            for put in puts:
                keep(connection, put)
        for put in puts:
            put.is_kept = True

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


def keep(connection: sqlite3.Connection, put: Put) -> None:
    """Keep a version (once) and its delivery.

    Raises:
        BackendFailed: The delivery's id belongs to another delivery.
    """
    version, delivery = put.version, put.delivery
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
    kept = connection.execute(
        "INSERT INTO deliveries (read_id, version_id, name, facts) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (read_id) DO NOTHING",
        (delivery.read_id, delivery.version_id, delivery.name, put.facts),
    )
    if not kept.rowcount and read_delivery(connection, delivery.read_id) != delivery:
        raise unavailable("the delivery was kept before, with other facts")


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
    # Field by field: asdict would copy every text of every delivery.
    facts: dict[str, Any] = {name: getattr(delivery, name) for name in DELIVERY_FIELDS}
    facts["at"] = time_text(delivery.at)
    facts["sources"] = [asdict(source) for source in delivery.sources]
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

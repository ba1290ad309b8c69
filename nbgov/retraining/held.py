"""Data that the caller holds, as a dataset version: a frame, Arrow data, or a data file.

Its values are the caller's already, so its profile may hold them. Columns that are closed in the
governed version beside it are closed here too, under its keys: else they could not be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.core.datasets import DIGESTED_ROWS_MIN, key_of
from nbgov.core.drift.profile import Profiler
from nbgov.core.fingerprint import Fingerprint, Fingerprinter, cell_hashes
from nbgov.core.fingerprint.record import KEYED_SPEC
from nbgov.model import DatasetVersion
from nbgov.model.dataset import OPEN
from nbgov.tables import open_batches

if TYPE_CHECKING:
    from nbgov.session import Session


@dataclass(frozen=True, slots=True)
class Closed:
    """How a governed version is closed.

    Attributes:
        levels: Sensitivity of its columns that are not open.
        is_keyed: Whether its fingerprint is.
        session: Has the keys.
    """

    levels: Mapping[str, str]
    is_keyed: bool
    session: Session

    @property
    def fingerprint_key(self) -> bytes | None:
        """The key of the whole fingerprint."""
        return self.session.fingerprint_key() if self.is_keyed else None

    @property
    def bucket_key(self) -> bytes:
        """The key of counts in buckets."""
        return key_of(self.session.world.signer.mac, "profile")

    def columns_of(self, fingerprint: Fingerprint) -> tuple[tuple[str, str, str, int], ...]:
        """The columns of a fingerprint as the version has them."""
        veiled = self.session.veiled(fingerprint).columns
        return tuple(
            (name, kind, "" if nonnull < DIGESTED_ROWS_MIN else image, nonnull)
            if name in self.levels
            else (name, kind, digest, nonnull)
            for (name, kind, digest, nonnull), (*_, image, _) in zip(
                fingerprint.columns, veiled, strict=True
            )
        )


def closed_levels(version: DatasetVersion) -> dict[str, str]:
    """The columns of a version that are not open, with their sensitivity."""
    columns = version.profile.get("columns", ())
    return {one["name"]: one["level"] for one in columns if one["level"] != OPEN}


def is_keyed(version: DatasetVersion) -> bool:
    """Whether a version's fingerprint was made with a key."""
    return version.content_id.startswith(f"{KEYED_SPEC}:")


def held_version(data: Any, closed: Closed | None = None) -> DatasetVersion:
    """The version of data that the caller holds; its id is its content's.

    Args:
        data: A frame, Arrow data, or the path of a data file.
        closed: How the version is closed that it is compared with, if it is.

    Raises:
        RequestInvalid: It is nothing of that kind, or cannot be read to its end.
    """
    with open_batches(data) as batches:
        fold = Fingerprinter(batches.schema)
        levels = dict.fromkeys(batches.schema.names, OPEN)
        levels |= {} if closed is None else closed.levels
        key = b"" if closed is None else closed.bucket_key
        profiler = Profiler(levels, batches.schema, key=key)
        for batch in batches:
            hashes = [cell_hashes(column) for column in batch.columns]
            fold.update(batch, hashes)
            profiler.update(batch, hashes)
    found = fold.finish(key=None if closed is None else closed.fingerprint_key)
    return DatasetVersion(
        version_id=found.content_id.rpartition(":")[2],
        content_id=found.content_id,
        schema_id=found.schema_id,
        name=data.name if isinstance(data, Path) else type(data).__name__,
        connection="",
        dialect="",
        tables=(),
        statement="",
        statement_mac="",
        binds_mac="",
        binds=(),
        policy="",
        rows=found.rows,
        columns=found.columns if closed is None else closed.columns_of(found),
        masked={},
        profile=profiler.finish(),
    )

"""A profile that is made only when somebody asks for it.

Most results are looked at and forgotten, and a profile costs as much as the query. So the rows are
held until a run or a person names the version. Rows that are too many to be held are folded at
once, as they pass; so the memory is bounded and no profile is lost for the size of its result.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.core.fingerprint.mixing import Words

HELD_BYTES_MAX = 256 * 1024 * 1024


class DeferredProfile:
    """The rows of one result, or their profile once they are too many to be held.

    Args:
        sensitivity, schema, key: As for :class:`~nbgov.core.drift.profile.Profiler`.
        held_bytes_max: Arrow bytes to hold; ``0`` folds every batch at once.

    Attributes:
        is_wanted: Whether somebody asks for it already, so that nothing is held.
    """

    def __init__(
        self,
        sensitivity: Mapping[str, str],
        schema: pa.Schema,
        *,
        key: bytes = b"",
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        from nbgov.core.drift.profile import Profiler

        self.profiler = Profiler(sensitivity, schema, key=key)
        self.held_bytes_max = held_bytes_max
        self.held: list[pa.RecordBatch] = []
        self.held_bytes = 0
        self.is_wanted = held_bytes_max == 0
        self.is_folding = self.is_wanted

    def update(self, batch: pa.RecordBatch, hashes: Sequence[Words]) -> None:
        """Take in the rows of a batch, with the hashes of its cells."""
        if self.is_folding:
            self.profiler.update(batch, hashes)
            return
        self.held.append(batch)
        self.held_bytes += batch.nbytes
        if self.held_bytes > self.held_bytes_max:
            self.fold()

    def fold(self) -> None:
        """Fold what is held, and every later batch at once."""
        self.is_folding = True
        for batch in self.held:
            self.profiler.update(batch)
        self.held, self.held_bytes = [], 0

    def finish(self) -> dict[str, Any]:
        """The profile of the rows so far, JSON-ready."""
        self.fold()
        return self.profiler.finish()


class DeferredProfiles:
    """The deferred profiles of one session, by version; the oldest go when they hold too much."""

    def __init__(self, *, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        self.held_bytes_max = held_bytes_max
        self.by_version: OrderedDict[str, DeferredProfile] = OrderedDict()

    def keep(self, version_id: str, profile: DeferredProfile) -> None:
        """Keep the profile of a version until it is asked for, or too much is held."""
        self.by_version[version_id] = profile
        self.by_version.move_to_end(version_id)
        while sum(one.held_bytes for one in list(self.by_version.values())) > self.held_bytes_max:
            self.by_version.popitem(last=False)

    def take(self, version_id: str) -> dict[str, Any] | None:
        """The profile of a version, made now and then forgotten; ``None`` if it is not held."""
        deferred = self.by_version.pop(version_id, None)
        return None if deferred is None else deferred.finish()

"""Spark: the fingerprint and the profile of a DataFrame, made where its rows are.

Each task folds its own rows with the core's code and sends one small state to the driver, which
merges them. Only ``mapInArrow``, ``collect`` and ``toArrow`` are used, so a DataFrame of Spark
Connect does as well as a classic one. nbgov has to be installed where the tasks run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from nbgov.core.drift.profile import Profiler
from nbgov.core.fingerprint import Fingerprint, Fingerprinter, cell_hashes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["fingerprint", "measure"]

STATE = "fingerprint string, profile string"


def fingerprint(frame: Any) -> Fingerprint:
    """The fingerprint of a Spark DataFrame; its order is unknown, as Spark keeps none.

    Args:
        frame: A DataFrame of Spark 4, classic or Connect. Timestamps without a zone should be read
            in a session whose time zone is UTC.

    Raises:
        BackendFailed: A column has a type that has no fingerprint.
    """
    return fold(frame, None, b"")[0].finish()


def measure(
    frame: Any, sensitivity: Mapping[str, str], *, key: bytes = b""
) -> tuple[Fingerprint, dict[str, Any]]:
    """Fingerprint and profile of a Spark DataFrame, in one pass over its rows.

    Args:
        frame: As for :func:`fingerprint`.
        sensitivity: As for :class:`~nbgov.core.drift.profile.Profiler`.
        key: As there.
    """
    rows, profile = fold(frame, dict(sensitivity), key)
    return rows.finish(), profile.finish()


def fold(
    frame: Any, sensitivity: dict[str, str] | None, key: bytes
) -> tuple[Fingerprinter, Profiler]:
    """Fold the rows of each task where they are, and merge the states here."""
    task = partial(fold_batches, sensitivity=sensitivity, key=key)
    rows, profile = Fingerprinter(), Profiler(sensitivity or {}, key=key)
    for one in frame.mapInArrow(task, STATE).collect():
        rows = rows.merge(Fingerprinter.from_state(json.loads(one["fingerprint"])))
        if sensitivity is not None:
            profile = profile.merge(Profiler.from_state(json.loads(one["profile"])))
    if rows.columns is None:
        # No task saw a row, so none could tell the columns.
        schema = frame.limit(0).toArrow().schema
        rows, profile = Fingerprinter(schema), Profiler(sensitivity or {}, schema, key=key)
    # Which task's rows come first is Spark's business and changes from run to run.
    rows.order = None
    return rows, profile


def fold_batches(
    batches: Iterator[pa.RecordBatch], *, sensitivity: dict[str, str] | None, key: bytes
) -> Iterator[pa.RecordBatch]:
    """Fold the rows of one task into one row of states; no row where there was none."""
    import pyarrow as pa

    rows, profile = Fingerprinter(), Profiler(sensitivity or {}, key=key)
    for batch in batches:
        hashes = [cell_hashes(column) for column in batch.columns]
        rows.update(batch, hashes)
        if sensitivity is not None:
            profile.update(batch, hashes)
    if rows.columns is not None:
        states = {"fingerprint": rows.state(), "profile": profile.state()}
        yield pa.record_batch({name: [json.dumps(state)] for name, state in states.items()})

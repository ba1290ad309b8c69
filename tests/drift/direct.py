"""Versions and runs of tables without a session, for measurements over thousands of pairs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from nbgov.core.drift import DriftReport, Profiler, compare
from nbgov.core.fingerprint import Fingerprinter, cell_hashes
from nbgov.model import DatasetVersion, Run, RunInput

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 16_384


def version_of(table: pa.Table, *, level: str = "open", name: str = "train") -> DatasetVersion:
    """The version of a table, with its profile."""
    fingerprinter = Fingerprinter(table.schema)
    profiler = Profiler(dict.fromkeys(table.column_names, level), table.schema)
    for batch in table.combine_chunks().to_batches(BATCH_ROWS):
        fingerprinter.update(batch)
        profiler.update(batch, [cell_hashes(column) for column in batch.columns])
    found = fingerprinter.finish()
    return DatasetVersion(
        version_id=hashlib.sha256(found.content_id.encode()).hexdigest()[:32],
        content_id=found.content_id,
        schema_id=found.schema_id,
        name=name,
        connection="wh",
        dialect="duckdb",
        tables=("main.train",),
        statement="SELECT * FROM train",
        statement_mac="5a",
        binds_mac="b1",
        binds=(),
        policy="3f" * 32,
        rows=found.rows,
        columns=found.columns,
        masked={},
        profile=profiler.finish(),
    )


def report_of(before: DatasetVersion, after: DatasetVersion, **facts) -> DriftReport:
    """The comparison of two runs that differ in their version alone."""
    runs = [
        Run(
            name,
            name,
            (RunInput(one.name, one.version_id, "training", "autolog", **facts),),
            {},
            {},
        )
        for name, one in (("baseline", before), ("current", after))
    ]
    return compare(*runs, {one.version_id: one for one in (before, after)})

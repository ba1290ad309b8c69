"""How a connection evolved, as a table: one row for each column of each version that was seen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

from nbgov.assurance.deeds import Deed, recorded
from nbgov.errors import RequestInvalid
from nbgov.evidence.exports import BATCH_ENTRIES, Format
from nbgov.evidence.sheets import SHEETS

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.model import CatalogVersion
    from nbgov.session import Session


def export_catalog(session: Session, file: BinaryIO, format_: Format, connection: str) -> int:
    """Write every version of a connection that was kept, oldest first; it is recorded first.

    A column has a row in each version that holds it; definitions of views and labels of types are
    not in it, since they can spell values.

    Returns:
        How many rows there are.

    Raises:
        RequestInvalid: The connection is unknown or was never seen, or the format has no tables.
        BackendFailed: The log or the store is away.
    """
    if format_ == "ocsf":
        raise RequestInvalid(
            "A catalog is no event.",
            code="usage",
            next_step="export it as jsonl, csv or parquet",
        )
    session.engine(connection)
    store = session.world.catalogs
    versions = tuple(reversed(store.versions(connection))) if store is not None else ()
    if not versions:
        raise RequestInvalid(
            f"The connection {connection} was never seen.",
            code="usage",
            next_step="run a statement on it first",
        )
    note = f"{format_} of the catalog of {connection}, {len(versions)} versions"
    deed = Deed(verb="EXPORT", connection=connection, note=note)
    with recorded(session.world, deed, session=session.id, principal=session.principal):
        return write_rows(chain.from_iterable(map(rows_of, versions)), file, format_)


def rows_of(version: CatalogVersion) -> Iterator[dict[str, Any]]:
    """The columns of a version; a table without any has one row as well."""
    facts = {
        "connection": version.connection,
        "version": version.number,
        "digest": version.digest.hex(),
        "seen_at": version.seen_at,
        "principal": version.principal,
        "receipt": version.receipt,
    }
    for name, entry in version.document["tables"].items():
        table = {"table": name, "kind": entry.get("kind"), "grants": entry.get("grants", [])}
        columns: Sequence[Sequence[Any]] = entry["columns"] or [[None, None, None]]
        for place, (column, type_, is_required, *_) in enumerate(columns, 1):
            told = {"place": place, "column": column, "type": type_, "is_required": is_required}
            yield facts | table | told


def write_rows(rows: Iterator[dict[str, Any]], file: BinaryIO, format_: Format) -> int:
    """Write rows in a format, batch by batch."""
    import pyarrow as pa

    count = 0
    sheet = SHEETS[format_](file, catalog_schema()) if format_ in SHEETS else None
    while batch := list(islice(rows, BATCH_ENTRIES)):
        count += len(batch)
        if sheet is not None:
            sheet.write(pa.RecordBatch.from_pylist(batch, schema=catalog_schema()))
        else:
            file.writelines(line_of(row) for row in batch)
    if sheet is not None:
        sheet.close()
    return count


def line_of(row: dict[str, Any]) -> bytes:
    """A row as a line of JSON."""
    plain = row | {"seen_at": row["seen_at"].isoformat()}
    return json.dumps(plain, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def catalog_schema() -> pa.Schema:
    """The columns of the table."""
    import pyarrow as pa

    return pa.schema(
        [
            ("connection", pa.string()),
            ("version", pa.int64()),
            ("digest", pa.string()),
            ("seen_at", pa.timestamp("us", "UTC")),
            ("principal", pa.string()),
            ("receipt", pa.string()),
            ("table", pa.string()),
            ("kind", pa.string()),
            ("place", pa.int64()),
            ("column", pa.string()),
            ("type", pa.string()),
            ("is_required", pa.bool_()),
            ("grants", pa.list_(pa.string())),
        ]
    )

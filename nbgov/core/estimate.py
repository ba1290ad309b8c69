"""How many rows a product expects a statement to touch, out of its plan for it.

Asking for a plan runs nothing. The answer rests on statistics of the stored values, so that nobody
asks where a statement comes near protected ones. Cases: ``tests/backends/test_engine_estimate.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from nbgov.errors import NbgovError
from nbgov.model import BindMarker, Clearance, Span

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.core.transfer import Transfer

ROWS_MAX = 10**18


def estimated(
    clearance: Clearance,
    prefix: str,
    run: Callable[[Clearance], Transfer],
    rows_of: Callable[[pa.Table], float | None],
    *,
    is_read: bool = True,
) -> int | None:
    """The rows that the plan of a statement expects; ``None`` where there is no plan.

    Args:
        clearance: The statement.
        prefix: What asks the product for the plan, in front of the statement.
        run: Runs a statement.
        rows_of: Finds the number in the answer.
        is_read: Whether the product lets a read ask for the plan of a write.
    """
    import pyarrow as pa

    try:
        transfer = run(planned(clearance, prefix, is_read=is_read or clearance.is_read))
        try:
            rows = rows_of(pa.Table.from_batches(transfer, transfer.schema))
        finally:
            transfer.close()
    except (NbgovError, LookupError, TypeError, ValueError):
        # The statement itself will say what is wrong with it; no plan is no reason to stop.
        return None
    return None if rows is None or not 0 <= rows <= ROWS_MAX else round(rows)


def planned(clearance: Clearance, prefix: str, *, is_read: bool) -> Clearance:
    """The clearance to ask for a statement's plan."""
    by = len(prefix)
    return replace(
        clearance,
        sql=prefix + clearance.sql,
        marker_spans=tuple(
            BindMarker(one.name, Span(one.span.start + by, one.span.end + by))
            for one in clearance.marker_spans
        ),
        is_read=is_read,
        rows_max=None,
        bytes_max=None,
        written_max=None,
        masked=frozenset(),
        masked_types=(),
        tables=frozenset(),
        before=None,
        is_dry_run=False,
    )


def duckdb_rows(table: pa.Table) -> float | None:
    """The estimate in ``EXPLAIN (FORMAT json)`` of DuckDB: of the first node that has one."""
    [text] = table.column(table.num_columns - 1).to_pylist()
    nodes: Sequence[Mapping[str, Any]] = json.loads(text)
    while nodes:
        told = nodes[0]["extra_info"].get("Estimated Cardinality")
        if told is not None:
            return float(told)
        nodes = nodes[0]["children"]
    return None


def postgresql_rows(table: pa.Table) -> float | None:
    """The estimate in ``EXPLAIN (FORMAT json)`` of PostgreSQL; of a write, what feeds it."""
    [text] = table.column(0).to_pylist()
    plan = json.loads(text)[0]["Plan"]
    if plan["Node Type"] != "ModifyTable":
        return float(plan["Plan Rows"])
    feeding = (one for one in plan.get("Plans", ()) if one["Parent Relationship"] in FEEDING)
    return float(sum(one["Plan Rows"] for one in feeding))


def mysql_rows(table: pa.Table) -> float | None:
    """The estimate in ``EXPLAIN`` of MySQL and MariaDB: of the tables of the outermost join."""
    lines = [{str(key).lower(): value for key, value in row.items()} for row in table.to_pylist()]
    known = [line for line in lines if line["rows"] is not None]
    if not known:
        return None
    outermost = min(line["id"] or 0 for line in known)
    joined = [line for line in known if (line["id"] or 0) == outermost]
    return prod(float(one["rows"]) * float(one.get("filtered") or 100) / 100 for one in joined)


FEEDING = {"Outer", "Member"}

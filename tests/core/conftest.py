"""One small catalog that the tests of the core read."""

from __future__ import annotations

import pytest

from nbgov.model import Catalog, Column, Table, TableName

COLUMNS = {
    "people": {"id": "INTEGER", "name": "VARCHAR", "email": "VARCHAR", "region": "VARCHAR"},
    "orders": {"id": "INTEGER", "person_id": "INTEGER", "amount": "DOUBLE", "note": "VARCHAR"},
}


def make_catalog(dialect: str = "duckdb", views: tuple[str, ...] = ()) -> Catalog:
    """people and orders in the schema main; names in ``views`` are views."""
    tables = {}
    for name, columns in COLUMNS.items():
        full = TableName("main", name)
        shape = tuple(Column(column, kind) for column, kind in columns.items())
        tables[full] = Table(full, shape, "view" if name in views else "table")
    return Catalog(dialect, "main", tables)


@pytest.fixture
def catalog() -> Catalog:
    """The catalog on DuckDB."""
    return make_catalog()

"""What a DuckDB database holds, and an empty one made from a catalog."""

from __future__ import annotations

from itertools import groupby

import duckdb

from nbgov.core.offline import make_empty, quoted, schemas, view_query
from nbgov.model import Catalog, Column, Effect, Table, TableName

DIALECT = "duckdb"
COLUMNS_SQL = """
    SELECT c.schema_name, c.table_name, v.sql, c.column_name, c.data_type, NOT c.is_nullable,
           c.is_generated, coalesce(list_contains(k.columns, c.column_name), false)
    FROM duckdb_columns() c
    LEFT JOIN (
        SELECT table_oid, any_value(constraint_column_names) AS columns FROM duckdb_constraints()
        WHERE database_name = current_database() AND constraint_type = 'PRIMARY KEY'
        GROUP BY table_oid
    ) k ON k.table_oid = c.table_oid
    LEFT JOIN duckdb_views() v
        ON v.database_name = c.database_name AND v.schema_name = c.schema_name
        AND v.view_name = c.table_name
    WHERE c.database_name = current_database() AND NOT c.internal
    ORDER BY c.schema_name, c.table_name, c.column_index
"""
FUNCTIONS_SQL = """
    SELECT DISTINCT lower(schema_name || '.' || function_name) FROM duckdb_functions()
    WHERE database_name = current_database() AND NOT internal
"""


def read_catalog(cursor: duckdb.DuckDBPyConnection) -> Catalog:
    """Every table, view and macro of the open database."""
    (default_schema,) = cursor.execute("SELECT current_schema()").fetchall()[0]
    tables = {}
    for (schema, table, made_by), grouped in groupby(
        cursor.execute(COLUMNS_SQL).fetchall(), key=lambda row: row[:3]
    ):
        name, rows = TableName(schema, table), list(grouped)
        tables[name] = Table(
            name,
            tuple(Column(*row[3:7]) for row in rows),
            kind="table" if made_by is None else "view",
            definition=view_query(made_by or "", DIALECT),
            key=tuple(row[3] for row in rows if row[7]),
        )
    macros = cursor.execute(FUNCTIONS_SQL).fetchall()
    return Catalog(DIALECT, default_schema, tables, {name: Effect.UNKNOWN for (name,) in macros})


def make_database(link: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    """Make the tables and views of a catalog in an empty database."""
    for schema in schemas(catalog.tables, without="main"):
        link.execute(f"CREATE SCHEMA {quoted(schema)}")
    make_empty(catalog, link.execute, (duckdb.Error,))

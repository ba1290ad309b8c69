"""What a SQLite file holds, and an empty database made from a catalog."""

from __future__ import annotations

import sqlite3

from nbgov.core.offline import make_empty, quoted, schemas, view_query
from nbgov.model import Catalog, Column, Table, TableName

DIALECT = "sqlite"
MAIN = "main"
TABLES_SQL = """
    SELECT l.name, l.type, s.sql FROM pragma_table_list l
    JOIN sqlite_schema s ON s.name = l.name AND s.type IN ('table', 'view')
    WHERE l.schema = 'main' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    ORDER BY l.name
"""
# Any other primary key may hold NULL in SQLite. A hidden column of kind 1 belongs to the module of
# a virtual table; the other kinds are generated columns.
COLUMNS_SQL = """
    SELECT name, type,
           "notnull" OR (upper(type) = 'INTEGER' AND pk = 1 AND max(pk) OVER () = 1),
           hidden > 1, pk > 0
    FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid
"""
# The rows of a virtual table, and of the tables that it keeps them in, come from its module.
KINDS = {"table": "table", "view": "view", "virtual": "foreign", "shadow": "foreign"}


def read_catalog(link: sqlite3.Connection) -> Catalog:
    """Every table and view of the file that can be read; a view onto nothing cannot."""
    tables = {}
    for table, kind, made_by in link.execute(TABLES_SQL).fetchall():
        try:
            rows = link.execute(COLUMNS_SQL, [table]).fetchall()
        except sqlite3.OperationalError:
            continue
        name = TableName(MAIN, table)
        tables[name] = Table(
            name,
            tuple(Column(row[0], row[1], bool(row[2]), bool(row[3])) for row in rows),
            kind=KINDS.get(kind, "foreign"),
            definition=view_query(made_by, DIALECT) if kind == "view" else "",
            key=tuple(row[0] for row in rows if row[4]),
        )
    return Catalog(DIALECT, MAIN, tables)


def make_database(link: sqlite3.Connection, catalog: Catalog) -> None:
    """Make the tables and views of a catalog in an empty database."""
    for schema in schemas(catalog.tables, without=MAIN):
        link.execute(f"ATTACH ':memory:' AS {quoted(schema)}")
    make_empty(catalog, link.execute, (sqlite3.Error, sqlite3.Warning))

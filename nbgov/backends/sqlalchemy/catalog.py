"""What a database behind a SQLAlchemy URL holds.

MySQL and MariaDB are asked directly: SQLAlchemy would ask once for each table. Everywhere else its
inspector tells, and functions come from the ``information_schema`` where the dialect has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import SQLAlchemyError

from nbgov.core.offline import view_query
from nbgov.model import Catalog, Column, Effect, Table, TableName

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedColumn

SYSTEM_SCHEMAS = {
    "guest", "information_schema", "mysql", "performance_schema", "pg_catalog", "sys", "system",
}  # fmt: skip
KINDS = {"table": ObjectKind.TABLE, "view": ObjectKind.ANY_VIEW}
WITH_ROUTINES = {"mysql", "postgres", "tsql"}
ROUTINES_SQL = "SELECT DISTINCT routine_schema, routine_name FROM information_schema.routines"
MYSQL_VIEWS_SQL = """
    SELECT table_schema, table_name, view_definition FROM information_schema.views
    WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')
"""
MYSQL_TABLES_SQL = """
    SELECT table_schema, table_name, table_type, engine FROM information_schema.tables
    WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')
"""
MYSQL_COLUMNS_SQL = """
    SELECT table_schema, table_name, column_name, column_type, is_nullable = 'NO',
           instr(extra, 'GENERATED') > 0 AND instr(extra, 'DEFAULT_GENERATED') = 0,
           column_key = 'PRI', instr(extra, 'INVISIBLE') > 0
    FROM information_schema.columns
    WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')
    ORDER BY table_schema, table_name, ordinal_position
"""
# Of an account without rights on the database "mysql", a server tells its own grants only.
MYSQL_GRANTS_SQL = """
    SELECT table_schema, table_name, '' AS part, privilege_type, grantee, is_grantable
    FROM information_schema.table_privileges
    UNION ALL
    SELECT table_schema, table_name, column_name, privilege_type, grantee, is_grantable
    FROM information_schema.column_privileges
"""
# The storage engines of MySQL and MariaDB that keep rows themselves; others show those of others.
KEEPERS = {"archive", "aria", "csv", "innodb", "memory", "myisam", "rocksdb", "columnstore"}
PLAIN = {"BASE TABLE", "SYSTEM VERSIONED"}


def read_catalog(link: sa.Connection, dialect: str) -> Catalog:
    """Every table and view outside of the system schemas, and the functions of people."""
    if dialect == "mysql":
        (schema,) = link.exec_driver_sql("SELECT DATABASE()").one()
        return Catalog(dialect, schema or "", mysql_tables(link), functions(link))
    inspector = sa.inspect(link)
    tables = inspected_tables(inspector, dialect)
    known = functions(link) if dialect in WITH_ROUTINES else {}
    return Catalog(dialect, inspector.default_schema_name or "", tables, known)


def functions(link: sa.Connection) -> Mapping[str, Effect]:
    """The functions and procedures that the information schema lists."""
    rows = link.exec_driver_sql(ROUTINES_SQL).all()
    return {
        f"{schema}.{name}".lower(): Effect.UNKNOWN
        for schema, name in rows
        if schema.lower() not in SYSTEM_SCHEMAS
    }


def mysql_tables(link: sa.Connection) -> dict[TableName, Table]:
    """The tables of MySQL or MariaDB; columns that ``*`` leaves out are left out."""
    kinds = {
        TableName(schema, name): mysql_kind(kind, engine or "")
        for schema, name, kind, engine in link.exec_driver_sql(MYSQL_TABLES_SQL)
    }
    definitions = {
        TableName(schema, name): definition
        for schema, name, definition in link.exec_driver_sql(MYSQL_VIEWS_SQL)
    }
    tables, grants = {}, mysql_grants(link)
    columns = link.exec_driver_sql(MYSQL_COLUMNS_SQL).all()
    for (schema, table), grouped in groupby(columns, key=lambda row: (row[0], row[1])):
        name, rows = TableName(schema, table), list(grouped)
        shown = [row for row in rows if not row[7]]
        tables[name] = Table(
            name,
            tuple(Column(row[2], row[3], bool(row[4]), bool(row[5])) for row in shown),
            kind=kinds.get(name, "foreign"),
            definition=definitions.get(name) or "",
            # A row that is put back without its invisible columns is another one.
            key=tuple(row[2] for row in rows if row[6]) if shown == rows else (),
            grants=tuple(sorted(grants.get(name, ()))),
        )
    return tables


def mysql_grants(link: sa.Connection) -> Mapping[TableName, list[str]]:
    """What accounts may do with each table or with columns of it, such as ``SELECT to ada``."""
    found: dict[TableName, list[str]] = {}
    for schema, table, part, right, grantee, is_grantable in link.exec_driver_sql(MYSQL_GRANTS_SQL):
        column = f" ({part})" if part else ""
        # An account comes as 'name'@'host'.
        account = grantee.replace("'", "").removesuffix("@")
        tail = " with grant option" if is_grantable == "YES" else ""
        told = f"{right}{column} to {account}{tail}"
        found.setdefault(TableName(schema, table), []).append(told)
    return found


def mysql_kind(kind: str, engine: str) -> str:
    """What a table of MySQL or MariaDB is to nbgov."""
    if kind == "VIEW":
        return "view"
    return "table" if kind in PLAIN and engine.lower() in KEEPERS else "foreign"


def inspected_tables(inspector: sa.Inspector, dialect: str) -> dict[TableName, Table]:
    """The tables that SQLAlchemy's inspector finds."""
    tables = {}
    for schema in inspector.get_schema_names():
        if schema.lower() in SYSTEM_SCHEMAS:
            continue
        for kind, reflected in KINDS.items():
            found = inspector.get_multi_columns(schema=schema, kind=reflected)
            keys = inspector.get_multi_pk_constraint(schema=schema, kind=reflected)
            for place, columns in found.items():
                name = TableName(schema, place[1])
                key = keys.get(place)
                known = key["constrained_columns"] if key else []
                tables[name] = Table(
                    name,
                    tuple(map(inspected_column, columns)),
                    kind=kind,
                    key=tuple(column["name"] for column in columns if column["name"] in known),
                    definition=definition(inspector, name, dialect) if kind == "view" else "",
                )
    return tables


def inspected_column(column: ReflectedColumn) -> Column:
    """A column as SQLAlchemy's inspector tells of it."""
    is_generated = "computed" in column or column.get("identity", {"always": False})["always"]
    return Column(column["name"], str(column["type"]), not column["nullable"], is_generated)


def definition(inspector: sa.Inspector, view: TableName, dialect: str) -> str:
    """The query behind a view; empty where the dialect does not tell."""
    try:
        text = inspector.get_view_definition(view.name, schema=view.schema or None) or ""
    except (NotImplementedError, SQLAlchemyError):
        return ""
    is_statement = text.lstrip()[:6].upper() == "CREATE"
    return view_query(text, dialect) if is_statement else text.strip().rstrip(";")

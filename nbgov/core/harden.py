"""Policy as DDL: the database itself shows one audience what the policy lets it see.

:func:`harden` writes the statements that make a schema of masked views and a role that may read
them and nothing else. Where the role is used, no parser has to be trusted: base tables are refused
by the server. Nothing here runs a statement. See ``docs/howto/harden.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from nbgov.core.rewrite.filters import check_filter
from nbgov.core.rewrite.masks import masked, quote, quoted
from nbgov.core.rewrite.native import SCHEMA, is_home, repoint
from nbgov.errors import RequestInvalid
from nbgov.model import Catalog, ColumnName, MaskKind, Table, TableName

DIALECTS = {"mysql", "postgres"}
NAME_BYTES_MAX = 63


@dataclass(frozen=True, slots=True)
class Exposure:
    """What an audience sees of a catalog.

    Attributes:
        masks: How columns read that are masked.
        filters: Predicates that the visible rows of a table meet.
        hidden: Columns that may not be read at all.
        shown: Columns of which a view shows the values as they are.
    """

    masks: Mapping[ColumnName, MaskKind] = field(default_factory=dict)
    filters: tuple[tuple[TableName, str], ...] = ()
    hidden: frozenset[ColumnName] = frozenset()
    shown: frozenset[ColumnName] = frozenset()


@dataclass(frozen=True, slots=True)
class Hardening:
    """Statements for an administrator, in order, and what they should know before they run them."""

    statements: tuple[str, ...]
    notes: tuple[str, ...]


def harden(catalog: Catalog, exposure: Exposure, *, role: str, schema: str = SCHEMA) -> Hardening:
    """Write the views and the role of an audience.

    Args:
        catalog: What the connection holds, whole.
        exposure: What the audience sees of it.
        role: The role that gets the views and nothing else; made where it is absent.
        schema: Schema of the views; for tables outside of the default schema, the head of its name.

    Raises:
        RequestInvalid: The product has no roles, or a name is too long for it.
    """
    if catalog.dialect not in DIALECTS:
        raise RequestInvalid(
            f"A {catalog.dialect} database cannot be hardened.",
            code="usage",
            why="it has no roles, so whoever opens the file reads all of it",
            next_step="leave the connection in splice mode, and keep the file to nbgov's account",
        )
    # The views of an earlier run are made anew, and not wrapped in others.
    real = {n: t for n, t in catalog.tables.items() if not is_home(n.schema, schema)}
    catalog = replace(catalog, tables=real)
    shown = {
        name: [c for c in table.columns if ColumnName(name, c.name) not in exposure.hidden]
        for name, table in catalog.tables.items()
    }
    tables = [
        replace(table, columns=tuple(shown[name]))
        for name, table in catalog.tables.items()
        if shown[name]
    ]
    for name in (role, *(repoint(t.name, catalog.default_schema, schema).schema for t in tables)):
        if not name or len(name.encode()) > NAME_BYTES_MAX:
            raise RequestInvalid(
                "A name is empty, or longer than the server takes.",
                code="usage",
                next_step=f"use at most {NAME_BYTES_MAX} bytes for --role and --schema",
            )
    write = postgres if catalog.dialect == "postgres" else mysql
    return Hardening(
        tuple(write(catalog, tables, exposure, role, schema)),
        tuple(notes(catalog, tables, exposure, role)),
    )


def postgres(
    catalog: Catalog, tables: list[Table], exposure: Exposure, role: str, schema: str
) -> Iterator[str]:
    """The statements for PostgreSQL: they make one transaction."""
    who = quote(role, "postgres")
    literal = "'" + role.replace("'", "''") + "'"
    # Security: a body in dollar quotes of our own, so that no name can end it.
    yield (
        "DO $nbgov$ BEGIN IF NOT EXISTS "
        f"(SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal}) THEN "
        f"CREATE ROLE {who} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS; "
        "END IF; END $nbgov$"
    )
    for held in sorted({table.schema for table in catalog.tables}):
        name = quote(held, "postgres")
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {name} FROM PUBLIC, {who}"
        # Security: a function of somebody's own may run with the rights of its owner.
        yield f"REVOKE ALL ON ALL ROUTINES IN SCHEMA {name} FROM PUBLIC, {who}"
        yield f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC, {who}"
    for made in homes(catalog, tables, schema):
        name = quote(made, "postgres")
        yield f"CREATE SCHEMA IF NOT EXISTS {name}"
        yield f"REVOKE ALL ON SCHEMA {name} FROM PUBLIC, {who}"
        yield f"GRANT USAGE ON SCHEMA {name} TO {who}"
    for table in tables:
        view = quoted(repoint(table.name, catalog.default_schema, schema), "postgres")
        yield f"DROP VIEW IF EXISTS {view}"
        # Security: a security barrier keeps predicates of the reader behind the filter and masks.
        yield f"CREATE VIEW {view} WITH (security_barrier) AS {query(table, exposure, catalog)}"
        yield f"REVOKE ALL ON {view} FROM PUBLIC, {who}"
        yield f"GRANT SELECT ON {view} TO {who}"


def mysql(
    catalog: Catalog, tables: list[Table], exposure: Exposure, role: str, schema: str
) -> Iterator[str]:
    """The statements for MySQL and MariaDB: views only.

    Security: never grants on columns of a table. ``HANDLER`` reads every column of a table of which
    one may be read.
    """
    who = "'" + role.replace("\\", "\\\\").replace("'", "''") + "'"
    yield f"CREATE ROLE IF NOT EXISTS {who}"
    for made in homes(catalog, tables, schema):
        yield f"CREATE DATABASE IF NOT EXISTS {quote(made, 'mysql')}"
    for table in tables:
        view = quoted(repoint(table.name, catalog.default_schema, schema), "mysql")
        is_filtered = any(name == table.name for name, _ in exposure.filters)
        # Security: a view that is merged would let a predicate of the reader see hidden rows.
        algorithm = "TEMPTABLE" if is_filtered else "MERGE"
        yield (
            f"CREATE OR REPLACE ALGORITHM={algorithm} SQL SECURITY DEFINER VIEW {view} AS "
            f"{query(table, exposure, catalog)}"
        )
        yield f"GRANT SELECT ON {view} TO {who}"


def query(table: Table, exposure: Exposure, catalog: Catalog) -> str:
    """What the view of a table shows.

    Raises:
        ConfigInvalid: A row filter of the policy is not a plain predicate over the table.
    """
    dialect, columns = catalog.dialect, []
    for column in table.columns:
        name = quote(column.name, dialect)
        kind = exposure.masks.get(ColumnName(table.name, column.name))
        # Security: a token needs its key in the session, where the reader could ask for it.
        kind = MaskKind.REDACT if kind is MaskKind.TOKEN else kind
        columns.append(name if kind is None else f"{masked(column, kind, dialect)} AS {name}")
    where = [predicate for name, predicate in exposure.filters if name == table.name]
    for predicate in where:
        # The filter may look at columns that the view does not show.
        check_filter(predicate, catalog.tables[table.name], catalog)
    text = f"SELECT {', '.join(columns)} FROM {quoted(table.name, dialect)}"  # noqa: S608
    return text + (f" WHERE {' AND '.join(f'({one})' for one in where)}" if where else "")


def homes(catalog: Catalog, tables: list[Table], schema: str) -> list[str]:
    """The schemas that views are made in."""
    return sorted({repoint(t.name, catalog.default_schema, schema).schema for t in tables})


def notes(catalog: Catalog, tables: list[Table], exposure: Exposure, role: str) -> Iterator[str]:
    """What an administrator should know."""
    if catalog.dialect == "postgres":
        yield "tables and routines are revoked from PUBLIC: roles that lived on that need grants"
        yield f"let an account use the role: GRANT {quote(role, 'postgres')} TO the_account"
    else:
        yield f"let an account use the role: GRANT {role} TO the_account, and SET DEFAULT ROLE"
        yield "the account must have no other grant: MySQL has no way to revoke what it never got"
    for name in catalog.tables:
        if all(table.name != name for table in tables):
            yield f"{name} gets no view: no column of it may be read"
    tokens = sorted(str(c) for c, kind in exposure.masks.items() if kind is MaskKind.TOKEN)
    if tokens:
        yield f"{', '.join(tokens)} read as redacted: a key in the session could be read there"

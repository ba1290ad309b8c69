"""The SQL that builds a synthetic world in the shape of a real catalog.

Tables keep names, columns and types; keys, defaults, indexes and triggers are left out, as no
statement of the corpus can see them. A partition becomes an heir of its parent: bounds are not in
the catalog. What cannot be built is named in :attr:`Script.left_out`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nbgov.core.worlds.values import Chance, hidden, kind_of, literal
from nbgov.model import Catalog, ColumnName, MaskKind, Table, TableName

ROWS = 12
NULL_SHARE = 0.15
DEFAULT_SCHEMAS = {"duckdb": "main", "sqlite": "main", "postgres": "public"}
ONE_SCHEMA = {"mysql", "sqlite"}
PLACES = 1000
OTHER_TYPES = {
    "", "bigint", "bit", "blob", "boolean", "bytea", "date", "double", "float", "inet", "int",
    "integer", "interval", "json", "jsonb", "numeric", "oid", "smallint", "text", "time",
    "timestamp", "uuid", "varchar",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Script:
    """How to build one world.

    Attributes:
        statements: Statements that have to succeed, in order.
        views: ``CREATE VIEW`` statements by name, in no order: one may rest on another.
        left_out: What the world lacks, and why, for people.
    """

    statements: tuple[str, ...]
    views: Mapping[TableName, str]
    left_out: tuple[str, ...]


def script(
    chance: Chance,
    catalog: Catalog,
    world: str,
    *,
    masks: Mapping[ColumnName, MaskKind],
    filters: Collection[tuple[TableName, str]] = (),
    images: Sequence[str] = (),
    rows: int = ROWS,
) -> Script:
    """Write one world.

    Two calls with equal chance give two worlds that show the same to whoever meets the masks and
    filters: masked columns differ in all that their mask hides, and are NULL in the same places;
    rows that a filter hides exist in world ``a`` only.

    Args:
        chance: Where values come from.
        catalog: The real catalog.
        world: ``a`` or ``b``.
        masks: How columns read that are masked.
        filters: Predicates that visible rows of a table meet.
        images: The values of this world behind a token; columns with tokens do not depend on the
            world without.
        rows: Rows of each table.
    """
    dialect = catalog.dialect
    statements = [*schemas(catalog)]
    views: dict[TableName, str] = {}
    left_out: list[str] = []
    for table in parents_first(catalog):
        name = full_name(table.name, dialect)
        if table.kind == "view":
            columns = ", ".join(quote(column.name, dialect) for column in table.columns)
            query = table.definition.strip().rstrip(";")
            views[table.name] = f"CREATE VIEW {name} ({columns}) AS {query}"
            continue
        strange = [column.name for column in table.columns if kind_of(column.type) == "other"]
        if strange:
            left_out.append(f"{table.name}: {', '.join(strange)} hold nothing but NULL")
        statements.append(table_ddl(table, catalog))
        names = ", ".join(quote(column.name, dialect) for column in table.columns)
        values = ", ".join(tuples(chance, table, world, masks, images, rows))
        if names:
            statements.append(f"INSERT INTO {name} ({names}) VALUES {values}")
    if world == "b":
        statements += [
            f"DELETE FROM {full_name(table, dialect)} WHERE ({predicate}) IS NOT TRUE"
            for table, predicate in filters
        ]
    return Script((*statements, *statistics(catalog)), views, tuple(left_out))


def parents_first(catalog: Catalog) -> Iterator[Table]:
    """The tables, each after those that it is an heir of."""
    done: set[TableName] = set()
    waiting = [*catalog.tables.values()]
    while waiting:
        ready = [t for t in waiting if all(p in done or p not in catalog.tables for p in t.parents)]
        # A circle of heirs does not exist; a catalog that claims one is taken as it comes.
        ready = ready or waiting
        yield from ready
        done.update(t.name for t in ready)
        waiting = [t for t in waiting if t.name not in done]


def schemas(catalog: Catalog) -> Iterator[str]:
    """Statements that make the schemas which an empty database lacks."""
    if catalog.dialect in ONE_SCHEMA:
        return
    for name in sorted({table.schema for table in catalog.tables}):
        if name != DEFAULT_SCHEMAS.get(catalog.dialect):
            yield f"CREATE SCHEMA {quote(name, catalog.dialect)}"


def statistics(catalog: Catalog) -> Iterator[str]:
    """Statements that gather statistics: one more road to values, and plans that do not waver."""
    if catalog.dialect in {"duckdb", "postgres", "sqlite"}:
        yield "ANALYZE"
    elif catalog.dialect == "mysql":
        for table in catalog.tables.values():
            if table.kind == "table":
                yield f"ANALYZE TABLE {full_name(table.name, catalog.dialect)}"


def table_ddl(table: Table, catalog: Catalog) -> str:
    """The statement that makes a table. A type that an empty database lacks becomes text."""
    dialect = catalog.dialect
    known = [parent for parent in table.parents if parent in catalog.tables]
    inherited = {column.name for parent in known for column in catalog.tables[parent].columns}
    columns = ", ".join(
        f"{quote(column.name, dialect)} {built_in(column.type)}"
        for column in table.columns
        if column.name not in inherited
    )
    text = f"CREATE TABLE {full_name(table.name, dialect)} ({columns})"
    if known:
        text += f" INHERITS ({', '.join(full_name(parent, dialect) for parent in known)})"
    return text


def built_in(type_name: str) -> str:
    """A type that every database of its dialect has."""
    first = type_name.lower().replace("(", " ").replace("[", " ").split(" ")[0]
    return type_name if kind_of(type_name) != "other" or first in OTHER_TYPES else "text"


def tuples(
    chance: Chance,
    table: Table,
    world: str,
    masks: Mapping[ColumnName, MaskKind],
    images: Sequence[str],
    rows: int,
) -> Iterator[str]:
    """The rows of a table, as literals."""
    for _ in range(rows):
        cells = []
        for column in table.columns:
            index, is_null = chance.randrange(PLACES), chance.random() < NULL_SHARE
            mask = masks.get(ColumnName(table.name, column.name))
            if is_null:
                cells.append("NULL")
            elif mask is None:
                cells.append(literal(column.type, index, ""))
            else:
                cells.append(hidden(column.type, index, world, mask, images))
        yield f"({', '.join(cells)})"


def full_name(name: TableName, dialect: str) -> str:
    """A table's name with its schema, quoted. A file and a MySQL database hold one schema only."""
    parts = [name.name] if dialect in ONE_SCHEMA else [name.schema, name.name]
    return ".".join(quote(part, dialect) for part in parts if part)


def quote(name: str, dialect: str) -> str:
    """A name as a quoted identifier."""
    mark = "`" if dialect == "mysql" else '"'
    return mark + name.replace(mark, mark * 2) + mark

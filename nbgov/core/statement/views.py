"""What views show, traced once per catalog: which base columns are behind their columns and rows.

Views compose: a view on a view shows what the tables below show. A partition shows rows of its
parents under the same names, and a parent those of its heirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlglot import exp

from nbgov.core.statement.names import qualifier_spans
from nbgov.core.statement.nodes import check_nodes
from nbgov.core.statement.reads import functions, read_columns, relations
from nbgov.core.statement.spelling import normalise
from nbgov.core.statement.syntax import read_tree
from nbgov.core.statement.trails import Sources
from nbgov.errors import NbgovError
from nbgov.model import Catalog, ColumnName, Effect, Table, TableName

NONE: Sources = frozenset()


def compose(catalog: Catalog) -> Catalog:
    """The catalog with the origins of every view, partition and parent filled in.

    A view whose definition is empty, does not parse, does not resolve, reads the engine's own
    tables, calls a function that is not known to only compute, or reads a view that is not traced,
    is not traced either. Only views are parsed.

    Example:
        >>> from nbgov.model import Column
        >>> t = Table(TableName("main", "t"), (Column("a", "int"), Column("b", "int")))
        >>> query = "SELECT a + 1 FROM main.t WHERE b > 0"
        >>> v = Table(TableName("main", "v"), (Column("x", "int"),), "view", query)
        >>> v = compose(Catalog("duckdb", "main", {x.name: x for x in (t, v)})).tables[v.name]
        >>> sorted(map(str, v.origins["x"])), sorted(map(str, v.row_origins)), v.is_traced
        (['main.t.a'], ['main.t.b'], True)
    """
    composer = Composer(catalog)
    tables = {name: composer.traced(name) for name in catalog.tables}
    return replace(catalog, tables=tables)


class Composer:
    """Traces each table of one catalog once."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.done: dict[TableName, Table] = {}
        self.open: set[TableName] = set()
        self.children: dict[TableName, list[TableName]] = {}
        for table in catalog.tables.values():
            for parent in table.parents:
                self.children.setdefault(parent, []).append(table.name)

    def traced(self, name: TableName) -> Table:
        """A table with its origins; as it is where it has none or they cannot be told."""
        if name not in self.done:
            table = self.catalog.tables[name]
            if name in self.open:
                return table
            self.open.add(name)
            self.done[name] = self.view(table) if table.kind == "view" else self.heir(table)
            self.open.discard(name)
        return self.done[name]

    def heir(self, table: Table) -> Table:
        """A partition, an heir or a parent with the columns of its kin as origins."""
        kin = self.kin(table.name, upwards=True) | self.kin(table.name, upwards=False)
        if not kin:
            return table
        origins = {
            column.name: frozenset(
                ColumnName(other, theirs.name)
                for other in kin
                for theirs in self.catalog.tables[other].columns
                if theirs.name == column.name
            )
            for column in table.columns
        }
        return replace(table, origins=origins, sources=kin, is_traced=True)

    def kin(self, name: TableName, *, upwards: bool) -> frozenset[TableName]:
        """The tables above or below a table, those that the catalog holds."""
        found: set[TableName] = set()
        stack = [name]
        while stack:
            current = stack.pop()
            near = (
                self.catalog.tables[current].parents
                if upwards
                else tuple(self.children.get(current, ()))
            )
            new = {other for other in near if other in self.catalog.tables} - found - {name}
            found |= new
            stack += new
        return frozenset(found)

    def view(self, table: Table) -> Table:
        """A view with the base columns behind its columns and its rows."""
        try:
            found = self.read(table)
        except (NbgovError, RecursionError):
            found = None
        unknown = replace(
            table,
            origins={},
            row_origins=NONE,
            sources=frozenset(),
            views=frozenset(),
            is_traced=False,
        )
        return found or unknown

    def read(self, table: Table) -> Table | None:
        """A view with all that is behind it; ``None`` where that is unknown."""
        dialect = self.catalog.dialect
        sql = normalise(table.definition, dialect)
        tree = read_tree(sql, dialect)
        if isinstance(tree, exp.Create) and tree.kind == "VIEW":
            tree = tree.expression
        check_nodes(tree, 0)
        qualifier_spans(tree)
        mentions, system = relations(tree, self.catalog)
        reading = read_columns(tree, mentions, self.catalog)
        called = functions(tree, sql, self.catalog, reading.attributes)
        is_known = reading.is_resolved and not system
        is_known &= len(reading.fields) == len(table.columns)
        below = {base.name: self.traced(base.name) for _, base in mentions}
        is_known &= all(one.is_traced or one.kind == "table" for one in below.values())
        if not is_known or any(effect is not Effect.READ for effect in called.values()):
            return None
        rows = behind(reading.chosen, below)
        rows = rows.union(*(one.row_origins for one in below.values()))
        columns = {
            column.name: behind(one.trail.shown, below)
            for column, one in zip(table.columns, reading.fields, strict=True)
        }
        # A table of which no column is read is one that rows come from all the same.
        views = frozenset(n for n, one in below.items() if one.kind == "view")
        tables = frozenset(below) - views
        return replace(
            table,
            origins=columns,
            row_origins=rows,
            sources=tables.union(*(one.sources for one in below.values())),
            views=views.union(*(one.views for one in below.values())),
            is_traced=True,
        )


def behind(columns: Sources, tables: Mapping[TableName, Table]) -> Sources:
    """The base columns behind columns of tables and views, kin of tables included."""
    found: set[ColumnName] = set()
    for column in columns:
        table = tables[column.table]
        if table.kind == "table":
            found.add(column)
        found |= table.origins.get(column.name, NONE)
    return frozenset(found)

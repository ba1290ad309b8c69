"""Which base columns each output column and each predicate reads, in one pass over the scopes.

Works on a qualified copy of the tree, which is never executed. Whatever it cannot resolve raises
:class:`Unresolved`, and the caller then counts every column of every table: unknown means all.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from nbgov.core.statement.names import is_common_table, resolve
from nbgov.model import Catalog, ColumnName, OutputColumn

Sources = frozenset[ColumnName]
NONE: Sources = frozenset()


class Unresolved(Exception):
    """Lineage gave up; every column counts. Never leaves this package."""


def trace(query: exp.Expr, catalog: Catalog) -> tuple[tuple[OutputColumn, ...], Sources, Sources]:
    """Resolve the columns of a query.

    Args:
        query: A query whose relations all resolve. It is copied, not changed.
        catalog: What the connection holds.

    Returns:
        The output columns with the base columns their values flow from, the base columns that any
        predicate, join, grouping or ordering reads, and every base column mentioned anywhere.

    Raises:
        Unresolved: A name, a source or a whole-row reference cannot be resolved for certain.
    """
    schemas: dict[str, dict[str, dict[str, str]]] = {}
    for table in catalog.tables.values():
        columns = {f'"{column.name}"': "unknown" for column in table.columns}
        schemas.setdefault(f'"{table.name.schema}"', {})[f'"{table.name.name}"'] = columns
    try:
        qualified = qualify(
            pin(query.copy(), catalog),
            schema=dict[str, object](schemas),
            dialect=catalog.dialect,
            quote_identifiers=False,
            identify=False,
            validate_qualify_columns=True,
        )
        root = build_scope(qualified)
    except (SqlglotError, RecursionError, KeyError, ValueError, AttributeError) as error:
        raise Unresolved from error
    if root is None:
        raise Unresolved
    tracer = Tracer(root, catalog)
    outputs = tracer.outputs(root)
    predicates, everything = tracer.mentions(root)
    return outputs, predicates, everything


def pin(query: exp.Expr, catalog: Catalog) -> exp.Expr:
    """Qualify every base table with the schema it resolves to."""
    for mention in list(query.find_all(exp.Table)):
        if mention.args.get("db") is None and is_common_table(mention):
            continue
        name = resolve(mention, catalog).name
        if not mention.alias:
            mention.set("alias", exp.TableAlias(this=mention.this.copy()))
        mention.set("this", exp.to_identifier(name.name, quoted=True))
        mention.set("db", exp.to_identifier(name.schema, quoted=True))
    return query


class Tracer:
    """Follows columns from outputs to base tables through the scopes of one query."""

    def __init__(self, root: Scope, catalog: Catalog) -> None:
        self.catalog = catalog
        self.by_expression = {id(scope.expression): scope for scope in root.traverse()}
        self.known: dict[int, tuple[OutputColumn, ...]] = {}
        self.open: set[int] = set()

    def outputs(self, scope: Scope) -> tuple[OutputColumn, ...]:
        """The output columns of a scope, in order."""
        key = id(scope.expression)
        if key in self.open:
            raise Unresolved
        if key not in self.known:
            self.open.add(key)
            self.known[key] = self.find_outputs(scope)
            self.open.discard(key)
        return self.known[key]

    def find_outputs(self, scope: Scope) -> tuple[OutputColumn, ...]:
        """The output columns of a scope that is met for the first time."""
        expression = scope.expression
        if isinstance(expression, exp.SetOperation):
            left = self.outputs(self.scope_of(expression.left))
            right = self.outputs(self.scope_of(expression.right))
            if len(left) != len(right) or expression.args.get("by_name"):
                raise Unresolved
            return tuple(
                OutputColumn(a.name, a.sources | b.sources)
                for a, b in zip(left, right, strict=True)
            )
        if isinstance(expression, exp.Subquery):
            return self.outputs(self.scope_of(expression))
        if not isinstance(expression, exp.Select):
            raise Unresolved
        return tuple(
            OutputColumn(item.alias_or_name, self.sources(item, scope))
            for item in expression.expressions
        )

    def scope_of(self, expression: exp.Expr) -> Scope:
        """The scope of a query, with or without parentheses around it."""
        found = self.by_expression.get(id(expression)) or self.by_expression.get(
            id(expression.unnest())
        )
        if found is None:
            raise Unresolved
        return found

    def sources(self, node: exp.Expr, scope: Scope) -> Sources:
        """Every base column that an expression reads, subqueries included."""
        found = NONE
        for part in node.find_all(exp.Column, exp.TableColumn, exp.Star):
            if isinstance(part, exp.Star):
                if isinstance(part.parent, exp.Count):
                    continue
                raise Unresolved
            if not isinstance(part, exp.Column):
                raise Unresolved
            found |= self.column(part, self.enclosing(part, scope))
        return found

    def enclosing(self, node: exp.Expr, default: Scope) -> Scope:
        """The innermost scope that an expression stands in."""
        parent = node.parent
        while parent is not None:
            scope = self.by_expression.get(id(parent))
            if scope is not None:
                return scope
            parent = parent.parent
        return default

    def column(self, column: exp.Column, scope: Scope | None) -> Sources:
        """The base columns behind one column reference."""
        while scope is not None:
            if column.table in scope.sources:
                return self.from_source(scope.sources[column.table], column.name)
            if not column.table and isinstance(scope.expression, exp.Select):
                for item in scope.expression.expressions:
                    if (
                        item.alias_or_name == column.name
                        and column.find_ancestor(exp.Alias) is not item
                    ):
                        return self.sources(item, scope)
            scope = scope.parent
        raise Unresolved

    def from_source(self, source: exp.Expr | Scope, name: str) -> Sources:
        """The base columns behind a column of one source."""
        if isinstance(source, exp.Table):
            table = resolve(source, self.catalog)
            aliases = source.alias_column_names
            names = [column.name for column in table.columns]
            renamed: Mapping[str, str] = dict(zip(aliases, names, strict=False))
            real = renamed.get(name, name)
            match = [n for n in names if n.lower() == real.lower()]
            if not match:
                raise Unresolved
            return frozenset(ColumnName(table.name, n) for n in match)
        if not isinstance(source, Scope) or source.is_udtf:
            raise Unresolved
        found = [o.sources for o in self.outputs(source) if o.name.lower() == name.lower()]
        if not found:
            raise Unresolved
        return NONE.union(*found)

    def mentions(self, root: Scope) -> tuple[Sources, Sources]:
        """Base columns that choose, join, group or order rows, and all that are mentioned."""
        predicates, everything = NONE, NONE
        for scope in root.traverse():
            for column in scope.expression.find_all(exp.Column):
                if self.enclosing(column, scope) is not scope:
                    continue
                sources = self.column(column, scope)
                everything |= sources
                if not is_projected(column, scope.expression):
                    predicates |= sources
        return predicates, everything


def is_projected(column: exp.Expr, query: exp.Expr) -> bool:
    """Whether a column stands in the select list of its query, rather than in a clause."""
    node: exp.Expr | None = column
    while node is not None and node.parent is not query:
        node = node.parent
    return node is not None and node.arg_key == "expressions"

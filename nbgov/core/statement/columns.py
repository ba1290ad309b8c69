"""What a column reference means: which relation in scope has it, and what that reads.

Where an engine might take a name for one thing or for another, both count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from sqlglot import exp

from nbgov.core.statement.names import fold, not_understood, unknown_column
from nbgov.core.statement.trails import NOTHING, Field, Scope, Source, Trail, Unresolved, joined
from nbgov.model import Catalog, ColumnName, Influence


class Columns(ABC):
    """Follows the column references of one statement to base columns.

    Attributes:
        read: Every base column that is named so far.
        predicates: How base columns choose, join, group or order rows.
        shown: Base columns of which more than whether they are NULL reaches a predicate.
        raising: Base columns whose values decide whether the statement fails.
        chosen: What each ``COLUMNS`` of DuckDB stands for at the moment, by its identity.
        attributes: The calls that are not calls, such as ``ssn(c)`` for the column of a row.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.dialect = catalog.dialect
        self.user_functions = {name.rpartition(".")[2] for name in catalog.functions}
        self.read: set[ColumnName] = set()
        self.predicates: set[tuple[ColumnName, Influence]] = set()
        self.shown: set[ColumnName] = set()
        self.raising: set[ColumnName] = set()
        self.chosen: dict[int, Trail] = {}
        self.attributes: set[int] = set()
        self.bound: list[str] = []
        self.raises = False
        self.queries = 0

    @abstractmethod
    def query(self, node: exp.Expr, parent: Scope | None) -> tuple[Field, ...]:
        """The output columns of a query."""

    def key(self, identifier: exp.Expr) -> str:
        """The name by which names are compared."""
        name = fold(identifier, self.dialect)
        return name if self.dialect == "postgres" else name.lower()

    def choose(self, trail: Trail, kind: Influence) -> None:
        """Note that an expression chooses, joins, groups or orders rows."""
        self.predicates |= trail.as_indirect(kind).indirect
        self.shown |= trail.shown
        self.read |= trail.columns

    def column(self, node: exp.Column, scope: Scope) -> Trail:
        """What a column reference reads.

        Raises:
            RequestInvalid: No relation in scope has such a column.
        """
        if isinstance(node.this, exp.Star):
            found = self.named(node, scope).whole
        else:
            key = self.key(node.this)
            table = node.args.get("table")
            if key in self.bound and table is None:
                return NOTHING
            known = self.bare(key, scope) if table is None else self.qualified(node, scope)
            if known is None:
                raise unknown_column(node.name, self.catalog)
            found = known
        self.read |= found.columns
        return found

    def bare(self, key: str, scope: Scope | None) -> Trail | None:
        """What an unqualified name reads: a column, an alias of the select list, or a whole row."""
        found: list[Trail] = []
        while scope is not None:
            alias = scope.aliases.get(key)
            exact = [s.by_key[key] for s in scope.sources if key in s.by_key]
            found += exact
            if alias is not None and (scope.is_clause or not exact):
                found.append(alias)
            # PostgreSQL looks for a column in every query around before it takes a whole row.
            found += [s.whole for s in scope.sources if s.key == key and key not in s.by_key]
            found += [s.rest for s in scope.sources if s.rest is not None and key not in s.by_key]
            if (exact or alias is not None) and not scope.is_joining:
                break
            scope = scope.parent
        return joined(found) if found else None

    def qualified(self, node: exp.Column, scope: Scope) -> Trail | None:
        """What ``table.column`` reads; in DuckDB also a field of a structure.

        Raises:
            Denied: The name has three parts that are not schema, table and column.
        """
        key, table = self.key(node.this), self.key(node.args["table"])
        schema = node.args.get("db")
        inner: Scope | None = scope
        is_named = False
        while inner is not None:
            fitting = [
                s for s in inner.sources
                if s.key == table and (schema is None or s.schema == self.key(schema))
            ]  # fmt: skip
            is_named = is_named or bool(fitting)
            found = [trail for s in fitting if (trail := s.find(key)) is not None]
            if found:
                return joined(found)
            inner = inner.parent
        if schema is not None:
            if is_named:
                return None
            raise not_understood(
                "a column is written with three names that are not schema.table.column",
                "write table.column, and (table.column).field for a field",
            )
        structure = None if is_named else self.bare(table, scope)
        return None if structure is None else structure.computed()

    def named(self, node: exp.Column, scope: Scope | None) -> Source:
        """The relation before ``.*``."""
        key, schema = self.key(node.args["table"]), node.args.get("db")
        while scope is not None:
            for source in scope.sources:
                if source.key == key and (schema is None or source.schema == self.key(schema)):
                    return source
            scope = scope.parent
        raise Unresolved

    def row(self, node: exp.Expr, scope: Scope | None) -> Source | None:
        """The relation whose whole row an expression is, if it is one."""
        inner = node.unnest()
        if not isinstance(inner, exp.Column) or inner.args.get("table") is not None:
            return None
        found, key = None, self.key(inner.this)
        while scope is not None:
            if key in scope.aliases or any(key in source.by_key for source in scope.sources):
                return None
            found = found or next((s for s in scope.sources if s.key == key), None)
            scope = scope.parent
        return found

    def field(self, node: exp.Expr, owner: exp.Expr, key: str, scope: Scope) -> Trail | None:
        """What a column of a whole row reads, or ``None`` where the owner is no whole row."""
        source = self.row(owner, scope)
        if source is None:
            return None
        found = source.find(key)
        if found is None:
            return None
        self.attributes.add(id(node))
        self.read |= found.columns
        return found

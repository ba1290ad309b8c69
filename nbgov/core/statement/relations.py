"""The relations of a FROM clause: base tables, derived tables, functions, joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from nbgov.core.statement.expressions import Expressions
from nbgov.core.statement.names import function_name, is_dual
from nbgov.core.statement.trails import (
    FIELDS_MAX,
    NOTHING,
    SOURCES_MAX,
    Field,
    Scope,
    Source,
    Trail,
    Unresolved,
    base_fields,
    joined,
)
from nbgov.model import Catalog, Influence, Table

TABLE_PARTS = {"this", "db", "alias", "joins", "laterals", "sample", "only", "ordinality", "hints"}
JOIN_PARTS = {"this", "kind", "side", "method", "on", "using"}
JOIN_KINDS = {"", "CROSS", "INNER", "OUTER", "SEMI", "ANTI", "STRAIGHT_JOIN", "STRAIGHT"}
JOIN_METHODS = {"", "NATURAL", "ASOF", "POSITIONAL"}
# Engines that put the columns of USING first, rather than leaving them where the left side has
# them.
MERGED_FIRST = {"mysql", "postgres"}
ONE_COLUMN = {
    "exploding_generate_series", "generate_series", "generate_subscripts", "json_array_elements",
    "json_array_elements_text", "json_object_keys", "jsonb_array_elements",
    "jsonb_array_elements_text", "jsonb_object_keys", "range", "regexp_matches",
    "regexp_split_to_table", "string_to_table", "unnest",
}  # fmt: skip
SHAPES = {
    "json_each": ("key", "value"),
    "json_each_text": ("key", "value"),
    "jsonb_each": ("key", "value"),
    "jsonb_each_text": ("key", "value"),
}
# Functions whose one column PostgreSQL names after the alias, and no other way.
NAMED_BY_ALIAS = {
    "exploding_generate_series", "generate_series", "generate_subscripts",
    "regexp_split_to_table", "string_to_table", "unnest",
}  # fmt: skip
JSON_TABLES = {"json_each", "json_tree"}
JSON_SHAPE = ("key", "value", "type", "atom", "id", "parent", "fullkey", "path")
# How engines name the columns of VALUES; MariaDB names them after the values.
VALUES_NAMES = {"duckdb": ("col{}", 0), "mysql": ("", 0)}

Star = tuple[tuple[Field, ...], bool]
EMPTY: Star = ((), True)


class Relations(Expressions):
    """Follows the relations of FROM clauses.

    Attributes:
        bases: The base table that each mention of one means, by the mention's identity.
        system: The mentions of the engine's own tables, by identity.
        common: The columns of the common table expressions in reach, by folded name.
        joined: The subqueries of a FROM clause, whose joins are read there.
    """

    def __init__(self, catalog: Catalog, bases: Mapping[int, Table], system: set[int]) -> None:
        super().__init__(catalog)
        self.bases = bases
        self.system = system
        self.common: dict[str, tuple[Field, ...]] = {}
        self.known: dict[int, tuple[Field, ...]] = {}
        self.joined: set[int] = set()

    def add_relations(self, node: exp.Select, scope: Scope) -> None:
        """Add the relations of a FROM clause to a scope."""
        first = node.args.get("from_")
        star = EMPTY if first is None else self.relation(first.this, scope)
        star = self.with_joins(star, node, scope)
        scope.star, scope.has_shape = star

    def with_joins(self, star: Star, node: exp.Expr, scope: Scope) -> Star:
        """What a star stands for once everything is joined that a node joins."""
        if node.args.get("laterals"):
            raise Unresolved
        for join in node.args.get("joins") or ():
            star = self.join(star, join, scope)
        return star

    def join(self, star: Star, join: exp.Join, scope: Scope) -> Star:
        """What a star stands for after a join; what the join compares is noted."""
        kind, method = join.args.get("kind") or "", join.args.get("method") or ""
        known = kind.upper() in JOIN_KINDS and method.upper() in JOIN_METHODS
        if not known or {part for part, value in join.args.items() if value} - JOIN_PARTS:
            raise Unresolved
        left, is_left = star
        right, is_right = self.relation(join.this, scope)
        if len(left) + len(right) > FIELDS_MAX:
            raise Unresolved
        condition = join.args.get("on")
        if condition is not None:
            scope.is_joining = True
            self.choose(self.trail(condition, scope), Influence.JOIN)
            scope.is_joining = False
        using = [self.key(name) for name in join.args.get("using") or ()]
        if method.upper() == "NATURAL":
            if not (is_left and is_right):
                raise Unresolved
            theirs = {one.key for one in right}
            using = list(dict.fromkeys(one.key for one in left if one.key in theirs))
        merged = {key: self.compared(key, left, right, scope) for key in using}
        if kind.upper() in {"SEMI", "ANTI"}:
            return left, is_left
        # MySQL reads a right join from the other side.
        is_turned = self.dialect == "mysql" and join.side == "RIGHT" and bool(using)
        has_shape = is_left and is_right and not is_turned
        return self.merge(left, right, merged), has_shape

    def compared(
        self, key: str, left: tuple[Field, ...], right: tuple[Field, ...], scope: Scope
    ) -> Trail:
        """What a column reads that both sides of a join have in common."""
        trails = [one.trail for one in (*left, *right) if one.key == key]
        trails += [s.rest for s in scope.sources if s.rest is not None]
        trail = joined(trails)
        self.choose(trail, Influence.JOIN)
        return trail

    def merge(
        self, left: tuple[Field, ...], right: tuple[Field, ...], merged: Mapping[str, Trail]
    ) -> tuple[Field, ...]:
        """The columns of a join, where those in common stand once."""
        rest = tuple(one for one in right if one.key not in merged)
        if not merged:
            return left + rest
        if self.dialect not in MERGED_FIRST:
            return (
                *(Field(f.key, f.name, merged.get(f.key, f.trail)) for f in left),
                *rest,
            )
        names = {one.key: one.name for one in (*right, *left)}
        keys = list(merged)
        if self.dialect == "mysql":
            keys = [key for key in dict.fromkeys(one.key for one in left) if key in merged]
        first = tuple(Field(key, names.get(key, key), merged[key]) for key in keys)
        return first + tuple(one for one in left if one.key not in merged) + rest

    def relation(self, node: exp.Expr, scope: Scope) -> Star:
        """Add one relation to a scope; what a star of it stands for."""
        if isinstance(node, exp.Table):
            return self.with_joins(self.table(node, scope), node, scope)
        if isinstance(node, exp.Lateral):
            return self.lateral(node, scope)
        if isinstance(node, exp.Unnest):
            return self.function(node, [node], scope)
        if isinstance(node, exp.Values):
            outer = scope if self.dialect == "duckdb" else Scope(scope.parent)
            return self.add(node, self.values(node, outer), scope)
        if not isinstance(node, exp.Subquery):
            raise Unresolved
        if node.args.get("pivots"):
            raise Unresolved
        if is_join(node.this):
            return self.with_joins(self.parentheses(node, scope), node, scope)
        # DuckDB needs no LATERAL to let a subquery see what stands before it.
        around = scope if self.dialect == "duckdb" else scope.parent
        return self.with_joins(self.derived(node, around, scope), node, scope)

    def parentheses(self, node: exp.Expr, scope: Scope) -> Star:
        """Joins in parentheses; an alias hides the names inside."""
        if node.args.get("alias") is None:
            return self.relation(node.this, scope)
        inner = Scope(scope.parent)
        fields, has_shape = self.relation(node.this, inner)
        if not has_shape:
            raise Unresolved
        return self.add(node, fields, scope)

    def derived(self, node: exp.Expr, outer: Scope | None, scope: Scope) -> Star:
        """A subquery with an alias; its joins are read by the caller."""
        self.joined.add(id(node))
        return self.add(node, self.query(node, outer), scope)

    def lateral(self, node: exp.Lateral, scope: Scope) -> Star:
        """LATERAL: a subquery or a function that sees what stands before it."""
        if node.args.get("view") or node.args.get("outer") or node.args.get("cross_apply"):
            raise Unresolved
        if isinstance(node.this, exp.Subquery):
            return self.add(node, self.query(node.this, scope), scope)
        return self.function(node, [node.this], scope)

    def table(self, node: exp.Table, scope: Scope) -> Star:
        """A table by its name, or a function in its place."""
        if {part for part, value in node.args.items() if value} - TABLE_PARTS - {"rows_from"}:
            raise Unresolved
        functions = [one.this for one in node.args.get("rows_from") or ()]
        if not isinstance(node.this, exp.Identifier):
            return self.function(node, functions or [node.this], scope)
        if is_dual(node, self.dialect):
            return EMPTY
        if id(node) in self.system:
            key, schema = self.key(node.this), node.args.get("db")
            source = Source(key, schema and self.key(schema), (), NOTHING, has_shape=False)
            return self.put(node, source, scope)
        table = self.bases.get(id(node))
        if table is not None:
            schema = table.name.schema
            return self.add(node, self.base(table), scope, self.key(exp.to_identifier(schema)))
        fields = self.common.get(self.key(node.this))
        if fields is None:
            raise Unresolved
        return self.add(node, fields, scope)

    def base(self, table: Table) -> tuple[Field, ...]:
        """The columns of a base table."""
        fields = self.known.get(id(table))
        if fields is None:
            fields = base_fields(table, is_exact=self.dialect == "postgres")
            self.known[id(table)] = fields
        return fields

    def function(self, node: exp.Expr, calls: Sequence[exp.Expr], scope: Scope) -> Star:
        """A function in FROM: each of its columns may read everything that it is given."""
        alias, offset = node.args.get("alias"), node.args.get("offset")
        given = [
            part
            for call in calls
            for part in call.iter_expressions()
            if part is not alias and part is not offset
        ]
        trail = self.trails(given, scope).computed()
        self.read |= trail.columns
        names, has_shape, is_closed = self.shape(node, calls, alias)
        fields = tuple(Field(name, name, trail) for name in names)
        rest = None if is_closed else trail
        return self.put(node, Source(function_name(calls[0]), None, fields, rest, has_shape), scope)

    def shape(
        self, node: exp.Expr, calls: Sequence[exp.Expr], alias: exp.Expr | None
    ) -> tuple[list[str], bool, bool]:
        """The names of a function's columns, whether they are all, and whether no other is heard.

        Engines know hidden columns and second names.
        """
        columns = alias.args.get("columns") or [] if alias is not None else []
        given = [self.key(one.this if isinstance(one, exp.ColumnDef) else one) for one in columns]
        if any(isinstance(one, exp.ColumnDef) for one in columns):
            return given, True, True
        offset = node.args.get("offset")
        if isinstance(offset, exp.Identifier):
            given.append(self.key(offset))
        name = "unnest" if isinstance(calls[0], exp.Unnest) else function_name(calls[0])
        known: tuple[str, ...] | None = SHAPES.get(name)
        if name in ONE_COLUMN:
            known = (self.key(alias.this) if alias is not None and alias.this else name,)
        elif name in JSON_TABLES and self.dialect in {"duckdb", "sqlite"}:
            known = JSON_SHAPE
        if known is None or len(calls) > 1:
            return given, False, False
        known += ("ordinality",) if node.args.get("ordinality") or offset else ()
        is_closed = len(given) == len(known) or (
            self.dialect == "postgres" and name in NAMED_BY_ALIAS
        )
        return [*given, *known[len(given) :]], len(given) <= len(known), is_closed

    def values(self, node: exp.Values, scope: Scope) -> tuple[Field, ...]:
        """The columns of VALUES, by position."""
        rows = [
            row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions
        ]
        if len({len(row) for row in rows}) != 1:
            raise Unresolved
        name, start = VALUES_NAMES.get(self.dialect, ("column{}", 1))
        return tuple(
            Field(name.format(place), name.format(place), self.trails(column, scope))
            for place, column in enumerate(zip(*rows, strict=True), start)
        )

    def renamed(self, fields: tuple[Field, ...], alias: exp.Expr | None) -> tuple[Field, ...]:
        """The columns under the names of an alias's column list, by position."""
        columns = alias.args.get("columns") or () if alias is not None else ()
        if len(columns) > len(fields):
            raise Unresolved
        named = (
            Field(self.key(name), name.name, one.trail)
            for name, one in zip(columns, fields, strict=False)
        )
        return (*named, *fields[len(columns) :])

    def add(
        self, node: exp.Expr, fields: tuple[Field, ...], scope: Scope, schema: str | None = None
    ) -> Star:
        """Add a relation whose columns are known to a scope."""
        fields = self.renamed(fields, node.args.get("alias"))
        # Each engine has names of its own for the columns that a query does not name.
        unnamed = [one.trail for one in fields if not one.key]
        key = self.key(node.this) if isinstance(node, exp.Table) else ""
        rest = joined(unnamed) if unnamed else None
        return self.put(node, Source(key, schema, fields, rest), scope)

    def put(self, node: exp.Expr, source: Source, scope: Scope) -> Star:
        """Add a relation to a scope."""
        alias = node.args.get("alias")
        if alias is not None and alias.this is not None:
            source.key, source.schema = self.key(alias.this), None
        scope.sources.append(source)
        if len(scope.sources) > SOURCES_MAX:
            raise Unresolved
        return source.fields, source.has_shape


def is_join(node: exp.Expr) -> bool:
    """Whether what stands in parentheses is a relation or a join, rather than a query."""
    if isinstance(node, exp.Subquery):
        return bool(node.args.get("alias") or node.args.get("joins"))
    return isinstance(node, (exp.Table, exp.Unnest, exp.Lateral))

"""Which base columns each output column and each predicate reads, in one pass over the tree.

The tree is neither copied nor changed, and never executed. Whatever cannot be resolved for certain
raises :class:`~nbgov.core.statement.trails.Unresolved`, and the caller then counts every column of
every table: unknown means all. Where engines differ on what a name means, each meaning counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from nbgov.core.statement.relations import Relations
from nbgov.core.statement.stars import select_list
from nbgov.core.statement.trails import (
    NOTHING,
    QUERIES_MAX,
    Field,
    Scope,
    Trail,
    Unresolved,
    joined,
)
from nbgov.model import Influence

SELECT_PARTS = {
    "with_", "expressions", "from_", "joins", "laterals", "where", "group", "having", "qualify",
    "windows", "distinct", "order", "limit", "offset", "sample", "operation_modifiers",
}  # fmt: skip
SET_PARTS = {"with_", "this", "expression", "distinct", "by_name", "order", "limit", "offset"}
PARENTHESES_PARTS = {"with_", "this", "alias", "order", "limit", "offset", "sample"}
ROUNDS_MAX = 20


class Lineage(Relations):
    """Follows the columns of one statement's queries to base tables."""

    def query(self, node: exp.Expr, parent: Scope | None) -> tuple[Field, ...]:
        """The output columns of a query, with its common table expressions in reach."""
        outside = self.common
        # Recursive expressions are read anew until they settle, at every level of nesting.
        self.queries += 1
        if self.queries > QUERIES_MAX:
            raise Unresolved
        clause = node.args.get("with_")
        if clause is not None:
            self.define(clause, parent)
        fields = self.body(node, parent)
        self.common = outside
        return fields

    def body(self, node: exp.Expr, parent: Scope | None) -> tuple[Field, ...]:
        """The output columns of a query whose common table expressions are in reach."""
        if isinstance(node, exp.Select):
            return self.select(node, parent)
        if isinstance(node, exp.SetOperation):
            return self.set_operation(node, parent)
        if isinstance(node, exp.Values):
            return self.values(node, Scope(parent))
        if not isinstance(node, exp.Subquery):
            raise Unresolved
        refuse_other(node, PARENTHESES_PARTS | ({"joins"} if id(node) in self.joined else set()))
        fields = self.query(node.this, parent)
        self.arrange(node, fields, Scope(parent))
        return fields

    def select(self, node: exp.Select, parent: Scope | None) -> tuple[Field, ...]:
        """The output columns of one SELECT; its clauses are noted as predicates."""
        refuse_other(node, SELECT_PARTS)
        scope = Scope(parent)
        self.add_relations(node, scope)
        windows = node.args.get("windows")
        if windows:
            parts = [part for window in windows for part in window.iter_expressions()]
            scope.windows = self.trails(parts, scope).as_indirect(Influence.WINDOW)
            self.choose(scope.windows, Influence.WINDOW)
        fields = select_list(self, node, scope)
        scope.is_clause = True
        for part in ("where", "having", "qualify"):
            clause = node.args.get(part)
            if clause is not None:
                self.choose(self.trail(clause.this, scope), Influence.FILTER)
        self.group(node, fields, scope)
        distinct = node.args.get("distinct")
        if distinct is not None:
            chosen = distinct.args.get("on")
            trail = joined(f.trail for f in fields) if chosen is None else self.trail(chosen, scope)
            self.choose(trail, Influence.GROUP_BY)
        self.order(node, fields, scope)
        self.cut(node, scope)
        return fields

    def group(self, node: exp.Select, fields: tuple[Field, ...], scope: Scope) -> None:
        """Note what GROUP BY reads, by expression, by place or all."""
        clause = node.args.get("group")
        if clause is None:
            return
        if clause.args.get("all"):
            grouped = [
                one.trail
                for one in fields
                if all(kind is not Influence.AGGREGATION for _, kind in one.trail.direct)
            ]
            self.choose(joined(grouped), Influence.GROUP_BY)
        for part in clause.iter_expressions():
            self.choose(self.placed(part, fields, scope), Influence.GROUP_BY)

    def order(self, node: exp.Expr, fields: tuple[Field, ...], scope: Scope) -> None:
        """Note what ORDER BY reads, by expression, by alias, by place or all."""
        clause = node.args.get("order")
        for part in clause.expressions if clause is not None else ():
            inner = part.this if isinstance(part, exp.Ordered) else part
            if isinstance(inner, exp.Var) and inner.name.upper() == "ALL":
                trail = joined(one.trail for one in fields)
            elif isinstance(inner, exp.Column) and not inner.table:
                # An alias hides a column here, on every engine.
                alias = scope.aliases.get(self.key(inner.this))
                trail = self.trail(inner, scope) if alias is None else alias
            else:
                trail = self.placed(inner, fields, scope)
            self.choose(trail, Influence.SORT)

    def placed(self, node: exp.Expr, fields: tuple[Field, ...], scope: Scope) -> Trail:
        """What an item of GROUP BY or ORDER BY reads; a number is the place of an output."""
        if isinstance(node, exp.Literal) and not node.is_string:
            place = int(node.name) - 1 if node.name.isdigit() else -1
            return fields[place].trail if 0 <= place < len(fields) else NOTHING
        return self.trail(node, scope)

    def cut(self, node: exp.Expr, scope: Scope) -> None:
        """Note what LIMIT, OFFSET and FETCH read."""
        for part in ("limit", "offset"):
            clause = node.args.get(part)
            if clause is not None:
                self.choose(self.trail(clause, scope), Influence.FILTER)

    def arrange(self, node: exp.Expr, fields: tuple[Field, ...], scope: Scope) -> None:
        """Note what ORDER BY and LIMIT behind a set operation or parentheses read."""
        clause = node.args.get("order")
        scope.aliases = by_key(fields)
        for part in clause.find_all(exp.Column, exp.Query, exp.Subquery) if clause else ():
            # SQLite also knows the names of the other side.
            is_output = isinstance(part, exp.Column) and not part.table
            if not is_output or self.key(part.this) not in scope.aliases:
                raise Unresolved
        self.order(node, fields, scope)
        self.cut(node, scope)

    def set_operation(self, node: exp.SetOperation, parent: Scope | None) -> tuple[Field, ...]:
        """The output columns of a set operation, by position or by name."""
        refuse_other(node, SET_PARTS)
        left = self.query(node.this, parent)
        right = self.query(node.expression, parent)
        pairs = self.paired(left, right, is_by_name=bool(node.args.get("by_name")))
        fields = tuple(
            Field(a.key, a.name, a.trail if isinstance(node, exp.Except) else joined((a.trail, b)))
            for a, b in pairs
        )
        compared = joined(one.trail for one in (*left, *right))
        if not isinstance(node, exp.Union):
            self.choose(compared, Influence.FILTER)
        elif node.args.get("distinct"):
            self.choose(compared, Influence.GROUP_BY)
        self.arrange(node, fields, Scope(parent))
        return fields

    def paired(
        self, left: tuple[Field, ...], right: tuple[Field, ...], *, is_by_name: bool
    ) -> list[tuple[Field, Trail]]:
        """The columns of two queries that end up in one column."""
        if is_by_name:
            first, second = by_key(left), by_key(right)
            more = [(one, NOTHING) for one in right if one.key not in first]
            return [(one, second.get(one.key, NOTHING)) for one in left] + more
        if len(left) != len(right):
            raise Unresolved
        return [(a, b.trail) for a, b in zip(left, right, strict=True)]

    def define(self, clause: exp.With, parent: Scope | None) -> None:
        """Bring the common table expressions of a query in reach, one after the other."""
        refuse_other(clause, {"expressions", "recursive"})
        self.common = dict(self.common)
        for one in clause.expressions:
            refuse_other(one, {"this", "alias", "materialized"})
            key = self.key(one.args["alias"].this)
            fields = self.recursive(one, key, parent) if clause.args.get("recursive") else None
            if fields is None:
                fields = self.renamed(self.query(one.this, parent), one.args["alias"])
            self.common[key] = fields

    def recursive(self, node: exp.CTE, key: str, parent: Scope | None) -> tuple[Field, ...] | None:
        """The columns of an expression that reads itself, or ``None`` if it does not."""
        if all(self.key(mention.this) != key for mention in node.this.find_all(exp.Table)):
            return None
        body = node.this
        while isinstance(body, exp.Subquery):
            body = body.this
        if not isinstance(body, exp.SetOperation):
            raise Unresolved
        fields = self.renamed(self.query(body.this, parent), node.args["alias"])
        for _ in range(ROUNDS_MAX):
            self.common[key] = fields
            more = self.renamed(self.query(node.this, parent), node.args["alias"])
            if more == fields:
                return fields
            fields = more
        raise Unresolved


def by_key(fields: Iterable[Field]) -> dict[str, Trail]:
    """What columns read, by folded name; columns of one name count together."""
    result: dict[str, Trail] = {}
    for one in fields:
        result[one.key] = joined((result.get(one.key, NOTHING), one.trail))
    return result


def refuse_other(node: exp.Expr, parts: Iterable[str]) -> None:
    """Give up on a node with parts that are not known.

    Raises:
        Unresolved: It has one.
    """
    if {part for part, value in node.args.items() if value} - set(parts):
        raise Unresolved

"""What the columns that a write assigns come from, and what else it reads of its target.

A write stands where a query may, in ``WITH``, so that this is the lineage of queries with one more
kind of node. Its columns are those of RETURNING, with the values that it has just assigned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp

from nbgov.core.statement.changes import Change, assignments, column_of, inserted_columns
from nbgov.core.statement.lineage import Lineage
from nbgov.core.statement.relations import Star
from nbgov.core.statement.stars import select_list
from nbgov.core.statement.trails import NOTHING, Field, Scope, Source, Trail, Unresolved, joined
from nbgov.model import Catalog, ColumnName, Influence, Table

# Engines whose RETURNING * covers the other relations of the write too.
RETURNS_ALL = {"postgres"}


class Flows(Lineage):
    """Follows the columns of one statement's queries and writes to base tables.

    Attributes:
        flows: What each assigned column comes from.
        touched: What each write reads on the rows of its target, by the write's identity.
    """

    def __init__(
        self, catalog: Catalog, bases: Mapping[int, Table], system: set[int],
        writes: Iterable[Change],
    ) -> None:  # fmt: skip
        super().__init__(catalog, bases, system)
        self.writes = {id(write.node): write for write in writes}
        self.flows: dict[ColumnName, Trail] = {}
        self.touched: dict[int, set[ColumnName]] = {}

    def body(self, node: exp.Expr, parent: Scope | None) -> tuple[Field, ...]:
        """The columns of a query, or those that a write returns."""
        write = self.writes.get(id(node))
        if write is None:
            return super().body(node, parent)
        if isinstance(node, exp.Insert):
            given = self.inserted(node, write, parent)
        outside, self.read = self.read, set()
        scope = Scope(parent)
        star = self.target(write, scope)
        if isinstance(node, exp.Insert):
            self.conflict(node, write, scope, given)
        elif isinstance(node, exp.Merge):
            self.merge_branches(node, write, scope)
            star = ((), False)
        else:
            star = self.changed_rows(node, write, star, scope)
        fields = self.returned(node, write, star, scope)
        self.touched[id(node)] = self.read
        self.read = outside | self.read
        return fields

    def target(self, write: Change, scope: Scope) -> Star:
        """Add the target of a write to a scope."""
        return self.table(write.mention, scope)

    def flow(self, column: ColumnName, trail: Trail) -> None:
        """Note what a column is assigned."""
        self.flows[column] = joined((self.flows.get(column, NOTHING), trail))

    def assign(self, pairs: Iterable[exp.Expr], write: Change, scope: Scope) -> None:
        """Note what SET assigns."""
        for column, value in assignments(list(pairs)):
            self.flow(column_of(column, write.table), self.assigned(value, scope))

    def assigned(self, value: exp.Expr, scope: Scope) -> Trail:
        """What a value to be assigned comes from; DEFAULT comes from nothing."""
        is_default = isinstance(value, exp.Column) and value.sql().upper() == "DEFAULT"
        return NOTHING if is_default else self.trail(value, scope)

    def inserted(self, node: exp.Expr, write: Change, parent: Scope | None) -> dict[str, Trail]:
        """Note what the columns of an INSERT are filled with; by folded name.

        Raises:
            Unresolved: The values and the columns do not go together.
        """
        columns = inserted_columns(node, write.table)
        source = node.args.get("expression")
        if source is None:
            return {}
        scope = Scope(parent)
        is_list = isinstance(source, exp.Values)
        fields = self.values(source, scope) if is_list else self.query(source, parent)
        self.read |= {column for one in fields for column in one.trail.columns}
        if node.args.get("by_name"):
            columns = [column_of(exp.to_identifier(f.name), write.table) for f in fields]
        if len(fields) > len(columns):
            raise Unresolved
        for column, one in zip(columns, fields, strict=False):
            self.flow(column, one.trail)
        return {c.name.lower(): f.trail for c, f in zip(columns, fields, strict=False)}

    def conflict(
        self, node: exp.Expr, write: Change, scope: Scope, given: Mapping[str, Trail]
    ) -> None:
        """Note what an INSERT does to the rows that are in its way."""
        clause = node.args.get("conflict")
        if clause is None:
            return
        source = node.args.get("expression")
        alias = source.alias if isinstance(source, exp.Values) else ""
        inner = Scope(scope.parent, list(scope.sources))
        fields = tuple(
            Field(self.key(exp.to_identifier(c.name, quoted=True)), c.name,
                  given.get(c.name.lower(), NOTHING))
            for c in write.table.columns
        )  # fmt: skip
        for name in filter(None, ("excluded", alias)):
            inner.sources.append(Source(self.key(exp.to_identifier(name)), None, fields))
        self.assign(clause.expressions, write, inner)
        for part in ("where", "index_predicate"):
            self.filter(clause.args.get(part), inner)

    def filter(self, clause: exp.Expr | None, scope: Scope) -> None:
        """Note what a condition reads."""
        if clause is not None:
            condition = clause.this if isinstance(clause, exp.Where) else clause
            self.choose(self.trail(condition, scope), Influence.FILTER)

    def changed_rows(self, node: exp.Expr, write: Change, star: Star, scope: Scope) -> Star:
        """Note what an UPDATE or DELETE reads; what a star of RETURNING stands for."""
        others = list(node.args.get("using") or [])
        if node.args.get("from_") is not None:
            others.append(node.args["from_"].this)
        for other in others:
            more, has_shape = self.relation(other, scope)
            if self.dialect in RETURNS_ALL:
                star = (*star[0], *more), star[1] and has_shape
        if isinstance(node, exp.Update):
            self.assign(node.expressions, write, scope)
        self.filter(node.args.get("where"), scope)
        self.order(node, (), scope)
        self.cut(node, scope)
        return star

    def merge_branches(self, node: exp.Expr, write: Change, scope: Scope) -> None:
        """Note what the branches of a MERGE read and assign."""
        self.relation(node.args["using"], scope)
        self.choose(self.trail(node.args["on"], scope), Influence.JOIN)
        for when in node.args["whens"].expressions:
            self.filter(when.args.get("condition"), scope)
            then = when.args["then"]
            if isinstance(then, exp.Update):
                self.assign(then.expressions, write, scope)
            elif isinstance(then, exp.Insert):
                columns = inserted_columns(then, write.table)
                values = then.args["expression"].expressions
                for column, value in zip(columns, values, strict=False):
                    self.flow(column, self.assigned(value, scope))

    def returned(
        self, node: exp.Expr, write: Change, star: Star, scope: Scope
    ) -> tuple[Field, ...]:
        """The columns of RETURNING, which shows values that have just been assigned."""
        clause = node.args.get("returning")
        if clause is None:
            return ()
        new = {c.name.lower(): t for c, t in self.flows.items() if c.table == write.table.name}

        def renewed(fields: Iterable[Field]) -> tuple[Field, ...]:
            return tuple(
                Field(f.key, f.name, joined((f.trail, new.get(f.name.lower(), NOTHING))))
                for f in fields
            )

        own = scope.sources[0]
        scope.sources[0] = Source(own.key, own.schema, renewed(own.fields))
        scope.star, scope.has_shape = renewed(star[0]), star[1]
        fields = select_list(self, clause, scope)
        self.read |= {column for one in fields for column in one.trail.columns}
        return fields

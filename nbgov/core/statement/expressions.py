"""What expressions read: conditions, windows, aggregates, casts, calls.

One walk visits every node of an expression once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from sqlglot import exp

from nbgov.core.statement.columns import Columns
from nbgov.core.statement.trails import (
    BIND,
    LITERAL,
    NOTHING,
    Scope,
    Trail,
    Unresolved,
    joined,
)
from nbgov.model import Influence

# Engines on which a value that does not convert fails the statement, rather than reading as 0.
RAISING_CASTS = {"duckdb", "postgres"}
RAISING_FUNCTIONS = (
    exp.StrToTime, exp.StrToDate, exp.ToNumber, exp.TsOrDsToDate, exp.StrToUnix, exp.Ln, exp.Log,
    exp.Sqrt,
)  # fmt: skip
RAISING_NAMES = {"factorial", "strptime", "to_date", "to_number", "to_timestamp"}
TIME_TYPES = ("date", "time")
INTEGER_TYPES = ("int", "smallint", "tinyint")
TIMES = exp.DataType.TEMPORAL_TYPES - {exp.DType.TIME, exp.DType.TIMETZ}
WIDER = {exp.DType.BIGINT, exp.DType.DOUBLE, exp.DType.FLOAT}
DIVISIONS = (exp.Div, exp.IntDiv, exp.Mod)
# Where a bare word is the name of a field, a window or a column of a function.
LABELLED = (
    exp.Collate, exp.ColumnDef, exp.Dot, exp.JSONColumnDef, exp.Kwarg, exp.PropertyEQ,
    exp.TableAlias, exp.Window, exp.XMLElement,
)  # fmt: skip


class Expressions(Columns):
    """Follows the expressions of one statement to base columns."""

    def trail(self, node: Any, scope: Scope) -> Trail:
        """What an expression reads."""
        handler = handler_of(node)
        if handler is not None:
            return handler(self, node, scope)
        # A long chain of ANDs is a deep tree, so that this walk must not be a recursion.
        found, stack = [], list(node.iter_expressions())
        while stack:
            child = stack.pop()
            handler = handler_of(child)
            if handler is None:
                stack.extend(child.iter_expressions())
            else:
                found.append(handler(self, child, scope))
        return joined(found).computed()

    def trails(self, nodes: Iterable[exp.Expr | None], scope: Scope) -> Trail:
        """What several expressions read together."""
        return joined([self.trail(node, scope) for node in nodes if node is not None])

    def choice(
        self,
        conditions: Iterable[exp.Expr | None],
        results: Iterable[exp.Expr | None],
        scope: Scope,
    ) -> Trail:
        """What a value reads that conditions choose."""
        condition = self.trails(conditions, scope)
        outside, self.raises = self.raises, False
        result = self.trails(results, scope)
        if self.raises:
            self.raising |= condition.shown
        self.raises = outside or self.raises
        return with_influence(result.computed(), condition.as_indirect(Influence.CONDITIONAL))

    def may_raise(self, trail: Trail) -> None:
        """Note that the values of an expression can make the statement fail."""
        if trail.columns:
            self.raising |= trail.shown
            self.raises = True


Handler = Callable[[Expressions, Any, Scope], Trail]


def with_influence(trail: Trail, influence: Trail) -> Trail:
    """A trail with more columns that choose or place its value."""
    indirect = trail.indirect | influence.indirect
    return replace(trail, indirect=indirect, shown=trail.shown | influence.shown, is_plain=False)


def inner_value(this: Expressions, node: exp.Expr, scope: Scope) -> Trail:
    """Parentheses and aliases change nothing."""
    return this.trail(node.this, scope)


def query_value(this: Expressions, node: exp.Expr, scope: Scope) -> Trail:
    """A subquery is the values of its columns."""
    return joined(one.trail for one in this.query(node, scope))


def existence(this: Expressions, node: exp.Exists, scope: Scope) -> Trail:
    """EXISTS reads no value of its select list; what its clauses read is noted as predicates."""
    if not isinstance(node.this, (exp.Query, exp.Subquery)):
        raise Unresolved
    this.query(node.this, scope)
    return NOTHING


def aggregate(this: Expressions, node: exp.Expr, scope: Scope) -> Trail:
    """An aggregate of its arguments; whatever orders them counts as one."""
    inner = this.trails(node.iter_expressions(), scope)
    note_raising(this, node, inner)
    return inner.computed(Influence.AGGREGATION)


def count(this: Expressions, node: exp.Count, scope: Scope) -> Trail:
    """How many values are not NULL; how many rows there are reads nothing."""
    if isinstance(node.this, exp.Star):
        return NOTHING
    inner = this.trails(node.iter_expressions(), scope)
    is_distinct = isinstance(node.this, exp.Distinct)
    counted = replace(inner, has_bind=False, has_literal=False)
    return (counted if is_distinct else counted.unseen()).computed(Influence.AGGREGATION)


def presence(this: Expressions, node: exp.Is, scope: Scope) -> Trail:
    """IS NULL tells no more than that."""
    inner = this.trail(node.this, scope)
    seen = inner.unseen() if isinstance(node.expression, exp.Null) else inner
    return joined((seen.computed(), this.trail(node.expression, scope)))


def case(this: Expressions, node: exp.Case, scope: Scope) -> Trail:
    """CASE chooses one of its results."""
    branches = node.args.get("ifs") or []
    conditions = [node.this, *(branch.this for branch in branches)]
    results = [*(branch.args.get("true") for branch in branches), node.args.get("default")]
    return this.choice(conditions, results, scope)


def choose_one(this: Expressions, node: exp.If, scope: Scope) -> Trail:
    """IF(condition, result, result)."""
    return this.choice([node.this], [node.args.get("true"), node.args.get("false")], scope)


def filtered(this: Expressions, node: exp.Filter, scope: Scope) -> Trail:
    """FILTER chooses what an aggregate sees."""
    condition = this.trail(node.expression, scope).as_indirect(Influence.CONDITIONAL)
    return with_influence(this.trail(node.this, scope), condition)


def window(this: Expressions, node: exp.Window, scope: Scope) -> Trail:
    """OVER places the rows that a function sees."""
    places = [*(node.args.get("partition_by") or []), node.args.get("order"), node.args.get("spec")]
    place = this.trails(places, scope).as_indirect(Influence.WINDOW)
    value = with_influence(this.trail(node.this, scope).computed(), place)
    return with_influence(value, scope.windows) if node.args.get("alias") else value


def conversion(this: Expressions, node: exp.Cast, scope: Scope) -> Trail:
    """A cast fails on a value that has no meaning in the other type."""
    inner = this.trail(node.this, scope)
    kind = node.args["to"]
    is_text = kind.this in exp.DataType.TEXT_TYPES and not kind.args.get("nested")
    if type(node) is exp.Cast and this.dialect in RAISING_CASTS and not is_text:
        if not converts(this, inner, kind.this):
            this.may_raise(inner)
        # DuckDB leaves a constant that does not convert to the rows that reach it.
        this.raises |= this.dialect == "duckdb" and node.this.is_string
    return inner.computed()


def converts(this: Expressions, trail: Trail, kind: object) -> bool:
    """Whether every stored value of the columns converts: times to times, integers to wider."""
    for name in trail.columns:
        table = this.catalog.tables[name.table]
        stored = next(c.type for c in table.columns if c.name == name.name).lower()
        is_time = stored.startswith(TIME_TYPES) and kind in TIMES
        is_wider = stored.startswith(INTEGER_TYPES) and kind in WIDER
        if not trail.is_plain or not (is_time or is_wider):
            return False
    return True


def division(this: Expressions, node: exp.Binary, scope: Scope) -> Trail:
    """PostgreSQL fails on a division by zero, and DuckDB where it asks for whole numbers."""
    divisor = this.trail(node.expression, scope)
    if this.dialect == "postgres" or (this.dialect == "duckdb" and not isinstance(node, exp.Div)):
        this.may_raise(divisor)
        # Whether rows reach a division by zero tells what sent them there.
        this.raises |= not (node.expression.is_number and node.expression.name.strip("0."))
    return joined((this.trail(node.this, scope), divisor)).computed()


def raising_call(this: Expressions, node: exp.Expr, scope: Scope) -> Trail:
    """A function that fails on some of its arguments."""
    inner = this.trails(node.iter_expressions(), scope)
    note_raising(this, node, inner)
    return inner.computed()


def note_raising(this: Expressions, node: exp.Expr, inner: Trail) -> None:
    """Note what a function that fails on some values is given."""
    name = node.name.lower() if isinstance(node, exp.Anonymous) else ""
    is_raising = isinstance(node, RAISING_FUNCTIONS) or name in RAISING_NAMES
    if this.dialect in RAISING_CASTS and is_raising:
        this.may_raise(inner)


def call(this: Expressions, node: exp.Anonymous, scope: Scope) -> Trail:
    """A function by its name, or in PostgreSQL the column of a row: ``ssn(c)`` is ``c.ssn``."""
    name = node.name.lower()
    is_function = name in this.user_functions or this.dialect != "postgres"
    if not is_function and len(node.expressions) == 1:
        found = this.field(node, node.expressions[0], name, scope)
        if found is not None:
            return found
    return raising_call(this, node, scope)


def attribute(this: Expressions, node: exp.Dot, scope: Scope) -> Trail:
    """A field of a row or of a structure."""
    if isinstance(node.expression, exp.Identifier):
        found = this.field(node, node.this, this.key(node.expression), scope)
        if found is not None:
            return found
    return this.trails((node.this, node.expression), scope).computed()


def comprehension(this: Expressions, node: exp.Expr, scope: Scope) -> Trail:
    """A list made from a list; its variable stands for what the list reads."""
    source = this.trail(node.args["iterator"], scope)
    this.bound.append(this.key(node.expression))
    inner = this.trails((node.this, node.args.get("condition")), scope)
    this.bound.pop()
    return joined((source, inner)).computed()


def anonymous(this: Expressions, node: exp.Lambda, scope: Scope) -> Trail:
    """A function without a name; its parameters stand for what it is applied to."""
    names = [this.key(name) for name in node.expressions]
    this.bound += names
    inner = this.trail(node.this, scope)
    del this.bound[len(this.bound) - len(names) :]
    return inner.computed()


def label(this: Expressions, node: exp.Expr, _scope: Scope) -> Trail:
    """A word that labels something, and is no column.

    Raises:
        Unresolved: It stands where it might be one.
    """
    if isinstance(node.parent, LABELLED) or this.key(node) in this.bound:
        return NOTHING
    raise Unresolved


def bind(_this: Expressions, _node: exp.Expr, _scope: Scope) -> Trail:
    """A bound value reads nothing, and shows."""
    return BIND


def literal(_this: Expressions, _node: exp.Expr, _scope: Scope) -> Trail:
    """A literal reads nothing, and shows."""
    return LITERAL


def misplaced(_this: Expressions, _node: exp.Expr, _scope: Scope) -> Trail:
    """A relation where an expression should stand.

    Raises:
        Unresolved: Always.
    """
    raise Unresolved


def every_column(this: Expressions, node: exp.Expr, scope: Scope) -> Trail:
    """A star inside an expression stands for some of the columns, so that all of them count."""
    chosen = this.chosen.get(id(node))
    if chosen is not None:
        return chosen
    found = joined(one.trail for one in scope.star)
    this.read |= found.columns
    return found.computed()


HANDLERS: dict[type[exp.Expr], Handler | None] = {
    exp.Alias: inner_value, exp.Paren: inner_value, exp.Column: Expressions.column,
    exp.Select: query_value, exp.Union: query_value, exp.Except: query_value,
    exp.Intersect: query_value, exp.Subquery: query_value, exp.Exists: existence,
    exp.Count: count, exp.Is: presence, exp.Case: case, exp.If: choose_one,
    exp.Filter: filtered, exp.WithinGroup: aggregate, exp.Window: window, exp.Cast: conversion,
    exp.TryCast: conversion, exp.Anonymous: call, exp.Dot: attribute,
    exp.Comprehension: comprehension, exp.Lambda: anonymous, exp.Identifier: label,
    exp.Literal: literal, exp.Placeholder: bind, exp.Table: misplaced,
    exp.Star: every_column, exp.Columns: every_column,
    **dict.fromkeys(DIVISIONS, division), **dict.fromkeys(RAISING_FUNCTIONS, raising_call),
}  # fmt: skip


def handler_of(node: exp.Expr) -> Handler | None:
    """What reads a kind of node, or ``None`` where its parts say it all."""
    kind = type(node)
    if kind not in HANDLERS:
        HANDLERS[kind] = aggregate if isinstance(node, exp.AggFunc) else None
    return HANDLERS[kind]

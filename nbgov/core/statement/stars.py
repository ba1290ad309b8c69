"""What stands in a select list: stars with their changes, DuckDB's ``COLUMNS``, whole rows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlglot import exp

from nbgov.core.statement.expressions import Expressions
from nbgov.core.statement.trails import FIELDS_MAX, Field, Scope, Trail, Unresolved

STAR_PARTS = {"except_", "replace", "rename"}
# Letters, dots and plain operators mean the same to DuckDB's expressions as to Python's.
PLAIN_PATTERN = re.compile(r"[\w.^$|*+?]{1,200}", re.ASCII)
REPEATS_MAX = 3
# What unnest is given when it gives one column: a structure would become one for each field.
UNNESTED = (exp.Array, exp.GenerateSeries, exp.Split)


def select_list(this: Expressions, node: exp.Select, scope: Scope) -> tuple[Field, ...]:
    """The output columns of a query, with its aliases noted on the way.

    Raises:
        Unresolved: How many columns there are is not certain.
    """
    fields: list[Field] = []
    for item in node.expressions:
        if len(fields) > FIELDS_MAX:
            raise Unresolved
        found = expanded(this, item, scope)
        if found is not None:
            this.read |= {column for one in found for column in one.trail.columns}
            fields += found
            continue
        refuse_unfolding(this, item)
        name = named(item, this.dialect)
        trail = this.trail(item, scope)
        alias = item.args.get("alias")
        if alias is not None:
            scope.aliases[this.key(alias)] = trail
        given = alias or column_named(item) or exp.to_identifier(name, quoted=True)
        fields.append(Field(this.key(given), name, trail))
    return tuple(fields)


def column_named(item: exp.Expr) -> exp.Expr | None:
    """The name of the column that an item is, or is a cast of, as the statement writes it."""
    while isinstance(item, (exp.Cast, exp.Paren)):
        item = item.this
    return item.this if isinstance(item, exp.Column) else None


def named(item: exp.Expr, dialect: str) -> str:
    """The name of an output column; empty where the engine makes one up."""
    is_call = dialect == "postgres" and isinstance(item, exp.Anonymous)
    return item.name.lower() if is_call else item.output_name


def expanded(this: Expressions, item: exp.Expr, scope: Scope) -> list[Field] | None:
    """The columns that an item stands for, or ``None`` where it is a single value."""
    if isinstance(item, exp.Star):
        return changed(this, item, every(scope), scope)
    if isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
        source = this.named(item, scope)
        if not source.has_shape:
            raise Unresolved
        return changed(this, item.this, source.fields, scope)
    if isinstance(item, exp.Dot) and isinstance(item.expression, exp.Star):
        row = this.row(item.this, scope)
        if row is None or not row.has_shape:
            raise Unresolved
        return list(row.fields)
    if isinstance(item, exp.Columns):
        return matching(this, item, scope)
    chosen = list(item.find_all(exp.Columns))
    if chosen:
        return unfolded(this, item, chosen, scope)
    if has_inner_star(item):
        raise Unresolved
    return None


def unfolded(
    this: Expressions, item: exp.Expr, chosen: list[exp.Columns], scope: Scope
) -> list[Field]:
    """The columns of an expression around ``COLUMNS``: one for each column that it stands for.

    Raises:
        Unresolved: Several stand for different numbers of columns, or one is in another query.
    """
    columns = [matching(this, node, scope) for node in chosen]
    size = sum(map(len, columns)) * len(list(item.find_all(exp.Expr)))
    is_even = len({len(found) for found in columns}) == 1
    if not is_even or size > FIELDS_MAX or item.find(exp.Query, exp.Lambda):
        raise Unresolved
    fields = []
    for row in zip(*columns, strict=True):
        this.chosen |= {id(node): one.trail for node, one in zip(chosen, row, strict=True)}
        name = item.alias or row[0].name
        fields.append(Field(name.lower(), name, this.trail(item, scope)))
    return fields


def has_inner_star(item: exp.Expr) -> bool:
    """Whether an item becomes several because of a star inside it."""
    return any(
        not isinstance(node.parent, (exp.Count, exp.Column))
        for node in item.find_all(exp.Star)
        if node.find_ancestor(exp.Select, exp.SetOperation) is item.find_ancestor(exp.Select)
    )


def every(scope: Scope) -> tuple[Field, ...]:
    """What a bare star stands for."""
    if not scope.has_shape:
        raise Unresolved
    return scope.star


def changed(
    this: Expressions, star: exp.Expr, fields: Iterable[Field], scope: Scope
) -> list[Field]:
    """The columns of a star after EXCLUDE, REPLACE and RENAME."""
    if {part for part, value in star.args.items() if value} - STAR_PARTS:
        raise Unresolved
    left_out = {this.key(column_name(one)) for one in star.args.get("except_") or []}
    replaced: dict[str, Trail] = {
        this.key(one.args["alias"]): this.trail(one.this, scope)
        for one in star.args.get("replace") or []
    }
    renamed = {
        this.key(column_name(one.this)): one.args["alias"] for one in star.args.get("rename") or []
    }
    result = []
    for one in fields:
        if one.key in left_out:
            continue
        trail = replaced.get(one.key, one.trail)
        alias = renamed.get(one.key)
        key, name = (one.key, one.name) if alias is None else (this.key(alias), alias.name)
        result.append(Field(key, name, trail))
    return result


def column_name(node: exp.Expr) -> exp.Expr:
    """The last part of a column's name."""
    return node.this if isinstance(node, exp.Column) else node


def matching(this: Expressions, node: exp.Columns, scope: Scope) -> list[Field]:
    """The columns that ``COLUMNS`` of DuckDB stands for."""
    chosen = node.this
    if node.args.get("unpack"):
        raise Unresolved
    if isinstance(chosen, exp.Star):
        return changed(this, chosen, every(scope), scope)
    if isinstance(chosen, exp.Column) and isinstance(chosen.this, exp.Star):
        return expanded(this, chosen, scope) or []
    if not chosen.is_string or not PLAIN_PATTERN.fullmatch(chosen.name):
        raise Unresolved
    if sum(chosen.name.count(mark) for mark in "*+?") > REPEATS_MAX:
        raise Unresolved
    try:
        pattern = re.compile(chosen.name)
    except re.error:
        raise Unresolved from None
    return [one for one in every(scope) if pattern.search(one.name)]


def refuse_unfolding(this: Expressions, item: exp.Expr) -> None:
    """Give up on an unnest of DuckDB that may become one column for each field.

    Raises:
        Unresolved: The unnested value may be a structure.
    """
    if this.dialect != "duckdb":
        return
    inner = item.unalias()
    if isinstance(inner, exp.Explode) and not (
        isinstance(inner.this, UNNESTED) and not inner.expressions
    ):
        raise Unresolved

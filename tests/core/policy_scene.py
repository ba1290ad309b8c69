"""Statements, tables and questions as plain values, for the tests of the policy."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from nbgov.core.policy import Context, Policy, decide, parse
from nbgov.model import (
    Action,
    Catalog,
    Column,
    ColumnName,
    Decision,
    Effect,
    Flow,
    Principal,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)

ADA = Principal("ada", frozenset({"analysts"}))
EVE = Principal("eve")


def name(text: str) -> TableName:
    """``people`` or ``main.people`` as a table."""
    schema, _, bare = text.rpartition(".")
    return TableName(schema or "main", bare)


def column(text: str) -> ColumnName:
    """``people.email`` as a column."""
    table, _, bare = text.rpartition(".")
    return ColumnName(name(table), bare)


def columns(*texts: str) -> frozenset[ColumnName]:
    return frozenset(map(column, texts))


def table(text: str, *held: str, **more: Any) -> Table:
    """A table whose columns are written ``name`` or ``name:type``."""
    shape = []
    for one in held:
        bare, _, kind = one.partition(":")
        shape.append(Column(bare, kind or "VARCHAR"))
    return Table(name(text), tuple(shape), **more)


def view(text: str, origins: Mapping[str, tuple[str, ...]], *choosers: str, **more: Any) -> Table:
    """A traced view: its columns with what they show, and the columns that choose its rows."""
    return table(
        text,
        *origins,
        kind="view",
        origins={held: columns(*shown) for held, shown in origins.items()},
        row_origins=columns(*choosers),
        is_traced=True,
        **more,
    )


def catalog(*tables: Table, **more: Any) -> Catalog:
    return Catalog("duckdb", "main", {one.name: one for one in tables}, **more)


def use(text: str, action: str = "read", *read: str) -> TableUse:
    """A mention of a table, and the columns of it that are read."""
    return TableUse(
        name(text), Action(action), Span(0, 1), has_alias=False, columns=frozenset(read)
    )


def statement(*uses: TableUse, effects: tuple[str, ...] = ("read",), **more: Any) -> Statement:
    """A statement that reads, unless ``effects`` say more."""
    given = {"sql": "SELECT 1", "verb": "SELECT"} | more
    given["flows"] = tuple(
        Flow(column(target), columns(*sources))
        for target, sources in dict(more.get("flows", {})).items()
    )
    for key in ("presence_columns", "raising_columns"):
        given[key] = columns(*more.get(key, ()))
    return Statement(
        dialect="duckdb", effects=frozenset(map(Effect, effects)), tables=uses, **given
    )


parsed = functools.cache(parse)


def ask(
    policy: str | Policy,
    asked: Statement,
    held: Catalog,
    principal: Principal = ADA,
    context: Context | None = None,
) -> Decision:
    """Decide on the connection ``wh``."""
    read = parsed(policy) if isinstance(policy, str) else policy
    more = {} if context is None else {"context": context}
    return decide(read, principal, "wh", asked, catalog=held, **more)

"""Columns that a MySQL statement spells in another case than their table does.

MySQL names a result's column as the statement spells it if it is one of a table, and as the query
in brackets does if it is one of that. A projection would make the first the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from sqlglot import exp

from nbgov.core.statement import tokenize
from nbgov.core.statement.names import span_of
from nbgov.core.statement.syntax import read_tree
from nbgov.model import Span, Statement


def respelled(statement: Statement, projected: AbstractSet[str]) -> Mapping[Span, str]:
    """Names of outputs that a projection would change, by the place of the output.

    Args:
        statement: The statement.
        projected: The names of the columns of the tables that become projections.
    """
    if statement.dialect != "mysql":
        return {}
    known = {name.lower() for name in projected}
    tokens = tokenize(statement.sql, "mysql")
    if not any(t.text.lower() in known and t.text not in projected for t in tokens):
        return {}
    tree = read_tree(statement.sql, "mysql", statement.binds)
    return {
        place_of(column): column.name
        for select in tree.find_all(exp.Select)
        for column in own_columns(select, {use.span.start for use in statement.tables})
        if column.name.lower() in known
    }


def place_of(column: exp.Column) -> Span:
    """Where a column's name stands, with what qualifies it."""
    return Span(column.parts[0].meta["start"], column.this.meta["end"] + 1)


def own_columns(select: exp.Select, mentions: AbstractSet[int]) -> Iterator[exp.Column]:
    """The outputs of a query that are columns of tables, as far as that is certain.

    Args:
        select: The query.
        mentions: Where tables are mentioned in the text.
    """
    first = select.args.get("from_")
    parts = [] if first is None else [first, *(select.args.get("joins") or ())]
    relations = [part.this for part in parts]
    for column in (one.unnest() for one in select.expressions):
        if isinstance(column, exp.Column) and isinstance(column.this, exp.Identifier):
            name = column.table.lower()
            meant = [one for one in relations if name in {"", one.alias_or_name.lower()}]
            if all(isinstance(one, exp.Table) and span_of(one).start in mentions for one in meant):
                yield column

"""The row that a write may change: which names in a condition mean its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from nbgov.core.statement.names import resolve
from nbgov.errors import RequestInvalid
from nbgov.model import Catalog, Column, Table

# A column of the row carries this in place of a table's name; no name in a text holds a NUL.
MARK = "\0"
ROW_NUMBERS = {"rowid", "_rowid_", "oid"}
SYSTEM_COLUMNS = ROW_NUMBERS | {"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"}


@dataclass(frozen=True, slots=True)
class TargetRow:
    """The row of a table that a condition is about.

    Attributes:
        table: The table.
        name: The name that the statement gives it.
        catalog: What the connection holds, for the names of other tables.
    """

    table: Table
    name: str
    catalog: Catalog

    def mark(self, condition: exp.Expr) -> exp.Expr:
        """A copy of a condition without parentheses, the columns of the row marked."""
        copy = exp.Paren(this=condition.copy())
        own = [column for column in copy.find_all(exp.Column) if self.owns(column)]
        for column in copy.find_all(exp.Column):
            column.set("this", exp.to_identifier(column.name.lower(), quoted=True))
        for column in own:
            column.set("table", exp.to_identifier(MARK, quoted=True))
            column.set("db", None)
        for number, placeholder in enumerate(copy.find_all(exp.Placeholder)):
            # Two parameters are two values, though both are written as a question mark.
            placeholder.set("this", str(number))
        for paren in list(copy.find_all(exp.Paren)):
            if paren is not copy:
                paren.replace(paren.this)
        marked = copy.this
        assert isinstance(marked, exp.Expr)
        return marked

    def owns(self, column: exp.Column) -> bool:
        """Whether a column reference means a column of the row, by the scoping rule of SQL."""
        wanted, name = column.table.lower(), column.name.lower()
        if wanted and wanted != self.name.lower():
            return False
        for source in inner_sources(column):
            is_inner = wanted == source.alias_or_name.lower() if wanted else self.has(source, name)
            if is_inner:
                return False
        return name in SYSTEM_COLUMNS or self.column(name) is not None

    def has(self, source: exp.Expr, name: str) -> bool:
        """Whether a relation within a subquery may have a column of a name."""
        if isinstance(source, exp.Subquery) and not source.is_star:
            return name in {column.lower() for column in source.named_selects}
        if not isinstance(source, exp.Table):
            return True
        try:
            columns = resolve(source, self.catalog).columns
        except RequestInvalid:
            # A common table expression has columns that are not known here. Taking the name for
            # one of them can only make the condition look less like it is about the row.
            return True
        return name in {column.name.lower() for column in columns}

    def column(self, name: str) -> Column | None:
        """The declared column of a name."""
        folded = name.lower()
        return next((c for c in self.table.columns if c.name.lower() == folded), None)


def inner_sources(column: exp.Expr) -> Iterator[exp.Expr]:
    """The relations of the queries, within a condition, that a column stands in."""
    parent = column.parent
    while parent is not None:
        if isinstance(parent, exp.Select):
            clause = parent.args.get("from_")
            joins = [
                clause,
                *(parent.args.get("joins") or []),
                *(parent.args.get("laterals") or []),
            ]
            stack = [part.this for part in joins if part is not None]
            while stack:
                source = stack.pop()
                yield source
                stack += [join.this for join in source.args.get("joins") or []]
        parent = parent.parent


def is_about_row(marked: exp.Expr) -> bool:
    """Whether a marked expression looks at the row."""
    return any(column.table == MARK for column in marked.find_all(exp.Column))

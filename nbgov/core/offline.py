"""A catalog without its database: an engine that inspects and never runs.

``nbgov check --catalog`` decides about statements where no connection is at hand. Products that
resolve names themselves are given an empty database that is made from the catalog. What a statement
means to a product is not known here. Cases: ``tests/core/test_offline.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from nbgov.errors import BackendFailed
from nbgov.model import Catalog, Clearance, EngineOpinion, Table, TableName

ANY_TYPE = "TEXT"


class OfflineEngine:
    """An engine for which there is a catalog and a product's opinion, but no data.

    Args:
        catalog: What the connection is said to hold.
        inspect: The product's own view of a text.
        close: Lets go of what ``inspect`` works on.
    """

    def __init__(
        self,
        catalog: Catalog,
        inspect: Callable[[str], EngineOpinion],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.dialect = catalog.dialect
        self._catalog = catalog
        self._inspect = inspect
        self._close = close

    def catalog(self) -> Catalog:
        """What the connection is said to hold; the same object every time."""
        return self._catalog

    def inspect(self, sql: str) -> EngineOpinion:
        """The product's own view of a text.

        Raises:
            RequestInvalid: The product cannot parse the text.
        """
        return self._inspect(sql)

    def execute(self, clearance: Clearance) -> NoReturn:
        """Run nothing.

        Raises:
            BackendFailed: Always; there is no database.
        """
        del clearance
        raise BackendFailed(
            "There is only a catalog, and no database to run the statement on.",
            code="database-unavailable",
            next_step="name a connection with --connection",
        )

    def estimate(self, clearance: Clearance) -> None:
        """Nothing is known of rows."""

    def cancel(self, request: str = "") -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Let go of the product. Callable more than once."""
        self._close()


def view_query(sql: str, dialect: str) -> str:
    """The query in a ``CREATE VIEW`` statement; empty where the text is none.

    Example:
        >>> view_query('CREATE VIEW s."as" (x) AS SELECT a AS b FROM t;', "duckdb")
        'SELECT a AS b FROM t'
    """
    try:
        tokens = Dialect.get_or_raise(dialect).tokenize(sql)
    except SqlglotError:
        return ""
    # No name before it can be the bare keyword, so the first AS ends the head.
    head = next((token for token in tokens if token.token_type is TokenType.ALIAS), None)
    return "" if head is None else sql[head.end + 1 :].strip().rstrip(";").rstrip()


def quoted(name: str) -> str:
    """A name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(name: TableName) -> str:
    """The name of a table, quoted, with its schema."""
    return ".".join(quoted(part) for part in (name.schema, name.name) if part)


def make_empty(
    catalog: Catalog, run: Callable[[str], object], errors: tuple[type[Exception], ...]
) -> None:
    """Make every table and view of a catalog in an empty database, whose schemas are there.

    A view without a definition, or with one that the product does not take, becomes a table of its
    columns; a column of a type that the product does not know becomes text.

    Args:
        catalog: What to make.
        run: Runs one statement.
        errors: What ``run`` raises when the product does not take it.
    """
    views = [table for table in catalog.tables.values() if table.definition]
    for table in catalog.tables.values():
        if not table.definition:
            make_table(table, run, errors)
    # A view may stand on views that come later in the catalog.
    while left := [view for view in views if not is_taken(view_statement(view), run, errors)]:
        if len(left) == len(views):
            for view in left:
                make_table(view, run, errors)
            return
        views = left


def make_table(
    table: Table, run: Callable[[str], object], errors: tuple[type[Exception], ...]
) -> None:
    """Make one table, column by column where the product does not take it as a whole."""
    name = qualified(table.name)
    columns = [f"{quoted(column.name)} {column.type}" for column in table.columns]
    # ON CONFLICT names a key. A catalog does not tell the keys, so each column that can be one is.
    required = [quoted(column.name) for column in table.columns if column.is_required]
    keys = [f"UNIQUE ({key})" for key in dict.fromkeys([*required, ", ".join(required)]) if key]
    if any(
        is_taken(f"CREATE TABLE {name} ({', '.join(parts)})", run, errors)
        for parts in (columns + keys, columns)
    ):
        return
    head, tail = f"CREATE TABLE {name} (", ")"
    for column, written in zip(table.columns, columns, strict=True):
        if not is_taken(f"{head}{written}{tail}", run, errors):
            run(f"{head}{quoted(column.name)} {ANY_TYPE}{tail}")
        head, tail = f"ALTER TABLE {name} ADD COLUMN ", ""


def view_statement(view: Table) -> str:
    """The statement that makes a view with the columns of the catalog."""
    names = ", ".join(quoted(column.name) for column in view.columns)
    return f"CREATE VIEW {qualified(view.name)} ({names}) AS {view.definition}"


def is_taken(sql: str, run: Callable[[str], object], errors: tuple[type[Exception], ...]) -> bool:
    """Whether the product runs a statement."""
    try:
        run(sql)
    except errors:
        return False
    return True


def schemas(names: Iterable[TableName], *, without: str) -> list[str]:
    """The schemas of some tables, each once, one of them left out."""
    return sorted({name.schema for name in names} - {without, ""})

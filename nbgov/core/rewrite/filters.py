"""Row filters of the policy, proven to be one condition over a table's own columns."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from nbgov.core.rewrite.masks import quoted
from nbgov.core.statement import parse, tokenize
from nbgov.errors import ConfigInvalid, NbgovError
from nbgov.model import Catalog, Column, Effect, Table, TableName

# What keeps the user's own predicate away from rows that a filter hides: a planner may not move a
# condition below a limit. Without it PostgreSQL, MariaDB and SQLite were seen to evaluate the
# user's predicate first, and an error message shows that a hidden row is there (sql.md 3.3).
FENCES = {
    "duckdb": " OFFSET 0",
    "mysql": " LIMIT 18446744073709551615",
    "postgres": " OFFSET 0",
    "sqlite": " LIMIT -1",
}
# Nothing of this belongs into a condition on one row: other rows, binds, session variables.
FOREIGN = (exp.AggFunc, exp.Parameter, exp.Placeholder, exp.Query, exp.SessionParameter, exp.Window)


def check_filter(predicate: str, table: Table, catalog: Catalog) -> None:
    """Prove that a row filter is one plain predicate, so that it can stand in parentheses.

    Raises:
        ConfigInvalid: It is anything else, names a column that the table does not have, or calls a
            function that is not known to do nothing but compute.
    """
    functions = understood(predicate, table.name, table.columns, catalog.dialect)
    if functions is None:
        why = "it must be one condition over columns of the table, without a subquery"
    elif strange := sorted(name for name, effect in functions.items() if effect != Effect.READ):
        why = f"it calls {strange[0]}, which is not known to do nothing but compute"
    elif own := sorted(functions.keys() & {name.rpartition(".")[2] for name in catalog.functions}):
        why = f"somebody has defined a function {own[0]} in the database"
    else:
        return
    raise ConfigInvalid(
        f"The policy's row filter for {table.name} is not a plain predicate.",
        code="policy-invalid",
        why=why,
        next_step="correct row_filter in policy.yaml",
    )


@functools.lru_cache(maxsize=256)
def understood(
    predicate: str, name: TableName, columns: tuple[Column, ...], dialect: str
) -> Mapping[str, Effect] | None:
    """The functions that a condition calls, or ``None`` if it is no condition over the columns."""
    world = Catalog(dialect, name.schema, {name: Table(name, columns)})
    try:
        tokens = tokenize(predicate, dialect)
        tree = sqlglot.parse_one(f"SELECT 1 WHERE ({predicate})", read=dialect)
        statement = parse(f"SELECT 1 FROM {quoted(name, dialect)} WHERE ({predicate})", world)
    except (SqlglotError, NbgovError, RecursionError):
        return None
    parts = {key for key, value in tree.args.items() if value}
    condition = tree.args["where"].this if parts == {"expressions", "where"} else None
    # Security: a parenthesis, a comment or a semicolon of its own could end the filter early.
    if not isinstance(condition, exp.Paren) or any(t.comments or t.text == ";" for t in tokens):
        return None
    is_foreign = condition.find(*FOREIGN) or any(c.table for c in condition.find_all(exp.Column))
    return None if is_foreign or statement.binds else statement.functions

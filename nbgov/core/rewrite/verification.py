"""The text that runs, held against the engine's own view of its parts.

The engine reads the user's text with a name of its own for each place where nbgov has seen a table,
so it has to find a relation in each of these places and nowhere else. It reads the queries that
stand for masked tables one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbgov.core.functions import effect_of, own_name
from nbgov.core.rewrite.masks import FUNCTIONS
from nbgov.core.rewrite.pieces import Rewritten
from nbgov.errors import IntegrityFailed
from nbgov.model import Action, ColumnName, Effect, EngineOpinion, Statement, TableName

# What names a table and shows no row of it; nothing of such a text is replaced.
NAMING_VERBS = {"DESC", "DESCRIBE", "PRAGMA", "SHOW"}
# The engines whose parsers look nothing up, so that a name may be one that is nowhere.
NAME_BLIND = {"duckdb", "postgres"}


def witness_names(statement: Statement) -> tuple[TableName, ...]:
    """A name for each mention of a table that the user's text does not hold.

    SQLite finds tables where they are, so there it is the table's own.
    """
    if statement.dialect not in NAME_BLIND:
        return tuple(use.table for use in statement.tables)
    schema = "nbgov_pinned"
    while schema in statement.sql.lower():
        schema += "_"
    order = sorted({use.span for use in statement.tables})
    return tuple(TableName(schema, f"t{order.index(use.span)}") for use in statement.tables)


def verify(statement: Statement, opinions: Sequence[EngineOpinion], rewritten: Rewritten) -> None:
    """Hold the rewritten text against the engine's own view of it.

    Args:
        statement: What the text was made from.
        opinions: The engine's view of each of ``rewritten.witnesses``.
        rewritten: The text that is to run.

    Raises:
        IntegrityFailed: The engine sees another number of statements, more than a read where a read
            was decided, or a relation, a function or a column that nbgov did not see, or not where
            nbgov has seen it (code ``rewrite-unverified``).
    """
    first, *others = opinions
    problem = disagreement(statement, first, rewritten)
    for table, opinion in zip(rewritten.projected, others, strict=True):
        problem = problem or strangeness(opinion, table, statement.dialect)
    if problem:
        raise IntegrityFailed(
            "Stopped: the engine understands the statement in another way than nbgov does.",
            code="rewrite-unverified",
            why=problem,
            next_step="write the statement in plainer SQL, and report this one",
        )


def disagreement(statement: Statement, opinion: EngineOpinion, rewritten: Rewritten) -> str:
    """What the engine sees otherwise in the user's text; empty when nothing."""
    if opinion.statements != 1:
        return f"the engine sees {opinion.statements} statements"
    if statement.is_read and opinion.is_read is False:
        return "the engine does not call it a read"
    if has_other_tables(statement, opinion, rewritten):
        return "the engine reads another table than nbgov has seen"
    if calls_more(opinion, statement.functions.keys(), statement.dialect):
        return "the engine calls a function that nbgov did not see"
    if reads_more(statement, opinion):
        return "the engine reads a column that nbgov did not see"
    return ""


def strangeness(opinion: EngineOpinion, table: TableName, dialect: str) -> str:
    """What the engine sees in the query for a table that should not be there."""
    if opinion.statements != 1 or opinion.is_read is False:
        return f"the engine does not take the query for {table} as one read"
    if opinion.tables is not None and folded(opinion.tables) != folded([table]):
        return f"the engine reads another table in the query for {table}"
    if calls_more(opinion, FUNCTIONS[dialect], dialect):
        return f"the engine calls another function in the query for {table}"
    return ""


def has_other_tables(statement: Statement, opinion: EngineOpinion, rewritten: Rewritten) -> bool:
    """Whether the engine finds a relation that is not governed, or misses one that is read."""
    if opinion.tables is None:
        return False
    if "metadata" in statement.traits and statement.verb in NAMING_VERBS:
        return False
    mentions = zip(rewritten.names, statement.tables, strict=True)
    read = folded(name for name, use in mentions if use.action is Action.READ)
    known = folded(rewritten.names) | system_names(statement)
    if statement.dialect not in NAME_BLIND:
        # SQLite leaves out what the result does not need. It names the table behind a view if it
        # only counts the view's rows; the columns are compared on their own.
        read, known = set(), known | folded(rewritten.behind)
    return not read <= folded(opinion.tables) <= known


def calls_more(opinion: EngineOpinion, known: Iterable[str], dialect: str) -> bool:
    """Whether the engine names a function that is not known, and does more than compute."""
    names = set(known)
    return any(
        not {name, own_name(name, dialect)} & names and effect_of(name, dialect) is not Effect.READ
        for name in opinion.functions or ()
    )


def reads_more(statement: Statement, opinion: EngineOpinion) -> bool:
    """Whether the engine reads a column that nbgov has not seen in the user's text."""
    if opinion.columns is None or not (statement.is_read and statement.is_resolved):
        return False
    system = system_names(statement)
    known = {str(ColumnName(use.table, c)).lower() for use in statement.tables for c in use.columns}
    read = {column for column in opinion.columns if not folded([column.table]) & system}
    return not {str(column).lower() for column in read} <= known


def system_names(statement: Statement) -> set[str]:
    """The engine's own tables in a statement, with and without their schema."""
    homes = ("", "main") if statement.dialect == "sqlite" else ("",)
    bare = [TableName(home, table.name) for table in statement.system_tables for home in homes]
    return folded([*bare, *statement.system_tables])


def folded(tables: Iterable[TableName]) -> set[str]:
    """Names without regard to case, which engines keep or not; SQLite's schema has two names."""
    return {str(table).lower().replace("sqlite_schema", "sqlite_master") for table in tables}

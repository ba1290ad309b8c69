"""What a statement does, as far as its text tells: two opinions that have to agree.

One is nbgov's own, from sqlglot's tree; the other is the engine's, an
:class:`~nbgov.model.EngineOpinion`. A statement is a read when both say so and each function that
it calls is known to do no more. Cases are in ``tests/cases/effects``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nbgov.core.functions import effect_in, effect_of, reads_metadata
from nbgov.core.statement.calls import written_functions
from nbgov.core.statement.spelling import normalise
from nbgov.core.statement.verbs import written_effects
from nbgov.errors import NbgovError
from nbgov.model import Catalog, Effect, EngineOpinion, Statement

READ = frozenset({Effect.READ})
UNKNOWN = frozenset({Effect.UNKNOWN})
# What has expressions that the parser reads; the guard stops all else whatever it calls.
RUN = frozenset({Effect.READ, Effect.WRITE})


def classify(sql: str, dialect: str, opinion: EngineOpinion | None) -> frozenset[Effect]:
    """What one statement does, judged without a catalog. It never fails.

    Args:
        sql: The user's text.
        dialect: sqlglot's name of the dialect.
        opinion: The engine's view of the same text, or ``None`` where it could not read it.

    Returns:
        All effects. ``UNKNOWN`` is among them where the text is beyond the budget, does not parse,
        is no single statement, or where the two opinions differ.

    Example:
        >>> opinion = EngineOpinion(1, READ, functions=frozenset({"setval"}))
        >>> sorted(classify("SELECT setval('s', 1)", "postgres", opinion))
        [<Effect.WRITE: 'write'>]
    """
    found = UNKNOWN | ((opinion and opinion.effects) or frozenset())
    try:
        text = normalise(sql, dialect)
        own = written_effects(text, dialect)
        if opinion is None or opinion.statements != 1:
            return plain(own | UNKNOWN)
        found = combined(own, opinion.effects)
        called = opinion.functions
        if called is None:
            called = written_functions(text, dialect) if found <= RUN else frozenset()
    except NbgovError:
        return plain(found | UNKNOWN)
    return plain(found | {effect_of(name, dialect) for name in called})


def agree(statement: Statement, opinion: EngineOpinion, catalog: Catalog) -> Statement:
    """The statement with everything that either nbgov or the engine says that it does.

    The engine's names of the functions replace nbgov's; where it gives none, the names before
    brackets in the text are added. What each function does is part of what the statement does.

    Args:
        statement: As nbgov understands it.
        opinion: The engine's view of the same text.
        catalog: What the connection holds, for the functions that people have defined in it.

    Raises:
        NbgovError: The text does not parse, which nbgov's own reading of it has shown not to be so.
    """
    found = combined(statement.effects, opinion.effects)
    if opinion.statements != 1:
        found |= UNKNOWN
    functions = dict(statement.functions)
    called = opinion.functions
    if called is not None:
        functions.clear()
    elif found <= RUN:
        called = written_functions(statement.sql, statement.dialect)
    functions |= {name: effect_in(name, catalog) for name in sorted(called or ())}
    functions |= dict.fromkeys(columns_called(functions, statement, catalog), Effect.READ)
    tells = any(reads_metadata(name, catalog.dialect) for name in functions)
    return replace(
        statement,
        effects=plain(found | set(functions.values())),
        functions=functions,
        traits=statement.traits | ({"metadata"} if tells else set()),
    )


def columns_called(called: Iterable[str], statement: Statement, catalog: Catalog) -> set[str]:
    """The calls that read a column: PostgreSQL takes ``ssn(c)`` for ``c.ssn`` where no function is.

    Resolution counts the column, or all of them, as read. What means a function to anybody is one.
    """
    if catalog.dialect != "postgres":
        return set()
    tables = (catalog.tables.get(use.table) for use in statement.tables)
    columns = {column.name for table in tables if table for column in table.columns}
    defined = {known.rpartition(".")[2] for known in catalog.functions} | catalog.functions.keys()
    return {
        name
        for name in columns.intersection(called) - defined
        if effect_of(name, catalog.dialect) is Effect.UNKNOWN
    }


def combined(own: frozenset[Effect], other: frozenset[Effect] | None) -> frozenset[Effect]:
    """What either opinion says, and ``UNKNOWN`` where just one of them says that it only reads.

    ``None`` is an opinion that cannot tell.
    """
    if other is None:
        return own
    return own | other if (own == READ) == (other == READ) else own | other | UNKNOWN


def plain(effects: Iterable[Effect]) -> frozenset[Effect]:
    """The effects, reading left out where there are others."""
    found = frozenset(effects)
    return found - READ or found

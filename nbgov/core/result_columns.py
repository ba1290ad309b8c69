"""What the columns of a result were made of: base columns, the policy's tags, and how open it is.

A column whose making is not known is as closed as can be. Cases:
``tests/core/test_result_columns.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nbgov.core.policy.document import PUBLIC
from nbgov.core.policy.tags import Classification
from nbgov.model import Catalog, ColumnName, OutputColumn, Statement, TableName
from nbgov.model.dataset import INTERNAL, LEVELS, OPEN, PII


@dataclass(frozen=True, slots=True)
class ResultColumns:
    """What the columns of a result were made of; columns of one name count as one.

    Attributes:
        levels: Column to ``open`` (all that it was made of is tagged ``public``), ``internal`` (all
            is tagged ``public`` or ``internal``) or ``pii`` (anything else, and what is not known).
        tags: Column to the tags of all that it was made of; absent without any.
        origins: Column to the base columns that it shows, such as ``warehouse.main.flights.day``;
            absent where that is not known.
    """

    levels: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_open(self, name: str) -> bool:
        """Whether values of the column may be told."""
        return self.levels.get(name) == OPEN


def result_columns(
    statement: Statement, names: Sequence[str], classification: Classification
) -> ResultColumns:
    """What the columns with these names were made of, as a policy classifies it.

    Args:
        statement: The statement; its outputs are complete or not counted at all.
        names: Names of the delivered columns, in order.
        classification: The policy's tags on the columns of the connection.
    """
    if len(names) != len(statement.outputs):
        return ResultColumns(dict.fromkeys(names, PII))
    levels: dict[str, str] = {}
    tags: dict[str, set[str]] = {}
    origins: dict[str, set[str]] = {}
    for name, output in zip(names, statement.outputs, strict=True):
        found = level_of(output, classification)
        levels[name] = min(levels.get(name, OPEN), found, key=LEVELS.index)
        tags.setdefault(name, set()).update(
            tag.name for column in bearing(output) for tag in classification.tags(column)
        )
        shown = base_columns(output, classification.catalog)
        origins.setdefault(name, set()).update(f"{classification.connection}.{c}" for c in shown)
    return ResultColumns(
        levels,
        {name: tuple(sorted(found)) for name, found in tags.items() if found},
        {name: tuple(sorted(found)) for name, found in origins.items()},
    )


def level_of(output: OutputColumn, classification: Classification) -> str:
    """How open one column of a result is."""
    if output.is_written:
        # Security: what a person binds or writes is theirs, and may be anybody's data.
        return PII
    columns = bearing(output)
    if all(map(classification.is_public, columns)):
        return OPEN
    tags = {tag.name for column in columns for tag in classification.tags(column)}
    is_said = all(map(classification.is_classified, columns))
    return INTERNAL if is_said and tags <= {PUBLIC, INTERNAL} else PII


def bearing(output: OutputColumn) -> frozenset[ColumnName]:
    """The columns that bear on a value: it flows from them, or they choose or place it."""
    return output.sources | {column for column, _ in output.influences}


def base_columns(output: OutputColumn, catalog: Catalog) -> frozenset[ColumnName]:
    """The base columns that a column shows, views followed down."""
    found: set[ColumnName] = set()
    for column in output.sources:
        table = catalog.tables.get(column.table)
        is_view = table is not None and table.kind == "view"
        followed = table.origins.get(column.name) if table is not None and is_view else None
        found |= followed or {column}
    return frozenset(found)


def tables_seen(statement: Statement, catalog: Catalog) -> frozenset[TableName]:
    """The tables that a statement reads: those that it names, and those whose rows they show."""
    named = {use.table for use in statement.tables}
    known = (catalog.tables[name] for name in named if name in catalog.tables)
    return frozenset(named.union(*(table.sources for table in known)))


def names_untraced(statement: Statement, catalog: Catalog) -> bool:
    """Whether a statement names a view of which nobody knows what tables it reads."""
    named = (catalog.tables.get(use.table) for use in statement.tables)
    return any(one is not None and one.kind == "view" and not one.is_traced for one in named)

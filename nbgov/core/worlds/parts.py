"""Parts of generated statements: what a query and its source are, and forms that engines share.

Placeholders are those of :mod:`nbgov.core.worlds.expressions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nbgov.core.worlds.expressions import Field
from nbgov.core.worlds.values import Kind
from nbgov.model import Table

# What they give among equals is up to the order in which an engine happens to read.
NEEDS_ORDER = ("row_number()", "ntile(3)", "lag({})", "lead({})", "first_value({})")
WRITES = (
    "UPDATE {t} SET {c} = {v} WHERE {p}",
    "DELETE FROM {t} WHERE {p}",
    "INSERT INTO {t} ({c}) VALUES ({v})",
    "INSERT INTO {t} ({c}) SELECT {e} FROM {f}",
    "CREATE TABLE nbgov_copy AS {q}",
    "DROP TABLE {t}",
)
METADATA = {
    "postgres": (
        "SELECT table_name FROM information_schema.tables ORDER BY 1",
        "SHOW search_path",
        "SELECT * FROM pg_stats",
        "SELECT relname, reltuples FROM pg_class WHERE relname NOT LIKE 'pg%' ORDER BY 1",
    ),
    "duckdb": (
        "SHOW TABLES",
        "DESCRIBE {t}",
        "SUMMARIZE {t}",
        "SELECT table_name, column_name FROM duckdb_columns() ORDER BY ALL",
    ),
    "sqlite": (
        "PRAGMA table_info({t})",
        "SELECT name FROM sqlite_schema",
        "SELECT * FROM sqlite_stat1",
    ),
    "mysql": ("SHOW TABLES", "DESCRIBE {t}", "SHOW INDEX FROM {t}", "SHOW COLUMNS FROM {t}"),
}
# Aggregates that an engine has of its own.
SUMMARIES = {
    "postgres": (
        "string_agg({a}, ',' ORDER BY {a})",
        "array_agg({a} ORDER BY {a})",
        "bool_or({p})",
        "json_agg({a} ORDER BY {a})",
        "mode() WITHIN GROUP (ORDER BY {a})",
    ),
    "duckdb": (
        "string_agg({a}, ',' ORDER BY {a})",
        "list({a} ORDER BY {a})",
        "bool_or({p})",
        "arg_max({n}, {a})",
        "approx_count_distinct({a})",
        "mode({a})",
        "histogram({a})",
    ),
    "sqlite": ("group_concat({a})", "total({n})", "json_group_array({a})"),
    "mysql": ("group_concat({a} ORDER BY {a})", "bit_or({n})", "json_arrayagg({a})"),
}


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was written, with its columns as a query around it may name them."""

    text: str
    columns: tuple[tuple[str, Kind], ...]


@dataclass
class Source:
    """What follows FROM: its text, the fields in scope, and tables by alias."""

    text: str
    fields: list[Field]
    tables: dict[str, Table] = field(default_factory=dict)


def named(kinds: Sequence[Kind]) -> tuple[tuple[str, Kind], ...]:
    """Names for columns of the given kinds."""
    return tuple((f"c{place}", kind) for place, kind in enumerate(kinds))


def fields_of(alias: str, query: Query) -> list[Field]:
    """The columns of a query, under an alias."""
    return [Field(f"{alias}.{name}", kind) for name, kind in query.columns]


def is_in(one: Field, names: set[str]) -> bool:
    """Whether a field is one of some columns."""
    return one.text.split(".", 1)[-1].strip('"`') in names

"""A catalog as a file: what a connection holds, written down so that no connection is needed.

``nbgov catalog --export`` writes one and ``nbgov check --catalog`` reads it. Decoding is strict,
like that of ``policy.yaml``. The format is described in ``docs/reference/catalog.md``; this module
does not know where a catalog comes from, nor what a view's definition means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import sqlglot
import yaml
from pydantic import BeforeValidator, ConfigDict, Field

from nbgov.errors import ConfigInvalid
from nbgov.model import Catalog, Column, Effect, Table, TableName
from nbgov.strict import adapter, decode

CATALOG_CHARS_MAX = 10_000_000
DOCUMENT = "The catalog file"
STRICT = ConfigDict(extra="forbid")
PART = re.compile(r'"(?:[^"]|"")+"|[^."]+')


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """A column: its type as the source spells it, whether it is never NULL, and generated."""

    __pydantic_config__ = STRICT
    type: str = ""
    required: bool = False
    generated: bool = False


def expand(written: Any) -> Any:
    """A column that is written as its type alone; SQLite's columns may have none."""
    return written if isinstance(written, Mapping | ColumnEntry) else {"type": written or ""}


ColumnShape = Annotated[
    ColumnEntry, BeforeValidator(expand, json_schema_input_type=str | None | ColumnEntry)
]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table or view.

    Attributes:
        columns: The columns, in order.
        kind: ``table``, ``view`` or ``foreign``.
        definition: The query behind a view.
        parents: The tables that it is a partition or an heir of.
        key: The columns of its primary key.
    """

    __pydantic_config__ = STRICT
    columns: Mapping[str, ColumnShape]
    kind: Literal["table", "view", "foreign"] = "table"
    definition: str = ""
    parents: tuple[str, ...] = ()
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogDocument:
    """The catalog file as written.

    Attributes:
        version: Version of the format; 1.
        dialect: The SQL dialect: ``postgres``, ``mysql``, ``duckdb``, ``sqlite``.
        default_schema: The schema that an unqualified name means.
        tables: Tables and views by ``schema.table``.
        functions: Functions that people have defined in the database, as ``schema.name``.
        whole: Whether the file lists all that the database holds.
    """

    __pydantic_config__ = STRICT
    version: Literal[1]
    dialect: Annotated[str, Field(min_length=1)]
    default_schema: str
    tables: Mapping[str, TableEntry]
    functions: tuple[str, ...] = field(default=())
    whole: bool = True


def parse(text: str) -> Catalog:
    """Decode a catalog file.

    Nothing is known of what a function does, so each one's effect is ``UNKNOWN``.

    Raises:
        ConfigInvalid: The text is not YAML, has an unknown key or dialect, names a table in a way
            that means none, or names one twice (code ``catalog-invalid``).
    """
    document = decode(
        text,
        CatalogDocument,
        document=DOCUMENT,
        code="catalog-invalid",
        chars_max=CATALOG_CHARS_MAX,
    )
    if document.dialect not in sqlglot.Dialect.classes:
        raise invalid("the dialect is not known", "write postgres, mysql, duckdb or sqlite")
    tables: dict[TableName, Table] = {}
    for written, entry in document.tables.items():
        name = read_name(written)
        if name in tables:
            raise invalid(f"the table {name} occurs twice", "leave one of the two entries")
        tables[name] = Table(
            name=name,
            columns=tuple(
                Column(c, e.type, e.required, e.generated) for c, e in entry.columns.items()
            ),
            kind=entry.kind,
            definition=entry.definition,
            parents=tuple(map(read_name, entry.parents)),
            key=entry.key,
        )
    return Catalog(
        dialect=document.dialect,
        default_schema=document.default_schema,
        tables=tables,
        functions={name.lower(): Effect.UNKNOWN for name in document.functions},
        is_whole=document.whole,
    )


def dump(catalog: Catalog) -> str:
    """The catalog as a file.

    For a catalog as an engine gives it, ``parse(dump(catalog)) == catalog`` but for grants, by
    which nothing is decided. What nbgov finds out by itself, such as the origins of a view's
    columns and the effects that the policy registers, is not written either: whoever reads the
    file finds it out again.

    Example:
        >>> t = Table(TableName("main", "t"), (Column("id", "INTEGER", True), Column("b", "TEXT")))
        >>> print(dump(Catalog("sqlite", "main", {t.name: t})), end="")
        version: 1
        dialect: sqlite
        default_schema: main
        tables:
          main.t:
            columns:
              id: {type: INTEGER, required: true}
              b: TEXT
    """
    document: dict[str, Any] = {
        "version": 1,
        "dialect": catalog.dialect,
        "default_schema": catalog.default_schema,
        "tables": {write_name(table.name): entry_of(table) for table in catalog.tables.values()},
    }
    if catalog.functions:
        document["functions"] = list(catalog.functions)
    if not catalog.is_whole:
        document["whole"] = False
    written: str = yaml.dump(
        document, Dumper=CatalogDumper, sort_keys=False, allow_unicode=True, width=100
    )
    return written


def schema() -> dict[str, Any]:
    """JSON Schema of the catalog file, for editors."""
    return adapter(CatalogDocument).json_schema()


# ---------------------------------------------------------------- entries and names


class Inline(dict[str, Any]):
    """A mapping that is written on one line."""


class CatalogDumper(yaml.SafeDumper):
    """Writes columns on one line each, repeats no value by reference, and keeps queries legible."""

    def ignore_aliases(self, _: Any) -> bool:
        """Write equal values out each time."""
        return True


def write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text of several lines as a block; one with a character that YAML folds away, escaped."""
    lines = text.split("\n")
    is_plain = all(map(str.isprintable, lines))
    style = '"' if not is_plain else "|" if len(lines) > 1 else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


CatalogDumper.add_representer(str, write_text)
CatalogDumper.add_representer(
    Inline,
    lambda dumper, value: dumper.represent_mapping(
        "tag:yaml.org,2002:map", value.items(), flow_style=True
    ),
)


def entry_of(table: Table) -> dict[str, Any]:
    """A table as the file writes it: what goes without saying is left out."""
    entry: dict[str, Any] = {} if table.kind == "table" else {"kind": table.kind}
    entry["columns"] = {column.name: column_entry(column) for column in table.columns}
    if table.definition:
        entry["definition"] = table.definition
    if table.parents:
        entry["parents"] = [write_name(parent) for parent in table.parents]
    if table.key:
        entry["key"] = list(table.key)
    return entry


def column_entry(column: Column) -> str | Inline:
    """A column as the file writes it: as its type alone, where nothing else is known of it."""
    marks = {"required": column.is_required, "generated": column.is_generated}
    told = {name: True for name, is_set in marks.items() if is_set}
    return Inline(type=column.type, **told) if told else column.type


def read_name(written: str) -> TableName:
    """The table that ``schema.table`` names; a part that holds a dot is in double quotes.

    Example:
        >>> read_name('sales."q1.2026"')
        TableName(schema='sales', name='q1.2026')
    """
    parts = PART.findall(written)
    if ".".join(parts) != written or len(parts) not in {1, 2}:
        raise invalid(
            "a table name is not schema.table", "put a part that holds a dot in double quotes"
        )
    plain = [p[1:-1].replace('""', '"') if p.startswith('"') else p for p in parts]
    return TableName("" if len(plain) == 1 else plain[0], plain[-1])


def write_name(name: TableName) -> str:
    """The name as :func:`read_name` reads it."""
    parts = (name.schema, name.name) if name.schema else (name.name,)
    quoted = ('"' + part.replace('"', '""') + '"' for part in parts)
    return ".".join(
        long if {".", '"'} & set(part) else part for part, long in zip(parts, quoted, strict=True)
    )


def invalid(why: str, next_step: str) -> ConfigInvalid:
    """The error of a file that decodes but makes no sense."""
    return ConfigInvalid(
        f"{DOCUMENT} is not a valid catalog.",
        code="catalog-invalid",
        why=why,
        next_step=next_step,
    )

"""What there is, as Flight SQL tells it: only what the guest may see something of.

A connection is a catalog. What one may not see is absent, in no other way than what is not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nbgov.errors import BackendFailed, Denied
from nbgov.gateway.flight.facts import INFO, info_rows
from nbgov.gateway.flight.types import TYPE_ROWS, TYPES, arrow_schema
from nbgov.model import StopKind

if TYPE_CHECKING:
    from nbgov.core.wire import Message
    from nbgov.gateway.flight.calls import Call
    from nbgov.gateway.house import House
    from nbgov.model import Table

Row = tuple[Any, ...]
PIECE = re.compile(r"\\[%_\\]|.", re.DOTALL)
WILD = {"%": ".*", "_": "."}
KINDS = {"table": "TABLE", "view": "VIEW", "foreign": "FOREIGN TABLE"}


def columns(*names: str, binary: tuple[str, ...] = ()) -> pa.Schema:
    """Columns of text; those with a ``!`` always have a value."""
    return pa.schema(
        pa.field(
            name.rstrip("!"),
            pa.binary() if name.rstrip("!") in binary else pa.string(),
            nullable=not name.endswith("!"),
        )
        for name in names
    )


SEQUENCE = pa.field("key_sequence", pa.int32(), nullable=False)
PRIMARY = pa.schema(
    [
        *columns("catalog_name", "db_schema_name", "table_name!", "column_name!"),
        SEQUENCE,
        pa.field("key_name", pa.string()),
    ]
)
FOREIGN = pa.schema(
    [
        *columns("pk_catalog_name", "pk_db_schema_name", "pk_table_name!", "pk_column_name!"),
        *columns("fk_catalog_name", "fk_db_schema_name", "fk_table_name!", "fk_column_name!"),
        SEQUENCE,
        *columns("fk_key_name", "pk_key_name"),
        pa.field("update_rule", pa.uint8(), nullable=False),
        pa.field("delete_rule", pa.uint8(), nullable=False),
    ]
)
TABLES = columns("catalog_name", "db_schema_name", "table_name!", "table_type!")
WITH_SCHEMA = TABLES.append(pa.field("table_schema", pa.binary(), nullable=False))
SCHEMAS: Mapping[str, pa.Schema] = {
    "CommandGetCatalogs": columns("catalog_name!"),
    "CommandGetDbSchemas": columns("catalog_name", "db_schema_name!"),
    "CommandGetTables": TABLES,
    "CommandGetTableTypes": columns("table_type!"),
    "CommandGetPrimaryKeys": PRIMARY,
    "CommandGetExportedKeys": FOREIGN,
    "CommandGetImportedKeys": FOREIGN,
    "CommandGetCrossReference": FOREIGN,
    "CommandGetXdbcTypeInfo": TYPES,
    "CommandGetSqlInfo": INFO,
}
ANSWERS = frozenset(SCHEMAS)


def columns_of(message: Message) -> pa.Schema:
    """The columns of an answer."""
    if message.name == "CommandGetTables" and message["include_schema"]:
        return WITH_SCHEMA
    return SCHEMAS[message.name]


def answered(house: House, call: Call, message: Message) -> pa.Table:
    """The answer to a question about what there is."""
    schema = columns_of(message)
    if message.name == "CommandGetSqlInfo":
        return info_rows(message["info"], dialect=call.guest.session.dialect(call.connection))
    rows = tuple(FINDERS[message.name](Sight(house, call), message))
    arrays = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pa.table(
        [pa.array(list(values), field.type) for values, field in zip(arrays, schema, strict=True)],
        schema=schema,
    )


class Sight:
    """What a guest sees of each connection.

    Args:
        house: What was stopped there shows nothing.
        call: Who looks.
    """

    def __init__(self, house: House, call: Call) -> None:
        self.house = house
        self.session = call.guest.session

    def tables(self, catalog: str | None) -> Iterator[tuple[str, Table]]:
        """The tables of a connection, or of all, in order, each behind its connection's name."""
        for name in sorted(self.session.connections):
            if catalog is None or catalog == name:
                # A database that is away, or stopped, shows nothing, and hides no other one.
                with suppress(BackendFailed, Denied):
                    self.house.require_open(StopKind.CONNECTION, name)
                    for _, table in sorted(self.session.catalog(name).tables.items()):
                        yield name, table

    def matching(self, catalog: str | None, schema: str | None) -> Iterator[tuple[str, Table]]:
        """Those whose schema fits a pattern."""
        fits = pattern(schema)
        return ((name, one) for name, one in self.tables(catalog) if fits(one.name.schema))


def pattern(text: str | None) -> Callable[[str], bool]:
    """Whether a name fits a pattern of SQL, in which ``%`` and ``_`` stand in for others.

    A backslash before one of them, or before another backslash, takes that away from it.

    >>> [pattern("p%")(name) for name in ("people", "cars")], pattern(None)("any")
    ([True, False], True)
    """
    if text is None:
        return lambda _: True
    parts = "".join(WILD.get(one, re.escape(one[-1])) for one in PIECE.findall(text))
    return lambda name: re.fullmatch(parts, name, re.DOTALL) is not None


def catalogs(sight: Sight, _: Message) -> Iterator[Row]:
    """The connections of which something can be seen."""
    yield from dict.fromkeys((name,) for name, _ in sight.tables(None))


def schemas(sight: Sight, asked: Message) -> Iterator[Row]:
    """Their schemas."""
    found = sight.matching(asked["catalog"], asked["db_schema_filter_pattern"])
    yield from dict.fromkeys((name, table.name.schema) for name, table in found)


def tables(sight: Sight, asked: Message) -> Iterator[Row]:
    """Their tables and views."""
    fits, kinds = pattern(asked["table_name_filter_pattern"]), asked["table_types"]
    for name, table in sight.matching(asked["catalog"], asked["db_schema_filter_pattern"]):
        kind = KINDS.get(table.kind, "TABLE")
        if fits(table.name.name) and (not kinds or kind in kinds):
            row: Row = (name, table.name.schema, table.name.name, kind)
            if asked["include_schema"]:
                described = arrow_schema(table, catalog=name, dialect=sight.session.dialect(name))
                row = (*row, described.serialize().to_pybytes())
            yield row


def table_types(_: Sight, __: Message) -> Iterator[Row]:
    """The kinds of tables."""
    return ((kind,) for kind in KINDS.values())


def primary_keys(sight: Sight, asked: Message) -> Iterator[Row]:
    """The primary keys of tables of a name, as far as the guest sees all of their columns."""
    for name, table in sight.tables(asked["catalog"]):
        is_schema = asked["db_schema"] in {None, table.name.schema}
        seen = {column.name for column in table.columns}
        if is_schema and table.name.name == asked["table"] and set(table.key) <= seen:
            for number, column in enumerate(table.key, 1):
                yield name, table.name.schema, table.name.name, column, number, None


def foreign_keys(_: Sight, __: Message) -> Iterator[Row]:
    """None: the catalog knows no foreign keys."""
    return iter(())


def type_info(_: Sight, asked: Message) -> Iterator[Row]:
    """The types that columns can have."""
    return (row for row in TYPE_ROWS if asked["data_type"] in {None, row[1]})


FINDERS: Mapping[str, Callable[[Sight, Message], Iterator[Row]]] = {
    "CommandGetCatalogs": catalogs,
    "CommandGetDbSchemas": schemas,
    "CommandGetTables": tables,
    "CommandGetTableTypes": table_types,
    "CommandGetPrimaryKeys": primary_keys,
    "CommandGetExportedKeys": foreign_keys,
    "CommandGetImportedKeys": foreign_keys,
    "CommandGetCrossReference": foreign_keys,
    "CommandGetXdbcTypeInfo": type_info,
}

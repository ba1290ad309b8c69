"""Types of columns: as Arrow has them, and as ODBC and JDBC number them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp
from sqlglot.errors import SqlglotError

if TYPE_CHECKING:
    from nbgov.model import Table

KIND = exp.DataType.Type
SIMPLE = {
    KIND.BOOLEAN: pa.bool_(),
    KIND.TINYINT: pa.int8(),
    KIND.UTINYINT: pa.uint8(),
    KIND.SMALLINT: pa.int16(),
    KIND.USMALLINT: pa.uint16(),
    KIND.INT: pa.int32(),
    KIND.UINT: pa.uint32(),
    KIND.BIGINT: pa.int64(),
    KIND.UBIGINT: pa.uint64(),
    KIND.FLOAT: pa.float32(),
    KIND.DOUBLE: pa.float64(),
    KIND.DATE: pa.date32(),
    KIND.TIME: pa.time64("us"),
    KIND.TIMESTAMP: pa.timestamp("us"),
    KIND.TIMESTAMPNTZ: pa.timestamp("us"),
    KIND.TIMESTAMPTZ: pa.timestamp("us", "UTC"),
    KIND.BINARY: pa.binary(),
    KIND.VARBINARY: pa.binary(),
    KIND.BLOB: pa.binary(),
}
DIGITS_MAX = 38
# What one product alone delivers so; elsewhere these are text.
MORE = {
    "duckdb": {
        KIND.INT128: pa.decimal128(DIGITS_MAX),
        KIND.UINT128: pa.decimal128(DIGITS_MAX),
        KIND.TIMESTAMP_S: pa.timestamp("s"),
        KIND.TIMESTAMP_MS: pa.timestamp("ms"),
        KIND.TIMESTAMP_NS: pa.timestamp("ns"),
        KIND.TIMETZ: pa.time64("us"),
        KIND.TIME_NS: pa.time64("ns"),
        KIND.INTERVAL: pa.month_day_nano_interval(),
        KIND.BIT: pa.binary(),
        KIND.GEOMETRY: pa.binary(),
    }
}
NESTING = {"duckdb"}
UNKNOWN_SIZES = {"duckdb": (18, 3)}


def arrow_schema(table: Table, *, catalog: str, dialect: str) -> pa.Schema:
    """The columns of a table as Arrow has them; what has no twin there is text."""
    return pa.schema(
        pa.field(
            column.name,
            arrow_type(column.type, dialect),
            metadata={
                "ARROW:FLIGHT:SQL:CATALOG_NAME": catalog,
                "ARROW:FLIGHT:SQL:SCHEMA_NAME": table.name.schema,
                "ARROW:FLIGHT:SQL:TABLE_NAME": table.name.name,
                "ARROW:FLIGHT:SQL:TYPE_NAME": column.type,
            },
        )
        for column in table.columns
    )


def arrow_type(declared: str, dialect: str) -> pa.DataType:
    """The type behind a declaration.

    >>> arrow_type("DECIMAL(12, 2)", "duckdb"), arrow_type("integer", "postgres")
    (Decimal128Type(decimal128(12, 2)), DataType(int32))
    """
    try:
        kind = exp.DataType.build(declared, dialect=dialect)
    except (SqlglotError, ValueError):
        return pa.string()
    return arrow_kind(kind, dialect)


def arrow_kind(kind: exp.Expression, dialect: str) -> pa.DataType:
    """The type behind a declaration that was read."""
    parts = kind.expressions
    if kind.this is KIND.DECIMAL:
        sizes = [int(one.name) for one in parts if one.name.isdecimal()]
        # A number without a size can have any: whoever has no largest one delivers text.
        precision, scale = (*sizes, 0)[:2] if sizes else UNKNOWN_SIZES.get(dialect, (0, 0))
        is_held = 0 <= scale <= precision <= DIGITS_MAX and precision > 0
        return pa.decimal128(precision, scale) if is_held else pa.string()
    if dialect in NESTING and kind.this in {KIND.ARRAY, KIND.LIST} and parts:
        inner, size = arrow_kind(parts[0], dialect), kind.args.get("values")
        if size:
            return pa.list_(pa.field("", inner), int(size[0].name))
        return pa.list_(pa.field("l", inner))
    if dialect in NESTING and kind.this is KIND.MAP and parts:
        return pa.map_(*(arrow_kind(one, dialect) for one in parts))
    if dialect in NESTING and kind.this is KIND.STRUCT and all("kind" in one.args for one in parts):
        return pa.struct([(one.name, arrow_kind(one.args["kind"], dialect)) for one in parts])
    return MORE.get(dialect, {}).get(kind.this) or SIMPLE.get(kind.this, pa.string())


def field(name: str, kind: pa.DataType, *, is_there: bool = False) -> pa.Field:
    """A column of the list of types."""
    return pa.field(name, kind, nullable=not is_there)


TYPES = pa.schema(
    [
        field("type_name", pa.string(), is_there=True),
        field("data_type", pa.int32(), is_there=True),
        field("column_size", pa.int32()),
        field("literal_prefix", pa.string()),
        field("literal_suffix", pa.string()),
        field("create_params", pa.list_(pa.field("item", pa.string(), nullable=False))),
        field("nullable", pa.int32(), is_there=True),
        field("case_sensitive", pa.bool_(), is_there=True),
        field("searchable", pa.int32(), is_there=True),
        field("unsigned_attribute", pa.bool_()),
        field("fixed_prec_scale", pa.bool_(), is_there=True),
        field("auto_increment", pa.bool_()),
        field("local_type_name", pa.string()),
        field("minimum_scale", pa.int32()),
        field("maximum_scale", pa.int32()),
        field("sql_data_type", pa.int32(), is_there=True),
        field("datetime_subcode", pa.int32()),
        field("num_prec_radix", pa.int32()),
        field("interval_precision", pa.int32()),
    ]
)
NULLABLE, SEARCHABLE = 1, 3
# Name, number of XDBC, size in characters or digits, quote of a literal.
KNOWN = (
    ("BIGINT", -5, 19, None),
    ("BIT", -7, 1, None),
    ("CHAR", 1, 255, "'"),
    ("DATE", 91, 10, "'"),
    ("DECIMAL", 3, 38, None),
    ("DOUBLE", 8, 15, None),
    ("INTEGER", 4, 10, None),
    ("REAL", 7, 7, None),
    ("SMALLINT", 5, 5, None),
    ("TIME", 92, 15, "'"),
    ("TIMESTAMP", 93, 26, "'"),
    ("TINYINT", -6, 3, None),
    ("VARBINARY", -3, 2_147_483_647, "'"),
    ("VARCHAR", 12, 2_147_483_647, "'"),
)
DATETIME, DATETIME_CODES = 9, {91: 1, 92: 2, 93: 3}
TYPE_ROWS = tuple(
    (
        name, number, size, quote, quote, None, NULLABLE, quote is not None, SEARCHABLE, False,
        False, False, name, None, None, DATETIME if number in DATETIME_CODES else number,
        DATETIME_CODES.get(number), None if quote else 10, None,
    )
    for name, number, size, quote in sorted(KNOWN, key=lambda one: one[1])
)  # fmt: skip

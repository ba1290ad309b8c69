"""Types of columns as SQLAlchemy names them, from the words that a database uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlalchemy import types
from sqlglot import exp

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

Kind = exp.DataType.Type
INTEGERS = (Kind.INT, Kind.MEDIUMINT, Kind.UINT, Kind.UMEDIUMINT, Kind.USMALLINT)
SMALL = (Kind.TINYINT, Kind.SMALLINT, Kind.UTINYINT)
NUMBERS = (Kind.DECIMAL, Kind.BIGDECIMAL, Kind.MONEY)
# Wider than any integer of SQLAlchemy; a number without places after the point.
WIDE = (Kind.INT128, Kind.UINT128, Kind.INT256, Kind.UINT256)
TEXTS = (Kind.TEXT, Kind.MEDIUMTEXT, Kind.LONGTEXT, Kind.TINYTEXT, Kind.UUID, Kind.INET, Kind.NAME)
MOMENTS = (Kind.TIMESTAMP, Kind.DATETIME, Kind.TIMESTAMPNTZ)
FINE = (Kind.TIMESTAMP_NS, Kind.TIMESTAMP_MS, Kind.TIMESTAMP_S)
BYTES = (Kind.BINARY, Kind.VARBINARY, Kind.BLOB, Kind.LONGBLOB, Kind.MEDIUMBLOB, Kind.TINYBLOB)
FORMS: Mapping[Any, Callable[..., TypeEngine[Any]]] = {
    **dict.fromkeys(INTEGERS, types.Integer),
    **dict.fromkeys(SMALL, types.SmallInteger),
    **dict.fromkeys((Kind.BIGINT, Kind.UBIGINT), types.BigInteger),
    **dict.fromkeys(WIDE, lambda: types.Numeric(39, 0)),
    **dict.fromkeys(NUMBERS, types.Numeric),
    **dict.fromkeys(TEXTS, types.Text),
    **dict.fromkeys((*MOMENTS, *FINE), types.DateTime),
    **dict.fromkeys(BYTES, types.LargeBinary),
    Kind.TIMESTAMPTZ: lambda *_: types.DateTime(timezone=True),
    Kind.TIMESTAMPLTZ: lambda *_: types.DateTime(timezone=True),
    Kind.BOOLEAN: types.Boolean,
    Kind.CHAR: types.CHAR,
    Kind.NCHAR: types.CHAR,
    Kind.VARCHAR: types.String,
    Kind.NVARCHAR: types.String,
    Kind.DATE: types.Date,
    Kind.DATE32: types.Date,
    Kind.TIME: types.Time,
    Kind.TIMETZ: lambda *_: types.Time(timezone=True),
    Kind.INTERVAL: types.Interval,
    Kind.FLOAT: types.Float,
    Kind.DOUBLE: types.Double,
    Kind.ENUM: lambda *_: types.Text(),
    Kind.JSON: lambda *_: types.Text(),
    Kind.JSONB: lambda *_: types.Text(),
}
SIZED = {*NUMBERS, Kind.CHAR, Kind.NCHAR, Kind.VARCHAR, Kind.NVARCHAR}


@lru_cache(maxsize=1_000)
def type_of(text: str, dialect: str) -> TypeEngine[Any]:
    """The type behind a database's word for it; a type without properties where nobody knows.

    Example:
        >>> type_of("DECIMAL(12, 2)", "duckdb"), type_of("character varying(9)", "postgres")
        (Numeric(precision=12, scale=2), String(length=9))
        >>> type_of("INTEGER[]", "duckdb"), type_of("STRUCT(a INTEGER)", "duckdb")
        (ARRAY(Integer()), NullType())
    """
    try:
        parsed = sqlglot.parse_one(text, into=exp.DataType, dialect=dialect)
    except sqlglot.errors.SqlglotError:
        return types.NullType()
    return shaped(parsed)


def shaped(parsed: exp.Expression) -> TypeEngine[Any]:
    """The type behind one of sqlglot's."""
    if not isinstance(parsed, exp.DataType):
        return types.NullType()
    kind, inner = parsed.this, parsed.expressions
    if kind in {Kind.ARRAY, Kind.LIST} and len(inner) == 1:
        item = shaped(inner[0])
        # SQLAlchemy's arrays hold no arrays; how many dimensions they have is their own affair.
        return item if isinstance(item, types.ARRAY) else types.ARRAY(item)
    form = FORMS.get(kind, types.NullType)
    sizes = [one.this.to_py() for one in inner if isinstance(one, exp.DataTypeParam)]
    return form(*sizes) if kind in SIZED and all(isinstance(n, int) for n in sizes) else form()

"""PostgreSQL's types in Arrow, each value exact.

What the driver decodes exactly stays as it is. ``numeric(p, s)`` becomes a decimal, any other
numeric is text. Types that the driver hands over raw, flattened or in another unit (``uuid``,
``inet``, ``money``, intervals, arrays, composites and so on) are cast to text by the server, nested
ones as JSON. Dates and timestamps that Arrow cannot hold are an error.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.transfer import Misfit

PLAIN = {
    "bool", "bpchar", "bytea", "date", "float4", "float8", "int2", "int4", "int8", "name", "text",
    "time", "timestamp", "timestamptz", "varchar",
}  # fmt: skip
JSON = {"json", "jsonb"}
TYPE_KEY, MODIFIER_KEY = b"POSTGRESQL:type", b"POSTGRESQL:typmod"
DECIMAL_DIGITS_MAX = 38
MODIFIER_OFFSET = 4  # VARHDRSZ: PostgreSQL stores precision and scale above it.
# 24 November 4714 BC, where PostgreSQL's calendar begins, in days and microseconds before 1970.
# The driver lets infinity overflow, and it comes out below.
DAY_MIN = -2_440_588
MICROSECOND_MIN = DAY_MIN * 86_400_000_000


def delivered_schema(described: pa.Schema) -> pa.Schema:
    """The schema of what is delivered, for what the driver describes."""
    return pa.schema([pa.field(field.name, delivered_type(field)) for field in described])


def delivered_type(field: pa.Field) -> pa.DataType:
    """The Arrow type in which every value of a column arrives."""
    if type_name(field) == "numeric":
        return numeric_type(int(field.metadata.get(MODIFIER_KEY, b"-1")))
    return field.type if type_name(field) in PLAIN else pa.string()


def type_name(field: pa.Field) -> str:
    """The server's name of a column's type."""
    name: bytes = (field.metadata or {}).get(TYPE_KEY, b"")
    return name.decode()


def numeric_type(modifier: int) -> pa.DataType:
    """A decimal for a declared precision and scale that Arrow can hold, otherwise text.

    Example:
        >>> numeric_type(((12 << 16) | 2) + MODIFIER_OFFSET), numeric_type(-1)
        (Decimal128Type(decimal128(12, 2)), DataType(string))
    """
    precision, scale = divmod(modifier - MODIFIER_OFFSET, 1 << 16)
    if 0 <= scale <= precision <= DECIMAL_DIGITS_MAX:
        return pa.decimal128(precision, scale)
    return pa.string()


def exact_text(sql: str, described: pa.Schema) -> str:
    """The statement, wrapped where the server has to write columns as text.

    The statement itself stays as it is, inside. Its columns are named by place, because their names
    may repeat.
    """
    names = [f"c{place}" for place in range(len(described))]
    picks = [server_form(name, field) for name, field in zip(names, described, strict=True)]
    if picks == names:
        return sql
    wanted = ", ".join(
        f"{pick} AS {quoted(field.name)}" for pick, field in zip(picks, described, strict=True)
    )
    return f"WITH nbgov_rows ({', '.join(names)}) AS (\n{sql}\n) SELECT {wanted} FROM nbgov_rows"  # noqa: S608  # The text is cleared.


def server_form(name: str, field: pa.Field) -> str:
    """How the server has to write a column."""
    if type_name(field) in PLAIN | JSON | {"numeric"}:
        return name
    return f"to_jsonb({name})::text" if pa.types.is_nested(field.type) else f"{name}::text"


def quoted(name: str) -> str:
    """A name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def exact(column: pa.Array, arrow: pa.DataType) -> pa.Array:
    """One column of the driver in the type that is delivered.

    Raises:
        Misfit: A moment is infinite, or lies beyond what Arrow counts.
        ArrowInvalid: A decimal is NaN.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_date(arrow) and least(column, pa.int32()) < DAY_MIN:
        raise Misfit
    if pa.types.is_timestamp(arrow) and least(column, pa.int64()) < MICROSECOND_MIN:
        raise Misfit
    return column if column.type == arrow else column.cast(arrow)


def least(column: pa.Array, integer: pa.DataType) -> int:
    """The least value of a column, as the integer behind it; zero where there is none."""
    value = pc.min(column.view(integer)).as_py()
    return 0 if value is None else value

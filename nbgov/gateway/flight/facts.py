"""What a gateway says of itself as ``SqlInfo``: numbers of Flight SQL, and their values.

Drivers of JDBC and ODBC build their SQL by them, and stumble over one that is missing. So each
number of the protocol has an answer, but for the versions of Substrait, which there is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from nbgov.core.statement.text import STATEMENT_CHARS_MAX

VALUE = pa.dense_union(
    [
        pa.field("string_value", pa.string()),
        pa.field("bool_value", pa.bool_()),
        pa.field("bigint_value", pa.int64()),
        pa.field("int32_bitmask", pa.int32()),
        pa.field("string_list", pa.list_(pa.string())),
        pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32()))),
    ]
)
INFO = pa.schema(
    [
        pa.field("info_name", pa.uint32(), nullable=False),
        pa.field("value", VALUE, nullable=False),
    ]
)
TEXT, TRUTH, NUMBER, BITS, TEXTS, CONVERSIONS = range(6)
Fact = tuple[int, object]


class Product(NamedTuple):
    """How a product differs from the others.

    Attributes:
        name: What it is called.
        case: How unquoted names are compared: 1 without regard to case, 3 as lower case.
        quoted_case: The same of quoted ones; the protocol has no number for "as they are" but 0.
        nulls: Where NULLs sort: 0 as the highest, 1 as the lowest, 3 at the end.
        quote: What names are quoted with.
        keywords: Words of its own that SQL does not reserve.
    """

    name: str
    case: int
    quoted_case: int
    nulls: int
    quote: str = '"'
    keywords: tuple[str, ...] = ()


PRODUCTS = {
    "duckdb": Product(
        "DuckDB", 1, 1, 3,
        keywords=(
            "ANALYZE", "ANTI", "ASOF", "DESCRIBE", "GLOB", "ILIKE", "LIMIT", "PIVOT", "POSITIONAL",
            "QUALIFY", "RETURNING", "SEMI", "SUMMARIZE", "UNPIVOT", "VARIADIC",
        ),
    ),
    "postgres": Product(
        "PostgreSQL", 3, 0, 0,
        keywords=(
            "ANALYSE", "ANALYZE", "CONCURRENTLY", "DEFERRABLE", "FREEZE", "ILIKE", "INITIALLY",
            "ISNULL", "LIMIT", "NOTNULL", "PLACING", "RETURNING", "VARIADIC", "VERBOSE",
        ),
    ),
    "sqlite": Product(
        "SQLite", 1, 1, 1,
        keywords=("ABORT", "ATTACH", "GLOB", "INDEXED", "ISNULL", "LIMIT", "NOTNULL", "REGEXP"),
    ),
    "mysql": Product(
        "MySQL", 1, 1, 1, quote="`",
        keywords=("DIV", "LIMIT", "REGEXP", "RLIKE", "STRAIGHT_JOIN", "UNSIGNED", "ZEROFILL"),
    ),
}  # fmt: skip
NUMERIC = (
    "ABS", "ACOS", "ASIN", "ATAN", "ATAN2", "CEILING", "COS", "COT", "DEGREES", "EXP", "FLOOR",
    "LOG10", "MOD", "PI", "POWER", "RADIANS", "ROUND", "SIGN", "SIN", "SQRT", "TAN",
)  # fmt: skip
STRING = ("ASCII", "CONCAT", "LEFT", "LENGTH", "LTRIM", "REPEAT", "REPLACE", "RIGHT", "RTRIM")
DATETIME = ("EXTRACT",)
# The limits that the protocol has a number for: there is none that the gateway knows of.
UNLIMITED = (*range(541, 556), *range(558, 562))


def values(dialect: str) -> Mapping[int, Fact]:
    """What is known, by number: which kind of value, and the value."""
    product = PRODUCTS.get(dialect) or Product(dialect, 1, 1, 1)
    return {**server(product), **words(product), **grammar(), **limits(), **transactions()}


def server(product: Product) -> Mapping[int, Fact]:
    """The server itself."""
    from nbgov import __version__

    return {
        0: (TEXT, f"nbgov ({product.name})"),
        1: (TEXT, __version__),
        2: (TEXT, pa.__version__),
        3: (TRUTH, False),  # Not read-only as such: the policy says what may be written.
        4: (TRUTH, True),  # SQL.
        5: (TRUTH, False),  # Substrait.
        8: (BITS, 0),  # No transactions over several calls.
        9: (TRUTH, True),  # A call that is cancelled stops its statement.
        10: (TRUTH, False),  # No bulk ingest,
        11: (TRUTH, False),  # and so none in a transaction.
        100: (NUMBER, 0),
        101: (NUMBER, 0),
    }


def words(product: Product) -> Mapping[int, Fact]:
    """How names and words are written."""
    return {
        500: (TRUTH, False),  # DDL of catalogs,
        501: (TRUTH, True),  # of schemas,
        502: (TRUTH, True),  # and of tables, if the policy lets it.
        503: (NUMBER, product.case),
        504: (TEXT, product.quote),
        505: (NUMBER, product.quoted_case),
        506: (TRUTH, False),  # A table may be seen of which not every column may be read.
        507: (NUMBER, product.nulls),
        508: (TEXTS, list(product.keywords)),
        509: (TEXTS, list(NUMERIC)),
        510: (TEXTS, list(STRING)),
        511: (TEXTS, []),
        512: (TEXTS, list(DATETIME)),
        513: (TEXT, "\\"),
        514: (TEXT, ""),
        529: (TEXT, "schema"),
        530: (TEXT, ""),
        531: (TEXT, "connection"),
        # A statement names no connection; it goes to the one that the header chooses.
        532: (TRUTH, True),
        533: (BITS, 0b010),
        534: (BITS, 0),
    }


def grammar() -> Mapping[int, Fact]:
    """What statements can hold."""
    return {
        515: (TRUTH, True),  # Aliases of columns.
        516: (TRUTH, True),  # NULL with NULL is NULL.
        517: (CONVERSIONS, {}),
        518: (TRUTH, True),  # Aliases of tables,
        519: (TRUTH, False),  # which may be like their names.
        520: (TRUTH, True),
        521: (TRUTH, True),
        522: (BITS, 0b11),
        523: (TRUTH, True),
        524: (TRUTH, True),
        525: (BITS, 0b111),
        526: (BITS, 0b001),
        527: (TRUTH, False),
        528: (BITS, 0b110),
        535: (BITS, 0),
        536: (TRUTH, False),  # SELECT FOR UPDATE would hold a lock that no call ends.
        537: (TRUTH, False),
        538: (BITS, 0b1111),
        539: (TRUTH, True),
        540: (BITS, 0b11),
    }


def limits() -> Mapping[int, Fact]:
    """How large things can be; 0 is without a limit."""
    none: dict[int, Fact] = dict.fromkeys(UNLIMITED, (NUMBER, 0))
    return {**none, 556: (TRUTH, True), 557: (NUMBER, STATEMENT_CHARS_MAX)}


def transactions() -> Mapping[int, Fact]:
    """Each statement is a transaction of its own, and a result is read once, forwards."""
    return {
        562: (NUMBER, 0),
        563: (TRUTH, False),
        564: (BITS, 0b1),
        565: (TRUTH, True),
        566: (TRUTH, False),
        567: (BITS, 0b10),
        568: (BITS, 0),
        569: (BITS, 0b10),
        570: (BITS, 0),
        571: (BITS, 0),
        572: (TRUTH, True),
        573: (TRUTH, False),
        574: (TRUTH, False),
        575: (TRUTH, False),
        576: (TRUTH, False),
    }


def info_rows(wanted: Sequence[int], *, dialect: str) -> pa.Table:
    """What is asked for by number, as far as it is known; all of it where nothing is."""
    known = values(dialect)
    numbers = [number for number in wanted or sorted(known) if number in known]
    kinds = [known[number][0] for number in numbers]
    children: list[list[object]] = [[] for _ in VALUE]
    offsets = []
    for number, kind in zip(numbers, kinds, strict=True):
        offsets.append(len(children[kind]))
        children[kind].append(known[number][1])
    union = pa.UnionArray.from_dense(
        pa.array(kinds, pa.int8()),
        pa.array(offsets, pa.int32()),
        [pa.array(child, field.type) for child, field in zip(children, VALUE, strict=True)],
        [field.name for field in VALUE],
    )
    return pa.table([pa.array(numbers, pa.uint32()), union], schema=INFO)

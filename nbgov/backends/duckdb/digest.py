"""The fingerprint of a relation, computed by DuckDB itself, in one statement of plain SQL.

It shares the specification with :mod:`nbgov.core.fingerprint` and not a line of its arithmetic, so
it verifies what the Arrow path says. It is many times slower: use it to verify, not to measure.
Covered are BOOLEAN; all integers; FLOAT, DOUBLE; DECIMAL; VARCHAR, JSON, ENUM; BLOB; UUID; DATE;
TIMESTAMP of every unit, with and without zone; TIME, TIME_NS; INTERVAL; lists, arrays, structs,
maps and unions of these; and NULL. Every other type is refused by name: BIT, BIGNUM, GEOMETRY,
VARIANT, tuples, and TIME WITH TIME ZONE, whose offset Arrow does not carry.
Spec: ``docs/spec/fingerprint.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from nbgov.backends.duckdb.words import (
    length,
    list_total,
    mix,
    mix_all,
    signed,
    step,
    total,
    wide,
    word,
)
from nbgov.core.fingerprint import Fingerprinter
from nbgov.core.fingerprint.mixing import (
    LANE_A,
    LANE_B,
    LIST,
    MAP,
    NANOS,
    SEED,
    SPEC,
    STRUCT,
    TEXT,
    WORD_MASK,
    derive,
    unique_labels,
)
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    import duckdb
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["digest_sql", "fingerprint_relation"]

DAY_US = 86_400_000_000
INT64_MAX = 2**63 - 1
WHOLE_FLOAT_MAX = 2**53

INTEGERS = {
    "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint",
}  # fmt: skip
WIDE_INTEGERS = {"hugeint", "uhugeint"}
"""DuckDB hands these over as Arrow decimals, so that is their logical type."""
UNITS = {"timestamp_s": 1_000_000, "timestamp_ms": 1_000}


def fingerprint_relation(relation: duckdb.DuckDBPyRelation) -> Fingerprinter:
    """The fold over all rows of a relation, with every sum made by DuckDB.

    A relation has no order, so the fold knows none.

    Args:
        relation: A relation, such as ``connection.sql("FROM flights")``.

    Raises:
        BackendFailed: It has a column of a type that is not covered.

    Example:
        >>> import duckdb
        >>> connection = duckdb.connect()
        >>> relation = connection.sql("SELECT 1 AS id, 'a' AS name")
        >>> from nbgov.tables import fingerprint
        >>> fingerprint_relation(relation).finish() == fingerprint(relation)
        True
    """
    sql = digest_sql(relation.columns, relation.types, "relation")
    answer = relation.query("relation", sql)
    assert answer is not None, "a SELECT has an answer"
    [row] = answer.fetchall()
    rows, lane_a, lane_b, *figures = [int(figure) for figure in row]
    names = zip(relation.columns, map(logical_type, relation.types), strict=True)
    return Fingerprinter.from_state(
        {
            "spec": SPEC,
            "rows": rows,
            "lanes": [f"{lane_a:016x}", f"{lane_b:016x}"],
            "order": None,
            "columns": [
                [name, kind, f"{digest:016x}", nonnull]
                for (name, kind), digest, nonnull in zip(
                    names, figures[::2], figures[1::2], strict=True
                )
            ],
        }
    )


def digest_sql(names: Sequence[str], types: Sequence[DuckDBPyType], source: str) -> str:
    """The statement that sums up the rows of a table or of a subquery in parentheses.

    Its one row holds the number of rows, lane A, lane B, and of each column its digest and its
    non-null count, all as integers.

    Raises:
        BackendFailed: A type is not covered.
    """
    places = range(len(names))
    columns = ", ".join(f"c{place}" for place in places)
    hashes = [f"{cell_hash(f'c{place}', types[place])} AS h{place}" for place in places]
    lanes = []
    for lane, (start, part) in {"a": (LANE_A, 0), "b": (LANE_B, 1)}.items():
        factors = [derive("column", label)[part] | 1 for label in unique_labels(names)]
        terms = [f"{wide(f'h{place}')} * {wide(factors[place])}" for place in places]
        # Each product is cut before it is added: the sum of two could be too wide.
        words = [f"({term} & {wide(WORD_MASK)})" for term in terms]
        lanes.append(f"{mix(word(' + '.join([wide(int(start)), *words])))} AS {lane}")
    sums = [total("a"), total("b")]
    for place in places:
        sums += [total(f"h{place}"), f"count(*) FILTER (h{place} <> 0)"]
    return (
        f"WITH cells AS (SELECT {', '.join(hashes) or '0 AS h'}"  # noqa: S608 - made of our own words.
        f" FROM {source}{f' AS t({columns})' if columns else ''}),"
        f" lanes AS (SELECT *, {', '.join(lanes)} FROM cells)"
        f" SELECT count(*), {', '.join(sums)} FROM lanes"
    )


# ---------------------------------------------------------------- values


def cell_hash(value: str, kind: DuckDBPyType) -> str:
    """The hash of a value; 0 for NULL."""
    return f"coalesce({mix(word(f'{wide(word_of(value, kind))} + {wide(int(SEED))}'))}, 0::UBIGINT)"


def word_of(value: str, kind: DuckDBPyType) -> str:
    """The word of a value; NULL for NULL and NaN."""
    if kind.id in INTEGERS | WIDE_INTEGERS:
        return integer_word(value)
    if kind.id in UNITS:
        return moment_word(f"epoch_us({value}::TIMESTAMP)", value, UNITS[kind.id])
    if kind.id in PLAIN:
        return PLAIN[kind.id](value)
    if kind.id in NESTED:
        return NESTED[kind.id](value, kind)
    raise BackendFailed(
        f"The type {kind} has no digest in SQL.",
        next_step="Cast the column in the query, or take its fingerprint from Arrow.",
    )


def integer_word(value: str) -> str:
    """An integer as it is, one beyond int64 as its decimal text."""
    inside = f"{value} BETWEEN {-INT64_MAX - 1}::HUGEINT AND {INT64_MAX}::HUGEINT"
    # A CASE does not keep DuckDB from casting what lies outside; TRY_CAST does not mind.
    narrow = signed(f"TRY_CAST({value} AS BIGINT)")
    return f"CASE WHEN {inside} THEN {narrow} ELSE {text_word(f'{value}::VARCHAR')} END"


def float_word(value: str) -> str:
    """A whole number up to 2^53 as an integer, any other number as the bits of a double."""
    value = f"{value}::DOUBLE"
    is_whole = f"abs({value}) <= {WHOLE_FLOAT_MAX} AND {value} = trunc({value})"
    whole = signed(f"TRY_CAST({value} AS BIGINT)")
    return (
        f"CASE WHEN isnan({value}) THEN NULL WHEN {is_whole} THEN {whole}"
        f" ELSE {value}::BIT::UBIGINT END"
    )


def decimal_word(value: str) -> str:
    """A whole number that fits int64 as an integer, any other one as plain text."""
    text = f"{value}::VARCHAR"
    # DuckDB leaves out a zero before the point, and writes all digits behind it.
    plain = f"regexp_replace(regexp_replace({text}, '^(-?)\\.', '\\10.'), '\\.?0+$', '')"
    text = f"CASE WHEN contains({text}, '.') THEN {plain} ELSE {text} END"
    integer = f"TRY_CAST({text} AS BIGINT)"
    return (
        f"CASE WHEN contains({text}, '.') OR {integer} IS NULL THEN {text_word(f'({text})')}"
        f" ELSE {signed(integer)} END"
    )


def text_word(value: str) -> str:
    """The word of a string, over its bytes in UTF-8."""
    return bytes_word(f"encode({value})")


def bytes_word(value: str) -> str:
    """The word of bytes, in pieces of eight."""
    count = f"octet_length({value})"
    piece = f"('0x' || rpad(substr(hex({value}), 16 * j - 15, 16), 16, '0'))::UBIGINT"
    seeded = word(f"{wide(piece)} + {wide(int(SEED))} + {step('j')}")
    pieces = f"list_transform(range(1, ({count} + 7) // 8 + 1), lambda j: {seeded})"
    return word(f"{wide(int(TEXT))} + {length(count)} + {list_total(mix_all(pieces))}")


def moment_word(micros: str, value: str = "", unit_us: int = 1) -> str:
    """Microseconds; the ends of time that DuckDB knows are as Arrow gets them."""
    if not value:
        return signed(micros)
    high, low = (signed(f"{sign * INT64_MAX}::HUGEINT * {unit_us}") for sign in (1, -1))
    edge = f"CASE WHEN {value}::TIMESTAMP > TIMESTAMP '1970-01-01' THEN {high} ELSE {low} END"
    return f"CASE WHEN isinf({value}::TIMESTAMP) THEN {edge} ELSE {signed(micros)} END"


def nanos_word(nanos: str) -> str:
    """Nanoseconds: whole microseconds, rounded down, and what remains."""
    rest = f"(({nanos})::HUGEINT % 1000 + 1000) % 1000"
    micros = signed(f"(({nanos})::HUGEINT - {rest}) // 1000")
    return word(f"{wide(micros)} + {wide(f'({rest})')} * {wide(int(NANOS))}")


def timestamp_ns_word(value: str) -> str:
    """A timestamp in nanoseconds."""
    high, low = (nanos_word(f"{sign * INT64_MAX}") for sign in (1, -1))
    edge = f"CASE WHEN {value} = 'infinity'::TIMESTAMP_NS THEN {high} ELSE {low} END"
    return f"CASE WHEN isinf({value}) THEN {edge} ELSE {nanos_word(f'epoch_ns({value})')} END"


def interval_word(value: str) -> str:
    """The struct of months, days and nanoseconds."""

    def part(name: str) -> str:
        return f"datepart('{name}', {value})::HUGEINT"

    micros = f"{part('hour')} * 3600000000 + {part('minute')} * 60000000 + {part('microsecond')}"
    parts = {
        "months": f"{part('year')} * 12 + {part('month')}",
        "days": part("day"),
        "nanos": f"({micros}) * 1000",
    }
    hashes = {
        name: mix(word(f"{wide(signed(count))} + {wide(int(SEED))}"))
        for name, count in parts.items()
    }
    return f"CASE WHEN {value} IS NOT NULL THEN {fields_word(hashes)} END"


# ---------------------------------------------------------------- nested values


def fields_word(hashes: dict[str, str]) -> str:
    """The word of a struct, from the hashes of its fields by name."""
    terms = [wide(int(STRUCT))]
    for label, value in zip(unique_labels(hashes), hashes.values(), strict=True):
        name = wide(derive("field", label)[0])
        term = mix(word(f"{wide('h')} + {name}"))
        # The list of no hashes at all has the sum 0.
        present = f"list_filter([{value}], lambda h: h <> 0)"
        terms.append(list_total(f"list_transform({present}, lambda h: {term})"))
    return word(" + ".join(terms))


def parts_of(kind: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    """The types inside another one, by name; the first one of a union is its tag."""
    return cast("list[tuple[str, DuckDBPyType]]", kind.children)


def inner(kind: DuckDBPyType, place: int = 0) -> DuckDBPyType:
    """A type inside another one."""
    return parts_of(kind)[place][1]


def list_word(value: str, kind: DuckDBPyType) -> str:
    """Lists and arrays, with the position of each element."""
    element = inner(kind)
    value = f"{value}::{element}[]" if kind.id == "array" else value
    hashed = cell_hash("e", element)
    place = word(f"{wide(hashed)} + {step('i')}")
    seeded = f"list_transform({value}, lambda e, i: {place})"
    total_of = list_total(mix_all(seeded))
    said = word(f"{wide(int(LIST))} + {length(f'len({value})')} + {total_of}")
    return f"CASE WHEN {value} IS NOT NULL THEN {said} END"


def map_word(value: str, kind: DuckDBPyType) -> str:
    """Maps, as sets of entries."""
    hashes = {
        "key": cell_hash("e.key", inner(kind, 0)),
        "value": cell_hash("e.value", inner(kind, 1)),
    }
    entry = mix(word(f"{wide(fields_word(hashes))} + {wide(int(SEED))}"))
    entries = f"list_transform(map_entries({value}), lambda e: {entry})"
    count = f"len(map_entries({value}))"
    said = word(f"{wide(int(MAP))} + {length(count)} + {list_total(mix_all(entries))}")
    return f"CASE WHEN {value} IS NOT NULL THEN {said} END"


def struct_word(value: str, kind: DuckDBPyType) -> str:
    """Structs, as sets of named fields."""
    hashes = {
        name: cell_hash(f"struct_extract({value}, {quoted(name)})", part)
        for name, part in parts_of(kind)
    }
    return f"CASE WHEN {value} IS NOT NULL THEN {fields_word(hashes)} END"


def union_word(value: str, kind: DuckDBPyType) -> str:
    """Unions, as the member that is set. The first child is the tag."""
    cases = [
        f"WHEN {quoted(name)} THEN {word_of(f'union_extract({value}, {quoted(name)})', part)}"
        for name, part in parts_of(kind)[1:]
    ]
    return f"CASE union_tag({value}) {' '.join(cases)} END"


def quoted(name: str) -> str:
    """A name as a string of SQL."""
    return "'" + name.replace("'", "''") + "'"


PLAIN: dict[str, Callable[[str], str]] = {
    "null": lambda _: "NULL::UBIGINT",
    "boolean": lambda value: f"{value}::UBIGINT",
    "float": float_word,
    "double": float_word,
    "decimal": decimal_word,
    "varchar": text_word,
    "enum": lambda value: text_word(f"{value}::VARCHAR"),
    "uuid": lambda value: text_word(f"{value}::VARCHAR"),
    "blob": bytes_word,
    "date": lambda value: signed(f"({value} - DATE '1970-01-01')::HUGEINT * {DAY_US}"),
    "time": lambda value: moment_word(f"epoch_us({value})"),
    "time_ns": lambda value: nanos_word(f"epoch_ns({value})"),
    "timestamp": lambda value: moment_word(f"epoch_us({value})", value),
    "timestamp with time zone": lambda value: moment_word(f"epoch_us({value})", value),
    "timestamp_ns": timestamp_ns_word,
    "interval": interval_word,
}
NESTED: dict[str, Callable[[str, Any], str]] = {
    "array": list_word,
    "list": list_word,
    "map": map_word,
    "struct": struct_word,
    "union": union_word,
}
LOGICAL = {
    "boolean": "bool", "float": "float", "double": "float", "varchar": "text", "enum": "text",
    "uuid": "text", "blob": "binary", "time_ns": "time", "timestamp_s": "timestamp",
    "timestamp_ms": "timestamp", "timestamp_ns": "timestamp",
    "timestamp with time zone": "timestamp with zone",
    **dict.fromkeys(INTEGERS, "int"), **dict.fromkeys(WIDE_INTEGERS, "decimal"),
}  # fmt: skip


def logical_type(kind: DuckDBPyType) -> str:
    """The logical type of what DuckDB hands over as Arrow."""
    if kind.id in {"list", "array"}:
        return f"list<{logical_type(inner(kind))}>"
    if kind.id == "map":
        return f"map<{logical_type(inner(kind, 0))}, {logical_type(inner(kind, 1))}>"
    if kind.id == "struct":
        parts = (f"{name}: {logical_type(part)}" for name, part in parts_of(kind))
        return f"struct<{', '.join(parts)}>"
    if kind.id == "union":
        return f"union<{', '.join(logical_type(part) for _, part in parts_of(kind)[1:])}>"
    return LOGICAL.get(kind.id, kind.id)

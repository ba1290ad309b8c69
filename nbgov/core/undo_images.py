"""Before-images: read around a write, packed to be sealed, and turned into what undoes the write.

Every value is a text here. DuckDB and PostgreSQL write it themselves and read it back in a cast; of
the other products it is the driver's own value behind the name of its type. A key is never NULL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbgov.core.approval.binding import restored, written
from nbgov.core.catalog import read_name
from nbgov.core.rewrite.masks import quote, quoted
from nbgov.core.rewrite.pieces import Marker, Piece, joined
from nbgov.core.transfer import Rows
from nbgov.core.undo import TEXTS, read_form
from nbgov.errors import BackendFailed, IntegrityFailed, RequestInvalid

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.model import BeforeImage, BindMarker, Clearance, UndoImage

    Ask = Callable[[str, Sequence[BindMarker], Mapping[str, Any]], Sequence[Sequence[Any]]]

Row = tuple[str | None, ...]
KEYS_AT_ONCE = 200
AFTER = "after "


def keeping(clearance: Clearance, ask: Ask, write: Callable[[], Rows]) -> Rows:
    """Run a write and keep what its rows were, if the clearance asks for it.

    Args:
        clearance: The write.
        ask: Runs a query in the write's transaction and returns its rows as Python values.
        write: Runs the write to its end.

    Raises:
        BackendFailed: The rows cannot be kept (``undo-unavailable``). The write is to be rolled
            back then.
    """
    image = clearance.before
    if image is None:
        return write()
    rows = [
        packed(row, image.dialect) for row in ask(image.sql, image.marker_spans, clearance.binds)
    ]
    if len(rows) > image.rows_max:
        raise unavailable(
            f"it changes more than {image.rows_max:,} rows, which is what is kept of this table",
            "write the rows in parts, or raise undo: rows_max: in nbgov.yaml",
        )
    width = len(image.key)
    if any(None in row[:width] for row in rows if image.verb == "UPDATE"):
        raise unavailable("a row has no key by which it could be found again")
    done = write()
    if done.rows_affected != len(rows):
        told = "an unknown number of" if done.rows_affected is None else f"{done.rows_affected:,}"
        raise unavailable(f"it changed {told} rows, and {len(rows):,} were kept", "run it again")
    kept = table_of(image, rows)
    if image.verb == "DELETE":
        return replace(done, before=kept)
    then = {row[:width]: row for row in read_again(image, rows, ask)}
    if then.keys() != {row[:width] for row in rows}:
        raise unavailable("its rows cannot be found again by their key")
    return replace(done, before=kept, after=table_of(image, [then[row[:width]] for row in rows]))


def read_again(image: BeforeImage, rows: Sequence[Row], ask: Ask) -> Iterator[Row]:
    """The rows of an UPDATE as they are after it, by their keys."""
    dialect, width = image.dialect, len(image.key)
    picks = ", ".join(read_form(column.name, dialect) for column in image.columns)
    types = [column.type for column in image.columns[:width]]
    for start in range(0, len(rows), KEYS_AT_ONCE):
        part = rows[start : start + KEYS_AT_ONCE]
        values = Values(dialect)
        keys = [[values.marker(value) for value in row[:width]] for row in part]
        where = which_rows(image.key, types, keys, dialect)
        head = f"SELECT {picks} FROM {quoted(image.table, dialect)} WHERE "  # noqa: S608  # Names only.
        sql, markers = joined([head, *where])
        yield from (packed(row, dialect) for row in ask(sql, markers, values.binds))


def table_of(image: BeforeImage, rows: Sequence[Row]) -> pa.Table:
    """Rows as a table of texts, with the names of their columns."""
    import pyarrow as pa

    names = [column.name for column in image.columns]
    values = zip(*rows, strict=True) if rows else ((),) * len(names)
    return pa.table([texts(column) for column in values], names)


def texts(values: Sequence[str | None]) -> pa.Array:
    """Texts as an Arrow array, made without :func:`pyarrow.array`.

    That imports pandas when it is first called, and a write would hold its locks meanwhile.
    """
    import numpy as np
    import pyarrow as pa

    parts = [b"" if value is None else value.encode() for value in values]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    is_there = np.array([value is not None for value in values], np.bool_)
    valid = np.packbits(is_there, bitorder="little")
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(pa.large_string(), len(parts), buffers)


def rows_of(table: pa.Table) -> list[Row]:
    """The rows of a table of texts."""
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return rows if table.num_columns else []


def packed(row: Sequence[Any], dialect: str) -> Row:
    """A row as texts.

    Example:
        >>> packed([7, None, b"a"], "sqlite"), packed(["7", None], "duckdb")
        (('["int","7"]', None, '["bytes","YQ=="]'), ('7', None))
    """
    if dialect in TEXTS:
        return tuple(row)
    return tuple(None if value is None else pack(value) for value in row)


def pack(value: Any) -> str:
    """A driver's value as text.

    Raises:
        BackendFailed: It is of a type that cannot be put back (``undo-unavailable``).
    """
    try:
        return json.dumps(written(value), separators=(",", ":"))
    except (KeyError, RequestInvalid):
        why = f"a value is of type {type(value).__name__}, which cannot be put back"
        raise unavailable(why) from None


# ---------------------------------------------------------------- what is kept


def facts_of(image: BeforeImage) -> dict[str, str]:
    """What the statement that undoes a write is made of beside its rows."""
    types = [column.type for column in image.columns]
    return {"dialect": image.dialect, "types": json.dumps(types)}


def payload(before: pa.Table, after: pa.Table | None) -> bytes:
    """The rows before a write, and after an UPDATE, as one compressed Arrow stream."""
    import pyarrow as pa

    table = before
    if after is not None:
        for name, column in zip(after.column_names, after.columns, strict=True):
            table = table.append_column(f"{AFTER}{name}", column)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def unpack(image: UndoImage, data: bytes) -> tuple[list[Row], list[Row]]:
    """The rows before and after a write.

    Raises:
        IntegrityFailed: They are not those of the image (``undo-broken``).
    """
    import pyarrow as pa

    width = len(image.columns)
    try:
        table = pa.ipc.open_stream(data).read_all()
        rows = rows_of(table)
    except (pa.ArrowException, OSError):
        raise broken(image.request) from None
    names = tuple(table.column_names)
    is_fit = names[:width] == image.columns and len(rows) == image.rows
    if not is_fit or len(names) != (2 * width if image.verb == "UPDATE" else width):
        raise broken(image.request)
    return [row[:width] for row in rows], [row[width:] for row in rows]


def changed_since(image: UndoImage, after: Iterable[Row], now: Iterable[Row]) -> int:
    """How many rows of an UPDATE are gone, or are no longer as it left them."""
    width = len(image.key)
    found = {row[:width]: row for row in now}
    return sum(found.get(row[:width]) != row for row in after)


# ---------------------------------------------------------------- what undoes the write


class Values:
    """Bound values with short names, each different value once.

    Args:
        dialect: Which values the driver takes.
    """

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.binds: dict[str, Any] = {}
        self.names: dict[str | None, str] = {}

    def marker(self, value: str | None) -> Marker:
        """The marker of a value."""
        if value not in self.names:
            name = self.names[value] = f"v{len(self.names)}"
            is_plain = value is None or self.dialect in TEXTS
            self.binds[name] = value if is_plain else restored(*json.loads(value or ""))
        return Marker(self.names[value])


def compensation(image: UndoImage, before: Sequence[Row]) -> tuple[str, dict[str, Any]]:
    """The statement that undoes a write, and its bound values.

    Args:
        image: What was kept of the write.
        before: What its rows were.
    """
    dialect = image.facts["dialect"]
    values = Values(dialect)
    write = insert if image.verb == "DELETE" else update
    sql, _ = joined(write(image, before, values, dialect))
    return sql, values.binds


def insert(
    image: UndoImage, before: Sequence[Row], values: Values, dialect: str
) -> Iterator[Piece]:
    """The INSERT that brings deleted rows back."""
    names = ", ".join(quote(name, dialect) for name in image.columns)
    yield f"INSERT INTO {quoted(read_name(image.table), dialect)} ({names}) "
    if dialect in TEXTS:
        types = json.loads(image.facts["types"])
        places = [f"c{place}" for place in range(len(types))]
        casts = ", ".join(f"CAST({c} AS {kind})" for c, kind in zip(places, types, strict=True))
        yield f"SELECT {casts} FROM ("  # noqa: S608  # Types only.
    mark = "VALUES ("
    for row in before:
        yield mark
        yield from separated([values.marker(value)] for value in row)
        mark = "), ("
    yield ")"
    if dialect in TEXTS:
        yield f") AS nbgov_rows ({', '.join(places)})"


def update(
    image: UndoImage, before: Sequence[Row], values: Values, dialect: str
) -> Iterator[Piece]:
    """The UPDATE that gives changed rows their values back."""
    width, types = len(image.key), json.loads(image.facts["types"])
    keys = [[values.marker(value) for value in row[:width]] for row in before]
    yield f"UPDATE {quoted(read_name(image.table), dialect)} SET "  # noqa: S608  # Names only.
    for place in range(width, len(image.columns)):
        yield f"{', ' if place > width else ''}{quote(image.columns[place], dialect)} = "
        news = [values.marker(row[place]) for row in before]
        yield from cast(chosen(image.key, types, keys, news, dialect), types[place], dialect)
    yield " WHERE "
    yield from which_rows(image.key, types, keys, dialect)


def chosen(
    key: Sequence[str], types: Sequence[str], keys: Sequence[Sequence[Marker]],
    news: Sequence[Marker], dialect: str,
) -> list[Piece]:  # fmt: skip
    """The new value of a column, by the key of the row."""
    if len(set(news)) == 1:
        return [news[0]]
    pieces: list[Piece] = ["CASE"]
    if len(key) == 1:
        pieces.append(f" {read_form(key[0], dialect)}")
    for row, new in zip(keys, news, strict=True):
        own = [row[0]] if len(key) == 1 else [*is_row(key, types, row, dialect)]
        pieces += [" WHEN ", *own, " THEN ", new]
    return [*pieces, " END"]


def which_rows(
    key: Sequence[str], types: Sequence[str], keys: Sequence[Sequence[Marker]], dialect: str
) -> list[Piece]:
    """The condition that holds for the rows with certain keys."""
    if len(key) == 1:
        listed = separated(cast([row[0]], types[0], dialect) for row in keys)
        return [f"{quote(key[0], dialect)} IN (", *listed, ")"]
    return any_of([["(", *is_row(key, types, row, dialect), ")"] for row in keys])


def is_row(
    key: Sequence[str], types: Sequence[str], row: Sequence[Marker], dialect: str
) -> Iterator[Piece]:
    """The condition that holds for one row."""
    for place, (name, marker) in enumerate(zip(key, row, strict=True)):
        yield f"{' AND ' if place else ''}{quote(name, dialect)} = "
        yield from cast([marker], types[place], dialect)


def any_of(conditions: Sequence[list[Piece]]) -> list[Piece]:
    """Conditions joined by OR as a flat tree: SQLite's parser takes no long chain of them."""
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    return ["(", *any_of(conditions[:middle]), " OR ", *any_of(conditions[middle:]), ")"]


def cast(pieces: Sequence[Piece], type_name: str, dialect: str) -> list[Piece]:
    """A value as one of its column's type."""
    return ["CAST(", *pieces, f" AS {type_name})"] if dialect in TEXTS else list(pieces)


def separated(parts: Iterable[Sequence[Piece]]) -> Iterator[Piece]:
    """Parts with commas between them."""
    for place, part in enumerate(parts):
        if place:
            yield ", "
        yield from part


# ---------------------------------------------------------------- errors


def unavailable(why: str, next_step: str = "") -> BackendFailed:
    """The error of a write whose rows cannot be kept."""
    return BackendFailed(
        "The write was rolled back: it could not have been undone.",
        code="undo-unavailable",
        why=why,
        next_step=next_step or "look at docs/howto/undo.md for what can be undone",
    )


def broken(request: str) -> IntegrityFailed:
    """The error of an image that is not what was kept."""
    return IntegrityFailed(
        f"What was kept of request {request} is not what was sealed for it.",
        code="undo-broken",
        why="it does not decode, or belongs to another write",
        next_step="check the state folder; the write cannot be undone from it",
    )

"""Parquet: every column, down to the leaves of nested ones, with the numbers of their rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.pii.cells import decode
from nbgov.pii.distinct import is_bytes
from nbgov.pii.files import Source, seekable, unreadable
from nbgov.pii.readers.texts import NAMES, Tells, Texts

__all__ = ["describing", "opened", "read_table"]

Integers = npt.NDArray[np.int64]
BATCH_ROWS = 16_384
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
WHOLE_MAX = 2**53


@contextmanager
def opened(source: Source, stream: BinaryIO) -> Iterator[Any]:
    """A Parquet file, and errors that say what is wrong with it.

    Raises:
        RequestInvalid: It is no Parquet, encrypted or damaged (``file-unreadable``).
    """
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(seekable(stream)) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        text = str(error)
    else:
        return
    why, step = "Its Parquet is damaged.", "Write it again, or compare it with its original."
    if "encrypt" in text.lower() or "decrypt" in text.lower():
        why, step = "It is encrypted.", "Decrypt it first; nbgov takes no keys of Parquet files."
    elif "magic bytes" in text or "size is 0" in text or "smaller than" in text:
        why = "It is no Parquet file, or it was cut off: its last bytes are missing."
    # Security: raised after the handler, so without a cause: its text may quote values.
    raise unreadable(source, why, step)


def read_table(
    source: Source, stream: BinaryIO, tells: Tells, skip: Callable[[str], None]
) -> Iterator[Texts]:
    """The texts, numbers and moments of a Parquet file, a few thousand rows at a time.

    Args:
        source: The file.
        stream: Its bytes.
        tells: Which names hold what is looked for.
        skip: Hears of each column whose bytes are no text.

    Raises:
        RequestInvalid: It cannot be read to its end (``file-unreadable``).
    """
    with opened(source, stream) as file:
        said = describing(file.schema_arrow)
        names = pa.array(said, pa.large_string())
        yield Texts(NAMES, names, np.arange(1, len(said) + 1), is_names=True)
        telling = tells(said)
        first = 1
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            numbers = np.arange(first, first + len(batch))
            for position, (field, column) in enumerate(zip(batch.schema, batch, strict=True), 1):
                name = f"column {position}" if field.name in telling else field.name
                for place, values, at in leaves(name, column, numbers, telling):
                    texts = readable(values)
                    if texts.null_count > values.null_count:
                        skip("bytes that are no text")
                    yield Texts(place, texts, at, context=(field.name,))
            first += len(batch)


def describing(schema: pa.Schema) -> list[str]:
    """What a file says beside its rows: the names of columns and fields, and its metadata."""
    said: list[str] = []

    def add(field: pa.Field) -> None:
        said.append(field.name)
        said.extend(plain(field.metadata))
        kind = field.type
        if pa.types.is_nested(kind):
            for child in range(kind.num_fields):
                add(kind.field(child))

    for field in schema:
        add(field)
    return [*said, *plain(schema.metadata)]


def plain(metadata: dict[bytes, bytes] | None) -> list[str]:
    """Metadata as texts: a JSON document by its values, anything else as it is."""
    from nbgov.pii.readers.values import DECODER
    from nbgov.pii.readers.values import leaves as values

    found: list[str] = []
    for name, content in (metadata or {}).items():
        if name == b"PARQUET:field_id":
            continue
        text = content.decode(errors="replace")
        found.append(name.decode(errors="replace"))
        try:
            found.extend(value for _, value in values(DECODER.decode(text)))
        except (json.JSONDecodeError, RecursionError):
            found.append(text)
    return found


def leaves(
    place: str, array: pa.Array, numbers: Integers, telling: frozenset[str]
) -> Iterator[tuple[str, pa.Array, Integers]]:
    """The leaves of a column with their places and the row that each value is in."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from leaves(place, array.storage, numbers, telling)
    elif pa.types.is_struct(kind):
        for position, child in enumerate(array.flatten()):
            name = kind.field(position).name
            below = f"{place}.{'*' if name in telling else name}"
            yield from leaves(below, child, numbers, telling)
    elif pa.types.is_map(kind):
        entries = array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        yield from leaves(place, entries, numbers, telling)
    elif any(fits(kind) for fits in LISTS):
        parents = pc.list_parent_indices(array).to_numpy()
        yield from leaves(f"{place}[*]", pc.list_flatten(array), numbers[parents], telling)
    elif not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        yield place, array, numbers


def readable(array: pa.Array) -> pa.Array:
    """Values that can be read as text; null where bytes are none.

    Whole numbers that are stored as floats, as pandas does where some are missing, are whole
    numbers: the digits of a telephone number end in no ``.0``.
    """
    kind = array.type
    if is_bytes(kind):
        encoded = array.cast(pa.large_binary()).dictionary_encode()
        texts = [decode(value) for value in encoded.dictionary.to_pylist()]
        return pa.array(texts, pa.large_string()).take(encoded.indices)
    if pa.types.is_floating(kind) and not pa.types.is_float16(kind):
        whole = pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), WHOLE_MAX))
        if pc.all(pc.fill_null(whole, fill_value=True)).as_py():
            return array.cast(pa.int64())
    return array

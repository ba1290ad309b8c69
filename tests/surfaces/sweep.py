"""Looks for words in every file below a folder: as they are, in other encodings, and in containers."""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

DEPTH_MAX = 4


class Trace(NamedTuple):
    """A word that was found: in which file, where in it, and how it was written."""

    path: str
    place: str
    word: str
    form: str


def sweep(folder: Path, words: Iterable[str]) -> set[Trace]:
    """Every trace of the words in the files below a folder."""
    wanted = {word: forms(word) for word in words}
    return {
        Trace(str(path.relative_to(folder)), place, word, form)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for place, data in pieces(path.read_bytes(), "", path)
        for word, encoded in wanted.items()
        for form, needle in encoded.items()
        if needle in (data.lower() if form in {"plain", "hex"} else data)
    }


def forms(word: str) -> dict[str, bytes]:
    """How a word may be written. Base64 has three, by the place that the word begins at."""
    raw = word.encode()
    padded = {
        f"base64+{skip}": base64.b64encode(b"\0" * skip + raw)[-(-skip * 8 // 6) :].rstrip(b"=")[
            :-1
        ]
        for skip in range(3)
    }
    return {
        "plain": raw.lower(),
        "hex": raw.hex().encode(),
        "utf-16-le": word.encode("utf-16-le"),
        "utf-16-be": word.encode("utf-16-be"),
        **padded,
    }


def pieces(
    data: bytes, place: str, path: Path | None, depth: int = 0
) -> Iterator[tuple[str, bytes]]:
    """Some bytes, and everything that can be unpacked from them, each with its place."""
    yield place, data
    if depth < DEPTH_MAX:
        for opens, unpack in CONTAINERS:
            if data.startswith(opens):
                with suppress(Exception):  # What only looks like a container is bytes.
                    for name, inner in unpack(data, path):
                        yield from pieces(inner, f"{place}/{name}", None, depth + 1)


def unzip(data: bytes, _: Path | None) -> Iterator[tuple[str, bytes]]:
    """The members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def query(data: bytes, path: Path | None) -> Iterator[tuple[str, bytes]]:
    """Every cell of a SQLite file, and its schema."""
    if path is None:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(data)
    else:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)  # With its WAL.
    try:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        for table, sql in tables.fetchall():
            yield table, str(sql).encode()
            rows = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                for name, cell in zip(names, row, strict=True):
                    if cell is not None:
                        yield (
                            f"{table}.{name}",
                            cell if isinstance(cell, bytes) else str(cell).encode(),
                        )
    finally:
        connection.close()


def parquet(data: bytes, _: Path | None) -> Iterator[tuple[str, bytes]]:
    """The rows of a Parquet file, and its metadata."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    yield "rows", str(table.to_pylist()).encode()
    yield "schema", str(table.schema).encode()


def arrow(data: bytes, _: Path | None) -> Iterator[tuple[str, bytes]]:
    """The rows of an Arrow file."""
    import pyarrow as pa

    yield "rows", str(pa.ipc.open_file(io.BytesIO(data)).read_all().to_pylist()).encode()


Unpack = Callable[[bytes, Path | None], Iterable[tuple[str, bytes]]]
CONTAINERS: list[tuple[bytes, Unpack]] = [
    (b"PK\x03\x04", unzip),
    (b"SQLite format 3\0", query),
    (b"PAR1", parquet),
    (b"ARROW1", arrow),
    (b"\x1f\x8b", lambda data, _: [("gzip", gzip.decompress(data))]),
    (b"\x78", lambda data, _: [("zlib", zlib.decompress(data))]),
]

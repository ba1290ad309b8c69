"""The files that ``nbgov scan`` and ``nbgov mask`` read: which there are, and what each one is.

A file that nobody reads is never counted as clean: :func:`find` hands back what it passed over.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from nbgov.errors import RequestInvalid

__all__ = ["FORMATS", "Source", "chunks", "find", "unreadable"]

FORMATS = {
    ".csv": "csv",
    ".tab": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".ipynb": "notebook",
    ".htm": "html",
    ".html": "html",
    ".log": "text",
    ".md": "text",
    ".txt": "text",
}
"""What a file is, by how its name ends."""

HEAD_BYTES = 4_000_000
"""How much of a file is looked at to find out how it is written."""
CHUNK_BYTES = 4_000_000
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, and how.

    Attributes:
        name: What reports call it.
        path: Where it is; ``None`` is standard input.
        format: A value of :data:`FORMATS`.
        encoding: Of its text; empty means a byte order mark's, else UTF-8.
        delimiter: Between the cells of a CSV file; empty means that it is found out.
        has_header: Whether the first row of a CSV file names the columns.
    """

    name: str
    path: Path | None
    format: str
    encoding: str = ""
    delimiter: str = ""
    has_header: bool = True

    @property
    def size(self) -> int:
        """Bytes of the file; 0 where nobody can tell."""
        return 0 if self.path is None else self.path.stat().st_size

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes of the file.

        Raises:
            RequestInvalid: It cannot be opened or read (``file-unreadable``).
        """
        try:
            if self.path is None:
                yield sys.stdin.buffer
            else:
                with self.path.open("rb") as stream:
                    yield stream
        except OSError as error:
            raise unreadable(self, reason(error), "Check the path and its permissions.") from error


def unreadable(source: Source, why: str, next_step: str) -> RequestInvalid:
    """The error for a file that could not be read to its end."""
    return RequestInvalid(
        f"{source.name} cannot be read.", code="file-unreadable", why=why, next_step=next_step
    )


def reason(error: OSError) -> str:
    """Why the operating system refuses, in its own words."""
    return f"{os.strerror(error.errno)}." if error.errno else f"{type(error).__name__}."


def find(
    paths: Sequence[str],
    *,
    form: str = "",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> tuple[list[Source], Counter[str]]:
    """The files that are meant, folders followed down, in order of their names.

    In a folder, hidden files and folders are passed over, checkpoints of notebooks among them, and
    so are files of no known kind. What ``include`` names is read whatever its kind is, as text
    where that is not known. A file that is named by itself is always read.

    Args:
        paths: Files, folders, or ``-`` for standard input.
        form: The format of what is named by itself; found by the name where empty.
        include: Patterns of names or of paths below a folder; empty means every known kind.
        exclude: Patterns that win over ``include``.

    Returns:
        The files; and how many others there were, by how their names end.

    Raises:
        RequestInvalid: A path does not exist, or nothing says what format it has.
    """
    found: list[Source] = []
    passed: Counter[str] = Counter()
    for text in paths:
        path = None if text == "-" else Path(text)
        if path is not None and path.is_dir():
            for each in walk(path):
                below = str(each.relative_to(path))
                kind = FORMATS.get(each.suffix.lower())
                if not wanted(below, each.name, include, exclude) or not (kind or include):
                    passed[each.suffix.lower() or "without a suffix"] += 1
                else:
                    found.append(Source(str(each), each, kind or "text"))
        else:
            found.append(named(text, path, form))
    return found, passed


def named(text: str, path: Path | None, form: str) -> Source:
    """A file that was named by itself."""
    source = Source("standard input" if path is None else text, path, form)
    if path is not None and not path.exists():
        raise unreadable(source, "There is no such file.", "Check the path.")
    known = form or ("" if path is None else FORMATS.get(path.suffix.lower(), ""))
    if not known:
        raise unreadable(
            source,
            "Its name does not say what format it has.",
            f"Say it with --format: {', '.join(sorted(set(FORMATS.values())))}.",
        )
    return Source(source.name, path, known)


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder but hidden ones, in order. Links to folders are not followed."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = (Path(here, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in shown if path.is_file())


def wanted(below: str, name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether the patterns take a file in."""

    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch(name, p) or fnmatch(below, p) for p in patterns)

    return not matches(exclude) and (not include or matches(include))


def chunks(source: Source, stream: BinaryIO) -> Iterator[bytes]:
    """The text of a file as UTF-8, a few megabytes at a time.

    Raises:
        RequestInvalid: The text is not in its encoding (``file-unreadable``).
    """
    encoding, head = spelled(source, stream)
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    while True:
        chunk = head or stream.read(CHUNK_BYTES)
        head = b""
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            # Security: raised without its cause, which holds the bytes themselves.
            raise undecodable(source, encoding, offset + error.start) from None
        if text:
            yield text.encode()
        if not chunk:
            return
        offset += len(chunk)


def spelled(source: Source, stream: BinaryIO) -> tuple[str, bytes]:
    """The encoding of a text, and what had to be read to find it out."""
    head = stream.read(HEAD_BYTES)
    if source.encoding:
        try:
            return codecs.lookup(source.encoding).name, head
        except LookupError:
            raise RequestInvalid(
                f"There is no encoding {source.encoding!r}.",
                code="usage",
                next_step="Use a name that Python knows, such as cp1252 or utf-16.",
            ) from None
    return next((name for mark, name in BOMS if head.startswith(mark)), "utf-8"), head


def undecodable(source: Source, encoding: str, offset: int) -> RequestInvalid:
    """The error for text that is not in its encoding."""
    return unreadable(
        source,
        f"It is not {encoding.upper().removesuffix('-SIG')} at or shortly before byte {offset:,}.",
        "Name its encoding, such as --encoding cp1252 for a file of Excel on Windows.",
    )


def seekable(stream: BinaryIO) -> BinaryIO:
    """The same bytes where one can go back and forth, in memory if the stream cannot."""
    return stream if stream.seekable() else io.BytesIO(stream.read())

"""Masked copies of files: written beside their place, and put there whole or not at all.

What happens to a column never depends on where a batch ends. If a column cannot be scanned
somewhere in the file, the copy is begun anew with all of that column redacted. The cases are in
``tests/surfaces/test_pii_cli.py``.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa

from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.pii.files import Source, unreadable
from nbgov.pii.masker import Masker
from nbgov.pii.scanning import Scanner
from nbgov.pii.tally import SPOKEN

__all__ = ["COPIED", "Copy", "copy", "destination"]

COPIED = ("csv", "jsonl", "parquet")
"""Formats that can be copied."""

SPOOL_BYTES = 16_000_000
ATTEMPTS_MAX = 1_000


class Write(Protocol):
    """Writes a masked copy and returns the number of rows."""

    def __call__(
        self, source: Source, stream: BinaryIO, sink: BinaryIO, making: Making
    ) -> int: ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class Copy:
    """What was done.

    Attributes:
        rows: How many rows were copied.
        columns: For each column what happened to it, as :class:`~nbgov.pii.masker.Masker` reports.
    """

    rows: int
    columns: tuple[Mapping[str, Any], ...]


class Making:
    """Makes the masker of one attempt, once the columns are known.

    Args:
        options: Options of :class:`~nbgov.pii.masker.Masker`.
        redacted: Columns to redact unread.
        keeps_names: Whether names may hold what is masked in values.
        seen: Called after each part that was written.
        watch: What to make of the scanner, so that it tells how far it is.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        redacted: frozenset[str],
        *,
        keeps_names: bool,
        seen: Callable[[], None],
        watch: Callable[[Scanner], Scanner],
    ) -> None:
        self.options = options
        self.redacted = redacted
        self.keeps_names = keeps_names
        self.seen = seen
        self.watch = watch
        self.masker: Masker | None = None

    def mask(self, names: list[str], **options: Any) -> Masker:
        """The masker of a table with such columns."""
        self.masker = Masker(names, **{**self.options, "redacted": self.redacted, **options})
        self.masker.scanner = self.watch(self.masker.scanner)
        return self.masker

    def check_names(self, source: Source, masker: Masker, names: set[str]) -> None:
        """Refuse names that tell what is masked in values: a copy keeps them.

        Raises:
            RequestInvalid: A name tells something (``names-tell``).
        """
        content = masker.content
        found = masker.scanner.detect(
            pa.array(sorted(names), pa.large_string()),
            entities=[entity for entity in content.entities if entity not in SPOKEN],
            score_min=content.score_min,
            language=content.language,
        )
        if found.num_rows and not self.keeps_names:
            entities = ", ".join(sorted(set(found["entity"].to_pylist())))
            raise RequestInvalid(
                f"The names in {source.name} hold what would be masked in its values.",
                code="names-tell",
                why=f"names of columns or fields, or metadata, read as {entities}",
                next_step="use --no-header if the first row holds values, rename the fields, or "
                "use --keep-names",
            )


def copy(
    source: Source,
    out: Path | None,
    options: Mapping[str, Any],
    *,
    keeps_names: bool = False,
    progress: Callable[[BinaryIO], Callable[[], None]] = lambda _: lambda: None,
    watch: Callable[[Scanner], Scanner] = lambda scanner: scanner,
) -> Copy:
    """Write a masked copy of a file, in its own format.

    Args:
        source: The file.
        out: Where the copy goes, replacing what is there; ``None`` is standard output.
        options: Options of :class:`~nbgov.pii.masker.Masker`.
        keeps_names: Whether names of columns may hold what is masked in values.
        progress: Gets the stream that is read, and returns what to call after each part.
        watch: What to make of a scanner, so that it tells how far it is.

    Returns:
        What was done.

    Raises:
        RequestInvalid: The file cannot be read to its end (``file-unreadable``), or its names tell
            something (``names-tell``).
        ConfigInvalid: An operator does not fit.
        BackendFailed: The copy cannot be written (``file-unwritable``).
    """
    reasons: dict[str, str] = {}
    with whole_stream(source) as stream, written(source, out) as sink:
        for _ in range(ATTEMPTS_MAX):
            redacted = frozenset(reasons)
            making = Making(
                options, redacted, keeps_names=keeps_names, seen=progress(stream), watch=watch
            )
            rows = writer(source)(source, stream, sink, making)
            assert making.masker is not None
            report = making.masker.report
            failed = {e["column"]: e["why"] for e in report if e["how"] == "redacted"}
            if failed.keys() <= redacted:
                told = (tell(entry, making.masker.failed, reasons) for entry in report)
                return Copy(rows, tuple(told))
            # Security: earlier batches of that column were scanned, and yet a column is treated in
            # one way throughout, however the file is cut into batches.
            reasons |= {name: why for name, why in failed.items() if name not in reasons}
            stream.seek(0)
            sink.seek(0)
            sink.truncate()
    raise RuntimeError("every attempt redacts one more column")


def tell(
    entry: Mapping[str, Any], failed: Mapping[str, str], reasons: Mapping[str, str]
) -> Mapping[str, Any]:
    """What happened to a column, with the reason where it could not be scanned."""
    name = entry["column"]
    if entry["how"] == "redacted":
        return {**entry, "why": reasons.get(name, entry["why"])}
    if entry["how"] == "scanned" and name in failed:
        return {**entry, "why": "cells that hold no text became null"}
    return entry


def writer(source: Source) -> Write:
    """What writes a copy of this format.

    Raises:
        RequestInvalid: Nothing does.
    """
    from nbgov.pii.writers import write_csv, write_lines, write_table

    writers: dict[str, Write] = {"csv": write_csv, "jsonl": write_lines, "parquet": write_table}
    if source.format not in writers:
        raise unreadable(
            source,
            f"nbgov mask does not copy {source.format}.",
            f"It copies {', '.join(COPIED)}; nbgov scan finds what is in the others.",
        )
    return writers[source.format]


@contextmanager
def whole_stream(source: Source) -> Iterator[BinaryIO]:
    """The bytes of a file where one can go back to the start."""
    with source.open() as stream:
        if stream.seekable():
            yield stream
            return
        # Security: what standard input holds lies in memory, and beyond that in a file that has no
        # name, which nobody else can open and which goes when this process does.
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            shutil.copyfileobj(stream, spool)
            spool.seek(0)
            yield cast("BinaryIO", spool)


def destination(source: Source, out: str, *, is_forced: bool) -> Path | None:
    """Where a copy goes; ``None`` is standard output.

    Raises:
        RequestInvalid: Something is there already, or it is the file itself (``file-exists``), or
            the name says another format (``usage``).
    """
    from nbgov.pii.files import FORMATS

    if out == "-":
        return None
    path = Path(out)
    if path.exists() and source.path is not None and path.samefile(source.path):
        raise RequestInvalid(
            "A file cannot be its own masked copy.",
            code="file-exists",
            why="IN and OUT are the same file",
            next_step="name another file; replace the original yourself when you have looked at it",
        )
    if path.is_dir() or (path.exists() and not is_forced):
        kind = "folder" if path.is_dir() else "file"
        raise RequestInvalid(
            f"{out} is there already.",
            code="file-exists",
            why=f"a {kind} of that name is not overwritten"
            + ("" if path.is_dir() else " without --force"),
            next_step="name another file" + ("" if path.is_dir() else ", or use --force"),
        )
    if FORMATS.get(path.suffix.lower(), source.format) != source.format:
        raise RequestInvalid(
            f"{out} would not be what its name says.",
            code="usage",
            why=f"a copy has the format of the original, which is {source.format}",
            next_step=f"name it {path.stem}.{source.format}",
        )
    return path


@contextmanager
def written(source: Source, out: Path | None) -> Iterator[BinaryIO]:
    """A file to write to that takes its place at the end, or goes without a trace.

    Raises:
        BackendFailed: It cannot be written (``file-unwritable``).
    """
    if out is None:
        with tempfile.TemporaryFile() as file:
            yield cast("BinaryIO", Sink(cast("BinaryIO", file), out))
            file.seek(0)
            with guarded(out):
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
        return
    with guarded(out):
        handle, name = tempfile.mkstemp(prefix=".nbgov-", suffix=out.suffix, dir=out.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield cast("BinaryIO", Sink(file, out))
            with guarded(out):
                file.flush()
                os.fsync(file.fileno())
        with guarded(out):
            if source.path is not None:
                shutil.copymode(source.path, name)
            Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Sink:
    """A file to write to, whose errors are nbgov's and say which file is meant."""

    def __init__(self, file: BinaryIO, out: Path | None) -> None:
        self.file = file
        self.out = out

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        with guarded(self.out):
            return self.file.write(data)

    def flush(self) -> None:
        """Hand over to the system what is held back."""
        with guarded(self.out):
            self.file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextmanager
def guarded(out: Path | None) -> Iterator[None]:
    """Turn what the disk says into an error of nbgov.

    Raises:
        BackendFailed: Writing failed (``file-unwritable``).
    """
    try:
        yield
    except OSError as error:
        raise BackendFailed(
            f"{'Standard output' if out is None else out} cannot be written.",
            code="file-unwritable",
            why=os.strerror(error.errno) if error.errno else type(error).__name__,
            next_step="look at the folder, its permissions and the space that is left",
        ) from error
